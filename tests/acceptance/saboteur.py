"""A strategy that spoils the suite's own code around it while it trades, once each, and says what it spoiled."""

from __future__ import annotations

import threading
from typing import Any

from nautilus_trader.config import StrategyConfig
from nautilus_trader.model.identifiers import InstrumentId
from nautilus_trader.trading.strategy import Strategy

from nautilus_ext.app import screen
from nautilus_ext.logs import actor, capture, writer
from nautilus_ext.persistence import mirror, portfolio_desk
from nautilus_ext.persistence.shipper import launch

DONE = "all is spoiled"
# Where, and how often it fails before it is what it was.
SPOILED: tuple[tuple[Any, str, int], ...] = (
    (mirror, "marks", 3),  # what the marks timer calls
    (mirror, "read_state", 2),  # what the timer of each second calls
    (actor.EventLog, "_order_record", 3),  # in the handler of order events
    (portfolio_desk.Desk, "ask", 1),  # in the endpoint that strategies ask
    (launch, "_spawn", 1),  # in the thread that looks after the shipper
    (screen.Screen, "_show", 1),  # in the thread of the screen
    (writer.Writer, "_tell_lost", 1),  # in the thread of the log
    (capture.Assembler, "feed", 1),  # in the thread that empties the pipes of stdout and stderr
)


def spoil(owner: Any, name: str, times: int) -> None:
    real, left, lock = getattr(owner, name), [times], threading.Lock()

    def spoiled(*arguments: Any, **options: Any) -> Any:
        with lock:
            left[0] -= 1
        if left[0] >= 0:
            raise RuntimeError(f"boom in {name}")
        return real(*arguments, **options)

    setattr(owner, name, spoiled)


class SaboteurConfig(StrategyConfig, frozen=True, kw_only=True):
    """Nothing to configure."""


class Saboteur(Strategy):
    def on_start(self) -> None:
        self.quotes = 0
        spoil(portfolio_desk.Portfolio, "delete_signals", 1)  # in a task that begins now, and that nobody waits for
        self.subscribe_quote_ticks(InstrumentId.from_str("BTCUSDT.SIM1"))

    def on_quote_tick(self, _tick: Any) -> None:
        self.quotes += 1
        if self.quotes == 1:
            for owner, name, times in SPOILED:
                spoil(owner, name, times)
            self.log.info(DONE)
