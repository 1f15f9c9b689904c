"""The suite's backtest against the bare engine: same data, same strategies, alternating, each run in a fresh process.

python bench_backtest.py KIND FOLDER measures one replay: Nautilus's logging is global to a process.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec
from measure import Figure
from nautilus_trader.backtest.node import BacktestNode
from nautilus_trader.common.actor import Actor
from nautilus_trader.common.config import ImportableActorConfig, LoggingConfig

from nautilus_ext.config import load
from nautilus_ext.config.backtest import market_config, run_config
from nautilus_ext.logs import LogSession, Masker
from nautilus_ext.simulation import ensure_catalog

ROOT = Path(__file__).resolve().parents[2]
PAIRS = 6
TIMEOUT_S = 60.0
KINDS = ("suite", "bare", "silent")
LOG_BYTES_MAX = 100_000_000


class Stopwatch(Actor):
    """Takes the time of the engine's run alone: the data is loaded before it."""

    def on_start(self) -> None:
        self.began = time.perf_counter(), time.process_time()

    def on_stop(self) -> None:
        wall_s, cpu_s = self.began
        self.spent = {"wall": time.perf_counter() - wall_s, "cpu": time.process_time() - cpu_s}


PERSISTENCE = "nautilus_ext.persistence"
STOPWATCH = ImportableActorConfig(
    actor_path="bench_backtest:Stopwatch", config_path="nautilus_trader.common.config:ActorConfig", config={}
)


def figures() -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        _replay("bare", folder)  # makes the catalog, and warms the disk
        runs = []
        for number in range(PAIRS):
            order = KINDS if number % 2 else KINDS[::-1]
            runs.append({kind: _replay(kind, folder) for kind in order})
    sizes = {tuple(one["size"]) for run in runs for one in run.values()}
    assert len(sizes) == 1, f"not the same backtest: {sizes}"
    data, orders, events = sizes.pop()
    size = f"paper.json: {data:,} quotes and trades, {orders:,} orders, {events:,} events; without loading the data"
    cpu = "all threads of the process, the log writer's included"
    return [
        Figure("backtest, bare engine, CPU time", "s", tuple(run["bare"]["cpu"] for run in runs), note=size),
        Figure("backtest, the suite's expansion, CPU time", "s", tuple(run["suite"]["cpu"] for run in runs), note=cpu),
        Figure("backtest overhead, CPU time, bare at the same log level", "%", _over(runs, "bare", "cpu"), note=cpu),
        Figure("backtest overhead, wall time, bare at the same log level", "%", _over(runs, "bare", "wall")),
        Figure("backtest overhead, CPU time, bare with logging off", "%", _over(runs, "silent", "cpu"), note=cpu),
    ]


def _over(runs: list[dict], kind: str, clock: str) -> tuple[float, ...]:
    return tuple((run["suite"][clock] / run[kind][clock] - 1) * 100 for run in runs)


def _replay(kind: str, folder: str) -> dict:
    command = [sys.executable, __file__, kind, folder]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_S, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def _one(kind: str, folder: Path) -> None:
    config = load(ROOT / "node_configs" / "paper.json", backtest=True)
    assert config.suite.backtest is not None
    synthetic = config.suite.backtest.synthetic
    assert synthetic is not None
    catalog = ensure_catalog(folder, market_config(synthetic).to_market(), synthetic.start, synthetic.minutes)
    whole = run_config(config, str(catalog.path), catalog.instrument_ids)
    terminal, log = sys.stdout, None
    own = [each for each in whole.engine.actors if PERSISTENCE not in each.actor_path]  # measured in bench_persistence
    actors, logging = [*own, STOPWATCH], whole.engine.logging
    if kind == "suite":
        log = LogSession.start(level=config.suite.logging_ext.backtest_level, masker=Masker(config.secrets.masked))
        log.attach_file(folder / "suite.jsonl", max_bytes=LOG_BYTES_MAX, retain_files=1)
        terminal = log.capture_output()
    else:
        actors = [STOPWATCH]
        logging = LoggingConfig(bypass_logging=True) if kind == "silent" else logging
    engine = msgspec.structs.replace(whole.engine, actors=actors, logging=logging)
    node = BacktestNode([msgspec.structs.replace(whole, engine=engine)])
    (result,) = node.run()
    stopwatch = node.get_engines()[0].trader.actors()[-1]
    size = (result.iterations, result.total_orders, result.total_events)
    terminal.write(f"{json.dumps({**stopwatch.spent, 'size': size})}\n")
    terminal.flush()
    if log is not None:
        log.close()


if __name__ == "__main__":
    _one(sys.argv[1], Path(sys.argv[2]))
