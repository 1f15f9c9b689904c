"""A connection is lost and comes back: what worked at the venue is canceled, as the ledger of the exchange says."""

from __future__ import annotations

import psutil
import pytest
from exchange_client import INVERSE, exchange_in
from exchange_lab import Lab
from exchange_node import ExchangeNode, node_config

SETTLE_S = 20.0
BREAKERS = "node.trader.actors()[1]"


def actors(*swept, rules=()):
    section = {"cancel_on_disconnect": list(swept), "breakers": list(rules)}
    return [
        {"actor_path": "command_taker:CommandTaker", "config_path": "nautilus_trader.config:ActorConfig", "config": {}},
        {
            "actor_path": "nautilus_ext.risk:CircuitBreakers",
            "config_path": "nautilus_ext.risk:CircuitBreakersConfig",
            "config": {"section": section},
        },
    ]


@pytest.fixture
def lab(fast_folder, monkeypatch):
    """The market stands still. The node's path has the tests' own actors."""
    monkeypatch.setenv("PYTHONPATH", str(__file__).rpartition("/")[0])
    rules = [{"kind": "venue_down", "scope": "venue=*", "limit": 1, "action": "alert"}]
    with exchange_in(fast_folder) as folder:
        config = {**node_config(folder), "actors": actors("SIM2", rules=rules)}
        with ExchangeNode(config, folder) as node:
            node(f"setattr({BREAKERS}.venues, 'clients', list(clients.values()))")
            lab = Lab(node, folder)
            lab.peer.control("pause")
            yield lab
            lab.close()


def at_the_exchange(lab):
    rows = lab.ledger().orders
    return {row["client_order_id"]: row["status"] for row in rows}


@pytest.mark.row(15, "connection lost")
@pytest.mark.row(23, "connection lost")
def test_what_works_at_a_venue_is_canceled_when_it_comes_back(lab):
    """All that is open there, and nothing at a venue that the file does not name; its absence is told."""
    here = [lab.send("limit", "BUY", "0.010", price=lab.bid(below)) for below in ("500", "600")]
    other = lab.send("limit", "BUY", "1", INVERSE, price=lab.bid("500", instrument=INVERSE))
    for order in (*here, other):
        lab.becomes(order, "ACCEPTED")
    lab.node("setattr(hand, 'told', [])")
    lab.node("node.kernel.msgbus.subscribe('suite.alerts.raise', hand.told.append)")
    exchange = psutil.Process(lab.address.pid)
    exchange.suspend()
    try:
        lab.node.until("not clients['SIM2'].is_connected", SETTLE_S)
        lab.node.until("any(each.code == 'BREAKER_VENUE_DOWN' for each in hand.told)", SETTLE_S)
        assert {"ACCEPTED"} == {lab.node(f"hand.status({order!r})") for order in (*here, other)}
    finally:
        exchange.resume()
    for order in here:
        lab.node.until(f"hand.status({order!r}) == 'CANCELED'", SETTLE_S)
    assert {**dict.fromkeys(here, "CANCELED"), other: "ACCEPTED"} == at_the_exchange(lab)
    assert [["cancel-all", "venue=SIM2"]] == lab.node("node.trader.actors()[0].taken")
    assert [True] == lab.node("node.trader.actors()[0].recorded")
    assert lab.settled() == []
