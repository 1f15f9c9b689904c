"""The section `risk`: every mistake in it is told with its path, at once with all others."""

import json
from decimal import Decimal

import msgspec
import pytest
from test_load import base, problems_of, write  # noqa: F401 - a fixture among them

from nautilus_ext.config import load
from nautilus_ext.config.risk import Risk


def limits(scope="global", **values):
    return {"limits": {scope: values}}


def override(**changes):
    given = {"code": "MAX_POSITION", "scope": "global", "by": "me", "why": "so", "until": "2026-01-31T12:00:00Z"}
    return {"overrides": [{**given, **changes}]}


def one_position(name, value="1"):
    return {"max_position_per_instrument": {name: value}}


DOCUMENTED = "BINANCE-SPOT:SPOT_PAIR:BTC-USDT"
CASES = [
    # words
    ({"preset": "strct"}, "preset", 'did you mean "strict"?'),
    ({"preset": "PAPER"}, "preset", 'did you mean "paper"?'),
    ({"preset": "loose"}, "preset", "one of strict, paper, none"),
    ({"preset": ""}, "preset", "one of strict, paper, none"),
    ({"prest": "strict"}, "prest", 'did you mean "preset"?'),
    (limits(max_postion="1"), "limits.global.max_postion", 'did you mean "max_position"?'),
    (limits(self_match="cancel"), "limits.global.self_match", 'did you mean "cancel_oldest"?'),
    (limits(allowed_sides=["buy"]), "limits.global.allowed_sides[0]", 'did you mean "BUY"?'),
    (limits(allowed_order_types=["STOP"]), "limits.global.allowed_order_types[0]", "'STOP' is unknown"),
    (limits(allowed_order_types=["limit"]), "limits.global.allowed_order_types[0]", 'did you mean "LIMIT"?'),
    ({"limits": []}, "limits", "expected `object`"),
    ({"limits": {"global": 5}}, "limits.global", "expected `object`"),
    # numbers
    ({"price_age_ms_max": 0}, "price_age_ms_max", ">= 1"),
    (limits(max_position="much"), "limits.global.max_position", "decimal"),
    (limits(max_position=True), "limits.global.max_position", "got `bool`"),
    (limits(max_position="NaN"), "limits.global.max_position", "from 0 to 1e18"),
    (limits(max_position="sNaN"), "limits.global.max_position", "from 0 to 1e18"),
    (limits(max_position="Infinity"), "limits.global.max_position", "from 0 to 1e18"),
    (limits(max_position=-1), "limits.global.max_position", "from 0 to 1e18"),
    (limits(max_position="1e400"), "limits.global.max_position", "from 0 to 1e18"),
    (limits(max_position="1000000000000000001"), "limits.global.max_position", "from 0 to 1e18"),
    (limits(max_position="0.1234567890123456789"), "limits.global.max_position", "more than 18 decimals"),
    (limits(max_position="1e-400"), "limits.global.max_position", "more than 18 decimals"),
    (limits(max_order_quantity=1, min_order_quantity=2), "limits.global.min_order_quantity", "no order passes both"),
    (limits(messages=[{"max": 0}]), "limits.global.messages[0].max", ">= 1"),
    (limits(messages=[{"max": 1.5}]), "limits.global.messages[0].max", "expected `int`"),
    (limits(messages=[{"max": 1, "window_s": 0}]), "limits.global.messages[0].window_s", ">= 0.001"),
    (limits(messages=[{"max": 1, "types": []}]), "limits.global.messages[0].types", "is empty"),
    (limits(messages=[{"max": 1, "types": ["sumbit"]}]), "limits.global.messages[0].types[0]", '"submit"'),
    (limits(messages=[{"max": 1, "refuses_cancels": True}]), "limits.global.messages[0].refuses_cancels", '"cancel"'),
    ({"max_orders_per_second": -1}, "max_orders_per_second", ">= 1"),
    ({"max_total_notional": "-1"}, "max_total_notional", "from 0 to 1e18"),
    (one_position("BTC.X", "-1"), "max_position_per_instrument.BTC.X", "from 0 to 1e18"),
    # scopes
    (limits("instrment=BTC*", max_position=1), "limits.instrment=BTC*", 'did you mean "instrument=BTC*"?'),
    (limits("Venue = SIM1", max_position=1), "limits.Venue = SIM1", 'did you mean "venue=SIM1"?'),
    (limits("Global", max_position=1), "limits.Global", 'did you mean "global"?'),
    (limits("BTCUSDT.SIM1", max_position=1), "limits.BTCUSDT.SIM1", 'did you mean "instrument=BTCUSDT.SIM1"?'),
    (limits("*", max_position=1), "limits.*", '"instrument=*" for each instrument'),
    (limits("venue", max_exposure=1), "limits.venue", "is no scope"),
    (limits("venue=", max_exposure=1), "limits.venue=", "is no scope"),
    (limits("", max_exposure=1), "limits.", 'write "global"'),
    (limits("global=x", max_exposure=1), "limits.global=x", "is no scope"),
    (limits("asset=btc", max_position=1), "limits.asset=btc", '"asset=BTC"'),
    (limits("venue=sim*", max_position=1), "limits.venue=sim*", '"venue=SIM*"'),
    (limits("venue=BINANCE-SPOT", max_position=1), "limits.venue=BINANCE-SPOT", "BINANCE_SPOT"),
    (limits("strategy=Quoter", max_position=1), "limits.strategy=Quoter", 'as in "Quoter*"'),
    (limits("account=SIM1", max_position=1), "limits.account=SIM1", 'as in "SIM1*"'),
    (limits("instrument=BTCUSDT", max_position=1), "limits.instrument=BTCUSDT", 'as in "BTCUSDT*"'),
    (limits("instrument=BTC USDT.SIM1", max_position=1), "limits.instrument=BTC USDT.SIM1", "without spaces"),
    (limits("instrument=SIM1:SPOT:BTC-USDT", max_position=1), "limits.instrument=SIM1:SPOT:BTC-USDT", "SPOT_PAIR"),
    (one_position("BTCUSDT"), "max_position_per_instrument.BTCUSDT", "a symbol, a dot and a venue"),
    # ramps
    (limits("strategy=A*", ramp={"max_position": 1}), "limits.strategy=A*.ramp", "never ends"),
    (limits("strategy=A*", ramp={"orders": 1}), "limits.strategy=A*.ramp", "limits nothing"),
    (limits("strategy=A*", ramp={"orders": 1, "max_position": "NaN"}), "limits.strategy=A*.ramp.max_position", "1e18"),
    (limits("strategy=A*", ramp={"until": "soon", "max_position": 1}), "limits.strategy=A*.ramp.until", "time zone"),
    (limits("venue=A", ramp={"orders": 1, "max_position": 1}), "limits.venue=A.ramp", "strategy"),
    # lists
    (limits(allowed_instruments=[]), "limits.global.allowed_instruments", "nothing could be traded"),
    (limits(allowed_sides=[]), "limits.global.allowed_sides", "nothing could be traded"),
    (limits(allowed_instruments=["BTC"]), "limits.global.allowed_instruments[0]", 'as in "BTC*"'),
    (limits(restricted_instruments=["A:B:C"]), "limits.global.restricted_instruments[0]", "no canonical id"),
    (limits(allowed_venues=["SIM*"]), "limits.global.allowed_venues[0]", "one by one"),
    (limits(allowed_venues=["sim1"]), "limits.global.allowed_venues[0]", "SIM1"),
    # overrides
    (override(until="2026-01-31"), "overrides[0].until", "time zone"),
    (override(until="tomorrow"), "overrides[0].until", "2026-01-31T12:00:00Z"),
    (override(until="2026-01-31T12:00:00"), "overrides[0].until", "time zone"),
    (override(code="MAX_POSTION"), "overrides[0].code", 'did you mean "MAX_POSITION"?'),
    (override(code="NO_ACCOUNT"), "overrides[0].code", "'NO_ACCOUNT' is unknown"),
    (override(scope="*"), "overrides[0].scope", "is no scope"),
    (override(scope="venue=SIM*"), "overrides[0].scope", "stands for many"),
    (override(scope=f"instrument={DOCUMENTED}"), "overrides[0].scope", "InstrumentId"),
    (override(why=" "), "overrides[0].why", "is empty"),
    (override(by=""), "overrides[0].by", "length >= 1"),
    ({"overrides": [{"code": "MAX_POSITION"}]}, "overrides[0].why", "is missing"),
    # money
    ({"base_currency": "??"}, "base_currency", "no currency"),
    ({"base_currency": "eur"}, "base_currency", '"EUR"'),
    ({"conversions": {"BTC": "much"}}, "conversions.BTC", "neither a number above 0"),
    ({"conversions": {"BTC": "-1"}}, "conversions.BTC", "neither a number above 0"),
    ({"conversions": {"BTC": 0}}, "conversions.BTC", "neither a number above 0"),
    ({"conversions": {"BTC": "NaN"}}, "conversions.BTC", "neither a number above 0"),
    ({"conversions": {"BTC": "1.5x"}}, "conversions.BTC", "neither a number above 0"),
    ({"conversions": {"BTC": True}}, "conversions.BTC", "got `bool`"),
    ({"conversions": {"BTC": "ETHUSDT.BINANCE_SPOT"}}, "conversions.BTC", "the price of ETH, not of BTC"),
    ({"conversions": {"EUR": "USDTEUR.SIM1"}}, "conversions.EUR", "the other direction"),
    ({"conversions": {"ETH": "ETHBTC.BINANCE_SPOT"}}, "conversions.ETH", "says what ETH is in BTC, not in USDT"),
    ({"conversions": {"btc": 1}}, "conversions.btc", "capitals"),
    ({"conversions": {"USDT": 1}}, "conversions.USDT", "base currency itself"),
    # what is said twice
    ({"max_total_notional": 5, **limits(max_exposure=5)}, "max_total_notional", "keep one"),
    (
        {**one_position("BTCUSDT.SIM1"), **limits("instrument=BTCUSDT.SIM1", max_position=2)},
        "max_position_per_instrument.BTCUSDT.SIM1",
        "keep one",
    ),
    (
        {**one_position("BTC*"), **limits("instrument=BTC*", max_position=2)},
        "max_position_per_instrument.BTC*",
        "keep one",
    ),
    (
        {"max_position_per_instrument": {DOCUMENTED: "1", "BTCUSDT.BINANCE_SPOT": "2"}},
        "max_position_per_instrument.BTCUSDT.BINANCE_SPOT",
        "keep one",
    ),
    (
        {"limits": {f"instrument={DOCUMENTED}": {}, "instrument=BTCUSDT.BINANCE_SPOT": {}}},
        "limits.instrument=BTCUSDT.BINANCE_SPOT",
        "put both into one",
    ),
]


@pytest.mark.parametrize(("section", "path", "part"), CASES, ids=[f"{path}-{part}" for _, path, part in CASES])
def test_a_mistake_in_the_section_is_told_with_its_path(write, section, path, part):  # noqa: F811 - the fixture
    """And with what to write instead; one mistake is one message."""
    problems = problems_of(write({**base(), "risk": section}))
    assert part in problems[f"risk.{path}"]
    assert len(problems) == 1 or "code" in section.get("overrides", [{}])[0]


def test_a_mistake_in_one_part_hides_none_in_another(write):  # noqa: F811 - the fixture
    """A wrong name of a scope beside a wrong value in it, a variable that is not set beside both."""
    scopes = {"asset=btc": {"max_position": "much"}, "*": {"max_position": "${NO_SUCH}"}, "venue=A": {"reduce_only": 1}}
    problems = problems_of(write({**base(), "risk": {"preset": "x", "limits": scopes, "max_total_notional": "-1"}}))
    inner = {"asset=btc.max_position", "asset=btc", "*", "*.max_position", "venue=A.reduce_only"}
    assert {"risk.preset", "risk.max_total_notional", *(f"risk.limits.{each}" for each in inner)} == set(problems)


def test_mistakes_in_the_section_are_told_with_all_others(write):  # noqa: F811 - the fixture
    """One reading, all problems."""
    problems = problems_of(write({**base(), "risk": {"preset": "x"}, "timeout_connection": "soon"}))
    assert {"risk.preset", "timeout_connection"} == set(problems)


def test_numbers_and_texts_say_the_same(write):  # noqa: F811 - the fixture
    """0.1 is not 0.1000000000000000055."""
    section = {**limits(max_position=0.1, max_exposure="10000000"), "max_position_per_instrument": {"A.B": 1}}
    risk = load(write({**base(), "risk": section}), environ={}).suite.risk
    assert "0.1" == str(risk.limits["global"].max_position)
    assert "1" == str(risk.max_position_per_instrument["A.B"])


def test_variables_stand_for_numbers(write):  # noqa: F811 - the fixture
    """As everywhere in the file."""
    section = limits(max_position="${MOST:-3}", check_balance="${CHECKED}")
    risk = load(write({**base(), "risk": section}), environ={"CHECKED": "false"}).suite.risk
    assert ("3", False) == (str(risk.limits["global"].max_position), risk.limits["global"].check_balance)


@pytest.mark.parametrize(
    ("section", "path"),
    [
        (None, "risk.preset"),
        ({}, "risk.preset"),
        ({"preset": None}, "risk.preset"),
        ({"preset": "strict", "enabled": False}, "risk.enabled"),
        ({"preset": "strict", "enabled": "${GATE:-false}"}, "risk.enabled"),
    ],
)
def test_a_live_file_says_its_preset_and_has_the_gate(write, section, path):  # noqa: F811 - the fixture
    """Paper and backtest begin with preset `paper`."""
    document = {**base(), **({} if section is None else {"risk": section})}
    problems = problems_of(write({**document, "environment": "live"}))
    assert {path} == set(problems)
    load(write(document), environ={})
    load(write({**document, "environment": "live"}), backtest=True, environ={})


def test_what_a_trader_writes_is_taken(write):  # noqa: F811 - the fixture
    """Every kind of scope, both kinds of names, wildcards, numbers as numbers and as texts."""
    section = {
        "preset": "strict",
        "conversions": {
            "BTC": "BTCUSDT.BINANCE_SPOT",
            "HKD": "ES.XCME",
            "SHIB": "1e18",
            "USDC": 1,
            "EUR": 1.08,
            "JPY": "0.0065",
        },
        "limits": {
            "global": {"max_exposure": 1e6, "messages": [], "allowed_venues": ["SIM1"], "restricted_instruments": []},
            "venue=*": {"max_exposure": 0, "max_order_quantity": "1e18", "min_order_quantity": "0.000000000000000001"},
            "account=SIM1-001": {"check_balance": False},
            "strategy=TwoSidedQuoter-*": {"ramp": {"until": "2026-01-31T12:00:00+01:00", "max_exposure": 5}},
            "asset=kPEPE": {"max_position": "1_000"},
            "asset=SIM1": {"min_order_quantity": 1, "max_order_quantity": 1},
            "venue=SIM1": {"reduce_only": False},
            f"instrument={DOCUMENTED}": {"max_position": 1},
            "instrument=FX:OANDA:SPOT_PAIR:AUD-USD": {"allowed_order_types": ["LIMIT", "STOP_LIMIT"]},
            "instrument=BTCUSDT-PERP.*": {"allowed_instruments": ["BTC*", "BINANCE-SPOT:*"]},
        },
        "max_orders_per_second": 10,
        "max_orders_per_minute": 100,
        "max_position_per_instrument": {"ETHUSDT.SIM1": 1, "BINANCE-SPOT:SPOT_PAIR:ETH-USDT": "1.0", "SOL*": "3"},
        "max_total_notional": None,
        **override(scope="instrument=BTCUSDT-PERP.SIM3"),
    }
    assert (
        Decimal(1000)
        == load(write({**base(), "risk": section}), environ={}).suite.risk.limits["asset=kPEPE"].max_position
    )


def test_the_section_of_the_requirements_is_answered_key_by_key(write):  # noqa: F811 - the fixture
    """As their document writes it; with `risk` for its name it is taken as it stands."""
    section = {
        "enabled": True,
        "max_orders_per_second": 10,
        "max_orders_per_minute": 100,
        "max_position_per_instrument": {DOCUMENTED: "1.0"},
        "max_total_notional": "10000000",
    }
    problems = problems_of(write({**base(), "risk_engine": section}))
    assert {f"risk_engine.{key}" for key in section} == set(problems)
    assert all(f"risk.{path.rpartition('.')[2]}" in text for path, text in problems.items())
    risk = load(write({**base(), "risk": section}), environ={}).suite.risk
    assert (10, 100, Decimal(10_000_000)) == (
        risk.max_orders_per_second,
        risk.max_orders_per_minute,
        risk.max_total_notional,
    )


@pytest.mark.parametrize("key", ["enabled", "max_orders_per_minute", "max_position_per_instrument", "preset"])
def test_keys_in_the_section_of_nautilus_are_sent_to_ours(write, key):  # noqa: F811 - the fixture
    """`risk_engine` is Nautilus's own."""
    problems = problems_of(write({**base(), "risk_engine": {key: 5}}))
    assert f"risk.{key}" in problems[f"risk_engine.{key}"]


def test_a_section_survives_its_way_through_json(write):  # noqa: F811 - the fixture
    """As it reaches the gate: what is left out stays out, numbers become texts."""
    section = {"preset": "strict", **limits("venue=A", max_exposure=1.5, messages=[{"max": 3}])}
    risk = load(write({**base(), "risk": section}), environ={}).suite.risk
    plain = msgspec.to_builtins(risk)
    messages = [{"max": 3, "types": ["submit", "modify"]}]
    assert {"preset": "strict", **limits("venue=A", max_exposure="1.5", messages=messages)} == plain
    assert risk == msgspec.json.decode(json.dumps(plain), type=Risk)
