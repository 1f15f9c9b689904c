"""What keeping every event costs a backtest and a node's loop: nothing kept, our journal, and Nautilus's Redis cache.

They take turns, each in a fresh process; the servers run throughout. What the shipper does for itself is measured
in bench_shipper, what the mirror does for itself in bench_mirror, the paper start in bench_paper.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import journaled_node
import journaled_replay
from measure import Figure
from servers import Servers, servers

KINDS = ("bare", "journal", "redis")
REPLAY_KINDS = (*KINDS, "gated")
NAMES = {"bare": "nothing kept", "journal": "mirror and shipper", "redis": "Nautilus's Redis cache"}
REPLAYS = 5
NODES = 7
TIMEOUT_S = 300.0
BUDGET_REPLAY_PERCENT = 12.0
BUDGET_GATED_PERCENT = 16.0
BUDGET_LOOP_US = 50.0
BUDGET_LOOP_RATIO = 0.53  # 50 us beside the 84 to 107 us of the peer, where the budget was set

Runs = list[dict[str, dict[str, float]]]


def figures() -> list[Figure]:
    with servers() as running:
        replays = in_turns(journaled_replay, REPLAYS, running, REPLAY_KINDS)
        nodes = in_turns(journaled_node, NODES, running, KINDS)
    return [*_replay_figures(replays), *_node_figures(nodes)]


def in_turns(module, rounds: int, running: Servers, kinds: tuple[str, ...]) -> Runs:
    return [
        {kind: _run(module.__file__, kind, running) for kind in (kinds if number % 2 else kinds[::-1])}
        for number in range(rounds)
    ]


def _run(script: str, kind: str, running: Servers) -> dict[str, float]:
    command = [sys.executable, script, kind, str(running.folder), str(running.valkey_port)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 0, f"{Path(script).name} {kind}: {done.stdout[-1000:]}{done.stderr[-3000:]}"
    return json.loads(done.stdout.splitlines()[-1])


def _replay_figures(runs: Runs) -> list[Figure]:
    orders = journaled_replay.ORDERS
    (events,) = {int(run["journal"]["events"]) for run in runs}
    size = f"{orders:,} market orders, {orders * journaled_replay.QUOTES_PER_ORDER:,} quotes, {events:,} records"
    note = f"{size}; logging off, the analyzer stubbed; until everything is durable in PostgreSQL, or sent to Valkey"
    main = "main thread alone; encoding and writing the log"
    return [
        Figure("backtest, nothing kept, wall time", "s", _values(runs, "bare", "wall"), note=note),
        Figure(
            "backtest, mirror and shipper, drain included", "%", _over(runs, "journal", "wall"),
            budget=BUDGET_REPLAY_PERCENT, note="budget of 12 %, 8 % wanted",
        ),
        Figure(
            "backtest, Nautilus's Redis cache", "%", _over(runs, "redis", "wall"), note="a Valkey that keeps no file"
        ),
        Figure(
            "backtest, gate, mirror and shipper, drain included", "%", _over(runs, "gated", "wall"),
            budget=BUDGET_GATED_PERCENT, note="preset paper with six limits of money and size on top",
        ),
        Figure(
            "backtest, gate per order, CPU time", "us", _between(runs, "journal", "gated", "main", 1e6 / orders),
            note="judging, and counting its events",
        ),
        Figure("backtest, mirror and shipper, main thread", "%", _over(runs, "journal", "main"), note=main),
        Figure("backtest, Nautilus's Redis cache, main thread", "%", _over(runs, "redis", "main")),
        Figure("backtest, mirror per order, CPU time", "us", _more(runs, "journal", "main", 1e6 / orders), note=main),
        Figure("backtest, end of the replay to all in the tables", "s", _values(runs, "journal", "drain")),
    ]  # fmt: skip


def _node_figures(runs: Runs) -> list[Figure]:
    rate = journaled_node.ORDERS_PER_S
    note = f"{journaled_node.ORDERS:,} market orders a run at {rate} orders/s on the sandbox, flush `event`"
    cost = f"{note}; CPU time of the node's thread, median of windows of {journaled_node.WINDOW_ORDERS} orders"
    return [
        Figure("live loop per order, nothing kept", "us", _values(runs, "bare", "main"), note=cost),
        Figure(
            "live loop per order, what the mirror adds", "us", _more(runs, "journal", "main"),
            budget=BUDGET_LOOP_US, note="budget of 50 us, 25 us wanted",
        ),
        Figure("live loop per order, what Nautilus's Redis cache adds", "us", _more(runs, "redis", "main")),
        Figure(
            "live loop, what the mirror adds against the Redis cache", "x", _against_peer(runs),
            budget=BUDGET_LOOP_RATIO, note="in one run: microseconds depend on the machine",
        ),
        *(
            Figure(f"live, submit to fill, {point}, {name}", "us", _values(runs, kind, point), note=note)
            for point in ("p50", "p99")
            for kind, name in NAMES.items()
        ),
    ]  # fmt: skip


def _values(runs: Runs, kind: str, what: str) -> tuple[float, ...]:
    return tuple(run[kind][what] for run in runs)


def _over(runs: Runs, kind: str, what: str) -> tuple[float, ...]:
    return tuple((run[kind][what] / run["bare"][what] - 1) * 100 for run in runs)


def _more(runs: Runs, kind: str, what: str, scale: float = 1.0) -> tuple[float, ...]:
    return _between(runs, "bare", kind, what, scale)


def _between(runs: Runs, less: str, more: str, what: str, scale: float) -> tuple[float, ...]:
    return tuple((run[more][what] - run[less][what]) * scale for run in runs)


def _against_peer(runs: Runs) -> tuple[float, ...]:
    pairs = zip(_more(runs, "journal", "main"), _more(runs, "redis", "main"), strict=True)
    return tuple(ours / theirs for ours, theirs in pairs)


if __name__ == "__main__":
    for figure in figures():
        print(f"{figure.what}: {figure.median} {figure.unit} (max {max(figure.values):.3f})")
