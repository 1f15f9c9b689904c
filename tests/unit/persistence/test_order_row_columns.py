"""Column by column: what an order was told to be, and what was said of it, stands in its row."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pandas as pd
import pytest
from nautilus_trader.common.component import TestClock
from nautilus_trader.common.factories import OrderFactory
from nautilus_trader.model import events
from nautilus_trader.model.enums import OrderSide, TimeInForce
from nautilus_trader.model.identifiers import ExecAlgorithmId, StrategyId, TraderId
from position_histories import INVERSE, LINEAR

from nautilus_ext.persistence import projections
from nautilus_ext.persistence.encode import Encoder
from nautilus_ext.persistence.records import Record, decode, typed

EXPIRE_NS = 1_900_000_000_000_000_000
PRICE = "50000.0"


def factory() -> OrderFactory:
    return OrderFactory(TraderId("T-1"), StrategyId("S-1"), TestClock(), use_hyphens_in_client_order_ids=True)


def limit(instrument: Any = LINEAR, side: OrderSide = OrderSide.BUY, **given: Any) -> Any:
    given = {"price": instrument.make_price(PRICE), **given}
    return factory().limit(instrument.id, side, instrument.make_qty(2), **given)


def records_of(order: Any, *said: tuple[str, dict[str, Any]]) -> list[Record]:
    """Encode the order's own events as the Mirror does, and those that the venue says next."""
    ids = {
        "trader_id": "T-1",
        "strategy_id": order.strategy_id.value,
        "instrument_id": order.instrument_id.value,
        "client_order_id": order.client_order_id.value,
        "venue_order_id": "V-1",
        "account_id": "BINANCE-001",
        "ts_event": 7,
        "ts_init": 8,
        "reconciliation": False,
    }
    told = [order.init_event]
    for number, (kind, words) in enumerate(said):
        event_id = f"00000000-0000-4000-8000-{number:012d}"
        told.append(getattr(events, f"Order{kind}").from_dict({**ids, "event_id": event_id, **words}))
    return [decode(1, Encoder().event(seq, event)) for seq, event in enumerate(told, 1)]


def defined(instrument: Any, **others: Any) -> Any:
    base = instrument.get_base_currency().code
    body = {
        "instrument_id": instrument.id.value,
        "canonical_id": "BINANCE:PERPETUAL:BTC-USDT",
        "asset_key": "PERPETUAL:BTC-USDT",
        "venue": "BINANCE",
        "venue_type": "EXTERNAL_SDK",
        "instrument_type": type(instrument).__name__,
        "base_asset": base,
        "quote_currency": instrument.quote_currency.code,
        "settlement_currency": instrument.get_settlement_currency().code,
        "is_inverse": instrument.is_inverse,
        "multiplier": "1",
        "price_precision": 1,
        "size_precision": 3,
        "definition": {},
        **others,
    }
    record = Record(1, 1, "Instrument", 1, 1, msgspec.json.encode(body))
    return projections.instrument_row("b", record, typed(record))


def row_of(records: list[Record], *instruments: Any) -> Any:
    return projections.fold_order("b", records, {each.instrument_id: each for each in instruments})


def test_what_the_strategy_chose_stands_in_its_columns() -> None:
    """Each differs from its default, so that no constant can pass."""
    order = limit(
        side=OrderSide.SELL,
        time_in_force=TimeInForce.GTD,
        expire_time=pd.Timestamp(EXPIRE_NS, tz="UTC"),
        post_only=True,
        reduce_only=True,
        display_qty=LINEAR.make_qty(1),
        exec_algorithm_id=ExecAlgorithmId("TWAP"),
        exec_algorithm_params={"horizon_secs": 20},
        tags=["x", "op:7"],
    )
    row = row_of(records_of(order), defined(LINEAR))
    assert ("SELL", "LIMIT", "GTD", EXPIRE_NS) == (row.side, row.order_type, row.time_in_force, row.expire_ns)
    assert (True, True, False) == (row.post_only, row.reduce_only, row.quote_quantity)
    assert ("TWAP", {"horizon_secs": 20}) == (row.exec_algorithm, msgspec.json.decode(row.exec_algorithm_params))
    assert ("7", ["x", "op:7"], "trade") == (row.operation_id, row.tags, row.operation)
    assert "1.000" == msgspec.json.decode(row.metadata)["display_qty"]
    assert ("S-1", "BINANCE", "EXTERNAL_SDK") == (row.strategy_id, row.venue, row.venue_type)
    assert ("BINANCE:PERPETUAL:BTC-USDT", "PERPETUAL:BTC-USDT") == (row.canonical_id, row.asset_key)


def test_a_bracket_tells_how_its_orders_hang_together() -> None:
    """The list, the contingency, the links, and the entry as the parent of its legs."""
    given = {"sl_trigger_price": LINEAR.make_price(40_000), "tp_price": LINEAR.make_price(60_000)}
    entry, *legs = factory().bracket(LINEAR.id, OrderSide.BUY, LINEAR.make_qty(2), **given).orders
    rows = [row_of(records_of(order)) for order in (entry, *legs)]
    assert [None, entry.client_order_id.value, entry.client_order_id.value] == [
        row.parent_client_order_id for row in rows
    ]
    assert ["OTO", "OUO", "OUO"] == [row.contingency for row in rows]
    assert {entry.order_list_id.value} == {row.order_list_id for row in rows}
    links = [[each.value for each in order.linked_order_ids] for order in (entry, *legs)]
    assert links == [row.linked_order_ids for row in rows]
    assert ["NORMAL", None] == [rows[0].exec_algorithm, rows[0].exec_algorithm_params]


@pytest.mark.parametrize(
    ("said", "rejection", "error"),
    [
        ([("Denied", {"reason": "too large"})], "too large", None),
        ([("Submitted", {}), ("Rejected", {"reason": "no margin", "due_post_only": False})], "no margin", None),
        ([("Accepted", {}), ("ModifyRejected", {"reason": "too late"})], None, "too late"),
        ([("Accepted", {}), ("CancelRejected", {"reason": "unknown"})], None, "unknown"),
        ([("Accepted", {})], None, None),
    ],
)
def test_why_it_was_refused_stands_beside_its_status(said: Any, rejection: Any, error: Any) -> None:
    """An order's own refusal, and that of its last modification or cancellation."""
    row = row_of(records_of(limit(), *said))
    assert (rejection, error) == (row.rejection_reason, row.error_message)


@pytest.mark.parametrize(
    ("instrument", "side", "given", "expected"),
    [
        (defined(LINEAR), OrderSide.BUY, {}, Decimal(2)),
        (defined(LINEAR), OrderSide.SELL, {}, Decimal(-2)),
        (defined(LINEAR, multiplier="0.01"), OrderSide.BUY, {}, Decimal("0.02")),
        (defined(LINEAR), OrderSide.BUY, {"quote_quantity": True}, Decimal("0.00004")),
    ],
)
def test_the_expected_change_of_the_position_is_in_base_units(
    instrument: Any, side: OrderSide, given: Any, expected: Decimal
) -> None:
    """Signed, with the multiplier, and converted where the quantity is money."""
    row = row_of(records_of(limit(side=side, **given)), instrument)
    (delta,) = msgspec.json.decode(row.expected_deltas).items()
    assert ("PERPETUAL:BTC-USDT", expected) == (delta[0], Decimal(delta[1]))


def test_an_inverse_order_is_worth_its_contracts_at_its_price() -> None:
    """Without a price nobody knows: the column is empty."""
    row = row_of(records_of(limit(INVERSE)), defined(INVERSE))
    assert {"PERPETUAL:BTC-USDT": "0.00004"} == msgspec.json.decode(row.expected_deltas)
    market = factory().market(INVERSE.id, OrderSide.BUY, INVERSE.make_qty(2))
    assert row_of(records_of(market), defined(INVERSE)).expected_deltas is None
    assert row_of(records_of(limit())).expected_deltas is None, "an instrument that nobody defined"
