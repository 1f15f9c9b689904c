"""How two sets of rows of one table differ: for the audit, field by field."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from nautilus_ext.persistence.rows import key_of

if TYPE_CHECKING:
    from collections.abc import Iterable

JSON_FIELDS = frozenset(
    {
        *("payload", "exec_algorithm_params", "fills", "commissions", "expected_deltas", "metadata"),
        *("venue_positions", "venue_types", "balances", "margins", "definition", "details", "chosen", "alternatives"),
    }
)
MARKED = frozenset({"current_price", "marked_ns", "unrealized_pnl"})  # prices of quotes: not in the journal


class Difference(NamedTuple):
    """What one row says and the other does not; a row that is missing has None for the whole."""

    key: tuple[Any, ...]
    field: str
    a: Any
    b: Any


def compare(rows_a: Iterable[Any], rows_b: Iterable[Any]) -> list[Difference]:
    """Differences field by field between two sets of rows of one table, in the order of their keys; not of marks."""
    by_key_a = {key_of(row): row for row in rows_a}
    by_key_b = {key_of(row): row for row in rows_b}
    found: list[Difference] = []
    for key in sorted(by_key_a.keys() | by_key_b.keys()):
        a, b = by_key_a.get(key), by_key_b.get(key)
        if a is None or b is None:
            found.append(Difference(key, "(row)", a, b))
        elif a != b:
            found.extend(_fields(key, a, b))
    return found


def _fields(key: tuple[Any, ...], a: Any, b: Any) -> Iterable[Difference]:
    for field, x, y in zip(a._fields, a, b, strict=True):
        if x == y or field in MARKED:
            continue
        if field in JSON_FIELDS and _json(x) == _json(y):
            continue
        yield Difference(key, field, x, y)


def _json(value: Any) -> Any:
    """A jsonb column as a value: the database orders keys and spaces in its own way."""
    return msgspec.json.decode(value) if isinstance(value, (bytes, str)) else value
