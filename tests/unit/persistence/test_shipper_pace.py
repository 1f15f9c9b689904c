"""The size of a batch follows what the database takes in time."""

from __future__ import annotations

from nautilus_ext.persistence.shipper.pace import GROW_AFTER, RECORDS_MAX, Pace


def test_it_halves_down_to_one_record_and_says_when_nothing_is_left_to_try() -> None:
    """Half of the batch that was too slow, whatever was allowed; below one there is nothing."""
    pace, tried = Pace(), [RECORDS_MAX]
    while pace.too_slow(tried[-1]):
        tried.append(pace.records_max)
    assert [5_000, 2_500, 1_250, 625, 312, 156, 78, 39, 19, 9, 4, 2, 1] == tried
    assert pace.records_max == 1


def test_it_grows_only_after_so_many_batches_in_a_row() -> None:
    """A batch that was too slow begins the count anew; the bound is never passed."""
    pace = Pace()
    pace.too_slow(8)
    for _ in range(GROW_AFTER - 1):
        pace.in_time()
    pace.too_slow(4)
    for _ in range(GROW_AFTER - 1):
        pace.in_time()
    assert pace.records_max == 2
    pace.in_time()
    assert pace.records_max == 4
    for _ in range(GROW_AFTER * 20):
        pace.in_time()
    assert pace.records_max == RECORDS_MAX
