"""Risk limits that apply: a gate in front of the execution engine, over pure rules and a ledger."""

from nautilus_ext.risk.gate import RiskGate, RiskGateConfig

__all__ = ["RiskGate", "RiskGateConfig"]
