"""Shippers of two starts, one book: the loser is refused in each transaction, the winner loses and doubles nothing."""

from __future__ import annotations

import os
import random
import signal
import time
from typing import TYPE_CHECKING

import pytest
from shipper_log import Trader
from shipper_stage import Stage

from nautilus_ext.errors import BookLost
from nautilus_ext.persistence.segments import run_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SEED = int(os.environ.get("FIGHT_SEED", "20261129"))
FIGHTS = int(os.environ.get("FIGHTS", "3"))
ORDERS = 800
FREE = "SELECT epoch FROM books FOR NO KEY UPDATE SKIP LOCKED"
IN_TRANSACTION = """SELECT pid FROM pg_stat_activity WHERE datname = current_database()
    AND application_name LIKE 'exec-suite shipper%' AND state = 'idle in transaction'"""


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
    stage: Stage, wait_until: Callable[..., None]
) -> None:
    """It holds the book's row; the server ends its session, and what it had not committed is undone."""
    start, last = stage.log_run(3_000, end=False)
    process = stage.spawn(start)
    give_up_s = time.monotonic() + 30
    while not stage.query(IN_TRANSACTION) or stage.query(FREE):  # stopped at a moment without one: on it goes
        assert time.monotonic() < give_up_s, "never stopped within a transaction"
        process.send_signal(signal.SIGCONT)
        time.sleep(0.01)
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.05)
    held = stage.progress(start.run)[0]
    assert held < last, "nothing was left to refuse"
    began_s = time.monotonic()
    assert stage.start_run().epoch == start.epoch + 1
    print(f"the book's row was free after {time.monotonic() - began_s:.1f} s")
    process.send_signal(signal.SIGCONT)
    assert BookLost.exit_code == process.wait(30)
    assert held == stage.progress(start.run)[0] == stage.value("SELECT coalesce(max(seq), 0) FROM order_events")
