"""The process of the shipper: `python -m nautilus_ext.persistence.shipper`, its order as one JSON line on stdin.

It ships what older runs of the book left, then its own run until that is over and durable. One per run: the holder of
the lock in the run's folder. An outage of the database is a shipper that is behind; nothing else in it changes.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import time
import traceback
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from asyncpg import QueryCanceledError

from nautilus_ext.embedded import EmbeddedPostgres
from nautilus_ext.errors import BookLost, DatabaseError, MachineError, ProjectionDefect, SuiteError
from nautilus_ext.persistence.ledger import Ledger
from nautilus_ext.persistence.segments import (
    NODE_LOCK,
    SHIPPER_LOCK,
    is_locked,
    life_of,
    move_aside,
    run_folder,
    runs,
    take_lock,
)
from nautilus_ext.persistence.shipper.batches import Batches
from nautilus_ext.persistence.shipper.pace import Pace
from nautilus_ext.persistence.shipper.run import RunShipper
from nautilus_ext.persistence.shipper.state import LOG_FILE, ORDER_BYTES_MAX, ShipperOrder, make_private
from nautilus_ext.persistence.shipper.status import PULSE_S, Status
from nautilus_ext.persistence.shipper.writing import Writer
from nautilus_ext.schema.connect import CONNECTION_ERRORS, database_error

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from nautilus_ext.persistence.shipper.tail import Place

BACKOFF_S_MIN, BACKOFF_S_MAX = 0.1, 2.0
ORPHAN_S_MAX = 600.0  # how long the database may be away when the node is gone; the next start ships the rest
OLDER_S_MAX = 10.0  # how long an older run that is not over may keep us from our own
OLDER_POLL_S = 0.2
GARBAGE_THRESHOLD = 200_000  # rows are no cycles: looking for them in each batch costs a tenth of it
SWITCH_INTERVAL_S = 0.0005  # what the database answers is taken up while a batch is computed beside it
CURE = "no event is lost, all wait in the local log; install a cured version, and the next shipper goes on"
BEGIN_S_MAX = 10.0  # how long the node may take to begin its log


class Shipper:
    """Ships one book under one epoch until the run of its order is over and durable."""

    def __init__(self, order: ShipperOrder, status: Status) -> None:
        self._order = order
        self._status = status
        self._folder = run_folder(order.journal_folder, order.run)
        self._server: EmbeddedPostgres | None = None
        self._url = order.url or ""
        self._begin_until_s = time.monotonic() + BEGIN_S_MAX
        self._moves = 0
        self._pace = Pace()

    async def run(self) -> None:
        """Return when all is durable; BookLost when another node has the book, DatabaseError after ORPHAN_S_MAX."""
        pulse = asyncio.create_task(self._beat())
        try:
            await self._insist()
        finally:
            pulse.cancel()

    async def _beat(self) -> None:
        """Say each second that this process lives, also while a statement hangs: the node tells both apart."""
        while True:  # until it is cancelled
            await asyncio.sleep(PULSE_S)
            if self._status.is_due(PULSE_S):
                self._status.write()

    async def _insist(self) -> None:
        delay_s, away_since_s, moves = BACKOFF_S_MIN, time.monotonic(), 0
        while True:  # for as long as the node lives
            try:
                async with self._connected() as writer:
                    await self._ship_all(writer)
            except BookLost:
                raise
            except (*CONNECTION_ERRORS, MachineError) as error:
                if self._moves != moves:
                    delay_s, away_since_s, moves = BACKOFF_S_MIN, time.monotonic(), self._moves
                outage = self._text(error)
            else:
                return
            self._status.enter("waiting for the database", outage)
            if time.monotonic() - away_since_s > ORPHAN_S_MAX and not is_locked(self._folder / NODE_LOCK):
                raise DatabaseError(f"{outage}: the node is gone, the rest stays in {self._folder} for its next start")
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 2, BACKOFF_S_MAX)

    def close(self) -> None:
        """Let go of the embedded server."""
        if self._server is not None:
            self._server.close()

    def _text(self, error: BaseException) -> str:
        return str(error if isinstance(error, SuiteError) else database_error(error, self._url))

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[Writer]:
        self._url = await self._address()
        writer = await Writer.open(self._url, self._order)
        try:
            yield writer
        except BaseException:
            writer.terminate()
            raise
        await writer.close()

    async def _address(self) -> str:
        """Where the database is: the server of a folder is started again if nobody else did."""
        order = self._order
        if order.embedded_folder is None:
            return order.url or ""
        if self._server is None:
            self._server = await asyncio.to_thread(
                EmbeddedPostgres.join, Path(order.embedded_folder), port=order.embedded_port
            )
        else:
            await asyncio.to_thread(self._server.ensure_running)
        return self._server.app_url

    async def drain(self, patience_s: float) -> list[int]:
        """Ship only what former starts of the book left; return the runs whose rest is still in their logs."""
        async with self._connected() as writer:
            older = await self._older(writer)
            return [run for run, folder in older if not await self._ship_older(writer, run, folder, patience_s)]

    async def _ship_all(self, writer: Writer) -> None:
        older = await self._older(writer)
        self._status.enter("shipping")
        left = [each for each in older if not await self._ship_older(writer, *each, OLDER_S_MAX)]
        await self._ship_own(writer)
        for each in left:
            await self._ship_older(writer, *each, 0.0)

    async def _older(self, writer: Writer) -> list[tuple[int, Path]]:
        await writer.check_epoch()
        ours = [each for each in runs(self._order.journal_folder) if await self._is_ours(writer, *each)]
        return [(run, folder) for run, folder in ours if run < self._order.run]

    async def _is_ours(self, writer: Writer, run: int, folder: Path) -> bool:
        """Tell whether this database started the run; the log of another one's is set aside, and never shipped."""
        progress, life = await writer.progress(run), life_of(folder)
        if progress is None and run == self._order.run:
            return True  # whoever ships it says what is wrong
        if progress is not None and life in (None, progress.life):
            return True
        self._set_aside(run, folder)
        return False

    def _set_aside(self, run: int, folder: Path) -> None:
        is_own = run == self._order.run
        lock = take_lock(folder / NODE_LOCK)
        if lock is None:
            text = f"{folder} is the log of a living node on another database"
            if is_own:
                raise BookLost(f"{text}: this shipper has nothing to do here")
            self._status.report(f"{text}: it is left as it is")
            return
        try:
            kept = move_aside(folder)
        except OSError as error:
            self._status.report(f"{folder} is of another database and cannot be renamed ({error.strerror})")
            return
        finally:
            os.close(lock)
        if is_own:
            make_private(folder)
            take_lock(folder / SHIPPER_LOCK, wait_s=0)  # for the life of the process; the progress decides without it
        self._status.report(f"run {run} in {folder} is of another database: it is kept as {kept.name}, and not shipped")

    async def _ship_own(self, writer: Writer) -> None:
        run = self._order.run
        progress = await writer.progress(run)
        if progress is None:
            raise DatabaseError(
                f"the database does not know run {run} of book {self._order.book_id}: is it another one?"
            )
        self._status.resume(shipped_seq=progress.durable_seq, rejected=progress.rejected)
        batches = self._batches(writer, run, progress.durable_seq)
        shipper = RunShipper(self._folder, batches, writer, report=self._status.report, moved=self._move)
        await shipper.ship(may_begin_until_s=self._begin_until_s)
        await self._count_missing(writer, run, at_least=int(shipper.has_lost))

    async def _count_missing(self, writer: Writer, run: int, at_least: int) -> None:
        try:
            missing = await writer.missing(run)
        except QueryCanceledError:
            self._status.report(f"run {run}: to count its events takes longer than statement_timeout_s: not counted")
            missing = 0
        self._status.miss(max(missing, at_least))
        if missing:
            self._status.report(f"run {run}: {missing:,} records are missing in the log, journal and rejected_events")

    def _batches(self, writer: Writer, run: int, durable_seq: int) -> Batches:
        """Each run begins with an empty ledger, and loads what it needs."""
        book_id = self._order.book_id
        ledger = Ledger(book_id)
        return Batches(writer, ledger, self._status, self._pace, book_id=book_id, run=run, durable_seq=durable_seq)

    def _move(self, shipped_seq: int, known_seq: int, place: Place, gets_on: bool) -> None:  # noqa: FBT001 - see Moved
        self._moves += gets_on
        self._status.move(shipped_seq, known_seq, place)
        if self._status.is_due():
            self._status.write()

    async def _ship_older(self, writer: Writer, run: int, folder: Path, patience_s: float) -> bool:
        """Ship what a former start left, and delete its folder; False when another process is still at it."""
        give_up_s = time.monotonic() + patience_s
        lock = await self._older_lock(writer, folder / SHIPPER_LOCK, give_up_s)
        if lock is None:
            return False
        try:
            return await self._ship_locked(writer, run, folder, give_up_s)
        finally:
            os.close(lock)

    async def _older_lock(self, writer: Writer, path: Path, give_up_s: float) -> int | None:
        """Its own shipper ends when it sees that it is fenced; we give up when we are."""
        while (lock := take_lock(path, wait_s=0)) is None and time.monotonic() < give_up_s:
            await writer.check_epoch()
            await asyncio.sleep(OLDER_POLL_S)
        return lock

    async def _ship_locked(self, writer: Writer, run: int, folder: Path, give_up_s: float) -> bool:
        progress = await writer.progress(run)
        if progress is None:
            self._status.report(f"the database does not know run {run}: {folder} is left as it is")
            return True
        batches = self._batches(writer, run, progress.durable_seq)
        shipper = RunShipper(folder, batches, writer, report=self._status.report, moved=self._move_older)
        if not await shipper.ship(give_up_s=give_up_s):
            return False
        shipper.delete_all()
        self._status.say(f"run {run} is durable up to {batches.durable_seq:,}: its folder is deleted")
        return True

    def _move_older(self, _shipped_seq: int, _known_seq: int, _place: Place, gets_on: bool) -> None:  # noqa: FBT001 - see Moved
        self._moves += gets_on
        if self._status.is_due(PULSE_S):
            self._status.write()


def main() -> int:
    """Read the order, take the run's lock, ship; the log and the state say how it went."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    gc.freeze()
    gc.set_threshold(GARBAGE_THRESHOLD)
    try:
        order = msgspec.json.decode(sys.stdin.buffer.readline(ORDER_BYTES_MAX), type=ShipperOrder)
    except msgspec.MsgspecError as error:
        sys.stderr.write(f"usage: python -m nautilus_ext.persistence.shipper < ORDER.json ({error})\n")
        return 2
    folder = run_folder(order.journal_folder, order.run)
    make_private(folder)
    lock = take_lock(folder / SHIPPER_LOCK)
    if lock is None:
        return 0  # another shipper of this run is at work
    return _ship(order, Status(folder, order.run))


def _ship(order: ShipperOrder, status: Status) -> int:
    shipper = Shipper(order, status)
    try:
        asyncio.run(shipper.run())
    except BookLost as error:
        status.enter("fenced", str(error))
        return error.exit_code
    except ProjectionDefect as error:
        status.enter("failed", f"{error}: {CURE}")
        traceback.print_exception(error.__cause__ or error, chain=False)
        return error.exit_code
    except SuiteError as error:
        status.enter("waiting for the database", str(error))
        return error.exit_code
    except Exception as error:  # noqa: BLE001 - the log names what nobody foresaw; whoever started us starts another one
        status.enter("failed", f"the shipper failed ({type(error).__name__}, see {LOG_FILE}): {CURE}")
        traceback.print_exception(error)
        return 1
    else:
        status.enter("ended")
        return 0
    finally:
        shipper.close()
