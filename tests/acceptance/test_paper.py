import json
import re
import signal
import sqlite3
import time
from datetime import UTC, datetime

import asyncpg
import pytest

from nautilus_ext.embedded import EmbeddedPostgres

PAPER = "node_configs/paper.json"
BOOK = "PAPER-001.paper"


async def rows(shell, query):
    with EmbeddedPostgres.join(shell.data / "postgres") as server:
        connection = await asyncpg.connect(server.app_url)
        try:
            return [dict(row) for row in await connection.fetch(query)]
        finally:
            await connection.close()


async def test_a_paper_run_trades_ends_by_itself_and_accounts_for_every_order(shell):
    """From an empty folder: first order within ten seconds, summary, log and tables agree."""
    began = datetime.now(UTC)
    code, output = shell.run(PAPER, "--seconds", "6")
    assert code == 0, output
    records = shell.records(BOOK)
    submitted = [record for record in records if record.get("event") == "OrderSubmitted"]
    filled = [record for record in records if record.get("event") == "OrderFilled"]
    first = datetime.fromisoformat(submitted[0]["ts"][:26] + "+00:00")
    print(f"first order {(first - began).total_seconds():.2f} s after the command, from an empty folder")
    assert (first - began).total_seconds() < 10
    counted = dict(reversed(pair.split()) for pair in re.search(r"orders +(.*)", output)[1].split(", "))
    assert len(submitted) == int(counted["submitted"])
    assert len(filled) == int(counted["filled"])
    assert len({record["client_order_id"] for record in submitted}) == len(submitted)
    for step in ("configuration", "database", "schema", "book", "node", "venues"):
        assert re.search(rf"✓ {step} +\d+\.\d\d s", output), output
    (run,) = await rows(shell, "SELECT * FROM runs")
    assert (BOOK, 1, True, 0) == (run["book_id"], run["run"], run["clean_end"], run["exit_code"])
    assert run["ended_at"] > run["started_at"]
    (instance,) = await rows(shell, "SELECT status FROM instance_metadata")
    assert "stopped" == instance["status"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_signal_ends_a_run_within_ten_seconds_with_all_that_the_stop_causes(shell, number):
    """Cancels and closing fills come after the strategies' stop; they are in the log, and the exit code is 0."""
    running = shell.start(PAPER)
    running.until("position opened")
    running.process.send_signal(number)
    began = time.monotonic()
    assert running.end() == 0, running.output
    took_s = time.monotonic() - began
    print(f"{number.name}: ended after {took_s:.2f} s")
    assert took_s < 10
    records = shell.records(BOOK)
    stop = next(i for i, record in enumerate(records) if number.name in str(record.get("message", "")))
    after = [record.get("event") for record in records[stop:]]
    assert "OrderCanceled" in after or "OrderFilled" in after
    assert not [one for one in records if "shutting down" in str(one.get("message"))], "Nautilus heard the signal too"
    assert "  orders " in running.output


def test_a_second_node_on_the_same_book_refuses_and_names_the_first(shell):
    """The first trades on undisturbed; another book runs beside it."""
    first = shell.start(PAPER)
    first.until("order submitted")
    code, output = shell.run(PAPER, "--seconds", "2")
    assert code == 5
    assert str(first.pid) in output
    assert BOOK in output
    assert "Traceback" not in output
    code, output = shell.run(PAPER, "--seconds", "2", "--book", "OTHER")
    assert code == 0, output
    assert first.process.poll() is None
    code, output = shell.verb("status", PAPER, "--json")
    assert (0, first.pid) == (code, json.loads(output)["node"]["pid"])
    first.process.send_signal(signal.SIGTERM)
    assert first.end() == 0
    assert 1 == shell.verb("status", PAPER)[0]


async def test_a_node_that_lost_its_book_stops_and_sends_nothing_more(shell):
    """Another node raised the epoch: the first ends at once, without even its strategies' clean-up."""
    running = shell.start(PAPER)
    running.until("order filled")
    with EmbeddedPostgres.join(shell.data / "postgres") as server:
        owner = await asyncpg.connect(server.owner_url)
        await owner.execute("UPDATE books SET epoch = epoch + 1")
        await owner.close()
        began = time.monotonic()
        assert running.end(20) == 5
        print(f"ended {time.monotonic() - began:.2f} s after the epoch was raised")
    assert "lost the book" in running.output
    records = shell.records(BOOK)
    lost = next(i for i, record in enumerate(records) if "lost the book" in str(record.get("message", "")))
    assert [] == [record for record in records[lost:] if record.get("event") == "OrderSubmitted"]


def test_a_killed_run_leaves_no_database_behind_and_its_orders_at_the_exchange(shell, wait_until):
    """kill -9 of the runner: the database stops, the exchange goes on, and the next run takes over what is there."""
    running = shell.start(PAPER)
    running.until("order filled")
    running.until("BTCUSDT-PERP.SIM3 @")  # the quoter's orders work there
    assert shell.postmasters()
    running.process.kill()
    began = time.monotonic()
    wait_until(lambda: not shell.postmasters(), 10)
    print(f"no database server {time.monotonic() - began:.2f} s after kill -9")
    assert 1 == len(shell.exchanges()), "it outlives a killed node"
    code, output = shell.run(PAPER, "--seconds", "3")
    assert code == 0, output
    assert "run 2" in output
    assert "orders from before, as the venues have them: " in output
    records = shell.records(BOOK)
    second = next(i for i, record in enumerate(records) if "orders from before" in str(record.get("message")))
    before = {record["client_order_id"] for record in records[:second] if record.get("event") == "OrderSubmitted"}
    (restored,) = re.findall(r"restore .* (\d+) orders?", output)
    assert len(before) == int(restored), "an order of the killed run is unknown"
    assert "EXTERNAL" not in output, "each order found is its strategy's"
    wait_until(lambda: not shell.exchanges(), 10)


def test_two_books_of_one_file_have_accounts_of_their_own(shell):
    """Side by side at one exchange: neither sees the other's orders, and both ledgers hold."""
    first = shell.start(PAPER)
    first.until("order filled")
    code, output = shell.run(PAPER, "--seconds", "4", "--book", "OTHER")
    assert code == 0, output
    first.process.send_signal(signal.SIGTERM)
    assert first.end() == 0, first.output
    ledger = sqlite3.connect(shell.data / "exchange" / "paper" / "exchange.sqlite")
    at_exchange = set(ledger.execute("SELECT account, client_order_id FROM orders"))
    ledger.close()
    for book in (BOOK, "OTHER"):
        sent = {record["client_order_id"] for record in shell.records(book) if record.get("event") == "OrderSubmitted"}
        assert sent
        assert sent == {name for account, name in at_exchange if account == book}


def test_a_signal_during_the_start_ends_it(shell):
    """Before the node has taken the signals over there is nothing to stop in order."""
    running = shell.start(PAPER)
    running.until("configuration")
    running.process.send_signal(signal.SIGTERM)
    assert running.end(15) in (0, 130), running.output
    assert "Traceback" not in running.output


async def test_the_same_file_runs_as_a_backtest_and_twice_the_same(shell):
    """Each backtest is a book of its own, and a seed decides its orders."""
    results = []
    for _ in range(2):
        code, output = shell.run(PAPER, "--backtest")
        assert code == 0, output
        results.append(re.search(r"orders +.*submitted.*\n(.*\n)*?  PnL.*", output)[0])
    assert results[0] == results[1]
    runs = await rows(shell, "SELECT book_id, run, clean_end FROM runs")
    assert 2 == len({run["book_id"] for run in runs})
    assert all(run["book_id"].startswith("PAPER-001.backtest.") and run["clean_end"] for run in runs)


def test_live_json_runs_as_a_backtest_without_any_key(shell):
    """On a catalog that the project makes itself."""
    code, output = shell.run("node_configs/live.json", "--backtest")
    assert code == 0, output
    assert re.search(r"orders +\d+ submitted", output), output


async def test_a_backtest_touches_no_live_book(shell):
    """It takes no lock, and a name that belongs to a live book is refused."""
    live = shell.start(PAPER)
    live.until("order submitted")
    before = await rows(shell, f"SELECT epoch FROM books WHERE book_id = '{BOOK}'")
    code, output = shell.run(PAPER, "--backtest", "--book", BOOK)
    assert code == 5, output
    code, output = shell.run(PAPER, "--backtest")
    assert code == 0, output
    assert before == await rows(shell, f"SELECT epoch FROM books WHERE book_id = '{BOOK}'")
    assert live.process.poll() is None
