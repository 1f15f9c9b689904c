"""What waits for the disk when a halt comes: it was let through before, and is asked about again before it goes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from halt_desk import Operator
from mirror_engine import make_mirror
from nautilus_trader.model.enums import OrderStatus
from risk_stage import BUY, OTHER, SELL, Stage, modify, reason
from test_risk_parked import disk, until

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable


class Parked:
    """A stage whose disk is busy until `go`."""

    def __init__(self, is_free: threading.Event, folder: Any) -> None:
        self.disk = is_free
        self.mirror: Any = make_mirror(folder, flush="power", intent_timeout_ms=10_000)
        self.stage = Stage({"preset": "none"}, actors=[self.mirror], hands=2)
        is_free.set()
        self.stage.start()
        self.operator = Operator(self.stage)

    def stop(self) -> None:
        self.disk.clear()
        self.mirror._gate.start(asyncio.get_running_loop())

    async def go(self) -> None:
        self.disk.set()
        await until(lambda: not self.mirror.parked)


__all__ = ["disk"]  # a fixture


@pytest.fixture
def parked(request: Any, tmp_path: Any) -> Any:
    parked = Parked(request.getfixturevalue("disk"), tmp_path)
    yield parked
    parked.mirror.finish(clean=True)


COMMANDS: dict[str, tuple[Callable[[Operator], Any], str]] = {
    "halt": (lambda operator: operator.halt("venue=SIM2"), "HALTED: scope=venue=SIM2 mode=halt"),
    "reduce_only": (lambda operator: operator.narrow("venue=SIM2"), "HALTED: limit=0 scope=venue=SIM2 value=0 "),
    "cancel_all": (lambda operator: operator.cancel_all("venue=SIM2"), "CANCELED_BEFORE_SUBMIT: it was canceled while"),
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.row(13, "parked")
async def test_what_is_parked_in_its_scope_is_not_sent(parked, command):
    """And it counts no more; what waits elsewhere goes."""
    ask, text = COMMANDS[command]
    stage = parked.stage
    parked.stop()
    waiting, elsewhere = stage.hand.send(BUY, 1, 90), stage.hand.send(BUY, 1, 90, of=OTHER)
    assert 2 == parked.mirror.parked
    answers = ask(parked.operator)
    await parked.go()
    assert [OrderStatus.DENIED, OrderStatus.SUBMITTED] == [waiting.status, elsewhere.status]
    assert reason(waiting).startswith(text)
    assert text.partition(":")[0] in stage.refused()
    assert stage.gate.judge.ledger.working(waiting.client_order_id.value) is None
    stage.tick().tick()
    assert (1, True) == (len(answers), "canceled=1" in answers[0][1]), answers
    assert ["SubmitOrder"] == stage.sent.names()


@pytest.mark.row(13, "on modify")
async def test_a_parked_change_is_refused_and_a_parked_cancel_goes(parked):
    stage = parked.stage
    first, second = stage.hand.send(BUY, 1, 90), stage.hand.send(BUY, 1, 91)
    stage.tick()
    parked.stop()
    modify(stage, first, 2)
    stage.hand.cancel_order(second)
    parked.operator.halt("node")
    await parked.go()
    stage.tick().tick()
    assert [OrderStatus.CANCELED] * 2 == [first.status, second.status]
    assert 1 == first.quantity.as_double()
    assert "ModifyOrder" not in stage.sent.names()
    assert ["HALTED"] == stage.refused("modify")


@pytest.mark.row(14, "parked")
async def test_a_parked_order_that_reduces_goes_under_reduce_only(parked):
    stage = parked.stage
    stage.hand.send(BUY, 2)
    stage.tick()
    parked.stop()
    out, flip = stage.hand.send(SELL, 2, 110), stage.hand.send(SELL, 1, 110)
    parked.operator.narrow("node")
    await parked.go()
    assert [OrderStatus.SUBMITTED, OrderStatus.DENIED] == [out.status, flip.status]
