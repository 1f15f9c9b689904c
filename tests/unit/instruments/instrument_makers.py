"""Nautilus instruments of every class, made from the few fields that tell one from another."""

from datetime import UTC, datetime
from decimal import Decimal

from nautilus_trader.model import instruments as kinds
from nautilus_trader.model.enums import AssetClass, OptionKind
from nautilus_trader.model.identifiers import InstrumentId
from nautilus_trader.model.objects import Currency, Price, Quantity

ONE = Quantity.from_int(1)
TIMES = {"ts_event": 0, "ts_init": 0}
TICK = {"price_precision": 2, "price_increment": Price(Decimal("0.01"), 2)}
LOT = {"size_precision": 0, "size_increment": ONE}
ACTIVE_NS = 1_600_000_000_000_000_000


def named(name):
    return {"instrument_id": InstrumentId.from_str(name), "raw_symbol": InstrumentId.from_str(name).symbol}


def currency(code):
    return Currency.from_str(code)


def life(day):
    """Activation and expiry, the latter at 08:00 UTC of a day like 20241227."""
    expires = datetime.strptime(f"{day}08", "%Y%m%d%H").replace(tzinfo=UTC)
    return {"activation_ns": ACTIVE_NS, "expiration_ns": int(expires.timestamp()) * 1_000_000_000}


def _pair(base, quote):
    return {"base_currency": currency(base), "quote_currency": currency(quote)}


def spot(name, base, quote):
    return kinds.CurrencyPair(**named(name), **_pair(base, quote), **TICK, **LOT, **TIMES)


def tokenized(name, base, quote, asset_class=AssetClass.EQUITY):
    return kinds.TokenizedAsset(**named(name), **_pair(base, quote), asset_class=asset_class, **TICK, **LOT, **TIMES)


def perpetual(name, base, quote, settled=None):
    return kinds.CryptoPerpetual(**named(name), **_pair(base, quote), **_settled(base, quote, settled), **FORM)


def any_perpetual(name, underlying, quote, asset_class):
    return kinds.PerpetualContract(
        **named(name),
        underlying=underlying,
        asset_class=asset_class,
        quote_currency=currency(quote),
        settlement_currency=currency(quote),
        is_inverse=False,
        **FORM,
    )


def crypto_future(name, base, quote, day, settled=None):
    return kinds.CryptoFuture(**_crypto(name, base, quote, settled), **life(day), **FORM)


def crypto_option(name, base, quote, terms, settled=None):
    """Make one of terms like `50000 20241227 C`."""
    strike, day, kind = terms.split()
    return kinds.CryptoOption(
        **_crypto(name, base, quote, settled),
        **life(day),
        **FORM,
        option_kind=OptionKind.CALL if kind == "C" else OptionKind.PUT,
        strike_price=Price.from_str(strike),
    )


def crypto_combo(kind, name, base, quote, day):
    return kind(**_crypto(name, base, quote, base), **life(day), **FORM, strategy_type="XX")


def future(name, underlying, quote, day, asset_class=AssetClass.INDEX):
    return kinds.FuturesContract(**_listed(name, quote, asset_class), underlying=underlying, **life(day))


def listed_option(name, underlying, quote, terms, asset_class=AssetClass.EQUITY):
    """Make one of terms like `5000 20241220 C`."""
    strike, day, kind = terms.split()
    return kinds.OptionContract(
        **_listed(name, quote, asset_class),
        underlying=underlying,
        **life(day),
        option_kind=OptionKind.CALL if kind == "C" else OptionKind.PUT,
        strike_price=Price.from_str(strike),
    )


def listed_combo(kind, name, underlying, quote, day, *, asset_class=AssetClass.INDEX):
    return kind(**_listed(name, quote, asset_class), underlying=underlying, **life(day), strategy_type="XX")


def equity(name, quote):
    return kinds.Equity(**named(name), currency=currency(quote), **TICK, lot_size=ONE, **TIMES)


def index(name, quote):
    return kinds.IndexInstrument(**named(name), currency=currency(quote), **TICK, **LOT, **TIMES)


def goods(kind, name, quote, base=None, asset_class=AssetClass.COMMODITY):
    """Make a Cfd or a Commodity."""
    return kind(
        **named(name),
        asset_class=asset_class,
        quote_currency=currency(quote),
        base_currency=currency(base) if base else None,
        **TICK,
        **LOT,
        **TIMES,
    )


def binary(name, quote):
    return kinds.BinaryOption(
        **named(name),
        asset_class=AssetClass.ALTERNATIVE,
        currency=currency(quote),
        **life("20241231"),
        **TICK,
        **LOT,
        **TIMES,
    )


FORM = {**TICK, **LOT, **TIMES}


def _settled(base, quote, settled):
    settled = settled or quote
    return {"settlement_currency": currency(settled), "is_inverse": settled == base != quote}


def _crypto(name, base, quote, settled):
    return {
        **named(name),
        "underlying": currency(base),
        "quote_currency": currency(quote),
        **_settled(base, quote, settled),
    }


def _listed(name, quote, asset_class):
    return {
        **named(name),
        "asset_class": asset_class,
        "currency": currency(quote),
        **TICK,
        "multiplier": ONE,
        "lot_size": ONE,
        **TIMES,
    }
