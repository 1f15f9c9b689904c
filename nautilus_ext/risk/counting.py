"""Feeds the ledger: what works and is held already, every event of orders and positions, parents, a restart."""

from __future__ import annotations

import logging
from collections import Counter, deque
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec
from nautilus_trader.model.enums import OrderStatus
from nautilus_trader.model.identifiers import ClientOrderId, InstrumentId

from nautilus_ext.messages import Recent
from nautilus_ext.risk.ledger import Key
from nautilus_ext.risk.past import order_of
from nautilus_ext.risk.steps import exactly

if TYPE_CHECKING:
    from nautilus_ext.risk.facts import Order
    from nautilus_ext.risk.judge import Judge
    from nautilus_ext.risk.sights import Sights

CHANGES_MAX = 100  # changes of one order that the venue has not answered
REVALUE_NS = 1_000_000_000  # how often what is held is valued anew, at most
SILENT = {"OrderInitialized", "OrderEmulated", "OrderReleased", "OrderPendingUpdate", "OrderPendingCancel"}
UNSENT = {OrderStatus.INITIALIZED, OrderStatus.EMULATED, OrderStatus.RELEASED}

log = logging.getLogger(__name__)


class Counting:
    """Between Nautilus's cache and the judge's ledger."""

    def __init__(self, judge: Judge, sights: Sights, cache: Any, clock: Any) -> None:
        self._judge = judge
        self._ledger = judge.ledger
        self._sights = sights
        self._cache = cache
        self._clock = clock
        self._changes: dict[str, deque[Order]] = {}
        self._refusals: Counter[str] = Counter()  # changes that no venue was asked for, until their order hears so
        self._counted: set[Any] = set()  # instruments whose orders and positions are in the ledger
        self._revalued_ns = 0

    # -- what is there ------------------------------------------------------------------------------

    def count(self, instrument_id: Any) -> bool:
        """Once per instrument: what of it works and is held already, as after a restart."""
        if instrument_id in self._counted:
            return True
        listing = self._sights.listing(instrument_id)
        if listing is None:
            return False
        self._counted.add(instrument_id)
        self._ledger.know(listing)
        price = self._sights.known_price(instrument_id)
        self._ledger.mark(listing.instrument_id, price, self._sights.rate(listing.quote))
        for order in (
            *self._cache.orders_open(instrument_id=instrument_id),
            *self._cache.orders_inflight(instrument_id=instrument_id),
        ):
            self.place(order)
        for position in self._cache.positions_open(instrument_id=instrument_id):
            self._hold(position)
        return True

    def revalue(self, but: str = "") -> None:
        """What is held elsewhere is worth what its price says now, to the second; one is valued anyway."""
        now_ns = self._clock.timestamp_ns()
        if now_ns - self._revalued_ns < REVALUE_NS:
            return
        self._revalued_ns = now_ns
        for listing in list(self._ledger.instruments()):
            if listing.instrument_id == but:
                continue
            price = self._sights.known_price(InstrumentId.from_str(listing.instrument_id))
            self._ledger.mark(listing.instrument_id, price, self._sights.rate(listing.quote))

    def place(self, order: Any) -> None:
        """As it stands; what is not sent or is done does not count."""
        if order.is_closed or order.status in UNSENT:
            return
        account_id = self._sights.account_of(order, self._cache.client_id(order.client_order_id))
        facts = self._sights.order(order, account_id=account_id)
        if facts.quantity.is_nan():
            log.error("an order in money without a price cannot be counted: %s", order)
            return
        self._ledger.place(facts)

    def _hold(self, position: Any) -> None:
        key = Key(position.instrument_id.value, position.strategy_id.value, position.account_id.value)
        self._ledger.hold(position.id.value, key, position.signed_decimal_qty())

    # -- events -------------------------------------------------------------------------------------

    def has_got_around(self, event: Any) -> bool:
        """Tell of an order that is on its way to a venue whether nobody has judged it."""
        name = event.client_order_id.value
        return type(event).__name__ == "OrderSubmitted" and self._ledger.working(name) is None

    @exactly
    def take_order(self, event: Any) -> Any:
        """Count what an event says; return its order where that is over."""
        kind, name = type(event).__name__, event.client_order_id.value
        if kind in SILENT or (kind == "OrderSubmitted" and self._ledger.working(name) is not None):
            return None
        order = self._cache.order(event.client_order_id)
        if order is None and kind == "OrderFilled":
            self.take_position(event)  # a leg of a spread has no order
        if order is None or not self.count(order.instrument_id):
            return None
        if kind == "OrderFilled":
            self._filled_by(event, order)
        if order.is_closed:
            self._ledger.remove(name)  # after a fill there is nothing to remove
            self._changes.pop(name, None)
            self._refusals.pop(name, None)
            return order
        if kind in {"OrderSubmitted", "OrderAccepted", "OrderTriggered"}:
            self._began(order, kind)
        elif kind == "OrderModifyRejected":
            self._rejected(order)
        elif kind == "OrderUpdated":
            self._updated(order)
        return None

    def _filled_by(self, event: Any, order: Any) -> None:
        """What works is less, and what is held is more, at once."""
        leaves = self._sights.leaves(order)
        if order.is_closed:
            self._ledger.finish(order.client_order_id.value)
        elif not leaves.is_nan():  # else nobody knows how much less: it counts as it did
            self._ledger.fill(order.client_order_id.value, self._most(order, leaves))
        position = self._cache.position(event.position_id) if event.position_id is not None else None
        if position is None:
            return
        had = self._ledger.held(position.id.value)
        self._hold(position)
        if position.is_closed and event.last_qty.as_decimal() > abs(had):  # the rest may be a new one, told later
            of = {"instrument_id": order.instrument_id, "strategy_id": event.strategy_id}
            for each in self._cache.positions_open(**of):
                self._hold(each)

    def _began(self, order: Any, kind: str) -> None:
        name = order.client_order_id.value
        if kind == "OrderTriggered" or self._ledger.working(name) is None:
            self._place_changing(order)
        if kind != "OrderSubmitted":
            self._ledger.accept(name)

    def change(self, facts: Order) -> None:
        """The venue will be asked for it."""
        self._changes.setdefault(facts.client_order_id, deque(maxlen=CHANGES_MAX)).append(facts)

    def refuse(self, name: str) -> None:
        """The order will hear that a change was refused here: that is no answer to one which a venue was asked for."""
        order = self._cache.order(ClientOrderId(name))
        if order is not None and not order.is_closed:
            self._refusals[name] += 1

    def _rejected(self, order: Any) -> None:
        """A change was refused: here, or by the venue, which answers them in turn."""
        name = order.client_order_id.value
        if name in self._refusals:
            self._refusals[name] -= 1
            if not self._refusals[name]:
                del self._refusals[name]
            return
        pending = self._changes.get(name)
        if pending:
            pending.popleft()
        self._answered(order)

    def _updated(self, order: Any) -> None:
        """It answers the change that asked for its quantity, and those before; a venue moves orders by itself too."""
        pending, whole = self._changes.get(order.client_order_id.value) or deque(), order.quantity.as_decimal()
        if any(change.quantity + change.filled == whole for change in pending):
            while (answered := pending.popleft()).quantity + answered.filled != whole:
                pass
        self._answered(order)

    def _answered(self, order: Any) -> None:
        """As the venue has it. With nothing on its way any more the account's next word includes what it needs."""
        self._place_changing(order)
        name = order.client_order_id.value
        if order.is_open and not self._changes.get(name):
            self._ledger.accept(name)

    def _place_changing(self, order: Any) -> None:
        """What the venue has not answered counts where it is more."""
        self.place(order)
        name = order.client_order_id.value
        self._ledger.accept(name)  # what it needs more is in the account's next word
        working = self._ledger.working(name)
        if working is None:
            return
        most = self._most(order, working.quantity)
        if most > working.quantity:
            self._ledger.place(msgspec.structs.replace(working.order, quantity=most))

    def _most(self, order: Any, leaves: Decimal) -> Decimal:
        """So much of it can still be filled, whatever the venue answers."""
        pending = self._changes.get(order.client_order_id.value)
        if not pending:
            return leaves
        return max(leaves, max(change.quantity + change.filled for change in pending) - order.filled_qty.as_decimal())

    @exactly
    def take_position(self, event: Any) -> None:
        position = self._cache.position(event.position_id)
        if position is not None and self.count(position.instrument_id):
            self._hold(position)

    @exactly
    def take_account(self, event: Any) -> None:
        self._ledger.needs.told(event.account_id.value)

    # -- parents ------------------------------------------------------------------------------------

    def parent(self, order: Any) -> Order:
        """What a parent still needs: its own quantity says less, Nautilus takes off what is spawned, filled or not."""
        account_id = self._sights.account_of(order, self._cache.client_id(order.client_order_id))
        facts = self._sights.order(order, account_id=account_id)
        if order.is_quote_quantity:
            return facts
        whole = order.init_event.quantity.as_decimal()
        children = self._cache.orders_for_exec_spawn(order.client_order_id)
        filled = sum((self._filled(child, order) for child in children), Decimal(0))
        return msgspec.structs.replace(facts, quantity=max(whole - filled, Decimal(0)))

    def _filled(self, child: Any, parent: Any) -> Decimal:
        """In the parent's own unit; a child may be of another listing."""
        filled = child.filled_qty.as_decimal()
        if not filled or child.instrument_id == parent.instrument_id:
            return filled
        ours, theirs = self._sights.listing(child.instrument_id), self._sights.listing(parent.instrument_id)
        if ours is None or theirs is None or theirs.is_inverse:
            return Decimal(0)  # nobody can say it: what is reserved stays too much, not too little
        coins = filled * ours.multiplier
        return (coins / Decimal(str(child.avg_px)) if ours.is_inverse else coins) / theirs.multiplier

    # -- a restart ----------------------------------------------------------------------------------

    def recall(self, told: bytes | None) -> None:
        """What the book held, and what windows and counters need of its last orders."""
        for order in (*self._cache.orders_open(), *self._cache.orders_inflight()):
            self.count(order.instrument_id)
        for position in self._cache.positions_open():
            self.count(position.instrument_id)
        if not told:
            return
        recent = msgspec.json.decode(told, type=Recent)
        for past in recent.orders:
            listing = self._sights.listing(InstrumentId.from_str(past.instrument_id))
            self._judge.remember(past, order_of(past), listing)
        for strategy_id, count in recent.orders_by_strategy.items():
            self._judge.count_sent(strategy_id, count)
        for name in recent.reserved:
            self._reserve_again(self._cache.order(ClientOrderId(name)))

    def _reserve_again(self, parent: Any) -> None:
        """Its children take from the reservation what they need, as they did when they were sent."""
        if parent is None or parent.is_closed or not self.count(parent.instrument_id):
            return
        facts = self.parent(parent)
        if not facts.quantity or facts.quantity.is_nan():
            return
        self._ledger.reserve(facts)
        for child in self._cache.orders_for_exec_spawn(parent.client_order_id):
            if self._ledger.working(child.client_order_id.value) is not None:
                self.place(child)
