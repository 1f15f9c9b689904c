"""The encoder: every event becomes a record, whatever a venue has put into it."""

from __future__ import annotations

import math
from decimal import Decimal
from enum import Enum
from types import SimpleNamespace

import msgspec
import pytest
from nautilus_trader.model.events import AccountState, OrderFilled, OrderRejected
from nautilus_trader.model.identifiers import PositionId
from nautilus_trader.model.position import Position
from nautilus_trader.test_kit.providers import TestInstrumentProvider
from nautilus_trader.test_kit.stubs.events import TestEventStubs
from nautilus_trader.test_kit.stubs.execution import TestExecStubs

from nautilus_ext.messages import RiskDecision
from nautilus_ext.persistence import records
from nautilus_ext.persistence.encode import ACTION_CHARS_MAX, UNENCODABLE_CHARS_MAX, Encoder
from nautilus_ext.persistence.segments import RECORD_BYTES_MAX

INSTRUMENT = TestInstrumentProvider.btcusdt_binance()
LONE_SURROGATE = "bad \ud800 text"


class Colour(Enum):
    RED = "red"


class Silent:
    """An object whose text fails."""

    def __repr__(self) -> str:
        raise RuntimeError("no text")


def decoded(payload: bytes) -> tuple[int, str, int, int, dict]:
    return msgspec.json.decode(payload, type=tuple[int, str, int, int, dict])


def events() -> list:
    order = TestExecStubs.limit_order(instrument=INSTRUMENT)
    fill = TestEventStubs.order_filled(order, instrument=INSTRUMENT, position_id=PositionId("P-1"))
    return [
        order.init_event,
        TestEventStubs.order_submitted(order),
        TestEventStubs.order_accepted(order),
        fill,
        TestEventStubs.position_opened(Position(INSTRUMENT, fill)),
        TestEventStubs.margin_account_state(),
    ]


def rejected(reason: str) -> OrderRejected:
    order = TestExecStubs.limit_order(instrument=INSTRUMENT)
    event = TestEventStubs.order_rejected(order, ts_event=7)
    values = OrderRejected.to_dict(event)
    return OrderRejected.from_dict({**values, "reason": reason})


def account(info: dict) -> AccountState:
    of = TestEventStubs.cash_account_state()
    return AccountState(
        of.account_id,
        of.account_type,
        of.base_currency,
        True,
        of.balances,
        [],
        info,
        of.id,
        11,
        12,
    )


@pytest.mark.parametrize("event", events(), ids=lambda event: type(event).__name__)
def test_the_body_is_what_nautilus_says_of_the_event(event):
    """Number, name and times stand before it."""
    expected = (5, type(event).__name__, event.ts_event, event.ts_init, type(event).to_dict(event))
    encoder = Encoder()
    for _ in range(2):  # the second time from the cache of types
        assert expected == decoded(encoder.event(5, event))


@pytest.mark.parametrize("text", ["x" * 10_000, "\U0001f680 žluťoučký", '"]}\\n'])
def test_a_venues_text_is_kept_as_it_is(text):
    """10 kB, any script, and what looks like JSON; Nautilus itself cuts a reason at a NUL."""
    assert text == decoded(Encoder().event(1, rejected(text)))[4]["reason"]


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("a\x00b", "a\x00b"),
        (2**200, 2**200),
        (-(10**30), -(10**30)),
        (math.nan, None),
        (math.inf, None),
        (1e308, 1e308),
        (Decimal("1E+400"), "1E+400"),
        (Decimal("NaN"), "NaN"),
        (Colour.RED, "red"),
        (b"\xff\x00", "/wA="),
        ({1: {2: [3]}}, {"1": {"2": [3]}}),
        ({("a", "b"): 1}, {"('a', 'b')": 1}),
        (INSTRUMENT.id, "BTCUSDT.BINANCE"),
        (complex(1, 2), "(1+2j)"),
    ],
    ids=str,
)
def test_what_an_adapter_puts_into_info_is_kept(value, kept):
    """Numbers beyond 64 bits, what JSON does not know, and foreign objects as their text."""
    body = decoded(Encoder().event(1, account({"value": value})))[4]["info"]
    if isinstance(value, int):
        assert str(kept) == str(int(body["value"])) or math.isclose(kept, body["value"])
    else:
        assert {"value": kept} == body


def deep() -> dict:
    nested: dict = {}
    for _ in range(5_000):
        nested = {"in": nested}
    return nested


def circular() -> dict:
    around: dict = {}
    around["in"] = around
    return around


def filled(info: dict) -> OrderFilled:
    order = TestExecStubs.limit_order(instrument=INSTRUMENT)
    of = TestEventStubs.order_filled(order, instrument=INSTRUMENT, position_id=PositionId("P-1"))
    who = (of.trader_id, of.strategy_id, of.instrument_id, of.client_order_id, of.venue_order_id, of.account_id)
    what = (of.trade_id, of.position_id, of.order_side, of.order_type, of.last_qty, of.last_px, of.currency)
    return OrderFilled(*who, *what, of.commission, of.liquidity_side, of.id, 21, 22, False, info)


@pytest.mark.parametrize(
    "info",
    [
        {"text": LONE_SURROGATE},
        {LONE_SURROGATE: 1},
        {"value": Silent()},
        deep(),
        circular(),
        {"value": "x" * RECORD_BYTES_MAX},
        {"value": 10**5_000},
    ],
    ids=["surrogate", "key", "silent", "deep", "circular", "large", "digits"],
)
def test_a_fill_is_a_fill_whatever_the_venue_put_beside_it(info):
    """Only `info` becomes its text, in ASCII and bounded; every field of Nautilus's own is as it was."""
    for event in (filled(info), account(info)):
        payload = Encoder().event(4, event)
        *known, body = decoded(payload)
        assert [4, type(event).__name__, event.ts_event, event.ts_init] == known
        text = body["info"]["unencodable"]
        assert text.isascii()
        assert 0 < len(text) <= UNENCODABLE_CHARS_MAX
        expected = {**type(event).to_dict(event), "info": body["info"]}
        assert msgspec.json.decode(msgspec.json.encode(expected)) == body
    fill = records.typed(records.decode(1, Encoder().event(4, filled(info))))
    assert (filled({}).last_qty.as_decimal(), filled({}).trade_id.value) == (fill.last_qty, fill.trade_id)


def test_a_text_that_is_none_is_escaped():
    """Half of a surrogate pair shows as what it is; the event is whole."""
    said = {"reason": LONE_SURROGATE, "tags": ["a"], "count": 1}
    odd = type("Odd", (SimpleNamespace,), {"to_dict": lambda _: said})
    kept = {"reason": "bad \\ud800 text", "tags": ["a"], "count": 1}
    assert (3, "Odd", 1, 2, kept) == decoded(Encoder().event(3, odd(ts_event=1, ts_init=2)))


def test_what_cannot_be_encoded_keeps_its_number_and_times():
    """The body says what it was and why, in ASCII and bounded, so that nothing after it fails either."""
    event = rejected("x" * RECORD_BYTES_MAX)
    seq, name, ts_event, ts_init, body = decoded(Encoder().event(4, event))
    assert (4, "OrderRejected", event.ts_event, event.ts_init) == (seq, name, ts_event, ts_init)
    assert ["unencodable", "error"] == list(body)
    assert "ValueError" in body["error"]
    assert all(text.isascii() and 0 < len(text) <= UNENCODABLE_CHARS_MAX for text in body.values())


def test_something_that_is_no_event_does_not_raise_either():
    """Whatever is published on an event's topic becomes a record."""
    for foreign in (object(), None, Silent(), {"a": 1}):
        seq, name, ts_event, ts_init, body = decoded(Encoder().event(2, foreign))
        assert (2, type(foreign).__name__, 0, 0) == (seq, name, ts_event, ts_init)
        assert "AttributeError" in body["error"]


def test_a_decision_is_kept_as_its_fields():
    """Decimals exactly, as text."""
    decision = RiskDecision(
        client_order_id="O-1",
        strategy_id="S-1",
        instrument_id="BTCUSDT.BINANCE",
        verdict="refused",
        ts_ns=3,
        limit=Decimal("1.50"),
    )
    assert (9, "RiskDecision", 3, 3, msgspec.to_builtins(decision)) == decoded(
        Encoder().record(9, "RiskDecision", 3, decision)
    )


@pytest.mark.parametrize(
    ("beside", "kept"),
    [
        ({"text": LONE_SURROGATE, "action": "reserve"}, {"text": "bad \\ud800 text", "action": "reserve"}),
        ({"text": "x" * RECORD_BYTES_MAX, "action": "reserve"}, {"action": "reserve", "unencodable": None}),
        ({"action": "x" * RECORD_BYTES_MAX}, {"action": "x" * ACTION_CHARS_MAX, "unencodable": None}),
        ({"text": "x" * RECORD_BYTES_MAX}, {"action": "", "unencodable": None}),
    ],
    ids=["surrogate", "large", "large action", "no action"],
)
def test_a_decision_is_one_whatever_stands_beside_its_numbers(beside, kept):
    """The gate refused the order: that reaches its table, with what was judged."""
    ids = {"client_order_id": "O-1", "strategy_id": "S-1", "instrument_id": "BTCUSDT.BINANCE"}
    decision = RiskDecision(**ids, verdict="refused", ts_ns=3, would_be=Decimal("1.50"), details=beside)
    payload = Encoder().record(9, "RiskDecision", 3, decision)
    *_, body = decoded(payload)
    expected = {name: body["details"][name] if text is None else text for name, text in kept.items()}
    assert {**msgspec.to_builtins(decision), "details": expected} == body
    assert Decimal("1.50") == records.typed(records.decode(1, payload)).would_be


@pytest.mark.parametrize("body", [{"a": LONE_SURROGATE}, {"a": "x" * RECORD_BYTES_MAX}], ids=["surrogate", "large"])
def test_a_record_of_our_own_falls_back_like_an_event(body):
    """An instrument's definition comes from a venue, too."""
    seq, name, *_, kept = decoded(Encoder().record(3, "Instrument", 1, body))
    assert (3, "Instrument", ["unencodable", "error"]) == (seq, name, list(kept))


@pytest.mark.parametrize("has_words", [True, False])
def test_an_adapters_own_kind_of_an_event_is_that_event(has_words):
    """What is derived from Nautilus's rejection is one in the tables, also when its number is all that is left."""

    class VenueRejection(OrderRejected):
        @staticmethod
        def to_dict(event):
            return {**OrderRejected.to_dict(event), "venue_code": 7} if has_words else {}["none"]

    of = rejected("no margin")
    own = VenueRejection(
        of.trader_id, of.strategy_id, of.instrument_id, of.client_order_id, of.account_id, of.reason, of.id, 1, 2
    )
    seq, kind, *times, body = decoded(Encoder().event(3, own))
    assert (seq, kind, times) == (3, "OrderRejected", [1, 2])
    assert body.get("venue_code") == (7 if has_words else None)
    assert ("unencodable" in body) is not has_words
