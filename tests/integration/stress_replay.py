"""The orders of a book's last recorded session once more, through the gate, at twice the rate of its busiest second.

stress_replay.py CONFIG    every verdict is held against a recount from scratch; exit 1 when one differs, or when the
gate is slower than that rate
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import asyncpg
import msgspec
from nautilus_trader.accounting.factory import AccountFactory
from nautilus_trader.cache.cache import Cache
from nautilus_trader.common.component import MessageBus, TestClock
from nautilus_trader.core.uuid import UUID4
from nautilus_trader.execution.engine import ExecutionEngine
from nautilus_trader.execution.messages import SubmitOrder
from nautilus_trader.model import instruments as kinds
from nautilus_trader.model.currencies import USDT
from nautilus_trader.model.data import QuoteTick
from nautilus_trader.model.enums import AccountType
from nautilus_trader.model.events import AccountState, OrderInitialized
from nautilus_trader.model.identifiers import AccountId, ClientId
from nautilus_trader.model.objects import AccountBalance, Money
from nautilus_trader.model.orders import OrderUnpacker
from nautilus_trader.portfolio.portfolio import Portfolio
from nautilus_trader.test_kit.mocks.exec_clients import MockExecutionClient

from nautilus_ext.messages import RISK_DECISIONS
from nautilus_ext.risk import RiskGate, RiskGateConfig
from nautilus_ext.risk.facts import Order
from nautilus_ext.risk.ledger import Key
from nautilus_ext.risk.sights import listing_of
from nautilus_ext.seam import EXECUTE

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "risk"))

from recount import Recount, owner

if TYPE_CHECKING:
    from nautilus_ext.messages import RiskDecision

FACTOR = 2
ORDERS_MAX = 5_000  # the last ones: a recount from scratch takes its time
S = 1_000_000_000
_NEWEST = """
    SELECT book_id, run FROM order_events
     WHERE type = 'OrderInitialized' AND ($1::text IS NULL OR book_id = $1) ORDER BY ts_init DESC LIMIT 1"""
_EVENTS = """
    SELECT type, ts_init, payload::text FROM order_events
     WHERE book_id = $1 AND run = $2 AND type IN ('OrderInitialized', 'OrderFilled', 'OrderCanceled', 'OrderExpired',
                                                  'OrderRejected', 'OrderDenied')
     ORDER BY seq"""
_INSTRUMENTS = "SELECT definition::text FROM instruments WHERE book_id = $1"


class Step(NamedTuple):
    """What happened in the session: an order was made, some of it was filled, it was over."""

    type: str
    ts_ns: int
    body: dict[str, Any]


@dataclass
class Session:
    steps: list[Step]
    instruments: dict[str, Any]

    @property
    def sent(self) -> list[Step]:
        return [step for step in self.steps if step.type == "OrderInitialized"]

    @property
    def peak(self) -> int:
        """Orders in the busiest second."""
        times = [step.ts_ns for step in self.sent]
        busiest, first = 0, 0
        for last, now_ns in enumerate(times):
            while times[first] <= now_ns - S:
                first += 1
            busiest = max(busiest, last - first + 1)
        return busiest


async def recorded(url: str, book_id: str | None = None) -> Session:
    """From the journal: the newest run in which an order was made. Parents pass no gate, so they are left out."""
    connection = await asyncpg.connect(url)
    try:
        newest = await connection.fetchrow(_NEWEST, book_id)
        assert newest is not None, f"no session with an order is recorded for {book_id or 'any book'}"
        rows = await connection.fetch(_EVENTS, newest["book_id"], newest["run"])
        definitions = [msgspec.json.decode(row[0]) for row in await connection.fetch(_INSTRUMENTS, newest["book_id"])]
    finally:
        await connection.close()
    made = [getattr(kinds, each["type"]).from_dict(each) for each in definitions]
    steps = [Step(kind, ts_ns, msgspec.json.decode(body)) for kind, ts_ns, body in rows]
    parents = {step.body["client_order_id"] for step in steps if _is_parent(step)}
    steps = [step for step in steps if step.body["client_order_id"] not in parents]
    first = [at for at, step in enumerate(steps) if step.type == "OrderInitialized"][-ORDERS_MAX:][0]
    return Session(steps[first:], {each.id.value: each for each in made})


def _is_parent(step: Step) -> bool:
    return step.type == "OrderInitialized" and bool(
        step.body.get("exec_algorithm_id") and not step.body.get("exec_spawn_id")
    )


class Limits(NamedTuple):
    """Such that each of them is met now and then."""

    sizes: dict[str, Decimal]
    positions: dict[str, Decimal]
    exposure: Decimal
    messages: int

    def section(self) -> dict[str, Any]:
        scopes: dict[str, Any] = {
            f"instrument={name}": {"max_order_quantity": str(size), "max_position": str(self.positions[name])}
            for name, size in self.sizes.items()
        }
        scopes["global"] = {
            "max_exposure": str(self.exposure),
            "messages": [{"max": self.messages, "types": ["submit"]}],
        }
        return {
            "preset": "none",
            "limits": scopes,
            "conversions": {"USD": "1"},
            "needs_limits": False,
            "price_age_ms_max": 86_400_000,
            "approvals_recorded_every": 1,
        }


def limits_for(session: Session, prices: dict[str, Decimal]) -> Limits:
    most: dict[str, Decimal] = {}
    for step in session.sent:
        name = step.body["instrument_id"]
        most[name] = max(most.get(name, Decimal(0)), Decimal(step.body["quantity"]))
    values = [size * prices[name] * session.instruments[name].multiplier.as_decimal() for name, size in most.items()]
    return Limits(
        sizes={name: size * Decimal("0.99") if at % 3 == 0 else size for at, (name, size) in enumerate(most.items())},
        positions={name: size * Decimal("1.5") for name, size in most.items()},
        exposure=max(values) * Decimal("1.5"),
        messages=max(1, session.peak + session.peak // 2),
    )


class SlowReference:
    """Which limits an order would pass, counted from scratch."""

    def __init__(self, limits: Limits, truth: Recount) -> None:
        self.limits = limits
        self.truth = truth
        self.sent_ns: list[int] = []

    def faults(self, order: Order, now_ns: int) -> set[str]:
        limits, name = self.limits, order.instrument_id
        found = {"MAX_ORDER_QUANTITY"} if order.quantity > limits.sizes[name] else set()
        before = self._measures(name, order.side)
        self.truth.place(order)
        after = self._measures(name, order.side)
        self.truth.take_out(order.client_order_id)
        for code, had, has, most in zip(
            ("MAX_POSITION", "MAX_EXPOSURE"), before, after, (limits.positions[name], limits.exposure), strict=True
        ):
            if has > most and has > had:
                found.add(code)
        if sum(now_ns - each < S for each in self.sent_ns) >= limits.messages:
            found.add("MESSAGE_RATE")
        return found

    def _measures(self, name: str, side: int) -> tuple[Decimal, Decimal]:
        _, longest, shortest = self.truth.net(name, owner("global", ""))
        return longest if side > 0 else -shortest, self.truth.exposure("global", "")[0]


@dataclass
class Replayed:
    orders: int = 0
    peak: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    different: list[str] = field(default_factory=list)
    gate_ns: int = 0

    @property
    def order_us(self) -> float:
        return self.gate_ns / max(self.orders, 1) / 1e3

    @property
    def per_second(self) -> float:
        return self.orders * 1e9 / max(self.gate_ns, 1)

    def __str__(self) -> str:
        verdicts = ", ".join(f"{count:,} {code}" for code, count in self.verdicts.most_common())
        return (
            f"{self.orders:,} orders at {FACTOR * self.peak:,} per second, {FACTOR} times the busiest one: {verdicts}; "
            f"the gate took {self.order_us:.1f} us each, {self.per_second:,.0f} per second; "
            f"{len(self.different):,} verdicts differ from the recount"
        )


class Stage:
    """The gate before an engine whose venues are silent: what happens to an order is in the session."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.clock = TestClock()
        self.clock.set_time(session.steps[0].ts_ns)
        first = OrderInitialized.from_dict(session.sent[0].body)
        self.bus = MessageBus(trader_id=first.trader_id, clock=self.clock)
        self.cache = Cache()
        engine = ExecutionEngine(msgbus=self.bus, cache=self.cache, clock=self.clock)
        self.prices: dict[str, Decimal] = {}
        for venue in {each.id.venue for each in session.instruments.values()}:
            self._open(engine, venue)
        for name, instrument in session.instruments.items():
            self.cache.add_instrument(instrument)
            self._quote(name, instrument)
        self.bus.deregister(EXECUTE, engine.execute)
        self.bus.register(EXECUTE, lambda _command: None)
        self.limits = limits_for(session, self.prices)
        self.gate = RiskGate(RiskGateConfig(section=self.limits.section()))
        self.gate.register_base(Portfolio(self.bus, self.cache, self.clock), self.bus, self.cache, self.clock)
        self.decided: list[RiskDecision] = []
        self.bus.subscribe(RISK_DECISIONS, self.decided.append)
        listings = {name: listing_of(each) for name, each in session.instruments.items()}
        self.truth = Recount(listings, {"USDT": Decimal(1), "USD": Decimal(1)}, dict(self.prices))
        self.reference = SlowReference(self.limits, self.truth)

    def _open(self, engine: Any, venue: Any) -> None:
        client = MockExecutionClient(
            ClientId(venue.value), venue, AccountType.MARGIN, None, self.bus, self.cache, self.clock
        )
        engine.register_client(client)
        balance = AccountBalance(Money(1e12, USDT), Money(0, USDT), Money(1e12, USDT))
        kind = (AccountId(f"{venue}-001"), AccountType.MARGIN, None, True)
        account = AccountFactory.create(AccountState(*kind, [balance], [], {}, UUID4(), 0, 0))
        self.cache.add_account(account)
        client._set_account_id(account.id)

    def _quote(self, name: str, instrument: Any) -> None:
        """One price for all of it: what an order is worth is not what is proven here."""
        told = [
            step.body["price"]
            for step in self.session.sent
            if step.body["instrument_id"] == name and step.body.get("price")
        ]
        price = instrument.make_price(Decimal(told[0]) if told else Decimal(1_000))
        size, now_ns = instrument.make_qty(1), self.clock.timestamp_ns()
        self.cache.add_quote_tick(QuoteTick(instrument.id, price, price, size, size, now_ns, now_ns))
        self.prices[name] = price.as_decimal()

    # -- the replay ---------------------------------------------------------------------------------

    def replay(self) -> Replayed:
        done = Replayed(peak=self.session.peak)
        pause_ns = S // (FACTOR * max(done.peak, 1))
        for step in self.session.steps:
            if step.type == "OrderInitialized":
                self.clock.set_time(self.clock.timestamp_ns() + pause_ns)
                self._send(step, done)
            elif step.body["client_order_id"] in self.truth.orders:
                self._fill(step) if step.type == "OrderFilled" else self._end(step.body["client_order_id"])
        done.different += self.truth.differences(self.gate.judge.ledger)
        return done

    def _send(self, step: Step, done: Replayed) -> None:
        init, now_ns = OrderInitialized.from_dict(step.body), self.clock.timestamp_ns()
        order = OrderUnpacker.from_init(init)
        self.cache.add_order(order)
        facts = _facts(order)
        expected = self.reference.faults(facts, now_ns)
        command = SubmitOrder(order.trader_id, order.strategy_id, order, UUID4(), now_ns)
        self.decided.clear()
        began_ns = time.perf_counter_ns()
        self.gate.execute(command)
        done.gate_ns += time.perf_counter_ns() - began_ns
        done.orders += 1
        (said,) = self.decided
        done.verdicts[said.code or said.verdict] += 1
        if (said.code not in expected) if said.verdict == "refused" else expected:
            done.different.append(f"{order.client_order_id}: {said.verdict} {said.code}, recount {sorted(expected)}")
        if said.verdict == "approved":
            self.truth.place(facts)
            self.reference.sent_ns = [each for each in self.reference.sent_ns if now_ns - each < S] + [now_ns]

    def _fill(self, step: Step) -> None:
        name, amount = step.body["client_order_id"], Decimal(step.body["last_qty"])
        order = self.truth.orders[name].order
        position_id = f"{order.instrument_id}/{order.strategy_id}"
        amount = min(amount, self.truth.orders[name].quantity)
        self.truth.fill(name, amount, position_id)
        key, held = self.truth.held[position_id]
        self.gate.judge.ledger.fill(name, self.truth.orders[name].quantity)
        self.gate.judge.ledger.hold(position_id, Key(*key), held)
        if not self.truth.orders[name].quantity:
            self._end(name)

    def _end(self, name: str) -> None:
        self.truth.end(name)
        self.gate.judge.ledger.remove(name)


def _facts(order: Any) -> Order:
    """What a recount needs to know of it, from the order itself."""
    return Order(
        client_order_id=order.client_order_id.value,
        strategy_id=order.strategy_id.value,
        instrument_id=order.instrument_id.value,
        side=1 if order.is_buy else -1,
        quantity=order.quantity.as_decimal(),
        type=order.type_string(),
        account_id=f"{order.instrument_id.venue}-001",
        price=order.price.as_decimal() if order.has_price else None,
        trigger_price=order.trigger_price.as_decimal() if order.has_trigger_price else None,
        is_reduce_only=order.is_reduce_only,
    )


def main() -> int:
    from nautilus_ext import config as configs
    from nautilus_ext.app.database import open_tables

    config = configs.load(sys.argv[1])
    with open_tables(config) as tables:
        session = asyncio.run(recorded(tables.app_url, config.book_id))
    done = Stage(session).replay()
    print(done, *done.different[:20], sep="\n")
    return 1 if done.different or done.per_second < FACTOR * done.peak else 0


if __name__ == "__main__":
    sys.exit(main())
