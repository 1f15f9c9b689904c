"""Lists too long for one answer: page by page, each beginning after the last row of the one before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nautilus_ext.simulation import wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from nautilus_ext.simulation.client.connection import Link

PAGES_MAX = 10_000

_ROWS = {wire.GetOrders: ("orders", "venue_order_id"), wire.GetFills: ("fills", "trade_id")}  # and what a row goes by


async def read_all(
    link: Link, kind: type[wire.GetOrders | wire.GetFills], warn: Callable[[str], None], **filters: Any
) -> list[Any]:
    """All pages, and the stream as far as they go."""
    rows, row_id = _ROWS[kind]
    found: list[Any] = []
    for _ in range(PAGES_MAX):
        page = await link.read(kind, **filters)
        await link.reached(page.seq)
        found += getattr(page, rows)
        if not page.more:
            return found
        filters["after"] = getattr(found[-1], row_id)
    cure = "ask for a shorter time (exec_engine.reconciliation_lookback_mins)"
    warn(f"{len(found):,} {rows} were read, up to {filters['after']}; all after it are missing in the report: {cure}")
    return found
