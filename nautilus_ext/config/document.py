"""Read a JSON file as an operator wrote it: line and column for broken JSON, no key lost because it stands twice."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from nautilus_ext.errors import ConfigError, Problem

if TYPE_CHECKING:
    from pathlib import Path

SIZE_BYTES_MAX = 5_000_000
DEPTH_MAX = 50
_TOO_DEEP = f"nested more than {DEPTH_MAX} levels deep: no config needs that"


def read_document(path: Path) -> dict[str, Any]:
    """Return the file's content, or raise ConfigError with all that keeps it from being read."""
    text = _read(path)
    twice: list[Problem] = []

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key, value in pairs:
            if key in result:
                twice.append(Problem(key, "stands twice in one object, and one of the two would be lost: rename one"))
            result[key] = value
        return result

    try:
        document = json.loads(text, object_pairs_hook=once)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise ConfigError(str(path), [Problem(place, f"this is not JSON: {error.msg}")]) from None
    except RecursionError:
        raise ConfigError(str(path), [Problem("", _TOO_DEEP)]) from None
    except ValueError as error:
        raise ConfigError(str(path), [Problem("", f"a number in it is too long: {error}")]) from None
    if twice:
        raise ConfigError(str(path), twice)
    if not isinstance(document, dict):
        raise ConfigError(str(path), [Problem("", "expected a JSON object { … } at the top")])
    if fault := _unfit(document):
        raise ConfigError(str(path), [Problem("", fault)])
    return document


def _unfit(document: dict[str, Any]) -> str | None:
    """What JSON allows and no config needs: it would end deep inside something with a riddle of an error."""
    if _depth(document, 0) > DEPTH_MAX:
        return _TOO_DEEP
    try:
        json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        return f"holds half a character ({error.object[error.start]!r}): write the whole one"
    return None


def _depth(value: Any, above: int) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if above > DEPTH_MAX:
        return above
    return max((_depth(item, above + 1) for item in inner), default=above)


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(SIZE_BYTES_MAX + 1)
        if len(content) > SIZE_BYTES_MAX:
            raise ConfigError(str(path), [Problem("", f"larger than {SIZE_BYTES_MAX:,} bytes: is this a config?")])
        return content.decode("utf-8-sig")  # some editors put a mark in front
    except FileNotFoundError:
        cure = "no such file: give the path of a config, for example node_configs/paper.json"
        raise ConfigError(str(path), [Problem("", cure)]) from None
    except UnicodeDecodeError as error:
        raise ConfigError(str(path), [Problem("", f"not UTF-8 text (byte {error.start})")]) from None
    except OSError as error:
        raise ConfigError(str(path), [Problem("", f"cannot be read: {error.strerror}")]) from None
