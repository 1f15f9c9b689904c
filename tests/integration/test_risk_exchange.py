"""The gate in a live node on the simulated exchange, whose own ledger is the witness of what has reached it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from exchange_books import written
from exchange_client import PERP, exchange_in
from exchange_node import ExchangeNode, node_config
from exchange_node import exchange_folder as ledgers

if TYPE_CHECKING:
    from pathlib import Path

SECTION = {"preset": "none", "limits": {"global": {"max_position": "5"}}}
GATE = {
    "actor_path": "nautilus_ext.risk:RiskGate",
    "config_path": "nautilus_ext.risk:RiskGateConfig",
    "config": {"section": SECTION},
}
TEXT = "MAX_POSITION: limit=5 scope=global value={} would_be={} unit=quantity"


def gated(folder: Path) -> ExchangeNode:
    return ExchangeNode(node_config(folder) | {"actors": [GATE]}, folder)


def at_the_venue(folder: Path) -> set[str]:
    venue = PERP.partition(".")[2]
    return set(written(ledgers(folder), venue, "TEST-001").orders)


def sent(node: ExchangeNode, quantity: str, price: str = "30000.0") -> Any:
    return node(f"hand.send('limit', 'BUY', {quantity!r}, price={price!r})")


@pytest.mark.row(5, "one tick over")
@pytest.mark.row(12, "after restart")
def test_no_venue_hears_of_what_was_refused_or_cancelled_first_and_a_restart_counts_what_it_has(fast_folder):
    """The node is killed; the next one has nothing but what the venue tells it, and the same room for one more."""
    with exchange_in(fast_folder) as folder:
        with gated(folder) as node:
            working, refused = sent(node, "4.000"), sent(node, "1.001")
            gone = node("[hand.end(name) or name for name in [hand.send('limit', 'BUY', '1.000', price='29000.0')]][0]")
            node.until(f"hand.status({working!r}) == 'ACCEPTED'")
            for name in (refused, gone):
                node.until(f"hand.status({name!r}) == 'DENIED'")
            assert [TEXT.format(4, "5.001")] == node(f"hand.reasons({refused!r})")
            assert ["CANCELED_BEFORE_SUBMIT: a cancel of it was here before it"] == node(f"hand.reasons({gone!r})")
            market = node("hand.send('market', 'BUY', '0.500')")
            node.until(f"hand.status({market!r}) == 'FILLED'")
            assert {working, market} == at_the_venue(folder)
            node.kill()
        with gated(folder) as node:
            node.until("len(cache.orders_open()) == 1 and len(cache.positions_open()) == 1")
            refused = sent(node, "0.501")
            node.until(f"hand.status({refused!r}) == 'DENIED'")
            assert [TEXT.format("4.5", "5.001")] == node(f"hand.reasons({refused!r})")
            passing = sent(node, "0.500")
            node.until(f"hand.status({passing!r}) == 'ACCEPTED'")
            assert {working, market, passing} == at_the_venue(folder)
