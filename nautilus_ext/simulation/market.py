"""The market model: one true price per asset, and each listing quotes around it. Pure: no engine, no clock, no I/O.

What comes out is counted in ticks and lots, so a price is on its grid by construction and no float carries money.
The same market gives the same tape; an asset's path does not depend on which listings quote it.
"""

from __future__ import annotations

import math
import random
from decimal import Decimal
from typing import TYPE_CHECKING, Literal

import msgspec

from nautilus_ext.simulation.regimes import Regime, Weather, problems, venues_at

if TYPE_CHECKING:
    from collections.abc import Iterator

type Kind = Literal["spot", "linear", "inverse"]
KINDS = ("spot", "linear", "inverse")

MODEL_VERSION = 2  # raise it when the same market would give another tape: recorded catalogs are then made anew
INTERVAL_MS_MAX = 60_000
GRID_DIGITS_MAX = 9  # decimal places that every build of the engine can hold
SIZE_MAX = Decimal(10**9)  # of a depth or a multiplier: what every build of the engine can hold, with room
MS_PER_YEAR = 365 * 24 * 3_600 * 1_000
TRADE_PROBABILITY = 0.3  # per listing and step
TRADE_DEPTH_FRACTION = 0.2  # the largest trade, as a part of what the best level shows
BASIS_BPS_MAX = 100.0
BASIS_HALF_LIFE_MS = 60_000  # after so long, half of the distance to the true price is gone


class Asset(msgspec.Struct, frozen=True, kw_only=True):
    """What every listing of one base asset follows."""

    base: str
    price: Decimal  # the first true price, in US dollars
    volatility: float  # standard deviation of the log price, per square root of a year
    drift: float = 0.0  # of the log price, per year


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """One instrument at one venue. Sizes are in the venue's unit: the base asset, or contracts."""

    instrument_id: str
    kind: Kind
    base: str
    quote: str
    tick: Decimal
    lot: Decimal
    spread_ticks: int
    depth: Decimal  # mean size at the best bid and at the best ask
    multiplier: Decimal = Decimal(1)  # what one unit of size stands for: base asset, or quote currency if inverse
    maker_fee: Decimal
    taker_fee: Decimal
    basis_bps: float = 0.0  # how far its price strays from the true one, to and fro: standard deviation, in 1/10,000

    def __post_init__(self) -> None:
        numbers = (self.tick, self.lot, self.depth, self.multiplier, self.maker_fee, self.taker_fee)
        if not all(number.is_finite() for number in numbers):  # no comparison with NaN says anything
            raise ValueError(f"listing {self.instrument_id!r}: every number must be finite")
        wrong = [
            text
            for text, holds in (
                ("instrument_id must read SYMBOL.VENUE", _is_instrument_id(self.instrument_id)),
                (f"kind must be one of {', '.join(KINDS)}", self.kind in KINDS),
                (f"tick must be above 0 with at most {GRID_DIGITS_MAX} decimals", _is_grid(self.tick)),
                (f"lot must be above 0 with at most {GRID_DIGITS_MAX} decimals", _is_grid(self.lot)),
                ("spread_ticks must be at least 1", self.spread_ticks >= 1),
                (f"depth must be between one lot and {SIZE_MAX}", self.lot <= self.depth <= SIZE_MAX),
                (f"multiplier must be above 0 with at most {GRID_DIGITS_MAX} decimals", _is_grid(self.multiplier)),
                (f"basis_bps must be between 0 and {BASIS_BPS_MAX:g}", 0 <= self.basis_bps <= BASIS_BPS_MAX),
                ("base and quote must be currency codes", _is_code(self.base) and _is_code(self.quote)),
                ("a fee is a fraction of the notional, between -0.1 and 0.1", self._fees_are_fractions()),
            )
            if not holds
        ]
        if wrong:
            raise ValueError(f"listing {self.instrument_id!r}: {'; '.join(wrong)}")

    def _fees_are_fractions(self) -> bool:
        return all(abs(fee) <= Decimal("0.1") for fee in (self.maker_fee, self.taker_fee))


class Market(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):  # so that it is encoded as ever
    """Everything that determines a tape."""

    seed: int
    interval_ms: int  # between two quotes of a listing
    listings: tuple[Listing, ...]
    assets: tuple[Asset, ...]
    regimes: tuple[Regime, ...] = ()

    def __post_init__(self) -> None:
        ids = [listing.instrument_id for listing in self.listings]
        twice = sorted({name for name in ids if ids.count(name) > 1})
        prices = {asset.base: asset.price for asset in self.assets}
        priceless = sorted({listing.base for listing in self.listings} - prices.keys())
        if not ids:
            raise ValueError("a market needs at least one listing")
        if twice:
            raise ValueError(f"listed twice: {', '.join(twice)}; remove one of each")
        if priceless:
            raise ValueError(f"no price model for {', '.join(priceless)}; add an asset of that name")
        wide = [each.instrument_id for each in self.listings if each.tick * each.spread_ticks > prices[each.base] / 2]
        if wide:
            raise ValueError(f"the spread is above half the price: {', '.join(wide)}; lower tick or spread_ticks")
        if not 1 <= self.interval_ms <= INTERVAL_MS_MAX:
            raise ValueError(f"interval_ms is {self.interval_ms}; it must be between 1 and {INTERVAL_MS_MAX} ms")
        venues = {venue_of(name) for name in ids}
        wrong = list(problems(self.regimes, prices.keys(), venues, self.interval_ms))
        if wrong:
            raise ValueError("; ".join(wrong))


class Quote(msgspec.Struct, frozen=True):
    """The best bid and ask of a listing, in its ticks and lots."""

    instrument_id: str
    bid_ticks: int
    ask_ticks: int
    bid_lots: int
    ask_lots: int


class Trade(msgspec.Struct, frozen=True):
    """One trade of strangers at a listing, at the best bid or ask of the moment."""

    instrument_id: str
    price_ticks: int
    lots: int
    buyer_is_aggressor: bool


class Step(msgspec.Struct, frozen=True):
    """One moment of the market: `number` intervals after its start.

    A listing whose venue is stale or halted has no quote and no trade in it: look quotes up by instrument id.
    """

    number: int
    quotes: tuple[Quote, ...]
    trades: tuple[Trade, ...]
    prices: dict[str, float]  # the true price of each asset: what a market is continued from
    stale: tuple[str, ...] = ()  # venues
    halted: tuple[str, ...] = ()


class Begin(msgspec.Struct, frozen=True):
    """Where a market goes on that was left: the number of its next step, and the true prices it had."""

    number: int
    prices: dict[str, float]  # an asset that is not in it begins at its own price


def tape(market: Market, begin: Begin | None = None) -> Iterator[Step]:
    """Endless: the reader decides where to stop, and what time a step has.

    A market that is continued takes the same time whatever the number: chance is seeded anew by the number, so that
    it is another tape than the one left, and the same for everyone who continues there.
    """
    number = 0 if begin is None else begin.number
    seed = f"{market.seed}" if begin is None else f"{market.seed}@{begin.number}"
    paths = {asset.base: _path(asset, market, seed, begin) for asset in market.assets}
    quoters = [_Quoter(listing, seed, market.interval_ms) for listing in market.listings]
    while True:
        prices = {base: next(path) for base, path in paths.items()}
        quotes = tuple(quoter.quote(prices[quoter.listing.base]) for quoter in quoters)
        trades = (quoter.trade(quote) for quoter, quote in zip(quoters, quotes, strict=True))
        step = Step(number, quotes, tuple(trade for trade in trades if trade is not None), prices)
        yield _without_silent_venues(step, market) if market.regimes else step
        number += 1


def _without_silent_venues(step: Step, market: Market) -> Step:
    """Chance was asked for them all the same: afterwards every listing goes on as if nothing had been."""
    at_ms = step.number * market.interval_ms
    stale, halted = (venues_at(market.regimes, kind, at_ms) for kind in ("stale", "halted"))
    silent = {*stale, *halted}
    quotes = tuple(quote for quote in step.quotes if venue_of(quote.instrument_id) not in silent)
    trades = tuple(trade for trade in step.trades if venue_of(trade.instrument_id) not in silent)
    return Step(step.number, quotes, trades, step.prices, stale, halted)


def _path(asset: Asset, market: Market, seed: str, begin: Begin | None) -> Iterator[float]:
    """The true price: a random walk of its logarithm, so it stays above zero."""
    rng = random.Random(f"{seed}:{asset.base}")  # noqa: S311 - a reproducible price path, not a secret
    years = market.interval_ms / MS_PER_YEAR
    drift, sigma = asset.drift * years, asset.volatility * math.sqrt(years)
    weather = Weather(market.regimes, asset.base, market.interval_ms)
    number, log_price = 0, math.log(asset.price)
    if begin is not None:
        number, log_price = begin.number, math.log(begin.prices.get(asset.base, asset.price))
    while True:
        log_price += weather.gap(number)
        yield math.exp(log_price)
        factor, trend = weather.factor_and_drift(number)
        log_price += rng.gauss(drift + trend, sigma * factor)
        number += 1


def _basis(listing: Listing, seed: str, interval_ms: int) -> Iterator[float]:
    """What the true price is multiplied with at this listing: strays, and comes back."""
    rng = random.Random(f"{seed}:{listing.instrument_id}:basis")  # noqa: S311 - a reproducible price, not a secret
    sigma = listing.basis_bps / 10_000
    kept = 0.5 ** (interval_ms / BASIS_HALF_LIFE_MS)
    strays = sigma * math.sqrt(1 - kept * kept)
    away = rng.gauss(0.0, sigma)
    while True:
        yield 1.0 + away
        away = away * kept + rng.gauss(0.0, strays)


class _Quoter:
    """Puts one listing's grid, spread and sizes around the true price."""

    def __init__(self, listing: Listing, seed: str, interval_ms: int) -> None:
        self.listing = listing
        self._basis = _basis(listing, seed, interval_ms)
        self._rng = random.Random(f"{seed}:{listing.instrument_id}")  # noqa: S311 - reproducible sizes, not a secret
        self._ticks_per_unit = 1.0 / float(listing.tick)
        self._depth_lots = float(listing.depth / listing.lot)

    def quote(self, price: float) -> Quote:
        mid_ticks = price * next(self._basis) * self._ticks_per_unit
        bid = max(1, math.floor(mid_ticks - self.listing.spread_ticks / 2))
        return Quote(self.listing.instrument_id, bid, bid + self.listing.spread_ticks, self._size(), self._size())

    def trade(self, quote: Quote) -> Trade | None:
        if self._rng.random() >= TRADE_PROBABILITY:
            return None
        buyer = self._rng.random() < 0.5  # noqa: PLR2004 - a fair coin
        lots = max(1, int(self._depth_lots * self._rng.random() * TRADE_DEPTH_FRACTION))
        return Trade(quote.instrument_id, quote.ask_ticks if buyer else quote.bid_ticks, lots, buyer)

    def _size(self) -> int:
        return max(1, int(self._depth_lots * self._rng.uniform(0.5, 1.5)))


def venue_of(instrument_id: str) -> str:
    return instrument_id.rpartition(".")[2]


def _is_instrument_id(text: str) -> bool:
    symbol, _, venue = text.rpartition(".")
    return bool(symbol and venue) and text.isascii() and text.isprintable() and " " not in text


def _is_code(text: str) -> bool:
    return text.isascii() and text.isalnum()


def _is_grid(increment: Decimal) -> bool:
    return 0 < increment <= SIZE_MAX and decimal_places(increment) <= GRID_DIGITS_MAX


def decimal_places(increment: Decimal) -> int:
    """0.10 has one: trailing zeros say nothing about the grid."""
    return max(0, -int(increment.normalize().as_tuple().exponent))
