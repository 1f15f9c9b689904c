"""What capabilities say to each other over the message bus: frozen structs, and the names of topics and endpoints.

Pure: no engine, no driver. A capability imports this module instead of another capability.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence  # noqa: TC003 - msgspec reads the annotations
from decimal import Decimal  # noqa: TC003 - as above
from typing import Any, Literal

import msgspec

from nautilus_ext.schema.portfolio_rows import Changes, PositionRow, PyramidRow, Signal  # noqa: TC001 - as above

MIRROR_STATE = "suite.mirror.state"
RISK_DECISIONS = "suite.decisions.risk"
ROUTING_DECISIONS = "suite.decisions.routing"
PORTFOLIO = "suite.portfolio"  # an endpoint: takes an Ask
RESERVE = "RiskGate.reserve"  # an endpoint: takes a ParentReserve, and answers before `send` returns
RELEASE = "RiskGate.release"  # an endpoint: takes a ParentRelease
COMMAND = "RiskGate.command"  # an endpoint: takes a CommandAsked
RECHECK = "RiskGate.recheck"  # an endpoint: takes a Recheck, and answers before `send` returns
STANDING = "suite.standing"  # key in Nautilus's cache: what was commanded and stands, a JSON list of AppliedCommand
COMMANDED = "suite.commanded"  # a topic: a Commanded
ALERT = "suite.alerts.raise"  # a topic: an alert of risk.alerts, from whoever has seen something
ALERTS = "suite.alerts"  # a topic: an alert of risk.alerts that is told
RESUMED = "suite.resumed"  # a topic: the scope, as text, that a person has let go on
VENUE_CHECKED = "suite.venues.checked"  # a topic: a VenueChecked
OPERATION_TAG = "op:"  # begins the tag that names what an order is a part of
RECENT = "suite.recent"  # key in Nautilus's cache: what the book remembers of its last orders, JSON of a Recent


class MirrorState(msgspec.Struct, frozen=True):
    """How far the events of a run have come: in the local log, and in the tables."""

    book_id: str
    run: int
    seq: int
    shipped_seq: int
    unshipped_bytes: int
    last_error: str = ""

    @property
    def lag(self) -> int:
        """Events that are acknowledged and not durable yet."""
        return max(self.seq - self.shipped_seq, 0)


class RiskDecision(msgspec.Struct, frozen=True, kw_only=True):
    """A verdict on an order, a modification or a parent, with the numbers that led to it.

    `details` has the inputs by name, so that the rule can be run again: `action` (submit, modify, cancel, reserve,
    release), `text` (what the refusal says beside its numbers), the order, the sight, and who lifted a block. Refusals,
    reservations and releases are always published: `Recent.reserved` is read from them.
    """

    client_order_id: str
    strategy_id: str
    instrument_id: str
    verdict: Literal["approved", "refused"]
    ts_ns: int
    code: str = ""
    scope: str = ""
    unit: str = ""
    limit: Decimal | None = None
    value: Decimal | None = None
    would_be: Decimal | None = None
    details: dict[str, str] = {}


class VenueChecked(msgspec.Struct, frozen=True, kw_only=True):
    """What one client's venue says beside our tables. `failures`: how often in a row it could not be asked.

    `differences` is None when nobody can say: the venue did not answer, or the tables were not as far.
    """

    client: str
    venue: str
    account_id: str
    failures: int
    problem: str = ""
    differences: int | None = None
    examples: str = ""


class CommandAsked(msgspec.Struct, frozen=True, kw_only=True):
    """A command of risk.commands for the gate; `answer(applied, text)` is called once, maybe later."""

    command: Any
    answer: Callable[[bool, str], None]


class AppliedCommand(msgspec.Struct, frozen=True, kw_only=True):
    """A command that a former run of the book has applied; the list of them begins with the first."""

    applied_ns: int
    command_id: str
    kind: str
    arguments: dict[str, Any]
    issued_by: str


class Recheck(msgspec.Struct, frozen=True, kw_only=True):
    """A command that the gate has let through has waited since: may it still be sent? Empty: yes."""

    command: Any
    answer: Callable[[str], None]


class Commanded(msgspec.Struct, frozen=True, kw_only=True):
    """What the node has commanded itself, as a breaker does: it is applied, and wants a row."""

    command: Any
    applied: bool
    text: str


class RoutingDecision(msgspec.Struct, frozen=True, kw_only=True):
    """How a slice of a parent was placed: what was chosen, and what else there was and why it lost."""

    parent_client_order_id: str
    strategy_id: str
    instrument_id: str
    plan: int
    slice: int
    ts_ns: int
    chosen: list[dict[str, str]] = []
    alternatives: list[dict[str, str]] = []
    reason: str = ""


class ReadPyramid(msgspec.Struct, frozen=True, kw_only=True):
    """Asks for a Standing; `capital` is noted as the book's initial capital when there is none in this currency yet."""

    strategy_id: str
    instrument_id: str
    currency: str
    capital: Decimal
    position_ids: tuple[str, ...] = ()  # rows that are wanted whatever their status


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What the tables know of a strategy in an instrument: open rows, the oldest first, and signals without outcome."""

    positions: tuple[PositionRow, ...]
    state: PyramidRow | None
    claimed: tuple[Signal, ...]


class Answer(msgspec.Struct, frozen=True):
    """What was asked for, or why it is not available: then nobody trades on it."""

    value: Any = None
    problem: str = ""
    stale: bool = False  # a row was written by somebody else: read again


class Ask(msgspec.Struct, frozen=True):
    """A question to the portfolio's tables and who hears the answer.

    ReadPyramid is answered with a Standing; a Signal, which is claimed, with a bool: whether to act upon it; Changes
    with what was written, at its new versions. In a backtest the answer comes before the question's `send` returns,
    live it comes later, on the node's loop.
    """

    question: ReadPyramid | Signal | Changes
    answer: Callable[[Answer], None]


class ReserveAnswer(msgspec.Struct, frozen=True):
    """What the gate says of a parent: a reason means that it is refused."""

    reason: str = ""


class ParentReserve(msgspec.Struct, frozen=True, kw_only=True):
    """An algorithm asks for its parent's whole size before it plans; asked again, it replaces what was reserved."""

    client_order_id: str
    answer: Callable[[ReserveAnswer], None]


class ParentRelease(msgspec.Struct, frozen=True, kw_only=True):
    """The parent is over, or needs no more than what its children have: the rest is free."""

    client_order_id: str


class PastOrder(msgspec.Struct, frozen=True, array_like=True):
    """An order that the book has sent lately, as it is now; numbers as text. `parent_id`: the algorithm's order."""

    ts_ns: int
    client_order_id: str
    strategy_id: str
    instrument_id: str
    side: str
    quantity: str
    price: str | None
    operation_id: str
    parent_id: str
    type: str = ""
    trigger_price: str | None = None
    account_id: str = ""  # empty: the emulator had released it and the venue had not got it
    list_id: str = ""


class PastFill(msgspec.Struct, frozen=True, array_like=True):
    """A fill of the last while, for whoever counts them."""

    ts_ns: int
    instrument_id: str
    strategy_id: str
    account_id: str


class Recent(msgspec.Struct, frozen=True, kw_only=True):
    """What the gate needs after a restart: the last orders (the oldest first), how many each strategy ever sent.

    And the open parents whose reservation stands: with their children they are in the cache, so is what each needs.
    """

    orders: list[PastOrder] = []
    orders_by_strategy: dict[str, int] = {}  # as many as a ramp asks for at most
    reserved: list[str] = []
    fills: list[PastFill] = []  # the oldest first, as far back as a breaker counts executions


def operation_of(tags: Sequence[str] | None) -> str | None:
    """The operation that an order's tags name; without one its client order id counts."""
    for tag in tags or ():
        if tag.startswith(OPERATION_TAG):
            return tag[len(OPERATION_TAG) :] or None
    return None
