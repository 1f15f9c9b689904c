"""Random lives of real Nautilus orders, and the records that a log would hold of them."""

from __future__ import annotations

import contextlib
import uuid
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec
from nautilus_trader.common.component import TestClock
from nautilus_trader.common.factories import OrderFactory
from nautilus_trader.core.fsm import InvalidStateTrigger
from nautilus_trader.model import events
from nautilus_trader.model.enums import OrderSide, OrderType, TriggerType
from nautilus_trader.model.identifiers import ExecAlgorithmId, InstrumentId, StrategyId, TraderId
from nautilus_trader.model.objects import Price, Quantity
from nautilus_trader.model.orders import LimitOrder, MarketOrder

from nautilus_ext.persistence.records import Record

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

INSTRUMENT = "BTCUSDT-PERP.BINANCE"
KINDS = ("market", "limit", "stop_market", "stop_limit", "market_to_limit", "market_if_touched", "limit_if_touched")
TRAILING = ("trailing_stop_market", "trailing_stop_limit")
PLAIN = (
    *("Denied", "Submitted", "Accepted", "Accepted", "Rejected", "Canceled", "Expired", "Triggered"),
    *("PendingUpdate", "PendingUpdate", "PendingCancel", "PendingCancel", "ModifyRejected", "CancelRejected"),
)
LIVES: tuple[tuple[str, ...], ...] = (
    ("Submitted", "Accepted"),
    ("Submitted", "Accepted", "Triggered"),
    ("Accepted", "Triggered"),
    ("Submitted", "Accepted", "PendingUpdate", "Triggered"),
    ("Submitted", "PendingCancel"),
    ("Submitted", "Accepted", "PendingUpdate"),
    ("Submitted", "PendingUpdate", "Updated", "Accepted"),
    ("Submitted", "PendingCancel", "CancelRejected"),
    ("Submitted", "Accepted", "PendingUpdate", "PendingUpdate", "ModifyRejected"),
    ("Submitted", "Accepted", "PendingUpdate", "PendingCancel", "CancelRejected"),
    ("Submitted", "Accepted", "PendingUpdate", "ModifyRejected", "PendingCancel", "CancelRejected"),
    ("Submitted", "Accepted", "PendingUpdate", "PendingCancel", "Filled", "Canceled", "Filled"),
    ("Emulated", "Updated", "transform", "Submitted"),
    ("Emulated", "Canceled"),
    ("Accepted",),
    ("Denied",),
    ("Emulated",),
    (),
)


class OrderLife:
    """A Nautilus order, and a record of every event that was offered to it: taken or refused, as the bus has both."""

    def __init__(self, rng: random.Random, number: int, take_number: Callable[[], tuple[int, int]]) -> None:
        self.rng = rng
        self.take_number = take_number
        self.records: list[Record] = []
        self.trades = 0
        self.charged_in = rng.choice(("USDT", "BTC"))  # two at once: Nautilus's own `commissions()` raises
        self.order = self._new(number)
        self._write(self.order.init_event)

    def live(self, steps: int) -> None:
        """Begin as orders do, then let anything happen."""
        for kind in self.rng.choice(LIVES):
            self.step(kind)
        for _ in range(steps):
            self.step(self.rng.choice((*PLAIN, "Updated", "Updated", *["Filled"] * 5)))

    def step(self, kind: str) -> None:
        if kind == "transform":
            self._transform()
        elif kind == "Filled":
            if self._can_fill():
                self._offer(kind, self._fill())
        elif kind == "Updated":
            self._offer(kind, self._update())
        elif kind in ("Denied", "Rejected", "ModifyRejected", "CancelRejected"):
            self._offer(kind, {"reason": f"{kind} {self.rng.randrange(100)}", "due_post_only": False})
        else:
            self._offer(kind, {})

    def _new(self, number: int) -> Any:
        rng = self.rng
        factory = OrderFactory(TraderId("T-1"), StrategyId(f"S-{rng.randrange(3)}"), TestClock())
        factory.set_client_order_id_count(number)
        kind = rng.choice((*KINDS, *TRAILING))
        given: dict[str, Any] = {"tags": rng.choice((None, ["x"], ["x", f"op:{number // 2}"]))}
        if kind in ("limit", "stop_limit", "limit_if_touched"):
            given["price"] = self._price()
        if kind not in ("market", "limit", "market_to_limit"):
            given["trigger_price"] = self._price()
            given["emulation_trigger"] = rng.choice((TriggerType.NO_TRIGGER, TriggerType.BID_ASK))
        if kind in TRAILING:
            given["trailing_offset"] = Decimal(1)
        if kind == "trailing_stop_limit":
            given |= {"limit_offset": Decimal(1), "price": self._price()}
        if rng.random() < 0.2:
            given["exec_algorithm_id"] = ExecAlgorithmId("TWAP")
            given["exec_algorithm_params"] = {"horizon_secs": 20}
        side = rng.choice((OrderSide.BUY, OrderSide.SELL))
        return getattr(factory, kind)(InstrumentId.from_str(INSTRUMENT), side, self._quantity(), **given)

    def _transform(self) -> None:
        """Do what the emulator does when the trigger price comes: another order of the same id goes on."""
        if self.order.status_string() != "EMULATED" or self.order.order_type == OrderType.MARKET:
            return
        into = LimitOrder if self.order.has_price else MarketOrder
        self.order = into.transform_py(self.order, self._now())
        self._write(self.order.last_event)
        self._offer("Released", {"released_price": "100.0"})

    def _offer(self, kind: str, said: dict[str, Any]) -> None:
        order = self.order
        base: dict[str, Any] = {
            "trader_id": "T-1",
            "strategy_id": order.strategy_id.value,
            "instrument_id": INSTRUMENT,
            "client_order_id": order.client_order_id.value,
            "venue_order_id": self.rng.choices(("V-1", "V-2"), (40, 1))[0],
            "account_id": "BINANCE-001",
            "event_id": str(uuid.uuid4()),
            "ts_event": self._now(),
            "ts_init": self._now(),
            "reconciliation": self.rng.random() < 0.05,
        }
        event = getattr(events, f"Order{kind}").from_dict(base | said)
        with contextlib.suppress(InvalidStateTrigger, ValueError, KeyError):  # Nautilus's engine logs these and goes on
            order.apply(event)
        self._write(event)

    def _fill(self) -> dict[str, Any]:
        rng = self.rng
        if self.trades == 0 or rng.random() > 0.1:
            self.trades += 1
        return {
            "trade_id": f"T-{self.trades}",
            "position_id": rng.choice((None, "P-1")),
            "order_side": self.order.side_string(),
            "order_type": self.order.type_string(),
            "last_qty": str(self._quantity()),
            "last_px": str(self._price()),
            "currency": "USDT",
            "commission": f"{rng.randrange(-(10**5), 10**6) / 10**6:.8f} {self.charged_in}",
            "liquidity_side": rng.choice(("MAKER", "TAKER")),
            "info": {},
        }

    def _can_fill(self) -> bool:
        """Nautilus 1.231 raises AttributeError for a fill of these two before they have a price."""
        needs_price = self.order.order_type in (OrderType.MARKET_TO_LIMIT, OrderType.TRAILING_STOP_LIMIT)
        return not needs_price or self.order.price is not None

    def _update(self) -> dict[str, Any]:
        rng = self.rng
        return {
            "quantity": str(self._quantity(9)),
            "price": rng.choice((None, str(self._price()))),
            "trigger_price": rng.choice((None, str(self._price()))),
            "is_quote_quantity": rng.random() < 0.1,
        }

    def _write(self, event: Any) -> None:
        run, seq = self.take_number()
        body = type(event).to_dict(event)
        self.records.append(
            Record(run, seq, type(event).__name__, event.ts_event, event.ts_init, msgspec.json.encode(body))
        )

    def _quantity(self, most: int = 3) -> Quantity:
        return Quantity.from_str(f"{self.rng.randrange(1, most * 1_000) / 1_000:.3f}")

    def _price(self) -> Price:
        return Price.from_str(f"{self.rng.randrange(1, 1_000_000) / 10:.1f}")

    def _now(self) -> int:
        return (len(self.records) + 1) * 1_000_000


_UNKNOWN_TO_THE_VENUE: dict[str, Any] = {
    "tags": None,
    "exec_algorithm_id": None,
    "exec_algorithm_params": None,
    "exec_spawn_id": None,
    "parent_order_id": None,
    "order_list_id": None,
    "linked_order_ids": None,
    "contingency_type": "NO_CONTINGENCY",
}


def told_by_the_venue(order_records: list[Record], run: int) -> list[Record]:
    """The same life as the reconciliation of a later run makes it up: all that only we knew is missing."""
    told = []
    for seq, record in enumerate(order_records, 1):
        body = msgspec.json.decode(record.body)
        body |= {"strategy_id": "EXTERNAL", "reconciliation": True, "event_id": f"{run}-{body['event_id']}"}
        if record.type == "OrderInitialized":
            body |= _UNKNOWN_TO_THE_VENUE
        told.append(record._replace(run=run, seq=seq, body=msgspec.json.encode(body)))
    return told
