"""After kill -9 the rows of a pyramid are made to agree with the venue again."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from decimal import Decimal

import asyncpg
import pytest
from exchange_client import exchange_in
from pyramid_node import ETH, Play


@pytest.fixture
def play(fast_folder, database, wait_until):
    with exchange_in(fast_folder) as folder:
        folder.mkdir()
        yield Play(folder, database, wait_until)


def test_a_node_killed_between_claim_and_row_finds_its_entry(play):
    """The order was filled and nobody wrote the row: the claimed signal and the venue tell what to write."""
    with play.node() as first:
        play.until_count(1)
        first.kill()
        first.wait()
    lost = max(play.positions().values(), key=lambda row: row["opened_ns"])
    play.change(f"UPDATE signal_log SET outcome = 'claimed' WHERE fingerprint = '{lost['fingerprint']}'")
    play.change(
        f"UPDATE pyramiding_state SET pyramid_count = pyramid_count - 1, version = version + 1 "
        f"WHERE instrument_id = '{ETH}'"
    )
    play.change(f"DELETE FROM portfolio_positions WHERE position_id = '{lost['position_id']}'")
    with play.node(pyramids=1):
        play.until(lambda: lost["position_id"] in play.positions())
        found = play.positions()[lost["position_id"]]
        same = ("quantity", "entry_price", "side", "is_base_position", "initial_stop", "fingerprint", "realized_pnl")
        assert {key: lost[key] for key in same} == {key: found[key] for key in same}
        play.until(lambda: 1 == play.count())
        assert 2 == len(play.positions())


def test_what_the_venue_closed_while_the_node_was_away_is_closed_here(play):
    """The rows of a position that is gone are closed, and a new base may follow."""
    with play.node(target_bps="40", stop_bps="40", pyramids=1) as first:
        play.until(lambda: [row for row in play.positions().values() if row["status"] == "open"])
        first.kill()
        first.wait()
    left = {name for name, row in play.positions().items() if row["status"] != "closed"}
    assert left
    play.until(lambda: left <= play.closed_at_exchange())
    with play.node(pyramids=1):
        play.until(lambda: all(play.positions()[name]["status"] == "closed" for name in left))
        reasons = {play.positions()[name]["close_reason"] for name in left}
        assert {"closed while away"} == reasons
        assert all(play.positions()[name]["exit_price"] for name in left), "the venue's fills tell the price"


def test_a_database_that_hangs_stops_the_entries_for_as_long_as_it_hangs(play, database):
    """Fills during the outage become rows after it; meanwhile it holds its fire and says so."""
    with play.node():
        play.until_count(1)
        with locked(database, "portfolio_positions"):
            play.until(lambda: "Holding fire" in play.said())
            during, risen = len(play.rows("signal_log")), play.price() * Decimal("1.003")
            play.until(lambda: play.price() > risen)  # three steps, each of which asks for an addition
            assert during == len(play.rows("signal_log")), "not one more signal was acted upon"
        count = play.count()
        play.until_count(count + 2)
    executed = {row["client_order_id"] for row in play.rows("signal_log") if row["outcome"] == "executed"}
    assert executed == set(play.positions())


@contextmanager
def locked(database, table):
    """Nobody writes the table as long as this lasts."""

    async def lock() -> None:
        connection = await asyncpg.connect(database.owner_url)
        async with connection.transaction():
            await connection.execute(f"LOCK TABLE {table} IN EXCLUSIVE MODE")
            has_it.set()
            await asyncio.to_thread(let_go.wait)
        await connection.close()

    has_it, let_go = threading.Event(), threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(lock()))
    thread.start()
    assert has_it.wait(10)
    yield
    let_go.set()
    thread.join()
