"""Risk limits that apply: a gate in front of the execution engine, over pure rules and a ledger.

The gate is resolved when it is asked for: the rules load no engine.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nautilus_ext.risk.gate import RiskGate, RiskGateConfig

__all__ = ["RiskGate", "RiskGateConfig"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from nautilus_ext.risk import gate  # noqa: PLC0415 - see above

    return getattr(gate, name)
