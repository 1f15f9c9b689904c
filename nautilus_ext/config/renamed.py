"""Keys of the requirements' configuration (architecture.txt, 6.1) that have another name here. Pure.

Whoever brings such a file is told the new name of every key at once, not "unknown key".
"""

from __future__ import annotations

from typing import Any

from nautilus_ext.errors import Problem

_NOTIONAL = "until it comes, risk_engine.max_notional_per_order limits each single order"

_ANSWERS: dict[str, str] = {
    "trading_node": "its members stand at the top level here: data_clients, exec_clients, portfolio, …",
    "external_adapters": 'each is an entry of data_clients and of exec_clients: "DERIBIT": {"path": …, "factory": …}',
    "risk_engine.enabled": "the risk engine is always on; to let everything pass in a test, say risk_engine.bypass",
    "risk_engine.max_orders_per_second": 'write risk_engine.max_order_submit_rate, here "{value}/00:00:01"',
    "risk_engine.max_orders_per_minute": 'write risk_engine.max_order_submit_rate, here "{value}/00:01:00"',
    "risk_engine.max_position_per_instrument": f"this version has no position limit yet; {_NOTIONAL}",
    "risk_engine.max_total_notional": f"this version has no limit on the total notional yet; {_NOTIONAL}",
    "router": "this version has no smart router yet; until it comes, an order goes to the venue in its instrument id",
    "portfolio.accounts": "an account comes with its exec client; its base currency is a key of that client's config",
    "logging.level": "write logging_ext.level",
    "logging.log_orders": "write logging_ext.log_orders",
    "logging.log_fills": "write logging_ext.log_fills",
    "risk": "this version has no risk gate yet; until it comes, Nautilus's own risk_engine section applies",
    "execution": "this version has no algorithms of its own yet; exec_algorithms takes any ExecAlgorithm by its path",
    "control": "this version takes no commands yet; stop the node with SIGTERM",
}


def take_renamed(document: dict[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """Return the document without the keys that are answered here, and the answers."""
    problems: list[Problem] = []

    def keep(at: str, value: Any) -> bool:
        answer = _ANSWERS.get(at)
        if answer is not None:
            problems.append(Problem(at, answer.replace("{value}", str(value))))
        return answer is None

    kept = {key: value for key, value in document.items() if keep(key, value)}
    for key, value in kept.items():
        if isinstance(value, dict):
            kept[key] = {inner: item for inner, item in value.items() if keep(f"{key}.{inner}", item)}
    return kept, problems
