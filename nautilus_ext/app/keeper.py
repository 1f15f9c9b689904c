"""The thread that keeps a book: takes its lock, watches it, regains it and gives it back.

The lock says who may start, the epoch says who may write: whoever takes the book raises its epoch, so a node that
comes back from an outage or a pause finds out. The lock comes first and the epoch is read afterwards, never reversed.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from nautilus_ext.errors import BookError, BookLost, BookTaken, DatabaseError, SuiteError
from nautilus_ext.schema import books
from nautilus_ext.schema.connect import (
    CLOSE_S_MAX,
    CONNECTION_ERRORS,
    NO_LONG_TRANSACTION,
    connect,
    database_error,
)
from nautilus_ext.schema.upgrade import require_current

if TYPE_CHECKING:
    import asyncpg

log = logging.getLogger(__name__)

Url = str | Callable[[], str]

# A killed node's lock goes as soon as the server sees its socket close.
TAKE_WAIT_S_MAX = 3.0
# Long enough for a newcomer to raise the epoch, so that the loser can name it.
REGAIN_WAIT_S_MAX = 5.0
LOCK_RETRY_S = 0.1
BACKOFF_S_MIN, BACKOFF_S_MAX = 0.1, 2.0
# An answer that takes longer than this many heartbeats means a broken connection.
ANSWER_BEATS, ANSWER_S_MIN = 2.5, 1.0
# A session from which nothing came for so long is ended by the server: a node that is stopped does not keep its book.
IDLE_BEATS, IDLE_S_MIN = 7.5, 15.0
CONFIRM_S_MAX = 3.0
# Rows of the end are tried for this long; a release waits a little longer for the thread itself.
END_S_MAX, JOIN_S_MAX = 1.5, 2.0
SESSIONS_REMEMBERED = 8


@dataclass(frozen=True)
class HoldState:
    """What the display shows about the book."""

    word: Literal["held", "database away", "lost", "released"]
    detail: str = ""
    since_s: float = field(default_factory=time.monotonic)

    @property
    def age_s(self) -> float:
        return time.monotonic() - self.since_s

    def __str__(self) -> str:
        return self.word


class Keeper:
    """Keeps one book for one node; `begin`, `tell` and `end` are for the node, the rest runs in the thread."""

    def __init__(
        self,
        url: Url,
        claim: books.Claim,
        *,
        connect_timeout_s: float,
        heartbeat_s: float,
        on_lost: Callable[[str], None],
    ) -> None:
        self.claim = claim
        self.state = HoldState("database away", "starting")
        self._url = url
        self._shown_url = ""
        self._connect_timeout_s = connect_timeout_s
        self._heartbeat_s = heartbeat_s
        self._answer_timeout_s = max(heartbeat_s * ANSWER_BEATS, ANSWER_S_MIN)
        self._idle_s = max(heartbeat_s * IDLE_BEATS, IDLE_S_MIN)
        self._on_lost = on_lost
        self._status: books.Status = "starting"
        self._ending: books.End | None = None
        self._recorded = False
        self._sessions: deque[books.Session] = deque(maxlen=SESSIONS_REMEMBERED)
        self._asked = 0  # the last question of `confirm`
        self._answered = 0  # the last one that a beat has answered which began after it
        self._answer_came = threading.Event()
        self._started: Future[books.Start] = Future()
        self._loop = asyncio.SelectorEventLoop()
        self._wake = asyncio.Event()
        self._patience = asyncio.Timeout(None)
        self._thread = threading.Thread(target=self._run, name=f"book {claim.book_id}", daemon=True)

    # -- for the node, from any thread

    def begin(self) -> books.Start:
        """Start the thread and wait until it has the book, or raise what kept it from that."""
        self._thread.start()
        bound_s = self._connect_timeout_s + TAKE_WAIT_S_MAX + 4 * self._answer_timeout_s
        try:
            return self._started.result(timeout=bound_s)
        except FutureTimeoutError:
            raise DatabaseError(f"book {self.claim.book_id}: no answer from the database in {bound_s:g} s") from None
        finally:
            if not self._started.done() or self._started.exception() is not None:
                self.end(books.End(clean=False, exit_code=1))

    def tell(self, status: books.Status) -> None:
        """Have the next beat say what the node does, and make it come now."""
        self._status = status
        self._call(self._wake.set)

    def confirm(self) -> bool:
        """Wait for the answer to a beat that begins from now on. It logs nothing: a signal handler may call it."""
        self._asked = asked = self._asked + 1
        self._call(self._wake.set)
        until_s = time.monotonic() + CONFIRM_S_MAX
        while self._answered < asked and self._ending is None:
            self._answer_came.wait(max(0.0, until_s - time.monotonic()))
            self._answer_came.clear()
            if time.monotonic() > until_s:
                break
        return self._answered >= asked

    def end(self, end: books.End) -> bool:
        """End the thread within JOIN_S_MAX; say whether the end is in the database."""
        if self._ending is None:
            self._ending = end
            self._call(self._hurry)
        if threading.current_thread() is not self._thread:
            self._thread.join(JOIN_S_MAX)
        return self._recorded

    def _call(self, action: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # the loop is closed: there is nobody left to tell
            self._loop.call_soon_threadsafe(action)

    # -- the life of the thread

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._live())

    async def _live(self) -> None:
        try:
            connection, start = await self._take()
        except BaseException as error:  # noqa: BLE001 - it is raised again in the thread that waits for the book
            self._started.set_exception(error)
            return
        self.state = HoldState("held")
        self._started.set_result(start)
        try:
            async with self._patience:
                await self._keep(connection, start)
            self.state = HoldState("released")
        except TimeoutError:
            self.state = HoldState("released", "the database was away")
            log.warning("book %s: its end could not be recorded, the database is away", self.claim.book_id)
        except BookLost as lost:
            self._lose(str(lost))
        except Exception as error:
            log.exception("book %s: the watch over it failed", self.claim.book_id)
            self._lose(f"the watch over book {self.claim.book_id} failed ({type(error).__name__}): see the log")

    def _hurry(self) -> None:
        """Grant the end END_S_MAX, whatever the thread waits for just now."""
        self._wake.set()
        with suppress(RuntimeError):  # before and after the watch there is nothing to cut short
            self._patience.reschedule(self._loop.time() + END_S_MAX)

    def _lose(self, reason: str) -> None:
        self.state = HoldState("lost", reason)
        if self._ending is not None:
            return
        log.error("%s", reason)
        try:
            self._on_lost(reason)
        except Exception:
            log.exception("book %s: what should stop the node failed", self.claim.book_id)

    # -- taking the book

    async def _take(self) -> tuple[asyncpg.Connection, books.Start]:
        connection = await self._open()
        try:
            await require_current(connection)
            await self._lock_or_refuse(connection)
            return connection, await books.start_run(connection, self.claim)
        except Exception as error:  # noqa: BLE001 - what is not the database's comes out as it went in
            connection.terminate()
            raise start_error(error, self._shown_url, self.claim) from None

    async def _lock_or_refuse(self, connection: asyncpg.Connection) -> None:
        give_up_s = self._loop.time() + TAKE_WAIT_S_MAX
        while not await books.try_lock(connection, self.claim.book_id):
            if self._loop.time() > give_up_s:
                raise BookTaken(
                    f"book {self.claim.book_id} is traded by another node: {await self._name_holder(connection)}. "
                    "Stop that node first, or start this one under another book (--book NAME)."
                )
            await asyncio.sleep(LOCK_RETRY_S)

    async def _name_holder(self, connection: asyncpg.Connection) -> str:
        holder = await books.last_holder(connection, self.claim.book_id)
        if holder is None:
            return "a session that has not said who it is yet"
        return (
            f"pid {holder.pid} on host {holder.host} (instance {holder.instance_id}, run {holder.run}, "
            f"{holder.status}, started {holder.started_at:%Y-%m-%d %H:%M:%S} UTC, "
            f"last heartbeat {max(holder.heartbeat_age.total_seconds(), 0):.1f} s ago)"
        )

    async def _open(self) -> asyncpg.Connection:
        url = self._shown_url = self._ask_address()
        connection = await connect(
            url,
            timeout_s=self._connect_timeout_s,
            answer_timeout_s=self._answer_timeout_s,
            application_name=f"exec-suite {self.claim.book_id}",
            server_settings={"idle_session_timeout": str(round(self._idle_s * 1_000)), **NO_LONG_TRANSACTION},
        )
        try:
            self._sessions.append(await books.own_session(connection))
        except BaseException as error:  # noqa: BLE001 - what is not the database's comes out as it went in
            connection.terminate()
            raise start_error(error, url, self.claim) from None
        return connection

    def _ask_address(self) -> str:
        if isinstance(self._url, str):
            return self._url
        try:
            return self._url()
        except (OSError, SuiteError) as error:
            raise DatabaseError(f"the address of the database is not known: {error}") from None

    # -- keeping it

    async def _keep(self, connection: asyncpg.Connection, start: books.Start) -> None:
        try:
            while (broken := await self._beat(connection, start)) is not None:
                connection.terminate()
                self.state = HoldState("database away", broken)
                log.warning("book %s: %s; the node goes on and reconnects", self.claim.book_id, broken)
                connection = await self._regain(start)
                self.state = HoldState("held")
                log.info("book %s: held again", self.claim.book_id)
            await self._give_back(connection, start)
        finally:
            connection.terminate()

    async def _beat(self, connection: asyncpg.Connection, start: books.Start) -> str | None:
        """Beat until asked to end (None) or until the connection breaks (why)."""
        connection.add_termination_listener(lambda _: self._wake.set())
        while self._ending is None:
            try:
                await self._beat_once(connection, start)
            except CONNECTION_ERRORS as error:
                return error_text(error, self._shown_url)
            await self._pause(self._heartbeat_s)
        return None

    async def _beat_once(self, connection: asyncpg.Connection, start: books.Start) -> None:
        asked = self._asked
        epoch = await books.beat(connection, self.claim, start.epoch, self._status)
        await self._require_epoch(connection, epoch, start)
        self._answered = asked
        self._answer_came.set()

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        self._wake.clear()

    async def _require_epoch(self, connection: asyncpg.Connection, epoch: int | None, start: books.Start) -> None:
        if epoch == start.epoch:
            return
        if epoch is None:
            raise BookLost(f"book {self.claim.book_id} is gone from the database: this node must stop")
        raise BookLost(
            f"book {self.claim.book_id} is traded by another node now (epoch {epoch}, ours was {start.epoch}): "
            f"{await self._name_holder(connection)}; this node must stop"
        )

    async def _regain(self, start: books.Start) -> asyncpg.Connection:
        delay_s = BACKOFF_S_MIN
        while True:  # for as long as the node lives; `end` cuts it short
            try:
                return await self._retake(start)
            except CONNECTION_ERRORS as error:
                self.state = HoldState("database away", error_text(error, self._shown_url), self.state.since_s)
            await self._pause(delay_s)
            delay_s = min(delay_s * 2, BACKOFF_S_MAX)

    async def _retake(self, start: books.Start) -> asyncpg.Connection:
        """Open a new session and get the lock back, if nobody has raised the epoch meanwhile."""
        former = tuple(self._sessions)
        connection = await self._open()
        try:
            for session in former:
                await books.end_session(connection, session)
            await self._lock_again(connection, start, former)
            # A beat, not a look: a read-only standby must not count as regained.
            await self._beat_once(connection, start)
        except BaseException:
            connection.terminate()
            raise
        return connection

    async def _lock_again(
        self, connection: asyncpg.Connection, start: books.Start, former: tuple[books.Session, ...]
    ) -> None:
        give_up_s = self._loop.time() + REGAIN_WAIT_S_MAX
        while not await books.try_lock(connection, self.claim.book_id):
            epoch = await books.epoch_of(connection, self.claim.book_id)
            await self._require_epoch(connection, epoch, start)
            if self._loop.time() > give_up_s:
                self._judge_owner(await books.lock_owner(connection, self.claim.book_id), former)
            await asyncio.sleep(LOCK_RETRY_S)

    def _judge_owner(self, owner: books.Session | None, former: tuple[books.Session, ...]) -> None:
        """A former session of our own shuts everybody else out as well, so the book is not lost to it."""
        if owner in former:
            raise DatabaseError("the server has not ended this node's former session yet, which has the lock")
        if owner is not None:
            raise BookLost(
                f"book {self.claim.book_id}: server process {owner.pid} has its lock and is none of this node's: "
                "this node must stop"
            )

    # -- giving it back

    async def _give_back(self, connection: asyncpg.Connection, start: books.Start) -> None:
        assert self._ending is not None, "the watch ends only when it is asked to"
        try:
            await books.end_run(connection, self.claim, start.run, self._ending)
            self._recorded = True
            await connection.close(timeout=CLOSE_S_MAX)
        except CONNECTION_ERRORS as error:
            log.warning("book %s: %s", self.claim.book_id, error_text(error, self._shown_url))


def error_text(error: BaseException, url: str) -> str:
    """One line for any error of a connection."""
    return str(error if isinstance(error, SuiteError) else database_error(error, url))


def start_error(error: BaseException, url: str, claim: books.Claim) -> BaseException:
    """What the operator is told when a book could not be started; what is not the database's goes through as it is."""
    if isinstance(error, books.OtherOwner):
        return BookError(
            f"book {claim.book_id} belongs to {error}, not to trader {claim.trader_id} ({claim.environment}): "
            "choose another book (--book NAME)"
        )
    if isinstance(error, CONNECTION_ERRORS) and not isinstance(error, SuiteError):
        return database_error(error, url)
    return error
