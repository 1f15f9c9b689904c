"""A disk that refuses the log: trading goes on, events wait in memory in their order, and what is lost is told."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from test_mirror import log_of

CHILD = """
import logging, resource, sys
from test_mirror import INSTRUMENT, ClientOrderId, TestEventStubs, TestExecStubs, make_engine, make_mirror
from nautilus_ext.persistence import run_log

logging.basicConfig(format="%(levelname)s %(message)s")
bound, flush = int(sys.argv[2]), sys.argv[3]
run_log.PENDING_BYTES_MAX = bound
engine, mirror = make_engine(), make_mirror(sys.argv[1], flush, segment_bytes_max=20_000)
engine.add_actor(mirror)

def disk(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

def publish(count):
    for _ in range(count):
        publish.number += 1
        order = TestExecStubs.limit_order(instrument=INSTRUMENT, client_order_id=ClientOrderId(f"O-{publish.number}"))
        engine.kernel.msgbus.publish("events.order.S-001", order.init_event)
    if flush == "batch":
        mirror._flush()

publish.number = 0
publish(30)
disk(10_000)
publish(70)
print(mirror.mirror_state.last_error)
disk(resource.RLIM_INFINITY)
publish(1)
print(mirror.mirror_state.last_error)
publish(20)
mirror.finish(clean=True)
print(mirror._run_log.failures)
"""


def run_child(folder: Path, bound: int, flush: str) -> tuple[list[str], list[str]]:
    command = [sys.executable, "-c", CHILD, str(folder), str(bound), flush]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent, timeout=60)
    assert 0 == done.returncode, done.stderr
    return done.stdout.splitlines(), done.stderr.splitlines()


@pytest.mark.parametrize("flush", ["event", "batch"])
def test_what_the_disk_refuses_waits_and_is_written_in_order(tmp_path, flush):
    """Nothing is missing afterwards, and the run ends clean; it was said once, and the return as well."""
    (refused, after, faults), told = run_child(tmp_path, 1_000_000, flush)
    assert refused.startswith("the log cannot be written (")
    assert refused.endswith(" records wait in memory")
    assert ("", "0") == (after, faults)
    records = log_of(tmp_path)
    assert list(range(1, 123)) == [record.seq for record in records[:-1]]
    assert [f"O-{n}" for n in range(1, 122)] == [record.body["client_order_id"] for record in records[1:-1]]
    assert {"last_seq": 122, "clean": True} == records[-1].body
    assert ["ERROR", "WARNING"] == [line.split()[0] for line in told]


def test_past_the_bound_the_newest_are_lost_and_the_gap_shows(tmp_path):
    """Memory is bounded: what was kept is whole, the numbers of the lost are missing, the end is not clean."""
    (refused, after, faults), told = run_child(tmp_path, 10_000, "event")
    assert "records lost while the disk refused the log" in refused
    assert "wait in memory" in refused
    lost = int(after.split()[0])
    assert f"{lost} records lost while the disk refused the log" == after
    assert "0" == faults
    records = log_of(tmp_path)
    seqs = [record.seq for record in records[:-1]]
    missing = sorted(set(range(1, 123)) - set(seqs))
    assert seqs == sorted(seqs)
    assert lost == len(missing) > 20
    assert list(range(missing[0], missing[-1] + 1)) == missing, "one gap: the newest while the disk refused"
    assert {"last_seq": 122, "clean": False} == records[-1].body
    assert ["ERROR", "CRITICAL", "WARNING", "ERROR"] == [line.split()[0] for line in told]
