"""The actor in front of the execution engine: what it does not let through reaches no venue."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import msgspec
from nautilus_trader.common.actor import Actor
from nautilus_trader.common.config import ActorConfig
from nautilus_trader.execution.messages import (
    BatchCancelOrders,
    CancelAllOrders,
    CancelOrder,
    ModifyOrder,
    SubmitOrder,
    SubmitOrderList,
)
from nautilus_trader.model.enums import ContingencyType, OrderStatus
from nautilus_trader.model.events import OrderSubmitted
from nautilus_trader.model.identifiers import ClientOrderId

from nautilus_ext.config.risk import Risk
from nautilus_ext.messages import (
    COMMAND,
    RECENT,
    RECHECK,
    RELEASE,
    RESERVE,
    RISK_DECISIONS,
    STANDING,
    ReserveAnswer,
)
from nautilus_ext.risk.counting import UNSENT, Counting
from nautilus_ext.risk.decisions import decision
from nautilus_ext.risk.halting import CANCELED_BEFORE_SUBMIT, Halting, Ports
from nautilus_ext.risk.judge import Judge
from nautilus_ext.risk.limits import Rulebook
from nautilus_ext.risk.sights import Sights
from nautilus_ext.risk.steps import exactly
from nautilus_ext.risk.verdicts import Refused
from nautilus_ext.seam import (
    EXECUTE,
    PROCESS,
    batch_of,
    can_be_denied,
    cancel_of,
    deny,
    deny_cancel,
    deny_order,
    owner_of,
    submitted,
    take_over,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nautilus_ext.messages import ParentRelease, ParentReserve
    from nautilus_ext.risk.facts import Order, Sight
    from nautilus_ext.risk.halts import Halt
    from nautilus_ext.risk.verdicts import Approved

REMEMBERED_MAX = 10_000  # cancels whose submit has not come, orders denied here; the oldest are forgotten
FAILURES_TOLD_MAX = 100  # tracebacks in the log of one run
AFTER_THE_MIRROR = 99  # it hears events first; the ledger must know them before a strategy acts on them
GATE_ERROR = "GATE_ERROR"
LIST_DENIED = "LIST_DENIED"
NO_ORDER = "NO_ORDER"
NOT_JUDGED = "NOT_JUDGED"
NOT_NEW = "NOT_NEW"
NEW = {OrderStatus.INITIALIZED, OrderStatus.RELEASED}

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

    No exception leaves it: it would end the node. What cannot be judged is refused; a cancel goes on. Timers of a live
    node call on threads of their own, and their cancels come here on these: one lock holds all that is counted.
    """

    def __init__(self, config: RiskGateConfig | None = None) -> None:
        config = config or RiskGateConfig()
        super().__init__(config)
        self._risk = msgspec.convert(config.section, Risk)
        self._book = Rulebook(self._risk)
        self.judge = Judge(self._book)
        self._early_cancels: OrderedDict[str, None] = OrderedDict()
        self._denied: OrderedDict[str, None] = OrderedDict()
        self._approvals = 0
        self._is_probed = False
        self._failures = 0
        self._lock = threading.RLock()

    def register_base(self, portfolio: Any, msgbus: Any, cache: Any, clock: Any) -> None:
        """Stand there before anything is sent, and know what the cache knows."""
        super().register_base(portfolio, msgbus, cache, clock)
        self._sights = Sights(cache, clock, owner_of(msgbus, PROCESS), self._book)
        self._counting = Counting(self.judge, self._sights, cache, clock)
        self._pass_on = take_over(msgbus, EXECUTE, self.execute)
        ways = (self._seen, self._say, self._deny_when_it_comes, self._pass_on, self._failed)
        self._halting = Halting(self._risk, Ports(msgbus, cache, clock, self._lock, self._sights, *ways))
        self._halting.begin(self.judge, cache.get(STANDING))
        self._counting.recall(cache.get(RECENT))
        for topic, handler in (
            ("events.order.*", self._on_order),
            ("events.position.*", self._on_position),
            ("events.account.*", self._on_account),
        ):
            msgbus.subscribe(topic=topic, handler=handler, priority=AFTER_THE_MIRROR)
        msgbus.register(RESERVE, self._on_reserve)
        msgbus.register(RELEASE, self._on_release)
        msgbus.register(COMMAND, self._halting.command)
        msgbus.register(RECHECK, self._halting.recheck)

    def on_start(self) -> None:
        """Strategies start later: what stands is seen to before."""
        self._halting.start()

    def on_stop(self) -> None:
        """Nothing: strategies stop later, and their last orders are judged as well."""

    def on_reset(self) -> None:
        """A backtest that runs again begins with nothing."""
        self.judge = Judge(self._book)
        self._counting = Counting(self.judge, self._sights, self.cache, self.clock)
        self._halting.begin(self.judge)
        self._early_cancels.clear()
        self._denied.clear()
        self._approvals = 0

    def halts(self) -> tuple[Halt, ...]:
        """What is stopped now, as it was latched."""
        return self.judge.halts.standing()

    def stands(self) -> bool:
        """Tell whether what is sent to the engine comes here, whoever else has taken the endpoint over since."""
        self._is_probed = False
        try:
            self.msgbus.send(EXECUTE, self)
        except Exception:  # noqa: BLE001 - told by `_failed`; it would end the node
            self._failed("what stands at %s does not pass on what it does not know", EXECUTE)
        return self._is_probed

    # -- commands -----------------------------------------------------------------------------------

    def execute(self, command: Any) -> None:
        """Let it through, or say why not."""
        if command is self:  # see `stands`
            self._is_probed = True
            return
        try:
            with self._lock:
                passes = self._judge(command)
        except Exception as error:  # noqa: BLE001 - told by `_failed`; it would end the node
            self._failed("a command could not be judged: %s", command)
            passes = not can_be_denied(command)
            if not passes and not _is_over(command):  # else it was refused, and who heard of it has failed
                self._deny(command, Refused(code=GATE_ERROR, text=f"it could not be judged ({type(error).__name__})"))
        if passes:
            self._pass_on(command)

    @exactly
    def _judge(self, command: Any) -> bool:
        if isinstance(command, (SubmitOrder, SubmitOrderList)):
            return self._submit(command)
        if isinstance(command, ModifyOrder):
            return self._modify(command)
        if isinstance(command, CancelOrder):
            return self._cancel(command)
        if isinstance(command, BatchCancelOrders):
            return self._cancel_batch(command)
        if isinstance(command, CancelAllOrders):
            return self._cancel_all(command)
        return True

    def _submit(self, command: Any) -> bool:
        orders = submitted(command)
        refused = self._not_new(orders)
        if refused is None and self._early_cancels and any(self._was_canceled(order) for order in orders):
            refused = Refused(code=CANCELED_BEFORE_SUBMIT, text="a cancel of it was here before it")
        if refused is not None:
            self._deny(command, refused)
            return False
        facts, sights = [], []
        for order in orders:
            order_facts, sight = self._seen(order, command.client_id)
            facts.append(order_facts)
            sights.append(sight)
        verdict = self._halting.refusal(facts) or self.judge.submit(facts, sights)
        if isinstance(verdict, Refused):
            self._say_all("submit", facts, sights, verdict)
            self._tell(command, verdict)
            return False
        try:
            for approved, sight in zip(verdict, sights, strict=True):
                self._say_approved("submit", approved, sight)
                self._cancel_first(approved)
        except Exception:
            for order in facts:
                self.judge.ledger.remove(order.client_order_id)  # it counted already, and is not sent
            raise
        return True

    def _not_new(self, orders: list[Any]) -> Refused | None:
        """What was sent or refused before, or is over, or stands twice in a list."""
        if len(orders) > 1 and len({order.client_order_id.value for order in orders}) < len(orders):
            return Refused(code=NOT_NEW, text="an order stands in the list twice")
        for order in orders:
            known = self.cache.order(order.client_order_id)
            if known is not None and known is not order:
                text = f"client_order_id={order.client_order_id} is another order's"
                return Refused(code=NOT_NEW, text=text)
            was = "sent" if order.status not in NEW or self._is_sent(order) else ""
            if not was and order.client_order_id.value in self._denied:  # live its denial waits in the engine's queue
                was = "refused"
            if was:
                about = f"client_order_id={order.client_order_id} status={order.status_string()}"
                return Refused(code=NOT_NEW, text=f"{about}: it was {was} before")
        return None

    def _modify(self, command: Any) -> bool:
        order = self.cache.order(command.client_order_id)
        if order is None or order.is_closed or self._is_unsent(order):
            text = f"no order {command.client_order_id} is at a venue: nobody knows what a change makes of it"
            self._deny(command, Refused(code=NO_ORDER, text=text))
            return False
        changes = {
            name: getattr(command, name).as_decimal()
            for name in ("price", "trigger_price")
            if getattr(command, name) is not None
        }
        quantity = None
        if command.quantity is not None:
            quantity = command.quantity.as_decimal() - order.filled_qty.as_decimal()
        facts, sight = self._seen(order, command.client_id, quantity=quantity, **changes)
        verdict = self._halting.refusal([facts]) or self.judge.modify(facts, sight)
        if isinstance(verdict, Refused):
            self._say("modify", facts, sight, verdict)
            self._tell(command, verdict)
            return False
        self._counting.change(facts)
        self._say_approved("modify", verdict, sight)
        self._cancel_first(verdict)
        return True

    def _cancel(self, command: Any) -> bool:
        order = self.cache.order(command.client_order_id)
        if order is None or order.is_closed:
            return True
        if self._is_unsent(order):
            _remember(self._early_cancels, order.client_order_id.value)
            return False  # the venue does not know it: its submit is denied when it comes
        return self._may_cancel(order, [command], command.client_id)

    def _cancel_batch(self, command: Any) -> bool:
        """What of it was not sent yet is denied when it comes; the venue is asked for the rest."""
        orders = [self.cache.order(cancel.client_order_id) for cancel in command.cancels]
        early = [order for order in orders if order is not None and not order.is_closed and self._is_unsent(order)]
        for order in early:
            _remember(self._early_cancels, order.client_order_id.value)
        rest = [each for each, order in zip(command.cancels, orders, strict=True) if order not in early]
        if early and rest:
            self.execute(batch_of(command, rest))
        if early:
            return False
        known = next((order for order in orders if order is not None), None)
        return known is None or self._may_cancel(known, command.cancels, command.client_id)

    def _cancel_all(self, command: Any) -> bool:
        of = {"instrument_id": command.instrument_id, "strategy_id": command.strategy_id}
        orders = self.cache.orders_open(side=command.order_side, **of)
        return not orders or self._may_cancel(orders[0], [*map(cancel_of, orders)], command.client_id)

    def _may_cancel(self, order: Any, cancels: Sequence[Any], client_id: Any) -> bool:
        """One message; where a limit refuses it, each order hears so."""
        facts, sight = self._seen(order, client_id)
        refused = self.judge.cancel(facts, sight)
        if refused is None:
            return True
        self._say("cancel", facts, sight, refused)
        for cancel in cancels:
            deny_cancel(self.msgbus, self.cache, cancel, str(refused), self.clock.timestamp_ns())
        return False

    def _cancel_first(self, approved: Approved) -> None:
        """Our own orders that it would meet."""
        for name in approved.cancels_first:
            order = self.cache.order(ClientOrderId(name))
            if order is not None and not order.is_closed and not order.is_pending_cancel:
                facts, sight = self._seen(order)
                self.judge.cancel(facts, sight)  # it counts; a limit that refuses cancels would let the two meet
                self._pass_on(cancel_of(order, self.cache.client_id(order.client_order_id)))

    def _is_sent(self, order: Any) -> bool:
        return self.judge.ledger.working(order.client_order_id.value) is not None

    def _is_unsent(self, order: Any) -> bool:
        return order.status in UNSENT and not self._is_sent(order)

    def _was_canceled(self, order: Any) -> bool:
        return self._early_cancels.pop(order.client_order_id.value, self) is None

    def _deny_when_it_comes(self, name: str) -> None:
        _remember(self._early_cancels, name)

    def _deny(self, command: Any, refused: Refused) -> None:
        """Refuse without a judgement: what is to be seen is not asked, it may be what failed."""
        now_ns = self.clock.timestamp_ns()
        action = "modify" if isinstance(command, ModifyOrder) else "submit"
        for order in submitted(command) or [command]:
            self._publish(decision(action, refused, now_ns, **_ids(order)))
        self._tell(command, refused)

    def _tell(self, command: Any, refused: Refused) -> None:
        """In Nautilus's words. Of an order that was sent the events are the venue's: no denial ends it here."""
        known = [(order, self.cache.order(order.client_order_id)) for order in submitted(command)]
        ours = [each for each, there in known if (there is None or there is each) and not self._is_sent(each)]
        if isinstance(command, ModifyOrder):
            self._counting.refuse(command.client_order_id.value)
        for order in ours:
            # The emulator releases an entry alone: its stop and its target have still to hear of it.
            if isinstance(command, SubmitOrderList) or order.contingency_type != ContingencyType.OTO:
                _remember(self._denied, order.client_order_id.value)
        deny(self.msgbus, self.cache, command, str(refused), self.clock.timestamp_ns(), orders=ours)

    # -- parents ------------------------------------------------------------------------------------

    def _on_reserve(self, asked: ParentReserve) -> None:
        try:
            with self._lock:
                reason = self._reserve(asked.client_order_id)
        except Exception as error:  # noqa: BLE001 - told by `_failed`; it would end the node
            self._failed("a parent could not be judged: %s", asked)
            reason = f"{GATE_ERROR}: it could not be judged ({type(error).__name__})"
        asked.answer(ReserveAnswer(reason))

    @exactly
    def _reserve(self, name: str) -> str:
        order = self.cache.order(ClientOrderId(name))
        if order is None or order.is_closed:
            return f"{NO_ORDER}: no open order {name} is in the cache"
        self._counting.count(order.instrument_id)
        self._counting.revalue()
        facts = self._counting.parent(order)
        sight = self._sights.sight(order.instrument_id, facts.account_id)
        verdict = self._halting.refusal([facts]) or self.judge.reserve(facts, sight)
        self._say("reserve", facts, sight, verdict)  # each of them: a restart reserves anew what is not released
        return str(verdict) if isinstance(verdict, Refused) else ""

    def _on_release(self, asked: ParentRelease) -> None:
        try:
            with self._lock:
                self._release(asked.client_order_id)
        except Exception:  # noqa: BLE001 - told by `_failed`; it would end the node
            self._failed("a parent could not be released: %s", asked)

    @exactly
    def _release(self, name: str) -> None:
        if not self.judge.release(name):
            return
        order = self.cache.order(ClientOrderId(name))
        if order is not None:
            self._publish(decision("release", None, self.clock.timestamp_ns(), **_ids(order)))

    # -- what there is to see -----------------------------------------------------------------------

    def _seen(self, order: Any, client_id: Any = None, **changes: Any) -> tuple[Order, Sight]:
        account_id = self._sights.account_of(order, client_id)
        facts = self._sights.order(order, account_id=account_id, **changes)
        self._counting.count(order.instrument_id)
        self._counting.revalue(but=facts.instrument_id)
        return facts, self._sights.sight(order.instrument_id, account_id)

    # -- events: none of them may end the node ------------------------------------------------------

    def _on_order(self, event: Any) -> None:
        try:
            with self._lock:
                if type(event) is OrderSubmitted:
                    if self._is_sent(event):
                        return  # as most are: it counts since it was judged
                    self._tell_around(event)
                over = self._counting.take_order(event)
                if over is not None:
                    self._ended(over)
                self._halting.hear(event)
        except Exception:  # noqa: BLE001 - told by `_failed`; it would end the node
            self._failed("an order event could not be counted: %s", event)

    def _ended(self, order: Any) -> None:
        self._early_cancels.pop(order.client_order_id.value, None)
        self._release(order.client_order_id.value)
        if order.status == OrderStatus.DENIED and self._denied.pop(order.client_order_id.value, self) is self:
            self._deny_the_rest(order)

    def _deny_the_rest(self, denied: Any) -> None:
        """Nautilus's own engine denies one member of a list and forgets the others."""
        if denied.order_list_id is not None:
            lists = filter(None, [self.cache.order_list(denied.order_list_id)])
        else:  # what `create_list` puts together does not know it
            lists = self.cache.order_lists(instrument_id=denied.instrument_id, strategy_id=denied.strategy_id)
        among = next((each.orders for each in lists if denied in each.orders), ())
        refused = Refused(code=LIST_DENIED, text=f"{denied.client_order_id} of the list was denied")
        for order in among:
            if order.status == OrderStatus.INITIALIZED and not self._is_sent(order):
                _remember(self._denied, order.client_order_id.value)
                self._publish(decision("submit", refused, self.clock.timestamp_ns(), **_ids(order)))
                deny_order(self.msgbus, order, str(refused), self.clock.timestamp_ns())

    def _on_position(self, event: Any) -> None:
        try:
            with self._lock:
                self._counting.take_position(event)
        except Exception:  # noqa: BLE001 - told by `_failed`; it would end the node
            self._failed("a position event could not be counted: %s", event)

    def _on_account(self, event: Any) -> None:
        try:
            with self._lock:
                self._counting.take_account(event)
        except Exception:  # noqa: BLE001 - told by `_failed`; it would end the node
            self._failed("what an account has could not be counted: %s", event)

    def _tell_around(self, event: Any) -> None:
        """It is on its way and counts from now on; whoever sent it knows another way to the engine."""
        text = "sent past the gate: somebody has another way to the execution engine"
        log.critical("the order %s was %s", event.client_order_id, text)
        self._publish(decision("submit", Refused(code=NOT_JUDGED, text=text), event.ts_init, **_ids(event)))

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
        ids: dict[str, Any] = {
            name: getattr(order, name) for name in ("client_order_id", "strategy_id", "instrument_id")
        }
        self._publish(decision(action, verdict, sight.now_ns, order=order, sight=sight, **ids))

    def _failed(self, what: str, about: Any) -> None:
        """With its traceback, while there are few: each order that it costs says so itself."""
        self._failures += 1
        if self._failures <= FAILURES_TOLD_MAX:
            log.error(what, about, exc_info=True)  # noqa: LOG014 - called where it was caught
        elif self._failures == FAILURES_TOLD_MAX + 1:
            log.critical("the gate has failed %s times: what follows is not told one by one", f"{FAILURES_TOLD_MAX:,}")

    def _publish(self, message: Any) -> None:
        """Who listens must not change a verdict."""
        message.details["limits"] = str(self.judge.book.version)
        try:
            self.msgbus.publish(topic=RISK_DECISIONS, msg=message)
        except Exception:  # noqa: BLE001 - told by `_failed`; it would end the node
            self._failed("a decision could not be recorded: %s", message)


def _remember(names: OrderedDict[str, None], name: str) -> None:
    names[name] = None
    if len(names) > REMEMBERED_MAX:
        names.popitem(last=False)


def _is_over(command: Any) -> bool:
    orders = submitted(command)
    return bool(orders) and all(order.is_closed for order in orders)


def _ids(of: Any) -> dict[str, Any]:
    return {name: getattr(of, name).value for name in ("client_order_id", "strategy_id", "instrument_id")}
