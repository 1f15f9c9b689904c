"""Orders that wait for a price: what triggers them, and what they are then."""

from __future__ import annotations

import pytest
from venue_script import Script, rows

CASES = (
    pytest.param(
        """
        step 99*5 101*5
        a place 1 BUY STOP_MARKET 2 t=101 -> a rejected 1 TRIGGER_IN_MARKET
        a place 2 BUY STOP_MARKET 2 t=103 -> a accepted 2
        step 100*5 102*5
        step 101*5 103*5                  -> a filled 2 2@103 taker
        """,
        id="stop-market: a buy when the ask rises to it",
    ),
    pytest.param(
        """
        step 99*5 101*5
        a place 1 SELL STOP_MARKET 2 t=99 -> a rejected 1 TRIGGER_IN_MARKET
        a place 2 SELL STOP_MARKET 2 t=97 -> a accepted 2
        step 98*5 100*5
        step 96*5 98*5                    -> a filled 2 2@96 taker
        """,
        id="stop-market: a sell when the bid falls to it",
    ),
    pytest.param(
        """
        step 99*5 105*5
        a place 1 BUY STOP_MARKET 1 t=104 -> a rejected 1 TRIGGER_IN_MARKET
        a place 2 SELL STOP_MARKET 1 t=98 -> a accepted 2
        b place 3 SELL LIMIT 6@97         -> b accepted 3, b filled 3 5@99 taker
        c place 4 BUY LIMIT 1@97          -> c accepted 4, b filled 3 1@97 maker, c filled 4 1@97 taker
                                          -> a canceled 2 NO_LIQUIDITY
        """,
        id="stop-market: a trade triggers it too",
    ),
    pytest.param(
        """
        step 99*5 101*5
        a place 1 BUY STOP_LIMIT 7@104 t=103 -> a accepted 1
        step 101*5 103*5                     -> a triggered 1, a filled 1 5@103 taker
        b place 2 SELL LIMIT 9@104           -> b accepted 2, a filled 1 2@104 maker, b filled 2 2@104 taker
        """,
        id="stop-limit: triggered, it is a limit order",
    ),
    pytest.param(
        """
        step 99*5 101*5
        a place 1 BUY STOP_LIMIT 7@104 t=103 IOC;
                2 BUY STOP_LIMIT 7@103 t=103 FOK;
                3 BUY STOP_LIMIT 7@103 t=103 post -> a accepted 1, a accepted 2, a accepted 3
        step 102*5 103*5 -> a triggered 1, a filled 1 5@103 taker, a canceled 1 IOC, a triggered 2, a canceled 2 FOK
                         -> a triggered 3
        """,
        id="stop-limit: IOC, FOK and post-only are judged when it is triggered",
    ),
    pytest.param(
        """
        step 99*5 101*5
        a place 1 BUY MARKET_IF_TOUCHED 1 t=101  -> a rejected 1 TRIGGER_IN_MARKET
        a place 2 BUY MARKET_IF_TOUCHED 1 t=99   -> a accepted 2
        b place 3 SELL MARKET_IF_TOUCHED 1 t=101 -> b accepted 3
        step 97*5 99*5                           -> a filled 2 1@99 taker
        step 101*5 103*5                         -> b filled 3 1@101 taker
        """,
        id="market-if-touched: a buy when the ask falls to it, a sell when the bid rises",
    ),
    pytest.param(
        """
        step 99*5 101*5
        a place 1 BUY LIMIT_IF_TOUCHED 1@98 t=99 -> a accepted 1
        step 97*5 99*5                           -> a triggered 1
        step 95*5 97*5                           -> a filled 1 1@98 maker
        """,
        id="limit-if-touched: triggered, it is a limit order",
    ),
    pytest.param(
        """
        step 99*5 101*5
        a place 1 BUY STOP_LIMIT 2@110 t=103 GTD until=99 -> a accepted 1
        a modify 1 t=101 -> refused TRIGGER_IN_MARKET
        a modify 1 t=105 -> a updated 1 q=2 p=110 t=105
        step 101*5 103*5
        step 103*5 105*1 -> a triggered 1, a filled 1 1@105 taker
        a modify 1 t=120 -> refused BAD_ORDER
        at 99            -> a expired 1
        """,
        id="modify: a trigger, until it was reached",
    ),
    pytest.param(
        """
        b place 1 SELL LIMIT 1@100        -> b accepted 1
        b place 2 SELL LIMIT 1@101        -> b accepted 2
        b place 3 SELL LIMIT 1@102        -> b accepted 3
        a place 4 BUY STOP_MARKET 1 t=102 -> a accepted 4
        c place 5 BUY STOP_MARKET 1 t=101 -> c accepted 5
        a place 6 BUY LIMIT 1@100         -> a accepted 6, b filled 1 1@100 maker, a filled 6 1@100 taker
                                          -> b filled 2 1@101 maker, c filled 5 1@101 taker
                                          -> b filled 3 1@102 maker, a filled 4 1@102 taker
        """,
        id="stops: one fires the next",
    ),
)


@pytest.mark.parametrize("transcript", CASES)
def test_triggers(transcript):
    """Stops wait for a worse price and if-touched orders for a better one, by quote or by trade."""
    assert rows(transcript) == Script().play(transcript)
