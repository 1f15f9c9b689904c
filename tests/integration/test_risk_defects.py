"""What the gate does when a part of it fails, when commands cross in time, and when threads do."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest
from nautilus_trader.core.uuid import UUID4
from nautilus_trader.execution.messages import BatchCancelOrders, CancelOrder, QueryOrder, SubmitOrder
from nautilus_trader.model.enums import OmsType, OrderStatus
from nautilus_trader.test_kit.stubs.events import TestEventStubs
from risk_stage import BUY, SELL, Stage, is_denied, longest, modify, reason

from nautilus_ext.messages import RELEASE, RESERVE, RISK_DECISIONS
from nautilus_ext.risk import gate
from nautilus_ext.seam import EXECUTE

FIVE = {"preset": "none", "limits": {"global": {"max_position": "5"}}}
TEXT = "MAX_POSITION: limit=5 scope=global value=0 would_be=6 unit=quantity"


@pytest.fixture
def stage() -> Stage:
    return Stage(FIVE).start()


def cancel(order: Any) -> CancelOrder:
    ids = (order.trader_id, order.strategy_id, order.instrument_id, order.client_order_id)
    return CancelOrder(*ids, order.venue_order_id, UUID4(), 0)


# -- failures -------------------------------------------------------------------------------------------


def _fails(*_: Any, **__: Any) -> Any:
    raise ZeroDivisionError("a defect")


@pytest.mark.row(19, "on modify")
@pytest.mark.parametrize("part", ["judge", "sights", "decisions"])
def test_a_defect_refuses_orders_and_changes_and_lets_cancels_go(stage, part, monkeypatch):
    """Wherever it is. Nothing passes, everything is answered, and without the defect all goes on."""
    order = stage.hand.send(BUY, 1, 90)
    stage.tick()
    if part == "judge":
        for name in ("submit", "modify", "cancel", "reserve"):
            monkeypatch.setattr(stage.gate.judge, name, _fails)
    elif part == "sights":
        monkeypatch.setattr(stage.gate._sights, "sight", _fails)
    else:
        monkeypatch.setattr(stage.gate, "_say_approved", _fails)
    refused = stage.hand.send(BUY, 1, 91)
    members = [stage.hand.order(BUY, 1, 90) for _ in range(2)]
    stage.hand.submit_order_list(stage.hand.order_factory.create_list(members))
    text = "GATE_ERROR: it could not be judged (ZeroDivisionError)"
    for each in (refused, *members):
        is_denied(each, text)
    modify(stage, order, 2)
    assert text == reason(order)
    if part != "decisions":
        parent = stage.hand.order(BUY, 1)
        stage.cache.add_order(parent)
        assert text == stage.reserve(parent)
    stage.hand.cancel_order(order)
    assert ["SubmitOrder", "CancelOrder"] == stage.sent.names()
    monkeypatch.undo()
    stage.tick()
    assert (OrderStatus.CANCELED, Decimal(0)) == (order.status, longest(stage))
    assert OrderStatus.SUBMITTED == stage.hand.send(BUY, 5, 90).status


def test_a_defect_that_goes_on_does_not_fill_the_log(stage, monkeypatch, caplog):
    """The first ones with their tracebacks, then one line; each order is refused all the same."""
    monkeypatch.setattr(gate, "FAILURES_TOLD_MAX", 2)
    monkeypatch.setattr(stage.gate.judge, "submit", _fails)
    refused = [stage.hand.send(BUY, 1, 90) for _ in range(5)]
    assert [OrderStatus.DENIED] * 5 == [order.status for order in refused]
    told = [(each.levelname, each.exc_info is not None) for each in caplog.records]
    assert [("ERROR", True), ("ERROR", True), ("CRITICAL", False)] == told


def test_who_listens_to_decisions_cannot_change_them(stage):
    stage.bus.subscribe(RISK_DECISIONS, _fails)
    is_denied(stage.hand.send(BUY, 6, 90), TEXT)
    assert OrderStatus.SUBMITTED == stage.hand.send(BUY, 5, 90).status


def test_what_the_gate_does_not_know_passes_and_cannot_harm_it(stage):
    """A question, a command of another kind; events of unknown orders, or of nothing; nonsense at its endpoints."""
    order = stage.hand.send(BUY, 1, 90)
    stage.tick()
    ids = (order.trader_id, order.strategy_id, order.instrument_id, order.client_order_id)
    with suppress(NotImplementedError):  # the client of a backtest answers none
        stage.bus.send(EXECUTE, QueryOrder(*ids, order.venue_order_id, UUID4(), 0))
    assert "QueryOrder" == stage.sent.names()[-1]
    unknown = stage.hand.order(BUY, 1, 90)
    stage.bus.publish("events.order.X", TestEventStubs.order_submitted(unknown))
    for handler in (stage.gate._on_order, stage.gate._on_position, stage.gate._on_account):
        handler(object())
    stage.bus.send(RELEASE, object())
    stage.bus.send(EXECUTE, cancel(unknown))
    assert "CancelOrder" == stage.sent.names()[-1]
    assert OrderStatus.SUBMITTED == stage.hand.send(BUY, 4, 90).status
    is_denied(stage.hand.send(BUY, 1, 90), "MAX_POSITION: limit=5 scope=global value=5 would_be=6 unit=quantity")


def test_a_reservation_that_cannot_be_judged_is_answered(stage):
    """Whatever was asked with."""
    answers: list[Any] = []

    class Asked:
        client_order_id = None
        answer = answers.append

    stage.bus.send(RESERVE, Asked)
    assert answers[0].reason.startswith("GATE_ERROR: ")


# -- time and threads -----------------------------------------------------------------------------------


def test_a_cancel_that_was_here_first_denies_its_order(stage):
    """As it happens live. In a batch too: the rest of it is cancelled."""
    early, batched, working = stage.hand.order(BUY, 1, 90), stage.hand.order(BUY, 1, 89), stage.hand.send(BUY, 1, 88)
    stage.tick()
    for order in (early, batched):
        stage.cache.add_order(order)
    stage.bus.send(EXECUTE, cancel(early))
    words = {"trader_id": early.trader_id, "strategy_id": early.strategy_id, "instrument_id": early.instrument_id}
    cancels = [cancel(batched), cancel(working)]
    stage.bus.send(EXECUTE, BatchCancelOrders(**words, cancels=cancels, command_id=UUID4(), ts_init=0))
    for order in (early, batched):
        stage.submit(order)
        is_denied(order, "CANCELED_BEFORE_SUBMIT: a cancel of it was here before it")
    stage.tick()
    assert OrderStatus.CANCELED == working.status
    assert (["SubmitOrder", "BatchCancelOrders"], 1) == (stage.sent.names(), len(stage.sent.commands[1].cancels))
    assert ["CANCELED_BEFORE_SUBMIT"] * 2 == stage.refused()


@pytest.mark.row(5, "one tick over")
def test_cancels_from_other_threads_wait_until_the_counting_is_done(monkeypatch):
    """Timers of a live node call on threads of their own, and a sum that two of them change at once is lost."""
    stage = Stage({"preset": "none", "limits": {"global": {"max_position": "30"}}}).start()
    gate, passed, inside = stage.gate, [], []
    gate._pass_on = passed.append
    see = gate._sights.sight
    most = 0

    def slow(*given: Any) -> Any:
        nonlocal most
        inside.append(given)
        most = max(most, len(inside))
        time.sleep(0.001)  # another thread runs now
        inside.pop()
        return see(*given)

    monkeypatch.setattr(gate._sights, "sight", slow)
    orders = [stage.hand.order(BUY, 1, 90) for _ in range(40)]
    for order in orders:
        stage.cache.add_order(order)
    gate.execute(_submit(orders[0]))
    stop = threading.Event()

    def cancel_always() -> None:
        while not stop.is_set():
            gate.execute(cancel(orders[0]))

    threads = [threading.Thread(target=cancel_always) for _ in range(3)]
    for thread in threads:
        thread.start()
    for order in orders[1:]:
        gate.execute(_submit(order))
    stop.set()
    for thread in threads:
        thread.join()
    assert (1, Decimal(30), ["MAX_POSITION"] * 10) == (most, longest(stage), stage.refused())
    assert 3 < [type(each).__name__ for each in passed].count("CancelOrder")


def _submit(order: Any) -> SubmitOrder:
    return SubmitOrder(order.trader_id, order.strategy_id, order, UUID4(), 0)


def test_a_second_run_of_the_same_engine_begins_with_nothing(stage):
    """And ends with the same verdicts."""

    def play() -> list[str]:
        orders = [stage.hand.send(BUY, size, 90) for size in (3, 3, 2)]
        stage.tick()
        return [order.status.name for order in orders]

    first = play()
    stage.engine.end()
    stage.engine.reset()
    stage.now_s = 0
    stage.start()
    assert ["ACCEPTED", "DENIED", "ACCEPTED"] == first == play()
    assert Decimal(5) == longest(stage)


def test_positions_of_a_hedging_venue_are_netted():
    stage = Stage(FIVE, oms=OmsType.HEDGING).start()
    stage.hand.send(BUY, 3)
    stage.tick()
    stage.hand.send(SELL, 3)
    stage.tick()
    assert (2, Decimal(0)) == (len(stage.cache.positions_open()), longest(stage))
    assert OrderStatus.SUBMITTED == stage.hand.send(BUY, 5, 90).status
