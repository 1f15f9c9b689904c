"""The simulated exchange: a market to start on, venues with books and ledgers of their own, and their clients.

    from nautilus_ext.simulation import default_market, ensure_catalog

    of = default_market(seed=7, interval_ms=1_000)
    catalog = ensure_catalog(folder, of, start="2026-01-05T00:00:00Z", minutes=60)

Names are resolved when they are asked for: the exchange's own process loads neither the engine nor Parquet.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nautilus_ext.simulation.catalog import Catalog, ensure_catalog
    from nautilus_ext.simulation.config import ListingConfig, SimulatedDataClientConfig, SimulatedExecClientConfig
    from nautilus_ext.simulation.data import SimulatedDataClient, SimulatedDataClientFactory
    from nautilus_ext.simulation.execution import SimulatedExecClientFactory, SimulatedExecutionClient
    from nautilus_ext.simulation.listings import default_listings, default_market, listing
    from nautilus_ext.simulation.market import Asset, Listing, Market, tape
    from nautilus_ext.simulation.replay import CatalogReplayDataClient, CatalogReplayDataClientFactory
    from nautilus_ext.simulation.replay_config import CatalogReplayDataClientConfig
    from nautilus_ext.simulation.sandbox import RememberingSandboxClient, SandboxLiveExecClientFactory
    from nautilus_ext.simulation.sandbox_config import RememberingSandboxConfig

_HOMES = {
    "Asset": "market",
    "Catalog": "catalog",
    "CatalogReplayDataClient": "replay",
    "CatalogReplayDataClientConfig": "replay_config",
    "CatalogReplayDataClientFactory": "replay",
    "Listing": "market",
    "ListingConfig": "config",
    "Market": "market",
    "RememberingSandboxClient": "sandbox",
    "RememberingSandboxConfig": "sandbox_config",
    "SandboxLiveExecClientFactory": "sandbox",
    "SimulatedDataClient": "data",
    "SimulatedDataClientConfig": "config",
    "SimulatedDataClientFactory": "data",
    "SimulatedExecClientConfig": "config",
    "SimulatedExecClientFactory": "execution",
    "SimulatedExecutionClient": "execution",
    "default_listings": "listings",
    "default_market": "listings",
    "ensure_catalog": "catalog",
    "listing": "listings",
    "tape": "market",
}

__all__ = [
    "Asset",
    "Catalog",
    "CatalogReplayDataClient",
    "CatalogReplayDataClientConfig",
    "CatalogReplayDataClientFactory",
    "Listing",
    "ListingConfig",
    "Market",
    "RememberingSandboxClient",
    "RememberingSandboxConfig",
    "SandboxLiveExecClientFactory",
    "SimulatedDataClient",
    "SimulatedDataClientConfig",
    "SimulatedDataClientFactory",
    "SimulatedExecClientConfig",
    "SimulatedExecClientFactory",
    "SimulatedExecutionClient",
    "default_listings",
    "default_market",
    "ensure_catalog",
    "listing",
    "tape",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
