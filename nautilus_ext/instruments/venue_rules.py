"""How venues name their instruments: one reader and one writer each, None where the name does not tell. Pure."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from nautilus_ext.instruments.canonical import encode_symbol, strike_part

if TYPE_CHECKING:
    from collections.abc import Callable

    from nautilus_ext.instruments.canonical import CanonicalId

_SPOT_QUOTES = (
    *(
        "USDT",
        "USDC",
        "FDUSD",
        "TUSD",
        "BUSD",
        "USDP",
        "USD1",
        "USDE",
        "DAI",
        "BTC",
        "ETH",
        "BNB",
        "SOL",
        "XRP",
        "DOGE",
    ),
    *("EUR", "AEUR", "EURI", "GBP", "BRL", "TRY", "AUD", "JPY", "PLN", "RON", "ARS", "MXN", "CZK", "ZAR", "UAH", "RUB"),
)
_FUTURE_QUOTES = ("USDT", "USDC", "BUSD", "BTC", "ETH", "USD")
_BASE_MIN = 3  # a shorter base is believed only when there is no other reading
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")

_COIN = r"[A-Z0-9]+"
_DAY = r"(?P<day>\d{1,2}[A-Z]{3}\d{2})"
_DERIBIT = re.compile(
    rf"(?P<base>{_COIN})(?:_(?P<quote>{_COIN}))?"
    rf"(?:-(?:(?P<perp>PERPETUAL)|{_DAY}(?:-(?P<strike>\d+(?:d\d+)?)-(?P<kind>[CP]))?))?"
)
_DERIBIT_COMBO = re.compile(rf"{_COIN}(?:_{_COIN})?-(?P<strategy>[A-Z]{{2,6}})-[A-Z0-9_-]+")
_OKX = re.compile(
    rf"(?P<base>{_COIN})-(?P<quote>{_COIN})"
    r"(?:-(?:(?P<perp>SWAP)|(?P<day>\d{6})(?:-(?P<strike>\d+(?:\.\d+)?)-(?P<kind>[CP]))?))?"
)
_BINANCE = re.compile(rf"(?P<pair>{_COIN})(?:(?P<perp>-PERP)|_(?P<day>\d{{6}}))?")
_BYBIT = re.compile(rf"(?P<pair>{_COIN})-(?P<product>SPOT|LINEAR|INVERSE)")
_BYBIT_FUTURE = re.compile(rf"(?P<pair>{_COIN})-{_DAY}-LINEAR")
_BYBIT_OPTION = re.compile(rf"(?P<base>{_COIN})-{_DAY}-(?P<strike>\d+(?:\.\d+)?)-(?P<kind>[CP])-USDT-OPTION")
_SLASHED = re.compile(rf"(?P<base>{_COIN})/(?P<quote>{_COIN})")
_SIMULATED = re.compile(r"SIM\d*")


class Meaning(NamedTuple):
    """All of a canonical id but its venue."""

    type: str
    payload: str
    chain: str | None = None


class Rule(NamedTuple):
    read: Callable[[str], Meaning | None]
    write: Callable[[CanonicalId], str | None]


def rule_of(venue: str) -> Rule | None:
    if _SIMULATED.fullmatch(venue) or venue.startswith("BINANCE-"):
        return _RULES["BINANCE"]
    return _RULES.get(venue)


def _pair(base: str, quote: str) -> Meaning:
    return Meaning("SPOT_PAIR", f"{base}-{quote}")


def _perpetual(base: str, quote: str) -> Meaning:
    return Meaning("PERPETUAL", f"{base}-{quote}", _coin_margined(quote))


def _future(base: str, quote: str, day: str) -> Meaning:
    return Meaning("FUTURE", f"{base}-{quote}-{day}", _coin_margined(quote))


def _option(base: str, quote: str, strike: str, day: str, kind: str) -> Meaning:
    return Meaning("OPTION", f"{base}-{quote}-{strike_part(Decimal(strike))}-{day}-{kind}")


def _coin_margined(quote: str) -> str | None:
    """On these venues a contract quoted in US dollars is paid in its coin."""
    return "INV" if quote == "USD" else None


def _read_deribit(symbol: str) -> Meaning | None:
    if combo := _DERIBIT_COMBO.fullmatch(symbol):
        return Meaning("FUTURE_COMBO" if combo["strategy"] == "FS" else "OPTION_COMBO", encode_symbol(symbol))
    found = _DERIBIT.fullmatch(symbol)
    if not found or found["quote"] == "USD":
        return None
    base, quote = found["base"], found["quote"] or "USD"
    if found["strike"]:
        return _option(base, quote, found["strike"].replace("d", "."), _read_day(found["day"]), found["kind"])
    if found["day"]:
        return _future(base, quote, _read_day(found["day"]))
    if found["perp"]:
        return _perpetual(base, quote)
    return _pair(base, quote) if found["quote"] else None


def _write_deribit(canonical: CanonicalId) -> str | None:
    base, quote, *rest = canonical.parts
    pair = base if quote == "USD" else f"{base}_{quote}"
    match canonical.type, rest:
        case "SPOT_PAIR", []:
            return f"{base}_{quote}"
        case "PERPETUAL", []:
            return f"{pair}-PERPETUAL"
        case "FUTURE", [day]:
            return f"{pair}-{_write_day(day)}"
        case "OPTION", [strike, day, kind]:
            return f"{pair}-{_write_day(day)}-{strike.replace('.', 'd')}-{kind}"
    return None


def _read_okx(symbol: str) -> Meaning | None:
    found = _OKX.fullmatch(symbol)
    if not found:
        return None
    base, quote = found["base"], found["quote"]
    if found["strike"]:
        return _option(base, quote, found["strike"], f"20{found['day']}", found["kind"])
    if found["day"]:
        return _future(base, quote, f"20{found['day']}")
    return _perpetual(base, quote) if found["perp"] else _pair(base, quote)


def _write_okx(canonical: CanonicalId) -> str | None:
    base, quote, *rest = canonical.parts
    match canonical.type, rest:
        case "SPOT_PAIR", []:
            return f"{base}-{quote}"
        case "PERPETUAL", []:
            return f"{base}-{quote}-SWAP"
        case "FUTURE", [day]:
            return f"{base}-{quote}-{day[2:]}"
        case "OPTION", [strike, day, kind]:
            return f"{base}-{quote}-{day[2:]}-{strike}-{kind}"
    return None


def _read_binance(symbol: str) -> Meaning | None:
    found = _BINANCE.fullmatch(symbol)
    if not found:
        return None
    if not (found["perp"] or found["day"]):
        pair = _split(found["pair"], _SPOT_QUOTES)
        return _pair(*pair) if pair else None
    pair = _split(found["pair"], _FUTURE_QUOTES)
    if not pair:
        return None
    return _future(*pair, f"20{found['day']}") if found["day"] else _perpetual(*pair)


def _write_binance(canonical: CanonicalId) -> str | None:
    base, quote, *rest = canonical.parts
    match canonical.type, rest:
        case "SPOT_PAIR", []:
            return f"{base}{quote}"
        case "PERPETUAL", []:
            return f"{base}{quote}-PERP"
        case "FUTURE", [day]:
            return f"{base}{quote}_{day[2:]}"
    return None


def _read_bybit(symbol: str) -> Meaning | None:
    if option := _BYBIT_OPTION.fullmatch(symbol):
        return _option(option["base"], "USDT", option["strike"], _read_day(option["day"]), option["kind"])
    if future := _BYBIT_FUTURE.fullmatch(symbol):
        pair = _split(future["pair"], ("USDT",)) or (future["pair"], "USDC")
        return _future(*pair, _read_day(future["day"]))
    found = _BYBIT.fullmatch(symbol)
    if not found:
        return None
    if found["product"] == "LINEAR" and (base := found["pair"].removesuffix("PERP")) != found["pair"]:
        return _perpetual(base, "USDC") if base else None
    quotes = {"SPOT": _SPOT_QUOTES, "LINEAR": ("USDT",), "INVERSE": ("USD",)}[found["product"]]
    pair = _split(found["pair"], quotes)
    if not pair:
        return None
    return _pair(*pair) if found["product"] == "SPOT" else _perpetual(*pair)


def _write_bybit(canonical: CanonicalId) -> str | None:
    base, quote, *rest = canonical.parts
    match canonical.type, quote, rest:
        case "SPOT_PAIR", _, []:
            return f"{base}{quote}-SPOT"
        case "PERPETUAL", "USDC", []:
            return f"{base}PERP-LINEAR"
        case "PERPETUAL", _, []:
            return f"{base}{quote}-{'INVERSE' if quote == 'USD' else 'LINEAR'}"
        case "FUTURE", "USDC" | "USDT", [day]:
            return f"{base if quote == 'USDC' else base + quote}-{_write_day(day, digits=2)}-LINEAR"
        case "OPTION", "USDT", [strike, day, kind]:
            return f"{base}-{_write_day(day)}-{strike}-{kind}-USDT-OPTION"
    return None


def _read_slashed(symbol: str) -> Meaning | None:
    found = _SLASHED.fullmatch(symbol)
    return _pair(found["base"], found["quote"]) if found else None


def _write_slashed(canonical: CanonicalId) -> str | None:
    return "/".join(canonical.parts) if canonical.type == "SPOT_PAIR" else None


def _split(symbol: str, quotes: tuple[str, ...]) -> tuple[str, str] | None:
    """Base and quote of BTCUSDT; None when no quote ends it, or when two readings are as good: BTCBUSD."""
    readings = [(symbol.removesuffix(quote), quote) for quote in quotes if symbol.endswith(quote)]
    readings = [reading for reading in readings if reading[0]]
    if len(readings) > 1:
        readings = [reading for reading in readings if len(reading[0]) >= _BASE_MIN]
    return readings[0] if len(readings) == 1 else None


def _read_day(text: str) -> str:
    """8NOV24 as 20241108; a month that is none becomes a date that is none, and the id refuses it."""
    day, month, year = text[:-5], text[-5:-2], text[-2:]
    number = _MONTHS.index(month) + 1 if month in _MONTHS else 0
    return f"20{year}{number:02d}{int(day):02d}"


def _write_day(day: str, digits: int = 1) -> str:
    return f"{int(day[6:]):0{digits}d}{_MONTHS[int(day[4:6]) - 1]}{day[2:4]}"


_INTERACTIVE_BROKERS = Rule(_read_slashed, _write_slashed)  # of its symbols only pairs tell what they are
_RULES = {
    "BINANCE": Rule(_read_binance, _write_binance),
    "BYBIT": Rule(_read_bybit, _write_bybit),
    "DERIBIT": Rule(_read_deribit, _write_deribit),
    "OKX": Rule(_read_okx, _write_okx),
    "IDEALPRO": _INTERACTIVE_BROKERS,
    "PAXOS": _INTERACTIVE_BROKERS,
    "ZEROHASH": _INTERACTIVE_BROKERS,
}
