"""A backtest engine that a test drives by hand: three venues, a strategy that obeys, with the gate or bare.

Time stands still between the quotes, so that each order is judged at a moment that the test knows.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec
from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.config import CacheConfig, LoggingConfig, RiskEngineConfig, StrategyConfig
from nautilus_trader.core.uuid import UUID4
from nautilus_trader.execution.messages import ModifyOrder, SubmitOrder, SubmitOrderList
from nautilus_trader.model.data import QuoteTick
from nautilus_trader.model.enums import AccountType, OmsType, OrderSide, OrderStatus
from nautilus_trader.model.identifiers import InstrumentId, Venue
from nautilus_trader.model.objects import Money
from nautilus_trader.trading.strategy import Strategy

from nautilus_ext.messages import (
    RECENT,
    RELEASE,
    RESERVE,
    RISK_DECISIONS,
    ParentRelease,
    ParentReserve,
    Recent,
    RiskDecision,
)
from nautilus_ext.risk import RiskGate, RiskGateConfig
from nautilus_ext.seam import EXECUTE, take_over
from nautilus_ext.simulation.instruments import to_instrument
from nautilus_ext.simulation.listings import default_listings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

BEGIN_NS = 1_767_571_200_000_000_000
SPOT, SPOT_2, PERP, OTHER, INVERSE = (
    "BTCUSDT.SIM1",
    "BTCUSDT.SIM2",
    "BTCUSDT-PERP.SIM2",
    "BTCUSDT-PERP.SIM3",
    "BTCUSD-PERP.SIM3",
)
INSTRUMENTS = {each.instrument_id: to_instrument(each) for each in default_listings()}
VENUES = {
    "SIM1": (AccountType.CASH, ("1000000 USDT", "10 BTC")),
    "SIM2": (AccountType.MARGIN, ("1000000 USDT",)),
    "SIM3": (AccountType.MARGIN, ("1000000 USDT", "20 BTC")),
}
BUY, SELL = OrderSide.BUY, OrderSide.SELL
PRICE = 100  # every instrument's bid at the beginning; the ask is 1 more


class Hand(Strategy):
    """Does nothing by itself. What it would do in a callback the test puts into it."""

    def __init__(self, tag: str = "001") -> None:
        super().__init__(StrategyConfig(strategy_id="HAND", order_id_tag=tag))
        self.at_start: list[Callable[[], None]] = []
        self.at_stop: list[Callable[[], None]] = []
        self.at_fill: list[Callable[[], None]] = []
        self.heard: list[Any] = []

    def on_start(self) -> None:
        _all(self.at_start)

    def on_stop(self) -> None:
        _all(self.at_stop)

    def on_order_event(self, event: Any) -> None:
        self.heard.append(event)

    def on_order_filled(self, event: Any) -> None:  # noqa: ARG002 - the name is Nautilus's
        _all(self.at_fill)

    # -- orders, made and not sent ------------------------------------------------------------------

    def order(self, side: OrderSide, quantity: Any, price: Any = None, *, of: str = PERP, **more: Any) -> Any:
        """A limit order, or a market order when there is no price."""
        instrument = INSTRUMENTS[of]
        size = instrument.make_qty(Decimal(str(quantity)))
        if price is None:
            return self.order_factory.market(instrument.id, side, size, **more)
        return self.order_factory.limit(instrument.id, side, size, instrument.make_price(price), **more)

    def send(self, side: OrderSide, quantity: Any, price: Any = None, **more: Any) -> Any:
        order = self.order(side, quantity, price, **more)
        self.submit_order(order)
        return order


def _all(acts: list[Callable[[], None]]) -> None:
    """Each once."""
    todo, acts[:] = list(acts), []
    for act in todo:
        act()


class Stage:
    """`hand` is the strategy; `tick` lets the market and the venues go on by a second."""

    def __init__(
        self,
        section: dict[str, Any] | None = None,
        *,
        gate: bool = True,
        venues: Sequence[str] = tuple(VENUES),
        priced: bool = True,
        hands: int = 1,
        algorithms: Sequence[Any] = (),
        before: Callable[[Any], None] | None = None,
        recent: Recent | None = None,
        oms: OmsType = OmsType.NETTING,
        engine: RiskEngineConfig | None = None,
        actors: Sequence[Any] = (),
    ) -> None:
        config = BacktestEngineConfig(
            logging=LoggingConfig(bypass_logging=True),
            run_analysis=False,
            cache=CacheConfig(drop_instruments_on_reset=False),
            risk_engine=engine or RiskEngineConfig(max_order_submit_rate="1000000/00:00:01"),
        )
        self.engine = BacktestEngine(config)
        for name in venues:
            kind, balances = VENUES[name]
            money = [Money.from_str(each) for each in balances]
            leverage = Decimal(10) if kind == AccountType.MARGIN else None
            self.engine.add_venue(Venue(name), oms, kind, money, default_leverage=leverage)
        for instrument in INSTRUMENTS.values():
            if instrument.id.venue.value in venues:
                self.engine.add_instrument(instrument)
        kernel = self.engine.kernel
        self.bus, self.cache, self.clock = kernel.msgbus, kernel.cache, kernel.clock
        if before is not None:
            before(self.cache)
        if recent is not None:
            self.cache.add(RECENT, msgspec.json.encode(recent))
        self.decisions: list[RiskDecision] = []
        self.bus.subscribe(RISK_DECISIONS, self.decisions.append)
        self.sent = Sent(self.bus)  # what reaches the engine
        self.gate: Any = None
        for actor in actors:  # as the suite's own are there before the gate
            self.engine.add_actor(actor)
        if gate:
            self.gate = RiskGate(RiskGateConfig(section=section or {}))
            self.engine.add_actor(self.gate)
        self.hands = [Hand(f"{number:03d}") for number in range(1, hands + 1)]
        for hand in self.hands:
            self.engine.add_strategy(hand)
        for algorithm in algorithms:
            self.engine.add_exec_algorithm(algorithm)
        self.now_s = 0
        self.priced = [name for name in INSTRUMENTS if priced and InstrumentId.from_str(name).venue.value in venues]

    @property
    def hand(self) -> Hand:
        return self.hands[0]

    def start(self) -> Stage:
        return self.tick()

    def tick(self, bid: Any = PRICE, *, of: Sequence[str] | None = None, seconds: int = 1, spread: Any = 1) -> Stage:
        """A quote of each instrument that has a price; where none has, of another one, or no time would pass."""
        self.now_s += seconds
        ts_ns = BEGIN_NS + self.now_s * 1_000_000_000
        names = self.priced if of is None else of
        ticks = [quote_of(INSTRUMENTS[name], bid, Decimal(str(bid)) + Decimal(str(spread)), ts_ns) for name in names]
        if not ticks:
            ticks = [quote_of(INSTRUMENTS["ETHUSDT-PERP.SIM2"], bid, bid + spread, ts_ns)]
        self.engine.add_data(ticks)
        self.engine.run(streaming=True)
        self.engine.clear_data()
        return self

    def end(self) -> None:
        self.engine.end()

    def dispose(self) -> None:
        self.engine.dispose()

    # -- what happened ------------------------------------------------------------------------------

    def submit(self, order: Any) -> None:
        """Past the strategy and the RiskEngine, as whoever knows the endpoint can."""
        words = {"trader_id": order.trader_id, "strategy_id": order.strategy_id}
        self.bus.send(EXECUTE, SubmitOrder(**words, order=order, command_id=UUID4(), ts_init=0))

    def submit_list(self, orders: Any) -> None:
        words = {"trader_id": self.hand.trader_id, "strategy_id": self.hand.id}
        self.bus.send(EXECUTE, SubmitOrderList(**words, order_list=orders, command_id=UUID4(), ts_init=0))

    def reserve(self, order: Any) -> str:
        """Why not; empty when it stands."""
        answers: list[Any] = []
        self.bus.send(RESERVE, ParentReserve(client_order_id=order.client_order_id.value, answer=answers.append))
        (answer,) = answers
        return answer.reason

    def release(self, order: Any) -> None:
        self.bus.send(RELEASE, ParentRelease(client_order_id=order.client_order_id.value))

    def refused(self, action: str = "submit") -> list[str]:
        """The codes of what the gate has refused."""
        return [each.code for each in self.decisions if each.verdict == "refused" and each.details["action"] == action]


class Sent:
    """Stands in front of the engine, behind every gate: what it sees has got through."""

    def __init__(self, bus: Any) -> None:
        self.commands: list[Any] = []
        self._pass_on = take_over(bus, EXECUTE, self.execute)

    def execute(self, command: Any) -> None:
        self.commands.append(command)
        self._pass_on(command)

    def names(self) -> list[str]:
        return [type(each).__name__ for each in self.commands]


def reason(order: Any) -> str:
    """Why it was refused: what its last event says."""
    return getattr(order.last_event, "reason", "")


def is_denied(order: Any, text: str) -> bool:
    """DENIED with exactly this text."""
    assert (OrderStatus.DENIED, text) == (order.status, reason(order))
    return True


def quote_of(instrument: Any, bid: Any, ask: Any, ts_ns: int) -> QuoteTick:
    size = instrument.make_qty(1_000)
    return QuoteTick(instrument.id, instrument.make_price(bid), instrument.make_price(ask), size, size, ts_ns, ts_ns)


def limited(**limits: Any) -> dict[str, Any]:
    """No preset, these limits for everything."""
    return scoped("global", **limits)


def scoped(scope: str, **limits: Any) -> dict[str, Any]:
    return {"preset": "none", "limits": {scope: limits}}


def longest(stage: Stage, of: str = PERP) -> Decimal:
    return stage.gate.judge.ledger._marks[of].whole.longest


def modify(stage: Stage, order: Any, quantity: Any = None, *, price: Any = None, trigger: Any = None) -> None:
    """Past the strategy and the RiskEngine."""
    instrument = INSTRUMENTS[order.instrument_id.value]
    ids = (order.trader_id, order.strategy_id, order.instrument_id, order.client_order_id)
    size = None if quantity is None else instrument.make_qty(quantity)
    prices = [None if each is None else instrument.make_price(each) for each in (price, trigger)]
    stage.bus.send(EXECUTE, ModifyOrder(*ids, order.venue_order_id, size, *prices, UUID4(), 0))
