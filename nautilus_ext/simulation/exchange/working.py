"""An order as the matching works on it: whole ticks and lots, and where it stands. Pure."""

from __future__ import annotations

from decimal import Context
from enum import IntEnum
from typing import TYPE_CHECKING

from nautilus_ext.simulation.exchange.book import Resting
from nautilus_ext.simulation.exchange.orders import NewOrder, OrderState

if TYPE_CHECKING:
    from decimal import Decimal

    from nautilus_ext.simulation.exchange.accounts import Account
    from nautilus_ext.simulation.exchange.matching import Matching
    from nautilus_ext.simulation.exchange.orders import Status

DAY_NS = 24 * 3_600 * 10**9
AT_ANY_PRICE = ("MARKET", "STOP_MARKET", "MARKET_IF_TOUCHED")
STOPS = ("STOP_MARKET", "STOP_LIMIT")
CONDITIONAL = (*STOPS, "MARKET_IF_TOUCHED", "LIMIT_IF_TOUCHED")
_AVERAGE = Context(prec=40)  # a restored order gets back the exact sum behind its average price


class Stage(IntEnum):
    """Held: waits for its parent. Waiting: for its trigger. Working: trades, or stands in the book."""

    HELD = 0
    WAITING = 1
    WORKING = 2
    CLOSED = 3


class Order(Resting):
    """Mutable; only the matching and the legs change it. `ticks` is 0 for an order at any price."""

    __slots__ = (
        "_price",
        "_quantity",
        "_trigger_price",
        "account",
        "conditional",
        "display",
        "expire_ns",
        "filled",
        "fresh",
        "legs",
        "lots",
        "matching",
        "new",
        "number",
        "ordered",
        "owner",
        "parent",
        "priority",
        "reason",
        "reduce_only",
        "rises",
        "stage",
        "stands",
        "status",
        "traded",
        "trigger_ticks",
        "triggered",
        "ts_accepted_ns",
        "ts_last_ns",
        "venue_order_id",
    )

    stranger = False

    def __init__(self, new: NewOrder, owner: str, account: Account, matching: Matching, ts_ns: int) -> None:
        grid = matching.grid
        ticks = (grid.ticks(new.price) or 0) if new.price is not None else 0
        super().__init__(buy=new.side == "BUY", ticks=ticks, shown=0)
        self.new, self.owner, self.account, self.matching = new, owner, account, matching
        self.number = 0
        self.venue_order_id = ""
        self.lots = 0 if new.quote_quantity else grid.lots(new.quantity) or 0
        self.trigger_ticks = (grid.ticks(new.trigger_price) or 0) if new.trigger_price is not None else 0
        self.display = (grid.lots(new.display_quantity) or 0) if new.display_quantity is not None else 0
        self.conditional = new.type in CONDITIONAL
        self.rises = (new.type in STOPS) == self.buy  # the trigger is reached from below
        self.reduce_only = new.reduce_only
        self.expire_ns = (ts_ns // DAY_NS + 1) * DAY_NS if new.time_in_force == "DAY" else new.expire_ns
        self.triggered = False
        self.begin_stage()
        if new.parent_id:
            self.stage = Stage.HELD
        self.status: Status = "ACCEPTED"  # the last word of an order that is closed
        self.reason = ""
        self.filled = self.traded = 0  # lots; ticks * lots
        self.stands = False  # in the book, or among the triggers
        self.priority = 0
        self.ts_accepted_ns = self.ts_last_ns = ts_ns
        self.shown = self.next_shown()
        self.ordered = self.lots  # the most that a leg may become
        self.legs: list[Order] = []
        self.parent: Order | None = None  # of a leg, as long as it may fill more
        self.fresh = 0  # lots filled that the legs have not got yet
        self._price = self._trigger_price = self._quantity = None

    @property
    def open(self) -> int:
        return self.lots - self.filled

    @property
    def waits(self) -> bool:
        """Whether it is a leg that has done what its parent filled so far, and will get more to do."""
        return self.parent is not None and not self.open and self.ordered > self.filled

    @property
    def any_price(self) -> bool:
        return not self.ticks

    @property
    def linked(self) -> bool:
        return self.new.contingency in ("OCO", "OUO")

    def mutual(self, other: Order) -> bool:
        """Whether both are linked in the same way, with each other and with the same third ones."""
        if not self.linked or self.new.contingency != other.new.contingency or self.matching is not other.matching:
            return False
        own_ids = {self.new.client_order_id, *self.new.linked_ids}
        return own_ids == {other.new.client_order_id, *other.new.linked_ids}

    def next_shown(self) -> int:
        return min(self.display, self.open) if self.display else self.open

    def begin_stage(self) -> None:
        """Where it stands without a parent to wait for."""
        self.stage = Stage.WAITING if self.conditional and not self.triggered else Stage.WORKING

    def queue_up(self, priority: int) -> None:
        """Behind all others of its price, with as much as it may show."""
        self.priority = priority
        self.shown = self.next_shown()

    def change(self, *, lots: int | None = None, ticks: int | None = None, trigger_ticks: int | None = None) -> None:
        if lots is not None:
            self.lots = lots
            self._quantity = None
        if ticks is not None:
            self.ticks = ticks
            self._price = None
        if trigger_ticks is not None:
            self.trigger_ticks = trigger_ticks
            self._trigger_price = None

    def state(self) -> OrderState:
        new, grid = self.new, self.matching.grid
        if self._quantity is None:
            self._quantity = grid.quantity(self.lots)
        if self._price is None and self.ticks:
            self._price = grid.price(self.ticks)
        if self._trigger_price is None and self.trigger_ticks:
            self._trigger_price = grid.price(self.trigger_ticks)
        return OrderState(
            venue_order_id=self.venue_order_id,
            client_order_id=new.client_order_id,
            account=self.owner,
            instrument_id=new.instrument_id,
            side=new.side,
            type=new.type,
            time_in_force=new.time_in_force,
            quantity=self._quantity,
            filled=grid.quantity(self.filled),
            status=self._status(),
            ts_accepted_ns=self.ts_accepted_ns,
            ts_last_ns=self.ts_last_ns,
            average_price=self._average_price(),
            price=self._price,
            trigger_price=self._trigger_price,
            expire_ns=new.expire_ns,
            post_only=new.post_only,
            reduce_only=new.reduce_only,
            display_quantity=new.display_quantity,
            parent_id=new.parent_id,
            linked_ids=new.linked_ids,
            contingency=new.contingency,
            held=self.stage == Stage.HELD,
            triggered=self.triggered,
            reason=self.reason,
            priority=self.priority,
            ordered=grid.quantity(self.ordered) if new.parent_id else None,
            shown=grid.quantity(self.shown) if self.display else None,
        )

    def _status(self) -> Status:
        if self.stage == Stage.CLOSED:
            return self.status
        if self.filled:
            return "PARTIALLY_FILLED"
        return "TRIGGERED" if self.triggered and not self.any_price else "ACCEPTED"

    def _average_price(self) -> Decimal | None:
        if not self.filled:
            return None
        ticks, rest = divmod(self.traded, self.filled)
        price = self.matching.grid.price
        return _AVERAGE.divide(price(self.traded), self.filled) if rest else price(ticks)


def restored(state: OrderState, account: Account, matching: Matching) -> Order:
    """As it was when this state was said; it does not stand anywhere yet."""
    grid = matching.grid
    new = NewOrder(
        client_order_id=state.client_order_id,
        instrument_id=state.instrument_id,
        side=state.side,
        type=state.type,
        quantity=state.quantity,
        price=state.price,
        trigger_price=state.trigger_price,
        time_in_force=state.time_in_force,
        expire_ns=state.expire_ns,
        post_only=state.post_only,
        reduce_only=state.reduce_only,
        display_quantity=state.display_quantity,
        parent_id=state.parent_id,
        linked_ids=state.linked_ids,
        contingency=state.contingency,
    )
    order = Order(new, state.account, account, matching, state.ts_accepted_ns)
    order.venue_order_id = state.venue_order_id
    order.number = int(state.venue_order_id.rpartition("-")[2])
    order.filled = grid.lots(state.filled) or 0
    if state.average_price is not None:
        order.traded = round(_AVERAGE.multiply(_AVERAGE.divide(state.average_price, grid.price(1)), order.filled))
    order.triggered = state.triggered
    if not state.held:
        order.begin_stage()
    order.reason, order.priority, order.ts_last_ns = state.reason, state.priority, state.ts_last_ns
    order.ordered = (grid.lots(state.ordered) or 0) if state.ordered is not None else order.lots
    order.shown = (grid.lots(state.shown) or 0) if state.shown is not None else order.open
    return order
