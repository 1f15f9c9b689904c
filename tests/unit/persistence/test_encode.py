"""The encoder: every event becomes a record, whatever a venue has put into it."""

from __future__ import annotations

import math
from decimal import Decimal
from enum import Enum

import msgspec
import pytest
from nautilus_trader.model.events import AccountState, OrderRejected
from nautilus_trader.model.identifiers import PositionId
from nautilus_trader.model.position import Position
from nautilus_trader.test_kit.providers import TestInstrumentProvider
from nautilus_trader.test_kit.stubs.events import TestEventStubs
from nautilus_trader.test_kit.stubs.execution import TestExecStubs

from nautilus_ext.messages import RiskDecision
from nautilus_ext.persistence.encode import UNENCODABLE_CHARS_MAX, Encoder
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


@pytest.mark.parametrize(
    ("info", "error"),
    [
        ({"text": LONE_SURROGATE}, "UnicodeEncodeError"),
        ({"value": Silent()}, "RuntimeError"),
        (deep(), "RecursionError"),
        ({"value": "x" * RECORD_BYTES_MAX}, "ValueError"),
        ({"value": 10**5_000}, "ValueError"),
    ],
    ids=["surrogate", "silent", "deep", "large", "digits"],
)
def test_what_cannot_be_encoded_keeps_its_number_and_times(info, error):
    """The body says what it was and why, in ASCII and bounded, so that nothing after it fails either."""
    seq, name, ts_event, ts_init, body = decoded(Encoder().event(4, account(info)))
    assert (4, "AccountState", 11, 12) == (seq, name, ts_event, ts_init)
    assert ["unencodable", "error"] == list(body)
    assert error in body["error"]
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


@pytest.mark.parametrize("body", [{"a": LONE_SURROGATE}, {"a": "x" * RECORD_BYTES_MAX}], ids=["surrogate", "large"])
def test_a_record_of_our_own_falls_back_like_an_event(body):
    """An instrument's definition comes from a venue, too."""
    seq, name, *_, kept = decoded(Encoder().record(3, "Instrument", 1, body))
    assert (3, "Instrument", ["unencodable", "error"]) == (seq, name, list(kept))
