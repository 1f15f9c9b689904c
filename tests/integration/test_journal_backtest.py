"""A long backtest, from Nautilus's bus through the local log and the shipper's process into PostgreSQL."""

from __future__ import annotations

import asyncpg
from mirror_engine import TOPICS, make_engine

from nautilus_ext.app.book import BacktestBook
from nautilus_ext.persistence import Mirror, MirrorConfig
from nautilus_ext.persistence.shipper.launch import Shipping
from nautilus_ext.persistence.shipper.state import ShipperOrder

QUOTES = 8_700
EVENTS = 100_000
DRAIN_S = 60.0


async def test_every_one_of_a_hundred_thousand_events_is_in_the_journal_once_and_in_order(database, tmp_path):
    """A witness on the bus and the journal name the same events; the tables count the same orders, fills and ends."""
    book = BacktestBook.record(
        database.app_url, book_id="LONG", trader_id="T-1", instance_id="i", connect_timeout_s=5.0
    )
    place = {"book_id": "LONG", "run": book.run, "epoch": book.epoch}
    mirror = Mirror(MirrorConfig(folder=str(tmp_path / "LONG"), flush="batch", **place))
    engine = make_engine(quotes=QUOTES)
    engine.add_actor(mirror)
    witness = []
    for topic in TOPICS:
        engine.kernel.msgbus.subscribe(topic, witness.append, priority=99)
    shipping = Shipping.start(ShipperOrder(journal_folder=str(tmp_path / "LONG"), url=database.app_url, **place))
    engine.run()
    orders, fills = engine.cache.orders(), sum(len(each.trade_ids) for each in engine.cache.orders())
    engine.dispose()
    mirror.finish(clean=True)
    assert shipping.drain(DRAIN_S), shipping.state
    shipping.close()
    assert len(witness) >= EVENTS
    connection = await asyncpg.connect(database.app_url)
    try:
        rows = await connection.fetch("SELECT event_id FROM order_events WHERE book_id = 'LONG' ORDER BY run, seq")
        journal = [row["event_id"] for row in rows if row["event_id"] is not None]
        assert [each.id.value for each in witness] == journal
        assert mirror.seq == len(rows)
        statuses = await connection.fetch("SELECT client_order_id, status FROM unified_orders WHERE book_id = 'LONG'")
        assert {each.client_order_id.value: each.status.name for each in orders} == dict(map(tuple, statuses))
        assert fills == await connection.fetchval("SELECT count(*) FROM unified_fills WHERE book_id = 'LONG'")
        last_seq, durable_seq = await connection.fetchrow(
            "SELECT last_seq, durable_seq FROM runs WHERE book_id = 'LONG'"
        )
        assert (mirror.seq, mirror.seq) == (last_seq, durable_seq)
    finally:
        await connection.close()
