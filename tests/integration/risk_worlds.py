"""The same orders in a backtest and in a trading node, with the gate in both; what it said is reported.

risk_worlds.py backtest|live CATALOG SECTION FOLDER    the node's journal has `flush: power`, so what passes is parked
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import two_worlds
from nautilus_trader.config import ImportableActorConfig, StrategyConfig
from nautilus_trader.model.enums import OrderSide, TriggerType
from nautilus_trader.model.identifiers import ExecAlgorithmId
from nautilus_trader.trading.strategy import Strategy
from risk_parent import NAME, Worker
from two_worlds import BTC_ID, ETH_ID

from nautilus_ext.messages import RISK_DECISIONS

REFUSALS = ("OrderDenied", "OrderModifyRejected", "OrderCancelRejected")
BUY, SELL = OrderSide.BUY, OrderSide.SELL


class Player(Strategy):
    """At each of its quotes the next scene. Orders are known by the number in which they were made."""

    def __init__(self) -> None:
        super().__init__(StrategyConfig(strategy_id="PLAYER", order_id_tag="001"))
        self.said: list[str] = []
        self.names: dict[str, str] = {}
        self.quotes = 0
        self.orders: dict[str, Any] = {}

    def on_start(self) -> None:
        self.msgbus.subscribe(RISK_DECISIONS, self.on_decision)
        self.msgbus.subscribe("events.order.*", self.on_refusal)  # also while it starts and when it has stopped
        self.subscribe_quote_ticks(ETH_ID)
        self.subscribe_quote_ticks(BTC_ID)
        self.send("at the start", BUY, 100, 90)

    def on_quote_tick(self, tick: Any) -> None:
        if tick.instrument_id == ETH_ID:
            self.quotes += 1
            scene = getattr(self, f"scene_{self.quotes}", None)
            if scene is not None:
                scene()

    def scene_2(self) -> None:
        self.send("first", BUY, 3, 95)
        self.send("second", BUY, 3, 95)
        self.send_list("list", (1, 1), (1, 9))
        self.send_list("good list", (1, 91), (1, 92))

    def scene_4(self) -> None:
        self.change("first", 4)
        self.change("first", "3.5")
        self.send("too far away", BUY, "0.1", 150)
        self.send("itself", SELL, 1, 95)

    def scene_6(self) -> None:
        self.cancel_all_orders(ETH_ID)

    def scene_8(self) -> None:
        self.send("market", BUY, 2)
        self.send("like it", BUY, 2)
        self.send("elsewhere", BUY, 2, of=BTC_ID)

    def scene_10(self) -> None:
        self.send("emulated", BUY, 2, 102, emulation_trigger=TriggerType.BID_ASK)
        self.send("emulated, too much", BUY, 3, 102, emulation_trigger=TriggerType.BID_ASK)

    def scene_12(self) -> None:
        self.send("parent", SELL, 3, exec_algorithm_id=ExecAlgorithmId(NAME))

    def scene_14(self) -> None:
        self.send("parent, too large", SELL, 30, exec_algorithm_id=ExecAlgorithmId(NAME))

    def scene_16(self) -> None:
        self.send("cancelled at once", BUY, "0.5", 96)
        self.send("cancelled in a batch", BUY, "0.5", 97)
        self.cancel_order(self.orders["cancelled at once"])
        self.cancel_orders([self.orders["cancelled in a batch"]])

    def on_stop(self) -> None:
        self.send("at the stop", BUY, 100, 90)

    # -- what it does -------------------------------------------------------------------------------

    def make(self, name: str, side: Any, size: Any, price: Any = None, *, of: Any = ETH_ID, **more: Any) -> Any:
        instrument = self.cache.instrument(of)
        given = (of, side, instrument.make_qty(size))
        if price is None:
            order = self.order_factory.market(*given, **more)
        else:
            order = self.order_factory.limit(*given, instrument.make_price(price), **more)
        self.names[order.client_order_id.value] = name
        self.orders[name] = order
        return order

    def send(self, name: str, *given: Any, **more: Any) -> None:
        self.submit_order(self.make(name, *given, **more))

    def send_list(self, name: str, *members: tuple[Any, Any]) -> None:
        orders = [self.make(f"{name} {n}", BUY, *each) for n, each in enumerate(members)]
        self.submit_order_list(self.order_factory.create_list(orders))

    def change(self, name: str, size: Any) -> None:
        order = self.cache.order(self.orders[name].client_order_id)
        self.modify_order(order, quantity=self.cache.instrument(ETH_ID).make_qty(size))

    # -- what it hears ------------------------------------------------------------------------------

    def on_refusal(self, event: Any) -> None:
        if type(event).__name__ in REFUSALS:
            self.say(type(event).__name__, event.client_order_id.value, event.reason)

    def on_decision(self, decision: Any) -> None:
        numbers = f"{decision.code} {decision.limit} {decision.value} {decision.would_be}"
        self.say(f"{decision.details['action']} {decision.verdict}", decision.client_order_id, numbers)

    def say(self, what: str, name: str, text: str) -> None:
        for known, given in self.names.items():
            text, name = text.replace(known, given), name.replace(known, given)
        self.said.append(f"{name}: {what}: {text}")


def plan(worker: Worker, parent: Any) -> None:
    worker.spawn(parent, 1, 120)
    worker.spawn_elsewhere(parent, BTC_ID.value, 2, 120)
    worker.spawn_elsewhere(parent, BTC_ID.value, 20, 120)


def main() -> None:
    world, catalog, section, folder = sys.argv[1:]
    player, worker = Player(), Worker()
    worker.plans.append(lambda parent: plan(worker, parent))
    gate = ImportableActorConfig(
        actor_path="nautilus_ext.risk:RiskGate",
        config_path="nautilus_ext.risk:RiskGateConfig",
        config={"section": json.loads(section)},
    )
    if world == "backtest":
        two_worlds.backtest(Path(catalog), [player], actors=[gate], algorithms=[worker])
    else:
        place = {"folder": folder, "book_id": "B", "run": 1, "epoch": 1, "flush": "power"}
        mirror = ImportableActorConfig(
            actor_path="nautilus_ext.persistence:Mirror",
            config_path="nautilus_ext.persistence:MirrorConfig",
            config=place,
        )
        two_worlds.replay(Path(catalog), [player], actors=[mirror, gate], algorithms=[worker])
    lives = {name: [type(event).__name__ for event in order.events] for name, order in player.orders.items()}
    two_worlds.report({"said": player.said, "lives": lives})


if __name__ == "__main__":
    main()
