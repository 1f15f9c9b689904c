"""A real node on a real exchange while everything goes wrong, by a seed: what fault runs and halt runs share."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from typing import TYPE_CHECKING, Any

import psutil
from nautilus_trader.config import (
    LiveDataEngineConfig,
    LiveExecEngineConfig,
    LiveRiskEngineConfig,
    LoggingConfig,
    TradingNodeConfig,
)
from nautilus_trader.live.node import TradingNode

from nautilus_ext.simulation.client.config import ListingConfig, SimulatedDataClientConfig, SimulatedExecClientConfig
from nautilus_ext.simulation.client.data import SimulatedDataClientFactory
from nautilus_ext.simulation.client.execution import SimulatedExecClientFactory
from nautilus_ext.simulation.faults import ITEM_FAULTS, REQUEST_FAULTS, Faults
from nautilus_ext.simulation.world import VenueTerms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

VENUES = {"CASHY": "CASH", "PERPY": "MARGIN"}
INVERSE = "BTCUSD-PERP.PERPY"
LISTINGS = (("BTCUSDT.CASHY", "spot"), ("ETHUSDT-PERP.PERPY", "linear"), (INVERSE, "inverse"))
INTERVAL_MS = 20
ANSWER_TIMEOUT_S = 0.25
POLL_S = 0.02


class FaultStage:
    """The exchange of a run and its faults; `rates` are of some kinds, `rate` is of each other one."""

    def __init__(self, data_dir: Path, seed: int, name: str, rates: Mapping[str, float], rate: float) -> None:
        self.data_dir = data_dir
        self.seed = seed
        self.name = name
        self.rng = random.Random(seed)
        self.venues = tuple(
            VenueTerms(name=each, faults=self._chosen_faults(number, rates, rate)) for number, each in enumerate(VENUES)
        )
        self.folder = data_dir / "exchange" / name

    def _chosen_faults(self, number: int, rates: Mapping[str, float], rate: float) -> Faults:
        """Some kinds, not all: each combination comes up in some seed."""
        kinds = [kind for kind in (*REQUEST_FAULTS, *ITEM_FAULTS) if self.rng.random() < 0.5]
        return Faults(seed=self.seed * 10 + number, rates={kind: rates.get(kind, rate) for kind in kinds}, late_ms=120)

    def new_node(self, listings: Iterable[tuple[str, str]], balances: list[str]) -> TradingNode:
        """One that nothing has been added to and that is not built yet."""
        quick = {"data_dir": str(self.data_dir), "exchange": self.name, "answer_timeout_s": ANSWER_TIMEOUT_S}
        graceful = {"graceful_shutdown_on_exception": True}
        data = SimulatedDataClientConfig(
            seed=self.seed,
            interval_ms=INTERVAL_MS,
            listings=[ListingConfig(instrument_id=name, kind=kind) for name, kind in listings],
            venues=self.venues,
            **quick,
        )
        config = TradingNodeConfig(
            trader_id=f"{self.name.upper()}-001",
            logging=LoggingConfig(log_level="OFF", log_level_file="INFO", log_directory=str(self.data_dir)),
            data_engine=LiveDataEngineConfig(**graceful),
            risk_engine=LiveRiskEngineConfig(max_order_submit_rate="10000/00:00:01", **graceful),
            exec_engine=LiveExecEngineConfig(**graceful),
            timeout_connection=20.0,
            timeout_reconciliation=20.0,
            timeout_portfolio=20.0,
            timeout_disconnection=5.0,
            timeout_post_stop=0.05,
            data_clients={"SIM": data},
            exec_clients={
                venue: SimulatedExecClientConfig(
                    venue=venue, account_type=kind, starting_balances=balances, account="A", **quick
                )
                for venue, kind in VENUES.items()
            },
        )
        node = TradingNode(config, loop=asyncio.get_running_loop())
        node.add_data_client_factory("SIM", SimulatedDataClientFactory)
        for venue in VENUES:
            node.add_exec_client_factory(venue, SimulatedExecClientFactory)
        return node

    # -- the exchange -------------------------------------------------------------------------------

    def kill_exchange(self) -> None:
        for process in self._servers():
            process.kill()

    def end_exchange(self) -> None:
        servers = self._servers()
        for process in servers:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
                process.wait(10)
        assert len(servers) <= 1, f"{len(servers)} servers of one exchange"

    def _servers(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if str(self.folder) in process.cmdline():
                    found.append(process)
        return found

    async def until(self, condition: Callable[[], Any], what: str, within_s: float = 20.0) -> None:
        deadline_s = time.monotonic() + within_s
        while not condition():
            assert time.monotonic() < deadline_s, f"not within {within_s:g} s: {what}"
            await asyncio.sleep(POLL_S)
