"""Risk limits that apply: a gate in front of the execution engine, over pure rules and a ledger.

Actors are resolved when they are asked for: the rules load no engine.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nautilus_ext.risk.alert_desk import AlertDesk, AlertDeskConfig
    from nautilus_ext.risk.breaking import CircuitBreakers, CircuitBreakersConfig
    from nautilus_ext.risk.gate import RiskGate, RiskGateConfig

__all__ = ["AlertDesk", "AlertDeskConfig", "CircuitBreakers", "CircuitBreakersConfig", "RiskGate", "RiskGateConfig"]
_MODULES = {"AlertDesk": "alert_desk", "CircuitBreakers": "breaking", "RiskGate": "gate"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name.removesuffix('Config')]}"), name)
