"""A real engine: what its cache says happened is in the log, once each."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.config import ImportableActorConfig, LoggingConfig, StrategyConfig
from nautilus_trader.model.currencies import BTC, USDT
from nautilus_trader.model.data import QuoteTick
from nautilus_trader.model.enums import AccountType, OmsType, OrderSide
from nautilus_trader.model.events import OrderSubmitted
from nautilus_trader.model.identifiers import ClientOrderId, PositionId, Venue
from nautilus_trader.model.objects import Money, Quantity
from nautilus_trader.model.position import Position
from nautilus_trader.test_kit.providers import TestInstrumentProvider
from nautilus_trader.test_kit.stubs.events import TestEventStubs
from nautilus_trader.test_kit.stubs.execution import TestExecStubs
from nautilus_trader.trading.strategy import Strategy

from nautilus_ext.logs import EventLog, EventLogConfig, LogSession
from nautilus_ext.logs import actor as actor_module

INSTRUMENT = TestInstrumentProvider.btcusdt_binance()
ORDER_STATES = ("OrderInitialized", "OrderDenied", "OrderSubmitted", "OrderAccepted", "OrderFilled", "OrderCanceled")


class Mixed(Strategy):
    """Market, resting, modified, cancelled and denied orders; one more while it is being stopped."""

    quotes = 0

    def on_start(self):
        self.subscribe_quote_ticks(INSTRUMENT.id)

    def on_quote_tick(self, tick):  # noqa: ARG002  the engine gives it
        self.quotes += 1
        if self.quotes % 5 == 1:
            side = OrderSide.BUY if self.quotes % 2 else OrderSide.SELL
            self.submit_order(self.order_factory.market(INSTRUMENT.id, side, INSTRUMENT.make_qty("0.5")))
        if self.quotes % 10 == 3:
            self.resting = self._limit("40000.00")
            self.submit_order(self.resting)
        if self.quotes % 10 == 5:
            self.modify_order(self.resting, price=INSTRUMENT.make_price("41000.00"))
        if self.quotes % 10 == 7:
            self.cancel_order(self.resting)
        if self.quotes == 20:
            self.submit_order(self.order_factory.market(INSTRUMENT.id, OrderSide.BUY, Quantity.from_str("0.123456789")))

    def on_stop(self):
        self.submit_order(self._limit("39000.00"))

    def _limit(self, price):
        return self.order_factory.limit(
            INSTRUMENT.id, OrderSide.BUY, INSTRUMENT.make_qty("0.1"), INSTRUMENT.make_price(price), tags=["op:1"]
        )


@pytest.fixture
def engine():
    actor = ImportableActorConfig(
        actor_path="nautilus_ext.logs:EventLog", config_path="nautilus_ext.logs:EventLogConfig", config={}
    )
    engine = _engine(actors=[actor])
    yield engine
    engine.dispose()


def _engine(actors=()):
    engine = BacktestEngine(BacktestEngineConfig(actors=list(actors), logging=LoggingConfig(bypass_logging=True)))
    engine.add_venue(Venue("BINANCE"), OmsType.NETTING, AccountType.CASH, [Money(9_000_000, USDT), Money(99, BTC)])
    engine.add_instrument(INSTRUMENT)
    engine.add_strategy(Mixed(StrategyConfig(strategy_id="MIXED-001")))
    size = INSTRUMENT.make_qty("10")
    prices = [(INSTRUMENT.make_price(50_000 + n), INSTRUMENT.make_price(50_001 + n), n * 10**9) for n in range(1, 41)]
    engine.add_data([QuoteTick(INSTRUMENT.id, bid, ask, size, size, ts, ts) for bid, ask, ts in prices])
    return engine


def run(engine, path, level="INFO"):
    with LogSession.start(level=level) as session:
        session.attach_file(path, max_bytes=10_000_000, retain_files=1)
        engine.run()
        session.close(timeout_s=20)
        assert session.lost == 0
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_each_event_of_each_order_is_one_record(engine, tmp_path):
    """Per order exactly one submission record, one per fill, one per other event, as the cache knows them."""
    records = run(engine, tmp_path / "book.jsonl")
    logged = Counter((r["event"], r["event_id"]) for r in records if r["component"] == "orders")
    events = [event for order in engine.cache.orders() for event in order.events]
    expected = Counter((type(event).__name__, event.id.value) for event in events)
    assert logged == expected
    assert set(logged.values()) == {1}
    assert set(ORDER_STATES) <= {name for name, _ in logged}
    submitted = Counter(r["client_order_id"] for r in records if r["event"] == "OrderSubmitted")
    assert submitted == Counter(o.client_order_id.value for o in engine.cache.orders() if o.status_string() != "DENIED")


def test_records_say_what_the_order_is(engine, tmp_path):
    """A submission record alone answers: which side, how much, at which price, for whom."""
    records = run(engine, tmp_path / "book.jsonl")
    for record in [r for r in records if r["event"] == "OrderSubmitted"]:
        order = next(o for o in engine.cache.orders() if o.client_order_id.value == record["client_order_id"])
        assert record["side"] == order.side_string()
        assert record["type"] == order.type_string()
        assert record["quantity"] == str(order.init_event.quantity)
        assert record["strategy_id"] == order.strategy_id.value
        assert record.get("price") == order.init_event.options.get("price")
    canceled = next(r for r in records if r["event"] == "OrderCanceled")
    assert canceled["price"] == "41000.00"
    (denied,) = [r for r in records if r["event"] == "OrderDenied"]
    assert denied["level"] == "WARNING"
    assert "precision" in denied["reason"]


def test_positions_and_accounts_are_in_it(engine, tmp_path):
    """Each position is opened and closed in the log; the first account state, before the start, is not missing."""
    records = run(engine, tmp_path / "book.jsonl")
    names = Counter(record["event"] for record in records)
    assert names["PositionOpened"] >= 1
    closed = [p for p in engine.cache.positions() if p.is_closed]
    earlier = [s for p in engine.cache.positions() for s in engine.cache.position_snapshots(p.id)]
    assert names["PositionClosed"] == len(closed) + len(earlier)
    account = engine.cache.accounts()[0]
    assert names["AccountState"] == account.event_count


def test_orders_of_the_stop_are_logged(engine, tmp_path):
    """The actor stops before the strategies: what they do in on_stop is real."""
    records = run(engine, tmp_path / "book.jsonl")
    assert "39000.00" in [record.get("price") for record in records if record["event"] == "OrderInitialized"]


@pytest.mark.parametrize("switch", ["log_orders", "log_fills", "log_positions", "log_accounts"])
def test_each_kind_can_be_switched_off(tmp_path, switch):
    """One switch removes its kind and nothing else; the counts for the live view go on."""
    engine = _engine()
    actor = EventLog(EventLogConfig(**{switch: False}))
    engine.add_actor(actor)
    records = run(engine, tmp_path / "book.jsonl")
    names = {record["event"] for record in records}
    kinds = {
        "log_orders": bool(names & {"OrderInitialized", "OrderSubmitted", "OrderAccepted", "OrderDenied"}),
        "log_fills": "OrderFilled" in names,
        "log_positions": "PositionOpened" in names,
        "log_accounts": "AccountState" in names,
    }
    assert kinds == {kind: kind != switch for kind in kinds}
    statuses = Counter(order.status_string() for order in engine.cache.orders())
    assert actor.counts["denied"] == statuses["DENIED"]
    assert actor.counts["canceled"] == statuses["CANCELED"]
    fills = [e for order in engine.cache.orders() for e in order.events if type(e).__name__ == "OrderFilled"]
    assert actor.counts["filled"] == len(fills) > 0
    engine.dispose()


def test_an_external_order_shows_although_nobody_initialized_it(tmp_path):
    """A reconciled order publishes no OrderInitialized: its first event says what it is all the same."""
    engine = _engine()
    actor = EventLog()
    engine.add_actor(actor)
    order = TestExecStubs.make_accepted_order(instrument=INSTRUMENT)
    path = tmp_path / "book.jsonl"
    with LogSession.start() as session:
        session.attach_file(path, max_bytes=1_000_000, retain_files=1)
        engine.kernel.cache.add_order(order)
        engine.kernel.msgbus.publish("events.order.EXTERNAL", TestEventStubs.order_accepted(order))
    (record,) = [json.loads(line) for line in path.read_text().splitlines()]
    assert (record["event"], record["side"], record["quantity"]) == ("OrderAccepted", "BUY", str(order.quantity))
    assert [] == actor.recent_lines(), "history is no news: on the terminal it is one line"
    assert not any(actor.counts.values())
    engine.dispose()


def test_what_the_venues_had_from_before_is_one_line_at_the_start(tmp_path):
    """In the file event by event; counted apart from what this run does."""
    engine = _engine()
    actor = EventLog()
    engine.add_actor(actor)
    path = tmp_path / "book.jsonl"
    with LogSession.start() as session:
        session.attach_file(path, max_bytes=1_000_000, retain_files=1)
        for _ in range(2):
            order = TestExecStubs.make_accepted_order(instrument=INSTRUMENT)
            engine.kernel.msgbus.publish("events.order.EXTERNAL", TestEventStubs.order_accepted(order))
        actor.start()
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert ["OrderAccepted", "OrderAccepted", None] == [record.get("event") for record in records]
    assert records[-1]["message"].endswith("as the venues have them: 2 accepted; 0 open; no position")
    assert not any(actor.counts.values())
    engine.dispose()


def test_the_line_at_the_start_names_what_is_still_open(tmp_path):
    """How many orders are open, and which positions there are: what the run begins with."""
    engine = _engine()
    actor = EventLog()
    engine.add_actor(actor)
    order = TestExecStubs.make_accepted_order(instrument=INSTRUMENT)
    bought = TestExecStubs.limit_order(instrument=INSTRUMENT, client_order_id=ClientOrderId("O-2"))
    fill = TestEventStubs.order_filled(bought, instrument=INSTRUMENT, position_id=PositionId("P-1"))
    path = tmp_path / "book.jsonl"
    with LogSession.start() as session:
        session.attach_file(path, max_bytes=1_000_000, retain_files=1)
        engine.kernel.cache.add_order(order)
        engine.kernel.cache.update_order(order)
        engine.kernel.cache.add_position(Position(INSTRUMENT, fill), OmsType.NETTING)
        actor.start()
    (record,) = [json.loads(line) for line in path.read_text().splitlines()]
    assert record["message"].endswith(f"no news; 1 open; positions LONG {fill.last_qty} {INSTRUMENT.id}")
    engine.dispose()


def test_an_error_in_a_handler_stays_in_the_handler(tmp_path, monkeypatch):
    """An exception on the bus would end a live node: the first one is logged, all are counted."""
    engine = _engine()
    actor = EventLog()
    engine.add_actor(actor)
    path = tmp_path / "book.jsonl"
    with LogSession.start() as session:
        session.attach_file(path, max_bytes=1_000_000, retain_files=1)
        order = TestExecStubs.make_accepted_order(instrument=INSTRUMENT)
        monkeypatch.setattr(actor_module, "EventRecord", None)
        for _ in range(2):
            engine.kernel.msgbus.publish("events.order.EXTERNAL", TestEventStubs.order_accepted(order))
    (record,) = [json.loads(line) for line in path.read_text().splitlines()]
    assert actor.faults == 2
    assert "TypeError" in record["exception"]
    engine.dispose()


def test_an_error_at_the_start_costs_its_line_and_not_the_node(tmp_path, monkeypatch):
    """The log says what it could not tell, the actor runs, and the first event that fails is still logged."""
    engine = _engine()
    actor = EventLog()
    engine.add_actor(actor)
    path = tmp_path / "book.jsonl"
    with LogSession.start() as session:
        session.attach_file(path, max_bytes=1_000_000, retain_files=1)
        engine.kernel.cache.add_order(order := TestExecStubs.make_accepted_order(instrument=INSTRUMENT))
        engine.kernel.cache.update_order(order)
        monkeypatch.setattr(actor_module, "_positions_line", None)
        actor.start()
        engine.kernel.msgbus.publish("events.order.EXTERNAL", TestEventStubs.order_accepted(order))
    at_start, event = [json.loads(line) for line in path.read_text().splitlines()]
    assert ("ERROR", True, 0) == (at_start["level"], actor.is_running, actor.faults)
    assert "what the book begins with could not be told" in at_start["message"]
    assert "TypeError" in at_start["exception"]
    assert "OrderAccepted" == event["event"]
    engine.dispose()


def test_an_event_that_cannot_be_read_costs_its_own_line(tmp_path):
    """An adapter's own event without words: the log names it, the live view shows it, and nothing raises."""
    engine = _engine()
    actor = EventLog()
    engine.add_actor(actor)
    actor.start()
    order = TestExecStubs.make_accepted_order(instrument=INSTRUMENT)
    of = TestEventStubs.order_submitted(order)

    class Wordless(OrderSubmitted):
        @staticmethod
        def to_dict(_event):
            raise RuntimeError("no words")

    own = Wordless(
        of.trader_id, of.strategy_id, of.instrument_id, of.client_order_id, of.account_id, of.id, of.ts_event, 1
    )
    path = tmp_path / "book.jsonl"
    with LogSession.start() as session:
        session.attach_file(path, max_bytes=1_000_000, retain_files=1)
        engine.kernel.msgbus.publish("events.order.EXTERNAL", own)
        engine.kernel.msgbus.publish("events.order.EXTERNAL", of)
    first, second = [json.loads(line) for line in path.read_text().splitlines()]
    assert (first["level"], first["message"]) == ("ERROR", "Wordless could not be read for the log: RuntimeError")
    assert second["event"] == "OrderSubmitted"
    assert ["Wordless" in line for line in actor.recent_lines()] == [True, False]
    engine.dispose()
