"""The SQL of the shipper, made from the rows: what is inserted, what is replaced by something newer. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

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
from nautilus_ext.schema.revision import VERSION_TABLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# The epoch of the book is read under a lock that whoever raises it must wait for: a batch that began in time ends in
# time. The progress moves only from where this shipper knows it: what another one has shipped is not shipped again.
# A migration beside it changes the revision of the tables: what does not fit them any more is not the records' fault.
ADVANCE = f"""
    WITH fence AS (SELECT epoch FROM books WHERE book_id = $1 FOR SHARE),
         step AS (UPDATE runs SET durable_seq = $4, last_seq = greatest(last_seq, $5)
                   WHERE book_id = $1 AND run = $2 AND durable_seq = $3 AND (SELECT epoch FROM fence) = $6
               RETURNING run)
    SELECT (SELECT epoch FROM fence) AS epoch, EXISTS (SELECT FROM step) AS has_advanced,
           (SELECT version_num FROM {VERSION_TABLE}) AS revision"""  # noqa: S608 - our own name
DRAINED = """
    UPDATE runs SET drained_at = now()
     WHERE book_id = $1 AND run = $2 AND durable_seq >= last_seq
       AND (SELECT epoch FROM books WHERE book_id = $1) = $3"""
EPOCH = f"SELECT epoch, (SELECT version_num FROM {VERSION_TABLE}) AS revision FROM books WHERE book_id = $1"  # noqa: S608
PROGRESS = """
    SELECT durable_seq, epoch, host, pid,
           (SELECT count(*) FROM rejected_events x WHERE x.book_id = $1 AND x.run = $2) AS rejected
      FROM runs WHERE book_id = $1 AND run = $2"""
MISSING = """
    SELECT durable_seq
         - (SELECT count(*) FROM order_events e WHERE e.book_id = $1 AND e.run = $2 AND e.seq <= durable_seq)
         - (SELECT count(*) FROM rejected_events x
             WHERE x.book_id = $1 AND x.run = $2 AND x.seq <= durable_seq AND x.stage <> 'projection'
               AND NOT EXISTS (SELECT FROM order_events e
                                WHERE (e.book_id, e.run, e.seq) = (x.book_id, x.run, x.seq)))
      FROM runs WHERE book_id = $1 AND run = $2"""


class Target(NamedTuple):
    """How the rows of one table get there: straight, or over a temporary table and the statement that merges it.

    On the way over a temporary table numbers are text: the driver takes five times as long to encode a Decimal.
    """

    table: str
    columns: tuple[str, ...]
    numbers: tuple[int, ...] = ()
    stage: str = ""
    create_stage: str = ""
    merge: str = ""

    def staged(self, rows: Iterable[Any]) -> Iterator[list[Any]]:
        for row in rows:
            fields = list(row)
            for place in self.numbers:
                if fields[place] is not None:
                    fields[place] = str(fields[place])
            yield fields


def _straight(table: str, row: Any) -> Target:
    return Target(table, row._fields)


def _merged(table: str, row: Any, kept: str = "<=") -> Target:
    """Merge by key: a row is replaced unless it has the newer version; equal versions are a refold, or new prices."""
    columns, keys, stage = row._fields, ("book_id", *KEYS[row]), f"new_{table}"
    numbers = [name for name in columns if "Decimal" in str(row.__annotations__[name])]
    texts, values = (
        ", ".join(f"{name}::{kind} AS {name}" if name in numbers else name for name in columns)
        for kind in ("text", "numeric")
    )
    replaced = ", ".join(f"{name} = excluded.{name}" for name in columns if name not in keys)
    empty = f"SELECT {texts} FROM {table} WITH NO DATA"  # noqa: S608 - our own names
    create = f"CREATE TEMPORARY TABLE {stage} ON COMMIT DELETE ROWS AS {empty}"
    merge = (
        f"INSERT INTO {table} AS t ({', '.join(columns)}) SELECT {values} FROM pg_temp.{stage} "  # noqa: S608 - our own names
        f"ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {replaced} "
        f"WHERE (t.run, t.seq) {kept} (excluded.run, excluded.seq)"
    )
    return Target(table, columns, tuple(map(columns.index, numbers)), stage, create, merge)


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
