"""The runner killed at any moment of its start and of its first seconds."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from book_node import query
from embedded_user import is_stopped

from nautilus_ext.embedded import EmbeddedPostgres

pytestmark = [pytest.mark.prove, pytest.mark.timeout(3600)]

ROOT = Path(__file__).resolve().parents[2]
PAPER = ROOT / "node_configs" / "paper.json"
KILLS = 20
CLEAN_EVERY = 5
LATEST_KILL_S = 6.0
ORPHAN_S_MAX = 10.0
RUN_TIMEOUT_S = 60.0
REACHED_BOOK = "✓ book"


def test_a_kill_at_any_moment_leaves_no_server_and_a_book_that_can_be_used(tmp_path, seed, rounds, tell, wait_until):
    """No server process within ten seconds, the next start works, and the runs tell which of them ended in order."""
    rnd = random.Random(seed)
    folder = tmp_path / "data" / "postgres"
    starts: dict[int, tuple[int, bool]] = {}  # pid → exit code, did it say that it has the book
    orphan_s_max = 0.0
    count = rounds(KILLS)
    for number in range(1, count + 1):
        pid, code, out = _run(tmp_path, kill_after_s=rnd.uniform(0, LATEST_KILL_S))
        starts[pid] = (code, REACHED_BOOK in out)
        assert code == -9, out
        began_s = time.monotonic()
        wait_until(lambda: not folder.exists() or is_stopped(folder), timeout_s=ORPHAN_S_MAX)
        orphan_s_max = max(orphan_s_max, time.monotonic() - began_s)
        if number % CLEAN_EVERY == 0 or number == count:
            pid, code, out = _run(tmp_path, "--seconds", "1")
            assert code == 0, out
            starts[pid] = (code, True)
    with EmbeddedPostgres.join(folder) as server:
        runs = {row["pid"]: row for row in query(server.app_url, "SELECT run, pid, clean_end, exit_code FROM runs")}
        numbers = [row["run"] for row in query(server.app_url, "SELECT run FROM runs ORDER BY run")]
    assert list(range(1, len(numbers) + 1)) == numbers
    assert len(runs) == len(numbers), "a start has two rows"
    must_be_there = {pid for pid, (_, reached) in starts.items() if reached}
    assert must_be_there <= runs.keys() <= starts.keys()
    differences = [pid for pid, row in runs.items() if (starts[pid][0] == 0) != row["clean_end"]]
    assert not differences
    tell(
        f"runner: kills={count} in_the_book={len(numbers)} clean_ends={sum(row['clean_end'] for row in runs.values())} "
        f"longest_without_runner_s={orphan_s_max:.1f} seed={seed} differences={len(differences)}"
    )


def _run(folder: Path, *options: str, kill_after_s: float | None = None) -> tuple[int, int, str]:
    """Run the paper config below a folder; return pid, exit code and output."""
    environment = {**os.environ, "NAUTILUS_EXT_DATA": str(folder / "data"), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "nautilus_ext.run", str(PAPER), *options],
        cwd=ROOT,
        env=environment,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        out, _ = process.communicate(timeout=RUN_TIMEOUT_S if kill_after_s is None else kill_after_s)
    except subprocess.TimeoutExpired:
        process.kill()
        out, _ = process.communicate()
    return process.pid, process.returncode, out
