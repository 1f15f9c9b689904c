"""What runs inside a node that will be killed: a strategy that does a bit of everything, and a witness of each event.

The witness hears an event after the log has it (its priority is lower), and writes the id to a file of its own: what
stands there was acknowledged, and must be in the journal.
"""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import Any

from nautilus_trader.common.actor import Actor
from nautilus_trader.common.config import ActorConfig
from nautilus_trader.config import StrategyConfig
from nautilus_trader.model.enums import OrderSide, OrderType, TriggerType
from nautilus_trader.model.identifiers import ExecAlgorithmId, InstrumentId
from nautilus_trader.trading.strategy import Strategy

PAPER = Path(__file__).resolve().parents[2] / "node_configs" / "paper.json"
# No derivative that another strategy of paper.json trades: where a venue nets, two would reduce each other's position.
SIZES = {"SOLUSDT-PERP.SIM3": 2, "BTCUSDT-PERP.SIM2": 0.01, "BTCUSDT.SIM1": 0.002}
OPEN_ORDERS_MAX = 16
PARENTS_MAX = 2
WITNESS_PRIORITY = 50


def write_config(path: Path, witness: Path, *, interval_ms: int = 80) -> None:
    """Write paper.json with a quick market, nobody who claims an order, and what this module has in addition."""
    document = json.loads(PAPER.read_text())
    document.pop("$schema")
    document["data_clients"]["SIM"]["config"]["interval_ms"] = interval_ms
    for strategy in document["strategies"]:
        strategy["config"].pop("external_order_claims", None)  # what is not restored is then nobody's, and seen
    document["strategies"].append(_entry("strategy", "Busy", {"order_id_tag": "004"}))
    document["exec_algorithms"] = [_TWAP]
    document["actors"] = [_entry("actor", "Witness", {"path": str(witness)})]
    path.write_text(json.dumps(document, indent=1))


_TWAP = {
    "exec_algorithm_path": "nautilus_trader.examples.algorithms.twap:TWAPExecAlgorithm",
    "config_path": "nautilus_trader.examples.algorithms.twap:TWAPExecAlgorithmConfig",
    "config": {},
}


def _entry(kind: str, name: str, config: dict[str, Any]) -> dict[str, Any]:
    return {f"{kind}_path": f"kill_trader:{name}", "config_path": f"kill_trader:{name}Config", "config": config}


class WitnessConfig(ActorConfig, frozen=True):
    path: str = ""


class Witness(Actor):
    """One line per event, in the file before the handler returns."""

    def __init__(self, config: WitnessConfig) -> None:
        super().__init__(config)
        self._path = config.path

    def register_base(self, portfolio: Any, msgbus: Any, cache: Any, clock: Any) -> None:
        super().register_base(portfolio, msgbus, cache, clock)
        self._file = os.open(f"{self._path}.{os.getpid()}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for topic in ("events.order.*", "events.position.*", "events.account.*"):
            msgbus.subscribe(topic=topic, handler=self._see, priority=WITNESS_PRIORITY)

    def _see(self, event: Any) -> None:
        order = getattr(event, "client_order_id", "")
        strategy = getattr(event, "strategy_id", "")
        os.write(self._file, f"{event.id} {type(event).__name__} {order} {strategy}\n".encode())

    def on_start(self) -> None:
        """Nothing to do: it sees since its registration."""

    def on_stop(self) -> None:
        """Events after this are real, too."""


class BusyConfig(StrategyConfig, frozen=True, kw_only=True):
    instruments: tuple[str, ...] = tuple(SIZES)


class Busy(Strategy):
    """One random step per quote: any kind of order, a cancel, a change, a parent for an algorithm."""

    def __init__(self, config: BusyConfig) -> None:
        super().__init__(config)
        self._random = random.Random(os.getpid())

    def on_start(self) -> None:
        for name in self.config.instruments:
            self.subscribe_quote_ticks(InstrumentId.from_str(name))

    def on_quote_tick(self, tick: Any) -> None:
        drawn = self._random.random()
        instrument = self.cache.instrument(tick.instrument_id)
        mine = self.cache.orders_open(instrument_id=tick.instrument_id, strategy_id=self.id)
        if drawn < 0.12 and mine:
            self.cancel_order(self._random.choice(mine))
        elif drawn < 0.2 and mine:
            self._move(instrument, tick, self._random.choice(mine))
        elif drawn < 0.6 and len(mine) < OPEN_ORDERS_MAX:
            self._send(instrument, tick)

    def _move(self, instrument: Any, tick: Any, order: Any) -> None:
        if order.order_type == OrderType.LIMIT and not order.is_inflight:
            self.modify_order(order, price=self._price(instrument, tick, order.side))

    def _send(self, instrument: Any, tick: Any) -> None:
        side = self._side(instrument.id)
        size = instrument.make_qty(SIZES[instrument.id.value] * self._random.choice((1, 2, 3)))
        kind = self._random.random()
        make = self.order_factory
        if kind < 0.55:
            self.submit_order(make.limit(instrument.id, side, size, self._price(instrument, tick, side)))
        elif kind < 0.75:
            self.submit_order(make.market(instrument.id, side, size))
        elif kind < 0.83 and instrument.id.value != "BTCUSDT.SIM1":
            self._bracket(instrument, tick, side, size)
        elif kind < 0.9:
            self._emulated(instrument, tick, side, size)
        else:
            self._parent(instrument, side)

    def _side(self, instrument_id: InstrumentId) -> OrderSide:
        """Mostly back towards flat."""
        is_long = self.portfolio.is_net_long(instrument_id)
        if self._random.random() < 0.7 and (is_long or self.portfolio.is_net_short(instrument_id)):
            return OrderSide.SELL if is_long else OrderSide.BUY
        return self._random.choice((OrderSide.BUY, OrderSide.SELL))

    def _price(self, instrument: Any, tick: Any, side: OrderSide) -> Any:
        """Between 6 bps away and 1 bps through."""
        away = self._random.uniform(-1, 6) / 10_000
        best = tick.bid_price if side == OrderSide.BUY else tick.ask_price
        return instrument.make_price(float(best) * (1 - away if side == OrderSide.BUY else 1 + away))

    def _bracket(self, instrument: Any, tick: Any, side: OrderSide, size: Any) -> None:
        price, sign = float(tick.bid_price), 1 if side == OrderSide.BUY else -1
        orders = self.order_factory.bracket(
            instrument.id, side, size,
            sl_trigger_price=instrument.make_price(price * (1 - sign * 0.0006)),
            tp_price=instrument.make_price(price * (1 + sign * 0.0006)),
        )  # fmt: skip
        self.submit_order_list(orders)

    def _emulated(self, instrument: Any, tick: Any, side: OrderSide, size: Any) -> None:
        price, sign = float(tick.ask_price), 1 if side == OrderSide.BUY else -1
        trigger = instrument.make_price(price * (1 + sign * self._random.uniform(1, 8) / 10_000))
        order = self.order_factory.stop_market(
            instrument.id, side, size, trigger, emulation_trigger=TriggerType.BID_ASK
        )
        self.submit_order(order)

    def _parent(self, instrument: Any, side: OrderSide) -> None:
        algorithm = ExecAlgorithmId("TWAP")
        parents = [
            order
            for order in self.cache.orders_for_exec_algorithm(algorithm)
            if order.is_primary and not order.is_closed
        ]
        if len(parents) >= PARENTS_MAX:
            return
        order = self.order_factory.market(
            instrument.id, side, instrument.make_qty(SIZES[instrument.id.value] * 6),
            exec_algorithm_id=algorithm, exec_algorithm_params={"horizon_secs": 3.0, "interval_secs": 0.5},
        )  # fmt: skip
        self.submit_order(order)

    def on_stop(self) -> None:
        for name in self.config.instruments:
            instrument_id = InstrumentId.from_str(name)
            self.cancel_all_orders(instrument_id)
            self.close_all_positions(instrument_id)
