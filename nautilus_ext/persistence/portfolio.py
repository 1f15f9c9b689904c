"""The actor through which strategies keep their state in the portfolio's tables."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from nautilus_trader.common.actor import Actor
from nautilus_trader.common.component import TestClock
from nautilus_trader.common.config import ActorConfig, PositiveFloat, PositiveInt

from nautilus_ext.messages import PORTFOLIO, Answer, Ask
from nautilus_ext.persistence.portfolio_desk import Desk

if TYPE_CHECKING:
    from concurrent.futures import Future

BACKTEST_ANSWER_S_MAX = 30.0  # a backtest waits: its result must not depend on how busy the database is
WAIT_MARGIN_S = 5.0

_LOGGER = logging.getLogger(__name__)


class PortfolioStoreConfig(ActorConfig, frozen=True):
    """Configuration of `PortfolioStore`. The address of the database is no part of it: configs are published.

    Parameters
    ----------
    answer_timeout_s : float, default 2.0
        After so many seconds without an answer the asker is told that there is none; live only.
    questions_max : int, default 1000
        Most questions under way at a time; further ones are refused.
    signal_days_max : float, default 30.0
        Signals are forgotten after so many days: from then on the same signal would be acted upon again.

    """

    answer_timeout_s: PositiveFloat = 2.0
    questions_max: PositiveInt = 1000
    signal_days_max: PositiveFloat = 30.0


class PortfolioStore(Actor):
    """Takes an `Ask` at the endpoint `messages.PORTFOLIO`. Whoever builds the node calls `open` and `close`."""

    def __init__(self, config: PortfolioStoreConfig | None = None) -> None:
        config = config or PortfolioStoreConfig()
        super().__init__(config)
        self._config = config
        self._desk: Desk | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_backtest = False

    def register_base(self, portfolio: Any, msgbus: Any, cache: Any, clock: Any) -> None:
        """Take questions from the first moment: strategies start after this, and end after our stop."""
        super().register_base(portfolio, msgbus, cache, clock)
        self._is_backtest = isinstance(clock, TestClock)
        msgbus.register(endpoint=PORTFOLIO, handler=self._take)

    def open(
        self,
        url: Callable[[], str],
        *,
        book_id: str,
        epoch: int | None = None,
        pool_size: int = 2,
        connect_timeout_s: float,
        statement_timeout_s: float,
    ) -> None:
        """Start the thread that asks the database; `url` is called in it, and again after an outage.

        With an `epoch` nothing more is written once another node has the book.
        """
        self._desk = Desk(
            url,
            book_id=book_id,
            epoch=epoch,
            pool_size=pool_size,
            connect_timeout_s=connect_timeout_s,
            statement_timeout_s=statement_timeout_s,
            answer_timeout_s=BACKTEST_ANSWER_S_MAX if self._is_backtest else self._config.answer_timeout_s,
            questions_max=self._config.questions_max,
            signal_days_max=self._config.signal_days_max,
        )
        self._desk.start()

    def close(self) -> int:
        """After the node's end: finish what is under way, a few seconds at most; count the rows that are unwritten."""
        return self._desk.close() if self._desk is not None else 0

    def on_start(self) -> None:
        if not self._is_backtest:
            self._loop = asyncio.get_running_loop()

    def on_stop(self) -> None:
        """Nothing: strategies stop after us, and what that fills is to be kept, too."""

    def _take(self, ask: Ask) -> None:
        if self._desk is None or (self._loop is None and not self._is_backtest):
            _deliver(ask, Answer(problem="the portfolio store is not open: does the runner open it?"))
            return
        try:
            future = self._desk.ask(ask.question)
            if self._loop is not None:
                future.add_done_callback(partial(_hand_over, self._loop, ask))
                return
            answer = future.result(BACKTEST_ANSWER_S_MAX + WAIT_MARGIN_S)
        except Exception as defect:  # an exception in an endpoint would end the node
            _LOGGER.exception("the portfolio store failed at a question")
            answer = Answer(problem=f"the portfolio store failed: {type(defect).__name__}")
        _deliver(ask, answer)


def _hand_over(loop: asyncio.AbstractEventLoop, ask: Ask, future: "Future[Answer]") -> None:
    if future.cancelled():
        answer = Answer(problem="the portfolio store is closed")
    elif (defect := future.exception()) is not None:
        answer = Answer(problem=f"the portfolio store failed: {type(defect).__name__}")
    else:
        answer = future.result()
    with suppress(RuntimeError):  # the node's loop is closed: nobody is left to hear it
        loop.call_soon_threadsafe(_deliver, ask, answer)


def _deliver(ask: Ask, answer: Answer) -> None:
    try:
        ask.answer(answer)
    except Exception:  # a strategy's defect must not end the node, nor the store
        _LOGGER.exception("whoever asked the portfolio's tables failed at the answer")
