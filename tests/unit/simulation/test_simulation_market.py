"""The market model: reproducible, on its grids, and clear about what it refuses."""

from __future__ import annotations

import statistics
from decimal import Decimal
from itertools import islice, pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nautilus_trader.model.instruments import CryptoPerpetual, CurrencyPair

from nautilus_ext.simulation import (
    Asset,
    Listing,
    Market,
    SimulatedDataClientConfig,
    default_listings,
    default_market,
    listing,
)
from nautilus_ext.simulation.instruments import TickMaker, to_instrument
from nautilus_ext.simulation.market import tape

STEPS = 200


def steps(of: Market, count: int = STEPS) -> list:
    return list(islice(tape(of), count))


def test_the_same_seed_gives_the_same_tape():
    """Two readers of one market see the same quotes and trades, number for number."""
    assert steps(default_market(seed=11)) == steps(default_market(seed=11))


def test_another_seed_gives_another_tape():
    """A seed that did nothing would make every test of a strategy the same test."""
    assert steps(default_market(seed=11)) != steps(default_market(seed=12))


def test_an_asset_moves_the_same_whoever_lists_it():
    """Adding an instrument must not change what the others saw."""
    alone = steps(default_market([listing("BTCUSDT.SIM1", "spot")]))
    among = steps(default_market())
    assert [step.quotes[0] for step in alone] == [step.quotes[0] for step in among]


def bitcoin(of, count):
    """The middle of each Bitcoin listing and the true price, step by step."""
    listed = {each.instrument_id: each for each in of.listings if each.base == "BTC"}
    for step in steps(of, count):
        middles = {
            quote.instrument_id: (quote.bid_ticks + quote.ask_ticks) / 2 * float(listed[quote.instrument_id].tick)
            for quote in step.quotes
            if quote.instrument_id in listed
        }
        yield middles, step.prices["BTC"]


def test_without_a_basis_venues_quote_the_one_true_price():
    """Prices of one asset at several venues stay within half a spread of it."""
    plain = [msgspec.structs.replace(each, basis_bps=0.0) for each in default_listings()]
    for middles, true in bitcoin(default_market(plain), 200):
        assert max(abs(middle - true) for middle in middles.values()) < 0.7


def test_venues_drift_around_the_one_true_price():
    """Each strays as far as its basis says, on its own, and comes back to both sides."""
    of = default_market(interval_ms=10_000)
    strayed = {each.instrument_id: [] for each in of.listings if each.base == "BTC"}
    for middles, true in bitcoin(of, 3_000):
        for name, middle in middles.items():
            strayed[name].append((middle / true - 1) * 10_000)
    for each in of.listings:
        if each.base == "BTC":
            away = strayed[each.instrument_id]
            assert 0.8 * each.basis_bps < statistics.pstdev(away) < 1.2 * each.basis_bps
            assert abs(statistics.fmean(away)) < 0.25 * each.basis_bps
    one, other = strayed["BTCUSDT-PERP.SIM2"], strayed["BTCUSDT-PERP.SIM3"]
    assert abs(statistics.correlation(one, other)) < 0.2


def test_a_longer_time_moves_the_price_further():
    """The volatility is per year: a step of a minute is a larger one than a step of 100 ms."""

    def mean_move(interval_ms: int) -> float:
        bids = [step.quotes[0].bid_ticks for step in steps(default_market(interval_ms=interval_ms), 500)]
        return sum(abs(after - before) for before, after in pairwise(bids)) / len(bids)

    assert 15 < mean_move(60_000) / mean_move(100) < 40  # the root of 600 is 24.5


grids = st.sampled_from([Decimal(text) for text in ("0.000001", "0.001", "0.005", "0.01", "0.1", "0.5", "1", "5")])
listings_made = st.builds(
    Listing,
    instrument_id=st.just("X.SIM1"),
    kind=st.sampled_from(["spot", "linear", "inverse"]),
    base=st.just("X"),
    quote=st.just("USDT"),
    tick=grids,
    lot=grids,
    spread_ticks=st.integers(1, 500),
    depth=st.decimals("5", "100000", places=3),
    multiplier=st.sampled_from([Decimal("0.01"), Decimal(1), Decimal(10)]),
    maker_fee=st.just(Decimal(0)),
    taker_fee=st.just(Decimal(0)),
)


@given(
    made=listings_made, seed=st.integers(), price=st.decimals("10000", "200000", places=2), volatility=st.floats(0, 5)
)
@settings(max_examples=60)
def test_every_quote_and_trade_is_on_the_grid(made, seed, price, volatility):
    """Bid below ask, prices whole ticks, sizes whole lots, as the engine reads them, whatever the listing."""
    of = Market(
        seed=seed,
        interval_ms=1_000,
        listings=(made,),
        assets=(Asset(base="X", price=price, volatility=volatility),),
    )
    maker = TickMaker(to_instrument(made))
    for step in steps(of, 30):
        tick = maker.quote(step.quotes[0], 1)
        assert tick.bid_price < tick.ask_price
        prices, sizes = [tick.bid_price, tick.ask_price], [tick.bid_size, tick.ask_size]
        for trade in step.trades:
            traded = maker.trade(trade, step.number, 1)
            assert traded.price in prices
            sizes.append(traded.size)
        assert all(value.as_decimal() % made.tick == 0 and value > 0 for value in prices)
        assert all(value.as_decimal() % made.lot == 0 and value > 0 for value in sizes)


def test_the_default_market_has_three_venues_and_every_kind():
    """What paper trading starts on: spot, linear and inverse, at SIM1, SIM2 and SIM3."""
    listed = default_listings()
    assert {each.instrument_id.rpartition(".")[2] for each in listed} == {"SIM1", "SIM2", "SIM3"}
    assert {each.kind for each in listed} == {"spot", "linear", "inverse"}
    instruments = [to_instrument(each) for each in listed]
    assert {type(each) for each in instruments} == {CurrencyPair, CryptoPerpetual}
    inverse = next(each for each in instruments if each.id.value == "BTCUSD-PERP.SIM3")
    assert inverse.is_inverse
    assert inverse.settlement_currency.code == "BTC"


@pytest.mark.parametrize(
    ("instrument_id", "kind", "base", "quote"),
    [
        ("BTCUSDT.BINANCE_SPOT", "spot", "BTC", "USDT"),
        ("BTCUSDT-PERP.BINANCE_FUTURES", "linear", "BTC", "USDT"),
        ("BTCUSDT-LINEAR.BYBIT", "linear", "BTC", "USDT"),
        ("BTC-USDT-SWAP.OKX", "linear", "BTC", "USDT"),
        ("ETHUSD-PERP.SIM3", "inverse", "ETH", "USD"),
        ("SOL/USDC.SIM1", "spot", "SOL", "USDC"),
    ],
)
def test_an_id_and_a_kind_are_enough(instrument_id, kind, base, quote):
    """Grid, spread, depth, fees and currencies follow from the two."""
    text = msgspec.json.encode({"listings": [{"instrument_id": instrument_id, "kind": kind}]})
    made = SimulatedDataClientConfig.parse(text).to_market().listings[0]
    assert (made.base, made.quote) == (base, quote)
    assert to_instrument(made).id.value == instrument_id


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"instrument_id": "FOOUSDT.X"}, "set base to one of BTC, ETH, SOL"),
        ({"instrument_id": "BTCUSDT"}, "set base"),
        ({"instrument_id": ".X", "base": "BTC", "quote": "USDT"}, "must read SYMBOL.VENUE"),
        ({"instrument_id": "BTCUSDT.X", "tick": "0"}, "tick must be above 0"),
        ({"instrument_id": "BTCUSDT.X", "tick": "1e-12"}, "at most 9 decimals"),
        ({"instrument_id": "BTCUSDT.X", "depth": "NaN"}, "finite"),
        ({"instrument_id": "BTCUSDT.X", "depth": "1e20"}, "depth must be between"),
        ({"instrument_id": "BTCUSDT.X", "lot": "5"}, "depth must be between one lot"),
        ({"instrument_id": "BTCUSDT.X", "tick": "100000"}, "spread is above half the price"),
        ({"instrument_id": "BTCUSDT.X", "quote": ""}, "currency codes"),
        ({"instrument_id": "BTCUSDT.X", "spread_ticks": 0}, "spread_ticks must be at least 1"),
        ({"instrument_id": "BTCUSDT.X", "taker_fee": "5"}, "fraction of the notional"),
        ({"instrument_id": "BTCUSDT.X", "kind": "future"}, r"\$.listings\[0\].kind"),
        ({"instrument_id": "BTCUSDT.X", "tik": "0.1"}, "unknown field `tik`"),
    ],
)
def test_a_wrong_listing_is_refused_with_its_cure(entry, expected):
    """The operator reads what is wrong, at which path, before a node exists."""
    with pytest.raises(msgspec.ValidationError, match=expected):
        SimulatedDataClientConfig.parse(msgspec.json.encode({"listings": [entry]}))


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"interval_ms": 0}, "between 1 and 60000 ms"),
        ({"listings": []}, "at least one listing"),
        ({"listings": [{"instrument_id": "BTCUSDT.X"}, {"instrument_id": "BTCUSDT.X"}]}, "listed twice: BTCUSDT.X"),
    ],
)
def test_a_wrong_market_is_refused_with_its_cure(config, expected):
    """The same for what concerns all listings together."""
    with pytest.raises(msgspec.ValidationError, match=expected):
        SimulatedDataClientConfig.parse(msgspec.json.encode(config))
