"""The hold on a book: one node trades it, and a node that lost it hears so.

The keeper of a hold lives in a thread with its own loop and connection: the node's loop may be busy, and a notebook's
is taken. An outage of the database alone costs nothing: the keeper reconnects for as long as the node lives.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Literal

import nautilus_ext
from nautilus_ext.app.keeper import HoldState, Keeper, Url, error_text, start_error
from nautilus_ext.errors import BookError
from nautilus_ext.schema import books
from nautilus_ext.schema.connect import CONNECTION_ERRORS, connect
from nautilus_ext.schema.upgrade import require_current

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    import asyncpg

log = logging.getLogger(__name__)

HEARTBEAT_S = 2.0
HEARTBEAT_AGE_S_MAX = 15.0  # a node whose heartbeat is older is taken for dead by `status`


class BookHold:
    """A node's right to trade a book, from `acquire` to `release` or to the end of the process."""

    def __init__(self, keeper: Keeper, start: books.Start) -> None:
        self._keeper = keeper
        self.book_id = keeper.claim.book_id
        self.run = start.run
        self.epoch = start.epoch

    @classmethod
    def acquire(
        cls,
        url: Url,
        *,
        book_id: str,
        trader_id: str,
        environment: Literal["live", "paper"],
        instance_id: str,
        connect_timeout_s: float,
        on_lost: Callable[[str], None],
        heartbeat_s: float = HEARTBEAT_S,
    ) -> BookHold:
        """Take the book or raise: BookTaken names the node that has it, SchemaBehind and DatabaseError the cure.

        `url` may be a function, which is asked again at each reconnect: an embedded server may move to another port.
        `on_lost` is called at most once, from the keeper's thread, when another node has taken the book.
        """
        claim = _claim(book_id, trader_id, environment, instance_id)
        keeper = Keeper(url, claim, connect_timeout_s=connect_timeout_s, heartbeat_s=heartbeat_s, on_lost=on_lost)
        return cls(keeper, keeper.begin())

    @property
    def status(self) -> HoldState:
        """Say how the hold stands; cheap, from any thread."""
        return self._keeper.state

    def set_status(self, status: books.Status) -> None:
        """Tell the database what the node does; during an outage it is told later."""
        self._keeper.tell(status)

    def confirm(self) -> bool:
        """Wait for the database's word that the book is still ours, CONFIRM_S_MAX at most; for one thread alone.

        A process that was stopped cannot know for how long: it asks before it does anything else. False when the
        database is away: that is an outage as any other. It never returns to a node that lost its book.
        """
        return self._keeper.confirm()

    def release(self, *, clean: bool, exit_code: int, last_seq: int = 0) -> bool:
        """Give the book back, about two seconds at most; say whether the database knows. Only the first call counts.

        `last_seq` is the number of the run's last event: what the tables lack of it, the audit can name.
        """
        return self._keeper.end(books.End(clean, exit_code, last_seq))


class BacktestBook:
    """The rows of a backtest: a book of its own, no lock, no heartbeat. `release` closes them."""

    def __init__(self, url: str, claim: books.Claim, start: books.Start, connect_timeout_s: float) -> None:
        self._url = url
        self._claim = claim
        self._connect_timeout_s = connect_timeout_s
        self._released = False
        self.book_id = claim.book_id
        self.run = start.run
        self.epoch = start.epoch

    @classmethod
    def record(
        cls, url: str, *, book_id: str, trader_id: str, instance_id: str, connect_timeout_s: float
    ) -> BacktestBook:
        """Add the rows of a new backtest; a book_id that exists raises BookError."""
        claim = _claim(book_id, trader_id, "backtest", instance_id)
        start = _in_thread(_record_backtest(url, claim, connect_timeout_s))
        return cls(url, claim, start, connect_timeout_s)

    def release(self, *, clean: bool, exit_code: int, last_seq: int = 0) -> bool:
        """Close the rows; False when the database is away. Once it succeeded, further calls change nothing."""
        if self._released:
            return True
        try:
            _in_thread(self._end(books.End(clean, exit_code, last_seq)))
        except CONNECTION_ERRORS as error:
            log.warning("book %s: its end could not be recorded: %s", self.book_id, error_text(error, self._url))
            return False
        self._released = True
        return True

    async def _end(self, end: books.End) -> None:
        connection = await _open(self._url, self._connect_timeout_s)
        try:
            await books.end_run(connection, self._claim, self.run, end)
        finally:
            connection.terminate()


async def _record_backtest(url: str, claim: books.Claim, timeout_s: float) -> books.Start:
    connection = await _open(url, timeout_s)
    try:
        await require_current(connection)
        return await _start_once(connection, claim)
    except Exception as error:  # noqa: BLE001 - what is not the database's comes out as it went in
        raise start_error(error, url, claim) from None
    finally:
        connection.terminate()


async def _start_once(connection: asyncpg.Connection, claim: books.Claim) -> books.Start:
    async with connection.transaction():
        start = await books.start_run(connection, claim)
        if start.run > 1:
            raise BookError(f"book {claim.book_id} exists already: each backtest is a book of its own")
        return start


async def _open(url: str, timeout_s: float) -> asyncpg.Connection:
    return await connect(url, timeout_s=timeout_s, answer_timeout_s=timeout_s, application_name="exec-suite backtest")


def _claim(book_id: str, trader_id: str, environment: str, instance_id: str) -> books.Claim:
    return books.Claim(
        book_id=book_id,
        trader_id=trader_id,
        environment=environment,
        instance_id=instance_id,
        host=socket.gethostname(),
        pid=os.getpid(),
        suite_version=nautilus_ext.__version__,
        nautilus_version=version("nautilus_trader"),
    )


def _in_thread(work: Coroutine[Any, Any, Any]) -> Any:
    """Run to the end beside the caller: a notebook has a loop of its own, in which nothing can be run to the end."""
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="backtest book") as pool:
        return pool.submit(asyncio.run, work).result()
