"""The log of a run as its writer sees it: numbers, encodes, and gets through a disk that refuses for a while."""

from __future__ import annotations

import logging
import time
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Any

from nautilus_ext.errors import SuiteError
from nautilus_ext.persistence.encode import Encoder
from nautilus_ext.persistence.segments import is_numbered, number_of

if TYPE_CHECKING:
    from nautilus_ext.persistence.segments import SegmentWriter

BATCH_RECORDS = 512
PENDING_BYTES_MAX = 64_000_000
# Nautilus changes these after it published them: an account its balances, the backtest's exchange the quantity that it
# told of a leg. They do not wait in a batch.
CHANGED_LATER = frozenset({"AccountState", "OrderUpdated"})
END_S_MAX = 1.0  # how long the end waits for a disk that refuses
END_POLL_S = 0.02

log = logging.getLogger(__name__)


class RunLog:
    """Numbers records without a gap and appends them, from construction to `end`. Not for two threads at once.

    What the disk refuses waits in memory and is written first when it accepts again. Past PENDING_BYTES_MAX the newest
    are dropped, until nothing waits: an event is never there without the verdict before it that allowed or denied it.
    Their numbers are missing in the log, and the audit says so.
    """

    def __init__(self, writer: SegmentWriter, *, is_batch: bool) -> None:
        self._writer = writer
        self._is_batch = is_batch
        self._is_open = True
        self._encoder = Encoder()
        self._batch: list[bytes | tuple[int, Any]] = []  # encoded, or number and event
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._is_full = False
        self._refusal = ""
        self._failure = ""
        self.failures = 0
        self.dropped = 0
        self.seq = 0

    @property
    def error(self) -> str:
        """Say what is wrong now and what was lost; empty when all is in the log."""
        lost = f"{self.dropped:,} records lost while the disk refused the log" if self.dropped else ""
        waiting = f"{self._refusal}: {len(self._waiting):,} records wait in memory" if self._waiting else ""
        failed = f"{self.failures:,} events not written: {self._failure}" if self.failures else ""
        return "; ".join(part for part in (waiting, lost, failed) if part)

    @property
    def waiting_bytes(self) -> int:
        """What the disk refuses and memory holds."""
        return self._waiting_bytes

    @property
    def written_seq(self) -> int:
        """The number up to which all is in the file that was not dropped; not for a batch."""
        first = next((payload for payload in self._waiting if is_numbered(payload)), None)
        return self.seq if first is None else number_of(first) - 1

    def take_unsynced(self) -> list[int]:
        """See `SegmentWriter.take_unsynced`."""
        return self._writer.take_unsynced()

    def fail(self, error: Exception) -> None:
        """Count an event that did not become a record."""
        self.failures += 1
        if self.failures == 1:
            self._failure = f"{type(error).__name__}: {error}"
            log.error("an event could not be written to the log; further ones are only counted", exc_info=error)

    def event(self, event: Any) -> None:
        """Append an event. In a batch it is encoded with the others: half the time, the caches are warm."""
        self.seq = seq = self._next()
        if self._is_batch and type(event).__name__ not in CHANGED_LATER:
            self._batch.append((seq, event))
            if len(self._batch) >= BATCH_RECORDS:
                self.flush()
        else:
            self._put(self._encoder.event(seq, event))

    def record(self, name: str, ts_ns: int, body: Any) -> None:
        """Append a numbered record of our own: an instrument, a decision."""
        self.seq = seq = self._next()
        self._put(self._encoder.record(seq, name, ts_ns, body))

    def note(self, name: str, ts_ns: int, body: Any) -> None:
        """Append a record that is no part of the history: it has no number."""
        self._put(self._encoder.record(0, name, ts_ns, body))

    def end(self, ts_ns: int, *, clean: bool) -> int:
        """Write the end, say what is not whole, give the log back; return how many records never reached it.

        A disk that refuses gets another moment. A second call writes nothing.
        """
        if self._is_open:
            until_s = time.monotonic() + END_S_MAX
            self.flush()
            self._insist(until_s)
            self.note("End", ts_ns, {"last_seq": self.seq, "clean": clean and not self.error})
            self.flush()
            self._insist(until_s)
            if self.error:
                log.error("the log of this run is not whole: %s", self.error)
            self._is_open = False
            self._writer.close()
        return self.dropped + self.failures + sum(map(is_numbered, self._waiting))

    def _insist(self, until_s: float) -> None:
        self.retry()
        while self._waiting and time.monotonic() < until_s:
            time.sleep(END_POLL_S)
            self.retry()

    def renew(self) -> bool:
        """Begin the next segment when the file of this one was deleted; answer whether it was."""
        if not self._writer.is_gone:
            return False
        self._writer.begin_next()
        return True

    def flush(self) -> None:
        """Write the batch with one call."""
        batch, self._batch = self._batch, []
        payloads = self._encoded(batch)
        self.retry()
        if not self._waiting:
            try:
                self._writer.append_many(payloads)
            except OSError as error:
                self._refused(error)
            else:
                return
        for payload in payloads:
            self._keep(payload)

    def retry(self) -> None:
        """Write what waits, oldest first; the first record alone, so that a full disk costs one short call."""
        chunk = 1
        while self._waiting:
            payloads = list(islice(self._waiting, chunk))
            try:
                self._writer.append_many(payloads)
            except OSError as error:
                self._refusal = _text(error)
                if chunk == 1:
                    return
                chunk = 1
                continue
            for payload in payloads:
                self._waiting.popleft()
                self._waiting_bytes -= len(payload)
            chunk = BATCH_RECORDS
            if not self._waiting:
                self._is_full = False
                log.warning("the log is written again: nothing waits in memory, %s records were lost", self.dropped)

    def _next(self) -> int:
        if not self._is_open:
            raise SuiteError("an event came after the end of the run was written")
        return self.seq + 1

    def _encoded(self, batch: list[bytes | tuple[int, Any]]) -> list[bytes]:
        payloads, encode = [], self._encoder.event
        for item in batch:
            try:
                payloads.append(item if type(item) is bytes else encode(*item))
            except Exception as e:  # noqa: BLE001 - one costs no other
                self.fail(e)
        return payloads

    def _put(self, payload: bytes) -> None:
        if self._is_batch:
            self._batch.append(payload)
            if len(self._batch) >= BATCH_RECORDS:
                self.flush()
            return
        if self._waiting:
            self.retry()
        if not self._waiting:
            try:
                self._writer.append(payload)
            except OSError as error:
                self._refused(error)
            else:
                return
        self._keep(payload)

    def _refused(self, error: OSError) -> None:
        self._refusal = _text(error)
        log.error("%s: events wait in memory, up to %s MB: free space", self._refusal, PENDING_BYTES_MAX // 1_000_000)

    def _keep(self, payload: bytes) -> None:
        is_too_much = self._waiting_bytes + len(payload) > PENDING_BYTES_MAX
        self._is_full = self._is_full or is_too_much
        if is_too_much or (self._is_full and is_numbered(payload)):  # the end still finds room
            self.dropped += 1
            if self.dropped == 1:
                log.critical("%s: the memory for events is full: they are lost from now on", self._refusal)
            return
        self._waiting.append(payload)
        self._waiting_bytes += len(payload)


def _text(error: OSError) -> str:
    return f"the log cannot be written ({error.strerror or error})"
