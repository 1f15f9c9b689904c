"""Hold a portfolio: keep each spot asset near its share of the account's value."""

from decimal import Decimal

from nautilus_trader.config import PositiveFloat, StrategyConfig
from nautilus_trader.model.data import QuoteTick
from nautilus_trader.model.enums import OrderSide
from nautilus_trader.model.identifiers import InstrumentId
from nautilus_trader.model.instruments import Instrument  # noqa: TC002 - plain imports: this file is there to be copied
from nautilus_trader.model.objects import Currency
from nautilus_trader.model.orders import Order
from nautilus_trader.trading.strategy import Strategy

from nautilus_ext.strategies.checks import all_finite
from nautilus_ext.strategies.sizing import on_grid, size_of

CASH_RESERVE = Decimal("0.005")  # of the free money, for fees and for the ask being above the middle


class RebalancerConfig(StrategyConfig, frozen=True, kw_only=True):
    """Config of a rebalancer. It looks after the whole cash account of one venue.

    Parameters
    ----------
    weights : dict[str, Decimal]
        Instrument id → the share of the account's value to hold in its base asset, as a fraction. All are spot
        instruments of one venue with one quote currency; what is left to 1 stays in that currency.
    tolerance : Decimal
        How far a share may drift before it is brought back, as a fraction of the account's value.
    interval_s : float
        Seconds between two looks at the account. The first look is at the first quotes.

    """

    weights: dict[str, Decimal]
    tolerance: Decimal = Decimal("0.01")
    interval_s: PositiveFloat = 60.0

    def __post_init__(self) -> None:
        all_finite(self)
        total = sum(self.weights.values(), Decimal(0))
        if not self.weights or min(self.weights.values()) < 0 or total > 1:
            raise ValueError(f"weights must be 0 or more and add up to at most 1; they add up to {total}")
        if len({InstrumentId.from_str(name).venue for name in self.weights}) > 1:
            raise ValueError(f"weights must name instruments of one venue: {', '.join(self.weights)}")
        if not 0 < self.tolerance < 1:
            raise ValueError(f"tolerance {self.tolerance} must be between 0 and 1")


class Rebalancer(Strategy):
    def __init__(self, config: RebalancerConfig) -> None:
        super().__init__(config)
        self.instruments: dict[InstrumentId, Instrument] = {}
        self.orders: list[Order] = []
        self.next_look_ns = 0

    def on_start(self) -> None:
        problem = self.prepare()
        if problem is not None:
            self.log.error(problem)
            self.stop()
            return
        for instrument_id in self.instruments:
            self.subscribe_quote_ticks(instrument_id)

    def prepare(self) -> str | None:
        """Find instruments and account; the answer says what is wrong."""
        ids = [InstrumentId.from_str(name) for name in self.config.weights]
        found = {instrument_id: self.cache.instrument(instrument_id) for instrument_id in ids}
        missing = [str(instrument_id) for instrument_id, instrument in found.items() if instrument is None]
        if missing:
            return f"{', '.join(missing)} not in the cache: no data client offers it"
        quotes = {instrument.quote_currency for instrument in found.values()}
        if len(quotes) > 1:
            return f"{', '.join(self.config.weights)} have several quote currencies; all must share one"
        self.account = self.portfolio.account(ids[0].venue)
        if self.account is None or not self.account.is_cash_account:
            return f"{ids[0].venue} has no CASH account: assets are held in cash accounts only"
        self.instruments, self.quote_currency = found, quotes.pop()
        return None

    def on_quote_tick(self, tick: QuoteTick) -> None:
        """The quotes are the clock: a live timer would call from a thread of its own."""
        if tick.ts_init < self.next_look_ns or not all(order.is_closed for order in self.orders):
            return
        prices = self.mid_prices()
        if len(prices) == len(self.instruments):
            self.next_look_ns = tick.ts_init + int(self.config.interval_s * 1e9)
            self.rebalance(prices)

    def mid_prices(self) -> dict[InstrumentId, Decimal]:
        ticks = [self.cache.quote_tick(instrument_id) for instrument_id in self.instruments]
        return {
            tick.instrument_id: (tick.bid_price.as_decimal() + tick.ask_price.as_decimal()) / 2
            for tick in ticks
            if tick is not None
        }

    def rebalance(self, prices: dict[InstrumentId, Decimal]) -> None:
        drifts = self.drifts(prices)
        sells = {key: drift for key, drift in drifts.items() if drift > 0}
        if sells:  # money first: the buys follow at the next look
            self.orders = self.send(OrderSide.SELL, sells, prices)
        else:
            self.orders = self.send(OrderSide.BUY, self.affordable(drifts), prices)

    def drifts(self, prices: dict[InstrumentId, Decimal]) -> dict[InstrumentId, Decimal]:
        """What is held too much (above 0) or too little of, in the quote currency; only what left its band."""
        held = {
            instrument_id: self.balance(instrument.base_currency) * prices[instrument_id]
            for instrument_id, instrument in self.instruments.items()
        }
        total = sum(held.values(), self.balance(self.quote_currency))
        off = {key: value - self.config.weights[key.value] * total for key, value in held.items()}
        return {key: drift for key, drift in off.items() if abs(drift) > self.config.tolerance * total}

    def balance(self, currency: Currency) -> Decimal:
        balance = self.account.balance_total(currency)
        return balance.as_decimal() if balance is not None else Decimal(0)

    def affordable(self, drifts: dict[InstrumentId, Decimal]) -> dict[InstrumentId, Decimal]:
        """The amounts to buy, in proportion to what is missing, within what is free after the fees."""
        free = self.account.balance_free(self.quote_currency)
        money = free.as_decimal() * (1 - CASH_RESERVE) if free is not None else Decimal(0)
        missing = -sum(drifts.values(), Decimal(0))
        part = min(Decimal(1), money / missing) if missing > 0 else Decimal(0)
        return {key: -drift * part for key, drift in drifts.items()}

    def send(
        self, side: OrderSide, amounts: dict[InstrumentId, Decimal], prices: dict[InstrumentId, Decimal]
    ) -> list[Order]:
        orders = []
        for instrument_id, amount in amounts.items():
            instrument = self.instruments[instrument_id]
            quantity = on_grid(instrument, size_of(instrument, amount, prices[instrument_id]))
            if quantity is not None:
                orders.append(self.order_factory.market(instrument_id, side, quantity))
        for order in orders:
            self.submit_order(order)
        return orders

    def on_stop(self) -> None:
        """The portfolio stays as it is: holding it is the purpose."""
        for instrument_id in self.instruments:
            self.cancel_all_orders(instrument_id)
