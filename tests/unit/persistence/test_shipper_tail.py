"""The log of a run is read to its end over any number of segments, and past any damage."""

from __future__ import annotations

import random

import msgspec
import pytest

from nautilus_ext.persistence.segments import SegmentWriter, segment_path, segments, unread_bytes
from nautilus_ext.persistence.shipper.tail import Place, Tail

SEED = 5


def payload(seq: int) -> bytes:
    return msgspec.json.encode((seq, "OrderAccepted", 1, 1, {"text": "x" * (seq % 50)}))


@pytest.fixture
def folder(tmp_path):
    """The folder of a run, below that of its book."""
    return tmp_path / "book" / "000001"


def write(folder, last, **options):
    """Write records 1 to `last`, and close the log as a process that ends does."""
    log = SegmentWriter(folder, book_id="book", run=1, epoch=1, **options)
    for seq in range(1, last + 1):
        log.append(payload(seq))
    log.close()


def read_all(tail):
    """Read until nothing comes; return the numbers."""
    found = []
    while payloads := tail.read():
        found += [msgspec.json.decode(each)[0] for each in payloads]
    return found


def test_segments_are_read_in_order(folder):
    """Each record once, from the first segment to the last."""
    write(folder, 300, segment_bytes_max=2_000)
    reports: list[str] = []
    assert read_all(Tail(folder, reports.append)) == list(range(1, 301))
    assert reports == []


def test_a_folder_without_a_log_has_nothing_yet(folder):
    """The shipper may be up before the node begins to write."""
    folder.mkdir(parents=True)
    tail = Tail(folder, pytest.fail)
    assert tail.read() == []
    write(folder, 3)
    assert read_all(tail) == [1, 2, 3]


def test_any_flipped_byte_costs_few_records_and_no_other(folder):
    """Wherever the damage is, what follows it is found again."""
    write(folder, 120, segment_bytes_max=3_000)
    path = segment_path(folder, 2)
    whole = path.read_bytes()
    dice = random.Random(SEED)
    for _ in range(60):
        damaged = bytearray(whole)
        damaged[dice.randrange(len(damaged))] ^= dice.randrange(1, 256)
        path.write_bytes(damaged)
        reports: list[str] = []
        found = read_all(Tail(folder, reports.append))
        assert len(set(range(1, 121)) - set(found)) <= 2
        assert found == sorted(set(found))
        assert len(reports) <= 2


def test_a_torn_frame_is_passed_only_when_the_file_grew_behind_it_for_a_while(folder, monkeypatch):
    """A write that is on its way is waited for; a changed length is damage when more was written behind it."""
    now_s = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now_s[0])
    log = SegmentWriter(folder, book_id="book", run=1, epoch=1)
    log.append(payload(1))
    path = segment_path(folder, 1)
    at = path.stat().st_size
    log.append(payload(2))
    with path.open("r+b") as file:
        file.seek(at + 2)
        file.write(b"\x08")
    reports: list[str] = []
    tail = Tail(folder, reports.append)
    assert read_all(tail) == [1]
    now_s[0] += 5
    assert read_all(tail) == []
    log.append(payload(3))
    assert read_all(tail) == [3]
    assert len(reports) == 1
    log.close()
    with path.open("ab") as file:
        file.write(b"\x30\0\0")
    assert read_all(tail) == []
    assert (tail.go_past_end(), tail.has_lost, len(reports)) == (False, True, 2)
    assert unread_bytes(tail.folder, *tail.place) == 0


def test_durable_segments_are_deleted_and_damaged_ones_kept(folder):
    """What lies before a place goes; a damaged segment moves beside the folder."""
    write(folder, 120, segment_bytes_max=3_000)
    path = segment_path(folder, 2)
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    tail = Tail(folder, lambda _: None)
    read_all(tail)
    newest = segments(folder)[-1]
    assert unread_bytes(tail.folder, *Place(2, 10)) > unread_bytes(tail.folder, *tail.place) == 0
    tail.delete_before(tail.place)
    assert segments(folder) == [newest]
    assert (folder.parent / "000001-00000002.corrupt").read_bytes() == bytes(data)
    tail.delete_all()
    assert not folder.exists()


def test_a_writer_that_is_gone_is_noticed(folder):
    """Its lock is free."""
    log = SegmentWriter(folder, book_id="book", run=1, epoch=1)
    tail = Tail(folder, pytest.fail)
    assert tail.is_over() is False
    log.close()
    assert tail.is_over() is True
