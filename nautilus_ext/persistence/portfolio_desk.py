"""The thread that asks the portfolio's tables: the node's loop never waits for a database."""

from __future__ import annotations

import asyncio
import logging
import threading
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from typing import TYPE_CHECKING

from nautilus_ext.errors import BookLost, DatabaseError
from nautilus_ext.messages import Answer, ReadPyramid, Standing
from nautilus_ext.schema.portfolio import Portfolio, StaleVersion
from nautilus_ext.schema.portfolio_rows import Changes, Signal

if TYPE_CHECKING:
    from collections.abc import Callable

    Question = ReadPyramid | Signal | Changes

DRAIN_S_MAX = 2.0
JOIN_S_MAX = 3.0
CLEAN_UP_EVERY_S = 86_400.0
CLEAN_UP_AGAIN_S = 60.0  # when the database was away

_logger = logging.getLogger(__name__)


class Desk:
    """Answers questions about one book from `start` to `close`; each within `answer_timeout_s`, well or not."""

    def __init__(
        self,
        url: Callable[[], str],
        *,
        book_id: str,
        epoch: int | None,
        pool_size: int,
        connect_timeout_s: float,
        statement_timeout_s: float,
        answer_timeout_s: float,
        questions_max: int,
        signal_days_max: float,
    ) -> None:
        self._url = url
        self._book_id = book_id
        self._epoch = epoch
        self._pool_size = pool_size
        self._connect_timeout_s = connect_timeout_s
        self._statement_timeout_s = statement_timeout_s
        self._answer_timeout_s = answer_timeout_s
        self._questions_max = questions_max
        self._signal_days_max = signal_days_max
        # Both are touched by the asking thread and by the desk's, one step at a time.
        self._open: set[Future[Answer]] = set()
        self._unwritten: set[str] = set()  # rows that were to be saved, until they are
        self._closing = False
        self._loop = asyncio.SelectorEventLoop()
        self._opening = asyncio.Lock()
        self._portfolio: Portfolio | None = None
        self._leaving: set[asyncio.Task[None]] = set()
        self._cleaning: asyncio.Task[None] | None = None
        self._thread = threading.Thread(target=self._run, name=f"portfolio {book_id}", daemon=True)

    # -- from any thread

    def start(self) -> None:
        self._thread.start()

    def ask(self, question: Question) -> Future[Answer]:
        """Return at once; the answer comes in time."""
        self._unwritten |= _rows(question)
        if self._closing or len(self._open) >= self._questions_max:
            reason = "is closed" if self._closing else f"has {self._questions_max} questions without an answer"
            refused: Future[Answer] = Future()
            refused.set_result(Answer(problem=f"the portfolio store {reason}"))
            return refused
        future = asyncio.run_coroutine_threadsafe(self._answer(question), self._loop)
        self._open.add(future)
        future.add_done_callback(self._open.discard)
        return future

    def close(self) -> int:
        """End within DRAIN_S_MAX + JOIN_S_MAX; count the rows that should be in the tables and may not be."""
        if self._closing:
            return len(self._unwritten)
        self._closing = True
        left = wait_for(tuple(self._open), DRAIN_S_MAX).not_done
        for future in left:
            future.cancel()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(JOIN_S_MAX)
        return len(self._unwritten)

    # -- in the thread

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._loop.run_until_complete(self._end())
            self._loop.close()

    async def _end(self) -> None:
        self._leave()
        if self._cleaning is not None:
            self._cleaning.cancel()
        await asyncio.gather(*self._leaving, return_exceptions=True)  # each is bounded

    async def _answer(self, question: Question) -> Answer:
        try:
            async with asyncio.timeout(self._answer_timeout_s):
                return Answer(await self._work(await self._opened(), question))
        except StaleVersion as conflict:
            return Answer(problem=str(conflict), stale=True)
        except TimeoutError:
            return Answer(problem=f"no answer from the portfolio's tables within {self._answer_timeout_s:g} s")
        except (DatabaseError, BookLost) as error:
            self._leave()
            return Answer(problem=str(error))
        except Exception as defect:
            _logger.exception("a question to the portfolio's tables failed")
            return Answer(problem=f"{type(defect).__name__}: {defect}")

    async def _work(self, portfolio: Portfolio, question: Question) -> object:
        match question:
            case ReadPyramid():
                return await _read(portfolio, question)
            case Signal():
                return await portfolio.claim_signal(question)
        saved = await portfolio.save(question)
        self._unwritten -= _rows(question)
        return saved

    async def _opened(self) -> Portfolio:
        """Ask for the address each time: an embedded server that was started again may be elsewhere."""
        async with self._opening:
            if self._portfolio is None:
                self._portfolio = await Portfolio.open(
                    await asyncio.to_thread(self._url),
                    book_id=self._book_id,
                    epoch=self._epoch,
                    pool_size=self._pool_size,
                    connect_timeout_s=self._connect_timeout_s,
                    statement_timeout_s=self._statement_timeout_s,
                    patience_s=self._answer_timeout_s,
                )
            if self._cleaning is None:  # a node whose strategies keep nothing here never connects
                self._cleaning = self._loop.create_task(self._clean_up())
            return self._portfolio

    def _leave(self) -> None:
        """The next question opens anew; others that are under way end on the old connections."""
        if self._portfolio is not None:
            task = self._loop.create_task(self._portfolio.close())
            self._portfolio = None
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)

    async def _clean_up(self) -> None:
        while True:  # for as long as the desk lives
            try:
                deleted = await (await self._opened()).delete_signals(older_than_days=self._signal_days_max)
                if deleted:
                    _logger.info("%s signals older than %g days forgotten", f"{deleted:,}", self._signal_days_max)
                await asyncio.sleep(CLEAN_UP_EVERY_S)
            except (DatabaseError, BookLost) as error:
                _logger.warning("old signals were not cleaned up: %s", error)
                await asyncio.sleep(CLEAN_UP_AGAIN_S)
            except Exception:
                _logger.exception("old signals could not be cleaned up: they are kept, tried again tomorrow")
                await asyncio.sleep(CLEAN_UP_EVERY_S)


def _rows(question: Question) -> set[str]:
    """Name what a question wants to be written: the tables' keys, which no two kinds of rows share."""
    if not isinstance(question, Changes):
        return set()
    pyramid = {f"{question.pyramid.strategy_id} {question.pyramid.instrument_id}"} if question.pyramid else set()
    signals = {each.fingerprint for each in question.outcomes}
    return pyramid | signals | {row.position_id for row in question.positions}


async def _read(portfolio: Portfolio, question: ReadPyramid) -> Standing:
    strategy_id, instrument_id = question.strategy_id, question.instrument_id
    await portfolio.begin_equity(question.currency, question.capital)
    rows = await portfolio.open_positions(strategy_id=strategy_id, instrument_id=instrument_id)
    missing = set(question.position_ids) - {row.position_id for row in rows}
    closed = [await portfolio.get_position(position_id) for position_id in sorted(missing)]
    return Standing(
        positions=(*rows, *(row for row in closed if row is not None)),
        state=await portfolio.get_pyramid(strategy_id, instrument_id),
        claimed=tuple(await portfolio.claimed_signals(strategy_id, instrument_id)),
    )
