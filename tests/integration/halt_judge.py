"""Plays many halts under fire, some nodes side by side, and judges them all."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

PROCESSES = 2  # side by side: a halt mostly waits for faults to be over
PER_NODE = 30  # halts that one node lives through
PER_HALT_S = 8.0
START_S = 60.0
PROGRAM = Path(__file__).with_name("halt_runs.py")


def play(folder: Path, seeds: range) -> Verdict:
    """One halt per seed."""
    per_node = min(PER_NODE, -(-len(seeds) // PROCESSES))
    shares = [seeds[begin : begin + per_node] for begin in range(0, len(seeds), per_node)]
    outcomes: list[dict] = []
    for begin in range(0, len(shares), PROCESSES):
        outcomes += _side_by_side(folder, shares[begin : begin + PROCESSES])
    assert sorted(outcome["seed"] for outcome in outcomes) == list(seeds), f"a node ended early: see {folder}"
    return Verdict(sorted(outcomes, key=lambda outcome: outcome["seed"]))


def _side_by_side(folder: Path, shares: list[range]) -> list[dict]:
    children = []
    for share in shares:
        own = folder / str(share[0])
        own.mkdir()
        with (own / "stderr").open("w") as errors:
            command = [sys.executable, str(PROGRAM), str(own), *map(str, share)]
            children.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True))
    try:
        told = [child.communicate(timeout=START_S + PER_HALT_S * len(shares[0]))[0] for child in children]
    finally:
        for child in children:
            child.kill()
    return [json.loads(line) for text in told for line in text.split("\n") if line.startswith("{")]


class Verdict:
    """What the halts came to; as text, one line."""

    def __init__(self, outcomes: list[dict]) -> None:
        self.violations = [f"SEED {one['seed']}: {each}" for one in outcomes for each in one["violations"]]
        self.commands = Counter(one["command"] for one in outcomes)
        self.scopes = Counter(one["scope"] for one in outcomes)
        self.canceled = sum(one["canceled"] for one in outcomes)
        self.refused = sum(one["refused"] for one in outcomes)
        self.limited = sum(one["limited"] for one in outcomes)
        self.unresolved = sum(bool(one["unresolved"]) for one in outcomes)
        self.faults = sum((Counter(one["faults"]) for one in outcomes), Counter())
        self.took_s = sorted(one["took_s"] for one in outcomes)
        self._halts = f"halts={len(outcomes)} seeds={outcomes[0]['seed']}..{outcomes[-1]['seed']}"

    def __str__(self) -> str:
        median_s, longest_s = self.took_s[len(self.took_s) // 2], self.took_s[-1]
        return (
            f"{self._halts} violations={len(self.violations)} canceled={self.canceled:,} refused={self.refused:,} "
            f"limited={self.limited:,} "
            f"unresolved={self.unresolved} faults={self.faults.total():,} answered_s={median_s:g}..{longest_s:g}"
        )
