"""Read a View and a final account of a run off Nautilus's cache and portfolio. Runs on the node's own thread."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from nautilus_ext.app.view import PositionRow
from nautilus_ext.logs import EventLog
from nautilus_ext.risk import RiskGate

if TYPE_CHECKING:
    from nautilus_trader.cache.base import CacheFacade
    from nautilus_trader.model.identifiers import Venue
    from nautilus_trader.portfolio.base import PortfolioFacade
    from nautilus_trader.trading.trader import Trader

    from nautilus_ext.app.view import View

# Pricing a position costs some microseconds on the trading thread: with more of them the view shows the first.
POSITIONS_PRICED_MAX = 50
CENTS = {"BTC": 8, "ETH": 6}  # digits behind the point where two would hide everything


def take_view(frame: View, trader: Trader, cache: CacheFacade, portfolio: PortfolioFacade) -> View:
    """The frame, filled with what there is to see now."""
    event_log = next(actor for actor in trader.actors() if isinstance(actor, EventLog))
    return replace(
        frame,
        counts=dict(event_log.counts),
        working=cache.orders_open_count() + cache.orders_inflight_count() + cache.orders_emulated_count(),
        positions=position_rows(cache),
        positions_open=cache.positions_open_count(),
        pnl=profit(portfolio, {instrument_id.venue for instrument_id in cache.instrument_ids()}),
        recent=event_log.recent_lines(),
        halts=[str(halt) for gate in trader.actors() if isinstance(gate, RiskGate) for halt in gate.halts()],
    )


def position_rows(cache: CacheFacade) -> list[PositionRow]:
    rows = []
    for position in cache.positions_open()[:POSITIONS_PRICED_MAX]:
        unrealized = _unrealized(cache, position)
        rows.append(
            PositionRow(
                instrument=position.instrument_id.value,
                strategy=position.strategy_id.value,
                side=position.side.name,
                quantity=str(position.quantity),
                average=f"{position.avg_px_open:,.6g}" if position.avg_px_open < 1 else f"{position.avg_px_open:,.2f}",
                unrealized=str(unrealized) if unrealized is not None else "-",
                realized=str(position.realized_pnl) if position.realized_pnl is not None else "-",
            )
        )
    return rows


def profit(portfolio: PortfolioFacade, venues: set[Venue]) -> dict[str, str]:
    """Realized and unrealized together, by currency."""
    totals: dict[str, Decimal] = defaultdict(Decimal)
    for venue in venues:
        for part in (portfolio.realized_pnls(venue), portfolio.unrealized_pnls(venue)):
            for currency, money in part.items():
                totals[currency.code] += money.as_decimal()
    return {currency: f"{total:+,.{CENTS.get(currency, 2)}f}" for currency, total in sorted(totals.items())}


def _unrealized(cache: CacheFacade, position: Any) -> Any:
    quote = cache.quote_tick(position.instrument_id)
    if quote is None:
        return None
    price = quote.bid_price if position.is_long else quote.ask_price
    return position.unrealized_pnl(price)
