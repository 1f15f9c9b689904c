"""How long an order stands, and what it must not do: IOC, FOK, GTD, DAY, post-only."""

from __future__ import annotations

import pytest
from venue_script import Script, rows

CASES = (
    pytest.param(
        """
        b place 1 SELL LIMIT 2@100    -> b accepted 1
        a place 2 BUY LIMIT 5@100 IOC -> a accepted 2, b filled 1 2@100 maker, a filled 2 2@100 taker, a canceled 2 IOC
        a place 3 BUY LIMIT 5@100 IOC -> a accepted 3, a canceled 3 IOC
        """,
        id="IOC: the rest is canceled",
    ),
    pytest.param(
        """
        b place 1 SELL LIMIT 2@100    -> b accepted 1
        b place 2 SELL LIMIT 2@101    -> b accepted 2
        a place 3 BUY LIMIT 4@100 FOK -> a accepted 3, a canceled 3 FOK
        a place 4 BUY LIMIT 4@101 FOK -> a accepted 4, b filled 1 2@100 maker, a filled 4 2@100 taker
                                      -> b filled 2 2@101 maker, a filled 4 2@101 taker
        """,
        id="FOK: all at once, or nothing",
    ),
    pytest.param(
        """
        b place 1 SELL LIMIT 4@100 show=1 -> b accepted 1
        a place 2 SELL LIMIT 3@100        -> a accepted 2
        a place 3 BUY LIMIT 5@100 FOK     -> a accepted 3, a canceled 3 FOK
        a place 4 BUY LIMIT 4@100 FOK     -> a accepted 4, b filled 1 1@100 maker, a filled 4 1@100 taker
                                          -> a canceled 2 SELF_TRADE, b filled 1 1@100 maker, a filled 4 1@100 taker
                                          -> b filled 1 1@100 maker, a filled 4 1@100 taker
                                          -> b filled 1 1@100 maker, a filled 4 1@100 taker
        """,
        id="FOK: counts what is hidden, not what is one's own",
    ),
    pytest.param(
        """
        b place 1 SELL LIMIT 3@100 OCO=2; 2 SELL LIMIT 3@101 OCO=1 -> b accepted 1, b accepted 2
        a place 3 BUY LIMIT 4@101 FOK -> a accepted 3, a canceled 3 FOK
        """,
        id="FOK: linked orders count once",
    ),
    pytest.param(
        """
        c place 1 SELL LIMIT 2@100        -> c accepted 1
        b place 2 BUY MARKET 2            -> b accepted 2, c filled 1 2@100 maker, b filled 2 2@100 taker
        b place 3 SELL LIMIT 5@100 reduce -> b accepted 3
        a place 4 BUY LIMIT 3@100 FOK     -> a accepted 4, a canceled 4 FOK
        a place 5 BUY LIMIT 3@100         -> a accepted 5, b filled 3 2@100 maker, a filled 5 2@100 taker
                                          -> b canceled 3 REDUCE_ONLY
        """,
        id="FOK: a reducing order counts with the position that it reduces",
    ),
    pytest.param(
        """
        c place 1 SELL LIMIT 2@100    -> c accepted 1
        b place 2 BUY MARKET 2        -> b accepted 2, c filled 1 2@100 maker, b filled 2 2@100 taker
        b place 3 SELL LIMIT 2@100 reduce; 4 SELL LIMIT 2@101 reduce -> b accepted 3, b accepted 4
        a place 5 BUY LIMIT 3@101 FOK -> a accepted 5, a canceled 5 FOK
        """,
        id="FOK: two reducing orders count with one position",
    ),
    pytest.param(
        """
        a place 1 BUY LIMIT 5@100 GTD until=50 -> a accepted 1
        at 49
        at 50                                  -> a expired 1
        a place 2 BUY LIMIT 5@100 GTD until=60 -> a accepted 2
        at 59
        b place 3 SELL LIMIT 5@100             -> a expired 2, b accepted 3
        a place 4 BUY LIMIT 5@100 GTD until=60 -> refused BAD_ORDER
        """,
        id="GTD: expires at its moment and no later command meets it",
    ),
    pytest.param(
        """
        a place 1 BUY LIMIT 5@100 DAY -> a accepted 1
        at 86399999999999
        at 86400000000000             -> a expired 1
        """,
        id="DAY: until the next midnight UTC",
    ),
    pytest.param(
        """
        b place 1 SELL LIMIT 2@100     -> b accepted 1
        a place 2 BUY LIMIT 2@100 post -> a rejected 2 POST_ONLY_WOULD_TAKE
        a place 3 BUY LIMIT 2@99 post  -> a accepted 3
        a modify 3 p=100               -> refused POST_ONLY_WOULD_TAKE
        b place 4 SELL MARKET 1        -> b accepted 4, a filled 3 1@99 maker, b filled 4 1@99 taker
        """,
        id="post-only: is rejected rather than take",
    ),
)


@pytest.mark.parametrize("transcript", CASES)
def test_time_in_force(transcript):
    """Not at all, all at once, until its moment, until midnight, or only as a maker."""
    assert rows(transcript) == Script().play(transcript)
