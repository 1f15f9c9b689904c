"""What is stopped, by whom and why: halts are latched by scope, and stand until somebody lifts them. Pure.

`halt` refuses whatever is new, `reduce_only` lets through what makes a position smaller. Cancels are never asked about.
"""

from __future__ import annotations

import difflib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal, NamedTuple

import msgspec

from nautilus_ext.risk.scopes import scope_fault
from nautilus_ext.risk.verdicts import Refused

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from nautilus_ext.risk.facts import Order

Mode = Literal["halt", "reduce_only"]

NODE = "node"
MEMBER_KINDS = ("venue", "account", "strategy", "instrument")
SCOPE_FORM = f'write "{NODE}", or one of {", ".join(MEMBER_KINDS)} with "=" and a name'
HALTED = "HALTED"
HALTS_MAX = 1_000  # that stand at once; one more holds for the whole node
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Place(NamedTuple):
    """Whose order it is and where it goes: all that a halt asks of it. Empty: it is not known."""

    instrument_id: str
    strategy_id: str = ""
    account_id: str = ""

    @property
    def venue(self) -> str:
        """From the name alone: a halt holds for instruments that the cache does not know as well."""
        return self.instrument_id.rpartition(".")[2]

    def scopes(self) -> Iterator[str]:
        """All that it is in, the widest first."""
        yield NODE
        for kind, name in zip(
            MEMBER_KINDS, (self.venue, self.account_id, self.strategy_id, self.instrument_id), strict=True
        ):
            if name:
                yield f"{kind}={name}"


def place_of(order: Order) -> Place:
    return Place(order.instrument_id, order.strategy_id, order.account_id)


def is_within(place: Place, scope: str) -> bool:
    """Tell whether an order is one of those that a scope means."""
    return scope in place.scopes()


def halt_scope_fault(scope: str) -> str | None:
    """What is wrong with a scope, and what to write. It names one member: what is stopped has to be plain to see."""
    kind, _, member = scope.partition("=")
    if scope == NODE:
        return None
    if kind not in MEMBER_KINDS or not member:
        return f'"{scope}" is no scope; {_nearest(kind, member) or SCOPE_FORM}'
    if "*" in member:
        return f'"{scope}" stands for many: name one {kind}, or "{NODE}" for all'
    if member.count(":") >= 2:  # noqa: PLR2004 - a canonical id, which can be written in more than one way
        return f'"{scope}" is a canonical id: name the InstrumentId, like instrument=BTCUSDT.BINANCE_SPOT'
    return scope_fault(scope)


def _nearest(kind: str, member: str) -> str:
    if not member and kind.strip().lower() in ("global", "all", NODE):
        return f'did you mean "{NODE}"?'
    near = difflib.get_close_matches(kind.strip().lower(), MEMBER_KINDS, n=1)
    return f'did you mean "{near[0]}={member}"?' if near and member else ""


class Halt(msgspec.Struct, frozen=True, kw_only=True):
    """One that stands."""

    scope: str
    mode: Mode
    by: str  # a person, or `breaker <kind>`
    why: str
    since_ns: int
    command_id: str = ""  # the command that latched it

    def refusal(self) -> Refused:
        """What whoever is refused by it is told; no override lifts this code."""
        return Refused(code=HALTED, scope=self.scope, text=f"mode={self.mode} {self._origin}")

    def __str__(self) -> str:
        return f"{self.mode} scope={self.scope} {self._origin}"

    @property
    def _origin(self) -> str:
        return f"since={iso(self.since_ns)} by={self.by} why={self.why}"


class Halts:
    """Those that stand, one of each mode per scope: the first stays, and says who stopped it first."""

    def __init__(self, standing: Iterable[Halt] = ()) -> None:
        self._standing: dict[tuple[str, Mode], Halt] = {}
        for halt in standing:
            self.latch(halt)

    def __len__(self) -> int:
        return len(self._standing)

    def standing(self) -> tuple[Halt, ...]:
        """All of them, as they were latched: what a restart begins with."""
        return tuple(self._standing.values())

    def latch(self, halt: Halt) -> Halt:
        """Let it stand, and return what stands: an earlier one, or one of the node where there are too many."""
        if (halt.scope, halt.mode) not in self._standing and len(self._standing) >= HALTS_MAX and halt.scope != NODE:
            why = f"{HALTS_MAX} halts stand already, so this one holds for all instead of {halt.scope}: {halt.why}"
            halt = msgspec.structs.replace(halt, scope=NODE, why=why)
        return self._standing.setdefault((halt.scope, halt.mode), halt)

    def lift(self, scope: str, mode: Mode | None = None) -> list[Halt]:
        """Take away what stands at exactly this scope, of both modes unless one is named; return it."""
        wanted = [key for key in self._standing if key[0] == scope and mode in (None, key[1])]
        return [self._standing.pop(key) for key in wanted]

    def stopping(self, place: Place) -> Halt | None:
        """The halt that refuses an order whatever it does; of several the widest."""
        return self._first(place, "halt")

    def narrowing(self, place: Place) -> Halt | None:
        """The one that lets only reducing orders through; of several the widest."""
        return self._first(place, "reduce_only")

    def _first(self, place: Place, mode: Mode) -> Halt | None:
        if not self._standing:  # on the way of each order
            return None
        found = (self._standing.get((scope, mode)) for scope in place.scopes())
        return next((halt for halt in found if halt is not None), None)


def iso(ns: int) -> str:
    moment = _EPOCH + timedelta(microseconds=ns // 1_000)
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
