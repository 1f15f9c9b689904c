"""Every order in Postgres: events → local log (`Mirror`) → shipper, a process of its own → journal and tables.

Names are resolved when they are asked for: the shipper's process loads no engine.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nautilus_ext.persistence.mirror import Mirror, MirrorConfig
    from nautilus_ext.persistence.portfolio import PortfolioStore, PortfolioStoreConfig
    from nautilus_ext.persistence.restore import Restore, RestoreConfig
    from nautilus_ext.persistence.venue_watch import VenueWatch, VenueWatchConfig

_HOMES = {
    "Mirror": "mirror",
    "MirrorConfig": "mirror",
    "PortfolioStore": "portfolio",
    "PortfolioStoreConfig": "portfolio",
    "Restore": "restore",
    "RestoreConfig": "restore",
    "VenueWatch": "venue_watch",
    "VenueWatchConfig": "venue_watch",
}

__all__ = [
    "Mirror",
    "MirrorConfig",
    "PortfolioStore",
    "PortfolioStoreConfig",
    "Restore",
    "RestoreConfig",
    "VenueWatch",
    "VenueWatchConfig",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
