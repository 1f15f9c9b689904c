"""What it costs to sync each intent before it goes on: the policies `event` and `power` in turns, and the bare disk."""

from __future__ import annotations

import os
import time
from statistics import median
from typing import TYPE_CHECKING

import journaled_node
from bench_persistence import in_turns
from measure import Figure
from servers import servers

if TYPE_CHECKING:
    from pathlib import Path

    from bench_persistence import Runs

KINDS = ("journal", "power")
NAMES = {"journal": "flush `event`", "power": "flush `power`"}
NODES = 5
SYNCS = 300
RECORD_BYTES = 600


def figures() -> list[Figure]:
    with servers() as running:
        disk_us = _bare_sync_us(running.folder / "sync")
        runs = in_turns(journaled_node, NODES, running, KINDS)
    rate = journaled_node.ORDERS_PER_S
    note = f"{journaled_node.ORDERS:,} market orders a run, one at a time, at most {rate} a second"
    return [
        Figure("disk, append and fdatasync, one at a time", "us", disk_us, note=f"{SYNCS} records of {RECORD_BYTES} B"),
        Figure("live loop per order, what `power` adds to `event`", "us", _more(runs, "main"), note=note),
        *(
            Figure(f"live, submit to fill, {point}, {name}", "us", tuple(run[kind][point] for run in runs), note=note)
            for point in ("p50", "p99")
            for kind, name in NAMES.items()
        ),
        Figure("live, submit to fill, what `power` adds at p50", "us", _more(runs, "p50"), note=note),
    ]


def _more(runs: Runs, what: str) -> tuple[float, ...]:
    return tuple(run["power"][what] - run["journal"][what] for run in runs)


def _bare_sync_us(path: Path) -> tuple[float, ...]:
    """The disk of the benchmark alone, in a few medians."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        return tuple(median(_sync_us(descriptor) for _ in range(SYNCS)) for _ in range(NODES))
    finally:
        os.close(descriptor)


def _sync_us(descriptor: int) -> float:
    began_s = time.perf_counter()
    os.write(descriptor, bytes(RECORD_BYTES))
    os.fdatasync(descriptor)
    return (time.perf_counter() - began_s) * 1e6


if __name__ == "__main__":
    for figure in figures():
        print(f"{figure.what}: {figure.median} {figure.unit} (max {max(figure.values):.3f})")
