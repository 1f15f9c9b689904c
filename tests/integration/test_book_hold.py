"""One node trades a book; whoever lost it hears so; an outage alone loses nothing."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from contextlib import suppress

import asyncpg
import pytest
from book_node import HEARTBEAT_S, Node, end_sessions, query

from nautilus_ext.app import keeper
from nautilus_ext.app.book import BacktestBook, BookHold
from nautilus_ext.embedded import EmbeddedPostgres, postmaster
from nautilus_ext.errors import BookError, DatabaseError, SchemaBehind
from nautilus_ext.schema.upgrade import upgrade

BOOK = "PAPER-001.paper"
ASKED = {
    "book_id": BOOK,
    "trader_id": "PAPER-001",
    "environment": "paper",
    "instance_id": "here",
    "connect_timeout_s": 5.0,
    "heartbeat_s": HEARTBEAT_S,
    "on_lost": pytest.fail,
}
HELD_UP = """
    SELECT pid FROM pg_stat_activity
     WHERE query LIKE 'DO %FOR UPDATE%' AND wait_event = 'PgSleep' AND datname = current_database()"""
LET_GO = HELD_UP.replace("pid", "pg_terminate_backend(pid)", 1)
WAITS = """
    SELECT pid FROM pg_stat_activity
     WHERE application_name = $1 AND wait_event_type = 'Lock' AND datname = current_database()"""
FREE = "SELECT epoch FROM books FOR NO KEY UPDATE SKIP LOCKED"
NOWHERE = "postgresql://app:planted-password@127.0.0.1:9/suite"


class Gate:
    """The address of a database whose way can be barred, for one node alone."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.barred = False

    def __call__(self) -> str:
        return NOWHERE if self.barred else self.url


@pytest.fixture
def nodes(database):
    """Start processes on books of the database; none survives the test."""
    started = []

    def start(book_id=BOOK, **options):
        started.append(Node(database.app_url, book_id, **options))
        return started[-1]

    yield start
    for node in started:
        node.kill()


@pytest.fixture
def hold(database):
    """Hold books in this process; all are released, and no thread stays."""
    held = []

    def acquire(url=None, **options):
        held.append(BookHold.acquire(url or database.app_url, **(ASKED | options)))
        return held[-1]

    yield acquire
    for one in held:
        one.release(clean=True, exit_code=0)
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("book ")] == []


def test_a_second_node_is_refused_and_told_who_has_the_book(nodes, wait_until):
    """The refusal names pid, host, instance, start and heartbeat of the first, and the cure."""
    first = nodes(instance_id="first-instance")
    assert first.wait_for("run", wait_until) == 1
    second = nodes()
    text = second.wait_for("text", wait_until)
    assert second.heard("error") == "BookTaken"
    assert second.process.wait() == 5
    for part in (BOOK, f"pid {first.process.pid} ", socket.gethostname(), "first-instance", "started 20", "--book"):
        assert part in text
    assert float(text.partition("last heartbeat ")[2].split()[0]) < 2
    assert first.heard("lost") is None


def test_after_a_kill_the_next_start_has_the_book_within_seconds(nodes, database, wait_until):
    """A killed node needs no cleaning up; its run stays without an end."""
    first = nodes()
    first.wait_for("run", wait_until)
    first.process.send_signal(signal.SIGKILL)
    killed_s = time.monotonic()
    second = nodes()
    assert second.wait_for("run", wait_until) == 2
    assert time.monotonic() - killed_s < 5
    assert second.heard("epoch") == 2
    assert second.stop() == 0
    rows = query(database.owner_url, "SELECT run, epoch, clean_end, exit_code, ended_at IS NULL FROM runs ORDER BY run")
    assert [tuple(row) for row in rows] == [(1, 1, False, None, True), (2, 2, True, 0, False)]


def test_different_books_live_side_by_side(nodes, wait_until):
    """A lock is the lock of one book."""
    both = [nodes(book_id="PAPER-001.paper"), nodes(book_id="PAPER-001.paper-2")]
    assert [node.wait_for("run", wait_until) for node in both] == [1, 1]
    assert [node.stop() for node in both] == [0, 0]


def test_of_two_nodes_that_start_at_once_one_is_refused(nodes, wait_until):
    """There is no moment in which two nodes have the book."""
    both = [nodes(instance_id="a"), nodes(instance_id="b")]
    wait_until(lambda: all(node.said for node in both))
    assert sorted(str(node.heard("error")) for node in both) == ["BookTaken", "None"]


def test_a_session_that_the_server_ends_is_regained(hold, database, wait_until):
    """With nobody else around the same run goes on under the same epoch."""
    held = hold()
    assert str(held.status) == "held"
    since_s = held.status.since_s
    assert len(end_sessions(database.app_url, BOOK)) == 1
    wait_until(lambda: str(held.status) == "held" and held.status.since_s > since_s)
    assert query(database.owner_url, "SELECT epoch FROM books")[0]["epoch"] == held.epoch == 1
    assert len(query(database.owner_url, "SELECT FROM runs")) == 1


def test_a_node_whose_book_was_taken_in_an_outage_hears_so_once(hold, nodes, database, wait_until):
    """Who comes back finds the epoch raised and learns who raised it."""
    gate, lost = Gate(database.app_url), []
    held = hold(gate, on_lost=lost.append)
    gate.barred = True
    end_sessions(database.app_url, BOOK)
    wait_until(lambda: str(held.status) == "database away")
    other = nodes(instance_id="other")
    assert other.wait_for("epoch", wait_until) == 2
    assert lost == []
    gate.barred = False
    wait_until(lambda: lost, timeout_s=3)
    assert str(held.status) == "lost"
    assert f"pid {other.process.pid} " in lost[0]
    assert held.release(clean=True, exit_code=0) is False
    assert len(lost) == 1
    assert other.heard("lost") is None


def test_a_stopped_process_that_lost_its_book_hears_so_when_it_goes_on(nodes, database, wait_until):
    """A pause is an outage that the node did not notice."""
    first = nodes(instance_id="first")
    first.wait_for("run", wait_until)
    first.process.send_signal(signal.SIGSTOP)
    assert len(end_sessions(database.app_url, BOOK)) == 1
    second = nodes(instance_id="second")
    assert second.wait_for("epoch", wait_until) == 2
    first.process.send_signal(signal.SIGCONT)
    assert "second" in first.wait_for("lost", wait_until)
    assert second.stop() == 0


def test_a_node_that_was_stopped_while_it_took_the_book_does_not_keep_it(nodes, database, wait_until):
    """It holds the book's row in a transaction and the lock besides: the server ends its session after 3 s."""
    first = nodes()
    first.wait_for("run", wait_until)
    assert first.stop() == 0
    holder = threading.Thread(target=_hold_the_instance_up, args=(database.owner_url,))
    holder.start()
    wait_until(lambda: query(database.owner_url, HELD_UP))
    stopped = nodes()
    wait_until(lambda: query(database.app_url, WAITS, f"exec-suite {BOOK}"))
    stopped.process.send_signal(signal.SIGSTOP)
    query(database.owner_url, LET_GO)
    holder.join()
    assert [] == query(database.app_url, FREE), "it holds the row no more"
    wait_until(lambda: query(database.app_url, FREE))
    after = nodes(instance_id="after")
    assert after.wait_for("epoch", wait_until) == 2
    stopped.process.send_signal(signal.SIGCONT)
    assert stopped.wait_for("error", wait_until) == "DatabaseError"
    assert after.stop() == 0


def _hold_the_instance_up(url):
    with suppress(asyncpg.PostgresError, OSError):  # it is ended
        query(url, "DO 'BEGIN PERFORM 1 FROM instance_metadata FOR UPDATE; PERFORM pg_sleep(60); END'")


def test_a_race_for_a_lock_that_came_free_has_one_winner(nodes, database, wait_until):
    """Either the first regains it and the second is refused, or the second has it and the first hears so."""
    first = nodes(instance_id="first")
    first.wait_for("run", wait_until)
    second = nodes(instance_id="second")
    waiting = "SELECT count(*) > 1 FROM pg_stat_activity WHERE application_name = $1"
    wait_until(lambda: query(database.app_url, waiting, f"exec-suite {BOOK}")[0][0])
    [row] = query(database.app_url, "SELECT pid, pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")
    assert row["pg_terminate_backend"]
    wait_until(lambda: second.heard("error") or first.heard("lost"))
    assert (second.heard("error") == "BookTaken") != (first.heard("lost") is not None)
    assert (second.heard("epoch") == 2) == (first.heard("lost") is not None)


def test_an_epoch_that_rises_behind_the_back_loses_the_book(hold, database, wait_until):
    """The epoch decides, also while the lock is held; a release inside the alarm does not block."""
    lost = []

    def stop(reason):
        lost.append(reason)
        held.release(clean=False, exit_code=5)

    held = hold(on_lost=stop)
    query(database.owner_url, "UPDATE books SET epoch = epoch + 1")
    wait_until(lambda: lost, timeout_s=3)
    assert "epoch 2, ours was 1" in lost[0]


def test_a_server_that_comes_back_on_another_port_is_found(server_folder, hold, wait_until):
    """The address is asked for at each reconnect, and the outage shows with its age."""
    with EmbeddedPostgres.join(server_folder, settings={"fsync": "off"}) as server, socket.socket() as squatter:
        upgrade(server.owner_url, server.app_url, timeout_s=10)
        held = hold(lambda: server.app_url, connect_timeout_s=0.5)
        former = server.port
        postmaster.stop_server(server.folder)
        squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        squatter.bind(("127.0.0.1", former))
        squatter.listen()
        wait_until(lambda: str(held.status) == "database away")
        time.sleep(0.2)
        assert str(held.status) == "database away"
        assert held.status.age_s > 0.2
        server.ensure_running()
        assert server.port != former
        wait_until(lambda: str(held.status) == "held")
        assert held.release(clean=True, exit_code=0) is True
        [row] = query(server.owner_url, "SELECT run, epoch, clean_end FROM runs")
        assert tuple(row) == (1, 1, True)


def test_a_session_that_hangs_is_noticed_and_nobody_else_gets_in(hold, database, wait_until, monkeypatch):
    """No answer counts as an outage; a lock that our own former session still has is no loss."""
    monkeypatch.setattr(keeper, "REGAIN_WAIT_S_MAX", 0.2)
    held = hold()
    [row] = query(
        database.app_url, "SELECT pid FROM pg_stat_activity WHERE application_name = $1", f"exec-suite {BOOK}"
    )
    os.kill(row["pid"], signal.SIGSTOP)
    try:
        wait_until(lambda: "former session" in held.status.detail)
        assert str(held.status) == "database away"
    finally:
        os.kill(row["pid"], signal.SIGCONT)
    wait_until(lambda: str(held.status) == "held")
    assert held.epoch == 1


def test_a_lock_in_hands_that_raise_no_epoch_is_lost_after_a_while(hold, database, wait_until, monkeypatch):
    """Whoever else has the lock, this node does not have it."""
    monkeypatch.setattr(keeper, "REGAIN_WAIT_S_MAX", 0.2)
    gate, lost = Gate(database.app_url), []
    held = hold(gate, on_lost=lost.append)
    [key] = query(database.app_url, "SELECT classid::bigint << 32 | objid::bigint FROM pg_locks WHERE objsubid = 1")
    gate.barred = True
    end_sessions(database.app_url, BOOK)
    wait_until(lambda: str(held.status) == "database away")
    taker = threading.Thread(
        target=query, args=(database.owner_url, "SELECT pg_advisory_lock($1), pg_sleep(1.5)", key[0])
    )
    taker.start()
    wait_until(lambda: query(database.app_url, "SELECT FROM pg_locks WHERE objsubid = 1 AND granted"))
    gate.barred = False
    wait_until(lambda: lost)
    taker.join()
    assert "is none of this node's" in lost[0]


def test_a_database_that_only_reads_does_not_count_as_regained(hold, database, postgres_server, wait_until):
    """After a failover to a standby the node waits for one that writes."""
    held = hold()
    read_only = f"ALTER ROLE suite_app IN DATABASE {database.name} "
    query(postgres_server.admin_url, f"{read_only} SET default_transaction_read_only = on")
    end_sessions(database.app_url, BOOK)
    wait_until(lambda: "read-only" in held.status.detail)
    query(postgres_server.admin_url, f"{read_only} RESET default_transaction_read_only")
    wait_until(lambda: str(held.status) == "held")


def test_release_closes_the_run_once(hold, database):
    """The first call says how the run ended; a second changes nothing."""
    held = hold()
    assert held.release(clean=False, exit_code=3) is True
    assert held.release(clean=True, exit_code=0) is True
    assert str(held.status) == "released"
    [row] = query(
        database.owner_url,
        "SELECT clean_end, exit_code, ended_at >= r.started_at, status, locks"
        " FROM runs r JOIN instance_metadata USING (book_id, run),"
        " (SELECT count(*) AS locks FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND database ="
        " (SELECT oid FROM pg_database WHERE datname = current_database())) l",
    )
    assert tuple(row) == (False, 3, True, "stopped", 0)


def test_release_is_bounded_while_the_database_is_away(hold, database, wait_until):
    """A node can always end, and says that its end is not on record."""
    gate = Gate(database.app_url)
    held = hold(gate)
    gate.barred = True
    end_sessions(database.app_url, BOOK)
    wait_until(lambda: str(held.status) == "database away")
    started_s = time.monotonic()
    assert held.release(clean=True, exit_code=0) is False
    assert time.monotonic() - started_s < 2.5
    assert query(database.owner_url, "SELECT ended_at FROM runs")[0]["ended_at"] is None


def test_release_is_bounded_while_the_database_hangs(hold, database):
    """A server that does not answer does not keep a node from ending."""
    held = hold(heartbeat_s=30.0)
    sql = "SELECT pid FROM pg_stat_activity WHERE application_name = $1"
    pid = query(database.app_url, sql, f"exec-suite {BOOK}")[0]["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        started_s = time.monotonic()
        assert held.release(clean=True, exit_code=0) is False
        assert time.monotonic() - started_s < 2.5
    finally:
        os.kill(pid, signal.SIGCONT)


def test_the_heartbeat_and_the_status_are_in_the_database(hold, database, wait_until):
    """Others see in the tables what a node does and that it lives."""
    held = hold()
    held.set_status("running")
    sql = "SELECT status, last_heartbeat, pid, host FROM instance_metadata"
    wait_until(lambda: query(database.app_url, sql)[0]["status"] == "running")
    before = query(database.app_url, sql)[0]
    wait_until(lambda: query(database.app_url, sql)[0]["last_heartbeat"] > before["last_heartbeat"])
    assert (before["pid"], before["host"]) == (os.getpid(), socket.gethostname())


def test_a_fixed_instance_id_serves_many_runs(hold, database):
    """A config may fix the instance_id: its row moves on to the new run."""
    hold().release(clean=True, exit_code=0)
    assert hold().run == 2
    assert [row["run"] for row in query(database.app_url, "SELECT run FROM instance_metadata")] == [2]


def test_a_book_of_another_trader_is_refused_and_stays_as_it_was(hold, database):
    """A book never changes its trader or its environment."""
    hold().release(clean=True, exit_code=0)
    with pytest.raises(BookError, match=r"belongs to trader PAPER-001 \(paper\), not to trader OTHER-002"):
        hold(trader_id="OTHER-002")
    assert query(database.app_url, "SELECT epoch FROM books")[0]["epoch"] == 1


def test_a_backtest_takes_no_lock_and_has_its_rows(hold, database):
    """A backtest disturbs no node and is on record with its end."""
    hold()
    one = BacktestBook.record(
        database.app_url, book_id="PAPER-001.backtest-1", trader_id="PAPER-001", instance_id="x", connect_timeout_s=5
    )
    locked = query(database.app_url, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1")
    assert (one.run, one.epoch, locked[0][0]) == (1, 1, 1)
    assert one.release(clean=True, exit_code=0) is True
    assert one.release(clean=False, exit_code=1) is True
    sql = "SELECT clean_end, exit_code, environment FROM runs JOIN books USING (book_id) WHERE book_id = $1"
    assert tuple(query(database.app_url, sql, one.book_id)[0]) == (True, 0, "backtest")


async def test_a_backtest_is_a_book_of_its_own(database):
    """The same name again is refused, also from a notebook, whose loop is running."""
    asked = {"book_id": "b", "trader_id": "PAPER-001", "instance_id": "x", "connect_timeout_s": 5}
    BacktestBook.record(database.app_url, **asked)
    with pytest.raises(BookError, match="book b exists already"):
        BacktestBook.record(database.app_url, **asked)


def test_a_book_in_a_database_without_tables_names_the_cure(empty_database):
    """What is behind is refused before anything is written."""
    with pytest.raises(SchemaBehind, match=r"no tables yet.*'\d{4}'.*python -m nautilus_ext migrate CONFIG"):
        BookHold.acquire(empty_database.app_url, **ASKED)


def test_an_unreachable_database_is_named_without_its_password(hold):
    """The message shows where, and nothing that is secret is in the whole chain."""
    with pytest.raises(DatabaseError, match=r"nothing accepts connections at 127\.0\.0\.1:9") as caught:
        hold(NOWHERE)
    assert "planted-password" not in f"{caught.getrepr(style='native', chain=True)}"


def test_a_database_that_fails_right_after_the_connection_is_an_error_of_ours(database, postgres_server, hold):
    """No error of the driver reaches the operator, whichever statement it hits."""
    admin_url = f"{postgres_server.admin_url.rpartition('/')[0]}/{database.name}"
    query(admin_url, "REVOKE SELECT ON pg_stat_activity FROM PUBLIC")
    with pytest.raises(DatabaseError, match="user 'suite_app' lacks a permission"):
        hold()


def test_a_node_may_ask_whether_the_book_is_its_own(hold, database, wait_until, monkeypatch):
    """As after a pause: yes, by a beat made for it; during an outage nobody knows, and that is said in time."""
    monkeypatch.setattr(keeper, "CONFIRM_S_MAX", 1.0)
    gate = Gate(database.app_url)
    held = hold(gate, heartbeat_s=30.0)
    assert held.confirm() is True
    beaten = "UPDATE instance_metadata SET last_heartbeat = now() - interval '1 hour'"
    query(database.owner_url, beaten)
    assert held.confirm() is True
    [row] = query(
        database.app_url, "SELECT now() - last_heartbeat < interval '1 minute' AS is_new FROM instance_metadata"
    )
    assert row["is_new"], "no beat was made for it"
    gate.barred = True
    end_sessions(database.app_url, BOOK)
    began_s = time.monotonic()
    assert held.confirm() is False
    assert time.monotonic() - began_s < 2
    gate.barred = False
    wait_until(held.confirm)


def test_a_defect_in_the_watch_loses_the_book_and_says_so(hold, monkeypatch, wait_until):
    """Nobody would tell the node that another one has the book: it stops."""
    lost = []
    held = hold(on_lost=lost.append)

    async def defective(*_):
        raise RuntimeError("a defect of the suite")

    monkeypatch.setattr(keeper.books, "beat", defective)
    wait_until(lambda: lost)
    assert (["the watch over book PAPER-001.paper failed (RuntimeError): see the log"], "lost") == (
        lost,
        str(held.status),
    )
