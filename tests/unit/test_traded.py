"""What a config alone says of what it trades."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec import structs

from nautilus_ext.app.doctor import file_of
from nautilus_ext.app.doctor_rules import dangers, unset
from nautilus_ext.app.explain import explained
from nautilus_ext.app.traded import accounts_of, listing_of, traders_of
from nautilus_ext.config import load
from nautilus_ext.config.risk import Limits, Risk
from nautilus_ext.errors import ConfigError

CONFIGS = Path(__file__).resolve().parents[2] / "node_configs"
KEYS = ("BINANCE_SPOT_API_", "BINANCE_FUTURES_API_", "BYBIT_API_", "OKX_API_")
VARIABLES = {
    "DATABASE_URL": "embedded",
    "OKX_API_PASSPHRASE": "x",
    **{f"{name}{kind}": "x" for name in KEYS for kind in ("KEY", "SECRET")},
}


def shipped(name, *, backtest=False):
    return load(CONFIGS / name, backtest=backtest, environ=VARIABLES)


@pytest.mark.parametrize(
    ("text", "instrument_id", "asset", "quote", "is_inverse"),
    [
        ("BTCUSDT.SIM1", "BTCUSDT.SIM1", "BTC", "USDT", False),
        ("BYBIT:PERPETUAL:BTC-USD@INV", "BTCUSD-INVERSE.BYBIT", "BTC", "USD", True),
        ("ETH-USDT-SWAP.OKX", "ETH-USDT-SWAP.OKX", "ETH", "USDT", False),
        ("BTCUSDT-PERP.BINANCE_FUTURES", "BTCUSDT-PERP.BINANCE_FUTURES", "BTC", "USDT", False),
    ],
)
def test_a_listing_is_told_by_its_id(text, instrument_id, asset, quote, is_inverse):
    """An InstrumentId or a canonical id, without any venue."""
    listing, unknown = listing_of(text)
    assert (instrument_id, asset, quote, is_inverse, []) == (
        listing.instrument_id,
        listing.asset,
        listing.quote,
        listing.is_inverse,
        unknown,
    )


def test_what_an_id_does_not_tell_is_said():
    """A symbol of a venue without a rule means nothing by itself."""
    listing, unknown = listing_of("ESZ5.XCME")
    assert ("XCME", "", "") == (listing.venue, listing.asset, listing.quote)
    assert "only the loaded instrument has them" in unknown[0]


@pytest.mark.parametrize("text", ["", "BTC", ".SIM1", "BTC.", "A:B:C", "BTC\n.SIM1"])
def test_what_names_no_instrument_is_refused(text):
    """With what to write instead."""
    with pytest.raises(ConfigError):
        listing_of(text)


def test_strategies_are_named_as_nautilus_names_them():
    """Class and tag; instruments from bar types, ids and keys of weights."""
    traders = {each.strategy_id: each.instruments for each in traders_of(shipped("paper.json"))}
    assert {
        "TrendFollower-001": ("ETHUSDT-PERP.SIM2",),
        "TwoSidedQuoter-002": ("BTCUSDT-PERP.SIM3",),
        "Rebalancer-003": ("BTCUSDT.SIM1", "ETHUSDT.SIM1"),
    } == traders


@pytest.mark.parametrize(
    ("name", "backtest", "kinds"),
    [
        ("paper.json", False, {"SIM1": "CASH", "SIM2": "MARGIN", "SIM3": "MARGIN"}),
        ("live.json", False, {"BINANCE_SPOT": "CASH", "BINANCE_FUTURES": "MARGIN", "BYBIT": "MARGIN", "OKX": "MARGIN"}),
        ("live.json", True, {"BINANCE_SPOT": "CASH", "BINANCE_FUTURES": "MARGIN", "BYBIT": "MARGIN", "OKX": "MARGIN"}),
    ],
)
def test_accounts_have_the_kind_that_the_adapter_gives_them(name, backtest, kinds):
    """Spot alone is cash."""
    assert kinds == {each.venue: each.kind for each in accounts_of(shipped(name, backtest=backtest))}


@pytest.mark.parametrize("backtest", [False, True])
@pytest.mark.parametrize("name", ["paper.json", "paper_live_data.json", "live.json"])
def test_a_shipped_file_has_nothing_dangerous_in_it_and_no_limit_missing(name, backtest):
    """They are what people copy."""
    file = file_of(shipped(name, backtest=backtest), now_ns=0)
    assert [] == dangers(file)
    assert [] == unset(file)


def test_every_market_of_a_shipped_file_tells_its_currency():
    """Else a missing conversion would not be seen."""
    for name in ("paper.json", "paper_live_data.json", "live.json"):
        assert {"USDT"} == {market.quote for market in file_of(shipped(name), now_ns=0).markets}


def written(tmp_path, **risk):
    document = json.loads((CONFIGS / "paper.json").read_text()) | {"risk": risk}
    path = tmp_path / "config.json"
    path.write_text(json.dumps(document))
    return load(path, environ=dict(os.environ))


def test_explained_limits_say_value_scope_and_source(tmp_path):
    """The preset, the file and the short keys; a ramp says when it ends."""
    config = written(
        tmp_path,
        max_orders_per_second=7,
        limits={
            "venue=SIM*": {"max_exposure": 1000},
            "strategy=Two*": {"ramp": {"orders": 50, "max_position": "0.01"}},
            "asset=BTC": {"max_position": "2"},
        },
    )
    answer = explained(config, "SIM3:PERPETUAL:BTC-USDT", "TwoSidedQuoter-002", "", 0)
    rows = {(row["limit"], row["source"]): row for row in answer["limits"]}
    assert "1,000 USDT" == rows["max_exposure", "risk.limits.venue=SIM*"]["shown"]
    assert "venue=SIM3" == rows["max_exposure", "risk.limits.venue=SIM*"]["scope"]
    assert "50 orders" == rows["max_position", "risk.limits.strategy=Two*.ramp"]["until"]
    assert "2 BTC" == rows["max_position", "risk.limits.asset=BTC"]["shown"]
    assert "7 in 1 s (submit + modify)" == rows["messages", "risk.max_orders_per_second"]["shown"]
    assert ("messages", "preset paper") not in rows
    assert [] == answer["unknown"]


def test_what_cannot_be_explained_is_said(tmp_path):
    """A strategy that nobody knows, a venue without an account, scopes that need an id."""
    config = written(tmp_path, limits={"account=SIM*": {"max_exposure": 1}, "strategy=*": {"max_exposure": 1}})
    said = " ".join(explained(config, "BTCUSDT.SIM9", "", "", 0)["unknown"])
    assert "--account" in said
    assert "--strategy" in said
    assert "SIM9" in said
    assert "Nobody-1" in " ".join(explained(config, "BTCUSDT.SIM1", "Nobody-1", "SIM1-x", 0)["unknown"])


def test_an_override_is_explained_until_it_expires(tmp_path):
    """Where it lifts something of this order, and nowhere else."""
    given = {"code": "MAX_POSITION", "scope": "venue=SIM3", "by": "ann", "why": "move", "until": "1970-01-02T00:00:00Z"}
    config = written(tmp_path, overrides=[given])
    assert [given] == explained(config, "BTCUSDT-PERP.SIM3", "", "", 0)["lifted"]
    assert [] == explained(config, "BTCUSDT-PERP.SIM3", "", "", 86_400 * 10**9)["lifted"]
    assert [] == explained(config, "BTCUSDT-PERP.SIM2", "", "", 0)["lifted"]


def test_a_canonical_id_means_the_venue_of_the_file():
    """Binance's two markets have names of their own there."""
    venues = ["BINANCE_SPOT", "BINANCE_FUTURES"]
    assert "BTCUSDT.BINANCE_SPOT" == listing_of("BINANCE-SPOT:SPOT_PAIR:BTC-USDT", venues)[0].instrument_id
    assert "BTCUSDT-PERP.BINANCE_FUTURES" == listing_of("BINANCE-FUTURES:PERPETUAL:BTC-USDT", venues)[0].instrument_id
    assert "BTCUSDT.BINANCE" == listing_of("BINANCE-SPOT:SPOT_PAIR:BTC-USDT")[0].instrument_id


@pytest.mark.parametrize(
    ("scope", "is_met"),
    [
        ("instrument=BTCUSDT-PERP.SIM3", True),
        ("instrument=SIM3:PERPETUAL:BTC-USDT", True),
        ("instrument=BTC*", True),
        ("instrument=BTCUSTD-PERP.SIM3", False),
        ("asset=ETH", True),
        ("asset=SOL", False),
        ("venue=SIM*", True),
        ("venue=SIM4", False),
        ("strategy=TwoSidedQuoter-002", True),
        ("strategy=TwoSidedQuoter-003", False),
        ("account=SIM9-001", True),  # the venue names its accounts
    ],
)
def test_a_scope_in_which_nothing_is_traded_is_found(tmp_path, scope, is_met):
    """A name with a slip of the finger would limit nothing."""
    file = file_of(written(tmp_path, limits={scope: {"max_exposure": 5}}), now_ns=0)
    assert is_met == ([] == dangers(file))


def test_a_strategy_that_names_no_instrument_is_named_itself():
    """It may trade anything, so that no scope is called a slip of the finger."""
    config = shipped("paper.json")
    bare = [{**each, "config": {"order_id_tag": each["config"]["order_id_tag"]}} for each in config.tree["strategies"]]
    scope = Risk(limits={"instrument=SOL*": Limits(reduce_only=True), "strategy=Nobody-1": Limits(reduce_only=True)})
    config = replace(config, tree={**config.tree, "strategies": bare}, suite=structs.replace(config.suite, risk=scope))
    file = file_of(config, now_ns=0)
    assert ("TrendFollower-001", "TwoSidedQuoter-002", "Rebalancer-003") == file.silent
    assert ["risk.limits.strategy=Nobody-1"] == [each.path for each in dangers(file)]
