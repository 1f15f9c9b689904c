"""The actor behind the breakers: it feeds them, and has what they find told, stopped and kept over a restart."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import OrderedDict
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import msgspec
import pandas as pd
from nautilus_trader.common.actor import Actor
from nautilus_trader.common.component import TestClock
from nautilus_trader.common.config import ActorConfig

from nautilus_ext.config.risk import Risk
from nautilus_ext.messages import (
    ALERT,
    COMMAND,
    COMMANDED,
    MIRROR_STATE,
    RECENT,
    RESUMED,
    STANDING,
    VENUE_CHECKED,
    AppliedCommand,
    CommandAsked,
    Commanded,
    Recent,
)
from nautilus_ext.risk.alerts import alert
from nautilus_ext.risk.breaker_file import BreakerFile, Kept, Latched
from nautilus_ext.risk.breakers import REJECTING, Breakers
from nautilus_ext.risk.commands import TEXT_MAX, CancelAll, Command, Narrow, Stop
from nautilus_ext.risk.halts import NODE, Place
from nautilus_ext.risk.limits import Rulebook, expression
from nautilus_ext.risk.looks import Lag, Markets, Venues, open_results
from nautilus_ext.risk.results import Results
from nautilus_ext.risk.sights import Sights
from nautilus_ext.seam import PROCESS, owner_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from nautilus_ext.messages import MirrorState, VenueChecked
    from nautilus_ext.risk.breakers import Trip

LOOK_EVERY_S = 1.0
CONNECTIONS_EVERY = 4  # looks at them in that time: a connection may be lost for a moment only
SENT_MAX = 100_000  # orders that no venue has answered; the oldest are forgotten
AFTER_THE_GATE = 50  # the gate counts an event first, and a strategy hears it last
ZERO = Decimal(0)
NS_PER_MS = Decimal(1_000_000)
RESUMED_MAX = 1_000  # scopes of which it is known when a person let them go on; the oldest are forgotten
BLIND_AFTER = 60  # looks without a result, before somebody is told
ANSWERING = ("latency", *REJECTING)
RESULTS = ("loss", "drawdown")
NOT_APPLIED = "BREAKER_NOT_APPLIED"
BLIND = "BREAKER_BLIND"
SWEPT = "CANCEL_ON_DISCONNECT"

log = logging.getLogger(__name__)


class CircuitBreakersConfig(ActorConfig, frozen=True):
    """Configuration of `CircuitBreakers`. The suite fills in the file at each start.

    Parameters
    ----------
    section : dict, default {}
        What the section `risk` of a file says.
    path : str, default ""
        The file for what a restart has to know; empty: nothing is kept, as in a backtest.

    """

    section: dict[str, Any] = {}  # noqa: RUF012 - msgspec makes a new one for each
    path: str = ""


class CircuitBreakers(Actor):
    """Listens, looks around each second, and sends what trips to the gate as a command.

    No exception leaves it: it would end the node. Timers of a live node call on threads of their own: one lock holds
    all that is counted, and nothing is said to others while it is held: they may have locks as well.
    """

    def __init__(self, config: CircuitBreakersConfig | None = None) -> None:
        config = config or CircuitBreakersConfig()
        super().__init__(config)
        self._config = config
        self._risk = msgspec.convert(config.section, Risk)
        self._kinds = {rule.kind for rule in self._risk.breakers}
        self._swept = [expression(each) for each in self._risk.cancel_on_disconnect]
        self.venues = Venues()
        self._file = BreakerFile(Path(config.path)) if config.path else None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0
        self._timer: asyncio.TimerHandle | None = None
        self._out: list[Callable[[], None]] = []  # what is said once the lock is free
        self._lock = threading.RLock()
        self._failed: set[str] = set()
        self._begin(None)

    def _begin(self, kept: Kept | None) -> None:
        kept = kept or Kept()
        self._breakers = Breakers(self._risk.breakers, kept.states)
        self._latched = {each.command_id: each for each in kept.latched}
        self._results = Results(kept.sums, kept.seen)
        self._known_scopes = {state.scope for state in kept.states}
        self._sent: OrderedDict[Any, int] = OrderedDict()
        self._lag = Lag()
        self._is_ending = False
        self._checked: dict[str, VenueChecked] = {}
        self._blind = 0
        self._is_new = not kept.watched
        self._armed = dict(kept.armed)
        self._early: list[Trip] = []
        self._last_kept = kept
        self._is_unkept = False

    def register_base(self, portfolio: Any, msgbus: Any, cache: Any, clock: Any) -> None:
        """Hear of it from the first moment, with what a restart has put into the cache."""
        super().register_base(portfolio, msgbus, cache, clock)
        self._sights = Sights(cache, clock, owner_of(msgbus, PROCESS), Rulebook(self._risk))
        self._markets = Markets(cache, msgbus)
        self._recall()
        for topic, handler, kinds in (
            ("events.order.*", self._on_order, (*ANSWERING, "executions")),
            ("events.position.*", self._on_position, RESULTS),
            (MIRROR_STATE, self._on_mirror, ("shipper_lag",)),
            (VENUE_CHECKED, self._on_checked, ("sync_failure", "drop_copy")),
        ):
            if self._kinds.intersection(kinds):
                msgbus.subscribe(topic=topic, handler=handler, priority=AFTER_THE_GATE)
        msgbus.subscribe(topic=RESUMED, handler=self._on_resumed)

    def _recall(self) -> None:
        kept = self._file.read() if self._file is not None else None
        if self._file is not None:
            self._file.make_folder()
        self._begin(kept)
        if kept is not None and not self._watched() <= set(kept.watched):
            self._known_scopes.update(self._scopes_before(kept))
        for position in self.cache.positions_open():
            realized = _amount(position.realized_pnl)
            if self._is_new:
                self._results.begin(position.id.value, realized)
            else:  # what it has come to since the last word of the file
                self._take_result(position, position.id.value, realized, kind="")
        if kept is not None:
            self._hear_of_resumes(kept.latched)
        told = self.cache.get(RECENT) if "executions" in self._kinds else None
        for fill in msgspec.json.decode(told, type=Recent).fills if told else ():
            place = Place(fill.instrument_id, fill.strategy_id, fill.account_id)
            scopes = tuple(each for each in place.scopes() if self._armed.get(each, 0) < fill.ts_ns)
            self._early += self._breakers.remember(scopes, fill.ts_ns)

    def _hear_of_resumes(self, latched: list[Latched]) -> None:
        """Of those while the file had no breakers, or could not be written: the table says what was let go on."""
        told = self.cache.get(STANDING) if latched else None
        stopped = {each.command_id: (each.scope, "halt" if each.kind == "halt" else "reduce_only") for each in latched}
        found: set[tuple[str, str]] = set()
        for each in msgspec.json.decode(told, type=list[AppliedCommand]) if told else ():
            scope, mode = str(each.arguments.get("scope")), each.arguments.get("mode")
            if each.command_id in stopped:
                found.add(stopped[each.command_id])
            elif each.kind == "resume" and any(of == scope and mode in (None, what) for of, what in found):
                found = {(of, what) for of, what in found if of != scope}
                self._let_go_on(scope, each.applied_ns)

    def _scopes_before(self, kept: Kept) -> Iterator[str]:
        """What they have lost is none of a breaker that is new in the file: it does not begin with nothing there."""
        seen = {each.position_id for each in kept.seen}
        held = (each for each in self.cache.positions_open() if each.id.value in seen)
        for each in kept.sums:
            yield from Place(each.instrument_id, each.strategy_id, each.account_id).scopes()
        for each in held:
            yield from Place(each.instrument_id.value, each.strategy_id.value, each.account_id.value).scopes()

    # -- life ---------------------------------------------------------------------------------------

    def on_start(self) -> None:
        """What had tripped stands, whatever became of its command; then look around each second."""
        self._guarded("what had tripped before", self._stop_again)
        if not isinstance(self.clock, TestClock):
            self._loop, self._thread = asyncio.get_running_loop(), threading.get_ident()
            self._repeat(self._loop)
        elif self._kinds.intersection((*RESULTS, "stale_data")):
            self.clock.set_timer("breakers", pd.Timedelta(seconds=LOOK_EVERY_S), callback=self._on_timer)

    def _stop_again(self) -> None:
        for latched in self._latched.values():
            self._send(latched)
        early, self._early = self._early, []
        self._trip_all(early)

    def on_stop(self) -> None:
        """Strategies stop later, and what their last orders come to counts. That connections end now is no news."""
        self._is_ending = True

    def on_reset(self) -> None:
        """A backtest that runs again begins with nothing."""
        self._begin(None)

    def on_dispose(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _repeat(self, loop: asyncio.AbstractEventLoop, turn: int = 0) -> None:
        self._timer = loop.call_later(LOOK_EVERY_S / CONNECTIONS_EVERY, self._repeat, loop, turn + 1)
        if turn % CONNECTIONS_EVERY == 0:
            self._look()
        self._look_at_connections()

    def _on_timer(self, _event: Any) -> None:
        self._look()

    # -- what happens -------------------------------------------------------------------------------

    def _on_order(self, event: Any) -> None:
        self._guarded("an event of an order", lambda: self._take_order(event))

    def _take_order(self, event: Any) -> None:
        kind, now_ns = type(event).__name__, self.clock.timestamp_ns()
        if kind == "OrderSubmitted":
            self._sent[event.client_order_id] = now_ns
            if len(self._sent) > SENT_MAX:
                self._sent.popitem(last=False)
            return
        place = Place(event.instrument_id.value, event.strategy_id.value, _name(getattr(event, "account_id", None)))
        trips: list[Trip] = []
        sent_ns = self._sent.pop(event.client_order_id, None)
        if kind == "OrderRejected" or sent_ns is not None or (kind == "OrderAccepted" and not event.reconciliation):
            latency_ms = None if sent_ns is None or event.reconciliation else (now_ns - sent_ns) / NS_PER_MS
            is_rejected = kind == "OrderRejected"
            trips += self._breakers.answered(place, now_ns, is_rejected=is_rejected, latency_ms=latency_ms)
            if is_rejected:
                self._keep()  # what ends a streak is kept at the next look: a kill in between counts one too many
        if kind == "OrderFilled":
            trips += self._breakers.executed(place, now_ns)
        self._trip_all(trips)

    def _on_position(self, event: Any) -> None:
        kind, name = type(event).__name__, event.position_id.value
        self._guarded(
            "an event of a position", lambda: self._take_result(event, name, _amount(event.realized_pnl), kind=kind)
        )

    def _take_result(self, of: Any, name: str, realized: Decimal, *, kind: str) -> None:
        """Kept at once: closed positions are in no cache after a restart."""
        place = Place(of.instrument_id.value, of.strategy_id.value, of.account_id.value)
        currency = (of.currency if kind else of.settlement_currency).code
        if self._results.take(place, name, currency, realized, kind=kind):
            self._keep()

    def _on_mirror(self, state: MirrorState) -> None:
        now_ns = self.clock.timestamp_ns()
        self._guarded(
            "the state of the journal", lambda: self._measure("shipper_lag", {NODE: self._lag.take(state, now_ns)})
        )

    def _on_checked(self, checked: VenueChecked) -> None:
        self._guarded("what a venue was asked", lambda: self._take_checked(checked))

    def _take_checked(self, checked: VenueChecked) -> None:
        self._checked[checked.client] = checked
        scopes = (f"venue={checked.venue}", f"account={checked.account_id}")
        failures = max(each.failures for each in self._checked.values())
        self._measure("sync_failure", {NODE: Decimal(failures), **dict.fromkeys(scopes, Decimal(checked.failures))})
        if checked.differences is not None:
            all_of_them = sum(each.differences or 0 for each in self._checked.values())
            here = dict.fromkeys(scopes, Decimal(checked.differences))
            self._measure("drop_copy", {NODE: Decimal(all_of_them), **here}, checked.examples)

    # -- what is looked at --------------------------------------------------------------------------

    def _look(self) -> None:
        if self._kinds.intersection(RESULTS):
            self._guarded("results", self._look_at_results)
        if "stale_data" in self._kinds and not self._is_ending:
            self._guarded("the age of data", self._look_at_data)
        self._guarded("what is kept", self._keep)

    def _look_at_connections(self) -> None:
        if ("venue_down" in self._kinds or self._swept) and not self._is_ending:
            self._guarded("connections", self._look_at_venues)

    def _look_at_results(self) -> None:
        now_ns = self.clock.timestamp_ns()
        found = self._results.by_scope(open_results(self.cache, self._sights), self._sights.rate)
        found.setdefault(NODE, ZERO)
        trips: list[Trip] = []
        for scope, result in found.items():
            if scope not in self._known_scopes:
                self._known_scopes.add(scope)
                if not self._is_new:  # it had nothing before, and what it has now is won or lost
                    self._breakers.came_to(scope, ZERO, now_ns)
            trips += self._breakers.came_to(scope, result, now_ns)
        self._is_new = False
        self._blind = 0 if found[NODE].is_finite() else self._blind + 1
        if self._blind == BLIND_AFTER:
            text = (
                f"no result for {BLIND_AFTER} s: a price or a rate into the base currency (risk.conversions) is missing"
            )
            self._tell(BLIND, NODE, text)
        self._trip_all(trips)

    def _look_at_data(self) -> None:
        ages = self._markets.ages_s(self.clock.timestamp_ns())
        found = {f"instrument={each}": age for each, age in ages.items()}
        for each, age in ages.items():  # a venue is heard as long as one of its instruments is
            scope = f"venue={each.venue}"
            found[scope] = min(found.get(scope, age), age)
        self._measure("stale_data", found)

    def _look_at_venues(self) -> None:
        away = self.venues.look(self.clock.timestamp_ns())
        self._measure("venue_down", {f"venue={name}": down_s for name, down_s in away.down_s.items()})
        for name in away.back:
            if any(each.fullmatch(name) for each in self._swept):
                self._sweep(name)

    def _sweep(self, venue: str) -> None:
        """What worked there while nobody could reach it: nobody knows what it has become."""
        why = "the connection was lost, and is back: risk.cancel_on_disconnect"
        command = Command(
            command_id=f"sweep-{uuid4().hex}", issued_by=SWEPT, what=CancelAll(scope=f"venue={venue}", why=why)
        )
        self._tell(SWEPT, f"venue={venue}", "the connection is back: all that works there is canceled", is_mild=True)
        self._ask(command)

    # -- what follows -------------------------------------------------------------------------------

    def _measure(self, kind: Any, values: dict[str, Decimal], words: str = "") -> None:
        now_ns = self.clock.timestamp_ns()
        trips = [
            trip for scope, value in values.items() for trip in self._breakers.measured(kind, scope, value, now_ns)
        ]
        self._trip_all(trips, words)

    def _trip_all(self, trips: Sequence[Trip], words: str = "") -> None:
        """Kept before it is sent: a node that is killed in between sends it at its next start."""
        if not trips:
            return
        latched = [each for each in map(_latched, trips) if each is not None]
        self._latched |= {each.command_id: each for each in latched}
        self._keep()
        for trip in trips:
            text = f"{trip}; {words}" if words else str(trip)
            self._tell(f"BREAKER_{trip.kind.upper()}", trip.scope, text, is_mild=trip.action == "alert")
        for each in latched:
            self._send(each)

    def _send(self, latched: Latched) -> None:
        what = (Stop if latched.kind == "halt" else Narrow)(scope=latched.scope, why=latched.why)
        self._ask(Command(command_id=latched.command_id, issued_by=latched.by, what=what))

    def _ask(self, command: Command) -> None:
        def answer(applied: bool, text: str) -> None:  # noqa: FBT001 - the gate's own signature
            self._guarded("an answer of the gate", lambda: self._answered(command, applied=applied, text=text))

        def ask() -> None:
            if COMMAND in self.msgbus.endpoints():
                self.msgbus.send(COMMAND, CommandAsked(command=command, answer=answer))
            else:
                answer(False, "no gate takes commands here")

        self._out.append(ask)

    def _answered(self, command: Command, *, applied: bool, text: str) -> None:
        if not applied:
            self._tell(
                NOT_APPLIED, command.what.scope, f"{command.kind} by {command.issued_by} was not applied: {text}"
            )
        self._say(COMMANDED, Commanded(command=command, applied=applied, text=text))

    def _tell(self, code: str, scope: str, text: str, *, is_mild: bool = False) -> None:
        severity = "warning" if is_mild else "critical"
        self._say(ALERT, alert(code, scope, severity, text, self.clock.timestamp_ns()))

    def _say(self, topic: str, message: Any) -> None:
        self._out.append(lambda: self.msgbus.publish(topic=topic, msg=message))

    def _on_resumed(self, scope: str) -> None:
        self._guarded("a resume", lambda: self._arm(scope))

    def _arm(self, scope: str) -> None:
        armed = self._let_go_on(scope, self.clock.timestamp_ns())
        self._keep()
        if armed:
            log.warning("%s is resumed: armed again: %s", scope, ", ".join(armed))

    def _let_go_on(self, scope: str, at_ns: int) -> list[str]:
        armed = self._breakers.arm(scope)
        self._latched = {key: each for key, each in self._latched.items() if each.scope != scope}
        self._armed.pop(scope, None)
        self._armed[scope] = at_ns  # what was filled before is not counted again at a restart
        if len(self._armed) > RESUMED_MAX:
            del self._armed[next(iter(self._armed))]
        return armed

    def _keep(self) -> None:
        if self._file is None:
            return
        results = {"sums": self._results.sums(), "seen": self._results.seen()}
        states, latched = self._breakers.states(), list(self._latched.values())
        watched = sorted(self._watched())
        kept = Kept(states=states, latched=latched, armed=dict(self._armed), watched=watched, **results)
        if kept == self._last_kept:
            return
        try:
            self._file.write(kept)
        except OSError as error:  # what trips stops all the same; each look tries again
            if not self._is_unkept:
                log.critical("what breakers have counted cannot be kept (%s): a restart does not know it", error)
            self._is_unkept = True
        else:
            self._last_kept, self._is_unkept = kept, False

    def _watched(self) -> set[str]:
        """The breakers of results."""
        return {rule.name for rule in self._risk.breakers if rule.kind in RESULTS}

    def _guarded(self, what: str, work: Callable[[], None]) -> None:
        """Whoever fails is told once, and the others go on; what was to be said is said all the same."""
        failures: list[tuple[str, Exception]] = []
        with self._lock:
            try:
                work()
            except Exception as error:  # noqa: BLE001 - told below
                failures.append((what, error))
            said, self._out = self._out, []
        for each in said:
            try:
                self._on_the_loop(each)
            except Exception as error:  # noqa: BLE001 - as above
                failures.append(("what hears of them", error))
        for about, error in failures:
            if about not in self._failed:
                log.critical("the breakers cannot follow %s: see the log", about, exc_info=error)
            self._failed.add(about)

    def _on_the_loop(self, act: Callable[[], None]) -> None:
        """A gate takes commands there; what is counted may come on the thread of a timer."""
        if self._loop is None or self._thread == threading.get_ident():
            act()
        else:
            self._loop.call_soon_threadsafe(act)


def _latched(trip: Trip) -> Latched | None:
    halt = trip.halt()
    if halt is None:
        return None
    return Latched(
        command_id=f"breaker-{trip.kind}-{uuid4().hex}",
        kind="halt" if halt.mode == "halt" else "reduce-only",
        scope=halt.scope,
        why=halt.why[:TEXT_MAX],
        by=halt.by,
    )


def _name(identifier: Any) -> str:
    return "" if identifier is None else identifier.value


def _amount(money: Any) -> Decimal:
    return ZERO if money is None else money.as_decimal()
