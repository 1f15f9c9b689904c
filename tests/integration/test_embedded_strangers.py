"""Processes and people who have nothing to do with our server: neither is hurt, and neither gets in."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import threading

import asyncpg
import psutil
import pytest
from embedded_user import NOBODY_UID, NOT_DURABLE, is_dead, is_stopped, kill, postmaster_of, user

from nautilus_ext.embedded import EmbeddedPostgres, cluster, postmaster

ORDINARY_USER = ("unshare", "--user", "--map-user=1000", "--map-group=1000", "--")
ROLES = ("postgres", "suite_owner", "suite_app")

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another local user")


def can_unshare():
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*ORDINARY_USER, "true"], capture_output=True, check=False).returncode == 0


@pytest.fixture
def sleeper():
    with subprocess.Popen(["sleep", "300"]) as process:
        yield psutil.Process(process.pid)
        process.kill()


def name_stranger(folder, stranger):
    pid_file = folder / postmaster.DATA_FOLDER / postmaster.PID_FILE
    _, *rest = pid_file.read_text().splitlines()
    pid_file.write_text("\n".join([str(stranger.pid), *rest, ""]))


def test_a_stranger_with_the_pid_of_a_dead_postmaster_is_never_touched(server_folder, sleeper, wait_until):
    """PostgreSQL itself refuses to start over a pid file that names a live process."""
    with user(server_folder) as only:
        only.joined()
        kill(postmaster_of(server_folder))
        name_stranger(server_folder, sleeper)
        only.kill()
    wait_until(lambda: is_stopped(server_folder))
    assert not is_dead(sleeper)
    with EmbeddedPostgres.join(server_folder, settings=NOT_DURABLE):
        assert postmaster_of(server_folder).pid != sleeper.pid
    wait_until(lambda: is_stopped(server_folder))
    assert not is_dead(sleeper)


def test_a_stop_does_not_signal_a_stranger_that_the_pid_file_names(server_folder, sleeper, wait_until):
    """The watcher stops what is the server of its folder, not what a file says."""
    with EmbeddedPostgres.join(server_folder, settings=NOT_DURABLE):
        server = postmaster_of(server_folder)
        kill(server)
        name_stranger(server_folder, sleeper)
    wait_until(lambda: is_stopped(server_folder))
    assert not is_dead(sleeper)


def test_a_torn_pid_file_does_not_stop_the_start(server_folder, wait_until):
    """An empty pid file is what a full disk or a kill in the wrong moment leaves."""
    with EmbeddedPostgres.join(server_folder, settings=NOT_DURABLE):
        pass
    wait_until(lambda: is_stopped(server_folder))
    for torn in ("", "not a number", "99999999999999999999\n"):
        (server_folder / postmaster.DATA_FOLDER / postmaster.PID_FILE).write_text(torn)
        with EmbeddedPostgres.join(server_folder, settings=NOT_DURABLE):
            assert postmaster_of(server_folder).is_running()
        wait_until(lambda: is_stopped(server_folder))


@pytest.mark.skipif(not can_unshare(), reason="unshare --user is missing or blocked: no other uid to take on")
def test_an_ordinary_user_runs_the_server_without_a_namespace(fresh_folder, wait_until):
    """The path without root's detour: nothing but initdb and postgres is run."""
    with user(fresh_folder, prefix=ORDINARY_USER) as ordinary:
        assert ordinary.joined()["uid"] == 1000
        assert ordinary.let_go() == ""
        wait_until(lambda: is_stopped(fresh_folder))


@as_root
def test_root_runs_the_server_and_its_data_stay_roots(fresh_folder, wait_until):
    """Inside its namespace the server is nobody; outside only root may touch the files."""
    with EmbeddedPostgres.join(fresh_folder, settings=NOT_DURABLE):
        assert postmaster_of(fresh_folder).uids().effective == 0
        assert (fresh_folder / postmaster.DATA_FOLDER / "PG_VERSION").stat().st_uid == 0
    wait_until(lambda: is_stopped(fresh_folder))


@as_root
def test_another_local_user_can_neither_read_nor_enter_the_folder(fast_folder, fresh_folder):
    """A lax mode of an older folder is corrected, and the passwords have a strict mode of their own."""
    fast_folder.chmod(0o755)  # so that only our own mode bits keep the other user out
    fresh_folder.mkdir()
    fresh_folder.chmod(0o755)
    passwords = fresh_folder / "cluster" / "passwords.json"
    with EmbeddedPostgres.join(fresh_folder, settings=NOT_DURABLE):
        assert stat.S_IMODE(fresh_folder.stat().st_mode) == 0o700
        assert stat.S_IMODE(passwords.stat().st_mode) == 0o600
        for command in (["cat", str(passwords)], ["ls", str(fresh_folder)]):
            tried = subprocess.run(command, user=NOBODY_UID, capture_output=True, text=True, check=False)
            assert "Permission denied" in tried.stderr
            assert tried.stdout == ""


@pytest.mark.parametrize("role", ROLES)
async def test_nobody_connects_without_the_password(postgres_server, role):
    """Every connection needs scram: a role's name alone, or a guess, opens nothing."""
    for password in ("", "guess", role):
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(
                host="127.0.0.1", port=postgres_server.port, user=role, password=password, database="postgres"
            )
    admin = await asyncpg.connect(postgres_server.admin_url)
    try:
        stored = await admin.fetchval("SELECT rolpassword FROM pg_authid WHERE rolname = $1", role)
        ways = await admin.fetch("SELECT type, address, auth_method FROM pg_hba_file_rules")
        assert stored.startswith("SCRAM-SHA-256$")
        assert [tuple(way) for way in ways] == [("host", "127.0.0.1", "scram-sha-256")]
    finally:
        await admin.close()


def test_the_server_listens_on_the_loopback_address_alone(postgres_server):
    """No other interface and no unix socket leads to it."""
    server = postmaster_of(postgres_server.folder)
    listening = {tuple(c.laddr) for c in server.net_connections() if c.status == psutil.CONN_LISTEN}
    assert listening == {("127.0.0.1", postgres_server.port)}
    assert server.net_connections(kind="unix") == []


def test_no_password_is_on_a_command_line_or_in_a_log(fresh_folder):
    """Command lines of all processes are watched while the cluster is built and started."""
    seen: set[str] = set()
    is_over = threading.Event()

    def watch_command_lines():
        while not is_over.is_set():
            for process in psutil.process_iter(["cmdline"]):
                seen.add(" ".join(process.info["cmdline"] or []))

    watching = threading.Thread(target=watch_command_lines)
    watching.start()
    try:
        with EmbeddedPostgres.join(fresh_folder, settings=NOT_DURABLE) as server:
            assert cluster.DATABASE in server.owner_url
            secrets = cluster.read_passwords(fresh_folder).values()
    finally:
        is_over.set()
        watching.join()
    assert any("initdb" in line for line in seen)
    log = (fresh_folder / postmaster.SERVER_LOG).read_text()
    for secret in secrets:
        assert not any(secret in line for line in seen)
        assert secret not in log
        assert secret not in repr(server)
