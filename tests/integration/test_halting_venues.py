"""What a halt has to do with venues: what is in flight, out of reach, lost on the way, limited, restored."""

from __future__ import annotations

from typing import Any

import pytest
from halt_desk import Operator, stood
from nautilus_trader.execution.messages import CancelOrder
from nautilus_trader.model.enums import OrderStatus
from risk_stage import BUY, PERP, SELL, Stage, is_denied, limited
from test_halting import NONE, said, standing_of
from test_risk_restart import carried

CANCELS = {"max": 1, "window_s": 2.0, "types": ["cancel"], "refuses_cancels": True}


class Lossy:
    """Between gate and engine: loses what it is told to."""

    def __init__(self, stage: Stage) -> None:
        self.losing = 0
        self.lost: list[Any] = []
        sent = stage.sent
        self._pass_on, sent._pass_on = sent._pass_on, self.take

    def take(self, command: Any) -> None:
        if isinstance(command, CancelOrder) and len(self.lost) < self.losing:
            self.lost.append(command)
        else:
            self._pass_on(command)


@pytest.fixture
def stage() -> Stage:
    return Stage(NONE).start()


@pytest.fixture
def operator(stage: Stage) -> Operator:
    return Operator(stage)


def cancels(stage: Stage) -> int:
    return stage.sent.names().count("CancelOrder")


@pytest.mark.parametrize("command", ["halt", "cancel_all"])
@pytest.mark.row(13, "in flight")
def test_what_is_in_flight_is_canceled_as_soon_as_the_venue_has_it(stage, operator, command):
    order = stage.hand.send(BUY, 1, 90)
    answers = getattr(operator, command)("node")
    assert (OrderStatus.SUBMITTED, []) == (order.status, answers)
    stage.tick().tick()
    assert (OrderStatus.CANCELED, 1) == (order.status, cancels(stage))
    assert answers[0][1].endswith("canceled=1")


def test_what_is_filled_in_flight_is_told_as_gone_and_flattened(stage, operator):
    stage.hand.send(BUY, 1)
    answers = operator.halt("node", flatten=True)
    stage.tick().tick().tick()
    assert [] == stage.cache.positions_open()
    assert answers[0][1].endswith("canceled=1 closed=1")


@pytest.mark.row(13, "under faults")
def test_a_cancel_that_is_lost_is_sent_again(stage, operator):
    lossy = Lossy(stage)
    lossy.losing = 2
    order = stage.hand.send(BUY, 1, 90)
    stage.tick()
    answers = operator.halt("node")
    stage.tick().tick().tick()
    assert (OrderStatus.CANCELED, 2, 3) == (order.status, len(lossy.lost), cancels(stage))
    assert answers[0][1].endswith("canceled=1")


def test_what_no_venue_confirms_is_named_and_tried_on(stage, operator):
    lossy = Lossy(stage)
    lossy.losing = 1_000
    order = stage.hand.send(BUY, 1, 90)
    stage.tick()
    answers = operator.halt("node")
    stage.tick(seconds=4)
    assert [] == answers
    stage.tick(seconds=2)
    assert answers[0][0]
    assert answers[0][1].endswith(f"; canceled=0 unresolved: order {order.client_order_id} ACCEPTED")
    tried, lossy.losing = len(lossy.lost), 0
    assert 4 <= tried <= 8
    stage.tick(seconds=6).tick()
    assert OrderStatus.CANCELED == order.status
    stage.tick(seconds=60)
    assert tried + 1 == cancels(stage)
    assert 1 == len(answers)


@pytest.mark.row(13, "under faults")
def test_a_venue_out_of_reach_is_asked_when_it_is_back(stage, operator):
    order = stage.hand.send(BUY, 1, 90)
    stage.tick()
    (client,) = stage.engine.kernel.exec_engine.get_clients_for_orders([order])
    client._set_connected(value=False)
    answers = operator.halt("node")
    stage.tick(seconds=10)
    assert (0, OrderStatus.ACCEPTED) == (cancels(stage), order.status)
    assert "unresolved: order" in answers[0][1]
    client._set_connected(value=True)
    stage.tick(seconds=2).tick()
    assert (1, OrderStatus.CANCELED) == (cancels(stage), order.status)


def test_a_venue_that_is_back_is_asked_at_once_however_often_it_was_asked_before(stage, operator):
    """It has lost four cancels in 3.5 s: the next would be sent after 7.5 s."""
    lossy = Lossy(stage)
    lossy.losing = 4
    order = stage.hand.send(BUY, 1, 90)
    stage.tick()
    (client,) = stage.engine.kernel.exec_engine.get_clients_for_orders([order])
    operator.halt("node")
    stage.tick(seconds=4)
    client._set_connected(value=False)
    stage.tick()
    client._set_connected(value=True)
    stage.tick().tick()
    assert (OrderStatus.CANCELED, 4) == (order.status, len(lossy.lost))


def test_what_is_held_is_closed_after_the_cancels_or_when_they_take_too_long(stage, operator):
    """What works could be filled beside what closes."""
    lossy = Lossy(stage)
    lossy.losing = 1_000
    stage.hand.send(BUY, 5)
    stage.tick()
    stage.hand.send(SELL, 5, 110)
    stage.tick()
    operator.flatten("node")
    stage.tick(seconds=2)
    assert 2 == stage.sent.names().count("SubmitOrder")
    stage.tick().tick()
    assert 3 == stage.sent.names().count("SubmitOrder")
    assert [] == stage.cache.positions_open()


def test_a_venue_that_limits_cancels_gets_no_more_than_it_takes():
    stage = Stage(limited(messages=[CANCELS])).start()
    operator = Operator(stage)
    orders = [stage.hand.send(BUY, 1, 90 + each) for each in range(3)]
    stage.tick()
    answers = operator.halt("node")
    stage.tick(seconds=1)
    assert 1 == cancels(stage)
    stage.tick(seconds=2).tick(seconds=2).tick(seconds=2)
    assert [OrderStatus.CANCELED] * 3 == [each.status for each in orders]
    assert 3 == cancels(stage)
    assert [True] == [applied for applied, _ in answers]


@pytest.mark.row(13, "after restart")
def test_what_a_restart_brings_back_into_a_halt_is_canceled_before_a_strategy_starts(stage):
    stage.hand.send(BUY, 1, 90)
    stage.tick()
    told = standing_of(lambda operator: operator.halt("venue=SIM2"))
    fill = carried(stage.cache)
    again = Stage(NONE, before=lambda cache: (fill(cache), stood(cache, told)))
    again.now_s = stage.now_s
    seen: list[Any] = []
    again.hand.at_start.append(lambda: seen.extend(again.sent.names()))
    again.start()
    assert ["CancelOrder"] == seen


@pytest.mark.row(10, "one tick over")
def test_an_override_lifts_a_limit_until_its_moment():
    stage = Stage(limited(max_order_quantity="2")).start()
    operator = Operator(stage)
    refused = "MAX_ORDER_QUANTITY: limit=2 scope=global value=0 would_be=3 unit=quantity"
    is_denied(stage.hand.send(BUY, 3, 90), refused)
    answers = operator.override("MAX_ORDER_QUANTITY", "global", "2026-01-05T00:00:03Z")
    text = "MAX_ORDER_QUANTITY of global: lifted until 2026-01-05T00:00:03Z; limits version 1"
    assert [(True, text)] == answers
    assert OrderStatus.SUBMITTED == stage.hand.send(BUY, 3, 91).status
    stage.tick().tick()
    is_denied(stage.hand.send(BUY, 3, 92), refused)


def test_a_limit_that_is_refused_changes_nothing():
    stage = Stage(limited(max_order_quantity="2")).start()
    operator = Operator(stage)
    operator.limit("global", "max_order_quantity", "1")
    ((applied, text),) = operator.limit("strategy=HAND-001", "max_position", None)
    assert (False, "max_position of strategy=HAND-001 was not changed: the file's holds") == (applied, text)
    assert 1 == stage.gate.judge.book.version


def test_halts_and_limits_are_gone_when_a_backtest_runs_again(stage, operator):
    operator.halt("node")
    operator.limit("global", "max_order_quantity", "1")
    stage.engine.reset()
    stage.now_s = 0
    stage.tick()
    assert 0 == stage.gate.judge.book.version
    assert OrderStatus.SUBMITTED == stage.hand.send(BUY, 3, 90).status


def test_a_command_that_breaks_is_answered(stage, operator, monkeypatch):
    monkeypatch.setattr(stage.gate._halting._standing, "apply", lambda *_: 1 / 0)
    ((applied, text),) = operator.halt("node")
    assert (False, "it could not be done (ZeroDivisionError)") == (applied, text.partition(":")[0])


def test_an_order_that_cannot_be_looked_at_leaves_a_halt_that_stands_and_says_so(stage, operator, monkeypatch):
    monkeypatch.setattr(stage.gate._halting, "_alive", lambda: 1 / 0)
    ((applied, text),) = operator.halt("node")
    assert applied
    assert text.endswith("why=a test; what works could not be looked through, see the log; canceled=0")
    assert OrderStatus.DENIED == stage.hand.send(BUY, 1, 90).status


def test_one_that_cannot_be_canceled_keeps_nobody_from_the_others(stage, operator, monkeypatch):
    first, second = stage.hand.send(BUY, 1, 90), stage.hand.send(BUY, 1, 91)
    stage.tick()
    end = stage.gate._halting._end
    breaks = first.client_order_id.value
    monkeypatch.setattr(stage.gate._halting, "_end", lambda name: 1 / 0 if name == breaks else end(name))
    answers = operator.halt("node")
    stage.tick().tick(seconds=5)
    assert [OrderStatus.ACCEPTED, OrderStatus.CANCELED] == [first.status, second.status]
    assert answers[0][1].endswith(f"canceled=1 unresolved: order {breaks} ACCEPTED")


def test_refusals_under_a_halt_are_decisions_with_the_order(stage, operator):
    operator.halt(f"instrument={PERP}")
    order = stage.hand.send(SELL, 2, 110)
    decision = stage.decisions[-1]
    assert (order.client_order_id.value, "refused", "HALTED", f"instrument={PERP}") == (
        decision.client_order_id,
        decision.verdict,
        decision.code,
        decision.scope,
    )
    assert ("SELL", "2", "0") == tuple(decision.details[name] for name in ("side", "quantity", "limits"))
    is_denied(order, said(f"instrument={PERP}", 1))
