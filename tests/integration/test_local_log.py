"""What the files of a machine say of a run, beside a database that says nothing."""

from __future__ import annotations

import time

import pytest

from nautilus_ext.app.local_log import local_log
from nautilus_ext.persistence.segments import SegmentWriter, run_folder
from nautilus_ext.persistence.shipper.state import ShipperState, write_state


@pytest.fixture
def writer(tmp_path):
    made = SegmentWriter(run_folder(tmp_path, 3), book_id="BOOK", run=3, epoch=1)
    for seq in range(1, 8):
        made.append(b'[%d,"X",0,0,{}]' % seq)
    yield made
    made.close()


def told(tmp_path, **state):
    write_state(run_folder(tmp_path, 3), ShipperState(pid=77, run=3, at_ns=time.time_ns(), **state))
    found = local_log(tmp_path)
    assert found is not None
    return found


def test_of_a_book_without_a_log_nothing_is_said(tmp_path):
    """Neither of a folder that is not there, nor of an empty one."""
    assert local_log(tmp_path / "nowhere") is None
    assert local_log(tmp_path) is None


def test_the_newest_run_says_whether_its_node_lives_and_what_the_tables_lack(tmp_path, writer):
    """By the lock that the node holds, and by the last number in its log."""
    found = told(tmp_path, shipped_seq=5, phase="shipping")
    assert "on this machine: run 3, its node runs; 7 events in its log, 2 of them not in the tables" == found.text
    assert "" == found.trouble
    writer.close()
    found = told(tmp_path, shipped_seq=5, last_error="nobody answers at host:1")
    assert "run 3, its node is gone" in found.text
    assert "the shipper: nobody answers at host:1" == found.trouble


def test_a_shipper_that_hangs_is_named_with_its_pid(tmp_path, writer):
    """Its last word is old, whatever it was."""
    told(tmp_path, phase="shipping")
    write_state(run_folder(tmp_path, 3), ShipperState(pid=77, run=3, at_ns=time.time_ns() - 60 * 10**9))
    found = local_log(tmp_path)
    assert found is not None
    assert "the shipper (pid 77) has said nothing for 60 s: kill it, and another one starts" == found.trouble
    assert "" == told(tmp_path, phase="ended").trouble
