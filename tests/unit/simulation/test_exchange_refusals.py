"""What is not taken at all: orders that are wrong, and nearly everything while the venue is halted."""

from __future__ import annotations

import pytest
from venue_script import Script, rows

CASES = (
    pytest.param(
        """
        a place 1 BUY LIMIT 5               -> refused BAD_ORDER
        a place 1 BUY MARKET 5@100          -> refused BAD_ORDER
        a place 1 BUY STOP_LIMIT 5@100      -> refused BAD_ORDER
        a place 1 BUY LIMIT 5@100 t=99      -> refused BAD_ORDER
        a place 1 BUY MARKET 5 post         -> refused BAD_ORDER
        a place 1 BUY LIMIT 5@100 IOC post  -> refused BAD_ORDER
        a place 1 BUY MARKET 5 GTD until=99 -> refused BAD_ORDER
        a place 1 BUY LIMIT 5@100 until=99  -> refused BAD_ORDER
        a place 1 BUY LIMIT 5@100 quote     -> refused BAD_ORDER
        a place 1 BUY LIMIT 5@100 show=6    -> refused BAD_ORDER
        a place 1 BUY LIMIT 5@100 show=0.5  -> refused OFF_GRID
        a place 1 BUY LIMIT 5@100 OCO=      -> refused BAD_ORDER
        a place 1 BUY LIMIT 0@100           -> refused BAD_ORDER
        a place 1 BUY LIMIT NaN@100         -> refused BAD_ORDER
        a place 1 BUY LIMIT 5@NaN           -> refused OFF_GRID
        a place 1 BUY LIMIT 5@-1            -> refused OFF_GRID
        a place 1 BUY LIMIT 5@100 show=NaN  -> refused OFF_GRID
        a place 1 BUY LIMIT 1e30@100        -> refused OFF_GRID
        a place 1 BUY MARKET NaN quote      -> refused BAD_ORDER
        a place 1 BUY STOP_MARKET 5 t=0.5   -> refused OFF_GRID
        a place 1 BUY LIMIT 5@100           -> a accepted 1
        a modify 1 q=NaN                    -> refused OFF_GRID
        a modify 1 p=0.5                    -> refused OFF_GRID
        """,
        id="bad orders are refused and leave no trace",
    ),
    pytest.param(
        """
        a place 1 BUY LIMIT 1@100; 2 BUY LIMIT 1@99.5 -> refused OFF_GRID
        a cancel 1                                    -> refused UNKNOWN_ORDER
        a place 3 BUY LIMIT 1@100; 3 BUY LIMIT 1@99   -> refused DUPLICATE_ID
        """,
        id="list: one that is wrong refuses all",
    ),
    pytest.param(
        """
        step 99*5 101*5
        a place 1 BUY LIMIT 1@100;
                2 BUY LIMIT 1@99 GTD until=50;
                3 SELL STOP_MARKET 1 t=95 -> a accepted 1, a accepted 2, a accepted 3
        halt
        a place 4 BUY LIMIT 1@100 -> refused HALTED
        a modify 1 p=98           -> refused HALTED
        step 80*5 82*5 SELL*1
        a cancel 1                -> a canceled 1
        at 50                     -> a expired 2
        open
        step 80*5 82*5            -> a filled 3 1@80 taker
        """,
        id="halt: cancels are taken, nothing else, and nothing trades",
    ),
    pytest.param(
        """
        step 90*5 101*5
        b place 1 BUY LIMIT 1@99          -> b accepted 1
        a place 2 SELL STOP_MARKET 1 t=95 -> a accepted 2
        halt
        b cancel 1                        -> b canceled 1
        open                              -> a filled 2 1@90 taker
        """,
        id="halt: what was uncovered meanwhile triggers when it opens",
    ),
)


@pytest.mark.parametrize("transcript", CASES)
def test_refusals(transcript):
    """What is refused leaves no trace; a halt takes cancels and nothing else."""
    assert rows(transcript) == Script().play(transcript)
