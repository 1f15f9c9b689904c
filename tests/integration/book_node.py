"""A process that holds a book as a node does, and what the tests ask the database about it."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import asyncpg

if TYPE_CHECKING:
    from collections.abc import Callable

HEARTBEAT_S = 0.1

_NODE = """
import json, sys
from nautilus_ext.app import keeper
from nautilus_ext.app.book import BookHold
from nautilus_ext.errors import SuiteError

def say(**fields):
    print(json.dumps(fields), flush=True)

url, book_id, instance_id, heartbeat_s, keeper.TAKE_WAIT_S_MAX = *sys.argv[1:5], float(sys.argv[5])
try:
    hold = BookHold.acquire(
        url, book_id=book_id, trader_id="PAPER-001", environment="paper", instance_id=instance_id,
        connect_timeout_s=5.0, heartbeat_s=float(heartbeat_s), on_lost=lambda reason: say(lost=reason),
    )
except SuiteError as error:
    say(error=type(error).__name__, text=str(error))
    sys.exit(error.exit_code)
say(run=hold.run, epoch=hold.epoch)
sys.stdin.readline()
hold.release(clean=True, exit_code=0)
"""


class Node:
    """One process on a book; what it says arrives in `said`, whenever it says it."""

    def __init__(self, url: str, book_id: str, instance_id: str = "node", take_wait_s: float = 1.0) -> None:
        self.said: list[dict[str, Any]] = []
        self.process = subprocess.Popen(
            [sys.executable, "-c", _NODE, url, book_id, instance_id, str(HEARTBEAT_S), str(take_wait_s)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        for line in self.process.stdout:
            self.said.append(json.loads(line))

    def heard(self, key: str) -> Any:
        """Return what the process said under a key, None as long as it said nothing of the kind."""
        return next((fields[key] for fields in self.said if key in fields), None)

    def wait_for(self, key: str, wait_until: Callable[..., None]) -> Any:
        wait_until(lambda: self.heard(key) is not None)
        return self.heard(key)

    def stop(self) -> int:
        """End in order; return the exit code."""
        self.process.communicate("\n", timeout=10)
        self._reader.join()
        return self.process.returncode

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join()
        self.process.stdin.close()
        self.process.stdout.close()


def query(url: str, sql: str, *arguments: object) -> list[asyncpg.Record]:
    """Run one statement on a connection of its own."""

    async def run() -> list[asyncpg.Record]:
        connection = await asyncpg.connect(url)
        try:
            return await connection.fetch(sql, *arguments)
        finally:
            await connection.close()

    return asyncio.run(run())


def end_sessions(url: str, book_id: str) -> list[int]:
    """Have the server end the sessions that hold a book, and nobody else's; return their pids."""
    sql = "SELECT pid, pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1"
    return [row["pid"] for row in query(url, sql, f"exec-suite {book_id}")]
