"""The model's listings, quotes and trades in the engine's own types."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nautilus_trader.model.data import QuoteTick, TradeTick
from nautilus_trader.model.enums import AggressorSide
from nautilus_trader.model.identifiers import InstrumentId, TradeId
from nautilus_trader.model.instruments import CryptoPerpetual, CurrencyPair
from nautilus_trader.model.objects import Currency, Price, Quantity

from nautilus_ext.simulation.exchange.grid import MARGIN_INIT, MARGIN_MAINT
from nautilus_ext.simulation.market import decimal_places

if TYPE_CHECKING:
    from nautilus_trader.model.instruments import Instrument

    from nautilus_ext.simulation.market import Listing, Quote, Trade
    from nautilus_ext.simulation.wire import QuoteMessage, TradeMessage


def to_instrument(listing: Listing) -> Instrument:
    instrument_id = InstrumentId.from_str(listing.instrument_id)
    base, quote = Currency.from_str(listing.base), Currency.from_str(listing.quote)
    price_precision, size_precision = decimal_places(listing.tick), decimal_places(listing.lot)
    lot = Quantity(listing.lot, size_precision)
    common = {
        "instrument_id": instrument_id,
        "raw_symbol": instrument_id.symbol,
        "base_currency": base,
        "quote_currency": quote,
        "price_precision": price_precision,
        "price_increment": Price(listing.tick, price_precision),
        "size_precision": size_precision,
        "size_increment": lot,
        "min_quantity": lot,
        "maker_fee": listing.maker_fee,
        "taker_fee": listing.taker_fee,
        "multiplier": Quantity(listing.multiplier, decimal_places(listing.multiplier)),
        "ts_event": 0,
        "ts_init": 0,
    }
    if listing.kind == "spot":
        return CurrencyPair(**common)
    inverse = listing.kind == "inverse"
    return CryptoPerpetual(
        **common,
        settlement_currency=base if inverse else quote,
        is_inverse=inverse,
        margin_init=MARGIN_INIT,
        margin_maint=MARGIN_MAINT,
    )


class TickMaker:
    """Ticks and lots become raw fixed-point integers: exact, and quicker than through Decimal."""

    def __init__(self, instrument: Instrument) -> None:
        self.instrument_id = instrument.id
        self._tick_raw = instrument.price_increment.raw
        self._lot_raw = instrument.size_increment.raw
        self._price_precision = instrument.price_precision
        self._size_precision = instrument.size_precision

    def quote(self, quote: Quote | QuoteMessage, ts_ns: int, ts_init_ns: int | None = None) -> QuoteTick:
        return QuoteTick.from_raw(
            self.instrument_id,
            quote.bid_ticks * self._tick_raw,
            quote.ask_ticks * self._tick_raw,
            self._price_precision,
            self._price_precision,
            quote.bid_lots * self._lot_raw,
            quote.ask_lots * self._lot_raw,
            self._size_precision,
            self._size_precision,
            ts_ns,
            ts_ns if ts_init_ns is None else ts_init_ns,
        )

    def trade(
        self, trade: Trade | TradeMessage, number: int | str, ts_ns: int, ts_init_ns: int | None = None
    ) -> TradeTick:
        return TradeTick(
            self.instrument_id,
            Price.from_raw(trade.price_ticks * self._tick_raw, self._price_precision),
            Quantity.from_raw(trade.lots * self._lot_raw, self._size_precision),
            AggressorSide.BUYER if trade.buyer_is_aggressor else AggressorSide.SELLER,
            TradeId(str(number)),
            ts_ns,
            ts_ns if ts_init_ns is None else ts_init_ns,
        )
