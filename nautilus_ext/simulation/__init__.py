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
    from nautilus_ext.simulation.client.config import (
        ListingConfig,
        SimulatedDataClientConfig,
        SimulatedExecClientConfig,
    )
    from nautilus_ext.simulation.client.data import SimulatedDataClient, SimulatedDataClientFactory
    from nautilus_ext.simulation.client.execution import SimulatedExecClientFactory, SimulatedExecutionClient
    from nautilus_ext.simulation.listings import default_listings, default_market, listing
    from nautilus_ext.simulation.market import Asset, Listing, Market, tape
    from nautilus_ext.simulation.replay.client import CatalogReplayDataClient, CatalogReplayDataClientFactory
    from nautilus_ext.simulation.replay.config import CatalogReplayDataClientConfig
    from nautilus_ext.simulation.sandbox.client import RememberingSandboxClient, SandboxLiveExecClientFactory
    from nautilus_ext.simulation.sandbox.config import RememberingSandboxConfig

_HOMES = {
    "Asset": "market",
    "Catalog": "catalog",
    "CatalogReplayDataClient": "replay.client",
    "CatalogReplayDataClientConfig": "replay.config",
    "CatalogReplayDataClientFactory": "replay.client",
    "Listing": "market",
    "ListingConfig": "client.config",
    "Market": "market",
    "RememberingSandboxClient": "sandbox.client",
    "RememberingSandboxConfig": "sandbox.config",
    "SandboxLiveExecClientFactory": "sandbox.client",
    "SimulatedDataClient": "client.data",
    "SimulatedDataClientConfig": "client.config",
    "SimulatedDataClientFactory": "client.data",
    "SimulatedExecClientConfig": "client.config",
    "SimulatedExecClientFactory": "client.execution",
    "SimulatedExecutionClient": "client.execution",
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
