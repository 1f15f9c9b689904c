"""Configs of the strategies refuse what makes no sense; sizes land on the grid."""

from __future__ import annotations

import json
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nautilus_ext.simulation import listing
from nautilus_ext.simulation.instruments import to_instrument
from nautilus_ext.strategies import RebalancerConfig, TrendFollowerConfig, TwoSidedQuoterConfig
from nautilus_ext.strategies.sizing import on_grid, size_of

TREND = {"bar_type": "BTCUSDT-PERP.SIM2-10-TICK-MID-INTERNAL", "notional": "1000"}
QUOTER = {"instrument_id": "BTCUSDT-PERP.SIM3", "quantity": "0.05", "max_inventory": "0.2"}
WEIGHTS = {"weights": {"BTCUSDT.SIM1": "0.4", "ETHUSDT.SIM1": "0.3"}}


@pytest.mark.parametrize(
    ("config_type", "good", "change", "expected"),
    [
        (TrendFollowerConfig, TREND, {"fast_period": 30}, "fast_period 30 must be below slow_period 30"),
        (TrendFollowerConfig, TREND, {"quantity": "1"}, "either quantity or notional"),
        (TrendFollowerConfig, TREND, {"notional": None}, "either quantity or notional"),
        (TrendFollowerConfig, TREND, {"notional": "-5"}, "above 0"),
        (TrendFollowerConfig, TREND, {"notional": "NaN"}, "notional NaN must be a finite number"),
        (TrendFollowerConfig, TREND, {"stop_bps": "0"}, "stop_bps 0"),
        (TrendFollowerConfig, TREND, {"target_bps": "10000"}, "target_bps 10000"),
        (TrendFollowerConfig, TREND, {"emulation_trigger": "SOON"}, "'SOON' is none of"),
        (TrendFollowerConfig, TREND, {"bar_type": "BTCUSDT"}, "bar_type"),
        (TwoSidedQuoterConfig, QUOTER, {"quantity": "0.3"}, "not above max_inventory 0.2"),
        (TwoSidedQuoterConfig, QUOTER, {"quantity": "0"}, "quantity 0 must be above 0"),
        (TwoSidedQuoterConfig, QUOTER, {"half_spread_bps": "0"}, "half_spread_bps 0"),
        (TwoSidedQuoterConfig, QUOTER, {"skew_bps": "-1"}, "must be 0 or more"),
        (TwoSidedQuoterConfig, QUOTER, {"max_inventory": "Infinity"}, "max_inventory Infinity"),
        (TwoSidedQuoterConfig, QUOTER, {"instrument_id": "BTCUSDT"}, "instrument_id"),
        (RebalancerConfig, WEIGHTS, {"weights": {}}, "add up to at most 1"),
        (RebalancerConfig, WEIGHTS, {"weights": {"BTCUSDT.A": "0.7", "ETHUSDT.A": "0.7"}}, "add up to 1.4"),
        (RebalancerConfig, WEIGHTS, {"weights": {"BTCUSDT.A": "-0.1"}}, "0 or more"),
        (RebalancerConfig, WEIGHTS, {"weights": {"BTCUSDT.A": "NaN"}}, "weights NaN"),
        (RebalancerConfig, WEIGHTS, {"weights": {"BTCUSDT.A": "0.1", "ETHUSDT.B": "0.1"}}, "one venue"),
        (RebalancerConfig, WEIGHTS, {"weights": {"BTCUSDT": "0.1"}}, "InstrumentId"),
        (RebalancerConfig, WEIGHTS, {"tolerance": "1"}, "tolerance 1"),
        (RebalancerConfig, WEIGHTS, {"interval_s": 0}, "interval_s"),
        (RebalancerConfig, WEIGHTS, {"interval": 5}, "unknown field `interval`"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused(config_type, good, change, expected):
    """The good config is accepted; the one change is refused and named."""
    config_type.parse(json.dumps(good))
    with pytest.raises(msgspec.ValidationError, match=expected):
        config_type.parse(json.dumps({**good, **change}))


@given(st.decimals("0", "1000", places=8))
def test_a_size_is_whole_lots_and_never_more_than_asked(size):
    """Rounding up would break an inventory limit; rounding to zero must not become an order."""
    instrument = to_instrument(listing("BTCUSDT-PERP.SIM2", "linear"))
    quantity = on_grid(instrument, size)
    if size < Decimal("0.001"):
        assert quantity is None
    else:
        assert Decimal(0) <= size - quantity.as_decimal() < Decimal("0.001")


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        (listing("BTCUSDT-PERP.SIM2", "linear"), Decimal("0.1")),
        (listing("BTC-USDT-SWAP.OKX", "linear", multiplier=Decimal("0.01")), Decimal(10)),
        (listing("BTCUSD-PERP.SIM3", "inverse"), Decimal(5_000)),
    ],
)
def test_notional_becomes_the_instruments_own_unit(listed, expected):
    """Base asset, contracts of a part of it, or contracts of one dollar."""
    assert size_of(to_instrument(listed), Decimal(5_000), Decimal(50_000)) == expected
