"""Regimes: each does what it says at its time and nothing else; and a market that is continued after a restart."""

from __future__ import annotations

import hashlib
import math
import time
from itertools import islice, pairwise
from statistics import pstdev

import msgspec
import pytest

from nautilus_ext.simulation.listings import default_market
from nautilus_ext.simulation.market import Begin, Market, Step, tape, venue_of
from nautilus_ext.simulation.regimes import Regime

INTERVAL_MS = 1_000
PLAIN = default_market(seed=5, interval_ms=INTERVAL_MS)


def market(*regimes: dict, **other) -> Market:
    made = msgspec.convert(regimes, type=tuple[Regime, ...])
    return default_market(**{"seed": 5, "interval_ms": INTERVAL_MS, **other}, regimes=made)


def steps(of: Market, count: int = 120, begin: Begin | None = None) -> list[Step]:
    return list(islice(tape(of, begin), count))


def moves(of: Market, base: str, count: int = 120) -> list[float]:
    logs = [math.log(step.prices[base]) for step in steps(of, count)]
    return [after - before for before, after in pairwise(logs)]


def test_the_tape_of_a_seed_is_what_it_was():
    """Catalogs that were recorded stay valid: who changes this hash raises MODEL_VERSION."""
    of = default_market(seed=11)
    seen = hashlib.sha256(msgspec.json.encode(of))
    for step in steps(of, 500):
        seen.update(msgspec.json.encode((step.number, step.quotes, step.trades)))
        assert (step.stale, step.halted) == ((), ())
    assert b"regimes" not in msgspec.json.encode(of)
    assert seen.hexdigest() == "2ffc74a59fc31c1bb1c4a123f2bb836e56dbb0a9116660b4464b13dbfeb1eb0f"


def test_calm_shrinks_every_move_by_its_factor():
    """From step 20 to 60; before and after each move is the very same."""
    calm = moves(market({"kind": "calm", "start_s": 20, "seconds": 40, "factor": 0.25}), "BTC")
    usual = moves(PLAIN, "BTC")
    for number, (move, was) in enumerate(zip(calm, usual, strict=True)):
        assert was * (0.25 if 20 <= number < 60 else 1.0) == pytest.approx(move, abs=1e-12)


def test_a_factor_above_one_excites():
    """The same knob the other way: ten times the deviation."""
    wild = moves(market({"kind": "calm", "start_s": 0, "seconds": 500, "factor": 10}), "ETH")
    assert pstdev(wild) == pytest.approx(10 * pstdev(moves(PLAIN, "ETH")), rel=1e-6)


def test_a_trend_adds_its_drift():
    """Half of the log price per hour, for a minute: that much more at its end, of the asset it names."""
    trend = {"kind": "trending", "start_s": 10, "seconds": 60, "drift_per_hour": 0.5, "base": "BTC"}
    trending, usual = steps(market(trend)), steps(PLAIN)
    for before, after, drift in ((usual[10], trending[10], 0.0), (usual[-1], trending[-1], 0.5 / 60)):
        assert math.log(after.prices["BTC"] / before.prices["BTC"]) == pytest.approx(drift, abs=1e-12)
        assert before.prices["ETH"] == after.prices["ETH"]


@pytest.mark.parametrize(("start_s", "step"), [(0, 0), (30, 30), (29.5, 30), (29.001, 30), (30.001, 31)])
def test_a_gap_is_one_jump_at_its_moment(start_s, step):
    """The first step at or after it shows the whole jump, at every venue of the asset."""
    gapped = steps(market({"kind": "gap", "start_s": start_s, "size": -0.05, "base": "BTC"}), 60)
    for now, usual in zip(gapped, steps(PLAIN, 60), strict=True):
        ratio = 0.95 if now.number >= step else 1.0
        assert usual.prices["BTC"] * ratio == pytest.approx(now.prices["BTC"], rel=1e-12)
        for quote, was in zip(now.quotes, usual.quotes, strict=True):
            expected = was.bid_ticks * (ratio if quote.instrument_id.startswith("BTC") else 1.0)
            assert expected == pytest.approx(quote.bid_ticks, rel=1e-4)


@pytest.mark.parametrize("kind", ["stale", "halted"])
def test_a_silent_venue_is_left_out_and_named(kind):
    """Only while it lasts; the other venues, and its own quotes afterwards, are what they would have been."""
    silent = steps(market({"kind": kind, "start_s": 20, "seconds": 30, "venue": "SIM2"}))
    for now, usual in zip(silent, steps(PLAIN), strict=True):
        lasts = 20 <= now.number < 50
        assert (("SIM2",) if lasts else ()) == getattr(now, kind)
        for name in ("quotes", "trades"):
            heard = tuple(each for each in getattr(usual, name) if not lasts or venue_of(each.instrument_id) != "SIM2")
            assert heard == getattr(now, name)


def test_regimes_of_different_kinds_go_together():
    """A calm trend with a gap in it, while one venue is halted and then stale."""
    of = market(
        {"kind": "calm", "start_s": 0, "seconds": 100, "factor": 0.0},
        {"kind": "trending", "start_s": 0, "seconds": 100, "drift_per_hour": -1},
        {"kind": "gap", "start_s": 50, "size": 0.1},
        {"kind": "halted", "start_s": 0, "seconds": 40, "venue": "SIM1"},
        {"kind": "stale", "start_s": 40, "seconds": 40, "venue": "SIM1"},
    )
    last = steps(of, 101)[-1]
    assert 60_000 * math.exp(-100 / 3_600) * 1.1 == pytest.approx(last.prices["BTC"], rel=1e-9)
    assert msgspec.json.decode(msgspec.json.encode(of), type=Market) == of


@pytest.mark.parametrize(
    ("regime", "expected"),
    [
        ({"kind": "storm", "start_s": 0}, r"Invalid enum value 'storm' - at `\$\[0\].kind`"),
        ({"kind": "calm", "start_s": 0, "seconds": 5, "faktor": 1}, "unknown field `faktor`"),
        ({"kind": "calm", "start_s": 0, "seconds": 5}, r"factor is missing: set it - at `\$\[0\]`"),
        ({"kind": "calm", "start_s": 0, "factor": 0.5}, "seconds is missing"),
        ({"kind": "calm", "start_s": 0, "seconds": 5, "factor": 0.5, "size": 1}, "size says nothing there: remove it"),
        ({"kind": "calm", "start_s": 0, "seconds": 5, "factor": -1}, "factor is -1.0; it must be finite and between 0"),
        ({"kind": "calm", "start_s": 0, "seconds": 5, "factor": math.nan}, "factor is nan"),
        ({"kind": "calm", "start_s": -1, "seconds": 5, "factor": 1}, "start_s is -1.0"),
        ({"kind": "calm", "start_s": 0, "seconds": 0, "factor": 1}, "seconds is 0.0"),
        ({"kind": "trending", "start_s": 0, "seconds": 5, "drift_per_hour": math.inf}, "drift_per_hour is inf"),
        ({"kind": "trending", "start_s": 0, "seconds": 36_000, "drift_per_hour": 1}, "comes to 10 of the log price; 3"),
        ({"kind": "gap", "start_s": 0, "size": -1}, "size is -1.0; it must be finite and between -0.950213"),
        ({"kind": "gap", "start_s": 0, "seconds": 5, "size": 0.1}, "seconds says nothing there"),
        ({"kind": "halted", "start_s": 0, "seconds": 5}, "venue is missing"),
        ({"kind": "stale", "start_s": 0, "seconds": 5, "venue": "SIM1", "base": "BTC"}, "base says nothing there"),
    ],
)
def test_a_wrong_regime_is_refused_with_its_cure(regime, expected):
    """What is wrong, which value, what is allowed: at its place in the file."""
    with pytest.raises(msgspec.ValidationError, match=expected):
        msgspec.convert((regime,), type=tuple[Regime, ...])


CALM = {"kind": "calm", "start_s": 0, "seconds": 10, "factor": 0.5}


@pytest.mark.parametrize(
    ("regimes", "expected"),
    [
        ([{**CALM, "base": "DOGE"}], r"regimes\[0\]: no asset 'DOGE'; there are BTC, ETH, SOL"),
        (
            [{"kind": "stale", "start_s": 0, "seconds": 9, "venue": "SIM7"}],
            "no venue 'SIM7'; there are SIM1, SIM2, SIM3",
        ),
        ([{**CALM, "seconds": 0.5}], r"regimes\[0\]: 0.5 s are shorter than a step of 1000 ms"),
        ([CALM, {**CALM, "start_s": 9}], r"regimes\[0\] \(calm\) and regimes\[1\] \(calm\) fall on the same time"),
        ([CALM, {**CALM, "start_s": 9, "base": "BTC"}], "fall on the same time"),
        (
            [
                {"kind": "halted", "start_s": 0, "seconds": 9, "venue": "SIM1"},
                {"kind": "stale", "start_s": 8, "seconds": 9, "venue": "SIM1"},
            ],
            r"regimes\[0\] \(halted\) and regimes\[1\] \(stale\) fall on the same time: part them",
        ),
        ([{"kind": "gap", "start_s": 1, "size": 0.1}] * 2, "fall on the same time"),
        ([{"kind": "gap", "start_s": at, "size": 1.0} for at in range(5)], "move BTC by 3.47 of its log price; 3.0 is"),
        ([{**CALM, "start_s": at * 10} for at in range(101)], "101 regimes; 100 is the most"),
    ],
)
def test_regimes_that_make_no_sense_together_are_refused(regimes, expected):
    """On the market that they are meant for."""
    with pytest.raises(ValueError, match=expected):
        market(*regimes)


@pytest.mark.parametrize(
    "regimes",
    [
        [CALM, {**CALM, "start_s": 10}],
        [{**CALM, "base": "BTC"}, {**CALM, "base": "ETH"}],
        [{"kind": "stale", "start_s": 0, "seconds": 9, "venue": name} for name in ("SIM1", "SIM2", "SIM3")],
        [{"kind": "gap", "start_s": 1, "size": 0.1}, {"kind": "gap", "start_s": 2, "size": -0.1}],
    ],
)
def test_regimes_beside_each_other_are_taken(regimes):
    """One ends when the next begins, or they concern different things; all venues may be silent at once."""
    assert len(steps(market(*regimes), 30)) == 30


def test_a_market_goes_on_from_its_last_prices():
    """The first step has the number and the prices that were asked for; what follows is as lively as ever."""
    left = steps(PLAIN, 51)[-1]
    went_on = steps(PLAIN, 500, Begin(left.number + 1, left.prices))
    assert list(range(51, 551)) == [step.number for step in went_on]
    for base, price in left.prices.items():
        assert price == pytest.approx(went_on[0].prices[base], rel=1e-12)
    logs = [math.log(step.prices["BTC"]) for step in went_on]
    deviation = pstdev(after - before for before, after in pairwise(logs))
    assert deviation == pytest.approx(pstdev(moves(PLAIN, "BTC", 500)), rel=0.2)


def test_who_continues_at_the_same_place_sees_the_same():
    """A server killed before it stored a step makes the very same step again; elsewhere it is another tape."""
    begin = Begin(51, {"BTC": 61_000.0, "ETH": 2_900.0, "SOL": 140.0})
    assert steps(PLAIN, 50, begin) == steps(PLAIN, 50, begin)
    other = steps(PLAIN, 50, msgspec.structs.replace(begin, number=52))
    assert [step.quotes for step in steps(PLAIN, 50, begin)] != [step.quotes for step in other]
    sizes, first = ([quote.bid_lots for quote in each[0].quotes] for each in (steps(PLAIN, 1, begin), steps(PLAIN, 1)))
    assert all(size != was for size, was in zip(sizes, first, strict=True))


def test_continuing_is_as_cheap_after_a_year_as_after_a_second():
    """No step is made again to get there."""
    begun = time.perf_counter()
    assert next(tape(PLAIN, Begin(10**12, {"BTC": 60_000.0}))).number == 10**12
    assert time.perf_counter() - begun < 0.5


def test_an_asset_that_is_new_begins_at_its_own_price():
    """The stored prices are of the world before."""
    first = steps(PLAIN, 1, Begin(9, {"BTC": 50_000.0}))[0]
    assert first.prices["BTC"] == pytest.approx(50_000)
    assert first.prices["ETH"] == pytest.approx(3_000)


def test_regimes_keep_their_time_when_a_market_is_continued():
    """A gap that falls on the next step is shown by it, one that was before is not shown again."""
    of = market(
        {"kind": "gap", "start_s": 50, "size": 0.1}, {"kind": "halted", "start_s": 45, "seconds": 10, "venue": "SIM1"}
    )
    before, after = (steps(of, 20, Begin(number, {"BTC": 100.0}))[0] for number in (50, 51))
    assert before.prices["BTC"] == pytest.approx(110)
    assert after.prices["BTC"] == pytest.approx(100)
    assert (("SIM1",), ("SIM1",)) == (before.halted, after.halted)
    assert steps(of, 6, Begin(50, {"BTC": 100.0}))[-1].halted == ()
