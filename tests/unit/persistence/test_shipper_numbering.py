"""Each record of a run is taken once and in order; what is missing, broken or foreign is named."""

from __future__ import annotations

import msgspec
import pytest

from nautilus_ext.persistence.shipper.numbering import Numbering

GARBAGE = b"\x00garbage"
RUN = 3


def event(seq: int) -> bytes:
    return msgspec.json.encode((seq, "OrderAccepted", 1, 1, {"event_id": f"E-{seq}"}))


def end(last: int) -> bytes:
    return msgspec.json.encode((0, "End", 1, 1, {"last_seq": last, "clean": True}))


def numbered(durable: int, *chunks: list[bytes]):
    """Take chunks of payloads; return the items as (seq, readable), the reports and the numbering."""
    reports: list[str] = []
    numbering = Numbering(RUN, durable, reports.append)
    items = [item for chunk in chunks for item in numbering.take(chunk)]
    items += numbering.finish()
    return [(item.seq, item.record is not None) for item in items], reports, numbering


def test_all_records_are_taken_in_order():
    """Nothing is special about a run that begins at one."""
    found, reports, numbering = numbered(0, [event(1), event(2)], [event(3), end(3)])
    assert found == [(1, True), (2, True), (3, True)]
    assert reports == []
    assert (numbering.last_seq, numbering.has_ended) == (3, True)


@pytest.mark.parametrize("durable", [1, 2, 3])
def test_what_is_durable_is_skipped(durable):
    """The log is read from an older place than the progress."""
    found, reports, numbering = numbered(durable, [event(1), event(2), event(3)])
    assert found == [(seq, True) for seq in range(durable + 1, 4)]
    assert reports == []
    assert numbering.last_seq == 3


def test_a_log_that_begins_after_the_progress_has_a_gap():
    """Somebody deleted the first segments."""
    found, reports, _ = numbered(4, [event(7), event(8)])
    assert found == [(7, True), (8, True)]
    assert reports == [f"run {RUN}: records 5 to 6 are missing in the log"]


def test_a_gap_in_the_middle_is_named_and_passed():
    """The numbers go on."""
    found, reports, _ = numbered(0, [event(1), event(4)])
    assert found == [(1, True), (4, True)]
    assert reports == [f"run {RUN}: records 2 to 3 are missing in the log"]


def test_a_gap_before_the_end_is_named():
    """The end knows how many there were."""
    _, reports, numbering = numbered(0, [event(1), end(3)])
    assert reports == [f"run {RUN}: records 2 to 3 are missing in the log"]
    assert numbering.last_seq == 3


def test_an_unreadable_record_says_its_own_number():
    """Its beginning is enough."""
    found, reports, _ = numbered(0, [event(1), b"[2,nonsense", event(3)])
    assert found == [(1, True), (2, False), (3, True)]
    assert reports == []


@pytest.mark.parametrize("follows", [[event(4)], [end(3)], []])
def test_unreadable_records_have_the_numbers_between_their_neighbours(follows):
    """Also when what follows is the end, or nothing."""
    found, reports, _ = numbered(0, [event(1), GARBAGE], [GARBAGE, *follows])
    assert found == [(1, True), (2, False), (3, False), *([(4, True)] if follows == [event(4)] else [])]
    assert reports == []


def test_an_unreadable_record_that_is_durable_is_skipped():
    """It was rejected before the shipper was killed."""
    found, reports, _ = numbered(2, [event(1), GARBAGE, event(3)])
    assert found == [(3, True)]
    assert reports == []


def test_garbage_without_a_free_number_takes_none():
    """No record loses its number to it."""
    found, reports, _ = numbered(0, [event(1), GARBAGE, event(2)])
    assert found == [(1, True), (2, True)]
    assert reports == [f"run {RUN}: {len(GARBAGE)} bytes between two records are no record: left out"]


def test_a_record_that_is_there_twice_is_taken_once():
    """A number never comes back."""
    found, reports, _ = numbered(0, [event(1), event(2), event(2), event(1), event(3)])
    assert found == [(1, True), (2, True), (3, True)]
    assert reports == [
        f"run {RUN}: record 2 follows record 2 in the log: it is left out",
        f"run {RUN}: record 1 follows record 2 in the log: it is left out",
    ]


def test_records_without_a_number_keep_their_place():
    """Prices belong between the records around them."""
    marks = msgspec.json.encode((0, "Marks", 1, 1, {"marks": []}))
    found, reports, _ = numbered(0, [event(1), marks, event(2)])
    assert found == [(1, True), (0, True), (2, True)]
    assert reports == []


def test_a_broken_end_is_named_and_ends_nothing():
    """The lock of the node says then that it is over."""
    broken = msgspec.json.encode((0, "End", 1, 1, {"last": 1}))
    _, reports, numbering = numbered(0, [event(1), broken])
    assert not numbering.has_ended
    assert len(reports) == 1
