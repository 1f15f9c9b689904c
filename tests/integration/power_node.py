"""A trading node with `flush: power` on two sandboxes, on a disk that is as slow as the test wants.

power_node.py FOLDER SEED    says `sent <client> <command> <order>` when a client is told, `denied <order> <reason>`

Its disk: each sync takes a random time; while FOLDER/stuck exists none ends. What a power cut would leave is kept in
FOLDER/image: a copy of each file as it was when a sync of it began that has ended. A line on stdin ends it.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import time
from pathlib import Path

from mirror_node import run_until_told, say
from nautilus_trader.adapters.sandbox import factory as plain
from nautilus_trader.adapters.sandbox.config import SandboxExecutionClientConfig
from nautilus_trader.adapters.sandbox.execution import SandboxExecutionClient
from nautilus_trader.config import ImportableActorConfig, LiveDataClientConfig, LoggingConfig, RoutingConfig
from nautilus_trader.config import TradingNodeConfig as NodeConfig
from nautilus_trader.live.config import LiveExecEngineConfig, LiveRiskEngineConfig
from nautilus_trader.live.node import TradingNode
from nautilus_trader.model.enums import OrderSide
from nautilus_trader.model.identifiers import InstrumentId, TraderId
from nautilus_trader.trading.config import StrategyConfig
from nautilus_trader.trading.strategy import Strategy
from sandbox_node import FeedFactory

from nautilus_ext.persistence import intents

INSTRUMENTS = ("ETHUSDT-PERP.SIM2", "BTCUSDT-PERP.SIM3")
WORKING_MAX = 20
SYNC_S_MAX = 0.015
STEP_S_MAX = 0.004
TIMEOUT_MS = 400
POLL_S = 0.005


class SlowDisk:
    """Stands where `os.fdatasync` is called."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._dice = random.Random(seed)
        self._stuck = folder / "stuck"
        self._image = folder / "image"
        self._image.mkdir()

    def __call__(self, descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}")
        content = path.read_bytes() if path.is_file() else None
        time.sleep(self._dice.uniform(0, SYNC_S_MAX))  # the disk
        while self._stuck.exists():
            time.sleep(POLL_S)
        os.fdatasync(descriptor)
        if content is not None:
            unfinished = self._image / "unfinished"
            unfinished.write_bytes(content)
            unfinished.rename(self._image / path.readlink().name)


class Client(SandboxExecutionClient):
    """Says what it is told, in the order in which it is told."""

    def submit_order(self, command) -> None:
        self._say(command, command.order.client_order_id)
        super().submit_order(command)

    def modify_order(self, command) -> None:
        self._say(command, command.client_order_id)
        super().modify_order(command)

    def cancel_order(self, command) -> None:
        self._say(command, command.client_order_id)
        super().cancel_order(command)

    def _say(self, command, order_id) -> None:
        say(f"sent {self.id.value} {type(command).__name__} {order_id.value}")


class SandboxLiveExecClientFactory(plain.SandboxLiveExecClientFactory):
    """Of this name, or the engine gives it no portfolio."""

    @staticmethod
    def create(loop, name, config, portfolio, msgbus, cache, clock):  # noqa: ARG004, PLR0917 - the engine's signature
        return Client(
            loop=loop, portfolio=portfolio, msgbus=msgbus, cache=cache, clock=clock, config=config
        )  # fmt: skip


class Dice(Strategy):
    """Submits, changes and cancels as the dice fall; some cancels follow their submit at once."""

    def __init__(self, seed: int) -> None:
        super().__init__(StrategyConfig(order_id_tag="001"))
        self._dice = random.Random(seed)

    def on_start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._play())

    def on_order_denied(self, event) -> None:
        say(f"denied {event.client_order_id.value} {event.reason}")

    async def _play(self) -> None:
        while True:
            await asyncio.sleep(self._dice.uniform(0, STEP_S_MAX))
            for _ in range(self._dice.randrange(4)):
                self._act()

    def _act(self) -> None:
        working = [order for order in self.cache.orders() if not order.is_closed and not order.is_pending_cancel]
        choice = self._dice.random()
        if len(working) > WORKING_MAX or (working and choice < 0.4):
            self.cancel_order(self._dice.choice(working))
        elif choice < 0.6 and (open_ := [order for order in working if order.is_open and not order.is_pending_update]):
            order = self._dice.choice(open_)
            self.modify_order(order, price=self._price(order.instrument_id))
        else:
            of = self.cache.instrument(InstrumentId.from_str(self._dice.choice(INSTRUMENTS)))
            price = self._price(of.id)
            self.submit_order(self.order_factory.limit(of.id, OrderSide.BUY, of.make_qty("0.01"), price))

    def _price(self, instrument_id):
        return self.cache.instrument(instrument_id).make_price(self._dice.randrange(500, 900))


def main() -> None:
    folder, seed = Path(sys.argv[1]), int(sys.argv[2])
    intents.sync = SlowDisk(folder, seed)
    mirror = {
        "folder": str(folder / "journal"), "book_id": "BOOK", "run": 1, "epoch": 1,
        "flush": "power", "intent_timeout_ms": TIMEOUT_MS, "segment_bytes_max": 100_000,
    }  # fmt: skip
    paths = {"actor_path": "nautilus_ext.persistence:Mirror", "config_path": "nautilus_ext.persistence:MirrorConfig"}
    venues = [name.partition(".")[2] for name in INSTRUMENTS]
    terms = {"starting_balances": ["10000000 USDT"], "default_leverage": "10"}
    config = NodeConfig(
        trader_id=TraderId("TEST-001"),
        logging=LoggingConfig(log_level="ERROR", log_colors=False),
        actors=[ImportableActorConfig(**paths, config=mirror)],
        risk_engine=LiveRiskEngineConfig(bypass=True),
        exec_engine=LiveExecEngineConfig(graceful_shutdown_on_exception=True),
        data_clients={"FEED": LiveDataClientConfig(routing=RoutingConfig(default=True))},
        exec_clients={
            venue: SandboxExecutionClientConfig.parse(json.dumps({"venue": venue, **terms})) for venue in venues
        },
        timeout_portfolio=3.0,
        timeout_post_stop=0.2,
        timeout_disconnection=2.0,
    )
    node = TradingNode(config=config)
    node.trader.add_strategy(Dice(seed))
    node.add_data_client_factory("FEED", FeedFactory)
    for venue in venues:
        node.add_exec_client_factory(venue, SandboxLiveExecClientFactory)
    node.build()
    actor = run_until_told(node)
    say(f"finished {actor.finish(clean=True)}")


if __name__ == "__main__":
    main()
