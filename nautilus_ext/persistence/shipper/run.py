"""Ships one run: reads its log as it grows, hands batches over, deletes what is durable, sees when it is over."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from nautilus_ext.persistence.shipper.numbering import Numbering
from nautilus_ext.persistence.shipper.tail import Place, Tail

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from nautilus_ext.persistence.shipper.batches import Batches
    from nautilus_ext.persistence.shipper.numbering import Item
    from nautilus_ext.persistence.shipper.writing import Writer

COMMIT_INTERVAL_S = 0.02  # from the begin of one transaction to the begin of the next
IDLE_S_MIN, IDLE_S_MAX = 0.002, 0.02
LOOK_S = 0.1  # how often a shipper without work looks whether the node is gone
EPOCH_CHECK_S = 1.0  # how often a shipper without work asks whether the book is still its node's

type Moved = Callable[[int, int, Place, bool], None]  # shipped seq, known seq, where it is, whether it gets on


class RunShipper:
    """Ships the run of one folder over one connection; whoever has the folder's lock makes it."""

    def __init__(
        self, folder: Path, batches: Batches, writer: Writer, *, report: Callable[[str], None], moved: Moved
    ) -> None:
        self._batches = batches
        self._writer = writer
        self._moved = moved
        self._tail = Tail(folder, report)
        self._numbering = Numbering(batches.run, batches.durable_seq, report)
        self._sent = self._tail.place
        self._told_seq = batches.durable_seq
        self._looked_s = 0.0
        self._asked_s = time.monotonic()

    async def ship(self, may_begin_until_s: float = 0.0, give_up_s: float = float("inf")) -> bool:
        """Return when the run is over and durable; False when it goes on after `give_up_s`."""
        try:
            is_over = await self._follow(may_begin_until_s, give_up_s)
            if is_over:
                await self._send(self._numbering.finish())
                await self._batches.conclude(self._numbering.last_seq)
                await self._writer.mark_drained(self._batches.run)
                self._tell()
        finally:
            await self._batches.abandon()
        return is_over

    async def _follow(self, may_begin_until_s: float, give_up_s: float) -> bool:
        idle_s = IDLE_S_MIN
        while True:  # until the run is over, or patience is
            begin_s = time.monotonic()
            is_over = idle_s > IDLE_S_MIN and self._is_over(may_begin_until_s)
            items = await self._batches.beside(self._next)
            if items is not None:
                idle_s = IDLE_S_MIN
                await self._send(items)
                if not self._tail.has_more:
                    await self._land(begin_s)
            elif self._numbering.has_ended or (is_over and not self._tail.go_past_end()):
                return True
            elif begin_s > give_up_s:
                return False
            else:
                await self._idle(idle_s)
                idle_s = min(idle_s * 2, IDLE_S_MAX)

    def _next(self) -> list[Item] | None:
        payloads = self._tail.read()
        return self._numbering.take(payloads) if payloads else None

    async def _send(self, items: list[Item]) -> None:
        """Each batch waits for the one before; what that one had is then durable."""
        first = 0
        while first < len(items):
            end = first + self._batches.records_max
            await self._batches.ship(items[first:end], self._numbering.last_seq)
            self._let_go()
            first = end
        if items or not self._batches.is_flying:
            self._sent = self._tail.place

    async def _land(self, begin_s: float) -> None:
        """Nothing more is there: wait for the last batch, and let the next one gather."""
        await self._batches.land()
        self._let_go()
        await asyncio.sleep(max(0.0, begin_s + COMMIT_INTERVAL_S - time.monotonic()))

    @property
    def has_lost(self) -> bool:
        """Whether the log's end could not be read: how many records were there, nobody knows."""
        return self._tail.has_lost and not self._numbering.has_ended

    def delete_all(self) -> None:
        self._tail.delete_all()

    def _is_over(self, may_begin_until_s: float) -> bool:
        now_s = time.monotonic()
        if now_s - self._looked_s < LOOK_S or (not self._tail.place.segment and now_s < may_begin_until_s):
            return False
        self._looked_s = now_s
        return self._tail.is_over()

    def _let_go(self) -> None:
        self._tail.delete_before(self._sent)
        self._tell()

    async def _idle(self, idle_s: float) -> None:
        if time.monotonic() - self._asked_s > EPOCH_CHECK_S:
            await self._writer.check_epoch()
            self._asked_s = time.monotonic()
            self._tell()
        await asyncio.sleep(idle_s)

    def _tell(self) -> None:
        """A batch that is on its way proves nothing: it may come back."""
        durable_seq = self._batches.durable_seq
        gets_on = durable_seq > self._told_seq or not self._batches.is_flying
        self._told_seq = durable_seq
        self._moved(durable_seq, self._numbering.last_seq, self._sent, gets_on)
