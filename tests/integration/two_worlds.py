"""Strategies on one catalog in both worlds: a backtest, and a trading node that replays into Nautilus's sandbox."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from nautilus_trader.adapters.sandbox.config import SandboxExecutionClientConfig
from nautilus_trader.adapters.sandbox.factory import SandboxLiveExecClientFactory
from nautilus_trader.backtest.node import BacktestNode
from nautilus_trader.config import (
    BacktestDataConfig,
    BacktestEngineConfig,
    BacktestRunConfig,
    BacktestVenueConfig,
    LiveDataEngineConfig,
    LiveExecEngineConfig,
    LiveRiskEngineConfig,
    LoggingConfig,
    TradingNodeConfig,
)
from nautilus_trader.live.node import TradingNode
from nautilus_trader.persistence.catalog import ParquetDataCatalog

from nautilus_ext.simulation import CatalogReplayDataClientConfig, CatalogReplayDataClientFactory, listing
from nautilus_ext.simulation.instruments import TickMaker, to_instrument
from nautilus_ext.simulation.market import Quote, Trade

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from nautilus_trader.trading.strategy import Strategy

START_NS = 1_767_571_200_000_000_000
CHILD_TIMEOUT_S = 90.0
ETH = listing("ETHUSDT-PERP.SIM2", "linear")
BTC = listing("BTCUSDT-PERP.SIM3", "linear")
ETH_ID, BTC_ID = to_instrument(ETH).id, to_instrument(BTC).id
KINDS = ("QuoteTick", "TradeTick", "OrderBookDelta", "Bar")
ACCOUNT = {"oms_type": "NETTING", "account_type": "MARGIN", "starting_balances": ["1000000 USDT"]}
LOGGING = LoggingConfig(log_level="WARNING", log_colors=False)


def quote(of: Any, ms: float, bid: int, *, lots: int = 1_000_000, spread: int | None = None) -> Any:
    ask = bid + (of.spread_ticks if spread is None else spread)
    return TickMaker(to_instrument(of)).quote(Quote(of.instrument_id, bid, ask, lots, lots), START_NS + int(ms * 1e6))


def trade(of: Any, ms: float, price: int, *, lots: int = 1, number: int = 1) -> Any:
    return TickMaker(to_instrument(of)).trade(
        Trade(of.instrument_id, price, lots, True), number, START_NS + int(ms * 1e6)
    )


def write(folder: Path, data: Sequence[Any], listings: Sequence[Any] = (ETH, BTC)) -> Path:
    """A catalog of these data and instruments."""
    catalog = ParquetDataCatalog(str(folder))
    catalog.write_data([to_instrument(each) for each in listings])
    if data:
        catalog.write_data(list(data))
    return folder


def backtest(
    catalog: Path,
    strategies: Sequence[Strategy],
    *,
    actors: Sequence[Any] = (),
    algorithms: Sequence[Any] = (),
    **venue: Any,
) -> None:
    """As `--backtest` runs it: one entry of data per kind."""
    stored = ParquetDataCatalog(str(catalog)).list_data_types()
    folders = {
        "QuoteTick": "quote_tick",
        "TradeTick": "trade_tick",
        "OrderBookDelta": "order_book_deltas",
        "Bar": "bar",
    }
    ids = [each.id.value for each in ParquetDataCatalog(str(catalog)).instruments()]
    node = BacktestNode(
        [
            BacktestRunConfig(
                engine=BacktestEngineConfig(logging=LOGGING, actors=list(actors)),
                venues=[BacktestVenueConfig(name=name, **{**ACCOUNT, **venue}) for name in ("SIM2", "SIM3")],
                data=[
                    BacktestDataConfig(
                        str(catalog),
                        f"nautilus_trader.model.data:{kind}",
                        **({"instrument_ids": ids} if kind != "Bar" else {"bar_types": bar_types(catalog)}),
                    )
                    for kind in KINDS
                    if folders[kind] in stored
                ],
                raise_exception=True,
                dispose_on_completion=False,
            )
        ]
    )
    node.build()
    for strategy in strategies:
        node.get_engines()[0].add_strategy(strategy)
    for algorithm in algorithms:
        node.get_engines()[0].add_exec_algorithm(algorithm)
    node.run()
    node.dispose()


def bar_types(catalog: Path) -> list[str]:
    return sorted({str(bar.bar_type) for bar in ParquetDataCatalog(str(catalog)).bars()})


def replay(
    catalog: Path,
    strategies: Sequence[Strategy],
    *,
    venue: dict[str, Any] | None = None,
    seconds: float = 0,
    actors: Sequence[Any] = (),
    algorithms: Sequence[Any] = (),
    **config: Any,
) -> None:
    """In a trading node; it ends with the catalog, or after some seconds where `stop_at_end` is not set."""
    asyncio.set_event_loop(asyncio.new_event_loop())
    graceful = {"graceful_shutdown_on_exception": True}
    given = {"catalog_path": str(catalog), "stop_at_end": not seconds, **config}
    node = TradingNode(
        TradingNodeConfig(
            trader_id="WORLDS-001",
            logging=LOGGING,
            actors=list(actors),
            data_engine=LiveDataEngineConfig(**graceful),
            risk_engine=LiveRiskEngineConfig(max_order_submit_rate="100000/00:00:01", **graceful),
            exec_engine=LiveExecEngineConfig(reconciliation=False, **graceful),
            timeout_post_stop=0.2,
            timeout_disconnection=2.0,
            timeout_shutdown=1.0,
            data_clients={"REPLAY": CatalogReplayDataClientConfig(**given)},
            exec_clients={
                name: SandboxExecutionClientConfig(venue=name, **{**ACCOUNT, **(venue or {})})
                for name in ("SIM2", "SIM3")
            },
        ),
        loop=asyncio.get_event_loop(),
    )
    for strategy in strategies:
        node.trader.add_strategy(strategy)
    for algorithm in algorithms:
        node.trader.add_exec_algorithm(algorithm)
    node.add_data_client_factory("REPLAY", CatalogReplayDataClientFactory)
    for name in ("SIM2", "SIM3"):
        node.add_exec_client_factory(name, SandboxLiveExecClientFactory)
    node.build()
    if seconds:
        node.get_event_loop().call_later(seconds, node.stop)
    node.run()
    node.dispose()


def in_child(file: str, *arguments: str) -> tuple[Any, str]:
    """What a process of its own reports as the last line of its errors, and all else that it wrote."""
    command = [sys.executable, file, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=CHILD_TIMEOUT_S)
    assert done.returncode == 0, done.stdout + done.stderr
    *errors, report = done.stderr.splitlines()
    return json.loads(report), done.stdout + "\n".join(errors)


def report(value: Any) -> None:
    """Last act of the child: Nautilus's executor, which nobody cancels, must not complain after it."""
    sys.stdout.flush()
    sys.stderr.write(f"\n{json.dumps(value)}\n")
    sys.stderr.flush()
    os._exit(0)
