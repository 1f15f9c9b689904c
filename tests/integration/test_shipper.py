"""From the log to the tables: everything once, in order across runs, and by nobody who lost the book."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
import time
from decimal import Decimal

import msgspec
import psutil
import pytest
from shipper_log import EVENTS_PER_ORDER, Trader, payload
from shipper_stage import BOOK, Stage

from nautilus_ext.persistence.segments import SHIPPER_LOCK, run_folder, segments, take_lock
from nautilus_ext.persistence.shipper.launch import Shipping
from nautilus_ext.schema import books
from nautilus_ext.schema.books import Start

PASSWORD = "planted-password"


@pytest.fixture
def stage(database, tmp_path):
    """A book on a fresh database, as the application's role; no process survives the test."""
    one = Stage(database.app_url, tmp_path)
    yield one
    one.kill()


def test_everything_arrives_once(stage):
    """The journal has each number once, the tables are its fold, and the folder keeps the newest segment alone."""
    start, last = stage.log_run(200, segment_bytes_max=100_000)
    assert len(segments(run_folder(stage.folder, start.run))) > 3
    assert stage.run_to_end(start) == 0
    assert stage.seqs(start.run) == list(range(1, last + 1))
    assert stage.progress(start.run) == (last, last)
    assert stage.differences() == []
    assert stage.value("SELECT count(*) FROM unified_orders WHERE status = 'FILLED'") == 200
    assert stage.value("SELECT count(*) FROM unified_fills") == 200
    assert len(segments(run_folder(stage.folder, start.run))) == 1
    state = stage.state(start.run)
    assert (state.phase, state.shipped_seq, state.known_seq) == ("ended", last, last)
    assert (state.rejected, state.last_error) == (0, "")


def test_a_steady_trickle_is_committed_at_most_every_20_ms(stage, wait_until):
    """Each transaction leaves its number in the rows that it wrote; and nobody waits for a full batch."""
    start, trader = stage.start_run(), Trader()
    log = stage.begin_log(start)
    log.append(trader.instrument())
    process = stage.spawn(start)
    wait_until(lambda: 1 == stage.state(start.run).shipped_seq)
    began_s = time.monotonic()
    for _ in range(200):
        for event in trader.order():
            log.append(event)
            time.sleep(0.001)
    log.append(trader.end())
    log.close()
    assert 0 == process.wait(30)
    took_s = time.monotonic() - began_s
    commits = stage.value("SELECT count(DISTINCT xmin::text) FROM order_events")
    print(f"{commits} commits in {took_s:.2f} s")
    assert took_s < commits <= took_s / 0.020 + 2


def test_an_order_of_many_fills_keeps_the_last_hundred_in_its_row(stage):
    """Over several batches; every fill has a row of its own, and the sum is exact."""
    start, trader = stage.start_run(), Trader()
    log = stage.begin_log(start)
    log.append(trader.instrument())
    bodies = [msgspec.json.decode(each) for each in trader.order(quantity="0.250")]
    initialized, submitted, accepted, filled = bodies[:4]
    lines = [initialized, submitted, accepted]
    for part in range(250):
        fill = {**filled[4], "event_id": f"fill-{part}", "trade_id": f"T-{part}", "last_qty": "0.001"}
        lines.append([4 + part + 1, *filled[1:4], fill])
    log.append_many([msgspec.json.encode(each) for each in lines])
    log.append(payload(0, "End", {"last_seq": lines[-1][0], "clean": True}))
    log.close()
    assert stage.run_to_end(start) == 0
    ((status, filled_quantity, fill_count, fills),) = stage.query(
        "SELECT status, filled_quantity, fill_count, fills FROM unified_orders"
    )
    assert (status, filled_quantity, fill_count) == ("FILLED", Decimal("0.250"), 250)
    assert [each["trade_id"] for each in json.loads(fills)] == [f"T-{part}" for part in range(150, 250)]
    assert stage.query("SELECT count(*), sum(quantity) FROM unified_fills")[0][:] == (250, Decimal("0.250"))
    assert stage.differences() == []


def test_a_second_pass_over_the_same_log_changes_nothing(stage):
    """What is durable is skipped, also when its segments are still there."""
    start, last = stage.log_run(20)
    assert stage.run_to_end(start) == 0
    before = stage.query("SELECT xmin::text, seq FROM order_events ORDER BY seq")
    assert stage.run_to_end(start) == 0
    assert stage.query("SELECT xmin::text, seq FROM order_events ORDER BY seq") == before
    assert stage.progress(start.run) == (last, last)


def test_a_growing_log_is_followed(stage, wait_until):
    """Orders are seen in the tables while the node goes on, and the shipper ends when the log says so."""
    start, trader = stage.start_run(), Trader()
    log = stage.begin_log(start)
    log.append(trader.instrument())
    process = stage.spawn(start)
    for number in range(1, 4):
        log.append_many(list(trader.order()))
        wait_until(lambda number=number: stage.value("SELECT count(*) FROM unified_orders") == number)
    wait_until(lambda: stage.state(start.run).shipped_seq == trader.seq)
    assert process.poll() is None
    log.append(trader.end())
    assert process.wait(10) == 0
    log.close()
    assert stage.differences() == []


def test_without_an_end_it_ships_what_a_killed_node_left(stage):
    """A free node.lock means that nothing more comes."""
    start, last = stage.log_run(10, end=False)
    assert stage.run_to_end(start) == 0
    assert stage.progress(start.run) == (last, last)


def test_older_runs_are_drained_first_and_their_folders_go(stage):
    """An order that lives over two runs ends as its newest event says."""
    first, trader = stage.start_run(), Trader()
    log = stage.begin_log(first)
    log.append_many([trader.instrument(), *list(trader.order())[:2]])
    log.close()
    second = stage.start_run()
    log, later = stage.begin_log(second), Trader()
    log.append_many([later.instrument(), *list(later.order())[2:]])
    log.append(later.end())
    log.close()
    assert stage.run_to_end(second) == 0
    assert not run_folder(stage.folder, first.run).exists()
    assert run_folder(stage.folder, second.run).exists()
    [row] = stage.query("SELECT client_order_id, status, run FROM unified_orders")
    assert tuple(row) == ("O-1", "FILLED", second.run)
    assert [tuple(row) for row in stage.query("SELECT run, count(*) FROM order_events GROUP BY run ORDER BY run")] == [
        (first.run, 3),
        (second.run, EVENTS_PER_ORDER - 1),
    ]


def test_a_shipper_of_a_lost_book_writes_nothing(stage):
    """Another start has raised the epoch: exit 5, not one row."""
    start, _ = stage.log_run(10)
    stage.start_run()
    assert stage.run_to_end(start) == 5
    assert stage.seqs(start.run) == []
    assert stage.progress(start.run) == (0, 0)
    assert stage.state(start.run).phase == "fenced"
    assert f"under {start.epoch}" in stage.state(start.run).last_error


def test_a_shipper_that_loses_its_book_stops_in_between(stage, wait_until):
    """What it wrote before stays; what comes after is for the next one."""
    start, trader = stage.start_run(), Trader()
    log = stage.begin_log(start)
    log.append_many([trader.instrument(), *trader.order()])
    process = stage.spawn(start)
    wait_until(lambda: stage.progress(start.run)[0] == trader.seq)
    shipped = trader.seq
    newer = stage.start_run()
    log.append_many(list(trader.order()))
    assert process.wait(10) == 5
    assert stage.progress(start.run)[0] == shipped
    log.close()
    end = stage.begin_log(newer)
    end.append(payload(0, "End", {"last_seq": 0, "clean": True}))
    end.close()
    assert stage.run_to_end(newer) == 0
    assert stage.progress(start.run)[0] == trader.seq
    assert stage.differences() == []


def test_an_idle_shipper_notices_that_it_lost_its_book(stage, wait_until):
    """Without a batch to write it asks all the same: its successor waits for its lock."""
    start, trader = stage.start_run(), Trader()
    log = stage.begin_log(start)
    process = stage.spawn(start)
    wait_until(lambda: stage.state(start.run).phase == "shipping")
    stage.start_run()
    assert process.wait(5) == 5
    log.close()
    assert trader.seq == 0


def test_of_two_shippers_on_one_run_the_second_ends_quietly(stage, wait_until):
    """The lock of the run says who ships."""
    start, trader = stage.start_run(), Trader()
    log = stage.begin_log(start)
    first = stage.spawn(start)
    wait_until(lambda: stage.state(start.run).phase == "shipping")
    assert stage.run_to_end(start) == 0
    assert first.poll() is None
    log.append_many([trader.instrument(), *trader.order(), trader.end()])
    log.close()
    assert first.wait(10) == 0
    assert stage.seqs(start.run) == list(range(1, trader.seq + 1))


def test_two_shippers_at_once_without_a_lock_ship_everything_once(stage, wait_until):
    """A lock file that somebody deleted costs nothing but work: the progress in the database decides."""
    start, trader = stage.start_run(), Trader()
    log = stage.begin_log(start)
    log.append(trader.instrument())
    first = stage.spawn(start)
    wait_until(lambda: stage.state(start.run).phase == "shipping")
    (run_folder(stage.folder, start.run) / SHIPPER_LOCK).unlink()
    second = stage.spawn(start)
    wait_until(lambda: stage.state(start.run).pid == second.pid)
    for _ in range(100):
        log.append_many(list(trader.order()))
        time.sleep(0.002)  # so that both have batches to write
    log.append(trader.end())
    log.close()
    assert [first.wait(20), second.wait(20)] == [0, 0]
    assert stage.seqs(start.run) == list(range(1, trader.seq + 1))
    assert stage.differences() == []


def test_a_shipper_that_waits_for_an_older_one_gives_up_when_it_is_fenced(stage, wait_until):
    """The lock of the older run is held by somebody who never ends."""
    older, _ = stage.log_run(1)
    held = take_lock(run_folder(stage.folder, older.run) / SHIPPER_LOCK)
    newer, _ = stage.log_run(1)
    process = stage.spawn(newer)
    wait_until(lambda: stage.state(newer.run).phase == "shipping")
    stage.start_run()
    assert process.wait(5) == 5
    os.close(held)


def foreign_log(stage, run, epoch):
    """Leave the folder of a run that a former database had; return what is in its segment."""
    trader, start = Trader("F"), Start(run, epoch)
    log = stage.begin_log(start)
    log.append_many([trader.instrument(), *trader.order(), trader.end()])
    log.close()
    return segments(run_folder(stage.folder, run))[0].read_bytes()


def kept_log(stage, run, number=1):
    return segments(stage.folder / f"{run:06d}-foreign-{number}")[0].read_bytes()


def test_the_runs_of_a_former_database_are_kept_and_not_shipped(stage):
    """Whether this database has the number too or not, below or above the own run: named once, moved aside."""
    start = stage.start_run()
    older = stage.begin_log(start)
    older.append(payload(0, "End", {"last_seq": 0, "clean": True}))
    older.close()
    second, own = stage.start_run(), stage.start_run()
    foreign = {run: foreign_log(stage, run, epoch=70 + run) for run in (second.run, own.run, own.run + 1, own.run + 9)}
    trader = Trader()
    log = stage.begin_log(own)  # the node moves that of its own number
    log.append_many([trader.instrument(), *trader.order(), trader.end()])
    log.close()
    assert stage.run_to_end(own) == 0
    assert {run: kept_log(stage, run) for run in foreign} == foreign
    assert stage.query("SELECT DISTINCT run FROM order_events") == [(own.run,)]
    assert stage.seqs(own.run) == list(range(1, trader.seq + 1))
    assert not run_folder(stage.folder, start.run).exists()
    said = (stage.folder / "shipper.log").read_text()
    assert said.count("is of another database") == 3
    assert "is of another database" in stage.state(own.run).last_error
    assert stage.run_to_end(own) == 0
    assert stage.differences() == []


def test_the_host_and_the_process_tell_two_databases_apart_that_begin_alike(stage):
    """A database that was deleted gives the same book, run and epoch again."""
    foreign = foreign_log(stage, 1, epoch=1)
    claim = books.Claim(BOOK, "PAPER-001", "paper", "instance", socket.gethostname(), os.getpid() + 1, "0", "1")
    first = stage.start_run(claim)
    own, last = stage.log_run(3)
    assert (first.run, first.epoch) == (1, 1)
    assert stage.run_to_end(own) == 0
    assert kept_log(stage, 1) == foreign
    assert stage.seqs(1) == []
    assert stage.progress(own.run) == (last, last)


def test_a_shipper_that_is_up_first_moves_the_foreign_log_of_its_own_number(stage, wait_until):
    """The node begins its log in an empty folder, and all of it arrives."""
    foreign = foreign_log(stage, 1, epoch=7)
    own, trader = stage.start_run(), Trader()
    process = stage.spawn(own)
    wait_until((stage.folder / "000001-foreign-1").exists)
    log = stage.begin_log(own)
    log.append_many([trader.instrument(), *trader.order(), trader.end()])
    log.close()
    assert process.wait(20) == 0
    assert (own.run, kept_log(stage, 1)) == (1, foreign)
    assert stage.seqs(1) == list(range(1, trader.seq + 1))


def test_the_log_of_a_living_node_of_another_database_is_left_alone(stage):
    """It is neither shipped nor moved: its node goes on writing it."""
    other = stage.begin_log(Start(9, 9))
    other.append(Trader().instrument())
    own, last = stage.log_run(3)
    assert stage.run_to_end(own) == 0
    assert run_folder(stage.folder, 9).exists()
    assert "living node" in stage.state(own.run).last_error
    assert stage.progress(own.run) == (last, last)
    other.close()


def test_prices_reach_the_open_position(stage):
    """Marks have no number and no journal row."""
    start, trader = stage.start_run(), Trader()
    log = stage.begin_log(start)
    log.append_many([trader.instrument(), *trader.order()])
    log.append(payload(0, "Marks", {"marks": [["BTCUSDT-PERP.BINANCE", "41000.5", 1_800_000_000_000_000_000]]}))
    log.append(trader.end())
    log.close()
    assert stage.run_to_end(start) == 0
    assert str(stage.value("SELECT current_price FROM venue_positions")) == "41000.5"
    assert str(stage.value("SELECT current_price FROM unified_positions")) == "41000.5"
    assert stage.seqs(start.run) == list(range(1, trader.seq + 1))


def test_shipping_outlives_who_started_it_and_leaves_no_secret(stage, monkeypatch):
    """Detached, private folders, no address in its arguments, its environment, its state or its log."""
    monkeypatch.setenv("DATABASE_URL", f"postgresql://app:{PASSWORD}@nowhere/db")
    start, trader = stage.start_run(), Trader()
    log = stage.begin_log(start)
    shipping = Shipping.start(stage.order(start))
    deadline_s = time.monotonic() + 10
    while shipping.state.phase != "shipping":
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
    process = psutil.Process(shipping.state.pid)
    assert process.pid not in [child.pid for child in psutil.Process().children(recursive=True)]
    said = " ".join(process.cmdline()) + str(process.environ())
    password = stage.url.partition("@")[0].rpartition(":")[2]
    log.append_many([trader.instrument(), *trader.order(), trader.end()])
    log.close()
    assert shipping.drain(10)
    shipping.close()
    assert shipping.state.shipped_seq == trader.seq
    said += (stage.folder / "shipper.log").read_text()
    said += json.dumps([path.read_text() for path in run_folder(stage.folder, start.run).glob("shipper.json")])
    for secret in (PASSWORD, password):
        assert secret not in said
    for folder in (stage.folder, run_folder(stage.folder, start.run)):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_shipper_that_was_killed_is_started_again(stage):
    """The node hears of its death at once, and the next one goes on."""
    start, trader = stage.start_run(), Trader()
    log = stage.begin_log(start)
    log.append(trader.instrument())
    shipping = Shipping.start(stage.order(start))
    for _ in range(2):
        log.append_many(list(trader.order()))
        deadline_s = time.monotonic() + 10
        while shipping.state.shipped_seq != trader.seq:
            assert time.monotonic() < deadline_s, shipping.state
            time.sleep(0.01)
        psutil.Process(shipping.state.pid).kill()
    log.append(trader.end())
    log.close()
    assert shipping.drain(20)
    shipping.close()
    assert stage.seqs(start.run) == list(range(1, trader.seq + 1))
    assert stage.differences() == []


def test_it_starts_without_the_engine(stage):
    """Neither Nautilus nor SQLAlchemy is loaded."""
    code = "import sys, nautilus_ext.persistence.shipper.process; print([m for m in ('nautilus_trader', 'sqlalchemy', "
    code += "'alembic', 'pyarrow', 'pandas') if m in sys.modules])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert said.stdout.strip() == "[]", said.stderr
