"""Parents reserve their whole size, children take from it; Nautilus's own TWAP is judged child by child."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from nautilus_trader.core.uuid import UUID4
from nautilus_trader.examples.algorithms.twap import TWAPExecAlgorithm
from nautilus_trader.execution.messages import SubmitOrder
from nautilus_trader.model.enums import OrderStatus
from nautilus_trader.model.identifiers import ExecAlgorithmId
from risk_parent import NAME, Worker
from risk_stage import BUY, INVERSE, OTHER, Stage, is_denied, reason

LIMITED = {"preset": "none", "limits": {"asset=*": {"max_position": "10"}}, "conversions": {"USD": "1"}}


def worked(stage: Stage, side: Any, size: Any, **more: Any) -> Any:
    """A parent, sent."""
    return stage.hand.send(side, size, exec_algorithm_id=ExecAlgorithmId(NAME), **more)


@pytest.fixture
def worker() -> Worker:
    return Worker()


@pytest.fixture
def stage(worker: Worker) -> Stage:
    return Stage(LIMITED, algorithms=[worker]).start()


def coins(stage: Stage) -> Decimal:
    return stage.gate.judge.ledger.coins("BTC").longest


@pytest.mark.row(12, "as a parent")
@pytest.mark.row(5, "as a parent")
def test_a_parent_counts_whole_before_it_has_sent_anything(stage, worker):
    parent = worked(stage, BUY, 8)
    assert ([""], OrderStatus.INITIALIZED, Decimal(8)) == (worker.reasons, parent.status, coins(stage))
    text = "MAX_POSITION: limit=10 scope=asset=BTC value=8 would_be=10.001 unit=BTC"
    is_denied(stage.hand.send(BUY, "2.001", 90), text)
    is_denied(worked(stage, BUY, "2.001"), text)
    assert OrderStatus.SUBMITTED == stage.hand.send(BUY, 2, 90).status
    assert ["submit", "reserve"] == [each.details["action"] for each in stage.decisions if each.verdict == "refused"]


@pytest.mark.row(12, "as a child")
@pytest.mark.row(5, "as a child")
def test_children_take_from_the_reservation_at_home_and_elsewhere(stage, worker):
    """Three at home, three as contracts at one venue, two at another: the parent's eight, and never more."""
    children: list[Any] = []

    def plan(parent: Any) -> None:
        children.append(worker.spawn(parent, 3, 90))
        children.append(worker.spawn_elsewhere(parent, OTHER, 3, 90))
        children.append(worker.spawn_elsewhere(parent, INVERSE, 201, 100))

    worker.plans.append(plan)
    parent = worked(stage, BUY, 8)
    assert {OrderStatus.SUBMITTED} == {child.status for child in children}
    ledger = stage.gate.judge.ledger
    assert (Decimal(0), Decimal(8)) == (
        round(ledger.reserved(parent.client_order_id.value), 6),
        round(coins(stage), 6),
    )
    assert OrderStatus.DENIED == stage.hand.send(BUY, "2.001", 90).status
    stage.tick()
    assert OrderStatus.DENIED == stage.hand.send(BUY, "2.001", 90).status


@pytest.mark.row(12, "as a child")
def test_a_child_past_the_reservation_is_judged_for_what_is_more(stage, worker):
    children: list[Any] = []
    worker.plans.append(lambda parent: children.extend(worker.spawn_elsewhere(parent, OTHER, n, 90) for n in (8, 2, 1)))
    worked(stage, BUY, 8)
    assert [OrderStatus.SUBMITTED, OrderStatus.SUBMITTED, OrderStatus.DENIED] == [child.status for child in children]
    assert "MAX_POSITION: limit=10 scope=asset=BTC value=10 would_be=11 unit=BTC" == reason(children[2])


@pytest.mark.row(3, "as a child")
@pytest.mark.row(5, "as a child")
def test_what_a_refused_or_unfilled_child_has_taken_goes_back(worker):
    """Denied by the gate, cancelled at the venue: the parent can send it again, and nobody else can take its place."""
    section = LIMITED | {"limits": LIMITED["limits"] | {"global": {"max_order_quantity": "6"}}}
    stage = Stage(section, algorithms=[worker]).start()
    children: list[Any] = []
    worker.plans.append(lambda parent: children.extend(worker.spawn(parent, size, 90) for size in ("6.001", "1")))
    parent = worked(stage, BUY, 8)
    name, ledger = parent.client_order_id.value, stage.gate.judge.ledger
    is_denied(children[0], "MAX_ORDER_QUANTITY: limit=6 scope=global value=0 would_be=6.001 unit=quantity")
    assert Decimal(7) == ledger.reserved(name)
    stage.tick()
    stage.hand.cancel_order(children[1])
    stage.tick()
    assert (OrderStatus.CANCELED, Decimal(8)) == (children[1].status, ledger.reserved(name))
    assert OrderStatus.DENIED == stage.hand.send(BUY, 3, 90).status


@pytest.mark.row(5, "as a child")
def test_what_is_filled_of_a_child_is_held_and_no_longer_reserved(stage, worker):
    worker.plans.append(lambda parent: worker.spawn(parent, 3))
    parent = worked(stage, BUY, 8)
    stage.tick()
    ledger = stage.gate.judge.ledger
    assert (Decimal(5), Decimal(8)) == (ledger.reserved(parent.client_order_id.value), coins(stage))


@pytest.mark.row(12, "as a parent")
def test_a_parent_that_ends_or_is_released_frees_what_its_children_do_not_have(stage, worker):
    """By the strategy's cancel, by the algorithm's word. The children work on: Nautilus does not cancel them."""
    worker.plans += [lambda parent: worker.spawn(parent, 3, 90)] * 2
    first = worked(stage, BUY, 8)
    stage.hand.cancel_order(first)
    assert (OrderStatus.CANCELED, Decimal(3)) == (first.status, coins(stage))
    second = worked(stage, BUY, 7)
    assert Decimal(10) == coins(stage)
    worker.release(second)
    assert (OrderStatus.INITIALIZED, Decimal(6)) == (second.status, coins(stage))
    assert ["release", "release"] == [
        each.details["action"] for each in stage.decisions if each.details["action"] == "release"
    ]


@pytest.mark.row(12, "as a parent")
def test_who_asks_again_reserves_what_it_still_needs(stage, worker):
    """Nautilus takes the children off the parent's quantity, filled or not: its own number says too little."""
    worker.plans.append(lambda parent: (worker.spawn(parent, 3), worker.spawn(parent, 2, 90)))
    parent = worked(stage, BUY, 8)
    stage.tick()
    assert Decimal(3) == parent.quantity.as_decimal()
    assert ("", Decimal(8)) == (stage.reserve(parent), coins(stage))
    assert Decimal(3) == stage.gate.judge.ledger.reserved(parent.client_order_id.value)


def test_a_reservation_that_nobody_knows_is_refused(stage):
    never_sent = stage.hand.order(BUY, 1)
    assert stage.reserve(never_sent).startswith("NO_ORDER: ")
    done = stage.hand.send(BUY, 1)
    stage.tick()
    assert stage.reserve(done).startswith("NO_ORDER: ")


@pytest.mark.row(9, "as a parent")
@pytest.mark.row(11, "as a parent")
@pytest.mark.row(14, "as a parent")
@pytest.mark.row(22, "as a parent")
@pytest.mark.parametrize(
    ("limits", "code"),
    [
        ({"allowed_sides": ["SELL"]}, "NOT_PERMITTED"),
        ({"reduce_only": True}, "REDUCE_ONLY"),
        ({"max_exposure": "1000", "price_collar_bps": "1"}, "STALE_PRICE"),
        ({}, "OPERATION_REPEATED"),
    ],
)
def test_a_parent_is_held_to_permissions_modes_and_operations_before_it_plans(worker, limits, code):
    stage = Stage({"preset": "none", "limits": {"global": limits}, "price_age_ms_max": 1_000}, algorithms=[worker])
    stage.start()
    if code == "OPERATION_REPEATED":
        stage.hand.send(BUY, 1, 90, tags=["op:7"])
    stage.tick(of=[OTHER], seconds=5)
    parent = worked(stage, BUY, 1, tags=["op:7"])
    assert (OrderStatus.DENIED, code) == (parent.status, worker.reasons[-1].partition(":")[0])


# -- Nautilus's own TWAP --------------------------------------------------------------------------------

TWAP = {"exec_algorithm_id": ExecAlgorithmId("TWAP"), "exec_algorithm_params": {"horizon_secs": 4, "interval_secs": 1}}


def slices(stage: Stage, parent: Any) -> list[Any]:
    return stage.cache.orders_for_exec_spawn(parent.client_order_id)


@pytest.mark.row(3, "as a child")
def test_each_slice_of_twap_is_judged_as_an_order(worker):
    """It knows of no reservation. Its slices are too large, and so is what it sends in the end."""
    section = {"preset": "none", "limits": {"global": {"max_order_quantity": "1.5"}}}
    stage = Stage(section, algorithms=[TWAPExecAlgorithm()]).start()
    small, large = stage.hand.send(BUY, 4, **TWAP), stage.hand.send(BUY, 8, **TWAP)
    for _ in range(8):
        stage.tick()
    assert {OrderStatus.FILLED} == {child.status for child in slices(stage, small)}
    assert {OrderStatus.DENIED} == {child.status for child in slices(stage, large)}
    assert Decimal(4) == stage.hand.portfolio.net_position(small.instrument_id)


@pytest.mark.row(12, "as a child")
@pytest.mark.row(12, "as a parent")
def test_a_reserved_twap_keeps_its_place_until_it_is_done(worker):
    """Somebody asks for its primary: two others cannot take what it has yet to buy; at its end nothing is left over."""
    stage = Stage(LIMITED, algorithms=[TWAPExecAlgorithm()]).start()
    parent = stage.hand.order(BUY, 8, **TWAP)
    stage.cache.add_order(parent)
    assert "" == stage.reserve(parent)
    command = SubmitOrder(parent.trader_id, parent.strategy_id, parent, UUID4(), 0)
    stage.bus.send("TWAP.execute", command)
    for _ in range(3):
        assert Decimal(8) == coins(stage)
        assert OrderStatus.DENIED == stage.hand.send(BUY, "2.001", 90).status
        stage.tick()
    for _ in range(6):
        stage.tick()
    assert {OrderStatus.FILLED} == {child.status for child in slices(stage, parent)}
    assert Decimal(8) == stage.hand.portfolio.net_position(parent.instrument_id) == coins(stage)
    assert Decimal(0) == stage.gate.judge.ledger.reserved(parent.client_order_id.value)
    assert OrderStatus.SUBMITTED == stage.hand.send(BUY, 2, 90).status


@pytest.mark.row(12, "as a child")
def test_without_a_reservation_an_order_may_take_what_twap_would_have_bought():
    """As plain orders: the slices that find no place are denied, and the limit holds."""
    stage = Stage(LIMITED, algorithms=[TWAPExecAlgorithm()]).start()
    parent = stage.hand.send(BUY, 8, **TWAP)
    stage.tick()
    assert OrderStatus.SUBMITTED == stage.hand.send(BUY, 6, 90).status
    for _ in range(8):
        stage.tick()
    assert OrderStatus.DENIED in {child.status for child in slices(stage, parent)}
    assert coins(stage) <= 10
