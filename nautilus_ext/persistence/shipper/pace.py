"""How many records the database is given at once: half as many after a batch that took it too long. Pure."""

from __future__ import annotations

RECORDS_MAX = 5_000  # of one batch
RECORDS_MIN = 1  # while a single record is in time, the tables come on
GROW_AFTER = 20  # batches in time, then twice as many records are tried again


class Pace:
    """One for the life of a shipper: a connection that is made anew does not begin with what was too slow before."""

    def __init__(self) -> None:
        self.records_max = RECORDS_MAX
        self._in_time = 0

    def in_time(self) -> None:
        """Take note of a batch that was committed."""
        self._in_time += 1
        if self._in_time >= GROW_AFTER:
            self._in_time = 0
            self.records_max = min(RECORDS_MAX, self.records_max * 2)

    def too_slow(self, records: int) -> bool:
        """Take note of a batch that was not in time; answer whether fewer records can be tried."""
        self._in_time = 0
        self.records_max = max(RECORDS_MIN, records // 2)
        return records > RECORDS_MIN
