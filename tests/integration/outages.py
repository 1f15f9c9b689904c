"""The ways in which a desk's database and its shipper are hurt: each begins, lasts for a while, and is over."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import asyncpg
import psutil
import pytest
from embedded_user import postmasters_in

from nautilus_ext.embedded import postmaster
from nautilus_ext.errors import DatabaseError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from outage_desk import Desk
    from outage_proxy import Proxy
    from pulse import Pauses

    from nautilus_ext.embedded import EmbeddedPostgres

TABLES = "SELECT string_agg(quote_ident(tablename), ', ') FROM pg_tables WHERE schemaname = 'public'"
TERMINATE = """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"""
SLOW_S, SLOW_BYTES_PER_S = 0.02, 300_000
TERMINATIONS = 4
SWALLOWED = 3
SWALLOW_S_MAX = 20.0
FULL_S_MAX = 40.0
IN_MEMORY, WRITTEN_AGAIN = "records wait in memory", "nothing waits in memory, 0 records were lost"
BALLAST_BYTES = 1_000_000


class Stage(NamedTuple):
    """What an outage may touch, and how long it lasts."""

    desk: Desk
    proxy: Proxy
    server: EmbeddedPostgres
    lasts_s: float


def stopped(stage: Stage) -> None:
    """The server is shut down in order, and comes back at another port."""
    assert postmaster.stop_server(stage.server.folder)
    time.sleep(stage.lasts_s)
    _start_again(stage)


def killed(stage: Stage) -> None:
    """Kill -9 for the server."""
    for pid in postmasters_in(stage.server.folder):
        psutil.Process(pid).kill()
    time.sleep(stage.lasts_s)
    _start_again(stage)


def terminated(stage: Stage) -> None:
    """An administrator ends all sessions, again and again."""
    for _ in range(TERMINATIONS):
        _query(stage.server.admin_url, TERMINATE)
        time.sleep(stage.lasts_s / TERMINATIONS)


def locked(stage: Stage) -> None:
    """Somebody holds every table for himself."""

    async def hold() -> None:
        connection = await asyncpg.connect(stage.server.owner_url)
        try:
            tables = await connection.fetchval(TABLES)
            while True:  # the server chooses us when we and a batch wait for each other
                with contextlib.suppress(asyncpg.DeadlockDetectedError):
                    async with connection.transaction():
                        await connection.execute(f"LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE")
                        await asyncio.sleep(stage.lasts_s)
                        return
        finally:
            await connection.close()

    asyncio.run(hold())


def cut(stage: Stage) -> None:
    """The network is gone."""
    stage.proxy.cut()
    code, said = stage.desk.verb("status")
    assert (DatabaseError.exit_code, True, True) == (code, "its node runs" in said, "not in the tables" in said), said
    time.sleep(stage.lasts_s)
    stage.proxy.mend()


def cut_after_commit(stage: Stage) -> None:
    """The server commits, and the shipper never hears of it."""
    before = stage.proxy.commits_swallowed
    for number in range(1, SWALLOWED + 1):
        stage.proxy.swallow_commits(1)
        stage.desk.until(
            lambda number=number: stage.proxy.commits_swallowed >= before + number, "a COMMIT", SWALLOW_S_MAX
        )
    time.sleep(stage.lasts_s / 2)


def slow(stage: Stage) -> None:
    """A thin line with a long way."""
    stage.proxy.delay_s, stage.proxy.bytes_per_s = SLOW_S, SLOW_BYTES_PER_S
    time.sleep(stage.lasts_s)
    stage.proxy.delay_s = stage.proxy.bytes_per_s = 0.0


def shipper_killed(stage: Stage) -> None:
    """The node starts another one."""
    old = stage.desk.shipper.pid
    stage.desk.shipper_process.kill()
    stage.desk.until(lambda: stage.desk.shipper.pid != old, "another shipper", SWALLOW_S_MAX)
    time.sleep(stage.lasts_s / 2)


def shipper_stuck(stage: Stage) -> None:
    """It lives and does nothing."""
    process = stage.desk.shipper_process
    process.suspend()
    time.sleep(stage.lasts_s)
    code, said = stage.desk.verb("status")
    assert (0, True) == (code, "behind" in said), said
    process.resume()


def log_disk_full(stage: Stage) -> None:
    """Not a byte is left where the node keeps its log: what happens waits in memory."""
    desk = stage.desk
    told, well = desk.output.count(IN_MEMORY), desk.output.count(WRITTEN_AGAIN)
    with full_disk(desk.data / "journal"):
        desk.until(lambda: desk.output.count(IN_MEMORY) > told, "the alert", FULL_S_MAX)
        time.sleep(stage.lasts_s)
    desk.until(lambda: desk.output.count(WRITTEN_AGAIN) > well, "the log", FULL_S_MAX)


def disk_full(stage: Stage) -> None:
    """Not a byte is left where the server keeps its files: some batch must fail for it."""
    desk = stage.desk
    with full_disk(stage.server.folder):
        desk.until(lambda: desk.shipper.last_error, "the shipper's trouble", FULL_S_MAX)
        time.sleep(stage.lasts_s)
    _start_again(stage)


DATABASE: tuple[Callable[[Stage], None], ...] = (stopped, killed, terminated, locked, cut, cut_after_commit, slow)
SHIPPER: tuple[Callable[[Stage], None], ...] = (shipper_killed, shipper_stuck)


class Seen(NamedTuple):
    """What an outage did to a desk that traded on."""

    name: str
    orders: int
    quiet: Pauses
    worst: Pauses
    caught_up_s: float

    @property
    def more_ms(self) -> float:
        """What the outage added to the longest pause of the loop."""
        return self.worst.own - self.quiet.own

    def __str__(self) -> str:
        pauses = f"longest pause {self.worst.own:.0f} ms, without outage {self.quiet.own:.0f} ms"
        wall = f"with waits for a core {self.worst.wall:.0f} and {self.quiet.wall:.0f} ms"
        told = f"{self.orders} orders sent; all in the tables {self.caught_up_s:.1f} s later"
        return f"{self.name}: {pauses} ({wall}); {told}"


def suffer(outage: Callable[[Stage], None], stage: Stage, quiet: Pauses) -> Seen:
    """Hurt a desk, and look at it until its tables have caught up."""
    desk, orders, begin_s = stage.desk, stage.desk.orders(), time.monotonic()
    outage(stage)
    end_s, orders = time.monotonic(), stage.desk.orders() - orders
    desk.until_caught_up()
    now_s = time.monotonic()
    return Seen(outage.__name__, orders, quiet, desk.worst(begin_s, now_s), now_s - end_s)


@contextmanager
def full_disk(folder: Path) -> Iterator[None]:
    """Fill the disk of a folder to the last byte; at the end the space is there again."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (BALLAST_BYTES, 4_096, 512, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(size))
    try:
        yield
    finally:
        ballast.unlink()


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """Mount a disk of its own on a folder; the test is skipped where nobody may."""
    folder.mkdir(parents=True, exist_ok=True)
    options = ["-t", "tmpfs", "-o", f"size={megabytes}m,mode=0755", "none", str(folder)]
    if os.geteuid() or subprocess.run(["mount", *options], capture_output=True, check=False).returncode:
        pytest.skip("a small disk can be mounted by root only")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def _start_again(stage: Stage) -> None:
    stage.server.ensure_running()
    stage.proxy.target = stage.server.port


def _query(url: str, sql: str) -> None:
    async def run() -> None:
        connection = await asyncpg.connect(url)
        try:
            await connection.execute(sql)
        finally:
            await connection.close()

    asyncio.run(run())
