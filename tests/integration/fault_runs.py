"""Seeded runs of a real node on a real exchange while everything goes wrong, and what both have of it afterwards.

    python tests/integration/fault_runs.py FOLDER SEED [SEED …]

Each seed chooses the faults and what the strategies do. One line of JSON per seed; `differences` must be empty.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from exchange_books import Books, cached, counted_twice, differences, leave_averages_out, written
from exchange_client import LinkLost, RawClient, faults_told, welcomed
from exchange_monkey import Monkey, MonkeyConfig
from fault_stage import INVERSE, LISTINGS, POLL_S, VENUES, FaultStage
from nautilus_trader.common.component import flush_logger
from nautilus_trader.model.events import OrderFilled
from nautilus_trader.model.identifiers import InstrumentId

from nautilus_ext.simulation.exchange.orders import OPEN
from nautilus_ext.simulation.faults import Faults
from nautilus_ext.simulation.server import launch

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from nautilus_trader.live.node import TradingNode

BALANCES = ["2_000_000 USDT", "20 BTC"]
TRADING_S = 1.2
SETTLE_S = 20.0
RATES = {"restart": 0.004, "drop_before": 0.03, "drop_after": 0.03}
RATE = 0.06  # of each other fault
KILL_PROBABILITY = 0.25
RESTART_PROBABILITY = 0.3  # of the node, by another that has nothing in its cache


def main(folder: str, *seeds: str) -> None:
    for seed in map(int, seeds):
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        try:
            outcome = loop.run_until_complete(asyncio.wait_for(FaultRun(Path(folder, str(seed)), seed).play(), 90))
        except Exception as error:  # noqa: BLE001 - the seed of a run that breaks must be told
            outcome = {"differences": [f"the run broke: {type(error).__name__}: {error}"]}
        finally:
            loop.run_until_complete(_end_tasks())
            loop.close()
        sys.stdout.write(json.dumps({"seed": seed, **outcome}) + "\n")
        sys.stdout.flush()


async def _end_tasks() -> None:
    """Nautilus leaves workers waiting, and a loop that closes over them says so at length."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)


def _leave_history_out(*both: Books) -> None:
    """Nautilus's reconciliation takes over what is open, and of the past only what explains an open position.

    It replays order by order, not fill by fill, so an average price may come out otherwise.
    """
    for books in both:
        books.orders = {name: order for name, order in books.orders.items() if order["status"] in OPEN}
        books.fills.clear()
    leave_averages_out(*both)


class FaultRun(FaultStage):
    """One node, one exchange, one seed."""

    def __init__(self, data_dir: Path, seed: int) -> None:
        super().__init__(data_dir, seed, "faults", RATES, RATE)
        self.monkeys: list[Monkey] = []
        self.known_before = True  # the node's cache has seen all of it
        self.faults: Counter[str] = Counter()

    async def play(self) -> dict[str, Any]:
        """Trade under faults, look, and look again with a node that knows only what the exchange tells it."""
        try:
            outcome = await self._with_node(self._trade_and_look)
            if self.rng.random() < RESTART_PROBABILITY and not outcome["differences"]:
                self.known_before = False
                again = await self._with_node(self._judge)
                outcome["differences"] = [f"after a restart: {each}" for each in again["differences"]]
                outcome["restarted"] = True
            return outcome
        finally:
            self.end_exchange()

    async def _with_node(self, act: Callable[[], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
        node = self.node = self._node()
        running = asyncio.create_task(node.run_async())
        try:
            await self.until(lambda: node.trader.is_running or running.done(), "the node runs")
            return await act()
        finally:
            await node.stop_async()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait_for(running, 20)
            node.kernel.dispose()
            flush_logger()

    async def _trade_and_look(self) -> dict[str, Any]:
        await self._trade()
        for monkey in self.monkeys:
            monkey.active = False
        await self._calm_down()
        return await self._judge()

    def _node(self) -> TradingNode:
        node = self.new_node(LISTINGS, BALANCES)
        self.monkeys = []
        for number, (name, _) in enumerate(LISTINGS):
            settings = MonkeyConfig(
                order_id_tag=f"{number:03d}",
                instrument_ids=[name],
                seed=self.seed * 10 + number,
                external_order_claims=[InstrumentId.from_str(name)],
            )
            self.monkeys.append(Monkey(settings))
        node.trader.add_strategies(self.monkeys)
        node.build()
        return node

    async def _trade(self) -> None:
        if self.rng.random() < KILL_PROBABILITY:
            await asyncio.sleep(TRADING_S * self.rng.random())
            self.kill_exchange()
            self.faults["killed"] += 1
        await asyncio.sleep(TRADING_S)

    async def _calm_down(self) -> None:
        """No more faults, and a market that stands still: what is different after this stays different.

        Until then the exchange may still be restarted by a fault, also in the middle of this.
        """
        deadline_s = time.monotonic() + SETTLE_S
        while not await asyncio.to_thread(self._end_faults):
            assert time.monotonic() < deadline_s, f"not within {SETTLE_S:g} s: the exchange ends its faults"
            await asyncio.sleep(POLL_S)
        self.faults.update(faults_told(self.folder))

    async def _judge(self) -> dict[str, Any]:
        with contextlib.suppress(AssertionError):  # then they are told one by one
            await self.until(lambda: not self._differences(), "the exchange and the cache agree")
        found = self._differences()
        cache = self.node.cache
        fills = [e for order in cache.orders() for e in order.events if isinstance(e, OrderFilled)]
        return {
            "orders": cache.orders_total_count(),
            "fills": len(fills),
            "faults": dict(self.faults),
            "acted": sum(monkey.acted for monkey in self.monkeys),
            "differences": found,
        }

    def _differences(self) -> list[str]:
        cache = self.node.cache
        found = [f"{order.client_order_id} is in flight: {order.status_string()}" for order in cache.orders_inflight()]
        for venue in VENUES:
            there = written(self.folder, venue, "A")
            here = cached(cache, venue, known=there)
            leave_averages_out(there, here, of={INVERSE})  # Nautilus averages prices there, the exchange their inverses
            if not self.known_before:
                _leave_history_out(there, here)
            found += differences(there, here) + counted_twice(cache, venue)
        return found

    # -- the exchange -------------------------------------------------------------------------------

    def _end_faults(self) -> bool:
        """Tell whether the exchange took it: one that is away, or goes away meanwhile, begins anew with its faults."""
        address = launch.find(self.folder)
        if address is None:
            return False
        raw = RawClient("", "staff")
        try:
            welcomed(raw.connect(address, venue=None, terms=None))
            for venue in VENUES:
                raw.control("pause", venue=venue)
                raw.control("faults", venue=venue, faults=msgspec.json.encode(Faults()))
        except (OSError, LinkLost):
            return False
        finally:
            raw.close()
        return True


if __name__ == "__main__":
    main(*sys.argv[1:])
