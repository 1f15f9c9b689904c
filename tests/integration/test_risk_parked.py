"""With `flush: power` an order is judged before it is parked, and counts while it waits for the disk."""

from __future__ import annotations

import asyncio
import threading
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from mirror_engine import log_of, make_mirror
from nautilus_trader.model.enums import OrderStatus
from risk_stage import BUY, Stage, is_denied, reason

from nautilus_ext.persistence import intents

if TYPE_CHECKING:
    from collections.abc import Iterator

FIVE = {"preset": "none", "limits": {"global": {"max_position": "5"}}}
TIMEOUT_MS = 300
WAIT_S = 10.0


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Syncs only while it is let."""
    is_free = threading.Event()
    monkeypatch.setattr(intents, "sync", lambda _: is_free.wait(WAIT_S))
    yield is_free
    is_free.set()


async def until(is_so: Any) -> None:
    async with asyncio.timeout(WAIT_S):
        while not is_so():  # noqa: ASYNC110 - the thread that syncs sets no event of this loop
            await asyncio.sleep(0.005)


@pytest.mark.row(5, "at limit")
@pytest.mark.row(5, "one tick over")
async def test_what_is_refused_is_never_parked_and_what_waits_counts(disk, tmp_path):
    """It is let go when the disk has it; what the disk does not confirm in time is denied, and its place is free."""
    mirror = make_mirror(tmp_path, flush="power", intent_timeout_ms=TIMEOUT_MS)
    stage = Stage(FIVE, actors=[mirror])
    disk.set()
    stage.start()
    disk.clear()
    mirror._gate.start(asyncio.get_running_loop())
    waiting, refused = stage.hand.send(BUY, 4, 90), stage.hand.send(BUY, 2, 90)
    is_denied(refused, "MAX_POSITION: limit=5 scope=global value=4 would_be=6 unit=quantity")
    assert (1, OrderStatus.INITIALIZED, []) == (mirror.parked, waiting.status, stage.sent.commands)
    await until(lambda: waiting.status == OrderStatus.DENIED)
    assert reason(waiting).startswith("INTENT_TIMEOUT: ")
    assert Decimal(0) == stage.gate.judge.ledger._marks[waiting.instrument_id.value].whole.longest
    again = stage.hand.send(BUY, 5, 90)
    disk.set()
    await until(lambda: again.status == OrderStatus.SUBMITTED)
    assert ["SubmitOrder"] == stage.sent.names()
    mirror.finish(clean=True)
    written = [each.body["client_order_id"] for each in log_of(tmp_path) if each.type == "Intent"]
    assert [waiting.client_order_id.value, again.client_order_id.value] == written


async def test_a_cancel_of_what_is_parked_goes_behind_it(disk, tmp_path):
    """The order has been judged and is on its way: its cancel is no early one."""
    mirror = make_mirror(tmp_path, flush="power", intent_timeout_ms=10_000)
    stage = Stage(FIVE, actors=[mirror])
    disk.set()
    stage.start()
    disk.clear()
    mirror._gate.start(asyncio.get_running_loop())
    order = stage.hand.send(BUY, 4, 90)
    stage.submit(order)  # once more: what is on its way is not ended by it
    stage.hand.cancel_order(order)
    assert (2, OrderStatus.INITIALIZED, ["NOT_NEW"]) == (mirror.parked, order.status, stage.refused())
    disk.set()
    await until(lambda: not mirror.parked)
    stage.tick()
    assert (OrderStatus.CANCELED, ["SubmitOrder", "CancelOrder"]) == (order.status, stage.sent.names())
    mirror.finish(clean=True)
