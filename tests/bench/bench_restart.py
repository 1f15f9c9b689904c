"""A restart of a book with 100,000 closed and 1,000 open orders, beside Nautilus's Redis cache with the same orders.

The budget is for what the history could make long: reading what the book holds, and putting it into the node's cache.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import restart_cache
import restart_history
from measure import Figure
from servers import servers

if TYPE_CHECKING:
    from servers import Servers

ROOT = Path(__file__).resolve().parents[2]
CLOSED, OPEN = 100_000, 1_000
RESTORES, PEERS, STARTS = 5, 2, 3  # the peer takes half a minute each time
BUDGET_S = 2.0
TIMEOUT_S = 900.0
STEP = re.compile(r"✓ (\w+) +([\d.]+) s")
LAST_STEP = "✓ venues"

Runs = list[dict[str, float]]


def figures() -> list[Figure]:
    with servers() as running:
        _run(restart_history.__file__, running, CLOSED, OPEN)
        journal, recent, redis = (
            [_run(restart_cache.__file__, running, CLOSED + OPEN, kind=kind) for _ in range(times)]
            for kind, times in (("journal", RESTORES), ("recent", RESTORES), ("redis", PEERS))
        )
        starts = [_start(running.folder) for _ in range(STARTS)]  # they trade, and change what the book holds
    for run in (*journal, *recent, *redis):
        assert run["open"] == OPEN, run
    return [*_restored(journal, recent), *_peer(redis), *_started(starts)]


def _run(script: str, running: Servers, *counts: int, kind: str | None = None) -> dict[str, float]:
    places = [str(running.folder), str(running.valkey_port)]
    command = [sys.executable, script, *([kind] if kind else []), *places, *map(str, counts)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 0, f"{Path(script).name}: {done.stdout[-1000:]}{done.stderr[-3000:]}"
    return json.loads(done.stdout.splitlines()[-1])


def _start(folder: Path) -> dict[str, float]:
    """Start paper trading on the book; return how long until it trades, and what its step `restore` takes of that."""
    command = [sys.executable, "-m", "nautilus_ext.run", "node_configs/paper.json", "--seconds", "1"]
    began_s = time.monotonic()
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "NAUTILUS_EXT_DATA": str(folder), "PYTHONUNBUFFERED": "1"},
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line)
        if LAST_STEP in line:
            break
    whole_s = time.monotonic() - began_s
    rest, _ = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0, "".join(lines) + rest
    steps = {match[1]: float(match[2]) for line in lines if (match := STEP.search(line))}
    return {"whole": whole_s, "restore": steps["restore"]}


def _restored(journal: Runs, recent: Runs) -> list[Figure]:
    held = f"{CLOSED:,} closed and {OPEN:,} open orders in the tables"
    note = f"{held}; a fresh process each, connecting and the file between the two included"
    told = f"the same, and the newest {restart_cache.RECENT:,} orders, which a venue will tell of again"
    return [
        Figure("restart: what the book holds is in the cache", "s", _values(journal, "wall"), BUDGET_S, note),
        Figure("restart, of it: reading the tables", "s", _values(journal, "read")),
        Figure("restart, of it: filling the cache", "s", _values(journal, "fill")),
        Figure("restart, with orders of the lookback", "s", _values(recent, "wall"), note=told),
        Figure("restart, peak memory of the process", "MB", _values(journal, "peak_mb"), note="the engine's included"),
    ]


def _peer(redis: Runs) -> list[Figure]:
    note = "the same orders; Nautilus loads all of them"
    return [
        Figure("restart, Nautilus's Redis cache", "s", _values(redis, "wall"), note=note),
        Figure("restart, Nautilus's Redis cache, peak memory", "MB", _values(redis, "peak_mb"), note=note),
    ]


def _started(starts: Runs) -> list[Figure]:
    note = "paper.json on that book; its open orders are at a venue that this node does not ask"
    return [
        Figure("restart, whole: command to connected and reconciled", "s", _values(starts, "whole"), note=note),
        Figure("restart, whole: its step `restore`, former logs included", "s", _values(starts, "restore"), note=note),
    ]


def _values(runs: Runs, what: str) -> tuple[float, ...]:
    return tuple(run[what] for run in runs)


if __name__ == "__main__":
    for figure in figures():
        print(f"{figure.what}: {figure.median} {figure.unit} (max {max(figure.values):.3f}) {figure.note}")
