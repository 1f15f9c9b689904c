"""What the ledger asks for before a batch, read from the tables that earlier batches wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nautilus_ext.persistence import ledger
from nautilus_ext.persistence.records import Record
from nautilus_ext.persistence.rows import InstrumentRow, PositionRow, UnifiedPositionRow

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nautilus_ext.persistence.positions import PositionKey
    from nautilus_ext.persistence.shipper.writing import Writer


def _select(table: str, row: Any) -> str:
    return f"SELECT {', '.join(row._fields)} FROM {table} WHERE book_id = $1"  # noqa: S608 - our own names


INSTRUMENTS = _select("instruments", InstrumentRow)
OPEN_POSITIONS = f"{_select('venue_positions', PositionRow)} AND side <> 'FLAT'"
UNIFIED_POSITIONS = _select("unified_positions", UnifiedPositionRow)
REALIZED = """
    SELECT asset_key, currency, sum(realized_pnl) FROM venue_positions
     WHERE book_id = $1 AND asset_key IS NOT NULL GROUP BY asset_key, currency"""
# OFFSET keeps these as they are written: an index probe for each id, however large the book is.
# What no projection could take is in the journal, and stays out of the fold.
ORDER_RECORDS = """
    SELECT found.* FROM unnest($2::text[]) AS wanted (id), LATERAL (
        SELECT e.run, e.seq, e.type, e.ts_event, e.ts_init, e.payload FROM order_events e
         WHERE e.book_id = $1 AND e.client_order_id = wanted.id
           AND NOT EXISTS (SELECT FROM rejected_events x WHERE (x.book_id, x.run, x.seq) = (e.book_id, e.run, e.seq))
        OFFSET 0) AS found"""
# A run may tell a life under another strategy and position id than its row has: only the journal knows which.
TOLD_AS = """
    SELECT told.* FROM venue_positions p, LATERAL (
        SELECT e.run, e.seq, e.strategy_id, e.position_id FROM order_events e
         WHERE (e.book_id, e.run, e.seq) = (p.book_id, p.run, p.seq)
        OFFSET 0) AS told
     WHERE p.book_id = $1 AND p.side <> 'FLAT'"""
_WANTED = (
    "unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[]) AS wanted (a, b, c, d, e, f)"
)
_IS_WANTED = """
    (account_id, instrument_id, opening_order_id, opened_ns) = (wanted.a, wanted.b, wanted.e, wanted.f)"""
_FOUND = f"{_select('venue_positions', PositionRow)} AND {_IS_WANTED} OFFSET 0"
POSITIONS = f"SELECT found.* FROM {_WANTED}, LATERAL ({_FOUND}) AS found"  # noqa: S608 - our own names


async def load(writer: Writer, book: ledger.Ledger, needs: ledger.Needs) -> None:
    """Fetch what is needed, and hand it over."""
    start = await _start(writer) if needs.start else None
    found = await writer.fetch(ORDER_RECORDS, needs.orders) if needs.orders else []
    rows = await _positions(writer, needs.positions) if needs.positions else ()
    book.load(needs, start=start, order_records=[Record(*row) for row in found], position_rows=rows)


async def _start(writer: Writer) -> ledger.Start:
    return ledger.Start(
        instruments=_rows(InstrumentRow, await writer.fetch(INSTRUMENTS)),
        open_positions=_rows(PositionRow, await writer.fetch(OPEN_POSITIONS)),
        unified_positions=_rows(UnifiedPositionRow, await writer.fetch(UNIFIED_POSITIONS)),
        realized=[tuple(row) for row in await writer.fetch(REALIZED)],
        told_as=[tuple(row) for row in await writer.fetch(TOLD_AS)],
    )


async def _positions(writer: Writer, keys: list[PositionKey]) -> Iterable[PositionRow]:
    return _rows(PositionRow, await writer.fetch(POSITIONS, *map(list, zip(*keys, strict=True))))


def _rows(kind: Any, found: list[Any]) -> list[Any]:
    return [kind(*row) for row in found]
