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
    from nautilus_ext.simulation.config import ListingConfig, SimulatedDataClientConfig
    from nautilus_ext.simulation.data import SimulatedDataClient, SimulatedDataClientFactory
    from nautilus_ext.simulation.listings import default_listings, default_market, listing
    from nautilus_ext.simulation.market import Asset, Listing, Market, tape

_HOMES = {
    "Asset": "market",
    "Catalog": "catalog",
    "Listing": "market",
    "ListingConfig": "config",
    "Market": "market",
    "SimulatedDataClient": "data",
    "SimulatedDataClientConfig": "config",
    "SimulatedDataClientFactory": "data",
    "default_listings": "listings",
    "default_market": "listings",
    "ensure_catalog": "catalog",
    "listing": "listings",
    "tape": "market",
}

__all__ = [
    "Asset",
    "Catalog",
    "Listing",
    "ListingConfig",
    "Market",
    "SimulatedDataClient",
    "SimulatedDataClientConfig",
    "SimulatedDataClientFactory",
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
