"""The same file as a backtest: what carries over, what cannot, and how the result is put to Nautilus."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nautilus_trader.backtest.config import (
    BacktestDataConfig,
    BacktestEngineConfig,
    BacktestRunConfig,
    BacktestVenueConfig,
)
from nautilus_trader.data.config import DataEngineConfig
from nautilus_trader.execution.config import ExecEngineConfig
from nautilus_trader.risk.config import RiskEngineConfig

from nautilus_ext.config.differences import differences, together
from nautilus_ext.config.env import join
from nautilus_ext.config.expand import BACKTEST_FLUSH, BACKTEST_POLICY, ENGINE_DEFAULTS, suite_actors
from nautilus_ext.config.locate import locate
from nautilus_ext.config.shape import decode
from nautilus_ext.config.suite import MARKET_CONFIG
from nautilus_ext.errors import Problem

if TYPE_CHECKING:
    from nautilus_ext.config.load import Config
    from nautilus_ext.config.suite import Persistence, Synthetic

_ENGINES = {"data_engine": DataEngineConfig, "risk_engine": RiskEngineConfig, "exec_engine": ExecEngineConfig}
_CLIENTS = {"data_clients": "the data is replayed from a catalog", "exec_clients": "orders go to backtest.venues"}
_EXTERNAL = ("cache", "message_bus")
_TICKS = ("nautilus_trader.model.data:QuoteTick", "nautilus_trader.model.data:TradeTick")


def market_config(synthetic: Synthetic) -> Any:
    """The synthetic section as the config of the market that it describes."""
    given = {"seed": synthetic.seed, "interval_ms": synthetic.interval_ms, "listings": synthetic.listings}
    return decode(given, locate(MARKET_CONFIG))


def engine_tree(tree: dict[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """The part of the file that a BacktestEngine takes, and a line for each key that it does not."""
    kept: dict[str, Any] = {}
    parity: list[Problem] = []
    for key, value in tree.items():
        if key in _CLIENTS:
            parity += [Problem(join(key, together(value)), f"not used: {_CLIENTS[key]}")] if value else []
        elif key == "environment":
            parity.append(Problem(key, f'"{value}" becomes "backtest"'))
        elif key in _ENGINES:
            known = _ENGINES[key].__struct_fields__
            kept[key] = {name: item for name, item in value.items() if name in known}
            parity += [
                Problem(join(key, name), "live only: a backtest has no such setting")
                for name in value
                if name not in known and name not in ENGINE_DEFAULTS
            ]
        elif key in _EXTERNAL and isinstance(value, dict) and value.get("database"):
            kept[key] = {name: item for name, item in value.items() if name != "database"}
            parity.append(Problem(join(key, "database"), "not used: a backtest shares no state with a live book"))
        else:
            kept[key] = value
    return kept, parity


def parity_report(config: Config) -> list[Problem]:
    """What is not the same in the two worlds, key by key."""
    _, parity = engine_tree({**config.tree, **_client_names(config)})
    parity += _persistence(config.suite.persistence)
    backtest = config.suite.backtest
    venues = {venue.get("name") for venue in backtest.venues} if backtest else set()
    traded = {venue for spec in config.exec_clients if isinstance(venue := spec.config.get("venue"), str)}
    parity += [
        Problem("backtest.venues", f"the venue {venue} of exec_clients is missing here: orders to it are refused")
        for venue in sorted(traded - venues)
    ]
    if backtest is not None:
        own = {**config.tree, "actors": config.tree["actors"][len(suite_actors(config.suite, config.world)) :]}
        parity += differences(own, backtest, config.exec_clients, config.data_clients)
    return parity


def _persistence(settings: Persistence) -> list[Problem]:
    """What a file asks of the journal that a backtest does not do; `event` there is only slower than `batch`."""
    asked = (("flush", "power", BACKTEST_FLUSH), ("on_unshipped", "halt", BACKTEST_POLICY))
    return [
        Problem(f"persistence.{key}", f'"{value}" becomes "{instead}": a backtest sends nothing to a venue')
        for key, value, instead in asked
        if settings.enabled and getattr(settings, key) == value
    ]


def _client_names(config: Config) -> dict[str, Any]:
    return {
        "data_clients": [spec.name for spec in config.data_clients],
        "exec_clients": [spec.name for spec in config.exec_clients],
    }


def run_config(config: Config, catalog: str | None, instrument_ids: tuple[str, ...]) -> BacktestRunConfig:
    """Nautilus's own form of the whole backtest. `catalog` is the synthetic one, where the file asks for it."""
    settings = config.suite.backtest
    assert settings is not None, "the loader refuses --backtest without a backtest section"
    engine, _ = engine_tree(config.tree)
    data = settings.data or [
        {"catalog_path": catalog, "data_cls": kind, "instrument_ids": list(instrument_ids)} for kind in _TICKS
    ]
    return BacktestRunConfig(
        engine=decode(engine, BacktestEngineConfig),
        venues=decode(settings.venues, list[BacktestVenueConfig]),
        data=decode(data, list[BacktestDataConfig]),
        start=settings.start,
        end=settings.end,
        chunk_size=settings.chunk_size,
        raise_exception=True,
        dispose_on_completion=False,
    )
