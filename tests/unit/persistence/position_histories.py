"""Random lives of real Nautilus positions over several accounts, strategies and instruments, as records of a log."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec
from nautilus_trader.core.uuid import UUID4  # pyright: ignore[reportAttributeAccessIssue]
from nautilus_trader.model import events
from nautilus_trader.model.position import Position
from nautilus_trader.test_kit.providers import TestInstrumentProvider

from nautilus_ext.persistence.records import Record

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

LINEAR = TestInstrumentProvider.btcusdt_perp_binance()
INVERSE = TestInstrumentProvider.xbtusd_bitmex()
SPOT = TestInstrumentProvider.btcusdt_binance()
ASSETS = {LINEAR: "PERPETUAL:BTC-USDT", INVERSE: "PERPETUAL:BTC-USD", SPOT: "SPOT:BTC-USDT"}


def instrument_record(instrument: Any, asset_key: str | None, number: tuple[int, int]) -> Record:
    base = instrument.get_base_currency()
    body = {
        "instrument_id": instrument.id.value,
        "canonical_id": asset_key and f"{instrument.id.venue}:{asset_key}",
        "asset_key": asset_key,
        "venue": instrument.id.venue.value,
        "venue_type": "NAUTILUS",
        "instrument_type": type(instrument).__name__,
        "base_asset": base and base.code,
        "quote_currency": instrument.quote_currency.code,
        "settlement_currency": instrument.get_settlement_currency().code,
        "is_inverse": instrument.is_inverse,
        "multiplier": str(instrument.multiplier),
        "price_precision": instrument.price_precision,
        "size_precision": instrument.size_precision,
        "definition": {},
    }
    return Record(*number, "Instrument", 0, 0, msgspec.json.encode(body))


class PositionLives:
    """Fills applied to Nautilus's positions as its engine does it, netting or hedging, and the events of them."""

    def __init__(self, rng: random.Random, take_number: Callable[[], tuple[int, int]]) -> None:
        self.rng = rng
        self.take_number = take_number
        self.records: list[Record] = []
        self.positions: dict[str, Position] = {}
        self.realized: list[tuple[str, Decimal]] = []  # of the lives that ended: instrument id, amount
        self.fills = 0

    def define(self) -> None:
        for instrument, asset_key in ASSETS.items():
            self.records.append(instrument_record(instrument, asset_key, self.take_number()))

    def trade(self, *, netting: bool) -> None:
        """One fill; what is more than the position closes it and opens the other side."""
        rng = self.rng
        instrument = rng.choice(list(ASSETS))
        strategy, account = f"S-{rng.randrange(2)}", f"{instrument.id.venue}-{rng.randrange(1, 3):03d}"
        slot = "" if netting else f"-{rng.randrange(2)}"
        position_id = f"{instrument.id}-{strategy}-{account}{slot}"
        units = rng.randrange(1, 5)
        side = rng.choice(("BUY", "SELL"))
        position = self.positions.get(position_id)
        if position is not None and position.is_open and position.entry.name != side:
            held = int(position.quantity.as_decimal() / _unit(instrument))
            self._fill(instrument, (strategy, account), position_id, side, min(units, held))
            units -= held
        if units > 0:
            self._fill(instrument, (strategy, account), position_id, side, units)

    def _fill(self, instrument: Any, owner: tuple[str, str], position_id: str, side: str, units: int) -> None:
        self.fills += 1
        order_id = f"O-{self.fills - self.rng.randrange(2)}"
        fill = events.OrderFilled.from_dict(
            {
                "trader_id": "T-1",
                "strategy_id": owner[0],
                "instrument_id": instrument.id.value,
                "client_order_id": order_id,
                "venue_order_id": f"V-{self.fills}",
                "account_id": owner[1],
                "trade_id": f"T-{self.fills}",
                "position_id": position_id,
                "order_side": side,
                "order_type": "MARKET",
                "last_qty": str(instrument.make_qty(units * _unit(instrument))),
                "last_px": str(instrument.make_price(20_000 + self.rng.randrange(1_000))),
                "currency": instrument.quote_currency.code,
                "commission": f"0.00010000 {instrument.get_settlement_currency().code}",
                "liquidity_side": "TAKER",
                "event_id": str(UUID4()),
                "ts_event": self.fills * 1_000,
                "ts_init": self.fills * 1_000,
                "info": {},
                "reconciliation": False,
            }
        )
        self._publish(self._applied(instrument, position_id, fill), fill)

    def _applied(self, instrument: Any, position_id: str, fill: Any) -> tuple[Position, str]:
        position = self.positions.get(position_id)
        if position is None or position.is_closed:
            position = self.positions[position_id] = Position(instrument, fill)
            return position, "PositionOpened"
        position.apply(fill)
        if position.is_closed:
            self.realized.append((instrument.id.value, position.realized_pnl.as_decimal()))
        return position, "PositionClosed" if position.is_closed else "PositionChanged"

    def _publish(self, applied: tuple[Position, str], fill: Any) -> None:
        position, name = applied
        event = getattr(events, name).create(position, fill, UUID4(), fill.ts_init)
        body = msgspec.json.encode(type(event).to_dict(event))
        self.records.append(Record(*self.take_number(), name, event.ts_event, event.ts_init, body))


def _unit(instrument: Any) -> Decimal:
    return Decimal(100) if instrument.is_inverse else Decimal("0.25")
