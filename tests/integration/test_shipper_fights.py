"""Shippers of two starts, one book: the loser is refused in each transaction, the winner loses and doubles nothing."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest
from shipper_log import Trader
from shipper_stage import Stage

from nautilus_ext.errors import BookLost
from nautilus_ext.persistence.segments import run_folder
from nautilus_ext.persistence.shipper.writing import Step, Writer

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from nautilus_ext.schema import books

SEED = int(os.environ.get("FIGHT_SEED", "20261129"))
FIGHTS = int(os.environ.get("FIGHTS", "3"))
ORDERS = 800
FREE = "SELECT epoch FROM books FOR NO KEY UPDATE SKIP LOCKED"
HELD_UP = "SELECT pid FROM pg_stat_activity WHERE application_name = 'holds up' AND wait_event = 'PgSleep'"
LET_GO = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'holds up'"
WAITS = """SELECT pid FROM pg_stat_activity
            WHERE application_name LIKE 'exec-suite shipper%' AND wait_event_type = 'Lock'
              AND datname = current_database()"""


@pytest.fixture
def stage(database, tmp_path: Path) -> Iterator[Stage]:
    one = Stage(database.app_url, tmp_path)
    yield one
    one.kill()


def test_of_many_starts_only_the_last_one_writes_and_it_brings_in_what_the_others_left(
    stage: Stage, wait_until: Callable[..., None]
) -> None:
    """Each start takes the book from a shipper in full flight: not one row of the loser comes after that."""
    print("seed", SEED)
    dice, runs, log = random.Random(SEED), [], None
    for number in range(FIGHTS):
        start, trader = stage.start_run(), Trader(f"R{number}")  # from here on the former one has lost
        if log is not None:
            former = runs[-1][0].run
            held = stage.progress(former)[0]
            assert BookLost.exit_code == stage.processes[-1].wait(30)
            assert held == stage.progress(former)[0] == stage.seqs(former)[-1], "a batch of the loser was committed"
            log.close()
        log = stage.begin_log(start)
        log.append_many([trader.instrument(), *(each for _ in range(ORDERS) for each in trader.order())])
        stage.spawn(start)
        wait_until(lambda start=start: stage.progress(start.run)[0] > 0, 30)
        time.sleep(dice.uniform(0, 0.15))  # the moment of the fight, not a hope
        runs.append((start, trader.seq))
    log.close()
    assert 0 == stage.processes[-1].wait(90)
    for start, last in runs:
        assert list(range(1, last + 1)) == stage.seqs(start.run)
    assert ([], []) == (stage.rejected(), stage.differences())


def test_a_shipper_that_was_stopped_while_another_start_took_the_book_writes_not_one_row(
    stage: Stage, wait_until: Callable[..., None]
) -> None:
    """It goes on, is refused in its next transaction, says that it is fenced, and ends."""
    start, last = stage.log_run(2_000, end=False)
    process = stage.spawn(start)
    wait_until(lambda: stage.progress(start.run)[0] > 0)
    process.send_signal(signal.SIGSTOP)
    time.sleep(0.2)  # a statement that the server has already received is still carried out
    held = stage.progress(start.run)[0]
    assert held < last, "nothing was left to refuse"
    stage.start_run()
    process.send_signal(signal.SIGCONT)
    assert BookLost.exit_code == process.wait(30)
    assert "fenced" == stage.state(start.run).phase
    assert held == stage.progress(start.run)[0] == stage.value("SELECT coalesce(max(seq), 0) FROM order_events")
    assert run_folder(stage.folder, start.run).is_dir(), "what it did not ship is kept"


def test_a_shipper_that_was_stopped_in_a_transaction_keeps_nobody_from_taking_the_book(
    stage: Stage, database: Any, wait_until: Callable[..., None]
) -> None:
    """It holds the book's row; its session is ended, and what it had not committed is undone."""
    start, _, process = _stopped_in_a_transaction(stage, database, wait_until)
    began_s = time.monotonic()
    assert stage.start_run().epoch == start.epoch + 1
    print(f"the book's row was free after {time.monotonic() - began_s:.1f} s")
    process.send_signal(signal.SIGCONT)
    assert BookLost.exit_code == process.wait(30)
    assert 1 == stage.progress(start.run)[0] == stage.value("SELECT count(*) FROM order_events")


async def test_a_shipper_that_was_stopped_in_a_transaction_holds_nobody_up(
    stage: Stage, database: Any, wait_until: Callable[..., None]
) -> None:
    """Nobody starts anew: the server ends its session, whoever waits gets on, and it ships the batch once more."""
    start, last, process = await asyncio.to_thread(_stopped_in_a_transaction, stage, database, wait_until)
    writer = await Writer.open(stage.url, stage.order(start, statement_timeout_s=15))
    await writer.write(Step(start.run, 1, 1, last), {})
    await writer.close()
    process.send_signal(signal.SIGCONT)
    assert 0 == await asyncio.to_thread(process.wait, 30)
    assert list(range(1, last + 1)) == await asyncio.to_thread(stage.seqs, start.run)
    assert ([], []) == await asyncio.to_thread(lambda: (stage.rejected(), stage.differences()))


def _stopped_in_a_transaction(
    stage: Stage, database: Any, wait_until: Callable[..., None]
) -> tuple[books.Start, int, subprocess.Popen[bytes]]:
    """Stop a shipper between two statements of its second batch; return its start, the last number, and itself."""
    start, trader = stage.start_run(), Trader()
    log = stage.begin_log(start)
    process = stage.spawn(start)
    log.append(trader.instrument())
    wait_until(lambda: stage.progress(start.run)[0] == 1, 30)
    holder = threading.Thread(target=_hold_the_tables_up, args=(database.owner_url,))
    holder.start()
    owner = Stage(database.owner_url, stage.folder)
    wait_until(lambda: owner.query(HELD_UP), 30)
    log.append_many([*trader.order(), trader.end()])
    log.close()
    wait_until(lambda: stage.query(WAITS), 30)
    process.send_signal(signal.SIGSTOP)
    owner.query(LET_GO)
    holder.join()
    wait_until(lambda: not stage.query(WAITS))
    assert [] == stage.query(FREE), "it holds the row no more"
    return start, trader.seq, process


def _hold_the_tables_up(url: str) -> None:
    async def work() -> None:
        connection = await asyncpg.connect(url, server_settings={"application_name": "holds up"})
        with suppress(asyncpg.PostgresError, OSError):  # it is ended
            await connection.execute("BEGIN; LOCK TABLE unified_orders IN SHARE MODE; SELECT pg_sleep(60)")

    asyncio.run(work())
