"""The canonical id `[ASSET_CLASS:]VENUE:TYPE:PAYLOAD[@CHAIN]` and its asset key: the id without the venue. Pure.

Every value that exists is well formed: whoever builds one in code meets the same rules as an operator who types one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, unquote

from nautilus_ext.errors import ConfigError, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from decimal import Decimal

FORM = "[ASSET_CLASS:]VENUE:TYPE:PAYLOAD[@CHAIN]"
TEXT_MAX = 255  # characters
WHOLE_SYMBOL = "~"  # before a base that is the venue's whole symbol

ASSET_CLASSES = ("CRYPTO", "FX", "EQUITY", "COMMODITY", "DEBT", "INDEX", "ALTERNATIVE", "SPORTS", "DEFI")

_MARKED = ("FUTURE", "OPTION", "CFD")
_PLAIN = "/$+&=!*"  # left as they are beside letters, digits and . _
_DATE = re.compile(r"[0-9]{8}")
_STRIKE = re.compile(r"(?:%2D)?(?:0|[1-9][0-9]*)(?:\.[0-9]*[1-9])?")


class Form(NamedTuple):
    """A type's payload: the names of its parts (none: the venue's symbol), and the classes that go without saying."""

    parts: tuple[str, ...]
    implied: tuple[str, ...]
    example: str


_CRYPTO = ("CRYPTO",)
FORMS = {
    "SPOT_PAIR": Form(("BASE", "QUOTE"), ("CRYPTO", "FX"), "BINANCE-SPOT:SPOT_PAIR:BTC-USDT"),
    "PERPETUAL": Form(("BASE", "QUOTE"), _CRYPTO, "BINANCE-FUTURES:PERPETUAL:BTC-USDT"),
    "FUTURE": Form(("BASE", "QUOTE", "YYYYMMDD"), _CRYPTO, "DERIBIT:FUTURE:BTC-USD-20241227@INV"),
    "OPTION": Form(("BASE", "QUOTE", "STRIKE", "YYYYMMDD", "C|P"), _CRYPTO, "DERIBIT:OPTION:BTC-USD-50000-20241231-C"),
    "FUTURE_COMBO": Form((), _CRYPTO, "DERIBIT:FUTURE_COMBO:BTC-FS-27DEC24_PERP"),
    "OPTION_COMBO": Form((), _CRYPTO, "DERIBIT:OPTION_COMBO:BTC-CS-27DEC24-70000_75000"),
    "EQUITY": Form(("BASE", "QUOTE"), ("EQUITY",), "XNAS:EQUITY:AAPL-USD"),
    "INDEX": Form(("BASE", "QUOTE"), ("INDEX",), "CBOE:INDEX:SPX-USD"),
    "COMMODITY": Form(("BASE", "QUOTE"), ("COMMODITY",), "NYMEX:COMMODITY:CL-USD"),
    "TOKENIZED": Form(("BASE", "QUOTE"), _CRYPTO, "EQUITY:KRAKEN:TOKENIZED:AAPLx-USD"),
    "CFD": Form(("BASE", "QUOTE"), _CRYPTO, "FX:OANDA:CFD:AUD-USD"),
    "BINARY": Form((), _CRYPTO, "ALTERNATIVE:POLYMARKET:BINARY:0x12a0cb-9254"),
    "BETTING": Form((), ("SPORTS", "ALTERNATIVE"), "BETFAIR:BETTING:1-123456789-50214-None"),
    "SYNTHETIC": Form((), ("ALTERNATIVE",), "SYNTH:SYNTHETIC:BTC-ETH"),
    "POOL": Form(("BASE", "QUOTE", "ADDRESS"), ("CRYPTO", "DEFI"), "UniswapV3:POOL:WETH-USDC-0xC31E54c7@Arbitrum"),
    "TOKEN": Form(("BASE",), ("CRYPTO", "DEFI"), "AAVE_V3:TOKEN:USDC@ETHEREUM"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CanonicalId:
    """One instrument of one venue. `chain` is also where a settlement that the pair does not tell stands: `INV`."""

    venue: str
    type: str
    payload: str
    asset_class: str | None = None
    chain: str | None = None

    def __post_init__(self) -> None:
        problems = [Problem(place, message) for place, message in _faults(self)]
        if problems:
            raise ConfigError(_source(str(self)), problems)

    def __str__(self) -> str:
        return f"{self.asset_class}:{self._own}" if self.asset_class is not None else self._own

    @property
    def _own(self) -> str:
        return f"{self.venue}:{self.type}:{self._traded}"

    @property
    def _traded(self) -> str:
        return f"{self.payload}@{self.chain}" if self.chain is not None else self.payload

    @property
    def asset_key(self) -> str:
        """What positions aggregate by: the id without the venue, and without a class that goes without saying."""
        if self.asset_class is None or self.asset_class in FORMS[self.type].implied:
            return f"{self.type}:{self._traded}"
        return f"{self.asset_class}:{self.type}:{self._traded}"

    @property
    def parts(self) -> tuple[str, ...]:
        """The payload's parts, decoded; one part where the payload is the venue's symbol."""
        if not FORMS[self.type].parts:
            return (unquote(self.payload),)
        payload = self.payload.removeprefix(WHOLE_SYMBOL) if self.has_whole_symbol else self.payload
        return tuple(unquote(part) for part in payload.split("-"))

    @property
    def has_whole_symbol(self) -> bool:
        """Say whether the base is the venue's whole symbol: neither a root nor a pair was found in it."""
        return self.type in _MARKED and self.payload.startswith(WHOLE_SYMBOL)

    @property
    def base(self) -> str | None:
        """The first part, or None where the payload is the venue's symbol."""
        return self.parts[0] if FORMS[self.type].parts else None

    @property
    def quote(self) -> str | None:
        return self.parts[1] if "QUOTE" in FORMS[self.type].parts else None


def parse(text: str) -> CanonicalId:
    """Read a canonical id; `str` of it gives the same text back."""
    head, at, chain = text.partition("@")
    pieces = head.split(":")
    if len(pieces) not in {3, 4}:
        raise fault(text, "form", f"it has {len(pieces)} parts between colons: expected {FORM}, like {_examples()}")
    asset_class = pieces.pop(0) if len(pieces) == 4 else None  # noqa: PLR2004 - the optional class makes four
    venue, kind, payload = pieces
    return CanonicalId(asset_class=asset_class, venue=venue, type=kind, payload=payload, chain=chain if at else None)


def encode_part(text: str) -> str:
    """One part of a payload: what would end it, and what a terminal or a URL takes badly, becomes %XX."""
    return encode_symbol(text).replace("-", "%2D").replace(WHOLE_SYMBOL, "%7E")


def encode_symbol(text: str) -> str:
    """A venue's symbol or name as it is, hyphens included."""
    return quote(text, safe=_PLAIN)


def strike_part(strike: Decimal) -> str:
    """`50000` for 50000.00, `0.625` for 0.6250."""
    text = f"{strike:f}"
    return encode_part(text.rstrip("0").rstrip(".") if "." in text else text)


def fault(text: str, place: str, message: str) -> ConfigError:
    """One thing that is wrong with an id: the text, the place in it, what was expected."""
    return ConfigError(_source(text), [Problem(place, message)])


def _source(text: str) -> str:
    return f"canonical id {text if len(text) <= TEXT_MAX else text[:TEXT_MAX] + '...'!a}"


def _examples() -> str:
    return f"{FORMS['SPOT_PAIR'].example} or {FORMS['PERPETUAL'].example}"


def _faults(value: CanonicalId) -> Iterator[tuple[str, str]]:
    if value.asset_class is not None and value.asset_class not in ASSET_CLASSES:
        yield "ASSET_CLASS", f"{value.asset_class!r} is none of {', '.join(ASSET_CLASSES)}"
    if not value.venue or not _is_encoded(value.venue, encode_symbol):
        yield "VENUE", f"{value.venue!r} is no venue's name: expected a name like BINANCE-SPOT, other signs as %XX"
    if value.type not in FORMS:
        yield "TYPE", f"{value.type!r} is none of {', '.join(FORMS)}"
        return
    if message := _payload_fault(value.payload, FORMS[value.type], value.type):
        yield "PAYLOAD", message
    if value.chain is not None and (not value.chain or not _is_encoded(value.chain, encode_symbol)):
        yield "CHAIN", f"{value.chain!r} is no chain: expected a name like ETHEREUM, or INV, after the @"
    if len(str(value)) > TEXT_MAX:
        yield "form", f"it has {len(str(value))} characters, at most {TEXT_MAX} are kept"


def _payload_fault(payload: str, form: Form, kind: str) -> str | None:
    expected = f"expected {'-'.join(form.parts) or 'the symbol of the venue'}, like {form.example}"
    if not form.parts:
        return None if payload and _is_encoded(payload, encode_symbol) else f"{payload!r} is no symbol: {expected}"
    parts = payload.split("-")
    if len(parts) != len(form.parts):
        return f"{payload!r} has {len(parts)} of the {len(form.parts)} parts of {kind}: {expected}"
    for name, part in zip(form.parts, parts, strict=True):
        if not _is_part(name, part, marked=kind in _MARKED):
            return f"{part!r} is no {name}: {expected}"
    return None


def _is_part(name: str, part: str, *, marked: bool) -> bool:
    if name == "YYYYMMDD":
        return _is_date(part)
    if name == "C|P":
        return part in {"C", "P"}
    if name == "STRIKE":
        return _STRIKE.fullmatch(part) is not None
    if name == "BASE" and marked:
        part = part.removeprefix(WHOLE_SYMBOL)
    return bool(part) and _is_encoded(part, encode_part)


def _is_date(part: str) -> bool:
    if not _DATE.fullmatch(part):
        return False
    try:
        date(int(part[:4]), int(part[4:6]), int(part[6:]))
    except ValueError:
        return False
    return True


def _is_encoded(text: str, encode: Callable[[str], str]) -> bool:
    return text.isascii() and encode(unquote(text)) == text
