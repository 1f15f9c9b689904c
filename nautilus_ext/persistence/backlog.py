"""The way into the segments: in order, and through a disk that refuses for a while."""

from __future__ import annotations

import logging
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nautilus_ext.persistence.segments import SegmentWriter

PENDING_BYTES_MAX = 64_000_000
CHUNK_RECORDS = 512

log = logging.getLogger(__name__)


class Backlog:
    """Appends records; what the disk refuses waits in memory and is written first when it accepts again.

    Past PENDING_BYTES_MAX the newest are dropped: their numbers are missing in the log, and the audit says so.
    """

    def __init__(self, writer: SegmentWriter) -> None:
        self._writer = writer
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._refusal = ""
        self.dropped = 0

    @property
    def error(self) -> str:
        """Say what is wrong now and what was lost; empty when all is in the log."""
        lost = f"{self.dropped:,} records lost while the disk refused the log" if self.dropped else ""
        waiting = f"{self._refusal}: {len(self._waiting):,} records wait in memory" if self._waiting else ""
        return "; ".join(part for part in (waiting, lost) if part)

    def put(self, payload: bytes) -> None:
        """Write one record, or keep it."""
        if not self._waiting:
            try:
                self._writer.append(payload)
            except OSError as error:
                self._refused(error)
            else:
                return
        self._keep(payload)
        self.retry()

    def put_many(self, payloads: Sequence[bytes]) -> None:
        """Write records with one call, or keep them."""
        if not self._waiting:
            try:
                self._writer.append_many(payloads)
            except OSError as error:
                self._refused(error)
            else:
                return
        for payload in payloads:
            self._keep(payload)
        self.retry()

    def retry(self) -> None:
        """Write what waits, oldest first; the first record alone, so that a full disk costs one short call."""
        chunk = 1
        while self._waiting:
            payloads = list(islice(self._waiting, chunk))
            try:
                self._writer.append_many(payloads)
            except OSError as error:
                if chunk == 1:
                    self._refusal = _text(error)
                    return
                chunk = 1
                continue
            for payload in payloads:
                self._waiting.popleft()
                self._waiting_bytes -= len(payload)
            chunk = CHUNK_RECORDS
            if not self._waiting:
                log.warning("the log is written again: nothing waits in memory, %s records were lost", self.dropped)

    def _refused(self, error: OSError) -> None:
        self._refusal = _text(error)
        log.error("%s: events wait in memory, up to %s MB: free space", self._refusal, PENDING_BYTES_MAX // 1_000_000)

    def _keep(self, payload: bytes) -> None:
        if self._waiting_bytes + len(payload) > PENDING_BYTES_MAX:
            self.dropped += 1
            if self.dropped == 1:
                log.critical("%s: the memory for events is full: they are lost from now on", self._refusal)
            return
        self._waiting.append(payload)
        self._waiting_bytes += len(payload)


def _text(error: OSError) -> str:
    return f"the log cannot be written ({error.strerror or error})"
