"""What a config trades, as far as the file alone says it: listings without a venue, accounts, strategies."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from nautilus_ext.app.doctor_rules import Account
from nautilus_ext.errors import ConfigError, Problem
from nautilus_ext.instruments import CanonicalId, parse
from nautilus_ext.instruments.symbols import canonical_venue, from_nautilus, to_nautilus
from nautilus_ext.risk.facts import Listing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nautilus_ext.config import Config

INSTRUMENT = re.compile(r"(?P<id>[^\s:]*[A-Za-z][^\s:]*\.(?P<venue>[A-Z][A-Z0-9_]*))(?:-\d+-[A-Z_]+-[A-Z_]+\S*)?")
_INVERSE = "INV"


class Trader(msgspec.Struct, frozen=True, kw_only=True):
    """A strategy of the file, what its config names, and what it claims at the start."""

    path: str
    strategy_id: str
    instruments: tuple[str, ...]
    claims: tuple[str, ...] | None  # None: its config has no such field


def listing_of(text: str, venues: Sequence[str] = ()) -> tuple[Listing, list[str]]:
    """What an InstrumentId or a canonical id tells of its instrument, and what it does not tell.

    `venues` are those of the file: Nautilus's name of a venue is not always the one in a canonical id.
    """
    if text.count(":") >= 2:  # noqa: PLR2004 - a canonical id has two colons at least
        canonical = parse(text)
        return _listing(_named(canonical, venues), canonical), []
    symbol, _, venue = text.rpartition(".")
    if not (symbol and venue and text.isprintable()):
        cure = f"{text!a} names no instrument: write SYMBOL.VENUE, like BTCUSDT.BINANCE_SPOT, or a canonical id"
        raise ConfigError("command line", [Problem("--explain", cure)])
    try:
        return _listing(text, from_nautilus(symbol, venue)), []
    except ConfigError:
        unknown = "its base asset, currency and canonical id: only the loaded instrument has them, not its symbol"
        return Listing(instrument_id=text, venue=venue, asset="", quote=""), [unknown]


def _named(canonical: CanonicalId, venues: Sequence[str]) -> str:
    name = to_nautilus(canonical)
    same = [venue for venue in venues if canonical_venue(venue, canonical.type) == canonical.venue]
    return f"{name.symbol}.{same[0]}" if same and name.venue not in venues else str(name)


def _listing(instrument_id: str, canonical: CanonicalId) -> Listing:
    return Listing(
        instrument_id=instrument_id,
        venue=instrument_id.rpartition(".")[2],
        asset=canonical.base or "",
        quote=canonical.quote or "",
        canonical_id=str(canonical),
        is_inverse=canonical.chain == _INVERSE,
    )


def traders_of(config: Config) -> list[Trader]:
    """The strategies, under the ids that Nautilus gives them."""
    found = []
    for index, entry in enumerate(config.tree.get("strategies", [])):
        settings = entry.get("config", {})
        name = settings.get("strategy_id") or entry["strategy_path"].rpartition(":")[2]
        claims = settings.get("external_order_claims")
        found.append(
            Trader(
                path=f"strategies[{index}]",
                strategy_id=f"{name}-{settings.get('order_id_tag') or f'{index:03d}'}",
                instruments=tuple(dict.fromkeys(_instruments_in(settings))),
                claims=tuple(claims or ()),
            )
        )
    return found


def _instruments_in(value: Any) -> Iterator[str]:
    """Whatever looks like an InstrumentId or a bar type, keys included."""
    if isinstance(value, str):
        found = INSTRUMENT.fullmatch(value)
        if found:
            yield found["id"]
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _instruments_in(key)
            yield from _instruments_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from _instruments_in(item)


def accounts_of(config: Config) -> list[Account]:
    """The accounts of this world: of the clients, or in a backtest of its venues."""
    if config.world == "backtest":
        venues = config.suite.backtest.venues if config.suite.backtest else []
        return [
            Account(
                path=f"backtest.venues[{index}]",
                venue=str(venue.get("name")),
                kind=str(venue.get("account_type")),
                ignores_reduce_only=venue.get("use_reduce_only", True) is False,
            )
            for index, venue in enumerate(venues)
        ]
    return [
        Account(
            path=f"exec_clients.{spec.name}",
            venue=str(spec.config.get("venue") or spec.name),
            kind=_kind(spec.config, spec.config_class.__name__),
            ignores_reduce_only=spec.config.get("use_reduce_only", True) is False,
        )
        for spec in config.exec_clients
    ]


_KINDS = {
    **dict.fromkeys(("ArchitectAx", "Bitmex", "BitMEX", "Deribit", "Dydx", "DYDX", "Hyperliquid"), "MARGIN"),
    "InteractiveBrokers": "MARGIN",
    "Betfair": "BETTING",
    "Polymarket": "CASH",
}


def _kind(settings: dict[str, Any], name: str) -> str:
    """As Nautilus's adapters decide it (1.231): spot alone is cash, all else of a crypto venue is margin."""
    given = settings.get("account_type")
    spots = {
        "Binance": given in (None, "SPOT"),
        "Bybit": settings.get("product_types") == ["SPOT"],
        "OKX": settings.get("instrument_types", ["SPOT"]) == ["SPOT"] and not settings.get("use_spot_margin"),
    }
    for start, is_spot in spots.items():
        if name.startswith(start):
            return "CASH" if is_spot else "MARGIN"
    known = next((kind for start, kind in _KINDS.items() if name.startswith(start)), "")
    return known or (given if given in ("CASH", "MARGIN", "BETTING") else "")
