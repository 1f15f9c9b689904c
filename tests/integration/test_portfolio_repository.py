"""The repository of portfolio rows on a real server: nothing lost, nothing twice, whatever the connection does."""

from __future__ import annotations

import asyncio
import os
import random
import time
from decimal import Decimal

import asyncpg
import msgspec
import pytest
import pytest_asyncio
from asyncpg import exceptions as pg
from book_node import query

from nautilus_ext.embedded import EmbeddedPostgres, postmaster
from nautilus_ext.errors import BookLost, DatabaseError
from nautilus_ext.schema import portfolio, portfolio_statements, retry
from nautilus_ext.schema.portfolio import Portfolio, StaleVersion
from nautilus_ext.schema.portfolio_rows import Changes, PositionRow, PyramidRow, Signal, SignalOutcome
from nautilus_ext.schema.upgrade import upgrade

SEED = int(os.environ.get("PORTFOLIO_SEED", "0")) or random.randrange(1_000_000)
TASKS = 10
ETH = "ETHUSDT-PERP.SIM2"


def row(position_id: str = "O-1", **changes) -> PositionRow:
    values = {
        "position_id": position_id,
        "strategy_id": "Trend-001",
        "instrument_id": ETH,
        "side": "LONG",
        "is_base_position": True,
        "quantity": Decimal("1.5"),
        "entry_price": Decimal("3000.10"),
        "initial_stop": Decimal("2985.0995"),
        "currency": "USDT",
        "opened_ns": 1_767_571_200_000_000_001,
        "fingerprint": f"signal of {position_id}",
    }
    return PositionRow(**{**values, **changes})


def signal(fingerprint: str = "a signal", **changes) -> Signal:
    values = {"strategy_id": "Trend-001", "instrument_id": ETH, "signal_type": "BASE_ENTRY", "signal_ns": 7}
    return Signal(fingerprint=fingerprint, client_order_id="O-1", **{**values, **changes})


def changed(struct, **changes):
    return msgspec.structs.replace(struct, **changes)


async def opened(database, **changes) -> Portfolio:
    values = {"pool_size": 4, "connect_timeout_s": 5.0, "statement_timeout_s": 5.0, "patience_s": 10.0}
    return await Portfolio.open(database.app_url, book_id="B.paper", **{**values, **changes})


@pytest_asyncio.fixture
async def store(database):
    store = await opened(database)
    yield store
    await store.close()


@pytest_asyncio.fixture
async def other(database):
    """A second one on the same book, as another process would have it."""
    other = await opened(database)
    yield other
    await other.close()


# -- rows


async def test_a_position_comes_back_exactly_as_it_was_saved(store, other):
    """Every field, every digit, with nothing and with everything filled in."""
    full = row(
        "O-2",
        is_base_position=False,
        side="SHORT",
        status="closed",
        rollover_status="rolled",
        closed_quantity=Decimal("1.5"),
        current_stop=Decimal("1e-18"),
        limiter="risk",
        exit_price=Decimal("123456789012345678901234567890.123456789"),
        realized_pnl=Decimal("-0.00000001"),
        closed_ns=9_000_000_000_000_000_000,
        close_reason="stop",
    )
    for each in (row(), full):
        saved = await store.save_position(each)
        assert changed(each, version=1) == saved
        assert saved == await other.get_position(each.position_id)
    assert [row().position_id] == [each.position_id for each in await other.open_positions()]
    assert [] == await other.open_positions(strategy_id="Other-001")
    assert None is await other.get_position("none")


async def test_another_book_sees_nothing_of_it(database, store):
    """The same ids in two books are two rows."""
    await store.save_position(row())
    async with asyncio.timeout(10):
        stranger = await Portfolio.open(
            database.app_url,
            book_id="C.paper",
            pool_size=1,
            connect_timeout_s=5,
            statement_timeout_s=5,
            patience_s=5,
        )
        assert None is await stranger.get_position("O-1")
        assert await stranger.claim_signal(signal())
        await stranger.close()
    assert await store.claim_signal(signal())


@pytest.mark.parametrize(("read", "found"), [(0, 2), (1, 2), (3, 2)])
async def test_whoever_has_not_the_latest_version_is_told_both(store, read, found):
    """A conflict changes nothing, neither the row nor what else was to be written with it."""
    kept = await store.save_position(await store.save_position(row()))
    with pytest.raises(StaleVersion, match=f"version {read} was read, the table has version {found}") as caught:
        await store.save(Changes(positions=(row("O-0"), changed(kept, version=read, limiter="lost"))))
    assert (read, found) == (caught.value.expected, caught.value.found)
    assert [kept] == await store.open_positions()


async def test_an_update_of_a_row_that_does_not_exist_is_no_insert(store):
    """A version was read, so there was a row: it is gone."""
    with pytest.raises(StaleVersion, match="there is none"):
        await store.save_position(row(version=4))
    assert [] == await store.open_positions()


async def test_wrong_data_is_refused_at_once_and_never_tried_again(store):
    """Trying again does not make a quantity positive."""
    began = time.monotonic()
    with pytest.raises(DatabaseError, match="refused"):
        await store.save_position(row(quantity=Decimal(-1)))
    assert time.monotonic() - began < retry.BACKOFF_S_MIN * 10


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (pg.DeadlockDetectedError(), True),
        (pg.SerializationError(), True),
        (pg.AdminShutdownError(), True),
        (pg.CannotConnectNowError(), True),
        (pg.TooManyConnectionsError(), True),
        (pg.ReadOnlySQLTransactionError(), True),
        (pg.ConnectionDoesNotExistError(), True),
        (pg.InterfaceError("connection is closed"), True),
        (ConnectionResetError(), True),
        (DatabaseError("nothing listens there"), True),
        (pg.QueryCanceledError(), False),
        (pg.UniqueViolationError(), False),
        (pg.NumericValueOutOfRangeError(), False),
        (pg.DataError(), False),
        (pg.InsufficientPrivilegeError(), False),
        (pg.UndefinedTableError(), False),
        (ValueError(), False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_only_what_passes_is_tried_again(error, expected):
    """Connections, locks and restarts pass; data, permissions and statements that take too long do not."""
    assert expected == retry.is_transient(error)


# -- what is written together


async def test_an_entry_is_written_whole_or_not_at_all(store):
    """Position, pyramid and the signal's outcome are one transaction."""
    await store.claim_signal(signal())
    pyramid = PyramidRow(strategy_id="Trend-001", instrument_id=ETH, base_position_id="O-1", pyramid_count=1)
    outcome = SignalOutcome("a signal", "executed")
    with pytest.raises(StaleVersion):
        await store.save(Changes(positions=(row(),), pyramid=changed(pyramid, version=8), outcomes=(outcome,)))
    assert (None, None) == (await store.get_position("O-1"), await store.get_pyramid("Trend-001", ETH))
    assert [signal()] == await store.claimed_signals("Trend-001", ETH)
    saved = await store.save(Changes(positions=(row(),), pyramid=pyramid, outcomes=(outcome,)))
    assert changed(pyramid, version=1) == saved.pyramid == await store.get_pyramid("Trend-001", ETH)
    assert [] == await store.claimed_signals("Trend-001", ETH)


async def test_equity_follows_what_positions_realize(store):
    """The change of the realized profit counts, by currency, once for each write."""
    assert Decimal(1000) == (await store.begin_equity("USDT", Decimal(1000))).closed_equity
    assert Decimal(1000) == (await store.begin_equity("USDT", Decimal(9))).initial_capital
    first = await store.save_position(row(realized_pnl=Decimal("-0.5")))
    await store.save_position(changed(first, realized_pnl=Decimal(12), status="closed", closed_ns=1))
    await store.save_position(row("O-2", realized_pnl=Decimal("0.25"), currency="BTC"))
    assert Decimal(1012) == (await store.get_equity("USDT")).closed_equity
    assert Decimal("0.25") == (await store.get_equity("BTC")).closed_equity
    equity = await store.get_equity("USDT")
    deposit = changed(equity, closed_equity=equity.closed_equity + 100)
    assert Decimal(1112) == (await store.save_equity(deposit)).closed_equity
    with pytest.raises(StaleVersion):
        await store.save_equity(deposit)


# -- many at once


async def test_ten_tasks_on_the_same_rows_lose_no_update_and_do_not_lock_each_other_out(store, other):
    """Each adds to the same positions, in an order of its own: the sums are right, rows and equity."""
    print(f"PORTFOLIO_SEED={SEED}")
    ids, rounds = [f"O-{number}" for number in range(4)], 6
    await store.save(Changes(positions=tuple(row(each, quantity=Decimal(1000)) for each in ids)))
    conflicts = 0

    async def add(task: int) -> None:
        nonlocal conflicts
        through, chance = (store, other)[task % 2], random.Random(SEED + task)
        for _ in range(rounds):
            mine = chance.sample(ids, 2)
            while True:
                rows = {each.position_id: each for each in await through.open_positions()}
                new = tuple(
                    changed(
                        rows[each],
                        closed_quantity=rows[each].closed_quantity + 1,
                        realized_pnl=(rows[each].realized_pnl or 0) + Decimal("0.1"),
                    )
                    for each in mine
                )
                try:
                    await through.save(Changes(positions=new))
                    break
                except StaleVersion:
                    conflicts += 1

    async with asyncio.timeout(30):
        await asyncio.gather(*(add(task) for task in range(TASKS)))
    rows = await store.open_positions()
    updates = TASKS * rounds * 2
    print(f"{updates} updates, {conflicts} conflicts")
    assert conflicts
    assert updates == sum(each.closed_quantity for each in rows)
    assert updates + len(ids) == sum(each.version for each in rows)
    assert updates * Decimal("0.1") == (await store.get_equity("USDT")).closed_equity


async def test_of_ten_claimants_of_a_signal_one_wins(store, other):
    """Through two pools at the same moment, again and again; the refused ones are counted."""
    for number in range(5):
        claims = [(store, other)[task % 2].claim_signal(signal(f"s{number}")) for task in range(TASKS)]
        assert [False] * 9 + [True] == sorted(await asyncio.gather(*claims))


async def test_ten_saves_through_one_connection_all_arrive(database):
    """An exhausted pool means waiting, not losing."""
    narrow = await opened(database, pool_size=1)
    await asyncio.gather(*(narrow.save_position(row(f"O-{number}")) for number in range(TASKS)))
    assert TASKS == len(await narrow.open_positions())
    await narrow.close()


async def test_a_pool_that_stays_exhausted_is_an_error_in_time(database):
    """`patience_s` bounds every call, and the pool serves again afterwards."""
    narrow = await opened(database, pool_size=1, patience_s=0.3)
    async with narrow._pool.acquire():
        began = time.monotonic()
        with pytest.raises(DatabaseError, match=r"within 0\.3 s"):
            await narrow.get_position("O-1")
        assert 0.25 < time.monotonic() - began < 1.0
    assert None is await narrow.get_position("O-1")
    await narrow.close()


async def test_two_that_cross_are_untangled(store, other, database):
    """A stranger locks the rows the other way round: the server ends one of the two, and ours is tried again."""
    first, second = (await store.save(Changes(positions=(row("O-1"), row("O-2"))))).positions
    stranger = await asyncpg.connect(database.owner_url)
    lock = "SELECT 1 FROM portfolio_positions WHERE position_id = $1 FOR UPDATE"
    transaction = stranger.transaction()
    await transaction.start()
    await stranger.fetch(lock, "O-2")
    ours = asyncio.create_task(store.save(Changes(positions=(first, second))))
    async with asyncio.timeout(5):
        while not await _waiting(database):  # noqa: ASYNC110 - it waits in the server
            await asyncio.sleep(0.01)
    crossing = asyncio.create_task(stranger.fetch(lock, "O-1"))
    await asyncio.wait({ours, crossing}, return_when=asyncio.FIRST_COMPLETED, timeout=10)
    await asyncio.wait({crossing}, timeout=10)
    assert crossing.done()
    crossing.exception()
    await transaction.rollback()
    assert [2, 2] == [each.version for each in (await ours).positions]
    await stranger.close()


async def _waiting(database) -> bool:
    return bool(await asyncio.to_thread(query, database.owner_url, "SELECT 1 FROM pg_locks WHERE NOT granted"))


# -- broken connections


async def test_a_connection_that_is_ended_in_the_middle_is_replaced(store, database, monkeypatch):
    """The server ends the session between two statements: the whole transaction is done again, once."""
    write, ended = portfolio_statements.POSITIONS.write, []

    async def end_first(connection, book_id, each):
        saved = await write(connection, book_id, each)
        if not ended:
            ended.append(connection.get_server_pid())
            await asyncio.to_thread(query, database.app_url, "SELECT pg_terminate_backend($1)", ended[0])
        return saved

    monkeypatch.setattr(portfolio_statements.POSITIONS, "write", end_first)
    assert 1 == (await store.save_position(row(realized_pnl=Decimal(5)))).version
    assert ended
    assert Decimal(5) == (await store.get_equity("USDT")).closed_equity


@pytest.mark.parametrize("committed", [True, False])
async def test_a_commit_without_an_answer_counts_once(store, other, database, monkeypatch, committed):
    """The session ends before or after the server committed: a position and its profit are there once either way."""

    class Commits:
        left = 1

    commit = asyncpg.transaction.Transaction._Transaction__commit

    async def cut(transaction):
        if not Commits.left:
            return await commit(transaction)
        Commits.left -= 1
        if committed:
            await commit(transaction)
        connection = transaction._connection
        pid = connection.get_server_pid()
        await asyncio.to_thread(query, database.app_url, "SELECT pg_terminate_backend($1, 5000)", pid)
        raise ConnectionResetError("the answer of COMMIT was lost")

    monkeypatch.setattr(asyncpg.transaction.Transaction, "_Transaction__commit", cut)
    saved = await store.save_position(row(realized_pnl=Decimal(5)))
    assert (0, 1) == (Commits.left, saved.version)
    assert saved == await store.get_position("O-1") == await other.get_position("O-1")
    assert Decimal(5) == (await store.get_equity("USDT")).closed_equity
    Commits.left = 1
    assert await store.claim_signal(signal()), "whose answer was lost is not a duplicate of itself"
    assert not await other.claim_signal(signal())


async def test_a_server_that_is_away_is_an_error_in_time_and_is_used_again_when_it_is_back(server_folder):
    """Bounded attempts, no password in the message, and the same object works after the restart."""
    with EmbeddedPostgres.join(server_folder) as server:
        await asyncio.to_thread(upgrade, server.owner_url, server.app_url, timeout_s=10)
        store = await Portfolio.open(
            server.app_url, book_id="B", pool_size=2, connect_timeout_s=2, statement_timeout_s=2, patience_s=3
        )
        saved = await store.save_position(row())
        await asyncio.to_thread(postmaster.stop_server, server_folder)
        began = time.monotonic()
        with pytest.raises(DatabaseError) as caught:
            await store.save_position(saved)
        assert time.monotonic() - began < 4
        assert server.app_url.split(":")[2].split("@")[0] not in str(caught.value)
        await asyncio.to_thread(server.ensure_running)
        again = await Portfolio.open(
            server.app_url, book_id="B", pool_size=2, connect_timeout_s=5, statement_timeout_s=2, patience_s=3
        )
        assert saved == await again.get_position("O-1")
        await again.close()
        await store.close()


# -- the cache


async def test_the_cache_never_serves_what_is_older_than_an_own_write(store):
    """Readers race with a writer: what a reader gets is never below what was written before it asked."""
    print(f"PORTFOLIO_SEED={SEED}")
    chance = random.Random(SEED)
    latest = await store.save_position(row())
    stop = asyncio.Event()

    async def read() -> int:
        reads = 0
        while not stop.is_set():
            floor = latest.version
            if chance.random() < 0.5:
                await store.open_positions()
            assert floor <= (await store.get_position("O-1")).version
            reads += 1
            await asyncio.sleep(0)
        return reads

    readers = [asyncio.create_task(read()) for _ in range(3)]
    for _ in range(60):
        latest = await store.save_position(latest)
        await asyncio.sleep(chance.random() * 0.002)
    stop.set()
    assert all(await asyncio.gather(*readers))


async def test_a_cached_position_is_read_without_the_database(store):
    """Its table may even be gone; after a conflict the row is read anew."""
    saved = await store.save_position(row())
    store._transactions._pool = None
    assert saved == await store.get_position("O-1")


async def test_a_conflict_drops_the_cached_row(store, other):
    """What another process wrote is seen after the first refused write."""
    mine = await store.save_position(row())
    theirs = await other.save_position(changed(mine, limiter="theirs"))
    assert mine == await store.get_position("O-1")
    with pytest.raises(StaleVersion):
        await store.save_position(mine)
    assert theirs == await store.get_position("O-1")


async def test_the_cache_is_bounded(store, monkeypatch):
    """The rows that were used last stay."""
    monkeypatch.setattr(portfolio, "CACHED_POSITIONS_MAX", 3)
    for number in range(5):
        await store.save_position(row(f"O-{number}"))
    assert ["O-2", "O-3", "O-4"] == list(store._cache._rows)


# -- clean-up


async def test_old_signals_are_forgotten_in_small_steps(store, database, monkeypatch):
    """Only what is older than asked; the rest stays claimed."""
    monkeypatch.setattr(portfolio_statements, "SIGNALS_DELETED_AT_ONCE", 2)
    monkeypatch.setattr(portfolio, "SIGNALS_DELETED_AT_ONCE", 2)
    for number in range(6):
        await store.claim_signal(signal(f"s{number}"))
    sql = "UPDATE signal_log SET received_at = now() - interval '31 days' WHERE fingerprint <> 's5'"
    await asyncio.to_thread(query, database.owner_url, sql)
    assert 5 == await store.delete_signals(older_than_days=30)
    assert 0 == await store.delete_signals(older_than_days=30)
    assert not await store.claim_signal(signal("s5"))


async def test_who_has_lost_the_book_writes_nothing_more(database):
    """A paused node comes back with the former epoch: no row, no claim that would eat the new node's signals."""
    owner = await asyncpg.connect(database.owner_url)
    await owner.execute("INSERT INTO books VALUES ('B.paper', 'B', 'paper', 1)")
    former = await opened(database, epoch=1)
    try:
        assert await former.claim_signal(signal("first"))
        await owner.execute("UPDATE books SET epoch = 2")
        for write in (former.claim_signal(signal("second")), former.save(Changes(positions=(row("P-1"),)))):
            with pytest.raises(BookLost, match=r"B\.paper is another node's now"):
                await write
        assert ["first"] == [name for (name,) in await owner.fetch("SELECT fingerprint FROM signal_log")]
        assert 0 == await owner.fetchval("SELECT count(*) FROM portfolio_positions")
    finally:
        await former.close()
        await owner.close()
