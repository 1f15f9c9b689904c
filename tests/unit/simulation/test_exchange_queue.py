"""The queue at a price: hidden parts, one's own orders and strangers have their places in it."""

from __future__ import annotations

import pytest
from venue_script import Script, rows

CASES = (
    pytest.param(
        """
        a place 1 SELL LIMIT 5@100 show=2 -> a accepted 1
        b place 2 SELL LIMIT 3@100        -> b accepted 2
        c place 3 BUY MARKET 7            -> c accepted 3, a filled 1 2@100 maker, c filled 3 2@100 taker
                                          -> b filled 2 3@100 maker, c filled 3 3@100 taker
                                          -> a filled 1 2@100 maker, c filled 3 2@100 taker
        """,
        id="display: the next part goes to the back of the queue",
    ),
    pytest.param(
        """
        a place 1 SELL LIMIT 2@100 -> a accepted 1
        b place 2 SELL LIMIT 2@100 -> b accepted 2
        a place 3 BUY LIMIT 3@100  -> a accepted 3, a canceled 1 SELF_TRADE
                                   -> b filled 2 2@100 maker, a filled 3 2@100 taker
        """,
        id="self-trade: the resting one is canceled",
    ),
    pytest.param(
        """
        step 99*5 101*5
        a place 1 BUY LIMIT 2@99 -> a accepted 1
        step 99*5 101*5 SELL*4
        step 99*5 101*5 SELL*2   -> a filled 1 1@99 maker
        step 99*5 101*5 SELL*2   -> a filled 1 1@99 maker
        """,
        id="strangers: trade with our orders in their place in the queue",
    ),
    pytest.param(
        """
        step 99*5 101*5
        a place 1 BUY LIMIT 2@99 -> a accepted 1
        step 99*8 101*5
        step 99*6 101*5 SELL*5
        step 99*6 101*5 SELL*2   -> a filled 1 2@99 maker
        """,
        id="strangers: who came last leaves first",
    ),
    pytest.param(
        """
        step 99*5 101*5
        a place 1 SELL LIMIT 7@100 -> a accepted 1
        step 100*5 102*5           -> a filled 1 5@100 maker
        step 100*5 102*5           -> a filled 1 2@100 maker
        """,
        id="strangers: a quote that crosses our order trades with it first",
    ),
)


@pytest.mark.parametrize("transcript", CASES)
def test_queue(transcript):
    """Who came first trades first, whoever it is."""
    assert rows(transcript) == Script().play(transcript)
