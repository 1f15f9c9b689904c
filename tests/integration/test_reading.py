"""What the desk reads agrees with the tables of a real backtest, whatever it is asked for, and in what form."""

from __future__ import annotations

import asyncio
import json
import os
import select
import shutil
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import pytest

from nautilus_ext import cli
from nautilus_ext.app.database import Tables
from nautilus_ext.app.desk_session import Session
from nautilus_ext.config import load
from nautilus_ext.embedded import EmbeddedPostgres, postmaster
from nautilus_ext.errors import ConfigError, DatabaseError

ROOT = Path(__file__).resolve().parents[2]
CONFIG = str(ROOT / "node_configs" / "paper.json")
MINUTES = 2


class Desk:
    """The verbs on the tables of one backtest, and the tables themselves."""

    def __init__(self, config: str, url: str, owner_url: str) -> None:
        self.config = config
        self.url = url
        self.owner_url = owner_url

    def table(self, sql, *arguments):
        async def ask():
            connection = await asyncpg.connect(self.url)
            try:
                return [dict(row) for row in await connection.fetch(sql, *arguments)]
            finally:
                await connection.close()

        return asyncio.run(ask())

    def change(self, sql, *arguments):
        async def work():
            connection = await asyncpg.connect(self.owner_url)
            await connection.execute(sql, *arguments)
            await connection.close()

        asyncio.run(work())

    def ask(self, capsys, *arguments, backtest=True):
        """Exit code, output and errors of a verb."""
        verb, *others = arguments
        code = cli.main([verb, self.config, *others, *(["--backtest"] if backtest else [])])
        return (code, *capsys.readouterr())

    def rows(self, capsys, *arguments):
        code, output, _ = self.ask(capsys, *arguments, "--json")
        assert 0 == code
        return json.loads(output)


@pytest.fixture(scope="module")
def desk(fast_folder, built_cluster, wait_until):
    """A short backtest of the shipped config, journaled into a server that stays up."""
    data = fast_folder / f"desk-{uuid4().hex[:12]}"
    folder = data / "postgres"
    folder.mkdir(parents=True)
    shutil.copytree(built_cluster, folder / "cluster")
    document = json.loads(Path(CONFIG).read_text())
    document["backtest"]["synthetic"] = {**document["backtest"].get("synthetic", {}), "minutes": MINUTES}
    config = data / "desk.json"
    config.write_text(json.dumps({**document, "data_dir": str(data)}))
    with EmbeddedPostgres.join(folder) as server:
        subprocess.run(
            [sys.executable, "-m", "nautilus_ext.run", str(config), "--backtest"],
            cwd=ROOT,
            env={**os.environ, "NAUTILUS_EXT_DATA": str(data)},
            check=True,
            capture_output=True,
            timeout=60,
        )
        yield Desk(str(config), server.app_url, server.owner_url)
    wait_until(lambda: postmaster.is_free(folder, postmaster.SERVER_LOCK), 20)
    shutil.rmtree(data, ignore_errors=True)


def test_every_order_is_listed_once_with_exact_numbers_and_both_times(desk, capsys):
    """What a program reads is what the tables hold, digit by digit."""
    listed = desk.rows(capsys, "orders", "--limit", "10000")
    held = desk.table("SELECT * FROM unified_orders")
    assert len(held) > 20
    assert {row["client_order_id"] for row in held} == {row["client_order_id"] for row in listed}
    by_id = {row["client_order_id"]: row for row in listed}
    for row in held:
        told = by_id[row["client_order_id"]]
        assert f"{row['quantity']:f}" == told["quantity"]
        assert str(row["created_ns"]) == told["created_ns"]
        assert told["created_at"].endswith(f"{row['created_ns'] % 10**9:09}Z")
    assert listed == sorted(listed, key=lambda row: int(row["created_ns"]))


def test_the_limit_keeps_the_newest(desk, capsys):
    """Ten of many are the last ten, and the line below says that there are more."""
    newest = [row["client_order_id"] for row in desk.rows(capsys, "orders", "--limit", "10000")][-10:]
    assert newest == [row["client_order_id"] for row in desk.rows(capsys, "orders", "--limit", "10")]
    _, output, _ = desk.ask(capsys, "orders", "--limit", "10")
    assert "the newest 10 orders" in output
    assert "more with --limit" in output


@pytest.mark.parametrize(
    ("options", "condition"),
    [
        (["--strategy", "TrendFollower-001"], "strategy_id = 'TrendFollower-001'"),
        (["--venue", "SIM3"], "venue = 'SIM3'"),
        (["--instrument", "ETHUSDT-PERP.SIM2"], "instrument_id = 'ETHUSDT-PERP.SIM2'"),
        (["--instrument", "SIM1:SPOT_PAIR:BTC-USDT"], "instrument_id = 'BTCUSDT.SIM1'"),
        (["--instrument", "PERPETUAL:BTC-USDT"], "instrument_id = 'BTCUSDT-PERP.SIM3'"),
        (["--asset", "ETH"], "instrument_id LIKE 'ETH%'"),
        (["--asset", "ETH", "--venue", "SIM1"], "instrument_id = 'ETHUSDT.SIM1'"),
        (["--status", "Filled, canceled"], "status IN ('FILLED', 'CANCELED')"),
        (["--status", "closed"], "status IN ('FILLED', 'CANCELED', 'DENIED', 'EXPIRED', 'REJECTED')"),
        (["--since", "2026-01-05T00:01:00"], "created_at >= '2026-01-05T00:01:00Z'"),
        (["--since", "2026-01-05T01:01:00+01:00"], "created_at >= '2026-01-05T00:01:00Z'"),
    ],
    ids=" ".join,
)
def test_a_filter_takes_the_rows_that_it_names(desk, capsys, options, condition):
    """Each option means the same as the condition that one would write by hand."""
    held = desk.table(f"SELECT client_order_id FROM unified_orders WHERE {condition}")
    listed = desk.rows(capsys, "orders", "--limit", "10000", *options)
    assert held
    assert {row["client_order_id"] for row in held} == {row["client_order_id"] for row in listed}


def test_durations_count_back_in_the_time_of_a_backtest(desk, capsys):
    """The last thirty seconds of a backtest are not those of the wall clock."""
    (end,) = desk.table("SELECT max(ts_init) AS ns FROM order_events")
    held = desk.table("SELECT trade_id FROM unified_fills WHERE ts_event >= $1", end["ns"] - 30 * 10**9)
    assert held
    listed = desk.rows(capsys, "fills", "--since", "30s", "--limit", "10000")
    assert {row["trade_id"] for row in held} == {row["trade_id"] for row in listed}


@pytest.mark.parametrize(
    ("state", "condition"), [("open", "side <> 'FLAT'"), ("closed", "side = 'FLAT'"), ("all", "true")]
)
def test_positions_are_listed_by_their_state(desk, capsys, state, condition):
    """Open ones by default, closed ones and all on demand, newest last."""
    held = desk.table(f"SELECT opening_order_id, opened_ns FROM venue_positions WHERE {condition}")
    listed = desk.rows(capsys, "positions", "--status", state, "--limit", "10000")
    assert held
    assert {(row["opening_order_id"], str(row["opened_ns"])) for row in held} == {
        (row["opening_order_id"], row["opened_ns"]) for row in listed
    }
    if state == "open":
        assert listed == desk.rows(capsys, "positions", "--limit", "10000")


def test_an_operation_finds_its_orders_fills_and_the_position_that_it_opened(desk, capsys):
    """The id of an operation leads through all three tables."""
    (position,) = desk.table("SELECT * FROM venue_positions ORDER BY opened_ns LIMIT 1")
    operation = position["opening_order_id"]
    found = {verb: desk.rows(capsys, verb, "--operation-id", operation) for verb in ("orders", "fills")}
    assert [operation] == [row["client_order_id"] for row in found["orders"]]
    assert {operation} == {row["client_order_id"] for row in found["fills"]}
    (opened,) = desk.rows(capsys, "positions", "--status", "all", "--operation-id", operation)
    assert (position["position_id"], operation) == (opened["position_id"], opened["opening_order_id"])


def test_exposure_adds_up_the_open_positions(desk, capsys):
    """Net, long, short, values and profit equal sums that are made by hand from the positions."""
    held = desk.table("SELECT * FROM venue_positions WHERE side <> 'FLAT'")
    listed = desk.rows(capsys, "exposure")
    assert {row["base_asset"] for row in held} == {row["base_asset"] for row in listed}
    for row in listed:
        parts = [part for part in held if part["base_asset"] == row["base_asset"]]
        net = [part["base_quantity"] for part in parts]
        values = [part["base_quantity"] * part["current_price"] for part in parts]
        assert sum(net) == Decimal(row["net"])
        assert sum(each for each in net if each > 0) == Decimal(row["long"])
        assert sum(each for each in net if each < 0) == Decimal(row["short"])
        assert sum(values) == Decimal(row["net_value"])
        assert sum(map(abs, values)) == Decimal(row["gross_value"])
        assert sum(part["unrealized_pnl"] for part in parts) == Decimal(row["unrealized_pnl"]["USDT"])
        assert sum(part["realized_pnl"] for part in parts) == Decimal(row["realized_pnl"]["USDT"])
        assert len(parts) == row["positions"]


def test_the_life_of_an_order_is_its_journal(desk, capsys):
    """Each event once, in order, with the time that passed; found by our id, and by the venue's."""
    (order,) = desk.table("SELECT * FROM unified_orders WHERE order_type = 'STOP_MARKET' AND status = 'FILLED' LIMIT 1")
    held = desk.table(
        "SELECT run, seq, type FROM order_events WHERE client_order_id = $1 ORDER BY run, seq", order["client_order_id"]
    )
    code, output, _ = desk.ask(capsys, "order", order["client_order_id"], "--json")
    told = json.loads(output)
    assert 0 == code
    assert [(row["run"], row["seq"], row["type"]) for row in held] == [
        (step["run"], step["seq"], step["type"]) for step in told["life"]
    ]
    assert order["client_order_id"] == told["order"]["client_order_id"]
    assert order["parent_client_order_id"] in [row["client_order_id"] for row in told["linked"]]
    code, by_venue, _ = desk.ask(capsys, "order", order["venue_order_id"])
    assert 0 == code
    for words in ("made: ", f"accepted as {order['venue_order_id']}", "filled ", "parent "):
        assert words in by_venue


def test_a_long_life_says_how_much_of_it_is_not_shown(desk, capsys):
    """The newest 10,000 events of an order, and the number of older ones: for the eye and for programs."""
    ((order_id, held),) = (
        row.values()
        for row in desk.table(
            "SELECT client_order_id, count(*) FROM order_events WHERE client_order_id IS NOT NULL GROUP BY 1 LIMIT 1"
        )
    )
    desk.change(
        "INSERT INTO order_events (book_id, run, seq, type, client_order_id, ts_event, ts_init, payload) "
        "SELECT book_id, 1, 1000000 + n, 'Many', $1, n, n, '{}' FROM books, generate_series(1, 10003) AS n",
        order_id,
    )
    try:
        code, output, _ = desk.ask(capsys, "order", order_id)
        told = json.loads(desk.ask(capsys, "order", order_id, "--json")[1])
    finally:
        desk.change("DELETE FROM order_events WHERE type = 'Many'")
    assert 0 == code
    assert f"… {held + 3} older events, in order_events and not shown" in output
    assert f": {held + 10_003:,} events; " in output
    assert (held + 3, 10_000) == (told["older_events"], len(told["life"]))
    assert (1_000_004, 1_010_003) == (told["life"][0]["seq"], told["life"][-1]["seq"])


def test_an_order_that_does_not_exist_is_answered_with_a_hint(desk, capsys):
    """Exit 1, the book that was searched, and the verb that lists what there is."""
    code, output, errors = desk.ask(capsys, "order", "O-nobody")
    assert (1, "") == (code, output)
    assert "has no order 'O-nobody'" in errors
    assert "nautilus_ext orders" in errors


def test_the_life_of_an_archived_order_is_said_to_be_in_a_file(desk, capsys):
    """No empty table: the file of its run is named, for the eye and for programs."""
    (order,) = desk.table("SELECT * FROM unified_orders WHERE status = 'FILLED' LIMIT 1")
    order_id, file = order["client_order_id"], "/somewhere/000001.parquet"
    desk.change("UPDATE runs SET archived_at = now(), archive = $1", file)
    hidden = f"archived {order_id}"  # as if its events were gone from the journal
    desk.change("UPDATE order_events SET client_order_id = $1 WHERE client_order_id = $2", hidden, order_id)
    try:
        code, output, _ = desk.ask(capsys, "order", order_id)
        told = json.loads(desk.ask(capsys, "order", order_id, "--json")[1])
    finally:
        desk.change("UPDATE order_events SET client_order_id = $1 WHERE client_order_id = $2", order_id, hidden)
        desk.change("UPDATE runs SET archived_at = NULL, archive = NULL")
    assert 0 == code
    assert f"run 1 is in {file}" in output
    assert "its events are archived" in output
    assert "what happened" not in output
    assert ([], [{"run": 1, "archive": file}]) == (told["life"], told["archived"])
    assert [] == json.loads(desk.ask(capsys, "order", order_id, "--json")[1])["archived"]


class Cutting:
    """The way to a server that breaks whenever a client says some words; it counts who is still connected."""

    def __init__(self, url: str, words: bytes) -> None:
        self._server = urlsplit(url)
        self._words = words
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.open = self.cut = 0
        place = f"{self._server.username}:{self._server.password}@127.0.0.1:{self._listener.getsockname()[1]}"
        self.url = self._server._replace(netloc=place).geturl()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):  # the test is over
            while True:
                client = self._listener.accept()[0]
                self.open += 1
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection((self._server.hostname, self._server.port)) as server, suppress(OSError):
            while ready := select.select([client, server], [], [], 30)[0]:
                some = ready[0].recv(65_536)
                if not some or (ready[0] is client and self._words in some):
                    self.cut += bool(some)
                    break
                (server if ready[0] is client else client).sendall(some)
        self.open -= 1

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture
def cutting(desk, tmp_path):
    """A config whose database goes away at certain words."""
    made = []

    def cut(words: bytes) -> tuple[Cutting, str]:
        made.append(Cutting(desk.url, words))
        document = json.loads(Path(desk.config).read_text())
        path = tmp_path / "cut.json"
        path.write_text(json.dumps({**document, "database": {"backtest_url": made[-1].url}}))
        return made[-1], str(path)

    yield cut
    for each in made:
        each.close()


@pytest.mark.parametrize("words", [b"FROM schema_version", b"FROM books", b"unified_orders"])
def test_a_connection_that_is_lost_is_a_message_wherever_it_happens(cutting, capsys, wait_until, words):
    """At the look at the revision, at the choice of the book, at the question: exit 4, one line, nothing left open."""
    way, path = cutting(words)
    assert 4 == cli.main(["orders", path, "--backtest"])
    output, errors = capsys.readouterr()
    assert (1, "") == (way.cut, output)
    assert "closed the connection" in errors
    assert "Traceback" not in errors
    wait_until(lambda: way.open == 0)


@pytest.mark.parametrize("words", [b"FROM schema_version", b"FROM books"])
def test_a_session_that_fails_to_open_leaves_no_connection(cutting, wait_until, words):
    """As a follower opens them, again and again: each is a DatabaseError, and none stays."""
    way, path = cutting(words)
    config = load(path, backtest=True)

    async def fail() -> None:
        for _ in range(3):
            with pytest.raises(DatabaseError, match="closed the connection"):
                await Session.of_book(config, Tables(way.url, way.url, auto_migrate=False), None)

    asyncio.run(fail())
    assert 3 == way.cut
    wait_until(lambda: way.open == 0)


def test_a_session_on_a_book_that_is_not_there_is_closed(cutting, wait_until):
    """The server is well, the book is not: the connection ends with the error, not with the process."""
    way, path = cutting(b"nobody says this")
    config = load(path, backtest=True)

    async def fail() -> None:
        with pytest.raises(ConfigError) as caught:  # its frames keep the session alive: nobody collects it meanwhile
            await Session.of_book(config, Tables(way.url, way.url, auto_migrate=False), "NOBODY-001.paper")
        await asyncio.to_thread(wait_until, lambda: way.open == 0)
        assert "NOBODY-001" in str(caught.value)

    asyncio.run(fail())


def test_nothing_is_written(desk, capsys):
    """A session of the desk cannot change a row, even if it tried."""
    before = desk.table("SELECT sum(xmin::text::bigint) AS versions FROM unified_orders")
    for verb in ("orders", "fills", "positions", "exposure"):
        assert 0 == desk.ask(capsys, verb)[0]
    assert before == desk.table("SELECT sum(xmin::text::bigint) AS versions FROM unified_orders")


@pytest.mark.parametrize(
    ("verb", "options", "said"),
    [
        ("orders", ["--status", "sent"], ["--status", "'sent'", "working, closed", "ACCEPTED"]),
        ("positions", ["--status", "working"], ["--status", "'working'", "open, closed or all"]),
        ("orders", ["--since", "yesterday"], ["--since", "'yesterday'", "10m"]),
        ("orders", ["--since", "9999999999999d"], ["--since", "is no time"]),
        ("orders", ["--since", "1066-10-14"], ["--since", "1970 to 2262"]),
        ("orders", ["--limit", "0"], ["--limit", "1 to 10,000"]),
        ("orders", ["--limit", "ten"], ["--limit", "1 to 10,000"]),
        ("fills", ["--strategy", ""], ["--strategy", "is no name"]),
        ("fills", ["--venue", "SIM\udcff1"], ["--venue", "is no name"]),
        ("orders", ["--book", "no/book"], ["--book", "'no/book'"]),
        (
            "orders",
            ["--book", "NOBODY-001.paper"],
            ["--book", "'NOBODY-001.paper'", "these tables have PAPER-001.back"],
        ),
    ],
    ids=str,
)
def test_a_value_that_cannot_be_meant_is_named_with_its_cure(desk, capsys, verb, options, said):
    """Exit 2, and one message with the option, the value and what would be right."""
    code, output, errors = desk.ask(capsys, verb, *options)
    assert (2, "") == (code, output)
    for text in said:
        assert text in errors
    assert "Traceback" not in errors


def test_all_mistakes_are_told_at_once(desk, capsys):
    """Three wrong options are one message."""
    _, _, errors = desk.ask(capsys, "orders", "--status", "x", "--since", "x", "--limit", "x")
    assert "3 problems" in errors


@pytest.mark.parametrize("verb", ["orders", "audit"])
def test_a_book_that_nobody_has_used_is_no_empty_table(desk, capsys, verb):
    """The paper node never ran here: the message says so and names the backtest."""
    code, _, errors = desk.ask(capsys, verb, backtest=False)
    assert 2 == code
    assert "no node has run on book PAPER-001.paper yet" in errors


READERS = [["orders"], ["order", "O-1"], ["status"], ["audit"], ["archive", "--before", "1d", "--dry-run"]]


@pytest.mark.parametrize("verb", READERS, ids=lambda verb: verb[0])
def test_every_verb_means_the_same_book(desk, capsys, verb):
    """Without a name the newest backtest; a name that nobody has is one message, whichever verb is asked."""
    (newest,) = desk.table("SELECT book_id FROM books ORDER BY created_at DESC LIMIT 1")
    assert newest["book_id"] in "".join(desk.ask(capsys, *verb)[1:])
    code, output, errors = desk.ask(capsys, *verb, "--book", "NOBODY-001.paper")
    assert (2, "") == (code, output)
    cure = f"no book is called 'NOBODY-001.paper'; these tables have {newest['book_id']}"
    assert f"command line: 1 problem\n  --book: {cure}\n" == errors


@pytest.mark.parametrize(
    ("verb", "option"), [("fills", "--status"), ("exposure", "--since"), ("exposure", "--limit"), ("order", "--follow")]
)
def test_an_option_without_a_meaning_is_not_offered(desk, capsys, verb, option):
    """Fills have no status, sums no beginning, the life of one order nothing to follow."""
    with pytest.raises(SystemExit) as refused:
        cli.main([verb, desk.config, *(["X"] if verb == "order" else []), option, "x"])
    assert 2 == refused.value.code
    assert option in capsys.readouterr().err


def test_the_status_says_what_the_tables_hold(desk, capsys):
    """Working orders, open positions and rejected events beside the node; exit 1 when none beats."""
    code, output, _ = desk.ask(capsys, "status", "--json")
    told = json.loads(output)
    (held,) = desk.table("SELECT count(*) AS open FROM venue_positions WHERE side <> 'FLAT'")
    assert 1 == code
    assert held["open"] == told["open_positions"]
    assert {"book_id", "alive", "node"} <= told.keys()
    assert (0, 0, 1) == (told["tables"]["behind"], told["rejected_events"], told["run"])
    assert told["tables"]["last_seq"] == told["tables"]["durable_seq"] > 0
    assert "tables up to date" in desk.ask(capsys, "status")[1]
