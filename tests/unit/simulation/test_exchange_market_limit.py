"""Market and limit orders, alone and in lists: whom they meet, at which price, and what becomes of the rest."""

from __future__ import annotations

import pytest
from venue_script import Script, rows

CASES = (
    pytest.param(
        """
        b place 1 SELL LIMIT 2@101 -> b accepted 1
        b place 2 SELL LIMIT 5@100 -> b accepted 2
        a place 3 BUY MARKET 6     -> a accepted 3, b filled 2 5@100 maker, a filled 3 5@100 taker
                                   -> b filled 1 1@101 maker, a filled 3 1@101 taker
        """,
        id="market: at the best price, then at the next",
    ),
    pytest.param(
        """
        b place 1 SELL LIMIT 2@101 -> b accepted 1
        a place 2 BUY MARKET 3     -> a accepted 2, b filled 1 2@101 maker, a filled 2 2@101 taker
                                   -> a canceled 2 NO_LIQUIDITY
        """,
        id="market: what the book does not have is canceled",
    ),
    pytest.param(
        """
        a place 1 SELL MARKET 3 -> a rejected 1 NO_LIQUIDITY
        """,
        id="market: against an empty side it is rejected",
    ),
    pytest.param(
        """
        b place 1 SELL LIMIT 2@101 -> b accepted 1
        a place 2 BUY MARKET 3 FOK -> a accepted 2, a canceled 2 FOK
        a place 3 BUY MARKET 2 FOK -> a accepted 3, b filled 1 2@101 maker, a filled 3 2@101 taker
        """,
        id="market: FOK needs all of it",
    ),
    pytest.param(
        """
        b place 1 SELL LIMIT 2@100      -> b accepted 1
        b place 2 SELL LIMIT 9@110      -> b accepted 2
        a place 3 BUY MARKET 529 quote  -> a accepted 3, b filled 1 2@100 maker, a filled 3 2@100 taker
                                        -> b filled 2 2@110 maker, a filled 3 2@110 taker
        a place 4 BUY MARKET 109 quote  -> refused BAD_ORDER
        a place 5 SELL MARKET 109 quote -> refused NO_LIQUIDITY
        """,
        id="market: an amount of the quote currency is as many lots as it pays for",
    ),
    pytest.param(
        """
        b place 1 SELL LIMIT 2@100 -> b accepted 1
        a place 2 BUY LIMIT 5@103  -> a accepted 2, b filled 1 2@100 maker, a filled 2 2@100 taker
        c place 3 SELL LIMIT 4@102 -> c accepted 3, a filled 2 3@103 maker, c filled 3 3@103 taker
        """,
        id="limit: trades at the price of the one that stood first, and rests with what is left",
    ),
    pytest.param(
        """
        a place 1 BUY LIMIT 2@100  -> a accepted 1
        b place 2 BUY LIMIT 2@100  -> b accepted 2
        b place 3 BUY LIMIT 2@101  -> b accepted 3
        c place 4 SELL LIMIT 5@100 -> c accepted 4, b filled 3 2@101 maker, c filled 4 2@101 taker
                                   -> a filled 1 2@100 maker, c filled 4 2@100 taker
                                   -> b filled 2 1@100 maker, c filled 4 1@100 taker
        """,
        id="limit: better prices first, then who came first",
    ),
    pytest.param(
        """
        b place 1 SELL LIMIT 1@100                  -> b accepted 1
        a place 2 BUY LIMIT 1@100; 3 BUY LIMIT 1@99 -> a accepted 2, a accepted 3
                                                    -> b filled 1 1@100 maker, a filled 2 1@100 taker
        """,
        id="list: all are accepted before the first works",
    ),
)


@pytest.mark.parametrize("transcript", CASES)
def test_market_and_limit_orders(transcript):
    """Better prices first, then who came first, at the price of the one that stood there."""
    assert rows(transcript) == Script().play(transcript)
