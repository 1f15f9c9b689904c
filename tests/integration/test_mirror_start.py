"""What the mirror says of the book at a live start, and what it does when somebody deletes its file."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from mirror_engine import INSTRUMENT, log_of, make_engine, make_mirror, names
from nautilus_trader.model.enums import OmsType
from nautilus_trader.model.identifiers import ClientOrderId, PositionId
from nautilus_trader.model.position import Position
from nautilus_trader.test_kit.stubs.events import TestEventStubs
from nautilus_trader.test_kit.stubs.execution import TestExecStubs

from nautilus_ext.persistence import mirror, segments
from nautilus_ext.persistence.records import decode, typed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def engine() -> Iterator[Any]:
    engine = make_engine()
    yield engine
    engine.dispose()


def start_live(mirror_: Any) -> None:
    """Start on a loop, as a node does; no timer gets its turn."""

    async def start() -> None:
        mirror_.on_start()
        mirror_._cancel_timers()

    asyncio.run(start())


def hold(cache: Any) -> None:
    """One position, one order that rests, one that is closed."""
    entry = TestExecStubs.limit_order(instrument=INSTRUMENT, client_order_id=ClientOrderId("O-entry"))
    fill = TestEventStubs.order_filled(entry, instrument=INSTRUMENT, position_id=PositionId("P-1"))
    cache.add_position(Position(INSTRUMENT, fill), OmsType.HEDGING)
    resting = TestExecStubs.make_accepted_order(instrument=INSTRUMENT, client_order_id=ClientOrderId("O-open"))
    closed = TestExecStubs.limit_order(instrument=INSTRUMENT, client_order_id=ClientOrderId("O-closed"))
    closed.apply(TestEventStubs.order_rejected(closed))
    for order in (resting, closed):
        cache.add_order(order)
        cache.update_order(order)


def test_a_live_start_says_what_the_book_holds(tmp_path: Path, engine: Any) -> None:
    """After the instruments that it names; numbered; and the tables can read it."""
    mirror_ = make_mirror(tmp_path)
    engine.add_actor(mirror_)
    hold(engine.kernel.cache)
    start_live(mirror_)
    instrument, held = log_of(tmp_path)
    assert ["Instrument", "Held"] == [instrument.type, held.type]
    (position,) = engine.kernel.cache.positions_open()
    who = [position.account_id.value, INSTRUMENT.id.value, position.strategy_id.value, "P-1", "O-entry"]
    assert (2, {"positions": [[*who, "LONG", str(position.quantity)]], "orders": ["O-open"]}) == (held.seq, held.body)
    (path,) = segments.segments(segments.run_folder(tmp_path, 1))
    _, payload = segments.read_frames(path, 0)[0][-1]
    typed(decode(1, payload))
    assert "" == mirror_.mirror_state.last_error


def test_a_book_without_anything_says_so(tmp_path: Path, engine: Any) -> None:
    """Nothing held is news as well; a backtest begins with nothing and says nothing."""
    live, batch = make_mirror(tmp_path), make_mirror(tmp_path, "batch", run=2)
    for each in (live, batch):
        engine.add_actor(each)
        start_live(each)
    assert ["Held"] == names(log_of(tmp_path))
    assert {"positions": [], "orders": []} == log_of(tmp_path)[0].body
    batch._flush()
    assert [] == log_of(tmp_path, 2)


def test_a_book_that_holds_too_much_for_a_record_says_so(tmp_path: Path, engine: Any, monkeypatch: Any) -> None:
    """No half of it: the error shows in the state, and the events go on."""
    monkeypatch.setattr(mirror, "RECORD_BYTES_MAX", mirror.HELD_FRAME_BYTES_MAX + 100)
    mirror_ = make_mirror(tmp_path)
    engine.add_actor(mirror_)
    hold(engine.kernel.cache)
    start_live(mirror_)
    assert [] == log_of(tmp_path)
    assert "1 open positions and 1 working orders make a record of" in mirror_.mirror_state.last_error


def test_a_deleted_segment_is_followed_by_the_next(tmp_path: Path, engine: Any, caplog: Any) -> None:
    """Within a second; what comes after it is in a file with a name, under the next numbers; told once."""
    mirror_ = make_mirror(tmp_path)
    engine.add_actor(mirror_)
    order = TestExecStubs.limit_order(instrument=INSTRUMENT)
    engine.kernel.msgbus.publish("events.order.S-001", order.init_event)
    folder = segments.run_folder(tmp_path, 1)
    (path,) = segments.segments(folder)
    path.unlink()
    for _ in range(2):
        mirror_._look_around()
    engine.kernel.msgbus.publish("events.order.S-001", TestEventStubs.order_accepted(order))
    assert [folder / "00000002.seg"] == segments.segments(folder)
    assert 3 == segments.read_header(folder / "00000002.seg")[0].first_seq
    assert [(3, "OrderAccepted")] == [record[:2] for record in log_of(tmp_path)]
    assert 1 == sum("the newest segment was deleted" in record.message for record in caplog.records)
