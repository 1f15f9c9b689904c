"""Legs: they are held until their parent fills, and are never larger than what it has filled."""

from __future__ import annotations

import pytest
from venue_script import Script, rows

CASES = (
    pytest.param(
        """
        a place 1 BUY LIMIT 5@100 OTO;
                2 SELL LIMIT 5@110 parent=1 OUO=3;
                3 SELL STOP_MARKET 5 t=95 parent=1 OUO=2 reduce -> a accepted 1, a accepted 2 held, a accepted 3 held
        b place 4 SELL LIMIT 2@100 -> b accepted 4, a filled 1 2@100 maker, b filled 4 2@100 taker
                                   -> a updated 2 q=2 p=110, a updated 3 q=2 t=95
        c place 5 BUY LIMIT 1@110  -> c accepted 5, a filled 2 1@110 maker, c filled 5 1@110 taker, a updated 3 q=1 t=95
        b place 6 SELL LIMIT 3@100 -> b accepted 6, a filled 1 3@100 maker, b filled 6 3@100 taker
                                   -> a updated 2 q=5 p=110, a updated 3 q=4 t=95
        step 94*9 96*9             -> a filled 3 4@94 taker, a canceled 2 OUO
        """,
        id="legs: held until the parent fills, never larger than its fills",
    ),
    pytest.param(
        """
        a place 1 BUY LIMIT 5@100 OTO;
                2 SELL LIMIT 5@110 parent=1 OCO=3;
                3 SELL STOP_MARKET 5 t=95 parent=1 OCO=2 -> a accepted 1, a accepted 2 held, a accepted 3 held
        a cancel 1 -> a canceled 1, a canceled 2 PARENT, a canceled 3 LINKED
        """,
        id="legs: the parent ends unfilled",
    ),
    pytest.param(
        """
        a place 1 BUY MARKET 5 OTO;
                2 SELL LIMIT 5@110 parent=1 OCO=3;
                3 SELL STOP_MARKET 5 t=95 parent=1 OCO=2
                -> a rejected 1 NO_LIQUIDITY, a rejected 2 PARENT, a rejected 3 PARENT
        """,
        id="legs: the parent is rejected",
    ),
    pytest.param(
        """
        a place 1 BUY LIMIT 5@100; 2 SELL LIMIT 5@110 parent=1 -> a accepted 1, a accepted 2 held
        b place 3 SELL LIMIT 2@100    -> b accepted 3, a filled 1 2@100 maker, b filled 3 2@100 taker
                                      -> a updated 2 q=2 p=110
        a cancel 1                    -> a canceled 1, a updated 2 q=2 p=110
        b place 4 BUY LIMIT 9@110 IOC -> b accepted 4, a filled 2 2@110 maker, b filled 4 2@110 taker, b canceled 4 IOC
        """,
        id="legs: the parent is canceled after a part of it filled",
    ),
    pytest.param(
        """
        b place 1 SELL LIMIT 2@100 -> b accepted 1
        a place 2 BUY LIMIT 5@100 IOC;
                3 SELL LIMIT 5@110 parent=2 OCO=4;
                4 SELL STOP_MARKET 5 t=95 parent=2 OCO=3 -> a accepted 2, a accepted 3 held, a accepted 4 held
                                   -> b filled 1 2@100 maker, a filled 2 2@100 taker, a canceled 2 IOC
                                   -> a updated 3 q=2 p=110, a updated 4 q=2 t=95
        """,
        id="legs: a parent that takes what there is, and whose rest is canceled, keeps its legs",
    ),
    pytest.param(
        """
        a place 1 BUY LIMIT 10@100;
                2 SELL LIMIT 5@110 parent=1 OUO=3;
                3 SELL STOP_MARKET 5 t=95 parent=1 OUO=2 -> a accepted 1, a accepted 2 held, a accepted 3 held
        b place 4 SELL LIMIT 3@100 -> b accepted 4, a filled 1 3@100 maker, b filled 4 3@100 taker
                                   -> a updated 2 q=3 p=110, a updated 3 q=3 t=95
        c place 5 BUY LIMIT 2@110  -> c accepted 5, a filled 2 2@110 maker, c filled 5 2@110 taker, a updated 3 q=1 t=95
        b place 6 SELL LIMIT 7@100 -> b accepted 6, a filled 1 7@100 maker, b filled 6 7@100 taker
                                   -> a updated 2 q=5 p=110, a updated 3 q=3 t=95
        """,
        id="legs: smaller than the parent, they stay so, less what the other has filled",
    ),
    pytest.param(
        """
        step 99*9 101*9
        a place 1 BUY MARKET 2;
                2 SELL MARKET 2 parent=1            -> a accepted 1, a accepted 2 held, a filled 1 2@101 taker
                                                    -> a updated 2 q=2, a filled 2 2@99 taker
        a place 3 BUY MARKET 2;
                4 SELL STOP_MARKET 2 t=100 parent=3 -> a accepted 3, a accepted 4 held, a filled 3 2@101 taker
                                                    -> a updated 4 q=2 t=100, a filled 4 2@99 taker
        """,
        id="legs: a market leg works at once; a stop leg whose trigger is reached fires",
    ),
    pytest.param(
        """
        a place 1 BUY LIMIT 5@100;
                2 SELL LIMIT 5@110 parent=1 OCO=3;
                3 SELL STOP_MARKET 5 t=95 parent=1 OCO=2 -> a accepted 1, a accepted 2 held, a accepted 3 held
        a modify 2 q=3 p=111       -> a updated 2 q=3 p=111 held
        b place 4 SELL LIMIT 5@100 -> b accepted 4, a filled 1 5@100 maker, b filled 4 5@100 taker
                                   -> a updated 2 q=3 p=111, a updated 3 q=5 t=95
        a modify 2 q=4             -> refused BAD_ORDER
        a modify 2 q=2             -> a updated 2 q=2 p=111
        a cancel 3                 -> a canceled 3, a canceled 2 LINKED
        """,
        id="legs: changed and canceled while they are held",
    ),
    pytest.param(
        """
        a place 1 SELL LIMIT 5@110 parent=9 -> refused BAD_ORDER
        a place 2 SELL LIMIT 5@110 parent=3; 3 BUY LIMIT 5@100 -> refused BAD_ORDER
        a place 4 BUY LIMIT 5@100           -> a accepted 4
        a place 5 SELL LIMIT 5@110 parent=4 -> a accepted 5 held
        b place 6 SELL MARKET 1             -> b accepted 6, a filled 4 1@100 maker, b filled 6 1@100 taker
                                            -> a updated 5 q=1 p=110
        a place 7 SELL LIMIT 5@110 parent=4 -> refused BAD_ORDER
        """,
        id="legs: need a parent that is there and has not begun to fill",
    ),
)


@pytest.mark.parametrize("transcript", CASES)
def test_legs(transcript):
    """They follow their parent: they work with its fills and end with it where it has none."""
    assert rows(transcript) == Script().play(transcript)
