"""The mirror in a real engine: what is published is in the log, exactly once, in order, as Nautilus says it."""

from __future__ import annotations

import threading
import time
from decimal import Decimal

import msgspec
import pytest
from mirror_engine import INSTRUMENT, Witness, as_json, log_of, make_engine, make_mirror, names
from nautilus_trader.config import ImportableActorConfig
from nautilus_trader.model.events import OrderInitialized, OrderSubmitted
from nautilus_trader.model.identifiers import ClientOrderId
from nautilus_trader.test_kit.stubs.events import TestEventStubs
from nautilus_trader.test_kit.stubs.execution import TestExecStubs

from nautilus_ext.errors import BookTaken, ConfigError
from nautilus_ext.messages import MIRROR_STATE, RISK_DECISIONS, ROUTING_DECISIONS, RiskDecision, RoutingDecision
from nautilus_ext.persistence import Mirror, mirror, segments


@pytest.fixture
def engine():
    engine = make_engine()
    yield engine
    engine.dispose()


def test_a_backtest_of_ten_thousand_events_is_in_the_log(tmp_path):
    """Batch and event policy, each over many segments: every event once, gapless, in order, equal to `to_dict`."""
    engine = make_engine(quotes=1_200)
    mirrors = {1: make_mirror(tmp_path, "batch", 1), 2: make_mirror(tmp_path, "event", 2, segment_bytes_max=300_000)}
    for each in mirrors.values():
        engine.add_actor(each)
    witness = Witness(engine.kernel.msgbus)
    engine.run()
    engine.dispose()
    assert len(witness.seen) > 10_000
    for run, each in mirrors.items():
        each.finish(clean=True)
        records = log_of(tmp_path, run)
        numbered = [record for record in records if record.seq]
        assert list(range(1, len(numbered) + 1)) == [record.seq for record in numbered]
        events = [record[1:] for record in numbered if record.type != "Instrument"]
        assert [(name, ts, init, as_json(body)) for name, ts, init, body in witness.seen] == events
        assert (0, "End", {"last_seq": len(numbered), "clean": True}) == (*records[-1][:2], records[-1].body)
        assert (len(numbered), "", 0) == (each.seq, each.mirror_state.last_error, each._run_log.failures)
    assert len(segments.segments(segments.run_folder(tmp_path, 2))) > 10


def test_what_comes_first_is_there_and_what_comes_last(tmp_path):
    """The account before the start; the instrument before its first event; what the strategies' stop causes; marks."""
    engine = make_engine(quotes=8)
    mirror_ = make_mirror(tmp_path, "batch")
    engine.add_actor(mirror_)
    engine.run()
    engine.dispose()
    mirror_.finish(clean=True)
    records = log_of(tmp_path)
    assert ["AccountState", "Instrument", "OrderInitialized"] == names(records)[:3]
    (instrument,) = [record for record in records if record.type == "Instrument"]
    assert (INSTRUMENT.id.value, "CryptoPerpetual") == (
        instrument.body["instrument_id"],
        instrument.body["instrument_type"],
    )
    fills = [record for record in records if record.type == "OrderFilled"]
    assert "0.500" == fills[-1].body["last_qty"], "the order of on_stop"
    (marks,) = [record for record in records if record.type == "Marks"]
    assert 0 == marks.seq
    assert [[INSTRUMENT.id.value, "50007.5", 7 * 10**9]] == [[n, p, ts] for n, p, ts in marks.body["marks"]]
    assert "End" == records[-1].type


def test_an_actor_of_a_config_file_mirrors_too(tmp_path):
    """The config strings are public: the same from an importable config."""
    config = {"folder": str(tmp_path), "book_id": "B", "run": 1, "epoch": 1, "flush": "batch", "external_venues": ["X"]}
    paths = {"actor_path": "nautilus_ext.persistence:Mirror", "config_path": "nautilus_ext.persistence:MirrorConfig"}
    engine = make_engine(quotes=3, actors=(ImportableActorConfig(**paths, config=config),))
    engine.run()
    engine.dispose()
    assert "AccountState" == log_of(tmp_path)[0].type, "dispose has flushed"


def test_an_order_that_nobody_initialized_begins_in_the_log_all_the_same(tmp_path, engine):
    """External and reconciled orders: the first event is taken from the cache, before what happened, and once."""
    engine.add_actor(make_mirror(tmp_path))
    order = TestExecStubs.limit_order(instrument=INSTRUMENT)
    engine.kernel.cache.add_order(order)
    for event in (TestEventStubs.order_accepted(order), TestEventStubs.order_canceled(order)):
        engine.kernel.msgbus.publish("events.order.EXTERNAL", event)
    unknown = TestExecStubs.limit_order(instrument=INSTRUMENT, client_order_id=ClientOrderId("O-unknown"))
    engine.kernel.msgbus.publish("events.order.EXTERNAL", TestEventStubs.order_accepted(unknown))
    records = log_of(tmp_path)
    assert ["Instrument", "OrderInitialized", "OrderAccepted", "OrderCanceled", "OrderAccepted"] == names(records)
    assert as_json(OrderInitialized.to_dict(order.init_event)) == records[1].body


def test_known_orders_are_bounded(tmp_path, engine, monkeypatch):
    """Past the bound closed orders are forgotten, open ones are not; a forgotten one begins again, for the fold."""
    monkeypatch.setattr(mirror, "KNOWN_ORDERS_MAX", 10)
    mirror_ = make_mirror(tmp_path)
    engine.add_actor(mirror_)
    cache, msgbus = engine.kernel.cache, engine.kernel.msgbus
    resting = TestExecStubs.make_accepted_order(instrument=INSTRUMENT, client_order_id=ClientOrderId("O-open"))
    cache.add_order(resting)
    cache.update_order(resting)
    msgbus.publish("events.order.S-001", resting.init_event)
    for number in range(50):
        order = TestExecStubs.limit_order(instrument=INSTRUMENT, client_order_id=ClientOrderId(f"O-{number}"))
        cache.add_order(order)
        order.apply(TestEventStubs.order_rejected(order))
        cache.update_order(order)
        msgbus.publish("events.order.S-001", order.init_event)
    assert len(mirror_._known_orders) <= 10
    msgbus.publish("events.order.S-001", TestEventStubs.order_accepted(resting))
    assert ["OrderInitialized", "OrderAccepted"] == names(log_of(tmp_path))[-2:]
    assert 51 == names(log_of(tmp_path)).count("OrderInitialized"), "the open one did not begin again"


def test_decisions_are_numbered_among_the_events(tmp_path, engine):
    """With their instrument before them, even when no order names it."""
    engine.add_actor(make_mirror(tmp_path))
    who = {"strategy_id": "S-1", "instrument_id": INSTRUMENT.id.value, "ts_ns": 5}
    risk = RiskDecision(client_order_id="O-1", verdict="refused", limit=Decimal("1.50"), details={"a": "b"}, **who)
    routing = RoutingDecision(parent_client_order_id="O-1", plan=1, slice=2, chosen=[{"venue": "X"}], **who)
    foreign = RiskDecision(client_order_id="O-2", verdict="approved", strategy_id="S", instrument_id="odd", ts_ns=6)
    engine.kernel.msgbus.publish(RISK_DECISIONS, risk)
    engine.kernel.msgbus.publish(ROUTING_DECISIONS, routing)
    engine.kernel.msgbus.publish(RISK_DECISIONS, foreign)
    records = log_of(tmp_path)
    assert ["Instrument", "RiskDecision", "RoutingDecision", "RiskDecision"] == names(records)
    assert [msgspec.to_builtins(each) for each in (risk, routing, foreign)] == [record.body for record in records[1:]]
    assert 5 == records[1].ts_event == records[2].ts_init


def test_two_threads_have_one_order(tmp_path, engine):
    """Live timers call on threads of their own: numbers and file agree, and each thread's events keep their order."""
    mirror_ = make_mirror(tmp_path, segment_bytes_max=200_000)
    engine.add_actor(mirror_)
    before = mirror_.seq
    orders = [
        TestExecStubs.limit_order(instrument=INSTRUMENT, client_order_id=ClientOrderId(f"O-{n}")) for n in range(2)
    ]
    events = [[TestEventStubs.order_accepted(order, ts_event=n) for n in range(3_000)] for order in orders]

    def publish(mine) -> None:
        for event in mine:
            engine.kernel.msgbus.publish("events.order.S-001", event)

    threads = [threading.Thread(target=publish, args=(mine,)) for mine in events]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    records = [record for record in log_of(tmp_path) if record.seq > before and record.type == "OrderAccepted"]
    assert list(range(1, mirror_.seq + 1)) == [record.seq for record in log_of(tmp_path)]
    for order in orders:
        mine = [record.ts_event for record in records if record.body["client_order_id"] == order.client_order_id.value]
        assert list(range(3_000)) == mine


@pytest.mark.parametrize("flush", ["event", "batch"])
def test_a_failing_encoder_costs_one_record_and_says_so(tmp_path, engine, flush, caplog):
    """The handler does not raise, the missing number shows, the others are written; logged once, and at the end."""
    mirror_ = make_mirror(tmp_path, flush)
    engine.add_actor(mirror_)
    encode = mirror_._run_log._encoder.event

    def failing(seq, event):
        if type(event) is OrderSubmitted:
            raise MemoryError("planted")
        return encode(seq, event)

    mirror_._run_log._encoder.event = failing
    order = TestExecStubs.limit_order(instrument=INSTRUMENT)
    accepted = TestEventStubs.order_accepted(order)
    for event in (order.init_event, *[TestEventStubs.order_submitted(order)] * 2, accepted):
        engine.kernel.msgbus.publish("events.order.S-001", event)
    assert 2 == mirror_.finish(clean=True)
    records = log_of(tmp_path)
    assert [
        (1, "Instrument"),
        (2, "OrderInitialized"),
        (5, "OrderAccepted"),
        (0, "End"),
    ] == [record[:2] for record in records]
    assert (2, "2 events not written: MemoryError: planted") == (
        mirror_._run_log.failures,
        mirror_.mirror_state.last_error,
    )
    told = [each.message for each in caplog.records if each.name == "nautilus_ext.persistence.run_log"]
    assert ["an event could not be written", "the log of this run is not whole"] == [
        text.partition(":")[0].removesuffix(" to the log; further ones are only counted") for text in told
    ]
    assert {"last_seq": 5, "clean": False} == records[-1].body


def test_an_instrument_that_cannot_be_described_costs_no_event(tmp_path, engine, monkeypatch):
    """Its record says why; the event after it is whole."""
    monkeypatch.setattr(mirror, "describe", lambda *_: 1 / 0)
    mirror_ = make_mirror(tmp_path)
    engine.add_actor(mirror_)
    order = TestExecStubs.limit_order(instrument=INSTRUMENT)
    for _ in range(2):
        engine.kernel.msgbus.publish("events.order.S-001", order.init_event)
    assert ["Instrument", "OrderInitialized", "OrderInitialized"] == names(log_of(tmp_path))
    assert "division by zero" in log_of(tmp_path)[0].body["error"]
    assert 1 == mirror_._run_log.failures


def test_the_end_is_written_once_and_the_log_given_back(tmp_path, engine):
    """Nothing follows the end: an event after it is a fault that is told, and no other file gets it."""
    mirror_ = make_mirror(tmp_path)
    engine.add_actor(mirror_)
    with pytest.raises(BookTaken):
        engine.add_actor(make_mirror(tmp_path, component_id="Second"))
    assert 0 == mirror_.finish(clean=False)
    assert 0 == mirror_.finish(clean=True)
    assert not segments.is_locked(segments.run_folder(tmp_path, 1) / segments.NODE_LOCK)
    order = TestExecStubs.limit_order(instrument=INSTRUMENT)
    engine.kernel.msgbus.publish("events.order.S-001", order.init_event)
    assert ["End"] == names(log_of(tmp_path))
    assert {"last_seq": 0, "clean": False} == log_of(tmp_path)[-1].body
    assert "after the end of the run" in mirror_.mirror_state.last_error


def test_a_mirror_without_a_book_says_where_it_gets_one(tmp_path, engine, monkeypatch):
    """Not a folder that happens to be the current one."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="nautilus_ext run"):
        engine.add_actor(Mirror())
    assert [] == list(tmp_path.iterdir())


def test_what_waits_for_the_database_is_watched(tmp_path, engine):
    """What lies behind the place that the shipper has reached, however old its word is; nonsense is no word."""
    mirror_ = make_mirror(tmp_path, unshipped_bytes_max=100)
    engine.add_actor(mirror_)
    heard = []
    engine.kernel.msgbus.subscribe(MIRROR_STATE, heard.append)
    order = TestExecStubs.limit_order(instrument=INSTRUMENT)
    engine.kernel.msgbus.publish("events.order.S-001", order.init_event)
    state = segments.run_folder(tmp_path, 1) / segments.SHIPPER_STATE
    (path,) = segments.segments(state.parent)
    size = path.stat().st_size
    word = {"run": 1, "shipped_seq": 2, "segment": 1, "offset": size - 5, "at_ns": time.time_ns(), "last_error": "slow"}
    for said in (b"", msgspec.json.encode(word), b"{", msgspec.json.encode({**word, "run": 2, "shipped_seq": 9})):
        state.write_bytes(said)
        mirror_._look_around()
    assert [0, 2, 2, 2] == [each.shipped_seq for each in heard]
    assert [size, 5, 5, 5] == [each.unshipped_bytes for each in heard]
    excess = (
        f"{size:,} bytes wait for the database, more than persistence.unshipped_bytes_max (100): the node trades on"
    )
    assert heard[0].last_error.startswith(excess)
    assert "slow" == heard[1].last_error
    assert (2, 0) == (heard[-1].seq, heard[-1].lag)
    state.write_bytes(msgspec.json.encode({**word, "pid": 77, "at_ns": 1, "last_error": ""}))
    mirror_._look_around()
    assert "the shipper (pid 77) has said nothing for " in heard[-1].last_error


def test_live_work_that_fails_does_not_end_the_node(tmp_path, engine, monkeypatch, caplog):
    """It is said once, it shows in the state as long as it lasts, and the log is none the worse for it."""
    mirror_ = make_mirror(tmp_path)
    engine.add_actor(mirror_)
    with monkeypatch.context() as patch:
        patch.setattr(mirror, "marks", lambda _: 1 / 0)
        for _ in range(2):
            mirror_._guarded(mirror_._write_marks)
    assert "ZeroDivisionError: division by zero" == mirror_.mirror_state.last_error
    assert ["the mirror goes on without: write marks"] == [each.message for each in caplog.records]
    mirror_._guarded(mirror_._write_marks)
    assert "" == mirror_.mirror_state.last_error
    mirror_.finish(clean=True)
    assert {"last_seq": 0, "clean": True} == log_of(tmp_path)[-1].body
