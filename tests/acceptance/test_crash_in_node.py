"""A whole node dies at named places, in its start above all; the one after it has lost and doubled nothing."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest
from kill_desk import Desk
from kill_judge import counted, judge, witnessed, works_on
from kill_rounds import ENDS_MAX

from nautilus_ext.embedded import EmbeddedPostgres

ENGINE = "nautilus_trader.live.execution_engine:LiveExecutionEngine"
UNSHIPPED = "between the append and its acknowledgement"  # its shipper lies still: later starts have a log to drain
# In this order on one desk: each start finds what the one before it left in the middle of something.
PLACES = {
    "between an event and the append": "nautilus_ext.persistence.run_log:RunLog._put:before:150",
    UNSHIPPED: "nautilus_ext.persistence.segments:SegmentWriter.append:after:400",
    "after the start of the run is recorded": "nautilus_ext.schema.books:start_run:after:1",
    "in a start, before the former logs are drained": "nautilus_ext.persistence.shipper.process:Shipper.drain:before:1",
    "in a start, in the commit of a former log": "nautilus_ext.persistence.shipper.writing:Writer._put:after:2",
    "in a start, after the former logs are drained": "nautilus_ext.app.restoring:_drain:after:1",
    "in a start, after what the book holds is read": "nautilus_ext.app.restoring:read_holdings:after:1",
    "in the restore, after the first order": "nautilus_ext.persistence.restore:_Filling._order:after:1",
    "in the restore, before its last step": "nautilus_ext.persistence.restore:_Filling._bind_legs:before:1",
    "in the reconciliation": f"{ENGINE}._reconcile_order_report:after:1",
    "before what was never sent is ended": "nautilus_ext.persistence.restore:ends_of_unsent:before:1",
}


@pytest.fixture
def desk(tmp_path):
    one = Desk(tmp_path / "desk")
    yield one
    one.close()


@pytest.mark.timeout(600)
def test_a_node_that_dies_at_a_named_place_is_followed_by_one_that_has_all(desk):
    """It trades up to the first places; each later one is in the start of the next node."""
    for where, place in PLACES.items():
        former = desk.living_shippers()
        desk.begin(crash_at=place)
        halted = desk.halt_shipper(former) if where == UNSHIPPED else None
        desk.await_crash()
        if halted:
            os.kill(halted, signal.SIGKILL)
        print(f"{where}: dead after {len(desk.output.splitlines())} lines")
    end_and_judge(desk)


@pytest.mark.timeout(600)
def test_a_fill_whose_position_was_never_told_is_in_it_all_the_same(desk):
    """The node dies between the two events of one fill: of a position that opens, that changes, that closes."""
    for call in (1, 5, 8, 12, 17):
        desk.begin(crash_at=f"nautilus_ext.persistence.mirror:Mirror._on_position:before:{call}")
        desk.await_crash()
    end_and_judge(desk)


def end_and_judge(desk: Desk) -> None:
    """Start once more, stop in order; if an order was on its way to the exchange then, once more."""
    for _ in range(ENDS_MAX):
        desk.begin()
        assert desk.await_trading(), desk.output
        desk.stop()
        if not works_on(desk.data, desk.ended_ns):
            break
    with EmbeddedPostgres.join(desk.data / "postgres") as server:
        seen = asyncio.run(judge(server.app_url, desk.data, witnessed(desk.folder)))
    assert [] == seen.differences, counted(seen.differences)
    assert seen.fills > 0
    outputs = "".join(path.read_text() for path in desk.folder.glob("node-*.txt"))
    assert "not restored" not in outputs
    assert "Traceback" not in outputs
