"""Config of the simulated market, as it stands in a JSON file."""

from decimal import Decimal

import msgspec
from nautilus_trader.config import LiveDataClientConfig, RoutingConfig

from nautilus_ext.simulation import listings as defaults
from nautilus_ext.simulation.market import Kind, Listing, Market


class ListingConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One instrument. What is left out follows from the kind and the base asset (BTC, ETH, SOL).

    Parameters
    ----------
    instrument_id : str
        The id, `SYMBOL.VENUE`.
    kind : "spot" | "linear" | "inverse"
        What is traded: the asset itself, or a perpetual contract settled in the quote or in the base currency.
    base, quote : str, optional
        The currencies; default: what the symbol begins with.
    tick, lot : Decimal, optional
        The increments of prices (quote currency) and sizes (base asset, or contracts).
    spread_ticks : int, optional
        The distance between bid and ask, in ticks.
    depth : Decimal, optional
        The mean size at the best bid and ask, in the unit of `lot`.
    multiplier : Decimal, optional
        What one unit of size stands for, in the base asset (0.01 for a contract of 0.01 BTC); inverse: in the quote.
    maker_fee, taker_fee : Decimal, optional
        Fractions of the notional.

    """

    instrument_id: str
    kind: Kind = "spot"
    base: str | None = None
    quote: str | None = None
    tick: Decimal | None = None
    lot: Decimal | None = None
    spread_ticks: int | None = None
    depth: Decimal | None = None
    multiplier: Decimal | None = None
    maker_fee: Decimal | None = None
    taker_fee: Decimal | None = None

    def __post_init__(self) -> None:
        self.to_listing()  # a ValueError here reaches the reader of the file with its JSON path

    def to_listing(self) -> Listing:
        given = {name: value for name, value in msgspec.structs.asdict(self).items() if value is not None}
        return defaults.listing(**given)


class SimulatedDataClientConfig(LiveDataClientConfig, frozen=True, kw_only=True):
    """Config of the data client that plays the synthetic market.

    Parameters
    ----------
    seed : int
        Determines every price: the same seed gives the same tape.
    interval_ms : int
        Milliseconds between two quotes of an instrument.
    listings : list[ListingConfig], optional
        The instruments; default: eight instruments at the venues SIM1, SIM2 and SIM3.
    routing : RoutingConfig
        By default this client serves every venue that has no data client of its own.

    """

    seed: int = defaults.SEED
    interval_ms: int = defaults.INTERVAL_MS
    listings: list[ListingConfig] | None = None
    routing: RoutingConfig = RoutingConfig(default=True)

    def __post_init__(self) -> None:
        self.to_market()

    def to_market(self) -> Market:
        given = None if self.listings is None else [each.to_listing() for each in self.listings]
        return defaults.default_market(given, seed=self.seed, interval_ms=self.interval_ms)
