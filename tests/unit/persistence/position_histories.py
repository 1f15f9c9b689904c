"""Random lives of real Nautilus positions over several accounts, strategies and instruments, as records of a log."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from gambling_engine import INVERSE, LINEAR, SPOT
from nautilus_trader.core.uuid import UUID4  # pyright: ignore[reportAttributeAccessIssue]
from nautilus_trader.model import events
from nautilus_trader.model.position import Position

from nautilus_ext.persistence.records import Record

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

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


class Fill(NamedTuple):
    """What the venue knows of a fill, and who of the node had it."""

    instrument: Any
    strategy: str
    account: str
    slot: str
    side: str
    units: int
    number: int
    order_id: str
    price: int

    @property
    def position_id(self) -> str:
        return f"{self.instrument.id}-{self.strategy}-{self.account}{self.slot}"


class PositionLives:
    """Fills applied to Nautilus's positions as its engine does it, netting or hedging, and the events of them."""

    def __init__(self, rng: random.Random, take_number: Callable[[], tuple[int, int]], strategies: int = 2) -> None:
        self.rng = rng
        self.take_number = take_number
        self.strategies = strategies
        self.records: list[Record] = []
        self.positions: dict[str, Position] = {}
        self.realized: dict[tuple[Any, ...], Decimal] = {}  # of each life as it was told last; instrument id first
        self.fills: list[Fill] = []

    def define(self) -> None:
        for instrument, asset_key in ASSETS.items():
            self.records.append(instrument_record(instrument, asset_key, self.take_number()))

    def trade(self, *, netting: bool) -> None:
        """One fill; what is more than the position closes it and opens the other side."""
        rng, number = self.rng, len(self.fills) + 1
        instrument = rng.choice(list(ASSETS))
        fill = Fill(
            instrument=instrument,
            strategy=f"S-{rng.randrange(self.strategies)}",
            account=f"{instrument.id.venue}-{rng.randrange(1, 3):03d}",
            slot="" if netting else f"-{rng.randrange(2)}",
            units=rng.randrange(1, 5),
            side=rng.choice(("BUY", "SELL")),
            number=number,
            order_id=f"O-{number - rng.randrange(2)}",
            price=20_000 + rng.randrange(1_000),
        )
        self.fills.append(fill)
        self._fill(fill)

    def tell_again(self, first: int = 1, *, is_claimed: bool = False) -> None:
        """Tell what a node without memory hears at its start: the fills since a number, netted per account.

        What the venue holds from before that is one position that an order made up by Nautilus opens.
        """
        self.positions = {}
        held: dict[tuple[Any, str], int] = {}
        for fill in self.fills[: first - 1]:
            units = fill.units if fill.side == "BUY" else -fill.units
            held[fill.instrument, fill.account] = held.get((fill.instrument, fill.account), 0) + units
        inferred = Fill(LINEAR, "EXTERNAL", "", "", "BUY", 0, first, f"INFERRED-{first}", 20_000)
        for (instrument, account), units in held.items():
            side = "BUY" if units > 0 else "SELL"
            if units:
                self._fill(inferred._replace(instrument=instrument, account=account, side=side, units=abs(units)))
        for fill in self.fills[first - 1 :]:
            self._fill(fill._replace(slot="") if is_claimed else fill._replace(strategy="EXTERNAL", slot=""))

    def hold(self) -> None:
        """Say what is open, as a node does after its reconciliation."""
        names = ("account_id", "instrument_id", "strategy_id", "id", "opening_order_id")
        held = [
            [*(getattr(each, name).value for name in names), each.side.name, str(each.quantity)]
            for each in self.positions.values()
            if each.is_open
        ]
        ts_ns = len(self.fills) * 1_000
        body = msgspec.json.encode({"positions": held, "orders": []})
        self.records.append(Record(*self.take_number(), "Held", ts_ns, ts_ns, body))

    def net(self) -> dict[tuple[str, str], Decimal]:
        """Return what the node holds, by account and instrument."""
        net: dict[tuple[str, str], Decimal] = {}
        for each in self.positions.values():
            if each.is_open:
                pair = each.account_id.value, each.instrument_id.value
                net[pair] = net.get(pair, Decimal(0)) + each.signed_decimal_qty()
        return net

    def _fill(self, fill: Fill) -> None:
        units = fill.units
        position = self.positions.get(fill.position_id)
        if position is not None and position.is_open and position.entry.name != fill.side:
            held = int(position.quantity.as_decimal() / _unit(fill.instrument))
            self._part(fill, min(units, held))
            units -= held
        if units > 0:
            self._part(fill, units)

    def _part(self, fill: Fill, units: int) -> None:
        instrument, ts_ns = fill.instrument, fill.number * 1_000
        event = events.OrderFilled.from_dict(
            {
                "trader_id": "T-1",
                "strategy_id": fill.strategy,
                "instrument_id": instrument.id.value,
                "client_order_id": fill.order_id,
                "venue_order_id": f"V-{fill.number}",
                "account_id": fill.account,
                "trade_id": f"T-{fill.number}-{units}",
                "position_id": fill.position_id,
                "order_side": fill.side,
                "order_type": "MARKET",
                "last_qty": str(instrument.make_qty(units * _unit(instrument))),
                "last_px": str(instrument.make_price(fill.price)),
                "currency": instrument.quote_currency.code,
                "commission": f"0.00010000 {instrument.get_settlement_currency().code}",
                "liquidity_side": "TAKER",
                "event_id": str(UUID4()),
                "ts_event": ts_ns,
                "ts_init": ts_ns,
                "info": {},
                "reconciliation": False,
            }
        )
        self._publish(self._applied(instrument, fill.position_id, event), event)

    def _applied(self, instrument: Any, position_id: str, fill: Any) -> tuple[Position, str]:
        position = self.positions.get(position_id)
        if position is None or position.is_closed:
            position = self.positions[position_id] = Position(instrument, fill)
            return position, "PositionOpened"
        position.apply(fill)
        return position, "PositionClosed" if position.is_closed else "PositionChanged"

    def _publish(self, applied: tuple[Position, str], fill: Any) -> None:
        position, name = applied
        life = (position.instrument_id.value, position.account_id, position.opening_order_id, position.ts_opened)
        self.realized[life] = position.realized_pnl.as_decimal()
        event = getattr(events, name).create(position, fill, UUID4(), fill.ts_init)
        body = msgspec.json.encode(type(event).to_dict(event))
        self.records.append(Record(*self.take_number(), name, event.ts_event, event.ts_init, body))


def _unit(instrument: Any) -> Decimal:
    return Decimal(100) if instrument.is_inverse else Decimal("0.25")
