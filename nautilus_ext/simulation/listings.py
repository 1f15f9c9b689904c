"""What an instrument looks like when a config names only its id and kind, and the market to start on. Pure."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec

from nautilus_ext.simulation.market import Asset, Listing, Market

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nautilus_ext.simulation.market import Kind
    from nautilus_ext.simulation.regimes import Regime

SEED = 7
INTERVAL_MS = 100

ASSETS = (
    Asset(base="BTC", price=Decimal(60_000), volatility=0.6),
    Asset(base="ETH", price=Decimal(3_000), volatility=0.75),
    Asset(base="SOL", price=Decimal(150), volatility=0.9),
)
BASES = tuple(asset.base for asset in ASSETS)
QUOTES = ("USDT", "USDC", "USD")  # USD last: it begins the others
INVERSE_DEPTH = Decimal(100_000)  # contracts of one US dollar

FEES = {  # maker, taker: fractions of the notional
    "spot": (Decimal("0.001"), Decimal("0.001")),
    "linear": (Decimal("0.0002"), Decimal("0.0005")),
    "inverse": (Decimal("0.0002"), Decimal("0.0005")),
}
BASIS_BPS = {"spot": 0.5, "linear": 1.0, "inverse": 1.5}


class Shape(msgspec.Struct, frozen=True):
    """The grid and the liquidity of a listing."""

    tick: Decimal
    lot: Decimal
    spread_ticks: int
    depth: Decimal


SHAPES = {
    ("BTC", "spot"): Shape(Decimal("0.01"), Decimal("0.00001"), 100, Decimal(2)),
    ("ETH", "spot"): Shape(Decimal("0.01"), Decimal("0.0001"), 10, Decimal(40)),
    ("SOL", "spot"): Shape(Decimal("0.01"), Decimal("0.001"), 2, Decimal(800)),
    ("BTC", "linear"): Shape(Decimal("0.1"), Decimal("0.001"), 5, Decimal(5)),
    ("ETH", "linear"): Shape(Decimal("0.01"), Decimal("0.001"), 8, Decimal(100)),
    ("SOL", "linear"): Shape(Decimal("0.01"), Decimal("0.1"), 1, Decimal(2_000)),
    ("BTC", "inverse"): Shape(Decimal("0.1"), Decimal(1), 10, INVERSE_DEPTH),
    ("ETH", "inverse"): Shape(Decimal("0.01"), Decimal(1), 10, INVERSE_DEPTH),
    ("SOL", "inverse"): Shape(Decimal("0.01"), Decimal(1), 2, INVERSE_DEPTH),
}


def listing(instrument_id: str, kind: Kind, **given: Any) -> Listing:
    """A complete listing; what is not given follows from the kind and the base asset."""
    guessed_base, guessed_quote = currencies(instrument_id)
    base, quote = given.pop("base", guessed_base), given.pop("quote", guessed_quote)
    if base not in BASES or quote is None:
        raise ValueError(
            f"listing {instrument_id!r}: base {base!r} and quote {quote!r} are what its symbol gives; "
            f"set base to one of {', '.join(BASES)} and quote to a currency"
        )
    maker_fee, taker_fee = FEES[kind]
    shape = msgspec.structs.asdict(SHAPES[base, kind])
    values = {"maker_fee": maker_fee, "taker_fee": taker_fee, "basis_bps": BASIS_BPS[kind], **shape, **given}
    return Listing(instrument_id=instrument_id, kind=kind, base=base, quote=quote, **values)


def currencies(instrument_id: str) -> tuple[str | None, str | None]:
    """Base and quote as the symbol begins with them: BTCUSDT-LINEAR.BYBIT and BTC-USDT-SWAP.OKX give BTC and USDT."""
    symbol = instrument_id.rpartition(".")[0]
    base = next((name for name in BASES if symbol.startswith(name)), None)
    rest = symbol.removeprefix(base or "").lstrip("-/_")
    return base, next((name for name in QUOTES if rest.startswith(name)), None)


def default_market(
    listings: Sequence[Listing] | None = None,
    *,
    seed: int = SEED,
    interval_ms: int = INTERVAL_MS,
    regimes: Sequence[Regime] = (),
) -> Market:
    """A market of the known assets on these listings."""
    chosen = default_listings() if listings is None else tuple(listings)
    return Market(seed=seed, interval_ms=interval_ms, listings=chosen, assets=ASSETS, regimes=tuple(regimes))


def default_listings() -> tuple[Listing, ...]:
    """Three venues: one for spot only, one for both, one for derivatives only."""
    return (
        listing("BTCUSDT.SIM1", "spot"),
        listing("ETHUSDT.SIM1", "spot"),
        listing("BTCUSDT.SIM2", "spot", spread_ticks=140, depth=Decimal(1)),
        listing("BTCUSDT-PERP.SIM2", "linear"),
        listing("ETHUSDT-PERP.SIM2", "linear"),
        listing("BTCUSDT-PERP.SIM3", "linear", spread_ticks=9, depth=Decimal(3)),
        listing("BTCUSD-PERP.SIM3", "inverse"),
        listing("SOLUSDT-PERP.SIM3", "linear"),
    )
