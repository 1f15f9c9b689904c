"""Plays many fault runs, some side by side, and judges them all."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

from nautilus_ext.simulation.faults import ITEM_FAULTS, REQUEST_FAULTS

PROCESSES = 2  # side by side: a run mostly waits for faults to be over
PER_RUN_S = 12.0
PROGRAM = Path(__file__).with_name("fault_runs.py")


def play(folder: Path, seeds: range) -> list[dict]:
    """One line per seed, in the order of the seeds."""
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
    return sorted(outcomes, key=lambda outcome: outcome["seed"])


def _summary(outcomes: list[dict]) -> str:
    faults = sum((Counter(outcome["faults"]) for outcome in outcomes), Counter())
    orders, fills = (sum(outcome[what] for outcome in outcomes) for what in ("orders", "fills"))
    seeds = f"{outcomes[0]['seed']}..{outcomes[-1]['seed']}"
    restarted = sum(outcome.get("restarted", False) for outcome in outcomes)
    return (
        f"fault runs={len(outcomes)} seeds={seeds} orders={orders:,} fills={fills:,} faults={faults.total():,} "
        f"node_restarts={restarted} differences=0"
    )


def judge(outcomes: list[dict]) -> str:
    """No difference in any run, and each kind of fault really happened; say so in one line."""
    wrong = [outcome for outcome in outcomes if outcome["differences"]]
    assert not wrong, "\n".join(f"SEED {one['seed']}: {'; '.join(one['differences'])[:2_000]}" for one in wrong)
    faults = sum((Counter(outcome["faults"]) for outcome in outcomes), Counter())
    assert not {*REQUEST_FAULTS, *ITEM_FAULTS, "killed"} - faults.keys()
    assert all(outcome["orders"] > 0 for outcome in outcomes)
    return _summary(outcomes)
