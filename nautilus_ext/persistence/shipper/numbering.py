"""Payloads become numbered items: what is durable is skipped, gaps are found, the unreadable get their number. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from nautilus_ext.persistence.records import Record, decode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_SEQ = re.compile(rb"\[(\d{1,18}),")


class Item(NamedTuple):
    """A record as it stood in the log; `record` is None when it could not be read, and `error` says why."""

    seq: int
    payload: bytes
    record: Record | None
    error: str = ""


class _End(msgspec.Struct):
    last_seq: int


_end = msgspec.json.Decoder(_End)


class Numbering:
    """Follows the numbers of one run from `durable_seq` on; `last_seq` is the newest that is known to exist."""

    def __init__(self, run: int, durable_seq: int, report: Callable[[str], None]) -> None:
        self.last_seq = durable_seq
        self.has_ended = False
        self._run = run
        self._durable_seq = durable_seq
        self._report = report
        self._before: int | None = None  # the number that was met last, also when it is durable
        self._unnumbered: list[tuple[bytes, str]] = []  # unreadable ones, until the next number says which they had

    def take(self, payloads: Iterable[bytes]) -> list[Item]:
        """Return what is not durable yet, in the order of the log."""
        items: list[Item] = []
        for payload in payloads:
            try:
                record = decode(self._run, payload)
                last = None if record.seq or record.type != "End" else _end.decode(record.body).last_seq
            except Exception as error:  # noqa: BLE001 - whatever a broken record does, the next one is read
                self._take_unreadable(items, payload, f"{type(error).__name__}: {error}")
                continue
            seq = record[1]
            if last is not None:
                self._take_end(items, last)
            elif not seq:
                items.append(Item(0, payload, record))
            elif seq - 1 == self._before and seq > self._durable_seq and not self._unnumbered:  # nearly always
                self._before = self.last_seq = seq
                items.append(Item(seq, payload, record))
            else:
                self._take_numbered(items, Item(seq, payload, record))
        return items

    def finish(self) -> list[Item]:
        """Give numbers to what is left when nothing follows any more."""
        items: list[Item] = []
        self._place_unnumbered(items, (self._before or 0) + len(self._unnumbered))
        return items

    def _take_unreadable(self, items: list[Item], payload: bytes, error: str) -> None:
        found = _SEQ.match(payload)
        if found is None:
            self._unnumbered.append((payload, error))
        elif (seq := int(found[1])) > 0:
            self._take_numbered(items, Item(seq, payload, None, error))
        else:
            self._report(f"run {self._run}: a record without a number cannot be read ({error}): it is left out")

    def _take_numbered(self, items: list[Item], item: Item) -> None:
        seq, before = item.seq, self._before
        if before is not None and seq <= before:
            self._report(f"run {self._run}: record {seq} follows record {before} in the log: it is left out")
            return
        if self._unnumbered or seq != (self.last_seq if before is None else before) + 1:
            self._place_unnumbered(items, seq - 1)
            self._find_gap(seq)
        self._before = seq
        if seq > self._durable_seq:
            self.last_seq = seq
            items.append(item)

    def _place_unnumbered(self, items: list[Item], last: int) -> None:
        """Unreadable records have the numbers up to `last`; those for which none is free were no records of the run."""
        waiting, self._unnumbered = self._unnumbered, []
        first = last - len(waiting) + 1 if self._before is None else self._before + 1
        for place, (payload, error) in enumerate(waiting):
            seq = first + place
            if not 0 < seq <= last:
                self._report(f"run {self._run}: {len(payload):,} bytes between two records are no record: left out")
                continue
            self._before = seq
            if seq > self._durable_seq:
                self.last_seq = seq
                items.append(Item(seq, payload, None, error))

    def _find_gap(self, seq: int) -> None:
        known = max(self._durable_seq, self._before or 0)
        if seq > known + 1:
            self._report(f"run {self._run}: records {known + 1} to {seq - 1} are missing in the log")

    def _take_end(self, items: list[Item], last: int) -> None:
        self._place_unnumbered(items, max(last, self.last_seq))
        self._find_gap(last + 1)
        self.last_seq = max(self.last_seq, last)
        self.has_ended = True
