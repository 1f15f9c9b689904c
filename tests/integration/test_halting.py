"""Halts in a real engine: what is new is refused, what works is canceled, whatever way it has come."""

from __future__ import annotations

from decimal import Decimal
from functools import partial
from typing import Any

import msgspec
import pytest
from halt_desk import Operator, stood
from nautilus_trader.core.uuid import UUID4
from nautilus_trader.execution.messages import SubmitOrder
from nautilus_trader.model.enums import OrderStatus, TriggerType
from nautilus_trader.model.events import OrderRejected, OrderSubmitted
from nautilus_trader.model.identifiers import AccountId, ExecAlgorithmId, InstrumentId
from risk_parent import NAME, Worker
from risk_stage import BUY, OTHER, PERP, SELL, SPOT, SPOT_2, Stage, is_denied, modify, reason

from nautilus_ext.risk.commands import Command, Stop

NONE = {"preset": "none"}
HALTED = "HALTED: scope={scope} mode={mode} since=2026-01-05T00:00:{s:02d}Z by=ann why=a test"


def said(scope: str, s: int = 2, mode: str = "halt") -> str:
    return HALTED.format(scope=scope, mode=mode, s=s)


@pytest.fixture
def worker() -> Worker:
    return Worker()


@pytest.fixture
def stage(worker: Worker) -> Stage:
    return Stage(NONE, algorithms=[worker], hands=2).start()


@pytest.fixture
def operator(stage: Stage) -> Operator:
    return Operator(stage)


def position(stage: Stage, of: str = PERP) -> Decimal:
    held = [each for each in stage.cache.positions_open() if each.instrument_id.value == of]
    return sum((each.signed_decimal_qty() for each in held), Decimal(0))


SCOPES = ("node", "venue=SIM2", "account=SIM2-001", "strategy=HAND-001", f"instrument={PERP}")


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.row(13, "on modify")
@pytest.mark.row(13, "inside a list")
def test_what_is_new_is_refused_in_its_scope_and_what_works_there_is_canceled(stage, operator, scope):
    """A submit, a list, a change; another strategy, venue, instrument goes on."""
    hand, other = stage.hands
    working = hand.send(BUY, 1, 90)
    elsewhere = other.send(BUY, 1, 90, of=OTHER)
    stage.tick()
    answers = operator.halt(scope)
    is_denied(hand.send(BUY, 1, 91), said(scope))
    listed = stage.hand.order_factory.create_list([hand.order(BUY, 1, 89), hand.order(BUY, 1, 88)])
    hand.submit_order_list(listed)
    assert [OrderStatus.DENIED] * 2 == [each.status for each in listed.orders]
    assert said(scope) == reason(listed.orders[0])
    modify(stage, working, 2)
    assert said(scope) == hand.heard[-1].reason
    stage.tick().tick()
    assert (OrderStatus.CANCELED, 1) == (working.status, working.quantity.as_double())
    assert (OrderStatus.CANCELED if scope == "node" else OrderStatus.ACCEPTED) == elsewhere.status
    canceled = 2 if scope == "node" else 1
    assert [(True, f"halt scope={scope} since=2026-01-05T00:00:02Z by=ann why=a test; canceled={canceled}")] == answers
    passing = other.send(BUY, 1, 92, of=OTHER)
    assert (OrderStatus.DENIED if scope == "node" else OrderStatus.SUBMITTED) == passing.status


def test_it_is_lifted_by_a_resume_of_exactly_its_scope(stage, operator):
    operator.halt("venue=SIM2")
    assert not operator.resume("node")[0][0]
    assert OrderStatus.DENIED == stage.hand.send(BUY, 1, 90).status
    applied, text = operator.resume("venue=SIM2")[0]
    assert applied
    assert text.endswith("standing: none")
    assert OrderStatus.SUBMITTED == stage.hand.send(BUY, 1, 90).status


def test_a_halt_that_is_asked_again_says_who_was_first(stage, operator):
    operator.halt("node")
    stage.tick()
    assert (True, "stands already: halt scope=node since=2026-01-05T00:00:01Z by=ann why=a test; canceled=0") == (
        operator.halt("node")[0]
    )


@pytest.mark.row(13, "emulated")
def test_an_emulated_order_is_canceled_and_a_new_one_does_not_last(stage, operator):
    def emulated() -> Any:
        return stage.hand.send(BUY, 1, 90, emulation_trigger=TriggerType.BID_ASK)

    before = emulated()
    assert OrderStatus.EMULATED == before.status
    answers = operator.halt("strategy=HAND-001")
    assert OrderStatus.CANCELED == before.status
    stage.tick()
    assert "canceled=1" in answers[0][1]
    later = emulated()
    stage.tick()
    stage.tick(80).tick(80)
    assert OrderStatus.CANCELED == stage.cache.order(later.client_order_id).status
    assert [] == stage.sent.commands


@pytest.mark.row(13, "emulated")
def test_an_emulated_order_that_is_released_under_a_halt_is_refused(stage, operator):
    """The emulator lets go of it before the halt's cancel is there."""
    order = stage.hand.send(BUY, 1, 90, emulation_trigger=TriggerType.BID_ASK)
    stage.gate._halting._standing.apply(operator_command(), 1)
    stage.gate._halting._stands = True
    stage.tick(80).tick(80)
    order = stage.cache.order(order.client_order_id)  # the emulator has made another of it
    assert OrderStatus.DENIED == order.status
    assert reason(order).startswith("HALTED: scope=node mode=halt")


def operator_command() -> Any:
    return Command(command_id="latched", issued_by="ann", what=Stop(scope="node", why="latched without a cancel"))


@pytest.mark.row(13, "as a parent")
@pytest.mark.row(13, "as a child")
def test_a_parent_and_its_children_are_canceled_and_a_new_parent_is_refused(stage, operator, worker):
    children: list[Any] = []
    worker.plans.append(lambda parent: children.append(worker.spawn(parent, 1, 90)))
    parent = stage.hand.send(BUY, 3, exec_algorithm_id=ExecAlgorithmId(NAME))
    stage.tick()
    answers = operator.halt("node")
    stage.tick().tick()
    assert [OrderStatus.CANCELED] * 2 == [parent.status, children[0].status]
    assert "canceled=2" in answers[0][1]
    assert Decimal(0) == stage.gate.judge.ledger.reserved(parent.client_order_id.value)
    stage.hand.send(BUY, 3, exec_algorithm_id=ExecAlgorithmId(NAME))
    assert worker.reasons[-1].startswith("HALTED: scope=node mode=halt")


@pytest.mark.row(13, "as a child")
def test_a_halt_of_the_parents_listing_reaches_the_children_elsewhere(stage, operator, worker):
    children: list[Any] = []
    worker.plans.append(lambda parent: children.append(worker.spawn_elsewhere(parent, OTHER, 1, 90)))
    parent = stage.hand.send(BUY, 3, exec_algorithm_id=ExecAlgorithmId(NAME))
    stage.tick()
    answers = operator.halt(f"instrument={PERP}")
    stage.tick().tick()
    assert [OrderStatus.CANCELED] * 2 == [parent.status, children[0].status]
    assert "canceled=2" in answers[0][1]
    late = worker.spawn_elsewhere(parent, OTHER, 1, 90)
    assert OrderStatus.DENIED == late.status


def test_orders_of_on_start_and_on_stop_and_of_a_fill_are_refused(worker):
    """What a strategy does there comes before and after everything else."""
    told = standing_of(lambda operator: operator.halt("node"))
    stage = Stage(NONE, before=partial(stood, told=told))
    sent: list[Any] = []
    for when in (stage.hand.at_start, stage.hand.at_stop):
        when.append(lambda: sent.append(stage.hand.send(BUY, 1, 90)))
    stage.start()
    stage.end()
    assert [OrderStatus.DENIED] * 2 == [order.status for order in sent]
    assert [] == stage.sent.commands


def standing_of(act: Any) -> bytes:
    """What a former node leaves after these commands."""
    former = Stage(NONE).start()
    operator = Operator(former)
    act(operator)
    told = operator.standing()
    former.dispose()
    return told


@pytest.mark.row(13, "after restart")
@pytest.mark.row(14, "after restart")
def test_a_restart_stands_where_its_predecessor_stood():
    """Halts, limits, overrides; what was lifted is not back; limits keep counting their versions."""

    def commands(operator: Operator) -> None:
        operator.halt("venue=SIM3")
        operator.halt("strategy=HAND-002")
        operator.resume("strategy=HAND-002")
        operator.resume("node")  # refused
        operator.narrow(f"instrument={SPOT_2}")
        operator.limit("global", "max_order_quantity", "5")
        operator.limit("global", "max_order_quantity", "3")

    stage = Stage(NONE, before=partial(stood, told=standing_of(commands)), hands=2).start()
    hand, other = stage.hands
    assert OrderStatus.DENIED == hand.send(BUY, 1, 90, of=OTHER).status
    assert OrderStatus.DENIED == hand.send(BUY, 1, 90, of=SPOT_2).status
    assert OrderStatus.SUBMITTED == other.send(BUY, 1, 90).status
    is_denied(other.send(BUY, 4, 91), "MAX_ORDER_QUANTITY: limit=3 scope=global value=0 would_be=4 unit=quantity")
    assert "2" == stage.decisions[-1].details["limits"]


def test_what_cannot_be_read_of_it_stops_the_start():
    with pytest.raises(msgspec.DecodeError):
        Stage(NONE, before=partial(stood, told=b"{"))


# -- reduce-only ----------------------------------------------------------------------------------


@pytest.fixture
def long(stage: Stage) -> Stage:
    stage.hand.send(BUY, 5)
    return stage.tick()


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.row(14, "at limit")
@pytest.mark.row(14, "one tick over")
@pytest.mark.row(14, "on modify")
def test_reduce_only_lets_through_what_makes_a_position_smaller_and_no_more(long, operator, scope):
    assert (True, f"reduce_only scope={scope} since=2026-01-05T00:00:02Z by=ann why=a test; canceled=0") == (
        operator.narrow(scope)[0]
    )
    hand = long.hand
    numbers = "limit=0 {} value=5 would_be={} unit=quantity"
    told = "HALTED: {} mode=reduce_only since=2026-01-05T00:00:02Z by=ann why=a test"
    is_denied(hand.send(BUY, 1, 90), told.format(numbers.format(f"scope={scope}", 6)))
    working = hand.send(SELL, 3, 110)
    is_denied(hand.send(SELL, 3, 111), told.format(numbers.format(f"scope={scope}", -1)))
    modify(long, working, 6)
    assert told.format(numbers.format(f"scope={scope}", -1)) == hand.heard[-1].reason
    passing = hand.send(SELL, 2)
    long.tick().tick()
    assert (Decimal(3), OrderStatus.FILLED, OrderStatus.ACCEPTED) == (position(long), passing.status, working.status)
    is_denied(hand.send(SELL, "0.001"), told.format(f"limit=0 scope={scope} value=3 would_be=-0.001 unit=quantity"))


def test_reduce_only_cancels_what_works_and_would_open(long, operator):
    hand = long.hand
    opening, closing = hand.send(BUY, 1, 90), hand.send(SELL, 5, 110)
    long.tick()
    answers = operator.narrow("node")
    long.tick().tick()
    assert [OrderStatus.CANCELED, OrderStatus.ACCEPTED] == [opening.status, closing.status]
    assert "canceled=1" in answers[0][1]


@pytest.mark.parametrize("closes", [False, True], ids=["plain", "reduce-only"])
@pytest.mark.row(14, "one tick over")
def test_of_two_that_would_flip_together_the_newer_is_canceled(long, operator, closes):
    """Of a stop and a target the position keeps one; where they can only reduce it keeps both."""
    hand = long.hand
    older, newer = hand.send(SELL, 5, 110, reduce_only=closes), hand.send(SELL, 5, 111, reduce_only=closes)
    long.tick()
    operator.narrow("node")
    long.tick().tick()
    assert [OrderStatus.ACCEPTED, OrderStatus.ACCEPTED if closes else OrderStatus.CANCELED] == [
        older.status,
        newer.status,
    ]


def test_what_would_flip_after_a_fill_is_canceled(long, operator):
    """The sale of three stays as long as five are held; when only two are left it could open a position."""
    hand = long.hand
    resting = hand.send(SELL, 3, 110)
    long.tick()
    operator.narrow("node")
    hand.send(SELL, 2)
    long.tick()
    assert OrderStatus.ACCEPTED == resting.status
    outside = hand.order(SELL, 1)  # somebody trades at the venue without us
    long.gate._pass_on(submit_of(long, outside))
    long.tick().tick()
    assert (OrderStatus.CANCELED, Decimal(2)) == (resting.status, position(long))


def submit_of(stage: Stage, order: Any) -> Any:
    stage.cache.add_order(order)
    words = {"trader_id": order.trader_id, "strategy_id": order.strategy_id}
    return SubmitOrder(**words, order=order, command_id=UUID4(), ts_init=0)


# -- once -----------------------------------------------------------------------------------------


def test_cancel_all_ends_what_works_and_nothing_that_comes_after_it(stage, operator):
    hand, other = stage.hands
    working, foreign = hand.send(BUY, 1, 90), other.send(BUY, 1, 91)
    stage.tick()
    unsent = hand.order(BUY, 1, 89)
    stage.cache.add_order(unsent)
    answers = operator.cancel_all("strategy=HAND-001")
    stage.submit(unsent)
    is_denied(unsent, "CANCELED_BEFORE_SUBMIT: a cancel of it was here before it")
    new = hand.send(BUY, 1, 92)
    stage.tick().tick()
    assert [OrderStatus.CANCELED, OrderStatus.ACCEPTED, OrderStatus.ACCEPTED] == [
        each.status for each in (working, foreign, new)
    ]
    assert [(True, "canceled=2")] == answers


@pytest.mark.parametrize("how", ["halt", "flatten"])
@pytest.mark.row(13, "margin account")
def test_flatten_closes_every_position_of_the_scope_after_its_orders(stage, operator, how):
    hand, other = stage.hands
    hand.send(BUY, 5), hand.send(SELL, 2, of=OTHER), other.send(SELL, 1)
    stage.tick()
    resting = hand.send(SELL, 5, 110)
    stage.tick()
    answers = (
        operator.halt("strategy=HAND-001", flatten=True) if how == "halt" else operator.flatten("strategy=HAND-001")
    )
    stage.tick().tick().tick()
    assert [Decimal(-1), Decimal(0)] == [position(stage), position(stage, OTHER)]
    assert OrderStatus.CANCELED == resting.status
    assert answers[0][1].endswith("canceled=1 closed=2")
    assert len(answers) == 1


def test_flatten_closes_coins_of_a_cash_account(stage, operator):
    stage.hand.send(BUY, 2, of=SPOT)
    stage.tick()
    answers = operator.flatten("venue=SIM1")
    stage.tick().tick()
    assert (Decimal(0), [(True, "canceled=0 closed=1")]) == (position(stage, SPOT), answers)


@pytest.mark.row(10, "one tick over")
def test_a_flatten_is_an_override_of_what_can_be_lifted(stage, operator):
    """The position is larger than an order may be, and its instrument is on the list of those that are not traded."""
    stage.hand.send(BUY, 5)
    stage.tick()
    operator.limit("global", "max_order_quantity", "1")
    operator.limit("global", "restricted_instruments", [PERP])
    is_denied(
        stage.hand.send(SELL, 1), f"NOT_PERMITTED: scope=global instrument={PERP} is among restricted_instruments"
    )
    answers = operator.halt("node", flatten=True)
    stage.tick().tick()
    assert [] == stage.cache.positions_open()
    assert answers[0][1].endswith("canceled=0 closed=1")
    (lifted,) = [each.details["lifted"] for each in stage.decisions if "lifted" in each.details]
    assert "NOT_PERMITTED: " in lifted
    assert (
        "MAX_ORDER_QUANTITY: limit=1 scope=global value=0 would_be=5 unit=quantity; by ann until c2 is done: a test"
        in (lifted)
    )


def test_a_position_that_is_larger_than_its_venue_takes_at_once_is_closed_in_parts(stage, operator):
    listed = stage.cache.instrument(InstrumentId.from_str(PERP))
    stage.cache.add_instrument(type(listed).from_dict(type(listed).to_dict(listed) | {"max_quantity": "2"}))
    for part in (2, 2, 1):
        stage.hand.send(BUY, part)
        stage.tick()
    answers = operator.flatten("node")
    for _ in range(4):
        stage.tick()
    assert [1, 2, 2] == sorted(each.quantity for each in stage.cache.orders_closed() if each.side == SELL)
    assert [(True, "canceled=0 closed=1")] == answers


def test_what_no_override_lifts_is_named(stage, operator):
    """Too many messages, for as long as anybody waits."""
    operator.limit("global", "messages", [{"max": 1, "window_s": 60}])
    stage.hand.send(BUY, 5)
    stage.tick()
    answers = operator.flatten("node")
    for _ in range(8):
        stage.tick()
    assert Decimal(5) == position(stage)
    assert "closed=0 unresolved: position BTCUSDT-PERP.SIM2-HAND-001 5" in answers[0][1]
    assert "(MESSAGE_RATE: limit=1 " in answers[0][1]


def test_a_venue_that_takes_no_reduce_only_gets_an_order_of_what_is_held(operator, stage):
    """Two strategies hold against each other: for the venue one of them opens."""
    hand, other = stage.hands
    hand.send(BUY, 5), other.send(SELL, 2)
    stage.tick()
    reject = stage.sent._pass_on

    def takes_none(command: Any) -> None:
        order = getattr(command, "order", None)
        if order is None or not order.is_reduce_only:
            reject(command)
            return
        ids = (order.trader_id, order.strategy_id, order.instrument_id, order.client_order_id)
        stage.bus.send("ExecEngine.process", OrderSubmitted(*ids, AccountId("SIM2-001"), UUID4(), 0, 0))
        why = "reduce-only is not taken"
        stage.bus.send("ExecEngine.process", OrderRejected(*ids, AccountId("SIM2-001"), why, UUID4(), 0, 0))

    stage.sent._pass_on = takes_none
    answers = operator.flatten("node")
    stage.tick().tick().tick()
    assert [] == stage.cache.positions_open()
    assert answers[0][1].endswith("canceled=0 closed=2")
