"""Halts of a live node on the simulated exchange, whose own ledger says what has reached it and what works there."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from exchange_books import written
from exchange_client import PERP, exchange_in
from exchange_node import ExchangeNode, node_config
from exchange_node import exchange_folder as ledgers

from nautilus_ext.messages import AppliedCommand
from nautilus_ext.simulation.server.address import read_address

if TYPE_CHECKING:
    from pathlib import Path

VENUE = PERP.partition(".")[2]
GATE = {
    "actor_path": "nautilus_ext.risk:RiskGate",
    "config_path": "nautilus_ext.risk:RiskGateConfig",
    "config": {"section": {"preset": "none"}},
}
OPERATOR = (
    "hand.__dict__.setdefault('op', __import__('halt_desk').Operator(type('Desk', (), {'bus': node.kernel.msgbus})))"
)


def stood(*commands: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    told = [
        AppliedCommand(applied_ns=i, command_id=f"c{i}", kind=kind, arguments=arguments, issued_by="ann")
        for i, (kind, arguments) in enumerate(commands)
    ]
    return {
        "actor_path": "halt_desk:Stood",
        "config_path": "halt_desk:StoodConfig",
        "config": {"told": msgspec.json.encode(told).decode()},
    }


def gated(folder: Path, *before: dict[str, Any]) -> ExchangeNode:
    return ExchangeNode(node_config(folder) | {"actors": [*before, GATE]}, folder)


def at_the_venue(folder: Path) -> dict[str, str]:
    return {name: row["status"] for name, row in written(ledgers(folder), VENUE, "TEST-001").orders.items()}


def sent(node: ExchangeNode, price: str) -> str:
    return node(f"hand.send('limit', 'BUY', '1.000', price={price!r})")


def asked(node: ExchangeNode, command: str) -> int:
    """Return the number of the command."""
    node(f"{OPERATOR}.{command} and None")
    return node(f"len({OPERATOR}.answers) - 1")


def answer(node: ExchangeNode, number: int) -> str:
    node.until(f"len({OPERATOR}.answers[{number}]) == 1")
    applied, text = node(f"{OPERATOR}.answers[{number}][0]")
    assert applied, text
    return text


@pytest.mark.row(13, "after restart")
def test_a_node_that_begins_with_a_halt_ends_what_works_there_and_sends_nothing(fast_folder):
    """The one before was killed. This one knows of the order only what its venue tells it."""
    with exchange_in(fast_folder) as folder:
        with gated(folder) as node:
            working = sent(node, "30000.0")
            node.until(f"hand.status({working!r}) == 'ACCEPTED'")
            node.kill()
        halt = stood(("halt", {"scope": f"venue={VENUE}", "why": "a test"}))
        with gated(folder, halt) as node:
            node.until("not cache.orders_open() and not cache.orders_inflight()")
            refused = sent(node, "30000.0")
            node.until(f"hand.status({refused!r}) == 'DENIED'")
            assert node(f"hand.reasons({refused!r})")[0].startswith(f"HALTED: scope=venue={VENUE} mode=halt ")
            assert {working: "CANCELED"} == at_the_venue(folder)


@pytest.fixture(scope="module")
def trading(fast_folder):
    """One node for those that leave nothing behind."""
    with exchange_in(fast_folder) as folder, gated(folder) as node:
        yield node, folder


@pytest.mark.row(8, "one tick over")
def test_limits_are_taken_over_while_the_node_trades(trading):
    """Reckoned in a thread; the answer says from which version on they hold, and the next order meets them."""
    node, _ = trading
    number = asked(node, "limit('global', 'max_order_quantity', '0.5')")
    assert "max_order_quantity of global: not set -> 0.5; limits version 1" == answer(node, number)
    refused = sent(node, "30000.0")
    node.until(f"hand.status({refused!r}) == 'DENIED'")
    assert "MAX_ORDER_QUANTITY: limit=0.5 scope=global value=0 would_be=1 unit=quantity" in (
        node(f"hand.reasons({refused!r})")
    )
    assert "limits version 2" in answer(node, asked(node, "limit('global', 'max_order_quantity', None)"))
    passing = sent(node, "30000.0")
    node.until(f"hand.status({passing!r}) == 'ACCEPTED'")


@pytest.mark.row(13, "under faults")
def test_a_venue_that_comes_back_is_swept(trading):
    """While it is out of reach the answer names what may work there; an order is sent to it in the middle of that."""
    node, folder = trading
    working = sent(node, "30000.0")
    node.until(f"hand.status({working!r}) == 'ACCEPTED'")
    address = read_address(ledgers(folder))
    assert address is not None
    os.kill(address.pid, signal.SIGSTOP)
    try:
        in_flight = sent(node, "29000.0")
        text = answer(node, asked(node, f"halt('venue={VENUE}')"))
    finally:
        os.kill(address.pid, signal.SIGCONT)
    assert f"order {working} ACCEPTED" in text.partition("unresolved: ")[2], text
    node.until("not cache.orders_open() and not cache.orders_inflight()", 20.0)
    assert "CANCELED" == at_the_venue(folder)[working]
    assert at_the_venue(folder).get(in_flight, "CANCELED") in {"CANCELED", "REJECTED"}
