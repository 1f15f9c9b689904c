"""Secrets leave a text before it leaves the process, in every form in which they may stand there."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus

if TYPE_CHECKING:
    from collections.abc import Iterable

MASK = "***"
SECRET_CHARS_MIN = 4  # shorter ones would blank out ordinary words and still be guessed
SECRET_LINE_CHARS_MIN = 8  # the last line of a PEM key may be short: a piece of it opens nothing
DEPTH_MAX = 8

_PERCENT_CODE = re.compile(r"%[0-9A-F]{2}")


class Masker:
    """Replaces every secret by `***`; the longest first, so that no piece of one survives inside another."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        forms = {form for secret in secrets for form in _forms(secret)}
        longest_first = sorted(forms, key=lambda form: (-len(form), form))
        self.longest_bytes = max((len(form.encode("utf-8", "replace")) for form in forms), default=0)
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def text(self, text: str) -> str:
        return text if self._pattern is None else self._pattern.sub(MASK, text)

    def fields(self, fields: dict[str, Any]) -> dict[str, Any]:
        """The same structure, every text in it masked: encoded afterwards it is valid JSON, whatever a secret is."""
        return fields if self._pattern is None else {key: self._value(value, 1) for key, value in fields.items()}

    def _value(self, value: Any, depth: int) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if value is None or isinstance(value, bool):
            return value
        if depth < DEPTH_MAX and isinstance(value, dict):
            return {self.text(str(key)): self._value(item, depth + 1) for key, item in value.items()}
        if depth < DEPTH_MAX and isinstance(value, (list, tuple, set, frozenset)):
            return [self._value(item, depth + 1) for item in value]
        plain = str(value)
        masked = self.text(plain)
        return value if masked == plain and isinstance(value, (int, float)) else masked


def _forms(secret: str) -> set[str]:
    lines = [line.strip() for line in secret.splitlines()]
    pieces = {line for line in lines if len(line) >= SECRET_LINE_CHARS_MIN} if len(lines) > 1 else set[str]()
    whole = {text for text in (secret, secret.strip()) if len(text.strip()) >= SECRET_CHARS_MIN}
    return {form for text in whole | pieces for form in _spellings(text)}


def _spellings(text: str) -> set[str]:
    bytes_safe = text.encode("utf-8", "replace").decode()
    percent = {quote(bytes_safe, safe=""), quote(bytes_safe), quote_plus(bytes_safe)}
    return {
        text,
        json.dumps(text)[1:-1],
        json.dumps(text, ensure_ascii=False)[1:-1],
        repr(text)[1:-1],
        *percent,
        *(_PERCENT_CODE.sub(lambda code: code[0].lower(), form) for form in percent),
    }
