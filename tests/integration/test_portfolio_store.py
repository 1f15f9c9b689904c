"""The store's actor beside a live loop: answers come later or not at all, and the loop never waits for a database."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import asynccontextmanager
from decimal import Decimal

import asyncpg
import pytest
from book_node import query
from nautilus_trader.cache.cache import Cache
from nautilus_trader.common.component import LiveClock, MessageBus
from nautilus_trader.model.identifiers import TraderId
from nautilus_trader.portfolio.portfolio import Portfolio

from nautilus_ext.embedded import EmbeddedPostgres, postmaster
from nautilus_ext.messages import PORTFOLIO, Answer, Ask, ReadPyramid
from nautilus_ext.persistence import PortfolioStore, PortfolioStoreConfig
from nautilus_ext.schema.portfolio_rows import Changes, EquityRow, PositionRow, Signal, SignalOutcome
from nautilus_ext.schema.upgrade import upgrade

READ = ReadPyramid(strategy_id="S-1", instrument_id="ETHUSDT.X", currency="USDT", capital=Decimal(7))
SIGNAL = Signal(
    fingerprint="f",
    strategy_id="S-1",
    instrument_id="ETHUSDT.X",
    signal_type="BASE_ENTRY",
    signal_ns=1,
    client_order_id="O-1",
)
ROW = PositionRow(
    position_id="O-1",
    strategy_id="S-1",
    instrument_id="ETHUSDT.X",
    side="LONG",
    is_base_position=True,
    quantity=Decimal(1),
    entry_price=Decimal(2),
    currency="USDT",
    opened_ns=3,
)

ENTRY = Changes(positions=(ROW,), outcomes=(SignalOutcome("f", "executed"),))


class Desk:
    """A live bus with a store on it; `ask` waits for the answer without holding up the loop."""

    def __init__(self, **config):
        clock = LiveClock()
        self.bus = MessageBus(TraderId("TEST-001"), clock)
        cache = Cache()
        self.store = PortfolioStore(PortfolioStoreConfig(**config))
        self.store.register_base(Portfolio(self.bus, cache, clock), self.bus, cache, clock)

    def send(self, question) -> asyncio.Future[Answer]:
        future = asyncio.get_running_loop().create_future()
        thread = threading.current_thread()

        def hear(answer: Answer) -> None:
            assert thread is threading.current_thread(), "on the loop's own thread"
            future.set_result(answer)

        began = time.perf_counter()
        self.bus.send(PORTFOLIO, Ask(question, hear))
        assert time.perf_counter() - began < 0.05
        return future


@asynccontextmanager
async def desk(url, **config):
    made = Desk(**config)
    made.store.open(url, book_id="B", connect_timeout_s=2.0, statement_timeout_s=5.0)
    made.store.start()
    yield made
    await asyncio.to_thread(made.store.close)


@asynccontextmanager
async def locked(database):
    """Nobody writes a signal as long as this lasts."""
    connection = await asyncpg.connect(database.owner_url)
    async with connection.transaction():
        await connection.execute("LOCK TABLE signal_log IN EXCLUSIVE MODE")
        yield
    await connection.close()


async def test_questions_are_answered_on_the_loop(database):
    """Read, claim and save, from one end to the other."""
    async with desk(lambda: database.app_url) as at:
        empty = (await at.send(READ)).value
        assert ((), None, ()) == (empty.positions, empty.state, empty.claimed)
        assert Answer(True) == await at.send(SIGNAL)
        assert Answer(False) == await at.send(SIGNAL)
        saved = (await at.send(Changes(positions=(ROW,)))).value
        assert 1 == saved.positions[0].version
        found = (await at.send(READ)).value
        assert (saved.positions, (SIGNAL,)) == (found.positions, found.claimed)
        conflict = await at.send(Changes(positions=(ROW,)))
        assert (True, None) == (conflict.stale, conflict.value)
        assert "version 0 was read, the table has version 1" in conflict.problem
    (equity,) = await asyncio.to_thread(query, database.app_url, "SELECT * FROM portfolio_state")
    assert EquityRow(currency="USDT", initial_capital=Decimal(7), closed_equity=Decimal(7), version=1) == EquityRow(
        **{name: equity[name] for name in EquityRow.__struct_fields__}
    )


async def test_a_database_that_does_not_answer_never_holds_up_the_loop(database):
    """The answer is `not available`, in time, and later questions are answered again."""
    async with desk(lambda: database.app_url, answer_timeout_s=0.4) as at:
        await at.send(READ)
        async with locked(database):
            began, gaps, last = time.perf_counter(), [], time.perf_counter()
            answer = at.send(SIGNAL)
            while not answer.done():
                await asyncio.sleep(0.005)
                gaps.append(time.perf_counter() - last)
                last = time.perf_counter()
            took = last - began
            print(f"answered after {took:.2f} s, longest pause of the loop {max(gaps) * 1e3:.0f} ms")
        assert "within 0.4 s" in answer.result().problem
        assert 0.35 < took < 1.5
        assert Answer(True) == await at.send(SIGNAL), "the one without an answer was not executed after all"


async def test_the_queue_is_bounded(database):
    """Who comes when it is full is told so at once."""
    async with desk(lambda: database.app_url, answer_timeout_s=1.0, questions_max=3) as at:
        await at.send(READ)
        async with locked(database):
            waiting = [at.send(SIGNAL) for _ in range(3)]
            refused = await asyncio.wait_for(at.send(SIGNAL), 0.5)
            assert "3 questions without an answer" in refused.problem
        answers = [await each for each in waiting]
        assert [False, False, True] == sorted(answer.value for answer in answers)


async def test_without_open_every_question_has_an_answer():
    """A node that was built by hand, without a runner, is told what is missing."""
    made = Desk()
    made.store.start()
    assert "not open" in (await made.send(SIGNAL)).problem
    assert 0 == made.store.close()


async def test_a_node_that_keeps_nothing_never_connects():
    """The address is asked for at the first question; an end without any is quick."""
    at = Desk()
    at.store.open(lambda: pytest.fail("nobody asked"), book_id="B", connect_timeout_s=2.0, statement_timeout_s=5.0)
    at.store.start()
    began = time.monotonic()
    assert 0 == await asyncio.to_thread(at.store.close)
    assert time.monotonic() - began < 1


async def test_old_signals_are_forgotten_once_somebody_asks(database):
    """Beside the questions, without holding one up."""
    async with desk(lambda: database.app_url) as at:
        assert Answer(True) == await at.send(SIGNAL)
    sql = "UPDATE signal_log SET received_at = now() - interval '31 days'"
    await asyncio.to_thread(query, database.app_url, sql)
    async with desk(lambda: database.app_url) as at:
        await at.send(READ)
        async with asyncio.timeout(5):
            while await asyncio.to_thread(query, database.app_url, "SELECT 1 FROM signal_log"):  # noqa: ASYNC110 - a table
                await asyncio.sleep(0.01)


async def test_an_asker_that_fails_does_not_end_the_store(database, caplog):
    """Its exception is in the log, and the next question is answered."""

    def fail(_answer):
        raise RuntimeError("a defect of the strategy")

    async with desk(lambda: database.app_url) as at:
        at.bus.send(PORTFOLIO, Ask(SIGNAL, fail))
        assert (await at.send(READ)).problem == ""
    assert "a defect of the strategy" in caplog.text


async def test_what_is_under_way_at_the_end_is_finished(database):
    """`close` counts nothing as unwritten; afterwards nothing is taken."""
    at = Desk()
    at.store.open(lambda: database.app_url, book_id="B", connect_timeout_s=2.0, statement_timeout_s=5.0)
    at.store.start()
    at.send(SIGNAL)
    at.send(Changes(positions=(ROW,)))
    assert 0 == await asyncio.to_thread(at.store.close)
    assert 1 == len(await asyncio.to_thread(query, database.app_url, "SELECT * FROM signal_log"))
    assert 1 == len(await asyncio.to_thread(query, database.app_url, "SELECT * FROM portfolio_positions"))
    assert "closed" in (await at.send(SIGNAL)).problem


async def test_a_close_is_bounded_when_the_database_hangs(database):
    """The rows that could not be written are counted, not waited for; a claim that nobody heard of is none."""
    at = Desk(answer_timeout_s=60.0)
    at.store.open(lambda: database.app_url, book_id="B", connect_timeout_s=2.0, statement_timeout_s=60.0)
    at.store.start()
    await at.send(READ)
    async with locked(database):
        at.send(SIGNAL)
        at.send(ENTRY)
        began = time.monotonic()
        assert 2 == await asyncio.to_thread(at.store.close)
        assert time.monotonic() - began < 6


@pytest.mark.parametrize("once_more", [True, False])
async def test_a_save_that_failed_is_unwritten_until_it_is_done_again(database, once_more):
    """Answered long before the end, with a problem: at the end it still counts, unless it went through later."""
    async with desk(lambda: database.app_url, answer_timeout_s=0.3) as at:
        await at.send(SIGNAL)
        async with locked(database):
            assert "within 0.3 s" in (await at.send(ENTRY)).problem
        again = ENTRY if once_more else Changes()
        assert "" == (await at.send(again)).problem
        assert (0 if once_more else 2) == await asyncio.to_thread(at.store.close)


async def test_the_address_is_no_part_of_the_config(database):
    """Configs are published on the bus; the store's repr and config hold no secret."""
    secret = database.app_url.split(":")[2].split("@")[0]
    async with desk(lambda: database.app_url) as at:
        await at.send(READ)
        assert secret not in repr(at.store.config) + str(at.store.config.json()) + repr(at.store)


async def test_after_an_outage_the_new_address_is_asked_for(server_folder):
    """An embedded server that was stopped comes back, maybe at another port: the store goes on by itself."""
    with EmbeddedPostgres.join(server_folder) as server:
        await asyncio.to_thread(upgrade, server.owner_url, server.app_url, timeout_s=10)
        asked = []

        def url() -> str:
            asked.append(1)
            server.ensure_running()
            return server.app_url

        async with desk(url, answer_timeout_s=5.0) as at:
            assert Answer(True) == await at.send(SIGNAL)
            await asyncio.to_thread(postmaster.stop_server, server_folder)
            deadline = time.monotonic() + 20
            while (answer := await at.send(SIGNAL)).problem:
                assert time.monotonic() < deadline, answer
            assert answer == Answer(False)
            assert len(asked) > 1


@pytest.mark.parametrize("name", ["answer_timeout_s", "questions_max", "signal_days_max"])
def test_every_bound_must_be_positive(name):
    """A bound of zero would be none."""
    import msgspec

    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({name: 0}, PortfolioStoreConfig)
