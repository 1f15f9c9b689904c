"""A bracket whose entry fills bit by bit: at no moment does it hold more than its legs would close, or less."""

from __future__ import annotations

import os
import random
from decimal import Decimal

import pytest
from venue_script import PERP, Script, a_listing, rows, terms

from nautilus_ext.simulation.exchange.venue import Venue

SEED = int(os.environ.get("EXCHANGE_SEED", "30"))
RUNS = 20
COMMANDS = 40
ENTRY = "a place 1 BUY LIMIT 9@100 OTO; 2 SELL LIMIT 9@110 parent=1 {link}=3; 3 SELL {stop} parent=1 {link}=2"

CASES = (
    pytest.param(
        """
        a place 1 BUY LIMIT 5@100 OTO;
                2 SELL LIMIT 5@110 parent=1 OUO=3;
                3 SELL STOP_MARKET 5 t=95 parent=1 OUO=2 -> a accepted 1, a accepted 2 held, a accepted 3 held
        b place 4 SELL LIMIT 2@100 -> b accepted 4, a filled 1 2@100 maker, b filled 4 2@100 taker
                                   -> a updated 2 q=2 p=110, a updated 3 q=2 t=95
        c place 5 BUY LIMIT 2@110  -> c accepted 5, a filled 2 2@110 maker, c filled 5 2@110 taker
                                   -> a updated 3 q=0 t=95 held
        b place 6 SELL LIMIT 3@100 -> b accepted 6, a filled 1 3@100 maker, b filled 6 3@100 taker
                                   -> a updated 2 q=5 p=110, a updated 3 q=3 t=95
        step 94*9 96*9             -> a filled 3 3@94 taker, a canceled 2 OUO
        """,
        id="what the entry fills after a leg has filled has its legs too",
    ),
    pytest.param(
        """
        a place 1 BUY LIMIT 5@100 OTO;
                2 SELL LIMIT 5@110 parent=1 OCO=3;
                3 SELL STOP_MARKET 5 t=95 parent=1 OCO=2 -> a accepted 1, a accepted 2 held, a accepted 3 held
        b place 4 SELL LIMIT 2@100 -> b accepted 4, a filled 1 2@100 maker, b filled 4 2@100 taker
                                   -> a updated 2 q=2 p=110, a updated 3 q=2 t=95
        c place 5 BUY LIMIT 2@110  -> c accepted 5, a filled 2 2@110 maker, c filled 5 2@110 taker, a canceled 3 OCO
        b place 6 SELL LIMIT 3@100 -> b accepted 6, a filled 1 3@100 maker, b filled 6 3@100 taker
                                   -> a updated 2 q=5 p=110
        c place 7 BUY LIMIT 3@110  -> c accepted 7, a filled 2 3@110 maker, c filled 7 3@110 taker
        """,
        id="OCO: the leg that filled first goes on alone",
    ),
    pytest.param(
        """
        a place 1 BUY LIMIT 5@100 OTO;
                2 SELL MARKET_IF_TOUCHED 5 t=105 parent=1 -> a accepted 1, a accepted 2 held
        b place 3 SELL LIMIT 2@100 -> b accepted 3, a filled 1 2@100 maker, b filled 3 2@100 taker
                                   -> a updated 2 q=2 t=105
        step 105*2 107*9           -> a filled 2 2@105 taker
        step 98*9 107*9
        b place 4 SELL LIMIT 3@100 -> b accepted 4, a filled 1 3@100 maker, b filled 4 3@100 taker
                                   -> a updated 2 q=5 t=105, a filled 2 3@98 taker
        """,
        id="a leg that was triggered sells at once what the entry fills later",
    ),
    pytest.param(
        """
        a place 1 BUY LIMIT 5@100 OTO;
                2 SELL LIMIT 5@110 parent=1 OUO=3;
                3 SELL STOP_MARKET 5 t=95 parent=1 OUO=2 -> a accepted 1, a accepted 2 held, a accepted 3 held
        b place 4 SELL LIMIT 2@100 -> b accepted 4, a filled 1 2@100 maker, b filled 4 2@100 taker
                                   -> a updated 2 q=2 p=110, a updated 3 q=2 t=95
        c place 5 BUY LIMIT 2@110  -> c accepted 5, a filled 2 2@110 maker, c filled 5 2@110 taker
                                   -> a updated 3 q=0 t=95 held
        a cancel 1                 -> a canceled 1, a canceled 2 PARENT, a canceled 3 PARENT
        """,
        id="when the entry ends, legs that have done what it filled end with it",
    ),
    pytest.param(
        """
        a place 1 BUY LIMIT 5@100 OTO;
                2 SELL LIMIT 5@110 parent=1 OUO=3;
                3 SELL STOP_MARKET 5 t=95 parent=1 OUO=2 -> a accepted 1, a accepted 2 held, a accepted 3 held
        b place 4 SELL LIMIT 2@100 -> b accepted 4, a filled 1 2@100 maker, b filled 4 2@100 taker
                                   -> a updated 2 q=2 p=110, a updated 3 q=2 t=95
        a cancel 1                 -> a canceled 1, a updated 2 q=2 p=110, a updated 3 q=2 t=95
        c place 5 BUY LIMIT 2@110  -> c accepted 5, a filled 2 2@110 maker, c filled 5 2@110 taker, a canceled 3 OUO
        """,
        id="when the entry ends, legs that work are as large as what it filled, and done with that",
    ),
    pytest.param(
        """
        a place 1 BUY LIMIT 5@100 OTO;
                2 SELL LIMIT 5@110 parent=1 -> a accepted 1, a accepted 2 held
        b place 3 SELL LIMIT 2@100 -> b accepted 3, a filled 1 2@100 maker, b filled 3 2@100 taker
                                   -> a updated 2 q=2 p=110
        a modify 2 q=6             -> refused BAD_ORDER
        a modify 2 q=4             -> a updated 2 q=2 p=110
        b place 4 SELL LIMIT 3@100 -> b accepted 4, a filled 1 3@100 maker, b filled 4 3@100 taker
                                   -> a updated 2 q=4 p=110
        c place 5 BUY LIMIT 9@110  -> c accepted 5, a filled 2 4@110 maker, c filled 5 4@110 taker
        """,
        id="a modify says how large a leg may become",
    ),
    pytest.param(
        """
        a place 1 BUY LIMIT 5@100 OTO;
                2 SELL LIMIT 5@110 parent=1 -> a accepted 1, a accepted 2 held
        b place 3 SELL LIMIT 2@100 -> b accepted 3, a filled 1 2@100 maker, b filled 3 2@100 taker
                                   -> a updated 2 q=2 p=110
        c place 4 BUY LIMIT 2@110  -> c accepted 4, a filled 2 2@110 maker, c filled 4 2@110 taker
        a modify 2 p=108           -> a updated 2 q=2 p=108 held
        b place 5 SELL LIMIT 3@100 -> b accepted 5, a filled 1 3@100 maker, b filled 5 3@100 taker
                                   -> a updated 2 q=5 p=108
        """,
        id="a leg that waits for more can be changed",
    ),
)


@pytest.mark.parametrize("transcript", CASES)
def test_brackets(transcript):
    """As their owners must be able to rely on it."""
    assert rows(transcript) == Script().play(transcript)


def _restarted(script: Script) -> Script:
    """The same venue out of what its ledger knows."""
    old, new = script.venue, Venue("T", [a_listing()], levels=1)
    accounts = [(terms(name), old.account_state(name, 0), old.positions(name)) for name in "abc"]
    orders = [order for name in "abc" for order in old.open_orders(name)]
    new.restore(counters=old.counters, accounts=accounts, orders=orders)
    again = Script(new)
    again.ts_ns = script.ts_ns
    return again


def _position(script: Script) -> Decimal:
    found = {each.instrument_id: each.quantity for each in script.venue.positions("a")}
    return found.get(PERP, Decimal(0))


def _closing(script: Script, leg: str) -> Decimal:
    state = script.venue.order("a", leg)
    return Decimal(0) if state is None or state.held else state.quantity - state.filled


def _by_chance(rng: random.Random, number: int) -> str:
    bid = rng.choice((94, 98, 99, 106, 108))
    return rng.choice(
        (
            f"b place {number} SELL LIMIT {rng.randint(1, 3)}@100 IOC",
            f"b place {number} SELL LIMIT {rng.randint(1, 3)}@100 IOC",
            f"c place {number} BUY LIMIT {rng.randint(1, 3)}@110 IOC",
            f"a modify 2 p={rng.randint(109, 110)}",
            f"step {bid}*{rng.randint(1, 4)} {bid + 2}*1",
        )
    )


@pytest.mark.parametrize("stop", ["STOP_MARKET 9 t=95", "MARKET_IF_TOUCHED 9 t=106"])
@pytest.mark.parametrize("link", ["OUO", "OCO"])
@pytest.mark.parametrize("run", range(RUNS))
def test_a_bracket_never_leaves_a_position_without_its_exit(link, stop, run):
    """Whatever fills in whatever order, also over restarts: what a leg would still close is the position."""
    print(f"EXCHANGE_SEED={SEED} run={run} {link} {stop}")
    rng = random.Random(f"{SEED}:{run}:{link}:{stop}")
    script = Script()
    script.run(ENTRY.format(link=link, stop=stop))
    has_given_up = False
    for number in range(10, 10 + COMMANDS):
        has_given_up |= any("NO_LIQUIDITY" in line for line in script.run(_by_chance(rng, number)))
        position, closing = _position(script), {_closing(script, "2"), _closing(script, "3")} - {Decimal(0)}
        assert position >= 0
        assert closing == ({position} if position and not has_given_up else set()), "each leg would close all of it"
        if number % 7 == 0:
            old, script = script, _restarted(script)
            assert old.venue.open_orders("a") == script.venue.open_orders("a")
