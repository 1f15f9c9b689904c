"""Keys of the requirements' configuration (architecture.txt, 6.1) that have another name here. Pure.

Whoever brings such a file is told the new name of every key at once, not "unknown key".
"""

from __future__ import annotations

from typing import Any

from nautilus_ext.errors import Problem

_NAUTILUS = "the section risk_engine is Nautilus's own, and knows no such key"

_ANSWERS: dict[str, str] = {
    "trading_node": "its members stand at the top level here: data_clients, exec_clients, portfolio, …",
    "external_adapters": 'each is an entry of data_clients and of exec_clients: "DERIBIT": {"path": …, "factory": …}',
    "risk_engine.enabled": f"write risk.enabled: {_NAUTILUS}",
    "risk_engine.preset": f"write risk.preset: {_NAUTILUS}",
    "risk_engine.limits": f"write risk.limits: {_NAUTILUS}",
    "risk_engine.max_orders_per_second": f"write risk.max_orders_per_second, here {{value}}: {_NAUTILUS}",
    "risk_engine.max_orders_per_minute": f"write risk.max_orders_per_minute, here {{value}}: {_NAUTILUS}",
    "risk_engine.max_position_per_instrument": f"write risk.max_position_per_instrument: {_NAUTILUS}",
    "risk_engine.max_total_notional": f"write risk.max_total_notional, here {{value}}: {_NAUTILUS}",
    "router": "this version has no smart router yet; until it comes, an order goes to the venue in its instrument id",
    "portfolio.accounts": "an account comes with its exec client; its base currency is a key of that client's config",
    "logging.level": "write logging_ext.level",
    "logging.log_orders": "write logging_ext.log_orders",
    "logging.log_fills": "write logging_ext.log_fills",
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
