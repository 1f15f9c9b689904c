"""Config of the catalog replay, as it stands in a JSON file."""

import math
from datetime import UTC, datetime
from pathlib import Path

from nautilus_trader.config import LiveDataClientConfig, RoutingConfig
from nautilus_trader.model.identifiers import InstrumentId

TIME_MAX = datetime(2200, 1, 1, tzinfo=UTC)  # nanoseconds of later times do not fit everywhere


class CatalogReplayDataClientConfig(LiveDataClientConfig, frozen=True, kw_only=True):
    """Config of the data client that plays a Parquet catalog as if it happened now.

    Parameters
    ----------
    catalog_path : str
        The folder of the catalog; `~` is your home.
    instrument_ids : list[InstrumentId], optional
        What to play; default: every instrument of the catalog.
    start, end : str, optional
        First and last moment to play, ISO 8601, UTC unless it says otherwise; default: all.
    speed : float
        How many seconds of the catalog pass in one second. Timers of strategies do not run faster with it.
    stop_at_end : bool
        End the node in order after the last datum. If not, it runs on without data.
    routing : RoutingConfig
        By default this client serves every venue that has no data client of its own.

    """

    catalog_path: str
    instrument_ids: list[InstrumentId] | None = None
    start: str | None = None
    end: str | None = None
    speed: float = 1.0
    stop_at_end: bool = False
    routing: RoutingConfig = RoutingConfig(default=True)

    def __post_init__(self) -> None:
        if not 0 < self.speed < math.inf:
            raise ValueError(f"speed {self.speed} must be above 0: 1 plays as it happened, 10 ten times as fast")
        if not self.catalog_path.strip() or "\x00" in self.catalog_path:
            raise ValueError(f"catalog_path {self.catalog_path!r} is no folder")
        if self.instrument_ids is not None and not self.instrument_ids:
            raise ValueError("instrument_ids is empty: name at least one, or leave it out to play all")
        start_ns, end_ns = self.range_ns()
        if start_ns is not None and end_ns is not None and end_ns < start_ns:
            raise ValueError(f"end {self.end} is before start {self.start}")

    def folder(self) -> Path:
        return Path(self.catalog_path).expanduser().absolute()

    def range_ns(self) -> tuple[int | None, int | None]:
        return _moment_ns("start", self.start), _moment_ns("end", self.end)


def _moment_ns(name: str, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{name} {text!r} is no time: write ISO 8601, for instance 2026-01-05T00:00:00Z") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    if not 0 <= moment.timestamp() < TIME_MAX.timestamp():
        raise ValueError(f"{name} {text} must be between 1970 and {TIME_MAX.year}")
    return int(moment.timestamp()) * 1_000_000_000 + moment.microsecond * 1_000
