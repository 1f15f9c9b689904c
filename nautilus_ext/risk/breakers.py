"""Breakers: rules over a window and a scope that stop trading, or tell of it, when a limit is passed. Pure.

A limit is the most that is allowed. Each breaker answers once and is silent until it is armed again: one that only
alerts arms itself when what it saw is over, any other when a person lifts what it has stopped.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from nautilus_ext.config.risk import BreakerAction as Action  # noqa: TC001 - msgspec reads the annotations
from nautilus_ext.config.risk import BreakerKind as Kind  # noqa: TC001 - as above
from nautilus_ext.config.risk import BreakerRule as Rule  # noqa: TC001 - and whoever has a breaker has its rule here
from nautilus_ext.risk.halts import MEMBER_KINDS, NODE, Halt
from nautilus_ext.risk.limits import expression
from nautilus_ext.risk.scopes import scope_fault
from nautilus_ext.risk.verdicts import Refused
from nautilus_ext.risk.watches import Fall, Lasting, Memory, Often, Share, Slow, Streak, Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from nautilus_ext.risk.halts import Place

ARMED_MAX = 10_000  # breakers at once; the one that was fed longest ago is forgotten
COUNT_MAX = 10_000
WINDOW_S_MAX = 31 * 86_400
NS_PER_S = 1_000_000_000
REJECTING: tuple[Kind, ...] = ("reject_streak", "rejection_rate")
TRADED = (NODE, *MEMBER_KINDS)


class Traits(NamedTuple):
    """What a kind of breaker counts and where; `survives`: what it has counted matters after a restart."""

    unit: str
    scopes: tuple[str, ...]
    survives: bool = False
    is_whole: bool = False
    needs_window: bool = True
    least_max: int = 0  # how many facts it can be told to wait for; 0: it waits for none


TRAITS: dict[Kind, Traits] = {
    "loss": Traits("base currency", TRADED, survives=True, needs_window=False),
    "drawdown": Traits("base currency", TRADED, survives=True, needs_window=False),
    "reject_streak": Traits("rejections", TRADED, survives=True, is_whole=True),
    "rejection_rate": Traits("share", TRADED, least_max=100_000),
    "executions": Traits("executions", TRADED, survives=True, is_whole=True),
    "latency": Traits("ms", TRADED, least_max=100),
    "stale_data": Traits("s", ("venue", "instrument"), needs_window=False),
    "shipper_lag": Traits("s", (NODE,), needs_window=False),
    "sync_failure": Traits("failures", (NODE, "venue", "account"), needs_window=False),
    "venue_down": Traits("s", ("venue",), needs_window=False),
    "drop_copy": Traits("differences", (NODE, "venue", "account"), needs_window=False),
}


class Trip(msgspec.Struct, frozen=True, kw_only=True):
    """A breaker has found its limit passed."""

    kind: Kind
    scope: str
    action: Action
    limit: Decimal
    value: Decimal
    window_s: float
    ts_ns: int

    def __str__(self) -> str:
        text = f"window_s={self.window_s:g} action={self.action}"
        numbers: dict[str, Any] = {"limit": self.limit, "would_be": self.value}
        return str(Refused(code=f"BREAKER_{self.kind.upper()}", scope=self.scope, unit=self.unit, text=text, **numbers))

    @property
    def unit(self) -> str:
        return TRAITS[self.kind].unit

    def halt(self) -> Halt | None:
        """What it latches; None when it only alerts."""
        if self.action == "alert":
            return None
        return Halt(scope=self.scope, mode=self.action, by=f"breaker {self.kind}", why=str(self), since_ns=self.ts_ns)


class State(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A breaker as a restart finds it again."""

    rule: str
    scope: str
    is_tripped: bool = False
    memory: Memory = Memory()


class Breaker:
    """One rule for one member of its scope."""

    __slots__ = ("_is_tripped", "_watch", "rule", "scope")

    def __init__(self, rule: Rule, scope: str, state: State | None = None) -> None:
        self.rule = rule
        self.scope = scope
        self._is_tripped = state is not None and state.is_tripped
        self._watch = _watch(rule, None if state is None else state.memory)

    def take(self, now_ns: int, fact: Decimal) -> Trip | None:
        """Feed the watch, and answer when its limit is passed for the first time."""
        value = self._watch.take(now_ns, fact)
        if value is None or value <= self.rule.limit:
            self._is_tripped &= self.rule.action != "alert"
            return None
        if self._is_tripped:
            return None
        self._is_tripped = True
        rule = self.rule
        numbers: dict[str, Any] = {"limit": rule.limit, "value": value, "window_s": rule.window_s}
        return Trip(kind=rule.kind, scope=self.scope, action=rule.action, ts_ns=now_ns, **numbers)

    def arm(self) -> bool:
        """Begin anew, from what is the case now; tell whether it had tripped."""
        had_tripped, self._is_tripped = self._is_tripped, False
        if had_tripped:
            self._watch.begin()
        return had_tripped

    def state(self) -> State | None:
        """None: a restart has nothing to know of it."""
        if not TRAITS[self.rule.kind].survives:
            return None
        memory = self._watch.memory() if isinstance(self._watch, Fall | Streak) else Memory()
        return State(rule=self.rule.name, scope=self.scope, is_tripped=self._is_tripped, memory=memory)


class Breakers:
    """All of them. Not for several threads."""

    def __init__(self, rules: Iterable[Rule], states: Iterable[State] = ()) -> None:
        self._rules: dict[str, list[tuple[Rule, str, Any]]] = {}
        self._breakers: dict[tuple[str, str], Breaker] = {}
        by_name = {}
        for rule in rules:
            kind, _, pattern = rule.scope.partition("=")
            self._rules.setdefault(rule.kind, []).append((rule, kind, expression(pattern)))
            by_name[rule.name] = rule
        for state in states:  # of a rule that is gone nothing is kept
            if state.rule in by_name:
                self._breakers[state.rule, state.scope] = Breaker(by_name[state.rule], state.scope, state)

    # -- facts --------------------------------------------------------------------------------------

    def answered(
        self, place: Place, now_ns: int, *, is_rejected: bool, latency_ms: Decimal | None = None
    ) -> list[Trip]:
        """A venue has taken an order or refused it, so long after it was sent."""
        scopes = tuple(place.scopes())
        rejected = Decimal(is_rejected)
        trips = [each for kind in REJECTING for each in self._feed(kind, scopes, now_ns, rejected)]
        if latency_ms is not None:
            trips += self._feed("latency", scopes, now_ns, latency_ms)
        return trips

    def executed(self, place: Place, now_ns: int) -> list[Trip]:
        """An order was filled, or a part of it."""
        return self.remember(tuple(place.scopes()), now_ns)

    def remember(self, scopes: tuple[str, ...], ts_ns: int) -> list[Trip]:
        """After a restart the fills of the window are told again, the oldest first, to those that count them still."""
        return self._feed("executions", scopes, ts_ns, Decimal(1))

    def came_to(self, scope: str, result: Decimal, now_ns: int) -> list[Trip]:
        """All that a scope has won and lost since its book began, open positions valued, in the base currency."""
        return [*self._feed("loss", (scope,), now_ns, result), *self._feed("drawdown", (scope,), now_ns, result)]

    def measured(self, kind: Kind, scope: str, value: Decimal, now_ns: int) -> list[Trip]:
        """How old, how late, how many: what is looked at again and again."""
        return self._feed(kind, (scope,), now_ns, value)

    def _feed(self, kind: Kind, scopes: tuple[str, ...], now_ns: int, fact: Decimal) -> list[Trip]:
        trips = []
        if not fact.is_finite():
            return trips  # nobody can say
        for rule, scope_kind, pattern in self._rules.get(kind, ()):
            for scope in scopes:
                of_kind, _, member = scope.partition("=")
                if of_kind == scope_kind and pattern.fullmatch(member):
                    trips.append(self._breaker(rule, scope).take(now_ns, fact))
        return [trip for trip in trips if trip is not None]

    def _breaker(self, rule: Rule, scope: str) -> Breaker:
        key = (rule.name, scope)
        breaker = self._breakers.pop(key, None) or Breaker(rule, scope)
        if len(self._breakers) >= ARMED_MAX:
            del self._breakers[next(iter(self._breakers))]
        self._breakers[key] = breaker  # fed last
        return breaker

    # -- arming, a restart --------------------------------------------------------------------------

    def arm(self, scope: str) -> list[str]:
        """A person has lifted what stood at this scope: which breakers look anew, by the names of their rules."""
        return [each.rule.name for each in self._breakers.values() if each.scope == scope and each.arm()]

    def states(self) -> list[State]:
        found = (each.state() for each in self._breakers.values())
        return [state for state in found if state is not None]


def _watch(rule: Rule, memory: Memory | None) -> Watch:
    window_ns, limit = round(rule.window_s * NS_PER_S), rule.limit
    made: dict[str, Callable[[], Watch]] = {
        "loss": lambda: Fall(window_ns, is_from_peak=False, memory=memory),
        "drawdown": lambda: Fall(window_ns, is_from_peak=True, memory=memory),
        "reject_streak": lambda: Streak(window_ns, memory),
        "rejection_rate": lambda: Share(window_ns, rule.least),
        "executions": lambda: Often(window_ns, int(limit)),
        "latency": lambda: Slow(window_ns, rule.least),
    }
    return made.get(rule.kind, lambda: Lasting(window_ns, limit))()


# -- what is wrong with a rule ------------------------------------------------------------------------


def rule_problems(rules: Iterable[Rule]) -> Iterator[tuple[str, str]]:
    """All of them, as `[0].scope` and what to write instead."""
    names: dict[str, int] = {}
    for number, rule in enumerate(rules):
        first = names.setdefault(rule.name, number)
        if first != number:
            yield f"[{number}]", f"the same kind, scope and action as [{first}]: keep one of them"
        yield from ((f"[{number}].{key}", fault) for key, fault in _faults(rule))


def _faults(rule: Rule) -> Iterator[tuple[str, str]]:
    traits = TRAITS[rule.kind]
    fault = _scope_fault(rule)
    if fault:
        yield "scope", fault
    if not rule.limit.is_finite() or rule.limit < 0:
        yield "limit", f"{rule.limit} is no limit: it is 0 or more, in {traits.unit}"
    elif traits.is_whole and (rule.limit != int(rule.limit) or rule.limit > COUNT_MAX):
        yield "limit", f"{rule.limit} is no number of {traits.unit}: it is whole, and {COUNT_MAX} at most"
    elif rule.kind == "rejection_rate" and rule.limit >= 1:
        yield "limit", f"{rule.limit} is never passed: it is a share of all answers, below 1"
    if not (0 < rule.window_s <= WINDOW_S_MAX or (rule.window_s == 0 and not traits.needs_window)):
        least = "above 0" if traits.needs_window else "0 or more"
        yield "window_s", f"{rule.window_s:g} is no window: it is {least}, and {WINDOW_S_MAX} s at most"
    if not 1 <= rule.least <= max(traits.least_max, 1):
        yield "least", f"{rule.least} does not fit: {rule.kind} takes from 1 to {max(traits.least_max, 1)}"


def _scope_fault(rule: Rule) -> str | None:
    allowed = TRAITS[rule.kind].scopes
    kind, _, member = rule.scope.partition("=")
    if kind not in allowed or (kind == NODE) != (not member):
        forms = ", ".join(each if each == NODE else f"{each}=NAME" for each in allowed)
        return f'"{rule.scope}" is no scope of {rule.kind}: write one of {forms}; a NAME may hold *'
    return None if kind == NODE else scope_fault(rule.scope)
