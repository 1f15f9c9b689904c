"""The SQL of the shipper, made from the rows: what is inserted, what is replaced by something newer. Pure."""

from __future__ import annotations

from typing import Any, NamedTuple

from nautilus_ext.persistence.rows import (
    KEYS,
    AccountRow,
    FillRow,
    InstrumentRow,
    JournalRow,
    OrderRow,
    PositionRow,
    RejectionRow,
    RiskRow,
    RoutingRow,
    UnifiedPositionRow,
)

# The epoch of the book is read under a lock that whoever raises it must wait for: a batch that began in time ends in
# time. The progress moves only from where this shipper knows it: what another one has shipped is not shipped again.
ADVANCE = """
    WITH fence AS (SELECT epoch FROM books WHERE book_id = $1 FOR SHARE),
         step AS (UPDATE runs SET durable_seq = $4, last_seq = greatest(last_seq, $5)
                   WHERE book_id = $1 AND run = $2 AND durable_seq = $3 AND (SELECT epoch FROM fence) = $6
               RETURNING run)
    SELECT (SELECT epoch FROM fence) AS epoch, EXISTS (SELECT FROM step) AS has_advanced"""
EPOCH = "SELECT epoch FROM books WHERE book_id = $1"
PROGRESS = """
    SELECT durable_seq, (SELECT count(*) FROM rejected_events x WHERE x.book_id = $1 AND x.run = $2) AS rejected
      FROM runs WHERE book_id = $1 AND run = $2"""


class Target(NamedTuple):
    """How the rows of one table get there: straight, or over a temporary table and the statement that merges it."""

    table: str
    columns: tuple[str, ...]
    stage: str = ""
    merge: str = ""

    @property
    def create_stage(self) -> str:
        return f"CREATE TEMPORARY TABLE {self.stage} (LIKE {self.table}) ON COMMIT DELETE ROWS"


def _straight(table: str, row: Any) -> Target:
    return Target(table, row._fields)


def _merged(table: str, row: Any, kept: str = "<=") -> Target:
    """Merge by key: a row is replaced unless it has the newer version; equal versions are a refold, or new prices."""
    keys = ("book_id", *KEYS[row])
    listed = ", ".join(row._fields)
    replaced = ", ".join(f"{name} = excluded.{name}" for name in row._fields if name not in keys)
    merge = (
        f"INSERT INTO {table} AS t ({listed}) SELECT {listed} FROM pg_temp.new_{table} "  # noqa: S608 - our own names
        f"ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {replaced} "
        f"WHERE (t.run, t.seq) {kept} (excluded.run, excluded.seq)"
    )
    return Target(table, row._fields, f"new_{table}", merge)


# By the kind of their rows, in the order in which they are written.
TARGETS: dict[type, Target] = {
    JournalRow: _straight("order_events", JournalRow),
    RejectionRow: _straight("rejected_events", RejectionRow),
    RiskRow: _straight("risk_decisions", RiskRow),
    RoutingRow: _straight("routing_decisions", RoutingRow),
    InstrumentRow: _merged("instruments", InstrumentRow),
    OrderRow: _merged("unified_orders", OrderRow),
    FillRow: _merged("unified_fills", FillRow, kept=">="),  # of a trade that was told twice the first report counts
    PositionRow: _merged("venue_positions", PositionRow),
    UnifiedPositionRow: _merged("unified_positions", UnifiedPositionRow),
    AccountRow: _merged("account_states", AccountRow),
}
