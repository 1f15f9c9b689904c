"""After a real run of Nautilus's engine the rows say what its cache says."""

from __future__ import annotations

import os
import random
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from gambling_engine import EXTERNAL_ORDERS, INVERSE, RUNS, SPOT, gambling_engine
from journal_store import JournalStore
from nautilus_trader.model.enums import OmsType
from nautilus_trader.model.events import OrderUpdated

from nautilus_ext.persistence import Mirror, MirrorConfig, mirror, records, segments
from nautilus_ext.persistence.encode import Encoder
from nautilus_ext.persistence.ledger import Ledger

if TYPE_CHECKING:
    from pathlib import Path

    from nautilus_trader.backtest.engine import BacktestEngine

    from nautilus_ext.persistence.records import Record

SEED = int(os.environ.get("FOLD_SEED", "0")) or random.randrange(1, 10**9)
RAISING_SEED = 2  # with it Nautilus raises dozens of quantities after it told them
DUST_SEEDS = (7919, 15838, 31676)  # an order opens a position twice in a nanosecond, and its commission leaves dust


class Witness:
    """Encodes every event at the moment at which it is published."""

    def __init__(self, msgbus: Any) -> None:
        self.said: list[tuple[str, bytes]] = []  # id and body; an event may be published twice
        self.encoder = Encoder()
        for topic in ("events.order.*", "events.position.*", "events.account.*"):
            msgbus.subscribe(topic, self._take, priority=mirror.FIRST)

    def _take(self, event: Any) -> None:
        self.said.append((event.id.value, records.decode(1, self.encoder.event(1, event)).body))


def run(folder: Path, instrument: Any, oms: OmsType, seed: int) -> tuple[BacktestEngine, list[Record], Witness]:
    """Trade with the mirror of a backtest beside it, and read its log."""
    recorder = Mirror(MirrorConfig(folder=str(folder), book_id="b", run=1, epoch=1, flush="batch"))
    engine = gambling_engine(instrument, oms, seed, recorder)
    witness = Witness(engine.kernel.msgbus)
    engine.run()
    recorder._flush()
    assert "" == recorder.mirror_state.last_error
    (path,) = segments.segments(segments.run_folder(folder, 1))
    frames, _ = segments.read_frames(path, 0, segments.SEGMENT_BYTES_MAX)
    return engine, [records.decode(1, payload) for _, payload in frames], witness


def shipped(journal: list[Record]) -> JournalStore:
    store, ledger = JournalStore(), Ledger("b")
    for start in range(0, len(journal), 97):
        store.ship(ledger, journal[start : start + 97])
    return store


@pytest.mark.parametrize("seed", [RAISING_SEED, SEED])
@pytest.mark.parametrize(("instrument", "oms"), RUNS)
def test_what_is_written_later_says_what_was_published(
    tmp_path: Path, instrument: Any, oms: OmsType, seed: int
) -> None:
    """Nautilus changes some events after it published them; in a batch they are encoded before that."""
    print(f"FOLD_SEED={seed}")
    engine, journal, witness = run(tmp_path, instrument, oms, seed)
    written = [(records.ids(record).event_id, record) for record in journal]
    published = dict(witness.said)
    assert witness.said == [(event_id, record.body) for event_id, record in written if event_id in published]
    unpublished = {record.type for event_id, record in written if event_id not in published}
    assert {"Instrument", "OrderInitialized"} == unpublished - {"Marks"}
    if seed == RAISING_SEED and oms == OmsType.NETTING:
        now = {event.id.value: Encoder().event(1, event) for o in engine.cache.orders() for event in o.events}
        changed = [key for key in published.keys() & now if records.decode(1, now[key]).body != published[key]]
        assert changed, "nothing was changed after its publication: no proof"
    engine.dispose()


def quantity_told(order: Any, witness: Witness) -> Decimal:
    """Return what the last event of an order said of its quantity.

    Nautilus 1.231's matching engine raises the quantity of stop and target without an event while their entry fills in
    parts: their OrderUpdated shares the Quantity that counts its fills.
    """
    published, told = dict(witness.said), order.init_event.quantity.as_decimal()
    for event in order.events:
        if type(event) is OrderUpdated and event.id.value in published:  # an emulator keeps its own to itself
            told = Decimal(msgspec.json.decode(published[event.id.value])["quantity"])
    return told


@pytest.mark.parametrize(("instrument", "oms"), RUNS[:4])
def test_the_rows_equal_the_cache_after_a_run(tmp_path: Path, instrument: Any, oms: OmsType) -> None:
    """Every order and position: partial fills, brackets, emulation, modifications, orders of nobody's."""
    print(f"FOLD_SEED={SEED}")
    engine, journal, witness = run(tmp_path, instrument, oms, SEED)
    store = shipped(journal)
    assert not store.rejected
    orders = {order.client_order_id.value: order for order in engine.cache.orders()}
    assert orders.keys() == {row.client_order_id for row in store.rows("orders")}
    raised = 0
    for row in store.rows("orders"):
        order = orders[row.client_order_id]
        told = quantity_told(order, witness)
        assert told == row.quantity
        assert order.type_string() == row.order_type
        if told == order.quantity.as_decimal():
            assert (order.status_string(), order.filled_qty.as_decimal()) == (row.status, row.filled_quantity)
        else:
            raised += 1
            assert order.parent_order_id is not None
    print(f"{raised} of {len(orders)} orders have another quantity than their events say")
    assert EXTERNAL_ORDERS == len([row for row in store.rows("orders") if row.strategy_id == "EXTERNAL"])
    assert sum(len(o.trade_ids) for o in engine.cache.orders()) == len(list(store.rows("fills")))
    held = {(p.id.value, p.side.name, p.quantity.as_decimal()) for p in engine.cache.positions_open()}
    assert held == {(r.position_id, r.side, r.quantity) for r in store.rows("positions") if r.side != "FLAT"}
    realized = sum(p.realized_pnl.as_decimal() for p in engine.cache.positions_open())
    for _, body in witness.said:  # hedging, Nautilus forgets a life whose order opens its position again
        said = msgspec.json.decode(body)
        if said["type"] == "PositionClosed":
            realized += Decimal(said["realized_pnl"].split()[0])
    (asset,) = store.rows("unified_positions")
    assert realized == asset.realized_pnl
    for account in engine.cache.accounts():
        (row,) = store.rows("accounts")
        assert account.id.value == row.account_id
    engine.dispose()


def test_an_inverse_position_is_worth_what_nautilus_says(tmp_path: Path) -> None:
    """Base units and open profit, at the last price of the run."""
    engine, journal, _ = run(tmp_path, INVERSE, OmsType.HEDGING, SEED)
    last = INVERSE.make_price(engine.cache.quote_tick(INVERSE.id).bid_price)
    marks = {"marks": [[INVERSE.id.value, str(last), 10**18]]}
    store = shipped([*journal, records.decode(1, msgspec.json.encode((0, "Marks", 1, 1, marks)))])
    rows = {row.position_id: row for row in store.rows("positions") if row.side != "FLAT"}
    assert rows.keys() == {position.id.value for position in engine.cache.positions_open()}
    for position in engine.cache.positions_open():
        row = rows[position.id.value]
        assert ("BTC", "BTC") == (row.currency, row.base_asset)
        assert pytest.approx(position.unrealized_pnl(last).as_double(), abs=2e-8) == float(row.unrealized_pnl)
        assert pytest.approx(position.signed_qty / position.avg_px_open) == float(row.base_quantity)
    engine.dispose()


@pytest.mark.parametrize("seed", [*DUST_SEEDS, SEED])
def test_nautilus_publishes_no_adjustment_and_its_snapshot_contains_it(tmp_path: Path, seed: int) -> None:
    """A commission in the base currency of a spot pair: what the position holds is what the row holds."""
    print(f"FOLD_SEED={seed}")
    engine, journal, _ = run(tmp_path, SPOT, OmsType.NETTING, seed)
    assert "PositionAdjusted" not in {record.type for record in journal}
    store = shipped(journal)
    held = {(p.id.value, p.quantity.as_decimal()) for p in engine.cache.positions_open()}
    assert held == {(r.position_id, r.quantity) for r in store.rows("positions") if r.side != "FLAT"}
    assert [a for p in engine.cache.positions() for a in p.adjustments], "no commission in the base currency: no proof"
    engine.dispose()
