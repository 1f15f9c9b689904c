"""A trading node with a portfolio store on the simulated exchange, in a process of its own that can be killed."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
from contextlib import contextmanager
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from book_node import query
from exchange_node import exchange_folder, node_config
from nautilus_trader.config import TradingNodeConfig
from nautilus_trader.live.node import TradingNode

from nautilus_ext.persistence import PortfolioStore
from nautilus_ext.simulation import SimulatedDataClientFactory, SimulatedExecClientFactory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

BOOK = "TEST-001.paper"
ETH = "ETHUSDT-PERP.SIM2"
BAR = "bar closed at "
END_S = 30.0
WAIT_S = 40.0
TREND = {  # always upwards, with little noise: the pyramid grows by an addition or two a second
    "regimes": [
        {"kind": "trending", "start_s": 0, "seconds": 300, "drift_per_hour": 7.2},
        {"kind": "calm", "start_s": 0, "seconds": 300, "factor": 0.1},
    ]
}
STRATEGY = {
    "order_id_tag": "001",
    "bar_type": f"{ETH}-5-TICK-MID-INTERNAL",
    "fast_period": 2,
    "slow_period": 4,
    "notional": "1000",
    "stop_bps": "300",
    "target_bps": "5000",
    "pyramids": 200,
    "pyramid_step_bps": "10",
    "external_order_claims": [ETH],
}


def pyramid_config(folder: Path, **changes: Any) -> dict[str, Any]:
    config = node_config(folder, **TREND)
    config["exec_engine"]["reconciliation_lookback_mins"] = 10
    config["actors"] = [
        {
            "actor_path": "nautilus_ext.persistence:PortfolioStore",
            "config_path": "nautilus_ext.persistence:PortfolioStoreConfig",
            "config": {"answer_timeout_s": 0.5},
        }
    ]
    config["strategies"] = [
        {
            "strategy_path": "nautilus_ext.strategies:TrendFollower",
            "config_path": "nautilus_ext.strategies:TrendFollowerConfig",
            "config": {**STRATEGY, **changes},
        }
    ]
    return config


@contextmanager
def pyramid_node(config: dict[str, Any], url: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Ended in order at the exit, unless the test has killed it."""
    with log.open("wb") as out:
        process = subprocess.Popen([sys.executable, __file__, json.dumps(config), url], stdout=out, stderr=out)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(END_S)


class Play:
    """Runs nodes on one book, one after the other, and reads its rows."""

    def __init__(self, folder: Path, database: Any, wait_until: Callable[..., None]) -> None:
        self._folder = folder
        self._database = database
        self._wait_until = wait_until
        self._runs = 0

    def node(self, **changes: Any) -> Any:
        self._runs += 1
        return pyramid_node(pyramid_config(self._folder, **changes), self._database.app_url, self._log)

    @property
    def _log(self) -> Path:
        return self._folder / f"node-{self._runs}.log"

    def said(self) -> str:
        return self._log.read_text()

    def price(self) -> Decimal:
        """The close of the last bar that the node has had."""
        bars = [line for line in self.said().rpartition("\n")[0].splitlines() if line.startswith(BAR)]
        return Decimal(bars[-1].removeprefix(BAR))

    def change(self, sql: str) -> None:
        query(self._database.owner_url, sql)

    def rows(self, table: str) -> list[Any]:
        return query(self._database.app_url, f"SELECT * FROM {table} WHERE book_id = $1", BOOK)

    def positions(self) -> dict[str, Any]:
        return {row["position_id"]: row for row in self.rows("portfolio_positions")}

    def closed_at_exchange(self) -> set[str]:
        """The positions whose target was filled, as the exchange's own ledger has it."""
        ledger = sqlite3.connect(exchange_folder(self._folder) / "exchange.sqlite")
        try:
            filled = ledger.execute("SELECT client_order_id FROM orders WHERE status = 'FILLED'").fetchall()
        finally:
            ledger.close()
        return {name.removesuffix("-TP") for (name,) in filled if name.endswith("-TP")}

    def count(self) -> int:
        return max((row["pyramid_count"] for row in self.rows("pyramiding_state")), default=0)

    def until(self, predicate: Callable[[], object]) -> None:
        try:
            self._wait_until(predicate, WAIT_S)
        except BaseException:
            print(self.said()[-8_000:])
            raise

    def until_count(self, count: int) -> None:
        self.until(lambda: self.count() >= count)


def main() -> None:
    config, url = json.loads(sys.argv[1]), sys.argv[2]
    node = TradingNode(config=TradingNodeConfig.parse(json.dumps(config)))
    node.add_data_client_factory("SIM", SimulatedDataClientFactory)
    for name in config["exec_clients"]:
        node.add_exec_client_factory(name, SimulatedExecClientFactory)
    node.build()
    store = next(actor for actor in node.trader.actors() if isinstance(actor, PortfolioStore))
    store.open(lambda: url, book_id=BOOK, connect_timeout_s=5.0, statement_timeout_s=5.0)
    node.kernel.msgbus.subscribe("data.bars.*", lambda bar: print(f"{BAR}{bar.close}", flush=True))
    node.run()
    node.dispose()
    assert 0 == store.close()


if __name__ == "__main__":
    main()
