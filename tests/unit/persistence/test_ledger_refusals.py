"""What a record says cannot stop a ledger: a bad one is named, its journal row stays, the others count."""

from __future__ import annotations

import itertools
import random
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from journal_store import JournalStore
from order_histories import OrderLife
from position_histories import LINEAR, PositionLives, instrument_record

from nautilus_ext.messages import RiskDecision, RoutingDecision
from nautilus_ext.persistence import records
from nautilus_ext.persistence.comparison import compare
from nautilus_ext.persistence.ledger import Ledger
from nautilus_ext.persistence.records import Record

if TYPE_CHECKING:
    from nautilus_ext.persistence.rows import PositionRow

NEW = {"event_id": "x", "trade_id": "T-99"}


def frame(seq: int, kind: str, body: Any) -> bytes:
    return msgspec.json.encode((seq, kind, 5, 5, body))


def a_life() -> OrderLife:
    sequence = itertools.count(1)
    life = OrderLife(random.Random(1), 0, lambda: (1, next(sequence)))
    for kind in ("Submitted", "Accepted", "Filled"):
        life.step(kind)
    return life


@pytest.mark.parametrize(
    "change",
    [
        {"last_qty": "NaN"},
        {"last_qty": "-Infinity"},
        {"last_px": "1E+999999"},
        {"last_px": "a price"},
        {"last_qty": None},
        {"commission": "much USDT"},
        {"commission": "1e-999999 USDT"},
        {"client_order_id": 7},
    ],
)
def test_a_fill_that_is_no_fill_is_rejected_and_the_order_stays_as_it_was(change: dict[str, Any]) -> None:
    """The rejected record is in the journal and among the rejected ones; the row is that of the other records."""
    life = a_life()
    fill = life.records[-1]
    bad = fill._replace(seq=99, body=msgspec.json.encode(msgspec.json.decode(fill.body) | NEW | change))
    good, both = JournalStore(), JournalStore()
    good.ship(Ledger("b"), life.records)
    ledger = Ledger("b")
    both.ship(ledger, [*life.records, bad])
    assert good.tables == both.tables
    assert [bad] == [rejection.record for rejection in both.rejected]
    assert (1, 99) in both.journal
    ledger.forget()
    both.ship(ledger, life.records[:1])
    assert good.tables == both.tables


def test_an_event_that_could_not_be_encoded_is_journaled_and_rejected() -> None:
    """It keeps its number and its text; it belongs to no order."""
    store = JournalStore()
    record = records.decode(1, frame(1, "OrderFilled", {"unencodable": "<what>", "error": "TypeError"}))
    changes = store.ship(Ledger("b"), [record])
    assert [record] == [rejection.record for rejection in changes.rejected]
    assert [(None, None, b'{"unencodable":"<what>","error":"TypeError"}')] == [
        (row.event_id, row.client_order_id, row.payload) for row in changes.journal
    ]


def test_a_nul_byte_is_replaced_because_jsonb_refuses_it() -> None:
    """Only the character; a backslash that is followed by u0000 in the text itself stays."""
    body = {"reason": "a\0b", "also": r"\u0000", "n": 1.5}
    record = records.decode(1, frame(1, "OrderDenied", body))
    assert {"reason": "a\ufffdb", "also": r"\u0000", "n": 1.5} == msgspec.json.decode(record.body)


def test_a_body_without_nul_is_passed_on_byte_for_byte() -> None:
    """The journal holds what the node wrote."""
    payload = b'[7,"OrderDenied",5,6,{"reason": "10 kB",  "x":1e5}]'
    assert Record(3, 7, "OrderDenied", 5, 6, b'{"reason": "10 kB",  "x":1e5}') == records.decode(3, payload)


@pytest.mark.parametrize("payload", [b"", b"{}", b"[1]", b'["1","x",1,1,{}]', b"\xff\xfe", b'[1,"x",1,1,'])
def test_a_frame_that_is_none_raises_a_decode_error(payload: bytes) -> None:
    """The shipper keeps such bytes as they are."""
    with pytest.raises(msgspec.DecodeError):
        records.decode(1, payload)


def test_an_unknown_type_and_unknown_words_are_kept() -> None:
    """A newer Nautilus may say more: an unknown record is journaled, an unknown enum value is a text."""
    store = JournalStore()
    life = a_life()
    first = life.records[0]
    body = msgspec.json.decode(first.body) | {"time_in_force": "NEXT_YEAR", "contingency_type": "X", "new_field": 1}
    unknown = records.decode(1, frame(9, "OrderTeleported", {"event_id": "e", "client_order_id": "O"}))
    changes = store.ship(Ledger("b"), [first._replace(body=msgspec.json.encode(body)), unknown])
    assert [("NEXT_YEAR", "X")] == [(row.time_in_force, row.contingency) for row in changes.orders]
    assert ["OrderInitialized", "OrderTeleported"] == [row.type for row in changes.journal]
    assert not changes.rejected


def test_decisions_become_rows_with_every_field() -> None:
    """As the structs of messages.py write them."""
    risk = RiskDecision(
        client_order_id="O-1",
        strategy_id="S",
        instrument_id="I.V",
        verdict="refused",
        ts_ns=3,
        code="MAX",
        limit=Decimal("1.50"),
        details={"a": "b"},
    )
    routing = RoutingDecision(
        parent_client_order_id="O-1",
        strategy_id="S",
        instrument_id="I.V",
        plan=1,
        slice=2,
        ts_ns=4,
        chosen=[{"venue": "V"}],
        reason="best",
    )
    frames = [
        frame(1, "RiskDecision", msgspec.to_builtins(risk)),
        frame(2, "RoutingDecision", msgspec.to_builtins(routing)),
    ]
    changes = JournalStore().ship(Ledger("b"), [records.decode(1, each) for each in frames])
    (row,), (way,) = changes.risk_decisions, changes.routing_decisions
    expected = ("b", 1, 1, "O-1", "S", "I.V", "refused", 3, "MAX", "", "", Decimal("1.5"), None, None)
    assert (*expected, b'{"a":"b"}') == row
    assert ("b", 1, 2, "O-1", "S", "I.V", 1, 2, 4, b'[{"venue":"V"}]', b"[]", "best") == way
    assert ["O-1", "O-1"] == [journaled.client_order_id for journaled in changes.journal]


def held_in(terms: dict[str, Any], marks: list[Any]) -> PositionRow:
    """Return an open position in an instrument with these terms, after marks."""
    numbers = ((1, seq) for seq in itertools.count(1))
    lives = PositionLives(random.Random(2), lambda: next(numbers))
    while not any(LINEAR.id.value.encode() in record.body for record in lives.records):
        lives.trade(netting=True)
    define = instrument_record(LINEAR, "SOME:BTC", (0, 1))
    body = msgspec.json.decode(define.body) | terms
    store = JournalStore()
    marked = records.decode(1, frame(0, "Marks", {"marks": marks}))
    store.ship(Ledger("b"), [define._replace(body=msgspec.json.encode(body)), *lives.records, marked])
    assert not store.rejected
    (row,) = [r for r in store.rows("positions") if r.instrument_id == LINEAR.id.value and r.side != "FLAT"]
    return row


@pytest.mark.parametrize(
    ("terms", "is_converted"),
    [
        ({}, False),
        ({"is_inverse": True}, True),
        ({"quote_currency": "USD", "settlement_currency": "BTC"}, True),  # Binance's COIN-M
        ({"quote_currency": "USD", "settlement_currency": "BTC", "instrument_type": "CryptoFuture"}, True),
        ({"quote_currency": "USD", "settlement_currency": "USDC"}, False),
        ({"quote_currency": "BTC", "settlement_currency": "BTC"}, False),
        ({"quote_currency": "BTC", "settlement_currency": "BTC", "instrument_type": "CryptoOption"}, False),
        ({"is_inverse": True, "settlement_currency": "BTC", "instrument_type": "CryptoOption"}, False),
        ({"is_inverse": True, "settlement_currency": "BTC", "instrument_type": "CryptoOptionSpread"}, False),
    ],
)
def test_contracts_that_are_paid_in_their_base_are_converted(terms: dict[str, Any], is_converted: bool) -> None:  # noqa: FBT001 - a parameter of pytest
    """Their quantity is a number of dollars; that of an option counts in base units, whatever its premium is in."""
    price = Decimal(21_000)
    row = held_in(terms, [[LINEAR.id.value, "21000", 10**15]])
    entry = row.average_entry_price
    assert is_converted == row.is_inverse
    base = row.signed_quantity / entry if is_converted else row.signed_quantity
    assert pytest.approx(float(base)) == float(row.base_quantity)
    moved = price - entry  # the money that Nautilus counts this position in stays dollars: so does its open profit
    assert "USDT" == row.currency
    assert row.unrealized_pnl is not None
    assert pytest.approx(float(base * moved)) == float(row.unrealized_pnl)


@pytest.mark.parametrize("price", ["1E+999999", "NaN", "-Infinity", "1" * 70, "1E-999999"])
def test_a_mark_that_is_no_price_marks_nothing(price: str) -> None:
    """It reaches no sum; the position keeps the price that it had, and what comes next counts."""
    row = held_in({}, [[LINEAR.id.value, price, 10**15]])
    assert (None, None, None) == (row.current_price, row.marked_ns, row.unrealized_pnl)
    mark = frame(0, "Marks", {"marks": [[LINEAR.id.value, price, 5]]})
    with pytest.raises(msgspec.ValidationError):
        records.typed(records.decode(1, mark))


def test_a_row_that_differs_is_told_field_by_field() -> None:
    """Numbers and jsonb by value, missing rows as a whole, prices of quotes not at all."""
    store = JournalStore()
    store.ship(Ledger("b"), a_life().records)
    (row,) = store.rows("orders")
    spaced = row.fills.replace(b",", b" , ")
    assert [] == compare([row], [row._replace(fills=spaced, quantity=row.quantity * Decimal("1.0"))])
    (difference,) = compare([row], [row._replace(status="CANCELED")])
    assert ((row.client_order_id,), "status", row.status, "CANCELED") == difference
    assert [((row.client_order_id,), "(row)", row, None)] == compare([row], [])
