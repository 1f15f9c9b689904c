"""From canonical ids to Nautilus's symbols and venues and back, where that needs no instrument. Pure.

A rule of a venue is trusted only both ways: its symbol is read back, and one that means something else is refused.
"""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import unquote

from nautilus_ext.errors import ConfigError, Problem
from nautilus_ext.instruments.canonical import CanonicalId, encode_symbol, fault
from nautilus_ext.instruments.venue_rules import rule_of

BINANCE_MARKETS = {"BINANCE_SPOT": "BINANCE-SPOT", "BINANCE_FUTURES": "BINANCE-FUTURES"}

_SYMBOL_IS_BASE = ("EQUITY", "INDEX", "COMMODITY")
_SYMBOL_IS_PAYLOAD = ("FUTURE_COMBO", "OPTION_COMBO", "BINARY", "BETTING", "SYNTHETIC")


class NautilusName(NamedTuple):
    """The two halves of an InstrumentId."""

    symbol: str
    venue: str

    def __str__(self) -> str:
        return f"{self.symbol}.{self.venue}"


def from_nautilus(symbol: str, venue: str) -> CanonicalId:
    """Say what a symbol means at a Nautilus venue; ConfigError where it does not tell."""
    rule = rule_of(BINANCE_MARKETS.get(venue, venue))
    meaning = rule.read(symbol) if rule and symbol.isascii() else None
    if meaning is None or not _is_traded_at(venue, meaning.type):
        name = NautilusName(symbol, venue)
        raise ConfigError(
            f"instrument {str(name)!a}",
            [Problem("symbol", f"what it is does not follow from its symbol at {venue}: load the instrument")],
        )
    return CanonicalId(
        venue=encode_symbol(canonical_venue(venue, meaning.type)),
        type=meaning.type,
        payload=meaning.payload,
        chain=meaning.chain,
    )


def to_nautilus(canonical: CanonicalId) -> NautilusName:
    """Nautilus's name of an instrument that nobody has loaded; ConfigError where the id does not tell."""
    name = _written_inside(canonical) or _by_rule(canonical)
    if not all(text.isascii() and text.isprintable() and text.strip() for text in name):
        raise fault(str(canonical), "PAYLOAD", f"{str(name)!a} is no plain text that Nautilus takes as an id")
    return name


def deribit_symbol(canonical: CanonicalId) -> str:
    """Deribit's instrument_name: BTC-PERPETUAL, BTC_USDC-PERPETUAL, BTC-31DEC24-50000-C."""
    if canonical.venue != "DERIBIT":
        raise fault(str(canonical), "VENUE", f"{canonical.venue!r} is not DERIBIT")
    return to_nautilus(canonical).symbol


def canonical_venue(venue: str, kind: str) -> str:
    """Nautilus has one venue BINANCE for two markets; everything else keeps its name."""
    if venue == "BINANCE":
        return "BINANCE-SPOT" if kind == "SPOT_PAIR" else "BINANCE-FUTURES"
    return BINANCE_MARKETS.get(venue, venue)


def _is_traded_at(venue: str, kind: str) -> bool:
    """Say whether a market of Binance trades this type; where it is not Binance every type fits."""
    market = BINANCE_MARKETS.get(venue, venue)
    return market not in BINANCE_MARKETS.values() or market == canonical_venue("BINANCE", kind)


def _written_inside(canonical: CanonicalId) -> NautilusName | None:
    """Where the payload holds the whole symbol there is nothing to guess."""
    venue, parts = unquote(canonical.venue), canonical.parts
    if canonical.type == "POOL" and canonical.chain is not None:
        return NautilusName(parts[2], f"{unquote(canonical.chain)}:{venue}")
    if canonical.type in _SYMBOL_IS_PAYLOAD or canonical.type in _SYMBOL_IS_BASE:
        return NautilusName(parts[0], venue)
    return NautilusName(canonical.base or "", venue) if canonical.has_whole_symbol else None


def _by_rule(canonical: CanonicalId) -> NautilusName:
    rule = rule_of(canonical.venue)
    symbol = rule.write(canonical) if rule and canonical.quote is not None else None
    if symbol is None:
        message = f"the symbol at {canonical.venue} does not follow from it: load the instrument"
        raise fault(str(canonical), "PAYLOAD", message)
    venue = "BINANCE" if canonical.venue in BINANCE_MARKETS.values() else canonical.venue
    meant = from_nautilus(symbol, venue)
    if (meant.venue, meant.asset_key) != (canonical.venue, canonical.asset_key):
        raise fault(str(canonical), "PAYLOAD", f"{canonical.venue} has no symbol for it: {symbol} means {meant}")
    return NautilusName(symbol, venue)
