"""The verb `catalog`: a Parquet catalog from the market model, for backtests and replays."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from nautilus_ext.app.paper import say
from nautilus_ext.config.backtest import market_config
from nautilus_ext.config.locate import locate
from nautilus_ext.config.suite import MARKET_CONFIG, Synthetic
from nautilus_ext.errors import ConfigError, Problem
from nautilus_ext.simulation.catalog import make_catalog, rows

if TYPE_CHECKING:
    import argparse

    from nautilus_ext.app.command import Command
    from nautilus_ext.config import Config
    from nautilus_ext.simulation.catalog import Catalog

SOURCE = "command line"
TICKS = {"quote_tick": "quotes", "trade_tick": "trades"}


def make(command: Command, options: argparse.Namespace) -> int:
    """Make it, say where it is and what is in it."""
    began_s = time.monotonic()
    described = _described(command, options.config)
    given = {key: getattr(options, key) for key in ("seed", "interval_ms") if getattr(options, key) is not None}
    try:
        settings = msgspec.structs.replace(described, **given)
        market = settings.to_market()
    except ValueError as error:
        raise ConfigError(SOURCE, [Problem(" ".join(map(_option, given)), str(error))]) from error
    folder = Path(options.folder).expanduser().absolute()
    try:
        made = make_catalog(folder, market, options.start, options.minutes)
    except ConfigError as error:
        problems = [Problem(_option(each.path), each.message) for each in error.problems]
        raise ConfigError(SOURCE, problems) from error
    _tell(made, settings, time.monotonic() - began_s)
    return 0


def _option(name: str) -> str:
    """As it is written on the command line."""
    return "FOLDER" if name == "folder" else f"--{name.replace('_', '-')}"


def _described(command: Command, path: str | None) -> Any:
    """The market that a config file plays: its simulated data client's, else that of backtest.synthetic."""
    if path is None:
        return market_config(Synthetic())
    try:
        config = command.load(path, backtest=True)  # so that live.json needs no key
    except ConfigError:
        config = command.load(path)  # a file may do without a backtest section
    return _market_of(config)


def _market_of(config: Config) -> Any:
    for spec in config.data_clients:
        if issubclass(spec.config_class, locate(MARKET_CONFIG)):
            return spec.decode(spec.config)
    backtest = config.suite.backtest
    if backtest is not None and backtest.synthetic is not None:
        return market_config(backtest.synthetic)
    cure = f'has no market: it needs a data client of {MARKET_CONFIG}, or a "backtest.synthetic" section'
    raise ConfigError(str(config.source), [Problem("", cure)])


def _tell(made: Catalog, settings: Any, took_s: float) -> None:
    found = rows(made.path)
    counts = ", ".join(f"{sum(found[kind].values()):,} {name}" for kind, name in TICKS.items() if kind in found)
    start, end = (datetime.fromtimestamp(moment / 1e9, UTC) for moment in (made.start_ns, made.end_ns))
    span = f"{start:%Y-%m-%d %H:%M:%S} to {end:%Y-%m-%d %H:%M:%S} UTC"
    lines = [
        f"{made.path}: made in {took_s:.1f} s",
        f"  {span}, every {settings.interval_ms} ms, seed {settings.seed}",
        f"  {len(made.instrument_ids)} instruments, {counts}",
    ]
    for instrument_id in made.instrument_ids:
        each = ", ".join(f"{found.get(kind, {}).get(instrument_id, 0):,} {name}" for kind, name in TICKS.items())
        lines.append(f"    {instrument_id:<24} {each}")
    lines += ["to play it as live data, under data_clients:", f"  {json.dumps(_replay(made.path))}"]
    data = [
        {"catalog_path": str(made.path), "data_cls": f"nautilus_trader.model.data:{kind}"}
        for kind in ("QuoteTick", "TradeTick")
    ]
    lines += ["to read it in a backtest, under backtest.data:", *(f"  {json.dumps(each)}" for each in data)]
    say(*lines)


def _replay(path: Path) -> dict[str, Any]:
    client = "nautilus_ext.simulation:CatalogReplayDataClient"
    entry = {"path": f"{client}Config", "factory": {"path": f"{client}Factory"}, "config": {"catalog_path": str(path)}}
    return {"REPLAY": entry}
