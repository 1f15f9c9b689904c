"""Linked orders: OCO, where a fill ends the other, and OUO, where it makes the other smaller."""

from __future__ import annotations

import pytest
from venue_script import Script, rows

CASES = (
    pytest.param(
        """
        a place 1 SELL LIMIT 5@110 OCO=2; 2 SELL LIMIT 5@111 OCO=1 -> a accepted 1, a accepted 2
        b place 3 BUY LIMIT 9@111 -> b accepted 3, a filled 1 5@110 maker, b filled 3 5@110 taker, a canceled 2 OCO
        """,
        id="OCO: any fill cancels the linked",
    ),
    pytest.param(
        """
        a place 1 SELL LIMIT 5@110 OCO=2; 2 SELL LIMIT 5@111 OCO=1 -> a accepted 1, a accepted 2
        b place 3 BUY LIMIT 1@110 -> b accepted 3, a filled 1 1@110 maker, b filled 3 1@110 taker, a canceled 2 OCO
        b place 4 BUY LIMIT 9@110 -> b accepted 4, a filled 1 4@110 maker, b filled 4 4@110 taker
        """,
        id="OCO: a first fill is enough",
    ),
    pytest.param(
        """
        b place 1 SELL LIMIT 1@100 -> b accepted 1
        a place 2 BUY LIMIT 1@100 OCO=3; 3 BUY LIMIT 1@95 OCO=2 -> a accepted 2, a accepted 3
                                   -> b filled 1 1@100 maker, a filled 2 1@100 taker, a canceled 3 OCO
        """,
        id="OCO: one that takes at once cancels the other before it rests",
    ),
    pytest.param(
        """
        a place 1 SELL LIMIT 5@110 OUO=2; 2 SELL LIMIT 5@111 OUO=1 -> a accepted 1, a accepted 2
        b place 3 BUY LIMIT 9@111 -> b accepted 3, a filled 1 5@110 maker, b filled 3 5@110 taker, a canceled 2 OUO
        a cancel_all
        b cancel_all              -> b canceled 3
        a place 4 SELL LIMIT 5@110 OUO=5; 5 SELL LIMIT 7@111 OUO=4 -> a accepted 4, a accepted 5
        b place 6 BUY LIMIT 2@110 -> b accepted 6, a filled 4 2@110 maker, b filled 6 2@110 taker, a updated 5 q=5 p=111
        b place 7 BUY LIMIT 9@111 -> b accepted 7, a filled 4 3@110 maker, b filled 7 3@110 taker, a updated 5 q=2 p=111
                                  -> a filled 5 2@111 maker, b filled 7 2@111 taker
        """,
        id="OUO: a fill makes the linked smaller, and ends it at zero",
    ),
    pytest.param(
        """
        a place 1 SELL LIMIT 5@110 OCO=2; 2 SELL LIMIT 5@111 OCO=1 -> a accepted 1, a accepted 2
        a cancel 1                                    -> a canceled 1, a canceled 2 LINKED
        a place 3 SELL LIMIT 5@110 OUO=4;
                4 SELL LIMIT 5@111 OUO=3 GTD until=50 -> a accepted 3, a accepted 4
        at 50                                         -> a expired 4, a canceled 3 LINKED
        a place 5 SELL LIMIT 5@110 OUO=6 reduce;
                6 SELL LIMIT 5@111 OUO=5              -> a rejected 5 REDUCE_ONLY_NO_POSITION
                                                      -> a accepted 6, a canceled 6 LINKED
        a place 7 SELL LIMIT 5@110 OUO=8;
                8 SELL LIMIT 5@111 OUO=7 reduce       -> a accepted 7, a rejected 8 REDUCE_ONLY_NO_POSITION
                                                      -> a canceled 7 LINKED
        """,
        id="OCO and OUO: the end of one is the end of the other",
    ),
)


@pytest.mark.parametrize("transcript", CASES)
def test_links(transcript):
    """A fill changes the other at once, and the end of one is the end of the other."""
    assert rows(transcript) == Script().play(transcript)
