"""What a book holds comes out of its tables as it was in the node: the cache of the next node says the same."""

from __future__ import annotations

import os
import random
import socket
import time

import asyncpg
import msgspec
import pandas as pd
import pytest
from gambling_engine import RUNS, gambling_engine
from nautilus_trader.cache.cache import Cache
from nautilus_trader.common.actor import Actor
from nautilus_trader.common.component import MessageBus, TestClock
from nautilus_trader.model.events import OrderUpdated
from nautilus_trader.model.identifiers import PositionId, TraderId
from nautilus_trader.portfolio.portfolio import Portfolio

from nautilus_ext.app.book import BacktestBook
from nautilus_ext.persistence import Mirror, MirrorConfig, Restore, RestoreConfig
from nautilus_ext.persistence.audit import Place, audit, opened
from nautilus_ext.persistence.holdings import read_holdings
from nautilus_ext.persistence.segments import SegmentWriter, read_frames, segments
from nautilus_ext.persistence.shipper.launch import Shipping
from nautilus_ext.persistence.shipper.state import ShipperOrder

SEED = int(os.environ.get("RESTORE_SEED", "0")) or random.randrange(1, 10**9)
DRAIN_S = 30.0
LOG_BYTES_MAX = 100_000_000
ANEW = {"event_id": "", "ts_init": 0}  # what is said later is another saying of the same
PURGE_EVERY_S = 7
FOR_EVER_S = time.time()  # nothing is recent: only what is open


class Purger(Actor):
    """Purges what is closed, as `exec_engine.purge_…` does in a live node.

    A bracket goes as a whole: Nautilus's emulator raises when it looks for a member that is gone before another.
    """

    def on_start(self) -> None:
        self.clock.set_timer("purge", pd.Timedelta(seconds=PURGE_EVERY_S), callback=self._purge)

    def _purge(self, event) -> None:
        for order in self.cache.orders_closed():
            others = (order.parent_order_id, *(order.linked_order_ids or ()))
            if not any(self.cache.is_order_open(each) or self.cache.is_order_emulated(each) for each in others if each):
                self.cache.purge_order(order.client_order_id)
        self.cache.purge_closed_positions(event.ts_event)
        self.cache.purge_account_events(event.ts_event)


@pytest.fixture
def shipped(database, tmp_path):
    """Run an engine until its end with open orders and positions, and bring its events into the tables."""
    engines = []
    updated = {}

    def remember(event) -> None:
        if isinstance(event, OrderUpdated):
            updated[event.client_order_id] = str(event.quantity)

    def run(instrument, oms, seed, *actors):
        book = BacktestBook.record(
            database.app_url, book_id="B", trader_id="T-1", instance_id="i", connect_timeout_s=5.0
        )
        place = {"book_id": "B", "run": book.run, "epoch": book.epoch}
        mirror = Mirror(MirrorConfig(folder=str(tmp_path / "B"), flush="batch", **place))
        engine = gambling_engine(instrument, oms, seed, mirror)
        engines.append(engine)
        for actor in actors:
            engine.add_actor(actor)
        engine.kernel.msgbus.subscribe("events.order.*", remember)
        engine.run()
        shipping = Shipping.start(ShipperOrder(journal_folder=str(tmp_path / "B"), url=database.app_url, **place))
        mirror.finish(clean=True)
        assert shipping.drain(DRAIN_S), shipping.state
        shipping.close()
        return engine

    run.updated = updated
    yield run
    for engine in engines:
        engine.dispose()


@pytest.fixture
def heard():
    """Position events that a restored node tells when it starts."""
    return []


@pytest.fixture
def restored(database, tmp_path, heard):
    """Put back what the book holds, into an empty cache, and start."""

    async def restore() -> Cache:
        async with opened(database.app_url, 5.0, "test") as connection:
            holdings = await read_holdings(connection, "B", recent_s=FOR_EVER_S)
        path = tmp_path / "holdings.json"
        path.write_bytes(msgspec.json.encode(holdings))
        clock = TestClock()
        cache, msgbus = Cache(), MessageBus(trader_id=TraderId("T-1"), clock=clock)
        actor = Restore(RestoreConfig(path=str(path)))
        actor.register_base(Portfolio(msgbus, cache, clock), msgbus, cache, clock)
        print(actor.restored)
        msgbus.subscribe("events.position.*", heard.append)
        msgbus.register("ExecEngine.process", [].append)
        actor.on_start()
        return cache

    return restore


def of_order(cache, order, updated=None) -> tuple:
    trades = sorted(trade_id.value for trade_id in order.trade_ids)
    position_id = cache.position_id(order.client_order_id) or order.position_id
    place = (order.strategy_id, order.account_id, order.venue_order_id, position_id, order.emulation_trigger)
    price = order.price if order.has_price else None
    quantity = (updated or {}).get(order.client_order_id, str(order.quantity))
    return (*place, order.status_string(), order.type_string(), quantity, order.filled_qty, price, trades)


def of_position(position) -> tuple:
    figures = (position.signed_decimal_qty(), position.avg_px_open, position.realized_pnl, position.peak_qty)
    return (*figures, position.side, position.entry, position.strategy_id, position.account_id, position.ts_opened)


@pytest.mark.parametrize("seed", [1, 2, SEED])
@pytest.mark.parametrize(("instrument", "oms"), RUNS)
async def test_the_next_cache_says_what_the_last_one_said(shipped, restored, instrument, oms, seed):
    """Orders of every kind, partly filled, emulated, of brackets and of nobody; positions long, short and turned."""
    print(f"RESTORE_SEED={seed}")
    engine = shipped(instrument, oms, seed)
    assert_says_the_same(engine, await restored(), shipped.updated)


@pytest.mark.parametrize("kind", RUNS[:2])
async def test_what_nautilus_purged_is_missed_by_nobody(shipped, restored, database, tmp_path, kind):
    """Journal, tables and the next cache are whole: none of them needs what is closed to be in memory."""
    print(f"RESTORE_SEED={SEED}")
    engine = shipped(*kind, SEED, Purger())
    assert_says_the_same(engine, await restored(), shipped.updated)
    async with opened(database.app_url, 5.0, "test") as connection:
        report = await audit(connection, Place("B", tmp_path / "B", socket.gethostname()))
        orders = await connection.fetchval("SELECT count(*) FROM unified_orders")
    assert report.listed == []
    assert orders > 1.5 * engine.cache.orders_total_count(), "hardly anything was purged"


def assert_says_the_same(engine, cache, updated) -> None:
    """Hold a cache against that of the engine, and quantities against what was said of them when it was said.

    Nautilus's matching engine gives a bracket's leg the very object in which it counts what the entry has filled: the
    leg, and the event that is in it, grow later without a word. No venue does that.
    """
    told = {order.client_order_id: of_order(cache, order) for order in cache.orders()}
    working = [*engine.cache.orders_open(), *engine.cache.orders_emulated()]
    assert working
    assert {order.client_order_id: of_order(engine.cache, order, updated) for order in working} == {
        order.client_order_id: told.get(order.client_order_id) for order in working
    }
    assert {p.id: of_position(p) for p in engine.cache.positions_open()} == {
        p.id: of_position(p) for p in cache.positions_open()
    }
    for account in engine.cache.accounts():
        assert account.balances_total() == cache.account(account.id).balances_total()


def cut_after_a_fill(source, target, kind, rng) -> tuple[dict, int]:
    """Copy a log up to a fill whose position was told next; return what was told of it, and how far the copy goes."""
    payloads = [payload for path in segments(source) for _, payload in read_frames(path, 0, LOG_BYTES_MAX)[0]]
    records = [msgspec.json.decode(payload) for payload in payloads]
    told = [i for i, record in enumerate(records) if fill_of(records, i) is not None]
    at = rng.choice([i for i in told if records[i][1] == kind] or told)  # fees in the base leave dust: never closed
    writer = SegmentWriter(target, book_id="B", run=1, epoch=1)
    writer.append_many(payloads[: fill_of(records, at) + 1])
    writer.close()
    return records[at][4], fill_of(records, at) + 1


def fill_of(records, at) -> int | None:
    """Find the fill that a position event tells of: all of it, and nothing else of that instrument in between."""
    told = records[at][4]
    if not records[at][1].startswith("Position"):
        return None
    before = range(at - 1, max(at - 5, 0), -1)
    fill = next((i for i in before if records[i][1] == "OrderFilled" or records[i][1].startswith("Position")), at)
    body = records[fill][4]
    return fill if records[fill][1] == "OrderFilled" and body["last_qty"] == told["last_qty"] else None


@pytest.mark.parametrize("seed", [1, SEED])
@pytest.mark.parametrize("kind", ["PositionOpened", "PositionChanged", "PositionClosed"])
@pytest.mark.parametrize(("instrument", "oms"), RUNS)
async def test_a_fill_whose_position_was_not_told_is_told_at_the_next_start(  # noqa: PLR0917 - fixtures and cases
    database, tmp_path, restored, heard, instrument, oms, kind, seed
):
    """The node was killed between the two records of one fill."""
    print(f"RESTORE_SEED={seed}")
    book = BacktestBook.record(database.app_url, book_id="B", trader_id="T-1", instance_id="i", connect_timeout_s=5.0)
    place = {"book_id": "B", "run": book.run, "epoch": book.epoch}
    mirror = Mirror(MirrorConfig(folder=str(tmp_path / "whole"), flush="batch", **place))
    engine = gambling_engine(instrument, oms, seed, mirror)
    engine.run()
    mirror.finish(clean=True)
    engine.dispose()
    told, seq = cut_after_a_fill(tmp_path / "whole" / "000001", tmp_path / "B" / "000001", kind, random.Random(seed))
    shipping = Shipping.start(ShipperOrder(journal_folder=str(tmp_path / "B"), url=database.app_url, **place))
    assert shipping.drain(DRAIN_S), shipping.state
    shipping.close()
    assert shipping.state.shipped_seq == seq
    cache = await restored()
    position = cache.position(PositionId(told["position_id"]))
    wanted = (told["signed_qty"], told["avg_px_open"], told["realized_pnl"], told["strategy_id"])
    assert wanted == (
        position.signed_qty, position.avg_px_open, str(position.realized_pnl), position.strategy_id.value
    )  # fmt: skip
    (event,) = heard
    assert {**told, **ANEW} == {**type(event).to_dict(event), **ANEW}


async def test_what_does_not_belong_to_an_order_keeps_no_node_from_starting(shipped, restored, database):
    """Decisions about an order in its journal, and an order whose row is missing: the others come back."""
    engine = shipped(*RUNS[0], 1)
    first, second, *_ = [order.client_order_id.value for order in engine.cache.orders_open()]
    decision = """INSERT INTO order_events (book_id, run, seq, type, client_order_id, ts_event, ts_init, payload)
                  VALUES ('B', 1, $1, $2, $3, 1, 1, '{}')"""
    connection = await asyncpg.connect(database.owner_url)
    for seq, kind in ((900_001, "RiskDecision"), (900_002, "RoutingDecision")):
        await connection.execute(decision, seq, kind, first)
    await connection.execute("DELETE FROM unified_orders WHERE client_order_id = $1", second)
    await connection.close()
    cache = await restored()
    told = {order.client_order_id.value for order in cache.orders()}
    assert first in told
    assert second not in told


async def test_a_position_whose_order_cannot_come_back_is_left_to_the_venue(shipped, restored, database):
    """The venue tells of that order and its fills again, and Nautilus refuses an order that has a position already."""
    engine = shipped(*RUNS[0], 1)
    left, *others = engine.cache.positions_open()
    lost = left.opening_order_id
    connection = await asyncpg.connect(database.owner_url)
    await connection.execute("DELETE FROM unified_orders WHERE client_order_id = $1", lost.value)
    await connection.close()
    cache = await restored()
    assert {each.id for each in others} >= {each.id for each in cache.positions_open()}
    assert left.id not in {each.id for each in cache.positions_open()}
    order = engine.cache.order(lost)
    cache.add_order(order, left.id)
    assert cache.order_exists(lost)


@pytest.mark.parametrize("definition", ["[]", "{}", f'{{"type": {"9" * 400}.5}}'], ids=len)
async def test_an_instrument_that_cannot_be_read_costs_its_positions_and_nothing_else(
    shipped, restored, database, caplog, definition
):
    """The node starts: the venue's own word of the instrument comes with reconciliation, and so do its positions."""
    engine = shipped(*RUNS[0], 1)
    connection = await asyncpg.connect(database.owner_url)
    await connection.execute("UPDATE instruments SET definition = $1", definition)
    await connection.close()
    cache = await restored()
    working = {order.client_order_id for order in (*engine.cache.orders_open(), *engine.cache.orders_emulated())}
    assert working
    assert working <= {order.client_order_id for order in cache.orders()}
    assert {each.id for each in engine.cache.accounts()} == {each.id for each in cache.accounts()}
    assert ([], []) == (cache.instruments(), cache.positions_open())
    assert f"not restored, the venue's word counts: instrument {RUNS[0][0].id}: " in caplog.text
