"""Follow the trend: enter when the fast average crosses the slow one, with a stop and a target at once."""

from decimal import Decimal

from nautilus_trader.config import NonNegativeInt, PositiveInt, StrategyConfig
from nautilus_trader.indicators import ExponentialMovingAverage
from nautilus_trader.model.data import Bar, BarType
from nautilus_trader.model.enums import OrderSide, TriggerType, trigger_type_from_str
from nautilus_trader.model.identifiers import ClientOrderId
from nautilus_trader.model.objects import Quantity
from nautilus_trader.model.orders import Order  # noqa: TC002 - plain imports: this file is there to be copied
from nautilus_trader.trading.strategy import Strategy

from nautilus_ext.strategies.checks import all_finite
from nautilus_ext.strategies.pyramid import Pyramid
from nautilus_ext.strategies.pyramid_rules import BPS, STOP, TARGET
from nautilus_ext.strategies.sizing import on_grid, size_of


class TrendFollowerConfig(StrategyConfig, frozen=True, kw_only=True):
    """Config of a trend follower.

    Parameters
    ----------
    bar_type : BarType
        The bars to average, for instance `BTCUSDT-PERP.SIM2-10-TICK-MID-INTERNAL`; names the instrument, too.
    fast_period, slow_period : int
        Lengths of the two averages, in bars.
    quantity : Decimal, optional
        Size of a position in the instrument's unit (base asset, or contracts).
    notional : Decimal, optional
        Size of a position in the quote currency. Give either this or `quantity`.
    stop_bps, target_bps : Decimal
        Distance of the stop-loss and the take-profit from the entry, in basis points of the price.
    emulation_trigger : str
        `NO_TRIGGER` sends stop and target to the venue. `BID_ASK` or `LAST_PRICE` keeps them in this process: for
        venues that refuse linked orders (Binance). They then protect nothing while the process is down.
    close_on_stop : bool
        On stop: cancel the stop and the target and close the position. If not, all three stay as they are.
    pyramids : int
        How often to add to a position that runs, each time with the same size and a stop and a target of its own; the
        older stops move along. Above 0 the state is kept in the portfolio's tables: a restart goes on from there, no
        signal is acted upon twice, and without the tables nothing is sent.
    pyramid_step_bps : Decimal
        How far the price must have moved in favour since the last entry, in basis points of it.

    """

    bar_type: BarType
    fast_period: PositiveInt = 10
    slow_period: PositiveInt = 30
    quantity: Decimal | None = None
    notional: Decimal | None = None
    stop_bps: Decimal = Decimal(50)
    target_bps: Decimal = Decimal(100)
    emulation_trigger: str = "NO_TRIGGER"
    close_on_stop: bool = True
    pyramids: NonNegativeInt = 0
    pyramid_step_bps: Decimal = Decimal(20)

    def __post_init__(self) -> None:
        all_finite(self)
        if self.fast_period >= self.slow_period:
            raise ValueError(f"fast_period {self.fast_period} must be below slow_period {self.slow_period}")
        size = self.quantity or self.notional
        if (self.quantity is None) == (self.notional is None) or size is None or size <= 0:
            raise ValueError("give either quantity or notional, above 0")
        if not 0 < self.stop_bps < BPS or not 0 < self.target_bps < BPS:
            raise ValueError(f"stop_bps {self.stop_bps} and target_bps {self.target_bps} must be between 0 and {BPS}")
        if self.pyramid_step_bps <= 0:
            raise ValueError(f"pyramid_step_bps {self.pyramid_step_bps} must be above 0")
        if self.emulation_trigger not in TriggerType.__members__:
            raise ValueError(f"emulation_trigger {self.emulation_trigger!r} is none of NO_TRIGGER, BID_ASK, LAST_PRICE")


class TrendFollower(Strategy):
    def __init__(self, config: TrendFollowerConfig) -> None:
        super().__init__(config)
        self.instrument_id = config.bar_type.instrument_id
        self.fast = ExponentialMovingAverage(config.fast_period)
        self.slow = ExponentialMovingAverage(config.slow_period)
        self.trend: OrderSide | None = None
        self.entry: Order | None = None
        self.pyramid: Pyramid | None = None

    def on_start(self) -> None:
        self.instrument = self.cache.instrument(self.instrument_id)
        if self.instrument is None:
            problem = f"{self.instrument_id} is not in the cache: no data client offers it. Stopping."
            self.log.error(problem)
            self.stop()
            return
        if self.config.pyramids and self.pyramid is None:
            self.pyramid = Pyramid(
                self,
                self.instrument,
                additions_max=self.config.pyramids,
                step_bps=self.config.pyramid_step_bps,
                enter=self.enter,
            )
        self.register_indicator_for_bars(self.config.bar_type, self.fast)
        self.register_indicator_for_bars(self.config.bar_type, self.slow)
        self.subscribe_bars(self.config.bar_type)

    def on_bar(self, bar: Bar) -> None:
        if not self.slow.initialized:
            return
        before, self.trend = self.trend, OrderSide.BUY if self.fast.value >= self.slow.value else OrderSide.SELL
        if self.has_position() and not self.has_working_orders():
            self.log.warning("The position has no stop: closing it")
            self.close_all_positions(self.instrument_id)
        elif self.pyramid is not None:
            self.pyramid.on_bar(bar, self.trend, crossed=self.trend != before)
        elif self.trend != before and not self.has_position() and not self.has_working_orders():
            self.enter(self.trend, bar.close.as_decimal())

    def has_position(self) -> bool:
        return self.cache.positions_open_count(instrument_id=self.instrument_id, strategy_id=self.id) > 0

    def has_working_orders(self) -> bool:
        if self.entry is not None and not self.entry.is_closed:
            return True
        mine = {"instrument_id": self.instrument_id, "strategy_id": self.id}
        counts = (self.cache.orders_open_count, self.cache.orders_inflight_count, self.cache.orders_emulated_count)
        return any(count(**mine) > 0 for count in counts)

    def enter(self, side: OrderSide, price: Decimal, entry_id: ClientOrderId | None = None) -> bool:
        """Send an entry with its stop and its target; say whether anything was sent."""
        quantity = self.position_size(price)
        if quantity is None:
            self.log.error("quantity or notional is below the instrument's smallest order: nothing sent")
            return False
        towards = 1 if side == OrderSide.BUY else -1
        bracket = self.order_factory.bracket(
            instrument_id=self.instrument_id,
            order_side=side,
            quantity=quantity,
            sl_trigger_price=self.instrument.make_price(price * (1 - towards * self.config.stop_bps / BPS)),
            tp_price=self.instrument.make_price(price * (1 + towards * self.config.target_bps / BPS)),
            tp_post_only=False,  # past the target already: take it, do not get rejected
            emulation_trigger=trigger_type_from_str(self.config.emulation_trigger),
            entry_client_order_id=entry_id,
            sl_client_order_id=ClientOrderId(f"{entry_id}{STOP}") if entry_id else None,
            tp_client_order_id=ClientOrderId(f"{entry_id}{TARGET}") if entry_id else None,
        )
        self.entry = bracket.first
        self.submit_order_list(bracket)
        return True

    def position_size(self, price: Decimal) -> Quantity | None:
        size = self.config.quantity or size_of(self.instrument, self.config.notional, price)
        return on_grid(self.instrument, size)

    def on_stop(self) -> None:
        if self.pyramid is not None:
            self.pyramid.stop()
        if self.config.close_on_stop:
            self.cancel_all_orders(self.instrument_id)
            self.close_all_positions(self.instrument_id)

    def on_reset(self) -> None:
        self.trend = self.entry = None
        if self.pyramid is not None:
            self.pyramid.forget()
            self.pyramid = None
