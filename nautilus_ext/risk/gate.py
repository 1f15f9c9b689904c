"""The actor in front of the execution engine: what it does not let through reaches no venue."""

from __future__ import annotations

import logging
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Any

import msgspec
from nautilus_trader.common.actor import Actor
from nautilus_trader.common.config import ActorConfig
from nautilus_trader.core.uuid import UUID4  # pyright: ignore[reportAttributeAccessIssue] - compiled, without a stub
from nautilus_trader.execution.messages import (
    BatchCancelOrders,
    CancelAllOrders,
    CancelOrder,
    ModifyOrder,
    SubmitOrder,
    SubmitOrderList,
)
from nautilus_trader.model.enums import OrderStatus
from nautilus_trader.model.identifiers import ClientOrderId, InstrumentId

from nautilus_ext.config.risk import Risk
from nautilus_ext.messages import RECENT, RELEASE, RESERVE, RISK_DECISIONS, Recent, ReserveAnswer
from nautilus_ext.risk.decisions import decision
from nautilus_ext.risk.judge import Judge
from nautilus_ext.risk.ledger import Key
from nautilus_ext.risk.limits import Rulebook
from nautilus_ext.risk.past import order_of
from nautilus_ext.risk.sights import Sights
from nautilus_ext.risk.verdicts import Refused
from nautilus_ext.seam import EXECUTE, PROCESS, can_be_denied, deny, deny_cancel, owner_of, submitted, take_over

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nautilus_ext.messages import ParentRelease, ParentReserve
    from nautilus_ext.risk.facts import Order, Sight
    from nautilus_ext.risk.verdicts import Approved

EARLY_CANCELS_MAX = 10_000  # cancels whose submit has not come; the oldest are forgotten
CHANGES_MAX = 100  # changes of one order that the venue has not answered
REVALUE_NS = 1_000_000_000  # how often what is held is valued anew, at most
AFTER_THE_MIRROR = 99  # it hears events first; the ledger must know them before a strategy acts on them
CANCELED_BEFORE_SUBMIT = "CANCELED_BEFORE_SUBMIT"
GATE_ERROR = "GATE_ERROR"

log = logging.getLogger(__name__)


class RiskGateConfig(ActorConfig, frozen=True):
    """Configuration of `RiskGate`.

    Parameters
    ----------
    section : dict, default {}
        What the section `risk` of a file says; the reference of the configuration has its keys.

    """

    section: dict[str, Any] = {}  # noqa: RUF012 - msgspec makes a new one for each


class RiskGate(Actor):
    """Judges each command, and counts what it lets through at once. Installed for good: actors stop before strategies.

    No exception leaves it: it would end the node. What cannot be judged is refused; a cancel goes on.
    """

    def __init__(self, config: RiskGateConfig | None = None) -> None:
        config = config or RiskGateConfig()
        super().__init__(config)
        self._book = Rulebook(msgspec.convert(config.section, Risk))
        self.judge = Judge(self._book)
        self._early_cancels: OrderedDict[str, None] = OrderedDict()
        self._changes: dict[str, deque[Order]] = {}
        self._counted: set[Any] = set()  # instruments whose orders and positions are in the ledger
        self._revalued_ns = 0
        self._approvals = 0

    def register_base(self, portfolio: Any, msgbus: Any, cache: Any, clock: Any) -> None:
        """Stand there before anything is sent, and know what the cache knows."""
        super().register_base(portfolio, msgbus, cache, clock)
        self._sights = Sights(cache, clock, owner_of(msgbus, PROCESS), self._book)
        self._recall(cache.get(RECENT))
        for topic, handler in (
            ("events.order.*", self._on_order),
            ("events.position.*", self._on_position),
            ("events.account.*", self._on_account),
        ):
            msgbus.subscribe(topic=topic, handler=handler, priority=AFTER_THE_MIRROR)
        msgbus.register(RESERVE, self._on_reserve)
        msgbus.register(RELEASE, self._on_release)
        self._pass_on = take_over(msgbus, EXECUTE, self.execute)

    def on_start(self) -> None:
        """Nothing to do; without this Nautilus warns of it at each start."""

    def on_stop(self) -> None:
        """Nothing: strategies stop later, and their last orders are judged as well."""

    def on_reset(self) -> None:
        """A backtest that runs again begins with nothing."""
        self.judge = Judge(self._book)
        self._early_cancels.clear()
        self._changes.clear()
        self._counted.clear()
        self._revalued_ns = self._approvals = 0

    # -- commands -----------------------------------------------------------------------------------

    def execute(self, command: Any) -> None:
        """Let it through, or say why not."""
        try:
            passes = self._judge(command)
        except Exception as error:
            log.exception("a command could not be judged: %s", command)
            passes = not can_be_denied(command)
            if not passes:
                self._deny(command, Refused(code=GATE_ERROR, text=f"it could not be judged ({type(error).__name__})"))
        if passes:
            self._pass_on(command)

    def _judge(self, command: Any) -> bool:
        if isinstance(command, (SubmitOrder, SubmitOrderList)):
            return self._submit(command)
        if isinstance(command, ModifyOrder):
            return self._modify(command)
        if isinstance(command, CancelOrder):
            return self._cancel(command)
        if isinstance(command, (CancelAllOrders, BatchCancelOrders)):
            return self._cancel_several(command)
        return True

    def _submit(self, command: Any) -> bool:
        orders = submitted(command)
        if any(self._was_canceled(order) for order in orders):
            self._deny(command, Refused(code=CANCELED_BEFORE_SUBMIT, text="a cancel of it was here before it"))
            return False
        facts, sights = [], []
        for order in orders:
            order_facts, sight = self._seen(order, command.client_id)
            facts.append(order_facts)
            sights.append(sight)
        verdict = self.judge.submit(facts, sights)
        if isinstance(verdict, Refused):
            self._say_all("submit", facts, sights, verdict)
            deny(self.msgbus, self.cache, command, str(verdict), self.clock.timestamp_ns())
            return False
        for approved, sight in zip(verdict, sights, strict=True):
            self._say_approved("submit", approved, sight)
        for approved in verdict:
            self._cancel_first(approved, command)
        return True

    def _modify(self, command: Any) -> bool:
        order = self.cache.order(command.client_order_id)
        if order is None or order.is_closed:
            return True  # the engine says so itself
        changes = {
            name: getattr(command, name).as_decimal()
            for name in ("price", "trigger_price")
            if getattr(command, name) is not None
        }
        quantity = None
        if command.quantity is not None:
            quantity = command.quantity.as_decimal() - order.filled_qty.as_decimal()
        facts, sight = self._seen(order, command.client_id, quantity=quantity, **changes)
        verdict = self.judge.modify(facts, sight)
        if isinstance(verdict, Refused):
            self._say_all("modify", [facts], [sight], verdict)
            deny(self.msgbus, self.cache, command, str(verdict), self.clock.timestamp_ns())
            return False
        self._changes.setdefault(facts.client_order_id, deque(maxlen=CHANGES_MAX)).append(facts)
        self._say_approved("modify", verdict, sight)
        self._cancel_first(verdict, command)
        return True

    def _cancel(self, command: Any) -> bool:
        order = self.cache.order(command.client_order_id)
        if order is None or order.is_closed:
            return True
        if self._is_unsent(order):
            self._early_cancels[order.client_order_id.value] = None
            if len(self._early_cancels) > EARLY_CANCELS_MAX:
                self._early_cancels.popitem(last=False)
            return False  # the venue does not know it: its submit is denied when it comes
        return self._may_cancel(order, command)

    def _may_cancel(self, order: Any, cancel: Any) -> bool:
        facts, sight = self._seen(order, cancel.client_id)
        refused = self.judge.cancel(facts, sight)
        if refused is None:
            return True
        self._say("cancel", facts, sight, refused)
        deny_cancel(self.msgbus, self.cache, cancel, str(refused), self.clock.timestamp_ns())
        return False

    def _cancel_several(self, command: Any) -> bool:
        """One message; where a limit refuses it, each order hears so."""
        if isinstance(command, BatchCancelOrders):
            orders = [self.cache.order(cancel.client_order_id) for cancel in command.cancels]
        else:
            of = {"instrument_id": command.instrument_id, "strategy_id": command.strategy_id}
            orders = self.cache.orders_open(side=command.order_side, **of)
        known = next((order for order in orders if order is not None), None)
        if known is None:
            return True
        facts, sight = self._seen(known, command.client_id)
        refused = self.judge.cancel(facts, sight)
        if refused is None:
            return True
        self._say("cancel", facts, sight, refused)
        cancels = command.cancels if isinstance(command, BatchCancelOrders) else map(_cancel_of, orders)
        for cancel in cancels:
            deny_cancel(self.msgbus, self.cache, cancel, str(refused), self.clock.timestamp_ns())
        return False

    def _cancel_first(self, approved: Approved, command: Any) -> None:
        """Our own orders that it would meet."""
        for name in approved.cancels_first:
            order = self.cache.order(ClientOrderId(name))
            if order is not None and not order.is_closed and not order.is_pending_cancel:
                self._pass_on(_cancel_of(order, command.client_id))

    def _is_unsent(self, order: Any) -> bool:
        return (
            order.status == OrderStatus.INITIALIZED and self.judge.ledger.working(order.client_order_id.value) is None
        )

    def _was_canceled(self, order: Any) -> bool:
        return self._early_cancels.pop(order.client_order_id.value, self) is None

    def _deny(self, command: Any, refused: Refused) -> None:
        """Refuse without a judgement: what is to be seen is not asked, it may be what failed."""
        now_ns = self.clock.timestamp_ns()
        action = "modify" if isinstance(command, ModifyOrder) else "submit"
        for order in submitted(command) or [command]:
            self._publish(
                decision(
                    action,
                    refused,
                    now_ns,
                    client_order_id=order.client_order_id.value,
                    strategy_id=order.strategy_id.value,
                    instrument_id=order.instrument_id.value,
                )
            )
        deny(self.msgbus, self.cache, command, str(refused), now_ns)

    # -- parents ------------------------------------------------------------------------------------

    def _on_reserve(self, asked: ParentReserve) -> None:
        try:
            reason = self._reserve(asked.client_order_id)
        except Exception as error:
            log.exception("a parent could not be judged: %s", asked.client_order_id)
            reason = f"{GATE_ERROR}: it could not be judged ({type(error).__name__})"
        asked.answer(ReserveAnswer(reason))

    def _reserve(self, name: str) -> str:
        order = self.cache.order(ClientOrderId(name))
        if order is None or order.is_closed:
            return f"NO_ORDER: no open order {name} is in the cache"
        facts, sight = self._seen(order)
        verdict = self.judge.reserve(facts, sight)
        if isinstance(verdict, Refused):
            self._say("reserve", facts, sight, verdict)
            return str(verdict)
        self._say("reserve", facts, sight, verdict)  # each of them: a restart reserves anew what is not released
        return ""

    def _on_release(self, asked: ParentRelease) -> None:
        self._release(asked.client_order_id)

    def _release(self, name: str) -> None:
        if not self.judge.release(name):
            return
        order = self.cache.order(ClientOrderId(name))
        if order is not None:
            ids = {"strategy_id": order.strategy_id.value, "instrument_id": order.instrument_id.value}
            self._publish(decision("release", None, self.clock.timestamp_ns(), client_order_id=name, **ids))

    # -- what there is to see -----------------------------------------------------------------------

    def _seen(self, order: Any, client_id: Any = None, **changes: Any) -> tuple[Order, Sight]:
        account_id = self._sights.account_of(order, client_id)
        facts = self._sights.order(order, account_id=account_id, **changes)
        self._count(order.instrument_id)
        self._revalue()
        return facts, self._sights.sight(order.instrument_id, account_id)

    def _revalue(self) -> None:
        """What is held elsewhere is worth what its price says now, to the second."""
        now_ns = self.clock.timestamp_ns()
        if now_ns - self._revalued_ns < REVALUE_NS:
            return
        self._revalued_ns = now_ns
        ledger = self.judge.ledger
        for listing in list(ledger.instruments()):
            price = self._sights.price(InstrumentId.from_str(listing.instrument_id)).price
            ledger.mark(listing.instrument_id, price, self._sights.rate(listing.quote))

    def _count(self, instrument_id: Any) -> bool:
        """Once per instrument: what of it works and is held already, as after a restart."""
        if instrument_id in self._counted:
            return True
        listing = self._sights.listing(instrument_id)
        if listing is None:
            return False
        self._counted.add(instrument_id)
        ledger = self.judge.ledger
        ledger.know(listing)
        price = self._sights.price(instrument_id).price
        ledger.mark(listing.instrument_id, price, self._sights.rate(listing.quote))
        for order in (
            *self.cache.orders_open(instrument_id=instrument_id),
            *self.cache.orders_inflight(instrument_id=instrument_id),
        ):
            self._place(order)
        for position in self.cache.positions_open(instrument_id=instrument_id):
            self._hold(position)
        return True

    # -- events -------------------------------------------------------------------------------------

    def _on_order(self, event: Any) -> None:
        try:
            self._take(event)
        except Exception:
            log.exception("an order event could not be counted: %s", event)

    def _take(self, event: Any) -> None:
        order, kind = self.cache.order(event.client_order_id), type(event).__name__
        if order is None or not self._count(order.instrument_id):
            return
        name, ledger = order.client_order_id.value, self.judge.ledger
        if kind == "OrderFilled":
            ledger.fill(name, self._sights.leaves(order))
            position = self.cache.position(event.position_id) if event.position_id is not None else None
            if position is not None:
                self._hold(position)
        if order.is_closed:
            ledger.remove(name)
            self._changes.pop(name, None)
            self._release(name)
            return
        if kind in {"OrderAccepted", "OrderTriggered"}:
            if kind == "OrderTriggered" or ledger.working(name) is None:
                self._place(order)
            ledger.accept(name)
        elif kind in {"OrderUpdated", "OrderModifyRejected"}:
            self._changed(order)

    def _changed(self, order: Any) -> None:
        """The venue answered a change; what it has not answered counts where it is more."""
        name = order.client_order_id.value
        pending = self._changes.get(name)
        if pending:
            pending.popleft()
        self._place(order)
        for change in pending or ():
            working = self.judge.ledger.working(name)
            if working is not None and change.quantity > working.quantity:
                self.judge.ledger.place(msgspec.structs.replace(working.order, quantity=change.quantity))

    def _place(self, order: Any) -> None:
        """As it stands; what is not sent or is done does not count."""
        if order.is_closed or order.status in {OrderStatus.INITIALIZED, OrderStatus.EMULATED}:
            return
        account_id = self._sights.account_of(order, self.cache.client_id(order.client_order_id))
        facts = self._sights.order(order, account_id=account_id)
        if facts.quantity.is_nan():
            log.error("an order in money without a price cannot be counted: %s", order)
            return
        self.judge.ledger.place(facts)

    def _on_position(self, event: Any) -> None:
        try:
            position = self.cache.position(event.position_id)
            if position is not None and self._count(position.instrument_id):
                self._hold(position)
        except Exception:
            log.exception("a position event could not be counted: %s", event)

    def _hold(self, position: Any) -> None:
        key = Key(position.instrument_id.value, position.strategy_id.value, position.account_id.value)
        self.judge.ledger.hold(position.id.value, key, position.signed_decimal_qty())

    def _on_account(self, event: Any) -> None:
        self.judge.ledger.needs.told(event.account_id.value)

    # -- a restart ----------------------------------------------------------------------------------

    def _recall(self, told: bytes | None) -> None:
        """What the book held, and what windows and counters need of its last orders."""
        for order in (*self.cache.orders_open(), *self.cache.orders_inflight()):
            self._count(order.instrument_id)
        for position in self.cache.positions_open():
            self._count(position.instrument_id)
        if not told:
            return
        recent = msgspec.json.decode(told, type=Recent)
        for past in recent.orders:
            listing = self._sights.listing(InstrumentId.from_str(past.instrument_id))
            self.judge.remember(past, order_of(past), listing)
        for strategy_id, count in recent.orders_by_strategy.items():
            self.judge.count_sent(strategy_id, count)
        for name in recent.reserved:
            parent = self.cache.order(ClientOrderId(name))
            if parent is not None and not parent.is_closed and self._count(parent.instrument_id):
                self.judge.ledger.reserve(self._sights.order(parent, account_id=self._sights.account_of(parent)))

    # -- decisions ----------------------------------------------------------------------------------

    def _say_all(self, action: str, orders: Sequence[Order], sights: Sequence[Sight], verdict: Refused) -> None:
        for order, sight in zip(orders, sights, strict=True):
            self._say(action, order, sight, verdict)

    def _say_approved(self, action: str, approved: Approved, sight: Sight) -> None:
        """Every n-th, and each that an override has let through."""
        self._approvals += 1
        if approved.lifted or self._approvals % self._book.approvals_recorded_every == 0:
            self._say(action, approved.order, sight, approved)

    def _say(self, action: str, order: Order, sight: Sight, verdict: Approved | Refused) -> None:
        ids = {name: getattr(order, name) for name in ("client_order_id", "strategy_id", "instrument_id")}
        self._publish(decision(action, verdict, sight.now_ns, order=order, sight=sight, **ids))

    def _publish(self, message: Any) -> None:
        self.msgbus.publish(topic=RISK_DECISIONS, msg=message)


def _cancel_of(order: Any, client_id: Any = None) -> CancelOrder:
    return CancelOrder(
        trader_id=order.trader_id,
        strategy_id=order.strategy_id,
        instrument_id=order.instrument_id,
        client_order_id=order.client_order_id,
        venue_order_id=order.venue_order_id,
        command_id=UUID4(),
        ts_init=order.ts_last,
        client_id=client_id,
    )
