"""Reduce-only orders: they close a position and never open one."""

from __future__ import annotations

import pytest
from venue_script import Script, rows

CASES = (
    pytest.param(
        """
        a place 1 SELL LIMIT 2@100 reduce         -> a rejected 1 REDUCE_ONLY_NO_POSITION
        a place 2 SELL STOP_MARKET 2 t=100 reduce -> a rejected 2 REDUCE_ONLY_NO_POSITION
        """,
        id="reduce-only: without a position it is rejected",
    ),
    pytest.param(
        """
        b place 1 SELL LIMIT 2@100      -> b accepted 1
        a place 2 BUY MARKET 2          -> a accepted 2, b filled 1 2@100 maker, a filled 2 2@100 taker
        a place 3 BUY LIMIT 2@90 reduce -> a rejected 3 REDUCE_ONLY_NO_POSITION
        b place 4 BUY LIMIT 9@99        -> b accepted 4
        a place 5 SELL MARKET 5 reduce  -> a accepted 5, b filled 4 2@99 maker, a filled 5 2@99 taker
                                        -> a canceled 5 REDUCE_ONLY
        """,
        id="reduce-only: takes what closes the position, the rest is canceled",
    ),
    pytest.param(
        """
        b place 1 SELL LIMIT 4@100        -> b accepted 1
        a place 2 BUY MARKET 4            -> a accepted 2, b filled 1 4@100 maker, a filled 2 4@100 taker
        a place 3 SELL LIMIT 4@110 reduce -> a accepted 3
        b place 4 BUY LIMIT 3@99          -> b accepted 4
        a place 5 SELL MARKET 3           -> a accepted 5, b filled 4 3@99 maker, a filled 5 3@99 taker
        c place 6 BUY MARKET 4            -> c accepted 6, a filled 3 1@110 maker, c filled 6 1@110 taker
                                          -> a canceled 3 REDUCE_ONLY, c canceled 6 NO_LIQUIDITY
        """,
        id="reduce-only: resting, it gives no more than the position of that moment",
    ),
)


@pytest.mark.parametrize("transcript", CASES)
def test_reduce_only(transcript):
    """What is more than the position of that moment is canceled."""
    assert rows(transcript) == Script().play(transcript)
