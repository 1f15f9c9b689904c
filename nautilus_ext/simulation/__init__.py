"""A market to start on: seeded, offline, the same in paper trading and in a backtest.

    from nautilus_ext.simulation import ensure_catalog, market

    catalog = ensure_catalog(folder, market(seed=7, interval_ms=1_000), start="2026-01-05T00:00:00Z", minutes=60)

Execution is Nautilus's sandbox for now, one per venue.
"""

from nautilus_ext.simulation.catalog import Catalog, ensure_catalog
from nautilus_ext.simulation.config import ListingConfig, SimulatedDataClientConfig
from nautilus_ext.simulation.data import SimulatedDataClient, SimulatedDataClientFactory
from nautilus_ext.simulation.listings import default_listings, listing, market
from nautilus_ext.simulation.market import Asset, Listing, Market, tape

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
    "ensure_catalog",
    "listing",
    "market",
    "tape",
]
