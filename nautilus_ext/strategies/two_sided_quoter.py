"""Quote both sides: a post-only bid and ask around the middle, shifted against the inventory, which stays in bounds."""

from decimal import Decimal

from nautilus_trader.config import PositiveInt, StrategyConfig
from nautilus_trader.model.data import QuoteTick
from nautilus_trader.model.enums import OrderSide
from nautilus_trader.model.events import OrderDenied, OrderRejected
from nautilus_trader.model.identifiers import InstrumentId
from nautilus_trader.model.objects import Price
from nautilus_trader.model.orders import Order
from nautilus_trader.trading.strategy import Strategy

from nautilus_ext.strategies.checks import all_finite
from nautilus_ext.strategies.sizing import on_grid

BPS = Decimal(10_000)
NS_PER_MS = 1_000_000


class TwoSidedQuoterConfig(StrategyConfig, frozen=True, kw_only=True):
    """Config of a two-sided quoter.

    Parameters
    ----------
    instrument_id : InstrumentId
        What to quote.
    quantity : Decimal
        Size of each quote, in the instrument's unit (base asset, or contracts).
    max_inventory : Decimal
        The position never exceeds this, long or short, even if every order in flight fills; same unit.
    half_spread_bps : Decimal
        Distance of each quote from the middle, in basis points of the price.
    skew_bps : Decimal
        How far a full inventory shifts both quotes, in basis points of the price: down when long, up when short.
    requote_bps : Decimal
        A quote moves only when it is off by more than this, in basis points of the price.
    use_modify : bool
        Move a quote by modifying it; if not, cancel it and send a new one (Binance spot cannot modify).
    retry_delay_ms : int
        How long a side pauses after a rejected or denied order, in milliseconds.
    close_on_stop : bool
        On stop the quotes are always cancelled; this also closes the position.

    """

    instrument_id: InstrumentId
    quantity: Decimal
    max_inventory: Decimal
    half_spread_bps: Decimal = Decimal(5)
    skew_bps: Decimal = Decimal(3)
    requote_bps: Decimal = Decimal(1)
    use_modify: bool = True
    retry_delay_ms: PositiveInt = 1_000
    close_on_stop: bool = True

    def __post_init__(self) -> None:
        all_finite(self)
        if not 0 < self.quantity <= self.max_inventory:
            raise ValueError(
                f"quantity {self.quantity} must be above 0 and not above max_inventory {self.max_inventory}"
            )
        if not 0 < self.half_spread_bps < BPS:
            raise ValueError(f"half_spread_bps {self.half_spread_bps} must be between 0 and {BPS}")
        if self.skew_bps < 0 or self.requote_bps < 0 or self.skew_bps + self.half_spread_bps >= BPS:
            raise ValueError("skew_bps and requote_bps must be 0 or more, and the quotes must stay above 0")


class TwoSidedQuoter(Strategy):
    """At most one order per side exists at any time, so what can still fill is known without bookkeeping."""

    def __init__(self, config: TwoSidedQuoterConfig) -> None:
        super().__init__(config)
        self.quotes: dict[OrderSide, Order] = {}
        self.paused_until_ns: dict[OrderSide, int] = {}

    def on_start(self) -> None:
        self.instrument = self.cache.instrument(self.config.instrument_id)
        if self.instrument is None:
            problem = f"{self.config.instrument_id} is not in the cache: no data client offers it. Stopping."
            self.log.error(problem)
            self.stop()
            return
        for order in self.cache.orders_open(instrument_id=self.instrument.id, strategy_id=self.id):
            self.quotes[order.side] = order  # from before a restart
        self.subscribe_quote_ticks(self.instrument.id)

    def on_quote_tick(self, tick: QuoteTick) -> None:
        inventory = self.inventory()
        middle = (tick.bid_price.as_decimal() + tick.ask_price.as_decimal()) / 2
        middle *= 1 - self.config.skew_bps / BPS * inventory / self.config.max_inventory
        offset = middle * self.config.half_spread_bps / BPS
        tick_size = self.instrument.price_increment.as_decimal()
        bid = min(middle - offset, tick.ask_price.as_decimal() - tick_size)  # post-only: never cross
        ask = max(middle + offset, tick.bid_price.as_decimal() + tick_size)
        self.quote(OrderSide.BUY, bid, self.config.max_inventory - inventory)
        self.quote(OrderSide.SELL, ask, self.config.max_inventory + inventory)

    def inventory(self) -> Decimal:
        positions = self.cache.positions_open(instrument_id=self.instrument.id, strategy_id=self.id)
        return sum((position.signed_decimal_qty() for position in positions), Decimal(0))

    def quote(self, side: OrderSide, target: Decimal, room: Decimal) -> None:
        price = self.instrument.make_price(target)
        order = self.quotes.get(side)
        if order is None or order.is_closed:
            self.send(side, price, room)
        elif order.is_open and not order.is_inflight and not self.is_reached(order) and self.is_off(order, price):
            if self.config.use_modify:
                self.modify_order(order, price=price)
            else:
                self.cancel_order(order)  # the new quote follows when the cancel is confirmed

    def send(self, side: OrderSide, price: Price, room: Decimal) -> None:
        quantity = on_grid(self.instrument, min(self.config.quantity, room))
        if quantity is None or self.clock.timestamp_ns() < self.paused_until_ns.get(side, 0):
            return
        order = self.order_factory.limit(self.instrument.id, side, quantity, price, post_only=True)
        self.quotes[side] = order
        self.submit_order(order)

    def is_reached(self, order: Order) -> bool:
        """The market stands at the quote: it is being filled, and moving it now would only be rejected."""
        tick = self.cache.quote_tick(self.instrument.id)
        return tick.ask_price <= order.price if order.is_buy else tick.bid_price >= order.price

    def is_off(self, order: Order, price: Price) -> bool:
        return abs(order.price.as_decimal() - price.as_decimal()) > price.as_decimal() * self.config.requote_bps / BPS

    def on_order_rejected(self, event: OrderRejected) -> None:
        self.pause(event)

    def on_order_denied(self, event: OrderDenied) -> None:
        self.pause(event)

    def pause(self, event: OrderRejected | OrderDenied) -> None:
        side = self.cache.order(event.client_order_id).side
        self.paused_until_ns[side] = self.clock.timestamp_ns() + self.config.retry_delay_ms * NS_PER_MS

    def on_stop(self) -> None:
        self.cancel_all_orders(self.config.instrument_id)
        if self.config.close_on_stop:
            self.close_all_positions(self.config.instrument_id)
