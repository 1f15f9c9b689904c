"""The section `risk`: every mistake in it is told with its path, at once with all others."""

import json

import pytest
from test_load import base, problems_of, write  # noqa: F401 - a fixture among them

from nautilus_ext.config import load


def limits(scope="global", **values):
    return {"limits": {scope: values}}


CASES = [
    ({"preset": "strct"}, "preset", 'did you mean "strict"?'),
    ({"preset": "PAPER"}, "preset", 'did you mean "paper"?'),
    ({"prest": "strict"}, "prest", 'did you mean "preset"?'),
    ({"base_currency": "??"}, "base_currency", "no currency"),
    ({"conversions": {"BTC": "much"}}, "conversions.BTC", "neither a number above 0"),
    ({"conversions": {"BTC": "-1"}}, "conversions.BTC", "neither a number above 0"),
    ({"price_age_ms_max": 0}, "price_age_ms_max", ">= 1"),
    (limits(max_postion="1"), "limits.global.max_postion", 'did you mean "max_position"?'),
    (limits(max_position="much"), "limits.global.max_position", "decimal"),
    (limits(max_position="NaN"), "limits.global.max_position", "from 0 on"),
    (limits(max_position=-1), "limits.global.max_position", "from 0 on"),
    (limits(self_match="cancel"), "limits.global.self_match", 'did you mean "cancel_oldest"?'),
    (limits(allowed_sides=["buy"]), "limits.global.allowed_sides[0]", 'did you mean "BUY"?'),
    (limits(messages=[{"max": 0}]), "limits.global.messages[0].max", ">= 1"),
    (limits(messages=[{"max": 1, "types": ["sumbit"]}]), "limits.global.messages[0].types[0]", '"submit"'),
    (limits("instrment=BTC*", max_position=1), "limits.instrment=BTC*", "is no scope"),
    (limits("venue", max_exposure=1), "limits.venue", "is no scope"),
    (limits("venue=", max_exposure=1), "limits.venue=", "is no scope"),
    (limits("global=x", max_exposure=1), "limits.global=x", "is no scope"),
    (limits("strategy=A*", ramp={"max_position": 1}), "limits.strategy=A*.ramp", "never ends"),
    (limits("venue=A", ramp={"orders": 1, "max_position": 1}), "limits.venue=A.ramp", "strategy"),
    (
        {"overrides": [{"code": "MAX_POSITION", "scope": "global", "by": "me", "why": "so", "until": "2026-01-31"}]},
        "overrides[0].until",
        "time zone",
    ),
    ({"overrides": [{"code": "MAX_POSITION"}]}, "overrides[0].why", "is missing"),
    ({"max_position_per_instrument": {"BTC.X": "-1"}}, "max_position_per_instrument.BTC.X", "from 0 on"),
    ({"max_total_notional": 5, **limits(max_exposure=5)}, "max_total_notional", "keep one"),
]


@pytest.mark.parametrize(("section", "path", "part"), CASES, ids=[f"{path}-{part}" for _, path, part in CASES])
def test_a_mistake_in_the_section_is_told_with_its_path(write, section, path, part):  # noqa: F811 - the fixture
    """And with what to write instead."""
    problems = problems_of(write({**base(), "risk": section}))
    assert part in problems[f"risk.{path}"]


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
    [(None, "risk.preset"), ({}, "risk.preset"), ({"preset": "strict", "enabled": False}, "risk.enabled")],
)
def test_a_live_file_says_its_preset_and_has_the_gate(write, section, path):  # noqa: F811 - the fixture
    """Paper and backtest begin with preset `paper`."""
    document = {**base(), **({} if section is None else {"risk": section})}
    problems = problems_of(write({**document, "environment": "live"}))
    assert {path} == set(problems)
    load(write(document), environ={})
    load(write({**document, "environment": "live"}), backtest=True, environ={})


@pytest.mark.parametrize("key", ["enabled", "max_orders_per_minute", "max_position_per_instrument", "preset"])
def test_keys_in_the_section_of_nautilus_are_sent_to_ours(write, key):  # noqa: F811 - the fixture
    """`risk_engine` is Nautilus's own."""
    problems = problems_of(write({**base(), "risk_engine": {key: 5}}))
    assert f"risk.{key}" in problems[f"risk_engine.{key}"]


def test_a_section_survives_its_way_through_json(write):  # noqa: F811 - the fixture
    """As it reaches the gate: what is left out stays out, numbers become texts."""
    import msgspec

    from nautilus_ext.config.risk import Risk

    section = {"preset": "strict", **limits("venue=A", max_exposure=1.5, messages=[{"max": 3}])}
    risk = load(write({**base(), "risk": section}), environ={}).suite.risk
    plain = msgspec.to_builtins(risk)
    assert {"preset": "strict", **limits("venue=A", max_exposure="1.5", messages=[{"max": 3}])} == plain
    assert risk == msgspec.json.decode(json.dumps(plain), type=Risk)
