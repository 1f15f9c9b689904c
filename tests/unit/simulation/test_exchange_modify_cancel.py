"""What its owner may do to an order that stands: change it, cancel it."""

from __future__ import annotations

import pytest
from venue_script import Script, rows

CASES = (
    pytest.param(
        """
        a place 1 BUY LIMIT 5@100 -> a accepted 1
        b place 2 BUY LIMIT 5@100 -> b accepted 2
        a modify 1 q=3            -> a updated 1 q=3 p=100
        c place 3 SELL MARKET 1   -> c accepted 3, a filled 1 1@100 maker, c filled 3 1@100 taker
        a modify 1 q=4            -> a updated 1 q=4 p=100
        c place 4 SELL MARKET 1   -> c accepted 4, b filled 2 1@100 maker, c filled 4 1@100 taker
        b modify 2 p=99           -> b updated 2 q=5 p=99
        b modify 2 p=100          -> b updated 2 q=5 p=100
        c place 5 SELL MARKET 1   -> c accepted 5, a filled 1 1@100 maker, c filled 5 1@100 taker
        a modify 1 q=2            -> refused BAD_ORDER
        a modify 1 q=4            -> refused NO_CHANGE
        a modify 9 q=4            -> refused UNKNOWN_ORDER
        a modify 2 q=4            -> refused UNKNOWN_ORDER
        a modify 1 t=4            -> refused BAD_ORDER
        """,
        id="modify: smaller keeps its place, larger or another price loses it",
    ),
    pytest.param(
        """
        a place 1 BUY LIMIT 5@100  -> a accepted 1
        b place 2 SELL LIMIT 3@102 -> b accepted 2
        a modify 1 p=103           -> a updated 1 q=5 p=103, b filled 2 3@102 maker, a filled 1 3@102 taker
        """,
        id="modify: to a price that trades, it takes",
    ),
    pytest.param(
        """
        a place 1 BUY LIMIT 5@100 -> a accepted 1
        b cancel 1                -> refused UNKNOWN_ORDER
        a cancel 1                -> a canceled 1
        a cancel 1                -> refused UNKNOWN_ORDER
        b place 2 SELL MARKET 1   -> b rejected 2 NO_LIQUIDITY
        """,
        id="cancel: once",
    ),
    pytest.param(
        """
        a place 1 BUY LIMIT 5@100  -> a accepted 1
        a place 2 SELL LIMIT 5@110 -> a accepted 2
        b place 3 BUY LIMIT 5@100  -> b accepted 3
        a cancel_all SELL          -> a canceled 2
        a cancel_all               -> a canceled 1
        b cancel 3                 -> b canceled 3
        """,
        id="cancel all: of the account, by side",
    ),
)


@pytest.mark.parametrize("transcript", CASES)
def test_modify_and_cancel(transcript):
    """A smaller one keeps its place, a changed price may trade, and only the owner is heard."""
    assert rows(transcript) == Script().play(transcript)
