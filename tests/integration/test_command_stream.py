"""Commands by a Redis stream, on a real Valkey: a row of each, once, whoever goes down in between."""

from __future__ import annotations

import json
import os
import signal
import time

import psutil
import pytest
import redis
from command_stage import BOOK, rows, running, status

from nautilus_ext.app import stream
from nautilus_ext.app.stream import stream_name
from nautilus_ext.embedded import EmbeddedValkey

NAME = stream_name(BOOK)


@pytest.fixture
def url(database):
    return database.app_url


@pytest.fixture
def valkey(fast_folder, request):
    """A server of the test's own."""
    with EmbeddedValkey(fast_folder / f"v{abs(hash(request.node.name)) % 10**6}") as server:
        yield server


@pytest.fixture
def client(valkey):
    with redis.Redis.from_url(valkey.url, decode_responses=True) as client:
        yield client


def address(valkey):
    def ask():
        valkey.ensure_running()
        return valkey.url

    return ask


def message(command_id, kind="halt", **more):
    told = {"command_id": command_id, "kind": kind, "arguments": {"scope": "node", "why": "a test"}, "issued_by": "ann"}
    return {"command": json.dumps(told | more)}


def test_a_message_becomes_a_row_and_is_applied_within_a_second(url, valkey, client, tmp_path, wait_until):
    """It is gone from the stream then; the row says that it came this way."""
    with running(url, tmp_path, redis_url=address(valkey)) as run:
        wait_until(lambda: client.exists(NAME))
        began_s = time.monotonic()
        client.xadd(NAME, message("s-1"))
        wait_until(lambda: status(url, "s-1") == "applied", 1.0)
        print(f"applied and answered after {time.monotonic() - began_s:.3f} s")
        assert "by=redis:ann" in rows(url)["s-1"][1]
        wait_until(lambda: client.xlen(NAME) == 0)
        assert ["s-1"] == run.gate.applied


@pytest.mark.parametrize(
    ("fields", "part"),
    [
        ({"command": "{"}, "it is no JSON"),
        ({"command": b"\xff\x00"}, "it is no JSON"),
        ({"other": "x"}, "it has no field 'command'"),
        ({"command": "[]"}, "no JSON object"),
        ({"command": "x" * 20_000}, "are the most"),
        (message("s-1", kind="stop"), "is no command"),
        (message("s-1", arguments={"scope": "node"}), "arguments.why: is missing"),
        (message("s-1", token="t"), "unknown key"),
        (message("bad id"), "is no id"),
    ],
)
def test_what_is_no_command_is_recorded_and_refused(url, valkey, client, tmp_path, wait_until, fields, part):  # noqa: PLR0917 - fixtures
    """Under the id that the server gave it; the next one is applied."""
    with running(url, tmp_path, redis_url=address(valkey)) as run:
        entry = client.xadd(NAME, fields)
        client.xadd(NAME, message("s-2"))
        wait_until(lambda: status(url, "s-2") == "applied")
        found, result, _ = rows(url)[f"redis:{entry}"]
        assert "refused" == found
        assert part in result
        assert ["s-2"] == run.gate.applied


def test_what_is_sent_again_is_applied_once(url, valkey, client, tmp_path, wait_until):
    """Its id makes one command of it, whichever way it came first."""
    with running(url, tmp_path, redis_url=address(valkey)) as run:
        for _ in range(3):
            client.xadd(NAME, message("s-1"))
        client.xadd(NAME, message("s-2"))
        wait_until(lambda: status(url, "s-2") == "applied")
        assert ["s-1", "s-2"] == run.gate.applied


def test_what_came_while_no_node_ran_waits_and_what_is_too_old_expires(url, valkey, client, tmp_path, wait_until):
    """A halt waits for as long as it takes; nobody resumes by a message of yesterday."""
    yesterday_ms = round((time.time() - 86_400) * 1_000)
    client.xadd(NAME, message("old", kind="resume"), id=f"{yesterday_ms}-0")
    client.xadd(NAME, message("halt"))
    with running(url, tmp_path, redis_url=address(valkey)) as run:
        wait_until(lambda: {status(url, "old"), status(url, "halt")} == {"expired", "applied"})
        assert ["halt"] == run.gate.applied


def test_what_was_read_and_has_no_row_is_read_again(url, valkey, client, tmp_path, wait_until):
    """A node that died between the two leaves it as pending."""
    client.xadd(NAME, message("s-1"))
    client.xgroup_create(NAME, stream.GROUP, id="0")
    assert client.xreadgroup(stream.GROUP, stream.CONSUMER, {NAME: ">"})
    with running(url, tmp_path, redis_url=address(valkey)) as run:
        wait_until(lambda: status(url, "s-1") == "applied")
        wait_until(lambda: client.xlen(NAME) == 0)
        assert ["s-1"] == run.gate.applied


def test_redis_down_and_back(url, valkey, tmp_path, wait_until):
    """It is killed: what it had been sent is applied once it is back, and the table is heard meanwhile."""
    is_back = []

    def ask():
        if not is_back:
            raise OSError("away")
        valkey.ensure_running()
        return valkey.url

    with redis.Redis.from_url(valkey.url) as client:
        client.xadd(NAME, message("s-1"))
        pid = client.info("server")["process_id"]
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    with running(url, tmp_path, redis_url=ask) as run:
        wait_until(lambda: "cannot be read" in run.channel.trouble)
        is_back.append(True)
        wait_until(lambda: status(url, "s-1") == "applied")
        assert not run.channel.trouble
        with redis.Redis.from_url(valkey.url) as client:
            os.kill(client.info("server")["process_id"], signal.SIGKILL)
        wait_until(lambda: run.channel.trouble)
        wait_until(lambda: not run.channel.trouble)
        with redis.Redis.from_url(valkey.url) as client:
            client.xadd(NAME, message("s-2"))
        wait_until(lambda: status(url, "s-2") == "applied")
        assert ["s-1", "s-2"] == run.gate.applied


def test_a_stream_that_is_deleted_or_is_none_is_told_and_begun_anew(url, valkey, client, tmp_path, wait_until):
    """Whatever somebody does to the key."""
    with running(url, tmp_path, redis_url=address(valkey)) as run:
        wait_until(lambda: client.exists(NAME))
        client.delete(NAME)
        client.set(NAME, "no stream")
        wait_until(lambda: "WRONGTYPE" in run.channel.trouble)
        client.delete(NAME)
        wait_until(lambda: not run.channel.trouble)
        client.xadd(NAME, message("s-1"))
        wait_until(lambda: status(url, "s-1") == "applied")


def test_a_flood_is_taken_in_batches(url, valkey, client, tmp_path, wait_until):
    """More than a batch: each is applied, in its order."""
    count = 2 * stream.BATCH + 1
    for number in range(count):
        client.xadd(NAME, message(f"s-{number:03}"))
    with running(url, tmp_path, redis_url=address(valkey)) as run:
        wait_until(lambda: len(run.gate.applied) == count)
        assert [f"s-{number:03}" for number in range(count)] == run.gate.applied
