"""The start of paper trading until its first order, in the log and in the tables, and both ends of it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import asyncpg
from measure import Figure

from nautilus_ext.embedded import EmbeddedPostgres, postmaster

ROOT = Path(__file__).resolve().parents[2]
RUNS = 5
POLL_S = 0.01
TIMEOUT_S = 60.0
BUDGET_S = 10.0
FIRST_ORDER = b'"OrderSubmitted"'
ORDERS_SINCE = "SELECT EXISTS (SELECT FROM unified_orders WHERE created_ns > $1)"


def figures() -> list[Figure]:
    times: dict[str, list[float]] = {"cold": [], "tables": [], "warm": [], "stop": [], "kill": []}
    for _ in range(RUNS):
        with tempfile.TemporaryDirectory() as parent:
            _one_life(Path(parent, "data"), times)
    first_order = "command to first OrderSubmitted in the log"
    whats = {
        "cold": (f"paper, cold: {first_order}", "empty data folder"),
        "tables": ("paper, cold: command to first order in the tables", "empty data folder"),
        "warm": (f"paper, warm: {first_order}", "second run in the same folder"),
        "stop": ("paper: SIGTERM to the end of the process", "orders working; the strategies' stop included"),
        "kill": ("paper: kill -9 to no server process left", ""),
    }
    return [Figure(what, "s", tuple(times[key]), BUDGET_S, note) for key, (what, note) in whats.items()]


def _one_life(data: Path, times: dict[str, list[float]]) -> None:
    """Run twice in one folder: from nothing until asked to stop, and again until killed."""
    for start, number, end in (("cold", signal.SIGTERM, "stop"), ("warm", signal.SIGKILL, "kill")):
        began_s, began_ns = time.monotonic(), time.time_ns()
        process = _first_order(data)
        times[start].append(time.monotonic() - began_s)
        if start == "cold":
            asyncio.run(_order_in_tables(data, began_ns))
            times["tables"].append(time.monotonic() - began_s)
        times[end].append(_end(process, number, data))
        _wait_until(lambda: postmaster.is_free(data / "postgres", postmaster.WATCHER_LOCK))


def _first_order(data: Path) -> subprocess.Popen[bytes]:
    log = data / "logs" / "PAPER-001.paper.jsonl"
    known_bytes = log.stat().st_size if log.exists() else 0
    process = subprocess.Popen(
        [sys.executable, "-m", "nautilus_ext.run", "node_configs/paper.json"],
        cwd=ROOT,
        env={**os.environ, "NAUTILUS_EXT_DATA": str(data)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _wait_until(lambda: process.poll() is not None or _holds_order(log, known_bytes))
    assert process.poll() is None, f"the run ended with {process.returncode}"
    return process


async def _order_in_tables(data: Path, began_ns: int) -> None:
    """Ask the server that the run has started, until it shows an order of this run."""
    with EmbeddedPostgres.join(data / "postgres") as server:
        connection = await asyncpg.connect(server.app_url)
        deadline_s = time.monotonic() + TIMEOUT_S
        while not await connection.fetchval(ORDERS_SINCE, began_ns):
            assert time.monotonic() < deadline_s, f"no order in the tables within {TIMEOUT_S:g} s"
            await asyncio.sleep(POLL_S)
        await connection.close()


def _holds_order(log: Path, offset: int) -> bool:
    if not log.exists():
        return False
    with log.open("rb") as lines:
        lines.seek(offset)
        return FIRST_ORDER in lines.read()


def _end(process: subprocess.Popen[bytes], number: signal.Signals, data: Path) -> float:
    began_s = time.monotonic()
    process.send_signal(number)
    process.wait(TIMEOUT_S)
    if number == signal.SIGKILL:
        _wait_until(lambda: postmaster.is_free(data / "postgres", postmaster.SERVER_LOCK))
    else:
        assert process.returncode == 0, process.returncode
    return time.monotonic() - began_s


def _wait_until(predicate) -> None:
    deadline_s = time.monotonic() + TIMEOUT_S
    while not predicate():
        assert time.monotonic() < deadline_s, f"not within {TIMEOUT_S:g} s"
        time.sleep(POLL_S)
