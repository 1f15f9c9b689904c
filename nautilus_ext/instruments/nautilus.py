"""From Nautilus's instruments to canonical ids and back."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
from nautilus_trader.model.enums import AssetClass, OptionKind, asset_class_to_str
from nautilus_trader.model.identifiers import InstrumentId, Symbol, Venue

from nautilus_ext.errors import ConfigError
from nautilus_ext.instruments.canonical import (
    FORMS,
    WHOLE_SYMBOL,
    CanonicalId,
    encode_part,
    encode_symbol,
    fault,
    strike_part,
)
from nautilus_ext.instruments.symbols import canonical_venue, to_nautilus

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from nautilus_trader.model.instruments import Instrument

    type Builder = Callable[[Any], CanonicalId]

_OPTION_ROOTS = (
    re.compile(r"(?P<root>[A-Z0-9.]{1,6}) *\d{6}[CP]\d{8}"),  # SPXW  260313P06630000
    re.compile(r"[CP] (?P<root>\S+) \d{8} \d+(?:\.\d+)?"),  # C OESX 20260213 4775
    re.compile(r"(?P<root>\S+?)[FGHJKMNQUVXZ]\d{1,2} [CP]\d+(?:\.\d+)?"),  # ESM3 C4420
)
_FUTURE_ROOTS = (
    re.compile(r"(?P<root>\S+?)[FGHJKMNQUVXZ]\d{1,4}"),  # ESZ1, ESZ21
    re.compile(r"\S+ (?P<root>\S+) \d{8}"),  # ESTX50 FESX 20240315
)
_NS_PER_S = 1_000_000_000


def canonical_of(instrument: Instrument) -> CanonicalId:
    """The canonical id of an instrument; ConfigError when it has none."""
    name = type(instrument).__name__
    build = _BUILDERS.get(name)
    if build is None:
        raise fault(str(instrument.id), "TYPE", f"an instrument of class {name} has no canonical form")
    return build(instrument)


def describe(instrument: Instrument, external_venues: Collection[str]) -> dict[str, Any]:
    """The body of an `Instrument` record. Without a canonical id it says in `reason` why."""
    canonical, reason = None, None
    try:
        canonical = canonical_of(instrument)
    except ConfigError as error:
        reason = str(error)
    venue = instrument.id.venue.value
    quote = _code(getattr(instrument, "quote_currency", None))
    return {
        "instrument_id": instrument.id.value,
        "canonical_id": str(canonical) if canonical else None,
        "asset_key": canonical.asset_key if canonical else None,
        "reason": reason,
        "venue": venue,
        "venue_type": "EXTERNAL_SDK" if venue in external_venues else "NAUTILUS",
        "instrument_type": type(instrument).__name__,
        "base_asset": _base_asset(instrument, canonical),
        "quote_currency": quote,
        "settlement_currency": _code(getattr(instrument, "settlement_currency", None)) or quote,
        "is_inverse": bool(getattr(instrument, "is_inverse", False)),
        "multiplier": str(getattr(instrument, "multiplier", 1)),
        "price_precision": instrument.price_precision,
        "size_precision": getattr(instrument, "size_precision", 0),
        "definition": _definition(instrument),
    }


class InstrumentIndex:
    """The known instruments by their canonical ids, as `cache.instruments()` gave them: it follows no later change."""

    def __init__(self, instruments: Iterable[Instrument]) -> None:
        self._ids: dict[tuple[str, str], list[InstrumentId]] = {}
        for instrument in instruments:
            with suppress(ConfigError):  # without a canonical id it cannot be asked for
                canonical = canonical_of(instrument)
                self._ids.setdefault((canonical.venue, canonical.asset_key), []).append(instrument.id)

    def find(self, canonical: CanonicalId) -> InstrumentId | None:
        """Find the known instrument, or None; ConfigError when two are known by this id."""
        found = self._ids.get((canonical.venue, canonical.asset_key), [])
        if len(found) > 1:
            raise fault(str(canonical), "id", f"it names {' and '.join(map(str, found))}: use the id of one of them")
        return found[0] if found else None


def instrument_id_of(canonical: CanonicalId, index: InstrumentIndex) -> InstrumentId:
    """The known instrument, else what the venue's own rule makes of it; ConfigError where there is neither."""
    known = index.find(canonical)
    if known is not None:
        return known
    name = to_nautilus(canonical)
    return InstrumentId(Symbol(name.symbol), Venue(name.venue))


def _make(instrument: Instrument, kind: str, payload: str, chain: str | None = None) -> CanonicalId:
    asset_class = _asset_class(instrument, kind)
    venue = encode_symbol(canonical_venue(instrument.id.venue.value, kind))
    return CanonicalId(asset_class=asset_class, venue=venue, type=kind, payload=payload, chain=chain)


def _asset_class(instrument: Instrument, kind: str) -> str | None:
    """Nautilus's class, where the type does not say it. A pair of currencies says all by itself."""
    if kind in {"SPOT_PAIR", "SYNTHETIC", "POOL"}:
        return None
    name = asset_class_to_str(instrument.asset_class)
    name = "CRYPTO" if instrument.asset_class == AssetClass.CRYPTOCURRENCY else name
    return None if name in FORMS[kind].implied else name


def _pair(base: str, quote: str) -> str:
    return f"{encode_part(base)}-{encode_part(quote)}"


def _by_symbol(kind: str) -> Builder:
    return lambda instrument: _make(instrument, kind, encode_symbol(instrument.id.symbol.value))


def _listed(kind: str) -> Builder:
    return lambda instrument: _make(instrument, kind, _pair(instrument.id.symbol.value, instrument.quote_currency.code))


def _cfd(instrument: Any) -> CanonicalId:
    """A pair where the symbol is just that (AUDUSD, AUD/USD), else the symbol: XAUUSDm is no XAU-USD."""
    symbol, base, quote = instrument.id.symbol.value, _code(instrument.base_currency), instrument.quote_currency.code
    if base and re.sub(r"[^A-Za-z0-9]", "", symbol) == f"{base}{quote}":
        return _make(instrument, "CFD", _pair(base, quote))
    return _make(instrument, "CFD", f"{WHOLE_SYMBOL}{_pair(symbol, quote)}")


def _currency_pair(instrument: Any) -> CanonicalId:
    """A pair, or a pool of a decentralised exchange, which Nautilus names `0xC31E….Arbitrum:UniswapV3`."""
    pair = _pair(instrument.base_currency.code, instrument.quote_currency.code)
    chain, colon, exchange = instrument.id.venue.value.partition(":")
    if not colon:
        return _make(instrument, "SPOT_PAIR", pair)
    payload = f"{pair}-{encode_part(instrument.id.symbol.value)}"
    return CanonicalId(venue=encode_symbol(exchange), type="POOL", payload=payload, chain=encode_symbol(chain))


def _tokenized(instrument: Any) -> CanonicalId:
    return _make(instrument, "TOKENIZED", _pair(instrument.base_currency.code, instrument.quote_currency.code))


def _perpetual(instrument: Any) -> CanonicalId:
    base, quote = _code(instrument.base_currency) or instrument.underlying, instrument.quote_currency.code
    chain = _settlement(base, quote, instrument.settlement_currency.code, inverse=instrument.is_inverse)
    return _make(instrument, "PERPETUAL", _pair(base, quote), chain)


def _crypto_future(instrument: Any) -> CanonicalId:
    base, quote = instrument.underlying.code, instrument.quote_currency.code
    chain = _settlement(base, quote, instrument.settlement_currency.code, inverse=instrument.is_inverse)
    return _make(instrument, "FUTURE", f"{_pair(base, quote)}-{_expiry(instrument)}", chain)


def _crypto_option(instrument: Any) -> CanonicalId:
    """Of an option whose premium is in its coin the strike is in US dollars, and INV goes without saying for those."""
    base, quote = instrument.underlying.code, instrument.quote_currency.code
    quote = "USD" if quote == base else quote
    settled = instrument.settlement_currency.code
    chain = _settlement(base, quote, settled, inverse=instrument.is_inverse and settled != quote)
    if quote == "USD":
        chain = {"INV": None, None: "LIN"}.get(chain, chain)
    return _make(instrument, "OPTION", _option(encode_part(base), quote, instrument), chain)


def _future(instrument: Any) -> CanonicalId:
    root = _root(_FUTURE_ROOTS, instrument.id.symbol.value)
    quote = encode_part(instrument.quote_currency.code)
    return _make(instrument, "FUTURE", f"{root}-{quote}-{_expiry(instrument)}")


def _listed_option(instrument: Any) -> CanonicalId:
    root = _root(_OPTION_ROOTS, instrument.id.symbol.value)
    return _make(instrument, "OPTION", _option(root, instrument.quote_currency.code, instrument))


def _settlement(base: str, quote: str, settled: str, *, inverse: bool) -> str | None:
    """What stands after the @: nothing when paid in the quote currency, INV when in the base, else the currency."""
    if settled == base and base != quote:
        return "INV"
    if inverse:
        return f"INV-{encode_part(settled)}"
    return None if settled == quote else f"SETTLED-{encode_part(settled)}"


def _option(root: str, quote: str, instrument: Any) -> str:
    kind = "C" if instrument.option_kind == OptionKind.CALL else "P"
    strike = strike_part(instrument.strike_price.as_decimal())
    return f"{root}-{encode_part(quote)}-{strike}-{_expiry(instrument)}-{kind}"


def _root(patterns: tuple[re.Pattern[str], ...], symbol: str) -> str:
    """The venue's root, not the underlying: SPX and SPXW share an underlying, a day and their strikes."""
    for pattern in patterns:
        if found := pattern.fullmatch(symbol):
            return encode_part(found["root"])
    return WHOLE_SYMBOL + encode_part(symbol)


def _expiry(instrument: Any) -> str:
    if instrument.expiration_ns <= 0:
        raise fault(str(instrument.id), "PAYLOAD", "the instrument has no expiration date")
    return f"{datetime.fromtimestamp(instrument.expiration_ns // _NS_PER_S, tz=UTC):%Y%m%d}"


def _code(currency: Any) -> str | None:
    return None if currency is None else currency.code


def _base_asset(instrument: Any, canonical: CanonicalId | None) -> str | None:
    for asset in (getattr(instrument, "base_currency", None), getattr(instrument, "underlying", None)):
        if asset:
            return getattr(asset, "code", asset)
    return canonical.base if canonical else None


def _definition(instrument: Any) -> dict[str, Any]:
    """Nautilus's own form; a venue's extra information goes without saying when it is no JSON."""
    definition = type(instrument).to_dict(instrument)
    try:
        msgspec.json.encode(definition)
    except (TypeError, ValueError):
        return definition | {"info": None}
    return definition


_BUILDERS: dict[str, Builder] = {
    "CurrencyPair": _currency_pair,
    "TokenizedAsset": _tokenized,
    "CryptoPerpetual": _perpetual,
    "PerpetualContract": _perpetual,
    "CryptoFuture": _crypto_future,
    "CryptoOption": _crypto_option,
    "FuturesContract": _future,
    "OptionContract": _listed_option,
    "FuturesSpread": _by_symbol("FUTURE_COMBO"),
    "CryptoFuturesSpread": _by_symbol("FUTURE_COMBO"),
    "OptionSpread": _by_symbol("OPTION_COMBO"),
    "CryptoOptionSpread": _by_symbol("OPTION_COMBO"),
    "BinaryOption": _by_symbol("BINARY"),
    "BettingInstrument": _by_symbol("BETTING"),
    "SyntheticInstrument": _by_symbol("SYNTHETIC"),
    "Equity": _listed("EQUITY"),
    "IndexInstrument": _listed("INDEX"),
    "Commodity": _listed("COMMODITY"),
    "Cfd": _cfd,
}
