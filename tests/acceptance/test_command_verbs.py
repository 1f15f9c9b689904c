"""What an operator asks of a running node, in a shell: applied, refused, repeated, through kills and outages."""

import contextlib
import json
import time

import pytest
import redis
from conftest import PAPER
from outage_proxy import Proxy

from nautilus_ext.app.stream import stream_name
from nautilus_ext.embedded import EmbeddedPostgres

BOOK = "PAPER-001.paper"
QUOTER = "strategy=TwoSidedQuoter-002"
TRADES = "order accepted"


@pytest.fixture
def valkey(shell):
    """Where the node's own is; what a killed node left running is ended."""
    path = shell.data / "valkey" / "valkey.sock"
    with redis.Redis.from_url(f"unix://{path}") as client:
        yield client
        with contextlib.suppress(redis.RedisError, OSError):
            client.shutdown()


@pytest.fixture
def outside(database):
    """An operator's own server, behind a proxy that can be cut."""
    head, _, rest = database.app_url.rpartition("@127.0.0.1:")
    port, _, name = rest.partition("/")
    with Proxy(int(port)) as proxy:
        yield proxy, f"{head}@127.0.0.1:{proxy.port}/{name}"


def together(shell, *commands):
    """Run them side by side, as several people do; each with its exit code and its answer."""
    started = [shell.start(*command, module="nautilus_ext") for command in commands]
    return [(each.end(), each.output) for each in started]


def test_a_node_is_commanded_and_begins_again_with_what_stands(shell, config, valkey, wait_until):
    """By verbs and by the stream; after a kill -9 all of it stands, and a halt of the time between comes first."""
    path = config(redis={"url": "embedded"})
    with EmbeddedPostgres.join(shell.data / "postgres"):  # it need not start anew for each verb
        _command_and_restart(shell, path, valkey, wait_until)


def _command_and_restart(shell, path, valkey, wait_until):
    running = shell.start(path)
    running.until(TRADES)
    wait_until(lambda: valkey.exists(stream_name(BOOK)))
    told = {"command_id": "s-1", "kind": "reduce-only", "arguments": {"scope": "venue=SIM1", "why": "x"}}
    valkey.xadd(stream_name(BOOK), {"command": json.dumps({**told, "issued_by": "desk"})})
    applied, changed = together(
        shell,
        ["halt", path, "--scope", QUOTER, "--why", "a test", "--by", "ann", "--json"],
        ["limits", path, "set", "global", "max_order_notional", "40000.50", "--why", "less"],
    )
    assert 0 == applied[0], applied[1]
    answer = json.loads(applied[1])
    assert ("applied", "ann", 1, BOOK) == tuple(answer[key] for key in ("status", "issued_by", "run", "book_id"))
    assert (0, True) == (changed[0], "50000 -> 40000.50" in changed[1]), changed
    running.process.kill()
    running.end()
    code, output = shell.verb("halt", path, "--scope", "venue=SIM2", "--why", "before the start", "--wait", "0.5")
    assert (5, True) == (code, "applied before anything else" in output), output
    code, output = shell.run(path, "--seconds", "2")
    assert 0 == code, output
    records = shell.records(BOOK)
    second = records[max(i for i, each in enumerate(records) if "it stands since before" in each.get("message", "")) :]
    orders = [each for each in second if each.get("event") in ("OrderDenied", "OrderAccepted")]
    assert not [each for each in orders if each["event"] == "OrderAccepted" and "SIM1" not in each["instrument_id"]]
    assert [each for each in orders if each["event"] == "OrderDenied" and "HALTED" in each["reason"]], orders

    shown, history = together(shell, ["limits", path, "show", "--json"], ["limits", path, "history", "--json"])
    now = json.loads(shown[1])
    (notional,) = [row for row in now["limits"] if row["limit"] == "max_order_notional"]
    assert ("40000.50", "50000") == (notional["value"], notional["file_value"])
    assert {QUOTER, "venue=SIM1", "venue=SIM2"} == {each["scope"] for each in now["halts"]}
    (health,) = together(shell, ["status", path, "--json"])
    assert (1, now["halts"]) == (health[0], json.loads(health[1])["halts"])
    said = {each["command_id"]: each for each in json.loads(history[1])}
    assert ("applied", "redis:desk") == (said["s-1"]["status"], said["s-1"]["issued_by"])
    assert ["applied"] * 4 == [each["status"] for each in said.values()]


def test_a_halt_reaches_the_node_while_its_database_is_away(shell, config, outside, wait_until):
    """By a file, within a second of the command; its row is there when the database is back."""
    proxy, url = outside
    path = config(database={"url": url, "connect_timeout_s": 2.0})
    running = shell.start(path)
    running.until(TRADES)
    proxy.cut()
    code, output = shell.verb("resume", path, "--scope", "node", "--why", "a test")
    assert 4 == code, output
    assert "closed the connection" in output
    code, output = shell.verb("halt", path, "--scope", "node", "--why", "a test", "--json")
    assert 0 == code, output
    told = json.loads(output.splitlines()[-1])
    assert ("applied", None) == (told["status"], told["run"])
    seen = [each for each in shell.records(BOOK) if each.get("event") == "OrderAccepted"]
    time.sleep(1.0)
    assert seen == [each for each in shell.records(BOOK) if each.get("event") == "OrderAccepted"]
    proxy.mend()
    wait_until(lambda: not list((shell.data / "inbox" / BOOK).glob("*.json")), 15)
    code, output = shell.verb("limits", path, "history", "--json")
    (row,) = json.loads(output)
    assert (told["command_id"], "applied", 1) == tuple(row[key] for key in ("command_id", "status", "applied_run"))
    running.process.terminate()
    assert 0 == running.end()


@pytest.mark.parametrize("section", ["risk", "persistence"])
def test_halted_is_refused_where_nothing_would_keep_it(shell, config, section):
    """Whoever starts a node halted does not get one that trades."""
    risk = json.loads(PAPER.read_text())["risk"]
    sections = {"risk": {**risk, "enabled": False}, "persistence": {"enabled": False}}
    code, output = shell.run(config(**{section: sections[section]}), "--halted")
    assert 2 == code, output
    assert f"{section}.enabled" in output
    assert not shell.data.exists()


def test_a_node_that_starts_halted_trades_nothing_until_it_is_resumed(shell, config):
    """Not one order of its strategies gets to a venue; the answer to `resume` comes before the first that does."""
    path = config()
    running = shell.start(path, "--halted")
    running.until("order denied")
    assert TRADES not in running.output
    code, output = shell.verb("status", path)
    assert (0, True) == (code, "  stands: halt scope=node since=" in output), output
    code, output = shell.verb("resume", path, "--scope", "node", "--why", "a test")
    assert 0 == code, output
    assert "why=started with --halted" in output
    running.until(TRADES)
    running.process.terminate()
    assert 0 == running.end()
