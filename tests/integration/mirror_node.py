"""A trading node with a mirror on Nautilus's sandbox; a busy strategy trades. It says on stdout what a witness sees.

mirror_node.py FOLDER BUSY    `event <id>`, `state <json>`, `log <text>`; a line on stdin stops it in order
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from datetime import timedelta
from decimal import Decimal
from typing import Any

import msgspec
from nautilus_trader.adapters.sandbox.config import SandboxExecutionClientConfig
from nautilus_trader.adapters.sandbox.factory import SandboxLiveExecClientFactory
from nautilus_trader.config import ImportableActorConfig, LiveDataClientConfig, LoggingConfig, RoutingConfig
from nautilus_trader.config import TradingNodeConfig as NodeConfig
from nautilus_trader.live.config import LiveExecEngineConfig
from nautilus_trader.live.node import TradingNode
from nautilus_trader.model.enums import OrderSide
from nautilus_trader.model.identifiers import InstrumentId, TraderId
from nautilus_trader.trading.config import StrategyConfig
from nautilus_trader.trading.strategy import Strategy
from sandbox_node import FeedFactory

from nautilus_ext.messages import MIRROR_STATE

INSTRUMENT = "ETHUSDT-PERP.SIM2"


class Trader(Strategy):
    """A position that stays; then, when it is busy, market orders and resting ones as quickly as its quotes come."""

    def __init__(self, *, is_busy: bool) -> None:
        super().__init__(StrategyConfig(order_id_tag="001"))
        self.is_busy = is_busy
        self.turn = 0

    def on_start(self) -> None:
        self.instrument = self.cache.instrument(InstrumentId.from_str(INSTRUMENT))
        self.subscribe_quote_ticks(self.instrument.id)
        interval_ms = 2 if self.is_busy else 50
        self.clock.set_timer("market", timedelta(milliseconds=interval_ms), callback=self.move)

    def move(self, _event) -> None:
        """On a thread of the clock's."""
        self.turn += 1
        bid = Decimal(3_000) + self.turn % 7
        feed = FeedFactory.feeds[0]
        feed._loop.call_soon_threadsafe(feed.quote, INSTRUMENT, str(bid), str(bid + 1), "50")

    def on_quote_tick(self, tick) -> None:
        if not self.portfolio.is_flat(self.instrument.id) and not self.is_busy:
            return
        for order in self.cache.orders_open(strategy_id=self.id):
            self.cancel_order(order)
        side = OrderSide.BUY if self.turn % 2 or not self.is_busy else OrderSide.SELL
        self.submit_order(self.order_factory.market(self.instrument.id, side, self.instrument.make_qty(1)))
        price = self.instrument.make_price(tick.bid_price.as_decimal() / 2)
        self.submit_order(
            self.order_factory.limit(self.instrument.id, OrderSide.BUY, self.instrument.make_qty(1), price)
        )

    def on_stop(self) -> None:
        self.cancel_all_orders(self.instrument.id)


def say(text: str) -> None:
    os.write(1, f"{text}\n".encode())


class Said(logging.Handler):
    """Python's log, a line for each record."""

    def emit(self, record: logging.LogRecord) -> None:
        say(f"log {record.getMessage()}")


def run_until_told(node: TradingNode) -> Any:
    """Run until a line comes on stdin, dispose of the node, and return its one actor."""
    loop = node.get_event_loop()
    assert loop is not None

    def stop_when_told() -> None:
        sys.stdin.readline()
        loop.call_soon_threadsafe(node.stop)

    threading.Thread(target=stop_when_told, daemon=True).start()
    (actor,) = node.trader.actors()
    node.run()
    node.dispose()
    return actor


def main() -> None:
    logging.getLogger("nautilus_ext").addHandler(Said())
    mirror = {"folder": sys.argv[1], "book_id": "BOOK", "run": 1, "epoch": 1, "mark_interval_ms": 100}
    paths = {"actor_path": "nautilus_ext.persistence:Mirror", "config_path": "nautilus_ext.persistence:MirrorConfig"}
    config = NodeConfig(
        trader_id=TraderId("TEST-001"),
        logging=LoggingConfig(log_level="ERROR", log_colors=False),
        actors=[ImportableActorConfig(**paths, config=mirror)],
        exec_engine=LiveExecEngineConfig(graceful_shutdown_on_exception=True),
        data_clients={"FEED": LiveDataClientConfig(routing=RoutingConfig(default=True))},
        exec_clients={
            "SIM2": SandboxExecutionClientConfig.parse(
                json.dumps({"venue": "SIM2", "starting_balances": ["10000000 USDT"], "default_leverage": "10"})
            )
        },
        timeout_portfolio=3.0,
        timeout_post_stop=0.2,
        timeout_disconnection=2.0,
    )
    node = TradingNode(config=config)
    node.trader.add_strategy(Trader(is_busy=sys.argv[2] == "busy"))
    node.add_data_client_factory("FEED", FeedFactory)
    node.add_exec_client_factory("SIM2", SandboxLiveExecClientFactory)
    node.build()
    for topic in ("events.order.*", "events.position.*", "events.account.*"):
        node.kernel.msgbus.subscribe(topic, lambda event: say(f"event {event.id.value}"), priority=50)
    node.kernel.msgbus.subscribe(MIRROR_STATE, lambda state: say(f"state {msgspec.json.encode(state).decode()}"))
    actor = run_until_told(node)
    actor.finish(clean=True)
    say(f"finished {actor._run_log.failures} {actor.mirror_state.last_error}")


if __name__ == "__main__":
    main()
