"""Builds the nodes of config files as the runner does, and reports which of them are refused and why.

risk_runner.py WORLD FILE…    WORLD: node (live and paper) or backtest
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

from nautilus_trader.common.actor import Actor
from nautilus_trader.common.config import ActorConfig
from two_worlds import report

from nautilus_ext.app.backtest import _built, _catalog
from nautilus_ext.app.node import _build
from nautilus_ext.config import load
from nautilus_ext.errors import ConfigError
from nautilus_ext.seam import EXECUTE, PROCESS, owner_of, take_over


class TakerConfig(ActorConfig, frozen=True):
    """`to_engine`: past whatever stands there."""

    to_engine: bool = False


class Taker(Actor):
    """Takes the endpoint over, after the suite's own actors."""

    def __init__(self, config: TakerConfig) -> None:
        super().__init__(config)
        self._to_engine = config.to_engine

    def register_base(self, portfolio: Any, msgbus: Any, cache: Any, clock: Any) -> None:
        super().register_base(portfolio, msgbus, cache, clock)
        self._way = take_over(msgbus, EXECUTE, self.execute)
        if self._to_engine:
            self._way = owner_of(msgbus, PROCESS).execute

    def execute(self, command: Any) -> None:
        self._way(command)


def main() -> None:
    world, *files = sys.argv[1:]
    found = {}
    for file in files:
        asyncio.set_event_loop(asyncio.new_event_loop())
        config = load(file, backtest=world == "backtest").for_run(Path(file).stem, 1, 1)
        try:
            if world == "backtest":
                engine = _built(config, *_catalog(config)).get_engines()[0]
                bus, actors = engine.kernel.msgbus, engine.trader.actors()
            else:
                kernel = _build(config, asyncio.get_event_loop(), []).kernel
                bus, actors = kernel.msgbus, kernel.trader.actors()
        except ConfigError as error:
            found[Path(file).name] = str(error)
        else:
            names = [type(actor).__name__ for actor in actors]
            found[Path(file).name] = [*names, type(owner_of(bus, EXECUTE)).__name__]
    report(found)


if __name__ == "__main__":
    main()
