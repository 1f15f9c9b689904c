"""A connection is lost and comes back: what worked at the venue is canceled, as the ledger of the exchange says."""

from __future__ import annotations

import psutil
import pytest
from exchange_client import INVERSE, exchange_in
from exchange_lab import Lab
from exchange_node import ExchangeNode, node_config

SETTLE_S = 20.0
BREAKERS = "node.trader.actors()[1]"


def actors(**section):
    paths = [("RiskGate", {"preset": "none", "needs_limits": False}), ("CircuitBreakers", section)]
    return [
        {
            "actor_path": f"nautilus_ext.risk:{name}",
            "config_path": f"nautilus_ext.risk:{name}Config",
            "config": {"section": section},
        }
        for name, section in paths
    ]


@pytest.fixture
def lab(fast_folder):
    """The market stands still."""
    rules = [{"kind": "venue_down", "scope": "venue=*", "limit": 1, "action": "alert"}]
    with exchange_in(fast_folder) as folder:
        config = {**node_config(folder), "actors": actors(cancel_on_disconnect=["SIM2"], breakers=rules)}
        with ExchangeNode(config, folder) as node:
            node(f"setattr({BREAKERS}.venues, 'clients', list(clients.values()))")
            node.until(f"'SIM2' in {BREAKERS}.venues.look(node.kernel.clock.timestamp_ns()).down_s")
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
    price = lab.bid("700")
    other = lab.send("limit", "BUY", "1", INVERSE, price=lab.bid("500", instrument=INVERSE))
    for order in (*here, other):
        lab.becomes(order, "ACCEPTED")
    lab.node("setattr(hand, 'told', [])")
    for topic in ("suite.alerts.raise", "suite.commanded"):
        lab.node(f"node.kernel.msgbus.subscribe({topic!r}, hand.told.append)")
    exchange = psutil.Process(lab.address.pid)
    exchange.suspend()
    try:
        late = lab.send("limit", "BUY", "0.010", price=price)  # on its way when the connection is lost
        lab.node.until("not clients['SIM2'].is_connected", SETTLE_S)
        lab.node.until("'BREAKER_VENUE_DOWN' in [getattr(each, 'code', '') for each in hand.told]", SETTLE_S)
        assert {"ACCEPTED"} == {lab.node(f"hand.status({order!r})") for order in (*here, other)}
    finally:
        exchange.resume()
    for order in here:
        lab.node.until(f"hand.status({order!r}) == 'CANCELED'", SETTLE_S)
    lab.node.until("any(getattr(each, 'applied', False) for each in hand.told)", SETTLE_S)
    lab.node.until(f"hand.status({late!r}) in ('CANCELED', 'REJECTED')", SETTLE_S)
    written = at_the_exchange(lab)
    assert {**dict.fromkeys(here, "CANCELED"), other: "ACCEPTED"} == {each: written[each] for each in (*here, other)}
    assert written.get(late, "CANCELED") == "CANCELED"  # or it never arrived
    assert ["cancel-all", "venue=SIM2"] == lab.node(
        "next([each.command.kind, each.command.what.scope] for each in hand.told if hasattr(each, 'command'))"
    )
    assert lab.settled() == []
