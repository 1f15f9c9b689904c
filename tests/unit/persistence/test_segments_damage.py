"""Segments that were cut, changed or refused by the disk: nothing wrong is ever read, and a tail is no damage."""

from __future__ import annotations

import os
import random
import subprocess
import sys

import pytest

from nautilus_ext.persistence import segments as log
from nautilus_ext.persistence.segments import SegmentDamaged, SegmentWriter, State

SEED = int(os.environ.get("SEGMENTS_SEED", "1"))
RECORDS = [b'[%d,"OrderFilled",1,2,{"text":"%s"}]' % (seq, b"y" * seq) for seq in range(1, 9)]


@pytest.fixture
def segment(tmp_path):
    """A segment with eight records, closed."""
    writer = SegmentWriter(tmp_path, book_id="BOOK", run=1, epoch=1)
    writer.append_many(RECORDS)
    writer.close()
    return log.segments(tmp_path)[0]


def read(path) -> tuple[list[bytes], State]:
    frames, state = log.read_frames(path, 0)
    return [payload for _, payload in frames], state


def ends(path) -> list[int]:
    return [log.read_header(path)[1], *(end for end, _ in log.read_frames(path, 0)[0])]


def test_a_segment_that_is_cut_anywhere_has_a_tail_to_wait_for(segment):
    """Every whole frame before the cut is read; the cut frame comes back when its rest is there."""
    whole, last = segment.read_bytes(), ends(segment)
    for size in range(last[0], len(whole)):
        segment.write_bytes(whole[:size])
        count = sum(end <= size for end in last) - 1
        expected = State.END if size in last else State.TORN
        assert (RECORDS[:count], expected) == read(segment), size
    segment.write_bytes(whole)
    assert (RECORDS, State.END) == read(segment)


def test_a_cut_segment_with_a_successor_is_damage(segment):
    """Its rest will never come."""
    whole, last = segment.read_bytes(), ends(segment)
    log.segment_path(segment.parent, 2).write_bytes(b"")
    assert (RECORDS, State.SEALED) == read(segment)
    for size in range(last[3] + 1, len(whole)):
        if size not in last:
            segment.write_bytes(whole[:size])
            assert read(segment)[1] is State.CORRUPT, size


def test_zeros_behind_the_last_record_are_a_tail(segment):
    """What a file system may leave of a write that a power cut ended."""
    whole = segment.read_bytes()
    for count in (1, 7, 8, 9, 4_096):
        segment.write_bytes(whole + bytes(count))
        assert (RECORDS, State.TORN) == read(segment), count
    segment.write_bytes(whole + bytes(log.READ_BYTES_MAX))
    frames, state = log.read_frames(segment, ends(segment)[-1])
    assert ([], State.CORRUPT) == (frames, state), "more zeros than any write has bytes"


def test_one_changed_bit_never_lets_a_wrong_record_through(segment):
    """Wherever it is: what is read is a prefix of what was written, and damage before the last frame is called so."""
    rng = random.Random(SEED)
    whole, last = segment.read_bytes(), ends(segment)
    for _ in range(400):
        place = rng.randrange(last[0], len(whole))
        changed = bytearray(whole)
        changed[place] ^= 1 << rng.randrange(8)
        segment.write_bytes(changed)
        payloads, state = read(segment)
        assert RECORDS[: len(payloads)] == payloads
        assert len(payloads) < len(RECORDS)
        frame = max(end for end in last if end <= place)
        if place >= frame + 4:  # a changed length may say that the frame goes on behind the end of the file
            assert state is (State.TORN if frame == last[-2] else State.CORRUPT), f"seed {SEED}: {place}"


@pytest.mark.parametrize("head", [b"", b"XLOG1\n", b"XLOG2\n" + bytes(80), b"XLOG1\n" + bytes(80)])
def test_a_file_that_does_not_begin_as_a_segment_is_named(segment, head):
    """Which file it is, and that the disk is to be looked at."""
    segment.write_bytes(head)
    for ask in (log.read_header, lambda path: log.read_frames(path, 0)):
        with pytest.raises(SegmentDamaged, match=r"00000001\.seg: does not begin with the header of a segment"):
            ask(segment)


def test_a_refused_write_leaves_no_trace(tmp_path):
    """A disk that takes a part of a record, or nothing at all: whole records only, and it goes on afterwards."""
    code = """
import resource, sys
from nautilus_ext.persistence import segments as log
writer = log.SegmentWriter(sys.argv[1], book_id="B", run=1, epoch=1)
(path,) = log.segments(sys.argv[1])
refused = 0
def limit(size): resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
for seq in range(1, 400):
    payload = b"[%d,%s]" % (seq, b"z" * seq)
    size = path.stat().st_size
    limit(size + seq % 40)      # a part of the frame fits
    for write in (lambda: writer.append(payload), lambda: writer.append_many([payload, payload])):
        try:
            write()
        except OSError:
            refused += 1
        assert path.stat().st_size == size, (path.stat().st_size, size)
    limit(resource.RLIM_INFINITY)
    writer.append(payload)
frames, state = log.read_frames(path, 0)
seqs = [int(payload[1:payload.index(b",")]) for _, payload in frames]
assert (seqs, state) == (list(range(1, 400)), log.State.END), (seqs, state)
print(refused)
"""
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True)
    assert ("798\n", "") == (done.stdout, done.stderr)


def test_a_refused_rotation_is_tried_again(tmp_path):
    """No half segment stays, and the old one is still the newest: the reader waits for the record."""
    code = """
import resource, sys
from nautilus_ext.persistence import segments as log
writer = log.SegmentWriter(sys.argv[1], book_id="B", run=1, epoch=1, segment_bytes_max=200)
for seq in range(1, 4):
    writer.append(b"[%d,%s]" % (seq, b"z" * 20))
resource.setrlimit(resource.RLIMIT_FSIZE, (50, resource.RLIM_INFINITY))
try:
    writer.append(b"[4,%s]" % (b"z" * 200))
except OSError as error:
    print(error.strerror)
names = sorted(path.name for path in writer.folder.iterdir())
print(names, log.read_frames(log.segments(sys.argv[1])[0], 0)[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
writer.append(b"[4,%s]" % (b"z" * 200))
print(log.read_header(log.segments(sys.argv[1])[1])[0].first_seq)
"""
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True)
    expected = ["No space left on device", "['00000001.seg', 'node.lock'] end", "4"]
    assert (expected, "") == (done.stdout.splitlines(), done.stderr)
