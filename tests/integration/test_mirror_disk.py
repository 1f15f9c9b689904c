"""A disk that refuses the log: trading goes on, events wait in memory in their order, and what is lost is told."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from mirror_engine import log_of

from nautilus_ext.persistence.run_log import END_S_MAX

KINDS = ("RiskDecision", "OrderDenied")
CHILD = """
import logging, resource, sys, threading, time
from mirror_engine import INSTRUMENT, make_engine, make_mirror
from nautilus_trader.model.identifiers import ClientOrderId
from nautilus_trader.test_kit.stubs.execution import TestExecStubs
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
"""
RETURN = """
disk(10_000)
publish(70)
print(mirror.mirror_state.last_error)
disk(resource.RLIM_INFINITY)
publish(1)
print(mirror.mirror_state.last_error)
publish(20)
print(mirror.finish(clean=True))
"""
VERDICTS = """
from decision_node import refuse
disk(10_000)
for number in range(1, 20):
    refuse(engine.kernel.msgbus, number, "x" * 3_000)
disk(resource.RLIM_INFINITY)
refuse(engine.kernel.msgbus, 20, "x")
print(mirror.finish(clean=True))
"""
END = """
disk(int(sys.argv[4]))
publish(70)
timer = threading.Timer(float(sys.argv[5]), disk, [resource.RLIM_INFINITY])
timer.daemon = True
timer.start()
before = time.monotonic()
print(mirror.finish(clean=True))
print(time.monotonic() - before)
print(mirror.seq)
"""


def run_child(
    folder: Path, bound: int, flush: str, *, script: str = RETURN, more: tuple[object, ...] = ()
) -> tuple[list[str], list[str]]:
    command = [sys.executable, "-c", CHILD + script, str(folder), str(bound), flush, *map(str, more)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent, timeout=60)
    assert 0 == done.returncode, done.stderr
    return done.stdout.splitlines(), done.stderr.splitlines()


@pytest.mark.parametrize("flush", ["event", "batch"])
def test_what_the_disk_refuses_waits_and_is_written_in_order(tmp_path, flush):
    """Nothing is missing afterwards, and the run ends clean; it was said once, and the return as well."""
    (refused, after, never), told = run_child(tmp_path, 1_000_000, flush)
    assert refused.startswith("the log cannot be written (")
    assert refused.endswith(" records wait in memory")
    assert ("", "0") == (after, never)
    records = log_of(tmp_path)
    assert list(range(1, 123)) == [record.seq for record in records[:-1]]
    assert [f"O-{n}" for n in range(1, 122)] == [record.body["client_order_id"] for record in records[1:-1]]
    assert {"last_seq": 122, "clean": True} == records[-1].body
    assert ["ERROR", "WARNING"] == [line.split()[0] for line in told]


def test_past_the_bound_the_newest_are_lost_and_the_gap_shows(tmp_path):
    """Memory is bounded: what was kept is whole, the numbers of the lost are missing, the end is not clean."""
    (refused, after, never), told = run_child(tmp_path, 10_000, "event")
    assert "records lost while the disk refused the log" in refused
    assert "wait in memory" in refused
    lost = int(after.split()[0])
    assert f"{lost} records lost while the disk refused the log" == after
    assert str(lost) == never
    records = log_of(tmp_path)
    seqs = [record.seq for record in records[:-1]]
    missing = sorted(set(range(1, 123)) - set(seqs))
    assert seqs == sorted(seqs)
    assert lost == len(missing) > 20
    assert list(range(missing[0], missing[-1] + 1)) == missing, "one gap: the newest while the disk refused"
    assert {"last_seq": 122, "clean": False} == records[-1].body
    assert ["ERROR", "CRITICAL", "WARNING", "ERROR"] == [line.split()[0] for line in told]


def test_no_denial_finds_room_where_its_verdict_did_not(tmp_path):
    """A verdict is large and a denial is small: what comes after a lost record is lost, until nothing waits."""
    (lost,), _ = run_child(tmp_path, 10_000, "event", script=VERDICTS)
    told = {
        kind: [record.body["client_order_id"] for record in log_of(tmp_path) if record.type == kind] for kind in KINDS
    }
    assert int(lost) > 10
    assert "O-20" in told["OrderDenied"]
    assert [] == [each for each in told["OrderDenied"] if each not in told["RiskDecision"]]


@pytest.mark.parametrize("flush", ["event", "batch"])
def test_the_end_waits_a_moment_for_the_disk(tmp_path, flush):
    """Space that comes within the bound is enough: everything is written, and the run ends clean."""
    (lost, took_s, seq), _ = run_child(tmp_path, 1_000_000, flush, script=END, more=(10_000, 0.3))
    assert ("0", "101") == (lost, seq)
    assert 0.2 < float(took_s) < END_S_MAX
    records = log_of(tmp_path)
    assert list(range(1, 102)) == [record.seq for record in records[:-1]]
    assert {"last_seq": 101, "clean": True} == records[-1].body


@pytest.mark.parametrize("flush", ["event", "batch"])
def test_the_end_says_how_many_records_never_reached_the_log(tmp_path, flush):
    """The wait is bounded, and no end that says it was clean is written."""
    (lost, took_s, seq), told = run_child(tmp_path, 1_000_000, flush, script=END, more=(10_000, 60))
    assert END_S_MAX <= float(took_s) < END_S_MAX + 1
    written = [record.seq for record in log_of(tmp_path)]
    assert list(range(1, len(written) + 1)) == written
    assert int(seq) - len(written) == int(lost) > 10
    assert told[-1].startswith("ERROR the log of this run is not whole")
