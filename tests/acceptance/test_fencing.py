"""Two nodes, one book: whoever lost it writes and sends nothing more, and ends; the winner keeps all that it has."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import asyncpg
import psutil
import pytest
from conftest import CONFIGS
from exchange_ledger import Ledger

from nautilus_ext.embedded import EmbeddedPostgres
from nautilus_ext.errors import BookLost
from nautilus_ext.persistence.shipper.state import read_state

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Shell

PAPER = str(CONFIGS / "paper.json")
BOOK = "PAPER-001.paper"
WINNER = "winner"
FREED_S_MAX = 30.0  # 15 s by the server's clock, and what a busy machine adds
PROGRESS = "SELECT durable_seq, (SELECT max(seq) FROM order_events e WHERE e.run = r.run) FROM runs r WHERE run = $1"
SESSIONS = "SELECT pid FROM pg_stat_activity WHERE application_name = $1"
ROWS = "SELECT seq, type, payload::text FROM order_events WHERE run = $1 ORDER BY seq"
SENT = "SELECT client_order_id FROM order_events WHERE run = $1 AND type = 'OrderSubmitted'"


class Tables:
    """What the tables say, asked by the owner."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell

    def fetch(self, sql: str, *arguments: Any) -> list[tuple[Any, ...]]:
        async def work() -> list[tuple[Any, ...]]:
            with EmbeddedPostgres.join(self._shell.data / "postgres") as server:
                connection = await asyncpg.connect(server.owner_url)
                try:
                    return [tuple(row) for row in await connection.fetch(sql, *arguments)]
                finally:
                    await connection.close()

        return asyncio.run(work())


def _shipper(shell: Shell, run: int) -> psutil.Process:
    return psutil.Process(read_state(shell.data / "journal" / BOOK / f"{run:06d}").pid)


def _sent_after(shell: Shell, account: str, ns: int) -> list[str]:
    orders = Ledger(shell.data / "exchange" / "paper", account).orders
    return [each["client_order_id"] for each in orders if each["ts_accepted_ns"] > ns]


@pytest.fixture
def stopped(shell: Shell) -> Iterator[list[psutil.Process]]:
    """What a test stops is ended after it, whatever became of the test; the server is not kept by it."""
    processes: list[psutil.Process] = []
    yield processes
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()


@pytest.mark.timeout(240)
def test_a_node_that_was_stopped_while_another_took_its_book_sends_and_writes_nothing_more(
    shell: Shell, stopped: list[psutil.Process], config: Callable[..., str], wait_until: Callable[..., None]
) -> None:
    """The server ends the idle session of the stopped node; going on, it learns whose the book is before all else."""
    tables = Tables(shell)
    first = shell.start(PAPER)
    first.until("position opened", 60)
    shipper = _shipper(shell, 1)
    stopped.append(shipper)
    shipper.suspend()
    first.until("order updated", 60)  # what the log has and the tables have not
    first.process.send_signal(signal.SIGSTOP)
    stopped_s = time.monotonic()
    wait_until(lambda: not tables.fetch(SESSIONS, f"exec-suite {BOOK}"), FREED_S_MAX)
    print(f"the book of the stopped node was free after {time.monotonic() - stopped_s:.1f} s")
    ((durable, newest),) = tables.fetch(PROGRESS, 1)

    clients = json.loads((CONFIGS / "paper.json").read_text())["exec_clients"]
    for client in clients.values():
        client["config"]["account"] = WINNER  # the exchange lets nobody else into an account of a living session
    second = shell.start(config(exec_clients=clients), "--accept-loss")
    second.until("order accepted", 90)
    wait_until(lambda: tables.fetch(ROWS, 2), 60)
    held = tables.fetch(ROWS, 2)
    goes_on_ns, goes_on_s = time.time_ns(), time.monotonic()
    shipper.resume()
    first.process.send_signal(signal.SIGCONT)
    assert BookLost.exit_code == first.end(), first.output
    print(f"the loser ended {time.monotonic() - goes_on_s:.2f} s after it went on")
    wait_until(lambda: not shipper.is_running(), 20)

    assert "lost the book" in first.output
    assert "fenced" == read_state(shell.data / "journal" / BOOK / "000001").phase
    assert [(durable, newest)] == tables.fetch(PROGRESS, 1), "not one row more of the loser"
    assert held == tables.fetch(ROWS, 2)[: len(held)], "not one row of the winner was touched"
    sent = _sent_after(shell, BOOK, goes_on_ns)
    assert [] == sent, "an order left after the pause"
    wait_until(lambda: _sent_after(shell, WINNER, goes_on_ns), 60)
    known = {each for (each,) in tables.fetch(SENT, 2)}
    assert known >= set(_sent_after(shell, WINNER, 0)[:-5])
    second.process.terminate()
    assert 0 == second.end(), second.output
