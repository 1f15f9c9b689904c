"""An event as the payload of a log record: `[seq, type, ts_event, ts_init, body]` in JSON.

Never raises: what cannot be encoded keeps its number, and says what it was. An event whose `info` cannot, keeps all
that Nautilus itself says of it.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec

from nautilus_ext.persistence.segments import RECORD_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import Callable

UNENCODABLE_CHARS_MAX = 2_000
ACTION_CHARS_MAX = 100
EVENTS = "nautilus_trader.model.events"
ABSTRACT = ("OrderEvent", "PositionEvent")


class Encoder:
    """Encodes events, decisions and records of our own; not for two threads at once."""

    def __init__(self) -> None:
        # a venue may put anything into `info`: its text is worth more than a refused event
        self._encode = msgspec.json.Encoder(enc_hook=str).encode
        self._kinds: dict[type, tuple[str, Callable[[Any], Any]]] = {}

    def event(self, seq: int, event: Any) -> bytes:
        """Encode a Nautilus event."""
        kind = type(event)
        try:
            name, body = self._kinds.get(kind) or self._learn(kind)
            payload = self._encode((seq, name, event.ts_event, event.ts_init, body(event)))
        except Exception as error:  # noqa: BLE001 - whatever a foreign event does, the numbering goes on
            return self._without_info(seq, event, error)
        return payload if len(payload) <= RECORD_BYTES_MAX else self._without_info(seq, event, _size_error(payload))

    def record(self, seq: int, name: str, ts_ns: int, body: Any) -> bytes:
        """Encode a record of our own: an instrument, a decision, marks, the end."""
        try:
            payload = self._encode((seq, name, ts_ns, ts_ns, body))
        except Exception as error:  # noqa: BLE001 - as above
            return self._without_details(seq, name, ts_ns, body, error)
        if len(payload) <= RECORD_BYTES_MAX:
            return payload
        return self._without_details(seq, name, ts_ns, body, _size_error(payload))

    def _without_details(self, seq: int, name: str, ts_ns: int, body: Any, error: Exception) -> bytes:
        """Encode a verdict whatever stands beside its numbers: no text is escaped, and what is too much is left out.

        What was judged stays: by that the next node knows whose reservation holds.
        """
        with suppress(Exception):  # as above; an instrument has no details
            plain = _encodable(msgspec.to_builtins(body, enc_hook=str))
            short = {"action": plain["details"].get("action", "")[:ACTION_CHARS_MAX], "unencodable": _ascii(plain)}
            for each in (plain, {**plain, "details": short}):
                payload = self._encode((seq, name, ts_ns, ts_ns, each))
                if len(payload) <= RECORD_BYTES_MAX:
                    return payload
        return self._encode((seq, name, ts_ns, ts_ns, _fallback(body, error)))

    def _learn(self, kind: Any) -> tuple[str, Callable[[Any], Any]]:
        self._kinds[kind] = known = (_name(kind), kind.to_dict)
        return known

    def _without_info(self, seq: int, event: Any, error: Exception) -> bytes:
        """Encode all but what the venue put into `info`: a fill is a fill whatever stands beside it."""
        kind = type(event)
        try:
            body = kind.to_dict(event)
            if "info" in body:
                body["info"] = {"unencodable": _ascii(body["info"])}
            payload = self._encode((seq, _name(kind), event.ts_event, event.ts_init, _encodable(body)))
        except Exception:  # noqa: BLE001 - as above
            return self._unencodable(seq, event, error)
        return payload if len(payload) <= RECORD_BYTES_MAX else self._unencodable(seq, event, error)

    def _unencodable(self, seq: int, event: Any, error: Exception) -> bytes:
        ts_event, ts_init = (_whole(getattr(event, name, 0)) for name in ("ts_event", "ts_init"))
        return self._encode((seq, _name(type(event)), ts_event, ts_init, _fallback(event, error)))


def _name(kind: type) -> str:
    """Name an event; an adapter's own kind of a Nautilus event is that one: its fill belongs into the tables, too."""
    known = (base for base in kind.__mro__ if base.__module__.startswith(EVENTS) and base.__name__ not in ABSTRACT)
    return next(known, kind).__name__


def _fallback(what: Any, error: Exception) -> dict[str, str]:
    return {"unencodable": _ascii(what), "error": _ascii(error)}


def _size_error(payload: bytes) -> ValueError:
    return ValueError(f"{len(payload):,} bytes, at most {RECORD_BYTES_MAX:,} are kept")


def _encodable(value: Any) -> Any:
    """Escape what is no text: half of a surrogate pair."""
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, list):
        return [_encodable(each) for each in value]
    if isinstance(value, dict):
        return {key: _encodable(each) for key, each in value.items()}
    return value


def _ascii(what: Any) -> str:
    try:
        return ascii(what)[:UNENCODABLE_CHARS_MAX]
    except Exception:  # noqa: BLE001 - even its repr fails
        return type(what).__name__


def _whole(value: Any) -> int:
    return value if isinstance(value, int) else 0
