"""Seeded halts of a real node on a real exchange while everything goes wrong, and what its ledger has of them.

    python tests/integration/halt_runs.py FOLDER SEED [SEED …]

One node lives through all of them: each seed chooses a scope, a moment and what is commanded; afterwards it is lifted.
One line of JSON per seed; `violations` must be empty.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exchange_client import faults_told
from exchange_ledger import Ledger
from exchange_monkey import Monkey, MonkeyConfig
from fault_stage import LISTINGS, VENUES, FaultStage
from halt_desk import Operator
from halt_schemer import Schemer, Slicer
from mirror_engine import make_mirror
from nautilus_trader.common.component import flush_logger
from nautilus_trader.model.identifiers import ClientOrderId, InstrumentId

from nautilus_ext.risk import RiskGate, RiskGateConfig
from nautilus_ext.risk.halts import Place, is_within
from nautilus_ext.simulation.exchange.orders import OPEN

if TYPE_CHECKING:
    from nautilus_trader.live.node import TradingNode

# Their own: a reduce-only leg that meets only what another strategy holds is left out of positions by Nautilus.
SCHEMED = (("ETHUSDT.CASHY", "spot"), ("BTCUSDT-PERP.PERPY", "linear"))
BALANCES = ["2_000_000 USDT", "20 BTC", "200 ETH"]
TRADING_S = (0.1, 0.3)  # before a command
WATCHED_S = 0.2  # after its answer
RATES = {"restart": 0.002, "drop_before": 0.02, "drop_after": 0.02}
RATE = 0.04  # of each other fault
KILL_PROBABILITY = 0.08
COMMANDS = ("halt", "halt", "halt", "halt_and_flatten", "reduce_only")


def main(folder: str, *seeds: str) -> None:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    run = HaltRun(Path(folder), int(seeds[0]))
    try:
        loop.run_until_complete(run.play(list(map(int, seeds))))
    finally:
        run.end_exchange()
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.close()


class HaltRun(FaultStage):
    """One node and one exchange."""

    def __init__(self, data_dir: Path, seed: int) -> None:
        super().__init__(data_dir, seed, "halts", RATES, RATE)
        self.limits: dict[int, dict[str, Decimal]] = {0: {}}  # by version
        self.judged = self.seen_version = 0

    async def play(self, seeds: list[int]) -> None:
        node = self.node = self._node()
        running = asyncio.create_task(node.run_async())
        try:
            await self.until(lambda: node.trader.is_running or running.done(), "the node runs")
            self.operator = Operator(self)  # type: ignore[arg-type] - it has a bus
            for seed in seeds:
                outcome = await self._round(seed)
                sys.stdout.write(json.dumps({"seed": seed, **outcome}) + "\n")
                sys.stdout.flush()
        finally:
            await node.stop_async()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait_for(running, 20)
            self.mirror.finish(clean=True)
            node.kernel.dispose()
            flush_logger()

    @property
    def bus(self) -> Any:
        return self.node.kernel.msgbus

    # -- one halt -----------------------------------------------------------------------------------

    async def _round(self, seed: int) -> dict[str, Any]:
        rng = random.Random(seed)
        decided = len(self.decisions)
        mixed = await self._change_limits(rng)
        await asyncio.sleep(rng.uniform(*TRADING_S))
        scope, command = rng.choice(self._scopes()), rng.choice(COMMANDS)
        if rng.random() < KILL_PROBABILITY:
            self.kill_exchange()
        begun_s, refused, faults = time.monotonic(), self._refused(), faults_told(self.folder)
        answers = self._command(command, scope)
        await self.until(lambda: bool(answers), "the command is answered")
        took_s, (applied, text) = time.monotonic() - begun_s, answers[0]
        before = self._of(scope)
        await asyncio.sleep(WATCHED_S)
        after = self._of(scope)
        violations = mixed + ([] if applied else [f"not applied: {text}"])
        if command != "reduce_only":
            violations += self._violations(before, after, text)
        if command == "halt_and_flatten" and "unresolved: " not in text:
            violations += self._held(scope)
        resumed, said = self.operator.resume(scope)[0]
        if not resumed:
            violations.append(f"not lifted: {said}")
        return {
            "command": command,
            "scope": scope.partition("=")[0],
            "violations": [f"{command} {scope}: {each} [{text}]" for each in violations],
            "took_s": round(took_s, 3),
            "orders": len(after),
            "canceled": int(text.partition("canceled=")[2].partition(" ")[0] or 0),
            "unresolved": text.partition("unresolved: ")[2],
            "refused": self._refused() - refused,
            "limited": sum(each.code == "MAX_ORDER_QUANTITY" for each in self.decisions[decided:]),
            "faults": faults_told(self.folder) - faults,
        }

    async def _change_limits(self, rng: random.Random) -> list[str]:
        """Several at once, in the middle of the trading; return what was judged otherwise than its version says."""
        asked = []
        for name, _ in rng.sample(LISTINGS, 2):
            least = self.node.cache.instrument(InstrumentId.from_str(name)).min_quantity.as_decimal()
            most = least * rng.choice((3, 30, 300))
            asked.append((name, most, self.operator.limit(f"instrument={name}", "max_order_quantity", f"{most:f}")))
        await self.until(lambda: all(answers for *_, answers in asked), "the limits are changed")
        for name, most, answers in asked:
            version = int(answers[0][1].rpartition(" ")[2])
            self.limits[version] = self.limits[version - 1] | {name: most}
        found, judged = self._misjudged(), len(self.decisions)
        self.judged = judged
        return found

    def _misjudged(self) -> list[str]:
        """Each decision names a version, never an older one than the one before it, and is what its limits say."""
        found, before = [], self.seen_version
        for each in self.decisions[self.judged :]:
            version = int(each.details["limits"])
            most = self.limits[version].get(each.instrument_id)
            whole = Decimal(each.details.get("quantity", "0")) + Decimal(each.details.get("filled", "0"))
            is_refused = each.code == "MAX_ORDER_QUANTITY"
            if version < before:
                found.append(f"{each.client_order_id} was judged by version {version} after {before}")
            if is_refused and (most is None or each.limit != most or whole <= most):
                found.append(
                    f"{each.client_order_id} of {whole} was refused by {each.limit} in version {version}: {most}"
                )
            is_sent = each.verdict == "approved" and each.details["action"] == "submit" and "lifted" not in each.details
            if is_sent and most is not None and whole > most:
                found.append(f"{each.client_order_id} of {whole} was approved, {most} in {version}")
            before = version
        self.seen_version = before
        return found

    def _command(self, command: str, scope: str) -> list[Any]:
        if command == "reduce_only":
            return self.operator.narrow(scope)
        return self.operator.halt(scope, flatten=command != "halt")

    def _scopes(self) -> list[str]:
        strategies = [f"strategy={each.id}" for each in self.strategies]
        accounts = [f"account={venue}-A" for venue in VENUES]
        instruments = [f"instrument={name}" for name, _ in (*LISTINGS, *SCHEMED)]
        return ["node", "node", *(f"venue={each}" for each in VENUES), *accounts, *strategies, *instruments]

    def _of(self, scope: str) -> dict[str, dict[str, Any]]:
        """What the exchange has of a scope; whose an order is only the node knows."""
        found = {}
        for row in Ledger(self.folder, "A").orders:
            order = self.node.cache.order(ClientOrderId(row["client_order_id"]))
            strategy_id = "" if order is None else order.strategy_id.value
            if is_within(Place(row["instrument_id"], strategy_id, f"{row['venue']}-A"), scope):
                found[row["client_order_id"]] = row
        return found

    def _held(self, scope: str) -> list[str]:
        """Positions that the exchange still has; it nets what strategies hold, so of one of them it says nothing."""
        rows = [row for row in Ledger(self.folder, "A").positions if Decimal(row["quantity"])]
        places = [(Place(row["instrument_id"], "", f"{row['venue']}-A"), row["quantity"]) for row in rows]
        return [f"{place.instrument_id} {held} is held" for place, held in places if is_within(place, scope)]

    @staticmethod
    def _violations(before: dict[str, Any], after: dict[str, Any], text: str) -> list[str]:
        """Orders that came or were changed after the halt was confirmed, or work on and nobody has said so."""
        unresolved = text.partition("unresolved: ")[2]
        if " more" in unresolved:
            return []
        found = []
        for name, row in after.items():
            is_flattening = not name.startswith("O-") and "position " in unresolved
            if name in unresolved or is_flattening:
                continue
            former = before.get(name)
            if former is None:
                found.append(f"{name} is new: {row['status']}")
            elif any(former[key] != row[key] for key in ("price", "trigger_price", "quantity")):
                found.append(f"{name} was changed")
            elif row["status"] in OPEN:
                found.append(f"{name} works on: {row['status']}, {former['status']} before")
        return found

    def _refused(self) -> int:
        return sum(each.code == "HALTED" for each in self.decisions)

    # -- node and exchange --------------------------------------------------------------------------

    def _node(self) -> TradingNode:
        node = self.new_node((*LISTINGS, *SCHEMED), BALANCES)
        self.decisions: list[Any] = []
        node.kernel.msgbus.subscribe("suite.decisions.risk", self.decisions.append)
        self.mirror = make_mirror(self.data_dir / "log", flush="power", intent_timeout_ms=1_000)
        self.gate = RiskGate(RiskGateConfig(section={"preset": "none", "approvals_recorded_every": 1}))
        for actor in (self.mirror, self.gate):
            node.trader.add_actor(actor)
        node.trader.add_exec_algorithm(Slicer())
        self.strategies = [*self._monkeys(), *self._schemers()]
        node.trader.add_strategies(self.strategies)
        node.build()
        return node

    def _monkeys(self) -> list[Any]:
        names = [name for name, _ in LISTINGS]
        settings = [{"order_id_tag": f"{i:03d}", "seed": self.seed * 10 + i} for i in range(len(names))]
        return [Monkey(MonkeyConfig(instrument_ids=[n], **each)) for n, each in zip(names, settings, strict=True)]

    def _schemers(self) -> list[Any]:
        names = [name for name, _ in SCHEMED]
        settings = [{"order_id_tag": f"1{i:02d}", "seed": self.seed * 10 + i} for i in range(len(names))]
        return [Schemer(MonkeyConfig(instrument_ids=[n], **each)) for n, each in zip(names, settings, strict=True)]


if __name__ == "__main__":
    main(*sys.argv[1:])
