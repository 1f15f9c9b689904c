"""Segments: what was appended is read back whole and in order, across files, readers and a writer at work."""

from __future__ import annotations

import os
import random
import subprocess
import sys

import pytest

from nautilus_ext.errors import BookTaken, MachineError
from nautilus_ext.persistence import segments as log
from nautilus_ext.persistence.segments import NODE_LOCK, SegmentWriter, State

SEED = int(os.environ.get("SEGMENTS_SEED", "1"))
BOUND = 5_000


def record(seq: int, text: str = "") -> bytes:
    return f'[{seq},"OrderFilled",1,2,{{"text":"{text}"}}]'.encode()


def open_writer(folder, **more) -> SegmentWriter:
    return SegmentWriter(folder, **{"book_id": "BOOK", "run": 3, "epoch": 9, **more})


def read_all(folder) -> list[bytes]:
    """All records of a run whose segments are all there."""
    found = []
    for path in log.segments(folder):
        offset, state = 0, State.MORE
        while state is State.MORE:
            frames, state = log.read_frames(path, offset, bytes_max=1)
            found += [payload for _, payload in frames]
            offset = frames[-1][0] if frames else offset
        assert state in {State.SEALED, State.END}, (path, state)
    return found


def test_what_was_appended_is_read_back(tmp_path):
    """One at a time or many at once, over as many segments as it takes; each but the newest is sealed."""
    rng = random.Random(SEED)
    writer = open_writer(tmp_path, segment_bytes_max=BOUND)
    written: list[bytes] = []
    while len(written) < 2_000:
        batch = [record(len(written) + n, "x" * rng.randrange(200)) for n in range(1, rng.randrange(2, 9))]
        if rng.random() < 0.5:
            writer.append_many(batch)
        else:
            for payload in batch:
                writer.append(payload)
        written += batch
    assert written == read_all(tmp_path)
    sizes = [path.stat().st_size for path in log.segments(tmp_path)]
    assert len(sizes) > 20
    assert max(sizes) <= BOUND
    states = [log.read_frames(path, 0)[1] for path in log.segments(tmp_path)]
    assert [State.SEALED] * (len(sizes) - 1) + [State.END] == states


def test_a_reader_goes_on_where_it_was(tmp_path):
    """The end offset of any frame is where the next read begins; at the end there is nothing, and then there is."""
    writer = open_writer(tmp_path)
    writer.append_many([record(seq) for seq in range(1, 6)])
    (path,) = log.segments(tmp_path)
    frames, _ = log.read_frames(path, 0)
    for number, (end, _) in enumerate(frames, 1):
        assert [record(seq) for seq in range(number + 1, 6)] == [
            payload for _, payload in log.read_frames(path, end)[0]
        ]
    end = frames[-1][0]
    assert ([], State.END) == log.read_frames(path, end)
    writer.append(record(6))
    assert [record(6)] == [payload for _, payload in log.read_frames(path, end)[0]]


def test_a_read_is_bounded_and_says_that_there_is_more(tmp_path):
    """A large segment comes in parts, and the largest record fits into one."""
    writer = open_writer(tmp_path)
    large = [record(seq, "x" * (log.RECORD_BYTES_MAX - 50)) for seq in range(1, 5)]
    writer.append_many(large)
    (path,) = log.segments(tmp_path)
    frames, state = log.read_frames(path, 0, bytes_max=1)
    assert ([large[0]], State.MORE) == ([payload for _, payload in frames], state)
    assert large == read_all(tmp_path)


def test_each_segment_says_which_number_it_begins_with(tmp_path):
    """So a reader that comes later skips what it has; records without a number do not count."""
    writer = open_writer(tmp_path, segment_bytes_max=BOUND)
    for seq in range(1, 301):
        writer.append(record(seq, "x" * 30))
        writer.append(record(0, "marks"))
        if seq % 7 == 0:
            writer.append_many([record(0), record(0)])
    found = log.segments(tmp_path)
    headers = [log.read_header(path)[0] for path in found]
    assert [(n, "BOOK", 3, 9) for n in range(1, len(found) + 1)] == [
        (each.segment, each.book_id, each.run, each.epoch) for each in headers
    ]
    for path, header in zip(found, headers, strict=True):
        numbers = [int(payload[1 : payload.index(b",")]) for _, payload in log.read_frames(path, 0)[0]]
        assert header.first_seq == next(number for number in numbers if number)
    assert [] == log.segments(tmp_path / "not there")


def test_the_runs_of_a_book_are_listed_in_their_order(tmp_path):
    """By number, not by name; what is no run is left out."""
    for name in ("000002", "1000001", "000010", "000002-3.corrupt", "notes"):
        (tmp_path / name).mkdir()
    assert [2, 10, 1_000_001] == [run for run, _ in log.runs(tmp_path)]
    assert log.run_folder(tmp_path, 2) == log.runs(tmp_path)[0][1]
    assert [] == log.runs(tmp_path / "not there")


def test_a_log_has_one_writer(tmp_path):
    """The second one is told so, and nothing of the first is touched."""
    writer = open_writer(tmp_path)
    writer.append(record(1))
    with pytest.raises(BookTaken, match="another process writes this log: stop it first"):
        open_writer(tmp_path)
    assert [record(1)] == read_all(tmp_path)


def test_a_run_is_begun_once(tmp_path):
    """A folder with segments is refused with the cure, and its lock is free afterwards."""
    writer = open_writer(tmp_path)
    writer.append(record(1))
    writer.close()
    writer.close()
    with pytest.raises(MachineError, match=r"00000001\.seg is there already: .*move the folder away"):
        open_writer(tmp_path)
    assert not log.is_locked(tmp_path / NODE_LOCK)
    assert [record(1)] == read_all(tmp_path)


def test_a_folder_of_another_life_with_the_same_number_is_moved_aside(tmp_path):
    """A database that was set back gives a number again: the node starts, and the former log is kept."""
    folder = tmp_path / "000003"
    for number, epoch in enumerate((4, 5, 6)):
        writer = open_writer(folder, epoch=epoch)
        writer.append(record(number + 1))
        writer.close()
    assert [record(3)] == read_all(folder)
    assert [record(1)] == read_all(tmp_path / "000003-foreign-1")
    assert [record(2)] == read_all(tmp_path / "000003-foreign-2")
    assert [3] == [run for run, _ in log.runs(tmp_path)]


def test_the_folder_of_a_living_node_is_never_moved(tmp_path):
    """Another life with the same number waits for nobody: it is told who is in the way."""
    folder = tmp_path / "000003"
    writer = open_writer(folder, epoch=4)
    writer.append(record(1))
    with pytest.raises(BookTaken):
        open_writer(folder, epoch=5)
    assert [record(1)] == read_all(folder)
    writer.close()


def test_a_folder_that_cannot_be_made_is_named_with_its_cure(tmp_path):
    """An operator reads which folder it is, why, and what to do."""
    (tmp_path / "file").write_text("")
    with pytest.raises(MachineError, match=r"file/000003: the log cannot be written: Not a directory: free space, or"):
        open_writer(tmp_path / "file" / "000003")


def test_the_lock_is_free_when_the_writer_was_killed(tmp_path, wait_until):
    """Free means that the node is gone: nothing is written after that; to look does not take the lock away."""
    code = (
        "import sys, time\nfrom nautilus_ext.persistence.segments import SegmentWriter\n"
        "writer = SegmentWriter(sys.argv[1], book_id='B', run=1, epoch=1)\nprint('open', flush=True)\ntime.sleep(60)"
    )
    assert not log.is_locked(tmp_path / NODE_LOCK)
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert b"open\n" == child.stdout.readline()
        assert log.is_locked(tmp_path / NODE_LOCK)
        child.kill()
    wait_until(lambda: not log.is_locked(tmp_path / NODE_LOCK))


def test_a_reader_beside_a_writer_at_work_misses_nothing(tmp_path):
    """Another process writes as quickly as it can and rotates; the reader follows and gets all, in order."""
    code = (
        "import sys\nfrom nautilus_ext.persistence.segments import SegmentWriter\n"
        "writer = SegmentWriter(sys.argv[1], book_id='B', run=1, epoch=1, segment_bytes_max=50_000)\n"
        "for seq in range(1, 20_001):\n    writer.append(b'[%d,%s]' % (seq, b'x' * (seq % 97)))\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)]) as child:
        seqs: list[int] = []
        segment, offset = 1, 0
        while len(seqs) < 20_000:
            path = log.segment_path(tmp_path, segment)
            if not path.exists():
                assert segment == 1
                continue
            frames, state = log.read_frames(path, offset)
            assert state is not State.CORRUPT
            seqs += [int(payload[1 : payload.index(b",")]) for _, payload in frames]
            offset = frames[-1][0] if frames else offset
            if state is State.SEALED:
                segment, offset = segment + 1, 0
        assert 0 == child.wait(20)
    assert list(range(1, 20_001)) == seqs
    assert segment > 10


@pytest.mark.parametrize("module", ["segments", "encode", "run_log"])
def test_the_log_is_read_and_written_without_an_engine(module):
    """The shipper's process begins at once and takes nothing from the node."""
    code = f"import sys, nautilus_ext.persistence.{module}; print('nautilus_trader' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ("False\n", "") == (done.stdout, done.stderr)
