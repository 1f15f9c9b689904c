"""The gate says the same in a backtest and in a trading node: of orders, lists, changes, emulated ones, parents."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from two_worlds import BTC, ETH, in_child, quote, write

CHILD = str(Path(__file__).with_name("risk_worlds.py"))
SECTION = {
    "preset": "none",
    "approvals_recorded_every": 1,
    "limits": {
        "global": {"max_order_quantity": "8", "price_collar_bps": "1000", "self_match": "refuse"},
        "strategy=PLAYER-001": {"duplicate_window_ms": 300},
        "instrument=*": {"max_position": "5.5"},
    },
}
STEP_MS = 200


@pytest.fixture(scope="module")
def catalog(tmp_path_factory) -> Path:
    """Two perpetuals around 100."""
    ticks = []
    for number in range(18):
        ticks += [
            quote(ETH, number * STEP_MS + 50, 10_000 + number, spread=100),
            quote(BTC, number * STEP_MS, 1_000 + number, spread=10),
        ]
    return write(tmp_path_factory.mktemp("catalog"), ticks)


@pytest.fixture(scope="module")
def played(catalog, tmp_path_factory) -> dict[str, Any]:
    """What was said, and the events of each order, in both worlds; the live one parks what passes: `flush: power`."""
    folder = str(tmp_path_factory.mktemp("journal"))
    return {
        world: in_child(CHILD, world, str(catalog), json.dumps(SECTION), folder)[0] for world in ("backtest", "live")
    }


def timeless(said: list[str]) -> list[str]:
    """How long ago something was is another thing in each world, and so is which of two messages comes first."""
    kept = [each for each in said if not each.startswith("cancelled ")]
    return sorted(
        re.sub(r"(would_be=|DUPLICATE_ORDER 300 None )\d+", r"\1…", each) if "DUPLI" in each else each for each in kept
    )


@pytest.mark.row(19, "at limit")
@pytest.mark.row(12, "as a parent")
@pytest.mark.row(12, "as a child")
@pytest.mark.row(12, "inside a list")
@pytest.mark.row(12, "on modify")
def test_the_same_orders_get_the_same_verdicts(played):
    """In the same words, with the same numbers, the approvals too."""
    backtest, live = (timeless(played[world]["said"]) for world in ("backtest", "live"))
    assert backtest == live
    assert len([each for each in live if " approved: " in each]) >= 8, live
    codes = {"MAX_POSITION", "MAX_ORDER_QUANTITY", "PRICE_COLLAR", "SELF_MATCH", "DUPLICATE_ORDER", "NO_PRICE"}
    assert codes <= {each.split(": ")[2].split()[0] for each in live}


@pytest.mark.parametrize("name", ["cancelled at once", "cancelled in a batch"])
def test_a_cancel_in_the_callback_of_its_submit_leaves_nothing_at_the_venue(played, name):
    """Live it overtakes the order, and Nautilus alone would leave that working: here no venue hears of it."""
    assert ["OrderInitialized", "OrderSubmitted"] == played["backtest"]["lives"][name][:2]
    assert "OrderCanceled" == played["backtest"]["lives"][name][-1]
    assert ["OrderInitialized", "OrderDenied"] == played["live"]["lives"][name]
    said = f"{name}: OrderDenied: CANCELED_BEFORE_SUBMIT: a cancel of it was here before it"
    assert 1 == played["live"]["said"].count(said)
