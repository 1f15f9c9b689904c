"""Rows of a table beside the rows that the journal says it has: what agrees is forgotten at once. Pure.

Both sides come in the order of their versions, chunk by chunk. A folded row that nothing changes later meets its table
row in the same chunk, so only rows that are still going to change wait here: open orders and positions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from nautilus_ext.persistence.comparison import compare
from nautilus_ext.persistence.rows import key_of

if TYPE_CHECKING:
    from collections.abc import Iterable

WAITING_MAX = 100_000  # rows of one table that wait for their partner; what is more differs for sure
LISTED_MAX = 100
VALUE_CHARS_MAX = 120


class Finding(NamedTuple):
    """One thing that is wrong: where, and both values."""

    table: str
    key: str
    field: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.table} {self.key}: {self.field}: expected {self.expected}, found {self.found}"


class Findings:
    """All that is wrong, counted; the first ones listed."""

    def __init__(self) -> None:
        self.total = 0
        self.listed: list[Finding] = []
        self._by_table: dict[str, int] = {}

    def add(self, table: str, key: object, field: str, expected: object, found: object) -> None:
        self.total += 1
        self._by_table[table] = self._by_table.get(table, 0) + 1
        if len(self.listed) < LISTED_MAX:
            text = key if isinstance(key, str) else _key(key)
            self.listed.append(Finding(table, text, field, _short(expected), _short(found)))

    def of(self, table: str) -> int:
        return self._by_table.get(table, 0)

    def compare(self, table: str, folded: Iterable[Any], stored: Iterable[Any]) -> None:
        for each in compare(folded, stored):
            if each.field == "(row)":
                words = ("a row", "none") if each.b is None else ("no row", "one")
                self.add(table, each.key, "row", *words)
            else:
                self.add(table, each.key, each.field, each.a, each.b)


class Matching:
    """One table: call `fold`, then `store`, for each chunk; then `end`."""

    def __init__(self, table: str, findings: Findings, *, keeps_first: bool = False) -> None:
        """With `keeps_first` a row that is told again is no other row, as in the table itself."""
        self.table = table
        self._keeps_first = keeps_first
        self.rows = 0
        self.folded: dict[Any, Any] = {}
        self._stored: dict[Any, Any] = {}
        self._findings = findings

    def fold(self, folded: Iterable[Any]) -> None:
        for row in folded:
            key = key_of(row)
            if not (self._keeps_first and key in self.folded):
                self.folded[key] = row

    def store(self, stored: Iterable[Any]) -> None:
        """A pair that differs waits: a life of a position may be ended by a later one, under its own version."""
        for row in stored:
            self.rows += 1
            key = key_of(row)
            partner = self.folded.get(key)
            if partner is None or (partner.run, partner.seq) != (row.run, row.seq) or compare([partner], [row]):
                self._stored[key] = row
            else:
                del self.folded[key]
        self._bound()

    @property
    def waiting(self) -> set[Any]:
        return self.folded.keys() | self._stored.keys()

    def again(self, key: Any, rows: list[Any]) -> None:
        """Judge what waits by the rows that the journal may have left there, the fold of all of it first."""
        folded, stored = self.folded.get(key), self._stored.get(key)
        if stored is not None and any(not compare([row], [stored]) for row in rows):
            del self._stored[key]
            self.folded.pop(key, None)
        elif stored is not None:
            self.folded[key] = rows[0]
        elif self._keeps_first and folded is not None and folded[-2:] != rows[0][-2:]:
            del self.folded[key]  # the first report met its partner long ago

    def end(self) -> None:
        """Judge what found no partner of its version."""
        self._findings.compare(self.table, self.folded.values(), self._stored.values())
        self.folded, self._stored = {}, {}

    def _bound(self) -> None:
        """Judge the oldest now when too many wait: at least one side of each lacks its row."""
        for waiting, words in ((self.folded, ("a row", "none")), (self._stored, ("no row", "one"))):
            while len(waiting) > WAITING_MAX:
                key = next(iter(waiting))
                del waiting[key]
                self._findings.add(self.table, key, "row", *words)


def _key(key: object) -> str:
    return "/".join(str(part) for part in key) if isinstance(key, tuple) else str(key)


def _short(value: object) -> str:
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    return text if len(text) <= VALUE_CHARS_MAX else f"{text[:VALUE_CHARS_MAX]}…"
