"""The health of a book, followed: each change of its node and its tables once, until nobody looks any more."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest
from shipper_stage import BOOK

from nautilus_ext import cli
from nautilus_ext.schema import books

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from conftest import Database

    from nautilus_ext.embedded import EmbeddedPostgres

ROOT = Path(__file__).resolve().parents[2]
CLAIM = books.Claim(BOOK, "PAPER-001", "paper", "instance", "host", 1, "0", "1")
BEATS = 5


def _with(url: str, work: Callable[[asyncpg.Connection], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        connection = await asyncpg.connect(url)
        try:
            return await work(connection)
        finally:
            await connection.close()

    return asyncio.run(run())


class Node:
    """What a node writes of itself."""

    def __init__(self, database: Database) -> None:
        self.url, self.owner_url = database.app_url, database.owner_url
        self.start = _with(self.url, lambda connection: books.start_run(connection, CLAIM))

    def beat(self, status: books.Status = "running") -> None:
        _with(self.url, lambda connection: books.beat(connection, CLAIM, self.start.epoch, status))

    def end(self) -> None:
        _with(self.url, lambda connection: books.end_run(connection, CLAIM, self.start.run, books.End(True, 0)))

    def change(self, sql: str) -> None:
        _with(self.owner_url, lambda connection: connection.execute(sql))


class Watcher:
    """`status --follow` of a config, and what it says."""

    def __init__(self, config: str, *options: str) -> None:
        command = [sys.executable, "-m", "nautilus_ext", "status", config, "--follow", *options]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        self.process = subprocess.Popen(command, cwd=ROOT, text=True, **pipes)
        self.lines: list[str] = []
        self.errors: list[str] = []
        streams = ((self.process.stdout, self.lines), (self.process.stderr, self.errors))
        self._readers = [threading.Thread(target=_collect, args=each, daemon=True) for each in streams]
        for reader in self._readers:
            reader.start()

    def interrupt(self) -> int:
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(20)
        for reader in self._readers:
            reader.join(20)
        return code


def _collect(stream: Any, lines: list[str]) -> None:
    lines.extend(stream)


@pytest.fixture
def config(database: Database, tmp_path: Path) -> str:
    document = json.loads((ROOT / "node_configs" / "paper.json").read_text())
    path = tmp_path / "paper.json"
    path.write_text(json.dumps({**document, "data_dir": str(tmp_path), "database": {"url": database.app_url}}))
    return str(path)


@pytest.fixture
def watch(config: str) -> Iterator[Callable[..., Watcher]]:
    made: list[Watcher] = []

    def start(*options: str) -> Watcher:
        made.append(Watcher(config, *options))
        return made[-1]

    yield start
    for each in made:
        each.process.kill()
        each.process.wait()


def test_each_change_of_the_health_is_one_object(
    database: Database, watch: Callable[..., Watcher], wait_until: Callable[..., None]
) -> None:
    """From before the first node to after its end; heartbeats alone are no news; Ctrl-C is exit 0."""
    watcher = watch("--json")

    def told(count: int) -> None:
        wait_until(lambda: len(watcher.lines) >= count, 20)

    told(1)
    node = Node(database)
    told(2)
    node.beat()
    told(3)
    node.change(
        "INSERT INTO rejected_events (book_id, run, seq, stage, error, raw) "
        f"VALUES ('{BOOK}', 1, 1, 'decode', 'no record', '')"
    )
    told(4)
    node.change("UPDATE runs SET last_seq = 7")
    told(5)
    for _ in range(BEATS):
        node.beat()
    node.change("UPDATE instance_metadata SET last_heartbeat = now() - interval '16 seconds'")
    told(6)
    node.end()
    told(7)
    assert 0 == watcher.interrupt()
    assert [] == watcher.errors
    rows = [json.loads(line) for line in watcher.lines]
    assert [
        (False, None, 0, 0),
        (False, "starting", 0, 0),
        (True, "running", 0, 0),
        (True, "running", 1, 0),
        (True, "running", 1, 7),
        (False, "running", 1, 7),
        (False, "stopped", 1, 7),
    ] == [
        (row["alive"], row["node"] and row["node"]["status"], row["rejected_events"], row["tables"]["behind"])
        for row in rows
    ]
    moments = [(row["seen_at"], int(row["seen_ns"])) for row in rows]
    assert moments == sorted(moments)
    assert {BOOK} == {row["book_id"] for row in rows}


def test_an_outage_is_one_line_and_the_follower_goes_on(
    database: Database,
    postgres_server: EmbeddedPostgres,
    watch: Callable[..., Watcher],
    wait_until: Callable[..., None],
) -> None:
    """The database throws it out and lets nobody in for a while; what is told then is what has become of the node."""
    node = Node(database)
    watcher = watch()
    wait_until(lambda: len(watcher.lines) == 2, 20)
    admin = postgres_server.admin_url

    def admit(allowed: str) -> None:
        sql = f"ALTER DATABASE {database.name} ALLOW_CONNECTIONS {allowed}"
        _with(admin, lambda connection: connection.execute(sql))

    admit("false")
    sql = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database.name}'"
    _with(admin, lambda connection: connection.execute(sql))
    wait_until(lambda: watcher.errors, 20)
    admit("true")
    node.beat()
    wait_until(lambda: len(watcher.lines) == 4, 20)
    assert 0 == watcher.interrupt()
    (said,) = watcher.errors
    assert "trying again" in said
    assert f"  {BOOK}: starting, run 1 on host (pid 1), heartbeat " in watcher.lines[0]
    assert f"  {BOOK}: running, run 1 on host (pid 1), heartbeat " in watcher.lines[2]
    assert "  0 working orders, 0 open positions, 0 rejected events; tables up to date\n" == watcher.lines[3]


def test_a_reader_that_leaves_ends_it_in_silence(database: Database, config: str) -> None:
    """`| head -1`: also when there is nothing more to say."""
    Node(database)
    command = [sys.executable, "-m", "nautilus_ext", "status", config, "--follow"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert 0 == process.wait(20)
        assert b"" == process.stderr.read()


def test_a_node_without_a_heartbeat_is_told_and_is_exit_1(
    database: Database, config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """`running` is what the node said last: that it says nothing any more is said instead."""
    node = Node(database)
    node.beat()
    assert 0 == cli.main(["status", config])
    assert "s ago" in capsys.readouterr().out
    node.change("UPDATE instance_metadata SET last_heartbeat = now() - interval '16 seconds'")
    assert 1 == cli.main(["status", config])
    assert "running, run 1 on host (pid 1), no heartbeat for 16." in capsys.readouterr().out


@pytest.mark.parametrize(
    "option", ["--operation-id", "--strategy", "--venue", "--instrument", "--asset", "--status", "--since", "--limit"]
)
def test_a_filter_of_rows_is_refused(config: str, capsys: pytest.CaptureFixture[str], option: str) -> None:
    """A book has one health: exit 2, and one message with the verb, what it does not take, and the cure."""
    with pytest.raises(SystemExit) as refused:
        cli.main(["status", config, option, "BTC", "--follow"])
    assert 2 == refused.value.code
    error = capsys.readouterr().err.splitlines()[-1]
    assert f"status does not take {option} BTC: `python -m nautilus_ext status --help` lists what it takes" in error
