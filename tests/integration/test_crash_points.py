"""Kill -9 at named places of the way from an event to its row: what was acknowledged is there, once, after a restart.

The places are in the product's own functions, armed from outside (`crash_at`); the processes, the log, the server and
the kill are real.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from book_node import query
from shipper_stage import BOOK, Stage

from nautilus_ext.persistence.segments import run_folder
from nautilus_ext.schema import books
from nautilus_ext.schema.revision import REVISION
from nautilus_ext.schema.upgrade import upgrade

HERE = Path(__file__).parent
TIMEOUT_S = 60
SEGMENTS = "nautilus_ext.persistence.segments:SegmentWriter"
SHIPPER = "nautilus_ext.persistence.shipper"

IN_THE_LOG = {
    "before the append": (f"{SEGMENTS}._write:before:333", "event"),
    "between the append and its acknowledgement": (f"{SEGMENTS}._write:after:333", "event"),
    "before the flush of a batch": (f"{SEGMENTS}.append_many:before:77", "batch"),
    "between the flush of a batch and its acknowledgement": (f"{SEGMENTS}.append_many:after:77", "batch"),
    "in a rotation, before the next file": (f"{SEGMENTS}._begin:before:5", "event"),
    "in a rotation, before the next file has its name": ("pathlib:Path.rename:before:5", "event"),
    "in a rotation, when the next file has its name": ("pathlib:Path.rename:after:5", "event"),
    "in a rotation, before the first record": (f"{SEGMENTS}._rotate:after:5", "batch"),
}
IN_THE_SHIPPER = {
    "before the journal": f"{SHIPPER}.writing:Writer._put:before:9",
    "between journal and commit": f"{SHIPPER}.writing:Writer._put:after:9",
    "after the commit, before the progress is read back": f"{SHIPPER}.writing:Writer.write:after:3",
    "before a durable segment is deleted": f"{SHIPPER}.tail:Tail.delete_before:before:2",
    "before the run is told to be drained": f"{SHIPPER}.writing:Writer.mark_drained:before:1",
    "after the run is told to be drained": f"{SHIPPER}.writing:Writer.mark_drained:after:1",
}
IN_A_MIGRATION = {
    "before the first table": "alembic.operations:Operations.create_table:before:1",
    "among the tables": "alembic.operations:Operations.create_table:after:9",
    "before the grants": "nautilus_ext.schema.upgrade:_grant:before:1",
    "after the grants, before the commit": "nautilus_ext.schema.upgrade:_grant:after:1",
}


@pytest.fixture
def stage(database, tmp_path):
    one = Stage(database.app_url, tmp_path)
    yield one
    one.kill()


def crashing(place: str, module: str, *arguments: str, **options) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(HERE / "crash_at.py"), place, module, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


def write_until_the_crash(stage: Stage, place: str, flush: str) -> int:
    """Return the last number that was acknowledged."""
    process = crashing(place, "crash_log", str(stage.folder), BOOK, flush, stdin=subprocess.PIPE)
    start = stage.start_run(books.Claim(BOOK, "PAPER-001", "paper", "i", socket.gethostname(), process.pid, "0", "1"))
    said, errors = process.communicate(f"{start.run} {start.epoch}\n".encode(), TIMEOUT_S)
    assert -signal.SIGKILL == process.returncode, errors
    return int(said.split()[-1])


@pytest.mark.parametrize("where", IN_THE_LOG)
def test_a_node_that_is_killed_in_its_log_loses_and_doubles_nothing(stage, where):
    """Two runs end at the place; the shipper of the third brings what they acknowledged into the tables."""
    place, flush = IN_THE_LOG[where]
    acknowledged = [write_until_the_crash(stage, place, flush) for _ in range(2)]
    last, _ = stage.log_run(orders=2, prefix="last")
    assert 0 == stage.run_to_end(last)
    for run, said in enumerate(acknowledged, start=1):
        seqs = stage.seqs(run)
        assert list(range(1, len(seqs) + 1)) == seqs
        assert said <= len(seqs) <= said + 6, "more than the one call that nobody acknowledged"
        assert not run_folder(stage.folder, run).exists()
    assert [] == stage.rejected()
    assert [] == stage.differences()


@pytest.mark.parametrize("where", IN_THE_SHIPPER)
def test_a_shipper_that_is_killed_in_a_batch_loses_and_doubles_nothing(stage, where):
    """Two shippers end at the place, of a run with an older one before it; the third brings the rest."""
    before, seqs_before = stage.log_run(orders=40, prefix="older", segment_bytes_max=20_000)
    start, seqs = stage.log_run(orders=150, prefix="newer", segment_bytes_max=20_000)
    for _ in range(2):
        process = crashing(IN_THE_SHIPPER[where], SHIPPER, stdin=subprocess.PIPE)
        _, errors = process.communicate(msgspec.json.encode(stage.order(start)) + b"\n", TIMEOUT_S)
        assert -signal.SIGKILL == process.returncode, errors
    assert 0 == stage.run_to_end(start)
    assert list(range(1, seqs_before + 1)) == stage.seqs(before.run)
    assert list(range(1, seqs + 1)) == stage.seqs(start.run)
    assert 190 == stage.value("SELECT count(*) FROM unified_fills")
    assert [] == stage.rejected()
    assert [] == stage.differences()


@pytest.mark.parametrize("where", IN_A_MIGRATION)
def test_a_migration_that_is_killed_leaves_nothing_and_comes_through_the_next_time(empty_database, where):
    """All of a migration is one transaction: the next one begins where the killed one began."""
    urls = (empty_database.owner_url, empty_database.app_url)
    process = crashing(IN_A_MIGRATION[where], "crash_migration", *urls)
    _, errors = process.communicate(timeout=TIMEOUT_S)
    assert -signal.SIGKILL == process.returncode, errors
    tables = "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'"
    assert [(0,)] == [tuple(row) for row in query(urls[0], tables)]
    assert REVISION == upgrade(*urls, timeout_s=10.0)[-1]
    assert [] == upgrade(*urls, timeout_s=10.0)
