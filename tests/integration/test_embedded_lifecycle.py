"""Several processes share one server; it lives as long as the last of them, whoever is killed."""

from __future__ import annotations

import asyncio
import random
import time

import asyncpg
import psutil
import pytest
from embedded_user import (
    NOT_DURABLE,
    User,
    is_dead,
    is_stopped,
    kill,
    postmaster_of,
    postmasters_in,
    user,
    watcher_of,
)

from nautilus_ext.embedded import EmbeddedPostgres, postmaster

KILLED_TO_STOPPED_S = 10.0
JOINERS = 8
BUSY_CPU_S = 0.05
RANDOM_KILLS = 5
COLD_JOIN_S = 0.7


def join(folder, **options):
    return EmbeddedPostgres.join(folder, settings=NOT_DURABLE, **options)


async def fetch(url, query):
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


def works(server):
    return asyncio.run(fetch(server.app_url, "SELECT 1")) == 1


def test_two_processes_share_a_server_and_the_last_one_out_stops_it(server_folder, wait_until):
    """The first to go takes nothing along; after the last there is neither server nor watcher."""
    with user(server_folder) as first, user(server_folder) as second:
        port = first.joined()["port"]
        url = second.joined()["app_url"]
        server = postmaster_of(server_folder)
        assert first.let_go() == ""
        assert f":{port}/" in url
        assert asyncio.run(fetch(url, "SELECT 1")) == 1
        assert postmasters_in(server_folder) == [server.pid]
        assert second.let_go() == ""
        wait_until(lambda: is_stopped(server_folder))


def test_a_killed_user_leaves_no_server_and_the_next_join_finds_the_data(server_folder, wait_until):
    """Kill -9 of the only user: the kernel drops its share, the watcher stops the server in order."""
    with user(server_folder) as only:
        url = only.joined()["app_url"]
        with join(server_folder) as server:
            asyncio.run(fetch(server.owner_url, "CREATE TABLE kept (id int)"))
        only.kill()
    wait_until(lambda: is_stopped(server_folder), KILLED_TO_STOPPED_S)
    assert "database system is shut down" in (server_folder / postmaster.SERVER_LOG).read_text()
    with join(server_folder) as server:
        assert asyncio.run(fetch(server.owner_url, "SELECT count(*) FROM kept")) == 0
        assert server.app_url.split("@")[0] == url.split("@")[0]


@pytest.mark.parametrize(
    "victims",
    [
        ("user", "watcher"),
        ("watcher", "user"),
        ("user", "postmaster"),
        ("postmaster", "user"),
        ("user", "watcher", "postmaster"),
        ("postmaster", "watcher", "user"),
    ],
    ids="+".join,
)
def test_whatever_is_killed_the_next_join_works_and_its_end_stops_the_server(server_folder, wait_until, victims):
    """Each order of kills leaves another mess: a server without watcher, orphaned backends, a stale pid file."""
    with user(server_folder) as only:
        only.joined()
        processes = {
            "user": psutil.Process(only.process.pid),
            "watcher": watcher_of(server_folder),
            "postmaster": postmaster_of(server_folder),
        }
        for victim in victims:
            kill(processes[victim])
        only.kill()
        with join(server_folder) as server:
            assert works(server)
            assert len(postmasters_in(server_folder)) == 1
    wait_until(lambda: is_stopped(server_folder), KILLED_TO_STOPPED_S)


def test_the_last_one_out_stops_the_server_also_when_the_watcher_was_killed(server_folder, wait_until):
    """Whoever leaves sees to it that somebody watches."""
    with join(server_folder):
        kill(watcher_of(server_folder))
    wait_until(lambda: is_stopped(server_folder), KILLED_TO_STOPPED_S)


def test_a_killed_postmaster_is_started_again_on_its_port(server_folder):
    """Other users of the server have its address in their pools."""
    with join(server_folder) as server, join(server_folder) as other:
        port = server.port
        kill(postmaster_of(server_folder))
        server.ensure_running()
        assert server.port == port
        assert works(other)


def test_a_busy_backend_that_outlived_its_postmaster_does_not_block_the_next_start(server_folder, wait_until):
    """A backend in a long computation does not notice by itself that its postmaster is gone."""

    async def keep_busy(server, wait_until):
        connection = await asyncpg.connect(server.admin_url)
        busy = asyncio.ensure_future(connection.execute("SELECT count(*) FROM generate_series(1, 1e12::bigint)"))
        backend = psutil.Process(connection.get_server_pid())
        await asyncio.to_thread(wait_until, lambda: sum(backend.cpu_times()[:2]) > BUSY_CPU_S)
        kill(postmaster_of(server_folder))
        assert not is_dead(backend)
        await asyncio.to_thread(server.ensure_running)
        with pytest.raises((asyncpg.PostgresError, OSError)):
            await busy
        assert is_dead(backend)

    with join(server_folder) as server:
        asyncio.run(keep_busy(server, wait_until))
        assert works(server)


def test_eight_processes_that_join_at_once_start_one_postmaster(fresh_folder, wait_until):
    """The cluster is built once and the server started once, however many ask."""
    users = [User(fresh_folder) for _ in range(JOINERS)]
    try:
        ports = {one.joined()["port"] for one in users}
        assert len(ports) == 1
        assert len(postmasters_in(fresh_folder)) == 1
        log = (fresh_folder / postmaster.SERVER_LOG).read_text()
        assert log.count("ready to accept connections") == 1
    finally:
        for one in users:
            one.kill()
    wait_until(lambda: is_stopped(fresh_folder), KILLED_TO_STOPPED_S)


def test_a_join_during_the_stop_waits_and_starts_the_server_anew(server_folder, wait_until):
    """The stop is held up by a frozen checkpointer; the joiner must neither fail nor use the dying server."""
    with join(server_folder):
        dying = postmaster_of(server_folder)
        [checkpointer] = [child for child in dying.children() if "checkpointer" in child.cmdline()[0]]
        checkpointer.suspend()
    users_lock = postmaster.USERS_LOCK
    wait_until(lambda: "received fast shutdown" in (server_folder / postmaster.SERVER_LOG).read_text())
    assert not postmaster.is_free(server_folder, users_lock)
    with user(server_folder) as late:
        with pytest.raises(psutil.TimeoutExpired):
            psutil.Process(late.process.pid).wait(0.3)
        checkpointer.resume()
        assert asyncio.run(fetch(late.joined()["app_url"], "SELECT 1")) == 1
        assert postmaster_of(server_folder).pid != dying.pid


def test_a_build_that_was_killed_is_repaired_by_the_next_join(fresh_folder, wait_until):
    """Kill -9 in the middle of initdb, which may itself go on for a while."""
    with user(fresh_folder) as builder:
        wait_until(lambda: any((fresh_folder / "cluster.unfinished").glob("data/global/*")))
        builder.kill()
    assert not (fresh_folder / "cluster").exists()
    with join(fresh_folder) as server:
        assert works(server)
        assert not (fresh_folder / "cluster.unfinished").exists()


def test_a_join_that_was_killed_anywhere_leaves_no_server(fresh_folder, wait_until):
    """Random moments of the build, the launch and the start: nothing stays running, and the next join works."""
    seed = random.SystemRandom().randrange(2**32)
    print("seed", seed)
    moments = random.Random(seed)
    for _ in range(RANDOM_KILLS):
        with user(fresh_folder) as unlucky:
            time.sleep(moments.uniform(0.1, COLD_JOIN_S))  # the moment of the kill is what is varied
            unlucky.kill()
        if fresh_folder.exists():
            wait_until(lambda: is_stopped(fresh_folder), KILLED_TO_STOPPED_S)
    with join(fresh_folder) as server:
        assert works(server)
