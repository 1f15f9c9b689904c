"""The thread that takes alerts out of the node: into their table and to a webhook. Nothing of it holds the node up."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from nautilus_ext.errors import BookLost, SuiteError
from nautilus_ext.risk.webhook import NotTaken, post
from nautilus_ext.schema.alerts import Told, insert
from nautilus_ext.schema.connect import CONNECTION_ERRORS, NO_LONG_TRANSACTION, connect, database_error
from nautilus_ext.schema.upgrade import require_current

if TYPE_CHECKING:
    from collections.abc import Callable

    import asyncpg

    from nautilus_ext.config.alerts import Webhook
    from nautilus_ext.schema.alerts import Teller

WAITING_MAX = 1_000  # alerts for each of the two ways; past it the oldest is dropped, and counted
ROWS_AT_ONCE = 100
PAUSE_S_MIN, PAUSE_S_MAX = 0.2, 5.0  # between two attempts
DRAIN_S_MAX, JOIN_S_MAX = 1.0, 0.5  # at the end

log = logging.getLogger(__name__)


class Way:
    """What waits to go one way, the oldest first."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.waiting: deque[Told] = deque()
        self.dropped = 0
        self.wake = asyncio.Event()

    def add(self, told: Told) -> None:
        self.waiting.append(told)
        if len(self.waiting) > WAITING_MAX:
            self.waiting.popleft()
            self.dropped += 1
            if self.dropped == 1:
                log.error("more than %s alerts wait for %s: the oldest are dropped", f"{WAITING_MAX:,}", self.name)
        self.wake.set()


class Telling:
    """From `start` to `close`; `tell` returns at once, from any thread."""

    def __init__(
        self, url: Callable[[], str], teller: Teller, *, webhook: Webhook | None, connect_timeout_s: float
    ) -> None:
        self._url = url
        self._teller = teller
        self._webhook = webhook
        self._connect_timeout_s = connect_timeout_s
        self._rows = Way("the table")
        self._posts = Way("the webhook")
        self._loop = asyncio.SelectorEventLoop()
        self._thread = threading.Thread(target=self._run, name=f"alerts {teller.book_id}", daemon=True)
        self._tasks: list[asyncio.Task[None]] = []
        self._is_closing = False
        self._shown_url = ""

    def start(self) -> None:
        self._thread.start()

    def tell(self, told: Told) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody tells it any more
            self._loop.call_soon_threadsafe(self._take, told)

    def end(self) -> None:
        """Tell what waits, for DRAIN_S_MAX at most."""
        if not self._is_closing:
            self._is_closing = True
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._hurry)

    def close(self) -> int:
        """Wait for that; count what was not told in every way."""
        self.end()
        self._thread.join(DRAIN_S_MAX + JOIN_S_MAX)
        ways = (self._rows, self._posts)
        return sum(len(way.waiting) + way.dropped for way in ways)

    # -- in the thread

    def _take(self, told: Told) -> None:
        self._rows.add(told)
        if self._webhook is not None:
            self._posts.add(told)

    def _hurry(self) -> None:
        for way in (self._rows, self._posts):
            way.wake.set()
        for task in self._tasks:
            self._loop.call_later(DRAIN_S_MAX, task.cancel)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._live())

    async def _live(self) -> None:
        self._tasks = [asyncio.create_task(self._guarded(self._write, self._rows))]
        if self._webhook is not None:
            self._tasks.append(asyncio.create_task(self._guarded(self._post_all, self._posts)))
        await asyncio.wait(self._tasks)

    async def _guarded(self, work: Callable[[], Any], way: Way) -> None:
        """A defect of one way leaves the other alone, and is tried again."""
        while not self._is_over(way):
            try:
                await work()
            except BookLost as lost:
                log.error("%s", lost)  # noqa: TRY400 - nothing of ours has failed
                return
            except Exception:
                log.exception("alerts do not reach %s: tried again", way.name)
                await asyncio.sleep(PAUSE_S_MAX)

    def _is_over(self, way: Way) -> bool:
        return self._is_closing and not way.waiting

    async def _next(self, way: Way) -> bool:
        """Wait until there is something to tell; False at the end."""
        while not way.waiting:
            if self._is_over(way):
                return False
            way.wake.clear()
            await way.wake.wait()
        return True

    # -- rows

    async def _write(self) -> None:
        connection: asyncpg.Connection | None = None
        pause_s = 0.0
        try:
            while await self._next(self._rows):
                try:
                    connection = await self._usable(connection)
                    batch = list(self._rows.waiting)[:ROWS_AT_ONCE]
                    await insert(connection, self._teller, batch)
                except (*CONNECTION_ERRORS, TimeoutError, SuiteError) as error:
                    if isinstance(error, BookLost):
                        raise
                    _ended(connection)
                    connection = None
                    if pause_s == PAUSE_S_MIN:  # the first attempt after an idle connection was lost is no news
                        log.warning("alerts wait for the table: %s", _words(error, self._shown_url))
                    await asyncio.sleep(pause_s)
                    pause_s = min(max(2 * pause_s, PAUSE_S_MIN), PAUSE_S_MAX)
                else:
                    self._done(self._rows, batch)
                    pause_s = 0.0
        finally:
            _ended(connection)

    async def _usable(self, connection: asyncpg.Connection | None) -> asyncpg.Connection:
        """Ask for the address each time: an embedded server that was started again may be elsewhere."""
        if connection is not None and not connection.is_closed():
            return connection
        self._shown_url = await asyncio.to_thread(self._url)
        made = await connect(
            self._shown_url,
            timeout_s=self._connect_timeout_s,
            answer_timeout_s=self._connect_timeout_s,
            application_name=f"exec-suite alerts {self._teller.book_id}",
            server_settings=NO_LONG_TRANSACTION,
        )
        try:
            await require_current(made)
        except BaseException:
            made.terminate()
            raise
        return made

    def _done(self, way: Way, batch: list[Told]) -> None:
        """What was dropped meanwhile is not there any more."""
        for told in batch:
            if way.waiting and way.waiting[0].number <= told.number:
                way.waiting.popleft()

    # -- the webhook

    async def _post_all(self) -> None:
        while await self._next(self._posts):
            told = self._posts.waiting[0]
            await self._post(told)
            self._done(self._posts, [told])

    async def _post(self, told: Told) -> None:
        webhook = self._webhook
        assert webhook is not None, "without one nothing waits for it"
        message = {"book_id": self._teller.book_id, "run": self._teller.run, **msgspec.structs.asdict(told)}
        pause_s, reason = PAUSE_S_MIN, ""
        for attempt in range(webhook.attempts):
            if attempt:
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, PAUSE_S_MAX)
            try:
                await post(webhook, message)
            except NotTaken as error:
                reason = str(error)
                if error.is_final:
                    break
            else:
                return
        host = urlsplit(webhook.url).hostname  # the rest of the address may be a key
        log.error("the webhook at %s did not take alert %s (%s): %s", host, told.number, told.code, reason)


def _ended(connection: asyncpg.Connection | None) -> None:
    if connection is not None:
        connection.terminate()


def _words(error: BaseException, url: str) -> str:
    return str(error if isinstance(error, SuiteError) else database_error(error, url))
