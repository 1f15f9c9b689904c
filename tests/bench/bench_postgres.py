"""How long the embedded server takes to start, from nothing and with its data there, and to stop."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from measure import Figure

from nautilus_ext.embedded import EmbeddedPostgres, postmaster

if TYPE_CHECKING:
    from collections.abc import Callable

RUNS = 5
POLL_S = 0.005
STOP_TIMEOUT_S = 30.0


def figures() -> list[Figure]:
    times: dict[str, list[float]] = {"cold start": [], "join of a running one": [], "stop": [], "warm start": []}
    for _ in range(RUNS):
        with tempfile.TemporaryDirectory() as parent:
            _one_life(Path(parent, "postgres"), times)
    return [Figure(f"embedded PostgreSQL, {what}", "ms", tuple(values)) for what, values in times.items()]


def _one_life(folder: Path, times: dict[str, list[float]]) -> None:
    server = _timed(times["cold start"], lambda: EmbeddedPostgres.join(folder))
    _timed(times["join of a running one"], lambda: EmbeddedPostgres.join(folder)).close()
    server.close()
    _timed(times["stop"], lambda: _wait_for_the_end(folder))
    _timed(times["warm start"], lambda: EmbeddedPostgres.join(folder)).close()
    _wait_for_the_end(folder)


def _timed[Result](into: list[float], work: Callable[[], Result]) -> Result:
    began_s = time.perf_counter()
    result = work()
    into.append((time.perf_counter() - began_s) * 1e3)
    return result


def _wait_for_the_end(folder: Path) -> None:
    deadline_s = time.monotonic() + STOP_TIMEOUT_S
    while not all(postmaster.is_free(folder, name) for name in (postmaster.SERVER_LOCK, postmaster.WATCHER_LOCK)):
        assert time.monotonic() < deadline_s, f"not stopped within {STOP_TIMEOUT_S:g} s"
        time.sleep(POLL_S)
