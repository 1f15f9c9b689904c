"""What the gate costs an order, all controls on, however much works; Nautilus's own RiskEngine beside it."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import Any

from measure import Figure
from nautilus_trader.accounting.factory import AccountFactory
from nautilus_trader.cache.cache import Cache
from nautilus_trader.common.component import MessageBus, TestClock
from nautilus_trader.common.factories import OrderFactory
from nautilus_trader.config import RiskEngineConfig
from nautilus_trader.core.uuid import UUID4  # pyright: ignore[reportAttributeAccessIssue] - compiled, without a stub
from nautilus_trader.execution.engine import ExecutionEngine
from nautilus_trader.execution.messages import SubmitOrder
from nautilus_trader.model.currencies import USDT
from nautilus_trader.model.data import QuoteTick
from nautilus_trader.model.enums import AccountType, OrderSide
from nautilus_trader.model.events import AccountState
from nautilus_trader.model.identifiers import AccountId, ClientId, InstrumentId, StrategyId, Symbol, TraderId, Venue
from nautilus_trader.model.objects import AccountBalance, Money
from nautilus_trader.portfolio.portfolio import Portfolio
from nautilus_trader.risk.engine import RiskEngine
from nautilus_trader.test_kit.mocks.exec_clients import MockExecutionClient
from nautilus_trader.test_kit.providers import TestInstrumentProvider

from nautilus_ext.risk import RiskGate, RiskGateConfig

WORKING = (10, 1_000, 10_000)
INSTRUMENTS = (1, 100, 1_000)
ROUNDS, ORDERS = 20, 100
BUDGET_US = 10.0
FLAT_RATIO = 1.25
QUOTED_EVERY = 1_000  # orders: an older price would refuse them
TRADER, STRATEGY, VENUE = TraderId("BENCH-001"), StrategyId("S-001"), Venue("BINANCE")
STEP_NS = 1_000_000
SECTION: dict[str, Any] = {
    "preset": "strict",
    "approvals_recorded_every": 1_000,  # what a record of an approval costs is measured beside it
    "limits": {
        "global": {
            "max_order_quantity": "1000",
            "min_order_quantity": "0.001",
            "max_order_notional": "10000000",
            "price_collar_bps": "500",
            "max_position": "100000000",
            "max_exposure": "1000000000000",
            "messages": [{"max": 100_000}, {"max": 100_000, "window_s": 60.0}],
            "duplicate_window_ms": 1,
            "self_match": "refuse",
            "check_balance": True,
            "allowed_sides": ["BUY", "SELL"],
        },
        "venue=*": {"max_exposure": "1000000000000"},
        "account=*": {"max_exposure": "1000000000000"},
        "strategy=*": {"max_exposure": "1000000000000", "max_position": "100000000", "messages": [{"max": 100_000}]},
        "asset=*": {"max_position": "100000000"},
        "instrument=*": {"max_position": "100000000"},
    },
}


class Desk:
    """Engines without a venue: what the gate or the RiskEngine lets through ends nowhere."""

    def __init__(self, instruments: int) -> None:
        self.clock = TestClock()
        self.clock.set_time(1_000_000_000)
        self.msgbus = MessageBus(trader_id=TRADER, clock=self.clock)
        self.cache = Cache()
        self.portfolio = Portfolio(self.msgbus, self.cache, self.clock)
        engine = ExecutionEngine(msgbus=self.msgbus, cache=self.cache, clock=self.clock)
        client = MockExecutionClient(
            ClientId("BINANCE"), VENUE, AccountType.MARGIN, None, self.msgbus, self.cache, self.clock
        )
        engine.register_client(client)
        account = _account()
        self.cache.add_account(account)
        client._set_account_id(account.id)
        self.instruments = [_instrument(number) for number in range(instruments)]
        for instrument in self.instruments:
            self.cache.add_instrument(instrument)
        self.factory = OrderFactory(TRADER, STRATEGY, self.clock)
        self.passed = 0
        self.msgbus.deregister("ExecEngine.execute", engine.execute)
        self.msgbus.register("ExecEngine.execute", self._end)
        self.quote()

    def _end(self, _command: Any) -> None:
        self.passed += 1

    def quote(self) -> None:
        now_ns = self.clock.timestamp_ns()
        for instrument in self.instruments:
            bid, ask = instrument.make_price(50_000), instrument.make_price(50_001)
            size = instrument.make_qty(Decimal(1))
            self.cache.add_quote_tick(QuoteTick(instrument.id, bid, ask, size, size, now_ns, now_ns))

    def command(self, number: int) -> SubmitOrder:
        """Resting buys, far enough apart to be no duplicates."""
        self.clock.set_time(self.clock.timestamp_ns() + 2 * STEP_NS)
        instrument = self.instruments[number % len(self.instruments)]
        price = instrument.make_price(Decimal(49_000) + Decimal(number % 500))
        order = self.factory.limit(instrument.id, OrderSide.BUY, instrument.make_qty(Decimal("0.010")), price)
        self.cache.add_order(order)
        return SubmitOrder(TRADER, STRATEGY, order, UUID4(), self.clock.timestamp_ns())


def figures() -> list[Figure]:
    found, medians = [], {}
    for working in WORKING:
        for instruments in INSTRUMENTS:
            values = _gate_us(working, instruments)
            what = f"gate per order, all controls: {working:,} working, {instruments:,} instruments"
            figure = Figure(what, "us", values, budget=BUDGET_US, note=f"each run the mean of {ORDERS}")
            medians[working, instruments] = figure.median
            found.append(figure)
    flat = max(medians[WORKING[-1], each] / medians[WORKING[0], each] for each in INSTRUMENTS)
    what = f"gate, {WORKING[-1]:,} working orders against {WORKING[0]:,}"
    note = "the worst of the three numbers of instruments"
    found.append(Figure(what, "ratio", (flat,), budget=FLAT_RATIO, note=note))
    every = _gate_us(WORKING[0], INSTRUMENTS[0], SECTION | {"approvals_recorded_every": 1})
    found.append(Figure("gate per order, each approval recorded", "us", every, note="no budget"))
    own = _risk_engine_us()
    found.append(Figure("Nautilus's RiskEngine per order, the same orders", "us", own, note="no budget: the peer"))
    return found


def _gate_us(working: int, instruments: int, section: dict[str, Any] = SECTION) -> tuple[float, ...]:
    desk = Desk(instruments)
    gate = RiskGate(RiskGateConfig(section=section))
    gate.register_base(desk.portfolio, desk.msgbus, desk.cache, desk.clock)
    before = max(working, instruments)  # each instrument's controls are compiled once
    for number in range(before):
        if number % QUOTED_EVERY == 0:
            desk.quote()
        command = desk.command(number)
        gate.execute(command)
        if number < before - working:
            gate.judge.ledger.remove(command.order.client_order_id.value)
    values = []
    for turn in range(ROUNDS):
        desk.quote()
        commands = [desk.command(before + turn * ORDERS + number) for number in range(ORDERS)]
        values.append(_mean_us(gate.execute, commands))
        for command in commands:
            gate.judge.ledger.remove(command.order.client_order_id.value)
    expected = before + ROUNDS * ORDERS
    assert desk.passed == expected, f"{desk.passed} of {expected} passed: the figure says nothing"
    return tuple(values)


def _risk_engine_us() -> tuple[float, ...]:
    desk = Desk(1)
    config = RiskEngineConfig(
        max_order_submit_rate="1000000/00:00:01",
        max_order_modify_rate="1000000/00:00:01",
        max_notional_per_order={desk.instruments[0].id.value: 10_000_000},
    )
    engine = RiskEngine(desk.portfolio, desk.msgbus, desk.cache, desk.clock, config)
    values = tuple(
        _mean_us(engine.execute, [desk.command(turn * ORDERS + number) for number in range(ORDERS)])
        for turn in range(ROUNDS)
    )
    assert desk.passed == ROUNDS * ORDERS, f"{desk.passed} passed: the figure says nothing"
    return values


def _mean_us(execute: Any, commands: list[SubmitOrder]) -> float:
    began_ns = time.perf_counter_ns()
    for command in commands:
        execute(command)
    return (time.perf_counter_ns() - began_ns) / len(commands) / 1e3


def _account() -> Any:
    balance = AccountBalance(Money(1e12, USDT), Money(0, USDT), Money(1e12, USDT))
    kind = (AccountId("BINANCE-001"), AccountType.MARGIN, None, True)
    return AccountFactory.create(AccountState(*kind, [balance], [], {}, UUID4(), 0, 0))


def _instrument(number: int) -> Any:
    perpetual = TestInstrumentProvider.btcusdt_perp_binance()
    if not number:
        return perpetual
    told = type(perpetual).to_dict(perpetual) | {
        "id": InstrumentId(Symbol(f"BTC{number}USDT-PERP"), VENUE).value,
        "raw_symbol": f"BTC{number}USDT",
    }
    return type(perpetual).from_dict(told)


if __name__ == "__main__":
    for each in figures():
        print(each.what, each.median, each.unit, "budget", each.budget)
