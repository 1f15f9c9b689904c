"""The live loop on the paper market: from a quote to the fill that it caused, with the suite's log and without.

python bench_live.py KIND FOLDER measures one node and writes what it took: Nautilus's logging is global to a process.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from measure import Figure
from nautilus_trader.config import StrategyConfig
from nautilus_trader.model.enums import OrderSide
from nautilus_trader.model.identifiers import InstrumentId
from nautilus_trader.trading.strategy import Strategy

from nautilus_ext.app.node import _build
from nautilus_ext.config import load
from nautilus_ext.logs import LogSession, Masker

ROOT = Path(__file__).resolve().parents[2]
PAIRS = 3
ORDERS = 300
INTERVAL_MS = 20  # fewer orders than Nautilus's RiskEngine lets through in a second
TIMEOUT_S = 60.0
LOG_BYTES_MAX = 100_000_000
KINDS = ("suite", "bare")
RESULT = "latencies_us.json"


class ProbeConfig(StrategyConfig, frozen=True):
    """Nothing to set."""


class Probe(Strategy):
    """One market order at a time, from the quote on; keeps how long its fill took."""

    def on_start(self) -> None:
        self.instrument_id = InstrumentId.from_str("BTCUSDT-PERP.SIM3")
        self.instrument = self.cache.instrument(self.instrument_id)
        self.latencies_us: list[float] = []
        self.quoted_ns = 0
        self.subscribe_quote_ticks(self.instrument_id)

    def on_quote_tick(self, _tick) -> None:
        if self.quoted_ns:
            return
        self.quoted_ns = time.perf_counter_ns()
        side = OrderSide.SELL if len(self.latencies_us) % 2 else OrderSide.BUY
        self.submit_order(self.order_factory.market(self.instrument_id, side, self.instrument.make_qty("0.05")))

    def on_order_filled(self, _event) -> None:
        self.latencies_us.append((time.perf_counter_ns() - self.quoted_ns) / 1e3)
        self.quoted_ns = 0


def figures() -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        order = [KINDS[number % 2 :] + KINDS[: number % 2] for number in range(PAIRS)]
        runs = [{kind: _run(kind, folder) for kind in kinds} for kinds in order]
    note = f"{ORDERS} market orders on the sandbox per run, log level INFO"
    over = tuple((run["suite"]["p50"] / run["bare"]["p50"] - 1) * 100 for run in runs)
    return [
        *(
            Figure(
                f"live loop, quote to fill, {point}, {name}", "us", tuple(run[kind][point] for run in runs), note=note
            )
            for point in ("p50", "p99")
            for kind, name in (("bare", "Nautilus alone"), ("suite", "with EventLog and the suite's log"))
        ),
        Figure("live loop overhead at p50, pairs", "%", over, note=note),
    ]


def _run(kind: str, folder: str) -> dict[str, float]:
    with Path(folder, "output").open("w") as out:  # what Nautilus prints goes to a file, as the suite's own log does
        command = [sys.executable, __file__, kind, folder]
        subprocess.run(command, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT, timeout=TIMEOUT_S, check=True)
    latencies_us = json.loads(Path(folder, RESULT).read_text())
    return {"p50": statistics.median(latencies_us), "p99": statistics.quantiles(latencies_us, n=100)[-1]}


def _one(kind: str, folder: Path) -> None:
    document = json.loads((ROOT / "node_configs" / "paper.json").read_text())
    document["data_clients"]["SIM"]["config"]["interval_ms"] = INTERVAL_MS
    document["strategies"] = [
        {
            "strategy_path": "bench_live:Probe",
            "config_path": "bench_live:ProbeConfig",
            "config": {"order_id_tag": "001"},
        }
    ]
    document["timeout_post_stop"] = 0.1
    document["persistence"] = {"enabled": False}  # measured in bench_persistence
    path = folder / "config.json"
    path.write_text(json.dumps(document))
    config = load(path)
    log = None
    if kind == "suite":
        log = LogSession.start(level=config.suite.logging_ext.level, masker=Masker(config.secrets.masked))
        log.attach_file(folder / "suite.jsonl", max_bytes=LOG_BYTES_MAX, retain_files=1)
        log.capture_output()
    else:
        config = replace(config, tree={**config.tree, "actors": []})
    latencies_us = _trade(config)
    if log is not None:
        log.close()
        assert log.lost == 0, f"{log.lost} records lost"
    (folder / RESULT).write_text(json.dumps(latencies_us))


def _trade(config) -> list[float]:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    node = _build(config, loop, [])
    (probe,) = node.trader.strategies()

    async def until_enough() -> list[float]:
        running = loop.create_task(node.run_async())
        deadline_s = time.monotonic() + TIMEOUT_S / 2
        while len(getattr(probe, "latencies_us", ())) < ORDERS:
            assert time.monotonic() < deadline_s, "too few fills"
            await asyncio.sleep(0.05)
        await node.stop_async()
        await running
        return probe.latencies_us[:ORDERS]

    try:
        return loop.run_until_complete(until_enough())
    finally:
        node.dispose()


if __name__ == "__main__":
    _one(sys.argv[1], Path(sys.argv[2]))
