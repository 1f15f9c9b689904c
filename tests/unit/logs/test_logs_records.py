"""A trading event is a flat record of exact texts, and one readable line."""

from __future__ import annotations

import pytest
from nautilus_trader.core.uuid import UUID4
from nautilus_trader.model.enums import TriggerType
from nautilus_trader.model.events import (
    OrderCancelRejected,
    OrderDenied,
    OrderEmulated,
    OrderModifyRejected,
    OrderReleased,
    OrderUpdated,
)
from nautilus_trader.model.identifiers import VenueOrderId
from nautilus_trader.model.orders import StopMarketOrder
from nautilus_trader.test_kit.providers import TestInstrumentProvider
from nautilus_trader.test_kit.stubs.events import TestEventStubs
from nautilus_trader.test_kit.stubs.execution import TestExecStubs
from nautilus_trader.test_kit.stubs.identifiers import TestIdStubs

from nautilus_ext.logs.lines import Captured
from nautilus_ext.logs.records import captured_record, event_line, event_record, grouped, iso_ns, terminal_line

INSTRUMENT = TestInstrumentProvider.btcusdt_binance()


@pytest.fixture
def order():
    return TestExecStubs.limit_order(
        instrument=INSTRUMENT,
        price=INSTRUMENT.make_price("50000.10"),
        quantity=INSTRUMENT.make_qty("0.5"),
        tags=["op:7"],
    )


def test_a_fill_is_exact(order):
    """Quantities, prices and commission are texts as Nautilus writes them; the order's own facts stand beside them."""
    fill = TestEventStubs.order_filled(order, instrument=INSTRUMENT, last_px=INSTRUMENT.make_price("50000.10"))
    record = event_record(fill, order.init_event, (order.quantity, fill.last_qty, order.price))
    assert record["event"] == "OrderFilled"
    assert (record["last_qty"], record["last_px"]) == ("0.500000", "50000.10")
    assert (record["quantity"], record["filled_qty"], record["price"]) == ("0.500000", "0.500000", "50000.10")
    assert record["commission"] == str(fill.commission)
    assert record["liquidity_side"] == "TAKER"
    assert record["tags"] == ["op:7"]
    assert record["trade_id"] == fill.trade_id.value
    assert record["event_id"] == fill.id.value
    assert not [value for value in record.values() if isinstance(value, float)]


def test_a_fill_reads_as_one_line(order):
    """The line says what, how much, where, at which price, whose."""
    fill = TestEventStubs.order_filled(order, instrument=INSTRUMENT, last_px=INSTRUMENT.make_price("50000.10"))
    line = event_line(event_record(fill, order.init_event))
    expected = f"BUY 0.500000 BTCUSDT.BINANCE @ 50,000.10  {order.client_order_id}  {order.strategy_id}"
    assert line.split(maxsplit=2) == ["order", "filled", expected]


def test_a_changed_price_is_the_one_at_the_moment_of_the_event(order):
    """An event after a modify shows the new price, not the one that the order began with."""
    accepted = TestEventStubs.order_accepted(order)
    record = event_record(accepted, order.init_event, (order.quantity, None, INSTRUMENT.make_price("49000.00")))
    assert record["price"] == "49000.00"
    assert "49,000.00" in event_line(record)


def test_a_stop_order_shows_the_price_that_triggers_it():
    """The one at the moment of the event; a fill shows what was paid."""
    price = INSTRUMENT.make_price
    stop = TestExecStubs.limit_order(instrument=INSTRUMENT)
    stop = StopMarketOrder(
        stop.trader_id, stop.strategy_id, stop.instrument_id, stop.client_order_id, stop.side, stop.quantity,
        price("2990.00"), TriggerType.DEFAULT, UUID4(), 0,
    )  # fmt: skip
    submitted = TestEventStubs.order_submitted(stop)
    record = event_record(submitted, stop.init_event, (stop.quantity, None, None, price("2998.59")))
    assert record["trigger_price"] == "2998.59"
    assert " stop_market trigger 2,998.59  " in event_line(record)
    fill = TestEventStubs.order_filled(stop, instrument=INSTRUMENT, last_px=price("2998.00"))
    line = event_line(event_record(fill, stop.init_event, (stop.quantity, None, None, price("2998.59"))))
    assert "@ 2,998.00" in line
    assert "trigger" not in line


def test_what_stays_open_at_a_stop_is_in_the_file_only():
    """The summary says it; as a warning on the terminal it would look like an alarm."""
    at = {"ts": "2026-01-05T00:00:00.000000000Z", "trader_id": "T-1"}
    residual = Captured("WARNING", "Cache", "Residual Position(LONG 1 BTCUSDT.BINANCE, id=P-1)", **at)
    other = Captured("WARNING", "Cache", "something else", **at)
    assert [False, True] == [captured_record(captured, 0)[1] for captured in (residual, other)]


def every_order_event(order):
    ids = (order.trader_id, order.strategy_id, order.instrument_id, order.client_order_id)
    at_venue = (*ids, VenueOrderId("V-1"), TestIdStubs.account_id())
    return [
        TestEventStubs.order_submitted(order),
        TestEventStubs.order_accepted(order),
        TestEventStubs.order_rejected(order),
        TestEventStubs.order_canceled(order),
        TestEventStubs.order_expired(order),
        TestEventStubs.order_triggered(order),
        TestEventStubs.order_pending_update(order),
        TestEventStubs.order_pending_cancel(order),
        OrderDenied(*ids, "too large", UUID4(), 1),
        OrderEmulated(*ids, UUID4(), 1),
        OrderReleased(*ids, order.price, UUID4(), 1),
        OrderModifyRejected(*at_venue, "unknown", UUID4(), 1, 1),
        OrderCancelRejected(*at_venue, "unknown", UUID4(), 1, 1),
        OrderUpdated(*at_venue, order.quantity, order.price, None, UUID4(), 1, 1),
    ]


def test_every_order_event_has_a_record_and_a_line(order):
    """With what the order is and without it (an order that the cache does not know)."""
    for event in every_order_event(order):
        for init in (order.init_event, None):
            record = event_record(event, init)
            assert record["client_order_id"] == order.client_order_id.value
            assert record["ts_event"] == iso_ns(event.ts_event)
            assert order.client_order_id.value in event_line(record)


def test_account_states_have_balances_as_texts():
    """Balances are exact; the line shows the totals."""
    record = event_record(TestEventStubs.cash_account_state())
    assert record["balances"][0]["total"] == "1000000.00"
    assert event_line(record).endswith("1,000,000.00 USD")


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        ("50000.10", "50,000.10"),
        ("-1234.5 USDT", "-1,234.5 USDT"),
        ("1_000.0 BTC", "1,000.0 BTC"),
        ("n/a", "n/a"),
        ("", ""),
    ],
)
def test_numbers_are_grouped(number, expected):
    """Thousands are separated, digits never lost."""
    assert grouped(number) == expected


def test_times_keep_their_nanoseconds():
    """A float would lose them."""
    assert iso_ns(1_700_000_000_123_456_789) == "2023-11-14T22:13:20.123456789Z"


def test_the_terminal_line_is_one_line_without_control_characters():
    """A venue's text cannot clear the screen or forge a second line."""
    record = {
        "ts": iso_ns(0),
        "level": "WARNING",
        "component": "S-1",
        "message": "a\x1b[2J\nb\x9bc",
        "exception": "T\nE: x",
    }
    assert terminal_line(record) == "00:00:00  WARNING  S-1: a [2J: E: x  (+3 lines in the log file)"
