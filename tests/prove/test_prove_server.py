"""The embedded server under random kills: of its users, its watcher, its postmaster, its backends."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import asyncpg
import psutil
import pytest
from book_node import query
from embedded_user import NOT_DURABLE, is_stopped, postmasters_in

from nautilus_ext.embedded import EmbeddedPostgres, postmaster

pytestmark = [pytest.mark.prove, pytest.mark.timeout(3600)]

WRITER = Path(__file__).with_name("server_writer.py")
ROUNDS = 40
WRITERS_MAX = 4
HITS_MAX = 4
END_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 15.0
# PostgreSQL 18 can hang in a fast shutdown that comes while it recovers from a killed backend: the watcher insists.
STOP_AFTER_BACKEND_S = postmaster.STOP_FAST_S + postmaster.STOP_IMMEDIATE_S + 5
RECOVERY_TIMEOUT_S = 10.0
ANSWERED = (0, 3)
TABLE = "CREATE TABLE IF NOT EXISTS kept (name text, number int, PRIMARY KEY (name, number))"


class Chaos:
    """Kills processes of one folder, chosen by a seed."""

    def __init__(self, folder: Path, rnd: random.Random) -> None:
        self.folder = folder
        self.rnd = rnd
        self.kills: Counter[str] = Counter()

    def hit(self, writers: dict[str, subprocess.Popen[str]]) -> None:
        kind = self.rnd.choice(("user", "watcher", "postmaster", "backend"))
        victims = self._victims(kind, list(writers.values()))
        if victims:
            self.kill(kind, self.rnd.choice(victims))

    def kill(self, kind: str, pid: int) -> None:
        try:
            process = psutil.Process(pid)
            if process.status() != psutil.STATUS_ZOMBIE:
                process.kill()
                self.kills[kind] += 1
        except psutil.NoSuchProcess:
            pass

    def _victims(self, kind: str, writers: list[subprocess.Popen[str]]) -> list[int]:
        if kind == "user":
            return [writer.pid for writer in writers]
        if kind == "watcher":
            last = [postmaster.__file__, str(self.folder.resolve())]
            return [
                found.pid for found in psutil.process_iter(["cmdline"]) if (found.info["cmdline"] or [])[-2:] == last
            ]
        servers = postmasters_in(self.folder)
        if kind == "backend":
            return [child.pid for pid in servers for child in _children(pid)]
        return servers


def _children(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children()
    except psutil.NoSuchProcess:
        return []


def test_no_acknowledged_row_is_missing_and_no_server_is_left(fresh_folder, seed, rounds, tell, wait_until):
    """After each round one join gets one server with every row that was acknowledged; its end leaves no process."""
    rnd = random.Random(seed)
    chaos = Chaos(fresh_folder, rnd)
    kept: set[tuple[str, int]] = set()
    rows, refused, join_s_max, missing = 0, 0, 0.0, 0
    for number in range(rounds(ROUNDS)):
        backends_killed = chaos.kills["backend"]
        if not fresh_folder.exists() or rnd.random() < 0.1:
            kept = set()
            shutil.rmtree(fresh_folder, ignore_errors=True)
            if rnd.random() < 0.5:  # otherwise it is built under fire
                _join_and_look(fresh_folder)
        acknowledged, exit_codes = _round(chaos, fresh_folder, number)
        kept |= acknowledged
        rows += len(acknowledged)
        refused += exit_codes.count(3)
        began_s = time.monotonic()
        found = _join_and_look(fresh_folder)
        join_s = time.monotonic() - began_s
        join_s_max = max(join_s_max, join_s)
        missing += len(kept - found)
        assert not kept - found, f"round {number}: {sorted(kept - found)[:10]}"
        stop_timeout_s = STOP_TIMEOUT_S if chaos.kills["backend"] == backends_killed else STOP_AFTER_BACKEND_S
        assert join_s < stop_timeout_s, f"round {number}: the join took {join_s:.1f} s"
        wait_until(lambda: is_stopped(fresh_folder), timeout_s=stop_timeout_s)
    tell(
        f"embedded server: kills={chaos.kills.total()} ({_listed(chaos.kills)}) rows={rows} "
        f"refused_joins={refused} longest_join_s={join_s_max:.1f} seed={seed} differences={missing}"
    )


def _round(chaos: Chaos, folder: Path, number: int) -> tuple[set[tuple[str, int]], list[int]]:
    """Several writers at once, hit at random; return what was acknowledged to them, and how they ended."""
    rnd = chaos.rnd
    writers = {f"{number}-{one}": _writer(folder, f"{number}-{one}") for one in range(rnd.randint(1, WRITERS_MAX))}
    time.sleep(rnd.uniform(0.2, 2.5))  # the start of the interpreters alone takes a part of it
    for _ in range(rnd.randint(0, HITS_MAX)):
        chaos.hit(writers)
        time.sleep(rnd.choice((0, 0, 0.01, 0.05, 0.2, 0.5)))
    for writer in writers.values():
        if rnd.random() < 0.5:
            chaos.kill("user", writer.pid)
    acknowledged: set[tuple[str, int]] = set()
    for name, writer in writers.items():
        out, err = writer.communicate("", timeout=END_TIMEOUT_S)
        assert writer.returncode in (*ANSWERED, -9), err
        assert "Traceback" not in err, err
        acknowledged |= {(name, int(line)) for line in out.splitlines(keepends=True) if line.endswith("\n")}
    return acknowledged, [writer.returncode for writer in writers.values()]


def _writer(folder: Path, name: str) -> subprocess.Popen[str]:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, str(WRITER), str(folder), name], text=True, **pipes)


def _join_and_look(folder: Path) -> set[tuple[str, int]]:
    with EmbeddedPostgres.join(folder, settings=NOT_DURABLE) as server:
        assert len(_servers(folder)) == 1
        _patiently(server.owner_url, TABLE)
        return {(row["name"], row["number"]) for row in query(server.owner_url, "SELECT name, number FROM kept")}


def _servers(folder: Path) -> list[int]:
    """A child that was forked a moment ago still has its postmaster's command line: it is no second server."""
    pids = postmasters_in(folder)
    return [pid for pid in pids if not any(child.pid == pid for other in pids for child in _children(other))]


def _patiently(url: str, sql: str) -> None:
    """A postmaster that just lost a backend is up, and recovers before it lets anybody in."""
    give_up_s = time.monotonic() + RECOVERY_TIMEOUT_S
    while True:
        try:
            query(url, sql)
        except asyncpg.CannotConnectNowError:
            assert time.monotonic() < give_up_s, "still in recovery"
            time.sleep(postmaster.POLL_S)
        else:
            return


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
