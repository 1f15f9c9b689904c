"""A whole node dies at named places, in its start above all; the one after it has lost and doubled nothing."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest
from kill_desk import Desk
from kill_judge import counted, judge, witnessed, works_on

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
    desk.begin()
    assert desk.await_trading(), desk.output
    desk.stop()
    if works_on(desk.data, desk.ended_ns):
        desk.begin()
        assert desk.await_trading(), desk.output
        desk.stop()
    with EmbeddedPostgres.join(desk.data / "postgres") as server:
        seen = asyncio.run(judge(server.app_url, desk.data, witnessed(desk.folder)))
    assert [] == seen.differences, counted(seen.differences)
    assert seen.fills > 0
    assert "not restored" not in desk.output
