"""Kill -9, a connection that breaks, a server that restarts: nothing is lost, nothing is there twice."""

from __future__ import annotations

import os
import random
import time

import pytest
from book_node import query
from shipper_log import Trader
from shipper_stage import BOOK, Stage

from nautilus_ext.embedded import EmbeddedPostgres, postmaster
from nautilus_ext.persistence.segments import run_folder
from nautilus_ext.persistence.shipper.launch import Shipping
from nautilus_ext.persistence.shipper.state import read_state
from nautilus_ext.schema.revision import REVISION, VERSION_TABLE
from nautilus_ext.schema.upgrade import upgrade

SEED = int(os.environ.get("SHIPPER_SEED", "20240229"))
KILLS = int(os.environ.get("SHIPPER_KILLS", "10"))
TERMINATE = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1"

SLOW_ROWS = """CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql
               AS 'BEGIN PERFORM pg_sleep(0.005); RETURN NEW; END'"""


@pytest.fixture
def stage(database, tmp_path):
    """A book on a fresh database, as the application's role; no process survives the test."""
    one = Stage(database.app_url, tmp_path)
    yield one
    one.kill()


class Node:
    """Appends orders to the log of a run, a few at a time."""

    def __init__(self, stage, **options):
        self.start, self.trader = stage.start_run(), Trader()
        self.log = stage.begin_log(self.start, **options)
        self.log.append(self.trader.instrument())

    def trade(self, orders):
        for _ in range(orders):
            self.log.append_many(list(self.trader.order()))

    def end(self):
        self.log.append(self.trader.end())
        self.log.close()


def judge(stage, node):
    assert stage.seqs(node.start.run) == list(range(1, node.trader.seq + 1))
    assert stage.progress(node.start.run) == (node.trader.seq, node.trader.seq)
    assert stage.rejected() == []
    assert stage.value("SELECT count(*) FROM unified_fills") == node.trader.orders
    assert stage.differences() == []


def test_kill_9_at_any_moment_loses_and_doubles_nothing(stage, wait_until):
    """Whatever a killed shipper had committed is skipped by the next one, and what it had not is shipped."""
    print("seed", SEED)
    dice = random.Random(SEED)
    node = Node(stage, segment_bytes_max=200_000)
    for _ in range(KILLS):
        node.trade(dice.randrange(20, 200))
        process = stage.spawn(node.start)
        if dice.random() < 0.7:
            before = stage.progress(node.start.run)[0]
            wait_until(lambda before=before: stage.progress(node.start.run)[0] > before)
            node.trade(dice.randrange(200))
            time.sleep(dice.uniform(0, 0.04))  # the moment of the kill, not a hope
        else:
            time.sleep(dice.uniform(0.1, 0.5))  # as above: while it starts, or in its first batch
        process.kill()
        process.wait()
    node.end()
    assert stage.run_to_end(node.start) == 0
    judge(stage, node)


def test_a_broken_connection_is_one_batch_again(stage, wait_until):
    """The server ends the sessions in the midst of batches."""
    print("seed", SEED)
    dice = random.Random(SEED)
    node = Node(stage)
    process = stage.spawn(node.start)
    for _ in range(8):
        node.trade(dice.randrange(50, 300))
        before = stage.progress(node.start.run)[0]
        wait_until(lambda before=before: stage.progress(node.start.run)[0] > before)
        node.trade(dice.randrange(50, 300))
        time.sleep(dice.uniform(0, 0.03))  # the moment of the break, not a hope
        stage.query(TERMINATE, f"exec-suite shipper {BOOK}")
    node.end()
    assert process.wait(20) == 0
    judge(stage, node)
    assert stage.state(node.start.run).last_error == ""
    assert "waiting for the database" in (stage.folder / "shipper.log").read_text()


def test_a_server_that_is_stopped_is_started_again(server_folder, tmp_path, wait_until):
    """The embedded server goes in the middle, the node goes on: an outage is a shipper that is behind."""
    with EmbeddedPostgres.join(server_folder) as server:
        upgrade(server.owner_url, server.app_url, timeout_s=10)
        stage = Stage(server.app_url, tmp_path)
        node = Node(stage)
        shipping = Shipping.start(stage.order(node.start, url=None, embedded_folder=str(server_folder)))
        for _ in range(2):
            node.trade(100)
            wait_until(lambda: shipping.state.shipped_seq == node.trader.seq)
            assert postmaster.stop_server(server_folder)
            node.trade(100)
        wait_until(lambda: shipping.state.shipped_seq == node.trader.seq)
        node.end()
        assert shipping.drain(20)
        shipping.close()
        server.ensure_running()
        assert "?:?" not in (stage.folder / "shipper.log").read_text()
        stage.url = server.app_url  # a server that was stopped in order comes back on another port
        judge(stage, node)


def test_the_embedded_server_stays_up_for_a_shipper_whose_node_is_gone(server_folder, tmp_path, wait_until):
    """The shipper is a user of the server itself: when it has drained, the last one is out."""
    server = EmbeddedPostgres.join(server_folder)
    upgrade(server.owner_url, server.app_url, timeout_s=10)
    stage = Stage(server.app_url, tmp_path)
    node = Node(stage)
    shipping = Shipping.start(stage.order(node.start, url=None, embedded_folder=str(server_folder)))
    wait_until(lambda: shipping.state.shipped_seq == 1)
    server.close()
    shipping.close()
    node.trade(200)
    node.log.close()  # as a kill does: the lock is free, and there is no end
    folder = run_folder(stage.folder, node.start.run)
    wait_until(lambda: read_state(folder).phase == "ended")
    wait_until(lambda: postmaster.is_free(server_folder, postmaster.SERVER_LOCK))
    with EmbeddedPostgres.join(server_folder) as again:
        stage.url = again.app_url
        judge(stage, node)


def test_a_batch_that_takes_the_database_too_long_is_made_smaller(stage, database):
    """One row each few ms under a short statement timeout: small batches are in time, and all arrives."""
    start, last = stage.log_run(200)
    owner = Stage(database.owner_url, stage.folder)
    owner.query(SLOW_ROWS)
    owner.query("CREATE TRIGGER slow BEFORE INSERT ON unified_orders FOR EACH ROW EXECUTE FUNCTION slow()")
    assert stage.run_to_end(start, statement_timeout_s=0.25) == 0
    assert stage.seqs(start.run) == list(range(1, last + 1))
    assert stage.differences() == []
    assert "waiting for the database" not in (stage.folder / "shipper.log").read_text().partition("shipping")[2]


def test_a_database_that_is_away_is_waited_for_and_named(stage, wait_until):
    """The state says who does not answer, without the password."""
    node = Node(stage)
    node.trade(3)
    nowhere = "postgresql://app:planted-password@127.0.0.1:9/suite"
    process = stage.spawn(node.start, url=nowhere)
    wait_until(lambda: stage.state(node.start.run).last_error != "")
    state = stage.state(node.start.run)
    assert (state.phase, state.shipped_seq) == ("waiting for the database", 0)
    assert "127.0.0.1:9" in state.last_error
    assert process.poll() is None
    said = (stage.folder / "shipper.log").read_text() + state.last_error
    assert "planted-password" not in said
    node.log.close()


@pytest.mark.parametrize("when", ["before it starts", "while it ships"])
def test_a_migration_beside_it_is_no_fault_of_the_records(stage, database, wait_until, when):
    """Tables of a later version: it waits, rejects nothing, and ships all when they are its own again."""
    node = Node(stage)
    node.trade(20)
    changes = "ALTER TABLE order_events ADD COLUMN later text NOT NULL DEFAULT ''"
    revision = f"UPDATE {VERSION_TABLE} SET version_num = $1"
    if when == "while it ships":
        shipping = stage.spawn(node.start)
        wait_until(lambda: node.trader.seq == stage.state(node.start.run).shipped_seq)
    for sql in (changes, "ALTER TABLE order_events ALTER COLUMN later DROP DEFAULT"):
        owner(database, sql)
    owner(database, revision, "9999")
    node.trade(20)
    node.end()
    if when == "before it starts":
        shipping = stage.spawn(node.start)
    wait_until(lambda: "'9999'" in stage.state(node.start.run).last_error)
    assert stage.rejected() == []
    assert stage.progress(node.start.run)[0] < node.trader.seq
    owner(database, "ALTER TABLE order_events DROP COLUMN later")
    owner(database, revision, REVISION)
    assert 0 == shipping.wait(30)
    judge(stage, node)


def owner(database, sql, *arguments) -> None:
    query(database.owner_url, sql, *arguments)
