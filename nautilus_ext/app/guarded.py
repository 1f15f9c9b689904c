"""Before anything trades: the gate stands where each order passes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nautilus_ext.errors import ConfigError, Problem
from nautilus_ext.risk import RiskGate

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nautilus_ext.config.load import Config


def require_gate(config: Config, actors: Iterable[Any]) -> None:
    """Raise ConfigError when there is none, or when a component of the file has taken the engine over around it."""
    if not config.suite.risk.enabled and config.world != "live":
        return
    if not any(isinstance(actor, RiskGate) and actor.stands() for actor in actors):
        cure = (
            "the risk gate does not stand in front of the execution engine: an actor or a strategy of this file has "
            "taken ExecEngine.execute over and does not pass on; remove it, or let it call what was there before"
        )
        raise ConfigError(str(config.source), [Problem("actors", cure)])
