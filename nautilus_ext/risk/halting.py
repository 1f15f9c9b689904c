"""The gate's operations: commands of operators and breakers, what they refuse, and what is canceled for them."""

from __future__ import annotations

import asyncio
import copy
import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from nautilus_trader.common.component import TestClock
from nautilus_trader.execution.messages import ModifyOrder
from nautilus_trader.model.enums import OrderSide, OrderStatus
from nautilus_trader.model.identifiers import ClientOrderId, InstrumentId, StrategyId

from nautilus_ext.errors import ConfigError
from nautilus_ext.messages import RESUMED, AppliedCommand, CommandAsked, Recheck
from nautilus_ext.risk.commands import Command, Flatten, Narrow, Resume, SetLimit, SetOverride, Stop, read
from nautilus_ext.risk.controls import ReduceOnly
from nautilus_ext.risk.counting import UNSENT
from nautilus_ext.risk.flattening import Flattening
from nautilus_ext.risk.halts import Place, is_within, place_of
from nautilus_ext.risk.ledger import Key
from nautilus_ext.risk.limits import Rulebook
from nautilus_ext.risk.standing import Outcome, Standing
from nautilus_ext.risk.verdicts import Refused
from nautilus_ext.seam import EMULATOR, cancel_of, submitted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from nautilus_ext.config.risk import Risk
    from nautilus_ext.risk.facts import Order, Sight
    from nautilus_ext.risk.judge import Judge
    from nautilus_ext.risk.sights import Sights

WAIT_S = 5.0  # for the venues; then whoever asked is told what is unresolved
CANCEL_WAIT_S = 2.5  # of it, before what is held is closed
SOON_S = 0.05  # between two looks while somebody waits
ROUND_S = 1.0  # as long as something is to be canceled
AGAIN_S, AGAIN_S_MAX = 0.5, 5.0  # between two cancels of one order, at first and at most
NAMED_MAX = 5
NS_PER_S = 1_000_000_000
CANCELED_BEFORE_SUBMIT = "CANCELED_BEFORE_SUBMIT"
FAILED = "it could not be done ({}): the log says where"
MOVING = {"OrderAccepted", "OrderTriggered", "OrderUpdated", "OrderFilled"}  # after them more could be opened
UNSEEN = "; what works could not be looked through, see the log"
LIMITS = (SetLimit, SetOverride)

log = logging.getLogger(__name__)


class Ports(NamedTuple):
    """What the gate lends: its ways to see, to send and to record."""

    msgbus: Any
    cache: Any
    clock: Any
    lock: Any  # of the gate: it holds all that is counted
    sights: Sights
    seen: Callable[..., tuple[Order, Sight]]
    say: Callable[[str, Order, Sight, Refused], None]
    deny_when_it_comes: Callable[[str], None]
    pass_on: Callable[[Any], None]
    failed: Callable[[str, Any], None]


class _Asked(NamedTuple):
    """How often a venue was asked to cancel an order, and when it may be asked again."""

    times: int = 0
    again_ns: int = 0


class _Task:
    """A command that has not been answered: its orders are to be gone first, then its positions."""

    def __init__(self, said: str, names: list[str], flattening: Flattening | None, answer: Any, now_ns: int) -> None:
        self.said = said
        self.names = names
        self.count = len(names)
        self.flattening = flattening
        self.answer = answer
        self.close_ns = now_ns + round(CANCEL_WAIT_S * NS_PER_S)
        self.until_ns = now_ns + round(WAIT_S * NS_PER_S)


class Halting:
    """What stands, and the work that it makes. Commands come on the loop's thread; the gate's lock is held in all else.

    `judge` is the gate's: its halts are those that stand here.
    """

    def __init__(self, risk: Risk, ports: Ports) -> None:
        self._risk = risk
        self._ports = ports
        self._loop: asyncio.AbstractEventLoop | None = None
        self._worker: ThreadPoolExecutor | None = None
        self._alerts = 0

    # -- what stood before --------------------------------------------------------------------------

    def begin(self, judge: Judge, told: bytes | None = None) -> None:
        """Stand where the predecessor stood, before anything is counted or sent."""
        self._judge = judge
        self._standing = Standing(self._risk)
        judge.halts = self._standing.halts
        self._doomed: dict[str, None] = {}  # orders to be canceled, until they are gone
        self._asked: dict[str, _Asked] = {}
        self._tasks: list[_Task] = []
        self._due_ns = 0  # when the next round is; 0: none is
        applied = [*_read(told or b"[]")]
        for text in self._standing.fold(applied, self._ports.clock.timestamp_ns()):
            log.warning("what was commanded before the start does not hold any more: %s", text)
        self._version = sum(isinstance(command.what, LIMITS) for _, command in applied)
        if self._version:
            judge.adopt(Rulebook(self._standing.risk, self._version))
        self._stands = bool(self._standing.halts)  # each order and event is asked by it first
        for halt in self._standing.halts.standing():
            log.warning("it stands since before the start: %s", halt)

    def start(self) -> None:
        """Cancel what a restart has brought back into a halt."""
        self._find_loop()
        with self._ports.lock:
            self._doom(self._stopped() + self._opening(lambda _: True))
        self._round()

    def _find_loop(self) -> None:
        if self._loop is None and not isinstance(self._ports.clock, TestClock):
            with suppress(RuntimeError):
                self._loop = asyncio.get_running_loop()

    # -- what is refused ----------------------------------------------------------------------------

    def refusal(self, orders: Sequence[Order]) -> Refused | None:
        """What stands in the way of an order that would be sent, changed or reserved, whatever it does."""
        if not self._stands:
            return None
        halts = (self._stopping(each) for each in orders if each.client_order_id not in self._judge.ordered)
        return next((halt.refusal() for halt in halts if halt is not None), None)

    def _stopping(self, order: Order) -> Any:
        """The halt of its own place, or of the parent that it is a part of."""
        halts = self._standing.halts
        found = halts.stopping(place_of(order))
        if found is None and order.parent_id:
            parent = self._ports.cache.order(ClientOrderId(order.parent_id))
            if parent is not None:
                found = halts.stopping(Place(parent.instrument_id.value, order.strategy_id, order.account_id))
        return found

    def _narrowed(self, order: Order) -> Refused | None:
        """What a halt that lets through only what reduces says of an order that counts already."""
        halt = self._standing.halts.narrowing(place_of(order))
        ledger = self._judge.ledger
        if halt is None or not ledger.knows(order.instrument_id):
            return None
        ledger.settle()
        places = ledger.places(Key(order.instrument_id, order.strategy_id, order.account_id))
        return ReduceOnly(halt.scope, halt).refusal(order, places)

    def recheck(self, asked: Recheck) -> None:
        """A command has waited for the disk since the gate let it through."""
        reason = ""
        try:
            with self._ports.lock:
                reason = self._recheck(asked.command)
        except Exception as error:
            log.exception("a command could not be judged again: %s", asked.command)
            reason = f"GATE_ERROR: it could not be judged again ({type(error).__name__})"
        asked.answer(reason)

    def _recheck(self, command: Any) -> str:
        if not (self._stands or self._doomed):
            return ""
        is_change = isinstance(command, ModifyOrder)
        orders = [self._ports.cache.order(command.client_order_id)] if is_change else submitted(command)
        for order in filter(None, orders):
            name = order.client_order_id.value
            if name in self._judge.ordered:
                continue
            facts, sight = self._ports.seen(order, command.client_id)
            halt = self._stopping(facts)
            refused = None if halt is None else halt.refusal()
            if refused is None and name in self._doomed:
                gone = Refused(code=CANCELED_BEFORE_SUBMIT, text="it was canceled while it waited for the disk")
                refused = self._narrowed(facts) or gone
            if refused is not None:
                self._ports.say("modify" if is_change else "submit", facts, sight, refused)
                return str(refused)
        return ""

    # -- commands -----------------------------------------------------------------------------------

    def command(self, asked: CommandAsked) -> None:
        """Apply it, and answer once: at once, or when the venues have done their part or time is over."""
        self._find_loop()
        try:
            if isinstance(asked.command.what, LIMITS):
                self._change_limits(asked)
                return
            with self._ports.lock:
                task = self._apply(asked)
            if task is None:
                return
        except Exception as error:
            log.exception("a command could not be applied: %s", asked.command)
            asked.answer(False, FAILED.format(type(error).__name__))
            return
        self._tasks.append(task)
        self._round()

    def _apply(self, asked: CommandAsked) -> _Task | None:
        """Return what is still to be done, or answer."""
        command, what = asked.command, asked.command.what
        outcome = self._standing.apply(command, self._ports.clock.timestamp_ns())
        self._stands = bool(self._standing.halts)
        if isinstance(what, (Narrow, Resume)):
            self._judge.adopt(self._judge.book)
        if outcome.applied and isinstance(what, Resume):
            self._ports.msgbus.publish(RESUMED, what.scope)  # its breakers look anew
        if not outcome.applied or isinstance(what, Resume):
            asked.answer(*outcome)
            return None
        names = self._guarded(self._meant, what)
        said = outcome.text + ("" if names is not None else UNSEEN)
        self._doom(names or [])
        flattening = None
        if isinstance(what, Flatten) or (isinstance(what, Stop) and what.flatten):
            flattening = Flattening(
                self._ports.msgbus, self._ports.cache, self._ports.clock, command, self._judge.ordered
            )
        return _Task(said, names or [], flattening, asked.answer, self._now_ns())

    def _meant(self, what: Any) -> list[str]:
        if isinstance(what, Narrow):
            return self._opening(lambda place: is_within(place, what.scope))
        return [name for name, order in self._alive() if self._is_in(order, what.scope)]

    # -- limits -------------------------------------------------------------------------------------

    def _change_limits(self, asked: CommandAsked) -> None:
        """Reckoned beside the loop, in the order of the commands; taken over between two orders."""
        if self._loop is None:
            self._adopt(asked, *self._changed(asked))
            return
        if self._worker is None:
            self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="limits")
        loop = self._loop
        done = self._worker.submit(self._changed, asked)
        done.add_done_callback(lambda each: loop.call_soon_threadsafe(self._adopt, asked, *each.result()))

    def _changed(self, asked: CommandAsked) -> tuple[Outcome, Rulebook | None]:
        """Nothing is changed unless all of it can be."""
        try:
            standing = copy.copy(self._standing)  # the halts are shared
            outcome = standing.apply(asked.command, self._ports.clock.timestamp_ns())
            if not outcome.applied:
                return outcome, None
            book = Rulebook(standing.risk, self._version + 1)
        except Exception as error:
            log.exception("limits could not be changed: %s", asked.command)
            text = f"it could not be reckoned ({type(error).__name__}): the limits are as they were"
            return Outcome(applied=False, text=text), None
        self._standing, self._version = standing, book.version
        return outcome, book

    def _adopt(self, asked: CommandAsked, outcome: Outcome, book: Rulebook | None) -> None:
        if book is not None:
            with self._ports.lock:
                self._judge.adopt(book)
            outcome = Outcome(applied=True, text=f"{outcome.text}; limits version {book.version}")
        asked.answer(*outcome)

    # -- what is to be canceled ---------------------------------------------------------------------

    def hear(self, event: Any) -> None:
        """Of each order: what comes alive where nothing may be is canceled at once, what is gone is done with."""
        if not (self._stands or self._doomed or self._judge.ordered):
            return
        name = event.client_order_id.value
        order = self._ports.cache.order(event.client_order_id)
        if order is None or order.is_closed:
            if self._doomed.pop(name, self) is None and self._tasks:
                self._watch(0.0)
            self._asked.pop(name, None)
            self._judge.ordered.pop(name, None)
        elif order.status not in UNSENT and (name in self._doomed or self._is_stopped(order)):
            self._doom([name])
            self._end(name)
            self._watch()
        elif order.status == OrderStatus.EMULATED and self._is_stopped(order):
            self._doom([name])
            self._watch(0.0)  # the emulator is not done with it
        if order is not None and type(event).__name__ in MOVING:
            opening = self._excess(self._place(order))
            if opening:
                self._doom(opening)
                self._watch(0.0)

    def _doom(self, names: Iterable[str]) -> None:
        self._doomed.update(dict.fromkeys(names))

    def _alive(self) -> list[tuple[str, Any]]:
        """Each order that works or could: at a venue, on its way, parked, emulated, worked by an algorithm."""
        orders = self._ports.cache.orders()
        return [(each.client_order_id.value, each) for each in orders if not each.is_closed]

    def _places_of(self, order: Any) -> list[Place]:
        places = [self._place(order)]
        spawned_by = order.exec_spawn_id
        if spawned_by is not None and spawned_by != order.client_order_id:
            parent = self._ports.cache.order(spawned_by)
            if parent is not None:
                places.append(places[0]._replace(instrument_id=parent.instrument_id.value))
        return places

    def _place(self, order: Any) -> Place:
        ports = self._ports
        account_id = ports.sights.account_of(order, ports.cache.client_id(order.client_order_id))
        return Place(order.instrument_id.value, order.strategy_id.value, account_id)

    def _is_in(self, order: Any, scope: str) -> bool:
        name = order.client_order_id.value
        return name not in self._judge.ordered and any(is_within(place, scope) for place in self._places_of(order))

    def _is_stopped(self, order: Any) -> bool:
        halts = self._standing.halts
        is_exempt = order.client_order_id.value in self._judge.ordered
        return not is_exempt and any(halts.stopping(place) is not None for place in self._places_of(order))

    def _stopped(self) -> list[str]:
        return [name for name, order in self._alive() if self._is_stopped(order)]

    def _opening(self, is_meant: Callable[[Place], bool]) -> list[str]:
        """What works and could open a position where only reducing is allowed."""
        places = {(place[0], place[1]): place for place in (self._place(order) for _, order in self._alive())}
        return [name for place in places.values() if is_meant(place) for name in self._excess(place)]

    def _excess(self, place: Place) -> list[str]:
        """Of a strategy's orders in an instrument, the newest first, as long as what is left could still open one."""
        ledger = self._judge.ledger
        if self._standing.halts.narrowing(place) is None or not ledger.knows(place.instrument_id):
            return []
        ledger.settle()
        own = ledger.places(Key(*place)).own
        found: list[str] = []
        for side, works in ((1, own.buys), (-1, own.sells)):
            excess = own.reach(side)
            for order in self._newest_first(place) if works and excess > 0 else ():
                name = order.client_order_id.value
                working = ledger.working(name)
                amount = ledger.reserved(name) if working is None else working.quantity
                closes = working is not None and working.order.is_reduce_only
                if excess > 0 and amount and (order.side == OrderSide.BUY) == (side > 0) and not closes:
                    found.append(name)
                    excess -= amount
        return found

    def _newest_first(self, place: Place) -> list[Any]:
        of = {
            "instrument_id": InstrumentId.from_str(place.instrument_id),
            "strategy_id": StrategyId(place.strategy_id),
        }
        alive = [each for each in self._ports.cache.orders(**of) if not each.is_closed]
        return sorted(alive, key=lambda each: (each.ts_init, each.client_order_id.value), reverse=True)

    def _end(self, name: str) -> None:
        """Do what can be done now about an order that is to be gone; nothing for what waits for its venue's word."""
        order = self._ports.cache.order(ClientOrderId(name))
        if order is None or order.is_closed:
            self._doomed.pop(name, None)
            self._asked.pop(name, None)
        elif order.status == OrderStatus.EMULATED:
            self._ask(name, lambda: self._ports.msgbus.send(EMULATOR, self._cancel_of(order)))
        elif order.status in UNSENT:
            self._end_unsent(name, order)
        elif order.status != OrderStatus.SUBMITTED:
            self._cancel(name, order)

    def _end_unsent(self, name: str, order: Any) -> None:
        if self._judge.ledger.working(name) is not None:  # it waits for the disk, or is about to be sent
            return
        algorithm = f"{order.exec_algorithm_id}.execute"
        is_parent = order.exec_algorithm_id is not None and order.exec_spawn_id in (None, order.client_order_id)
        if is_parent and algorithm in self._ports.msgbus.endpoints():
            self._ask(name, lambda: self._ports.msgbus.send(algorithm, self._cancel_of(order)))
        else:
            self._ports.deny_when_it_comes(name)
            self._doomed.pop(name, None)

    def _cancel(self, name: str, order: Any) -> None:
        ports = self._ports
        if not ports.sights.is_reachable(order):
            self._asked.pop(name, None)  # at once when the venue is back
            return
        if self._now_ns() < self._asked.get(name, _Asked()).again_ns:
            return
        facts, sight = ports.seen(order, ports.cache.client_id(order.client_order_id))
        if self._judge.cancel(facts, sight) is None:  # else its venue takes no more messages now
            self._ask(name, lambda: ports.pass_on(self._cancel_of(order)))

    def _ask(self, name: str, send: Callable[[], None]) -> None:
        """Not twice in a moment: what cancels may be on its way."""
        now_ns, asked = self._now_ns(), self._asked.get(name, _Asked())
        if now_ns >= asked.again_ns:
            wait_s = min(AGAIN_S * 2**asked.times, AGAIN_S_MAX)
            self._asked[name] = _Asked(min(asked.times + 1, 10), now_ns + round(wait_s * NS_PER_S))
            send()

    def _cancel_of(self, order: Any) -> Any:
        return cancel_of(order, self._ports.cache.client_id(order.client_order_id))

    # -- rounds -------------------------------------------------------------------------------------

    def _round(self) -> None:
        """Look after everything that is not done; answer whom it is done for. On the loop's thread."""
        self._due_ns = 0
        answers: list[tuple[Any, str]] = []
        with self._ports.lock:
            for name in list(self._doomed):
                self._guarded(self._end, name)
            for task in list(self._tasks):
                text = self._guarded(self._done, task)
                if text is None and self._now_ns() >= task.until_ns:
                    text = f"{task.said}; unresolved: all of it, the gate has failed over it (see the log)"
                if text is not None:
                    self._tasks.remove(task)
                    answers.append((task.answer, text))
            self._watch()
        for answer, text in answers:
            self._guarded(lambda text, answer=answer: answer(True, text), text)

    def _guarded(self, act: Callable[[Any], Any], about: Any) -> Any:
        """One order that cannot be dealt with keeps nobody from the others."""
        try:
            return act(about)
        except Exception:  # noqa: BLE001 - told by `failed`; it would end the node
            self._ports.failed("a halt could not go on: %s", about)
            return None

    def _done(self, task: _Task) -> str | None:
        """What to answer, when there is nothing to wait for any more."""
        now_ns = self._now_ns()
        task.names = [name for name in task.names if name in self._doomed]
        if task.flattening is not None and (not task.names or now_ns >= task.close_ns):
            task.flattening.advance()
            left = task.flattening.left()
        else:
            left = [] if task.flattening is None else ["what is held"]
        if (task.names or left) and now_ns < task.until_ns:
            return None
        canceled = f"canceled={task.count - len(task.names)}"
        closed = "" if task.flattening is None else f" closed={task.flattening.closed}"
        unresolved = [f"order {name} {self._status(name)}" for name in task.names] + left
        more = f" and {len(unresolved) - NAMED_MAX} more" if len(unresolved) > NAMED_MAX else ""
        named = f" unresolved: {', '.join(unresolved[:NAMED_MAX])}{more}" if unresolved else ""
        return f"{task.said}{'; ' if task.said else ''}{canceled}{closed}{named}"

    def _status(self, name: str) -> str:
        order = self._ports.cache.order(ClientOrderId(name))
        return "" if order is None else order.status_string()

    def _watch(self, after_s: float | None = None) -> None:
        """One round to come, as long as there is something to do; the sooner one counts."""
        if not (self._doomed or self._tasks):
            return
        if after_s is None:
            after_s = SOON_S if self._tasks else ROUND_S
        due_ns = self._now_ns() + round(after_s * NS_PER_S)
        if self._due_ns and self._due_ns <= due_ns:
            return
        self._due_ns = due_ns
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._loop.call_later, after_s, self._round_at, due_ns)
        elif isinstance(self._ports.clock, TestClock):
            self._alerts += 1
            self._ports.clock.set_time_alert_ns(f"halting-{self._alerts}", due_ns, lambda _: self._round_at(due_ns))

    def _now_ns(self) -> int:
        """For waits: in live no clock that somebody can put back."""
        return self._ports.clock.timestamp_ns() if self._loop is None else round(self._loop.time() * NS_PER_S)

    def _round_at(self, due_ns: int) -> None:
        if due_ns == self._due_ns:  # else a sooner one was there
            self._round()


def _read(told: bytes) -> Iterator[tuple[int, Command]]:
    """Without what another version has applied and this one does not know."""
    for each in msgspec.json.decode(told, type=list[AppliedCommand]):
        try:
            yield each.applied_ns, read(each.command_id, each.kind, each.arguments, each.issued_by)
        except ConfigError as error:
            log.error("what was commanded before the start is left out: %s", error)  # noqa: TRY400
