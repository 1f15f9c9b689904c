"""The strangers: around the model's quote stands a ladder that keeps its places."""

from __future__ import annotations

from decimal import Decimal
from itertools import islice, pairwise

import pytest

from nautilus_ext.simulation.exchange.strangers import Strangers
from nautilus_ext.simulation.listings import default_market, listing
from nautilus_ext.simulation.market import Quote, tape

LEVELS = 5
BTC = listing("BTCUSDT.SIM1", "spot")


def ladders(steps: int = 300) -> list:
    of = default_market()
    strangers = {each.instrument_id: Strangers(each, levels=LEVELS, seed=7) for each in of.listings}
    return [
        (quote, strangers[quote.instrument_id].ladder(quote))
        for step in islice(tape(of), steps)
        for quote in step.quotes
    ]


def test_the_top_is_the_quote_and_the_sides_never_meet():
    """Best first, `levels` prices a side, every one with at least a lot."""
    for quote, (bids, asks) in ladders():
        assert ((quote.bid_ticks, quote.bid_lots), (quote.ask_ticks, quote.ask_lots)) == (
            next(iter(bids.items())),
            next(iter(asks.items())),
        )
        assert LEVELS == len(bids) == len(asks)
        assert all(better > worse for better, worse in pairwise(bids))
        assert all(better < worse for better, worse in pairwise(asks))
        assert max(bids) < min(asks)
        assert min(*bids.values(), *asks.values()) >= 1


def test_the_same_strangers_want_the_same():
    """No memory, no chance: what is wanted follows from seed, listing and quote."""
    assert ladders(20) == ladders(20)


def test_another_seed_or_listing_wants_something_else():
    """Two venues are not copies of each other."""
    quote = Quote("", 6_000_000, 6_000_100, 5, 5)
    made = [
        Strangers(each, levels=LEVELS, seed=seed).ladder(quote)[0]
        for each, seed in ((BTC, 1), (BTC, 2), (listing("BTCUSDT.SIM9", "spot"), 1))
    ]
    assert made[0] != made[1]
    assert made[0] != made[2]


def test_orders_keep_their_place_when_the_market_moves():
    """A deeper price that is still wanted is wanted with the same lots."""
    strangers = Strangers(BTC, levels=LEVELS, seed=7)
    before, _ = strangers.ladder(Quote("", 6_000_050, 6_000_150, 5, 5))
    after, _ = strangers.ladder(Quote("", 6_000_099, 6_000_199, 9, 9))
    assert list(before.items())[1:] == list(after.items())[1:]
    risen, _ = strangers.ladder(Quote("", 6_000_150, 6_000_250, 5, 5))
    assert {ticks: lots for ticks, lots in risen.items() if ticks in before} == dict(list(before.items())[1:-1])


def test_deeper_prices_show_about_the_mean_depth():
    """Between half and one and a half of it, over many prices the mean."""
    strangers = Strangers(BTC, levels=100, seed=7)
    _, asks = strangers.ladder(Quote("", 6_000_000, 6_000_100, 1, 1))
    lots = list(asks.values())[1:]
    mean = int(BTC.depth / BTC.lot)
    assert mean // 2 <= min(lots)
    assert max(lots) <= mean // 2 + mean
    assert 0.85 < sum(lots) / len(lots) / mean < 1.15


def test_no_bid_stands_below_the_first_tick():
    """Near zero the ladder is shorter."""
    bids, asks = Strangers(listing("SOLUSDT.X", "spot", spread_ticks=2), levels=LEVELS, seed=7).ladder(
        Quote("", 3, 5, 7, 7)
    )
    assert [3, 2] == list(bids)
    assert [5, 6, 8, 10, 12] == list(asks)


def test_a_listing_of_one_lot_has_levels():
    """The smallest depth that a listing may have."""
    tiny = listing("BTCUSDT.X", "spot", lot=Decimal(1), depth=Decimal(1))
    assert all(
        1 <= lots <= 2 for lots in Strangers(tiny, levels=9, seed=1).ladder(Quote("", 900, 1_000, 1, 1))[1].values()
    )


@pytest.mark.parametrize("levels", [0, -1, 101])
def test_a_wrong_number_of_levels_is_refused(levels):
    """At least the quote itself, and not without end."""
    with pytest.raises(ValueError, match="between 1 and 100"):
        Strangers(BTC, levels=levels, seed=7)
