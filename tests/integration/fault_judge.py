"""Plays many fault runs, some side by side, and judges them all."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

from nautilus_ext.simulation.faults import ITEM_FAULTS, REQUEST_FAULTS

PROCESSES = 2  # side by side: a run mostly waits for faults to be over
PER_RUN_S = 12.0
PROGRAM = Path(__file__).with_name("fault_runs.py")


def play(folder: Path, seeds: range) -> Verdict:
    """One run per seed."""
    shares = [[str(seed) for seed in seeds[number::PROCESSES]] for number in range(PROCESSES)]
    children = [
        subprocess.Popen(
            [sys.executable, str(PROGRAM), str(folder), *share],
            stdout=subprocess.PIPE,
            stderr=(folder / f"stderr-{number}").open("w"),
            text=True,
        )
        for number, share in enumerate(shares)
    ]
    try:
        lines = [
            line for child in children for line in child.communicate(timeout=len(seeds) * PER_RUN_S)[0].split("\n")
        ]
    finally:
        for child in children:
            child.kill()
    outcomes = [json.loads(line) for line in lines if line.startswith("{")]
    assert sorted(outcome["seed"] for outcome in outcomes) == list(seeds), f"a child ended early: see {folder}"
    return Verdict(sorted(outcomes, key=lambda outcome: outcome["seed"]))


class Verdict:
    """What the runs came to; as text, one line."""

    def __init__(self, outcomes: list[dict]) -> None:
        wrong = [one for one in outcomes if one["differences"]]
        self.differences = [f"SEED {one['seed']}: {'; '.join(one['differences'])[:2_000]}" for one in wrong]
        self.faults = sum((Counter(one.get("faults")) for one in outcomes), Counter())
        self.never_happened = {*REQUEST_FAULTS, *ITEM_FAULTS, "killed"} - self.faults.keys()
        self.idle_seeds = [one["seed"] for one in outcomes if not one.get("orders")]
        self.orders, self.fills, self.restarts = (
            sum(one.get(what, 0) for one in outcomes) for what in ("orders", "fills", "restarted")
        )
        self._runs = f"runs={len(outcomes)} seeds={outcomes[0]['seed']}..{outcomes[-1]['seed']}"

    def __str__(self) -> str:
        return (
            f"fault {self._runs} orders={self.orders:,} fills={self.fills:,} faults={self.faults.total():,} "
            f"node_restarts={self.restarts} differences={len(self.differences)}"
        )
