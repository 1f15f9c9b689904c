"""Breakers on a backtest engine with venues that trade, or on a bare bus; and something that takes their commands."""

from __future__ import annotations

from decimal import Decimal
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from nautilus_trader.cache.cache import Cache
from nautilus_trader.common.component import MessageBus, TestClock
from nautilus_trader.core.uuid import UUID4
from nautilus_trader.model.events import OrderAccepted, OrderRejected, OrderSubmitted
from nautilus_trader.model.identifiers import (
    AccountId,
    ClientId,
    ClientOrderId,
    InstrumentId,
    StrategyId,
    TraderId,
    Venue,
    VenueOrderId,
)
from nautilus_trader.portfolio.portfolio import Portfolio
from risk_stage import BEGIN_NS, Stage

from nautilus_ext.messages import ALERT, COMMAND, COMMANDED, RESUMED
from nautilus_ext.risk import CircuitBreakers, CircuitBreakersConfig
from nautilus_ext.seam import PROCESS

if TYPE_CHECKING:
    from pathlib import Path

S = 1_000_000_000
TRADER, STRATEGY, ACCOUNT, PERP = "T-1", "S-001", "SIM2-001", "BTCUSDT-PERP.SIM2"


def rule(kind: str, scope: str, limit: Any, action: str = "halt", **more: Any) -> dict[str, Any]:
    return {"kind": kind, "scope": scope, "limit": limit, "action": action, **more}


def breakers(*rules: dict[str, Any], path: Path | None = None, **section: Any) -> CircuitBreakers:
    section = {"breakers": list(rules), **section}
    return CircuitBreakers(CircuitBreakersConfig(section=section, path="" if path is None else str(path)))


class Ears:
    """What the breakers say, and the answers that a gate would give."""

    def __init__(self, bus: Any) -> None:
        self.bus = bus
        self.alerts: list[Any] = []
        self.commands: list[Any] = []
        self.commanded: list[Any] = []
        self.answer: tuple[bool, str] | None = (True, "done")
        bus.subscribe(ALERT, self.alerts.append)
        bus.subscribe(COMMANDED, self.commanded.append)
        bus.register(COMMAND, self._take)

    def _take(self, asked: Any) -> None:
        self.commands.append(asked.command)
        if self.answer is not None:
            asked.answer(*self.answer)

    @property
    def told(self) -> list[tuple[str, str, str]]:
        return [(each.code, each.scope, each.severity) for each in self.alerts]

    @property
    def stopped(self) -> list[tuple[str, str, str]]:
        return [(each.kind, each.what.scope, each.issued_by) for each in self.commands]

    def resume(self, scope: str) -> None:
        self.bus.publish(RESUMED, scope)


def traded(*rules: dict[str, Any], path: Path | None = None, **section: Any) -> tuple[Stage, Ears]:
    """A market that stands at 100 to 101, and breakers beside it."""
    ears: list[Ears] = []
    actor = breakers(*rules, path=path, **section)
    stage = Stage(gate=False, actors=[actor])
    ears.append(Ears(stage.bus))
    return stage.start(), ears[0]


class Bus:
    """A clock that the test moves and a bus on which it says what a node would hear."""

    def __init__(self, *rules: dict[str, Any], path: Path | None = None, **section: Any) -> None:
        self.clock = TestClock()
        self.clock.set_time(BEGIN_NS)
        self.bus = MessageBus(trader_id=TraderId(TRADER), clock=self.clock)
        self.cache = Cache()
        self.bus.register(PROCESS, SimpleNamespace(process=print).process)
        self.ears = Ears(self.bus)
        self.breakers = breakers(*rules, path=path, **section)
        self.breakers.register_base(Portfolio(self.bus, self.cache, self.clock), self.bus, self.cache, self.clock)
        self._count = 0

    def start(self) -> Bus:
        self.breakers.start()
        return self

    def wait(self, seconds: float) -> None:
        """Second by second: a timer's handler sees the time to which the clock was moved."""
        until_ns = self.clock.timestamp_ns() + round(seconds * S)
        while (now_ns := self.clock.timestamp_ns()) < until_ns:
            for event in self.clock.advance_time(min(now_ns + S, until_ns)):
                event.handle()

    def say(self, topic: str, message: Any) -> None:
        self.bus.publish(topic, message)

    # -- orders -------------------------------------------------------------------------------------

    def sent(self, *, strategy: str = STRATEGY, of: str = PERP) -> dict[str, Any]:
        self._count += 1
        words = {
            "trader_id": TraderId(TRADER),
            "strategy_id": StrategyId(strategy),
            "instrument_id": InstrumentId.from_str(of),
            "client_order_id": ClientOrderId(f"O-{self._count}"),
            "account_id": AccountId(ACCOUNT),
        }
        self._event(OrderSubmitted, words)
        return words

    def accepted(self, words: dict[str, Any] | None = None, **more: Any) -> None:
        self._event(OrderAccepted, {**(words or self.sent()), "venue_order_id": VenueOrderId("V"), **more})

    def rejected(self, words: dict[str, Any] | None = None, **more: Any) -> None:
        self._event(OrderRejected, {**(words or self.sent()), "reason": "no", **more})

    def _event(self, kind: Any, words: dict[str, Any]) -> None:
        now_ns = self.clock.timestamp_ns()
        event = kind(**words, event_id=UUID4(), ts_event=now_ns, ts_init=now_ns)
        self.say(f"events.order.{event.strategy_id}", event)


class Client:
    """An execution client as the breakers see one."""

    def __init__(self, venue: str) -> None:
        self.venue, self.id = Venue(venue), ClientId(venue)
        self.is_connected = True


def dec(value: Any) -> Decimal:
    return Decimal(str(value))


STREAK = rule("reject_streak", "strategy=*", 1, window_s=60)
HAND = "strategy=HAND-001"


def looked(bus, seconds):
    for _ in range(seconds):
        bus.wait(1)
        bus.breakers._look_at_connections()


def trip(bus, count=2):
    for _ in range(count):
        bus.rejected()
