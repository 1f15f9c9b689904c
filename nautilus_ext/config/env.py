"""`${VAR}` and `${VAR:-default}` in the strings of a config: pure, every missing variable reported."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from nautilus_ext.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^{}]*))?\}")
SECRET_NAME = re.compile(
    r"secret|passw|passphrase|private_key|api_?key|app_?key|token|credential|mnemonic|seed_phrase", re.IGNORECASE
)


class FromEnv(str):
    """A string that came from the environment, where everything is text: it may stand for a number or a boolean."""

    __slots__ = ()


class Unresolved(str):
    """A string whose variables were not looked up, because this run does not use its section."""

    __slots__ = ()


def walk(value: Any, at: str, visit: Callable[[str, str], Any]) -> Any:
    """Return `value` with `visit(path, text)` in the place of each of its strings."""
    if isinstance(value, str):
        return visit(at, value)
    if isinstance(value, dict):
        return {key: walk(item, join(at, key), visit) for key, item in value.items()}
    if isinstance(value, list):
        return [walk(item, f"{at}[{index}]", visit) for index, item in enumerate(value)]
    return value


def plain(value: Any) -> Any:
    """A copy whose strings are ordinary ones, as an encoder wants them."""
    return walk(value, "", lambda _at, text: str(text))


def holds(value: Any, kind: type[str]) -> bool:
    """Whether a string of this kind is anywhere in the value."""
    if isinstance(value, dict):
        return any(holds(item, kind) for item in value.values())
    if isinstance(value, list):
        return any(holds(item, kind) for item in value)
    return isinstance(value, kind)


def join(at: str, key: str) -> str:
    return f"{at}.{key}" if at else str(key)


def references(text: str) -> list[tuple[str, str | None]]:
    """The variables that a text names, each with its default."""
    return [(match[1], match[2]) for match in REFERENCE.finditer(text)]


def substitute(text: str, at: str, environ: Mapping[str, str], problems: list[Problem]) -> str:
    """Fill in the variables of one string. An empty variable counts as unset, as in a shell's `:-`."""
    if "${" not in text:
        return text
    if "${" in REFERENCE.sub("", text):
        problems.append(Problem(at, f"broken variable reference in {text!r}: write ${{NAME}} or ${{NAME:-default}}"))
        return Unresolved(text)

    missing: list[str] = []

    def fill(match: re.Match[str]) -> str:
        name, default = match[1], match[2]
        found = environ.get(name, "")
        if not found and default is None:
            missing.append(name)
        return found or (default or "")

    filled = REFERENCE.sub(fill, text)
    for name in missing:
        state = "is empty" if name in environ else "is not set"
        problems.append(Problem(at, f"the environment variable {name} {state}: export {name}=… before the start"))
    return Unresolved(text) if missing else FromEnv(filled)
