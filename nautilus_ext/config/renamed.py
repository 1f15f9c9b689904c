"""Keys of the requirements' configuration (architecture.txt, 6.1) that have another name here. Pure.

Whoever brings such a file is told the new name of every key at once, not "unknown key".
"""

from __future__ import annotations

from typing import Any

from nautilus_ext.errors import Problem

_LATER = "this version has no {what} yet; until it comes: {until}"
_RATE = 'Nautilus\'s own risk_engine.max_order_submit_rate, for example "{rate}/00:00:01"'

_ANSWERS: dict[str, str] = {
    "trading_node": "its members stand at the top level here: data_clients, exec_clients, portfolio, …",
    "external_adapters": 'each is an entry of data_clients and of exec_clients: "DERIBIT": {"path": …, "factory": …}',
    "risk_engine.enabled": "the risk engine is always on; to let everything pass in a test, say risk_engine.bypass",
    "risk_engine.max_orders_per_second": f"write {_RATE}",
    "risk_engine.max_orders_per_minute": 'write risk_engine.max_order_submit_rate, for example "100/00:01:00"',
    "risk_engine.max_position_per_instrument": _LATER.format(
        what="position limit", until="risk_engine.max_notional_per_order limits each single order"
    ),
    "risk_engine.max_total_notional": _LATER.format(
        what="limit on the total notional", until="risk_engine.max_notional_per_order limits each single order"
    ),
    "router": _LATER.format(what="smart router", until="an order goes to the venue in its instrument id"),
    "portfolio.accounts": "an account comes with its exec client; its base currency is a key of that client's config",
    "logging.level": "write logging_ext.level",
    "logging.log_orders": "write logging_ext.log_orders",
    "logging.log_fills": "write logging_ext.log_fills",
    "risk": _LATER.format(what="risk section", until="Nautilus's own risk_engine section applies"),
    "execution": _LATER.format(what="execution section", until="exec_algorithms takes any ExecAlgorithm by its path"),
    "persistence": _LATER.format(what="persistence section", until="database holds the books and runs"),
    "control": _LATER.format(what="control section", until="stop the node with SIGTERM"),
}


def take_renamed(document: dict[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """Return the document without its renamed keys, and the answer to each of them."""
    problems: list[Problem] = []
    kept: dict[str, Any] = {}
    for key, value in document.items():
        if key in _ANSWERS:
            problems.append(Problem(key, f"has another name here: {_answer(key, value)}"))
        elif isinstance(value, dict):
            kept[key] = {}
            for inner, item in value.items():
                path = f"{key}.{inner}"
                if path in _ANSWERS:
                    problems.append(Problem(path, f"has another name here: {_answer(path, item)}"))
                else:
                    kept[key][inner] = item
        else:
            kept[key] = value
    return kept, problems


def _answer(path: str, value: Any) -> str:
    rate = value if isinstance(value, int) and not isinstance(value, bool) else 10
    return _ANSWERS[path].replace("{rate}", str(rate))
