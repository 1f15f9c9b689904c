"""A machine on which the server cannot run: one MachineError that names place, value and cure."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from embedded_user import NOBODY_UID, NOT_DURABLE, is_stopped, postmaster_of, user

from nautilus_ext.embedded import EmbeddedPostgres, binaries, cluster, postgres, postmaster
from nautilus_ext.errors import MachineError

WITHOUT_NAMESPACES = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'
SMALL_DISK = 'mount -t tmpfs -o size=20m small "$1" && shift && exec "$@"'

QUICK_WATCHER = """
import sys
from pathlib import Path
from nautilus_ext.embedded import postmaster
postmaster.LOG_BYTES_MAX, postmaster.LOG_CHECK_S = 10, 0.02
postmaster.watch(Path(sys.argv[1]))
"""

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root needs or makes this")


def complaint(folder, **options):
    with user(folder, **options) as refused:
        return refused.let_go().strip()


@pytest.fixture
def taken_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_a_fixed_port_that_is_taken_is_named_with_its_key(server_folder, taken_port):
    """The operator chose this port: another one would be a surprise."""
    with pytest.raises(MachineError) as refused:
        EmbeddedPostgres.join(server_folder, port=taken_port)
    assert "port taken" in str(refused.value)
    assert f"database.embedded_port {taken_port}" in str(refused.value)


def test_a_fixed_port_is_used(server_folder):
    """What the config says is where other tools connect to."""
    port = postgres._free_port()
    with EmbeddedPostgres.join(server_folder, port=port, settings=NOT_DURABLE) as server:
        assert server.port == port
        assert f":{port}/" in server.app_url


def test_a_free_port_that_is_lost_in_a_race_is_replaced_by_another(server_folder, taken_port, monkeypatch):
    """Between the choice of a port and the start of the server anybody may take it."""
    offered = iter([taken_port, taken_port, postgres._free_port()])
    monkeypatch.setattr(postgres, "_free_port", lambda: next(offered))
    with EmbeddedPostgres.join(server_folder, settings=NOT_DURABLE) as server:
        assert server.port != taken_port


def test_a_lost_port_is_not_tried_for_ever(server_folder, taken_port, monkeypatch):
    """The tries have a bound."""
    monkeypatch.setattr(postgres, "_free_port", lambda: taken_port)
    with pytest.raises(MachineError, match="port taken"):
        EmbeddedPostgres.join(server_folder, settings=NOT_DURABLE)


def test_a_setting_that_the_server_refuses_is_shown(server_folder, wait_until):
    """The end of the server's log says what it did not like."""
    with pytest.raises(MachineError, match="no_such_setting"):
        EmbeddedPostgres.join(server_folder, settings={"no_such_setting": "1"})
    wait_until(lambda: is_stopped(server_folder))


def test_a_data_folder_below_a_file_is_named_with_its_key(tmp_path):
    """Permissions do not bind root, a file in the way binds everybody."""
    (tmp_path / "file").touch()
    with pytest.raises(MachineError) as refused:
        EmbeddedPostgres.join(tmp_path / "file" / "data")
    assert f"data_dir {tmp_path}/file/data" in str(refused.value)


@as_root
def test_a_data_folder_without_permission_is_named_with_its_key(fast_folder):
    """Another user may not write into root's folder."""
    folder = fast_folder / "roots"
    said = complaint(folder, uid=NOBODY_UID)
    assert said.startswith(f"MachineError: data_dir {folder}: Permission denied")


@as_root
def test_a_full_disk_is_named(tmp_path):
    """A file system of 20 MB holds no cluster."""
    small = tmp_path / "small"
    small.mkdir()
    mounted = ("unshare", "--mount", "sh", "-c", SMALL_DISK, "sh", str(small))
    if subprocess.run([*mounted, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets nobody mount")
    said = complaint(small / "data", prefix=mounted)
    assert said.startswith(f"MachineError: data_dir {small / 'data'}: initdb failed")
    assert "disk space" in said or "No space left" in said


@as_root
def test_as_root_without_unshare_the_cures_are_named(fresh_folder, tmp_path):
    """A minimal image has no util-linux."""
    said = complaint(fresh_folder, environment={**os.environ, "PATH": str(tmp_path)})
    for word in ("unshare is missing", "run as another user", "allow user namespaces", "database.url"):
        assert word in said
    assert "Traceback" not in said


@as_root
def test_as_root_with_blocked_namespaces_the_cures_are_named(fresh_folder):
    """Hardened machines and most containers block user namespaces."""
    blocked = ("unshare", "--user", "--map-root-user", "sh", "-c", WITHOUT_NAMESPACES, "sh")
    if subprocess.run([*blocked, "true"], capture_output=True, check=False).returncode:
        pytest.skip("namespaces are blocked already, or cannot be limited here")
    said = complaint(fresh_folder, prefix=blocked)
    for word in ("unshare is blocked", "run as another user", "allow user namespaces", "database.url"):
        assert word in said
    assert "Traceback" not in said


@as_root
def test_as_root_a_folder_below_another_users_private_folder_is_named(fast_folder):
    """Without its privileges, as PostgreSQL runs, root cannot pass through it."""
    private = fast_folder / "private"
    private.mkdir(mode=0o700)
    os.chown(private, NOBODY_UID, NOBODY_UID)
    said = complaint(private / "data")
    assert f"MachineError: data_dir {private / 'data'}" in said
    assert "cannot reach it" in said


def test_missing_programs_are_named_with_the_cure(fresh_folder, tmp_path, monkeypatch):
    """Neither the wheel nor the folder that the variable names is there."""
    monkeypatch.setenv(binaries.BIN_FOLDER_VARIABLE, str(tmp_path))
    with pytest.raises(MachineError, match=binaries.BIN_FOLDER_VARIABLE):
        EmbeddedPostgres.join(fresh_folder)
    monkeypatch.delenv(binaries.BIN_FOLDER_VARIABLE)
    monkeypatch.setattr(binaries, "_WHEEL_MODULE", "no_such_wheel")
    with pytest.raises(MachineError) as refused:
        EmbeddedPostgres.join(fresh_folder)
    assert "pip install 'exec-suite-nt[embedded]'" in str(refused.value)
    assert "database.url" in str(refused.value)


def test_programs_of_another_folder_are_used(fresh_folder, tmp_path, monkeypatch):
    """A server of the distribution, or of another wheel, will do."""
    programs = binaries.bin_folder()
    monkeypatch.setattr(binaries, "_WHEEL_MODULE", "no_such_wheel")
    monkeypatch.setenv(binaries.BIN_FOLDER_VARIABLE, str(programs))
    with EmbeddedPostgres.join(fresh_folder, settings=NOT_DURABLE):
        assert Path(postmaster_of(fresh_folder).exe()).parent == programs


def test_lost_passwords_are_named(server_folder, wait_until):
    """Without them the data cannot be reached, and nothing is overwritten."""
    with EmbeddedPostgres.join(server_folder, settings=NOT_DURABLE):
        (server_folder / "cluster" / "passwords.json").unlink()
        with pytest.raises(MachineError, match=r"passwords\.json"):
            EmbeddedPostgres.join(server_folder)
    wait_until(lambda: is_stopped(server_folder))


def test_the_server_is_durable_unless_told_otherwise(server_folder):
    """What is committed survives a power cut: no speed is bought with it."""
    with EmbeddedPostgres.join(server_folder):
        written = (server_folder / postmaster.DATA_FOLDER / "postgresql.conf").read_text()
    assert "fsync = 'on'" in written
    assert "synchronous_commit = 'on'" in written


def test_a_folder_that_is_deleted_in_use_lets_its_user_go(server_folder):
    """Whoever cleans up too early gets no error from the one that closes."""
    server = EmbeddedPostgres.join(server_folder, settings=NOT_DURABLE)
    running = postmaster_of(server_folder)
    shutil.rmtree(server_folder, ignore_errors=True)
    server.close()
    running.terminate()


def test_the_log_is_emptied_in_place_and_one_generation_is_kept(tmp_path, monkeypatch):
    """The server goes on appending to the file that it opened at its start."""
    monkeypatch.setattr(postmaster, "LOG_BYTES_MAX", 10)
    log = tmp_path / postmaster.SERVER_LOG
    with log.open("ab", buffering=0) as server:
        server.write(b"long enough to be bounded\n")
        postmaster.bound_log(log)
        server.write(b"next\n")
    assert log.read_bytes() == b"next\n"
    assert (tmp_path / "server.log.1").read_bytes() == b"long enough to be bounded\n"


def test_the_watcher_bounds_the_log_while_it_waits(tmp_path, wait_until):
    """A server that complains for months fills no disk."""
    log = tmp_path / postmaster.SERVER_LOG
    log.write_text("long enough to be bounded\n")
    share = postmaster.open_lock(tmp_path, postmaster.USERS_LOCK)
    fcntl.flock(share, fcntl.LOCK_SH)
    with subprocess.Popen([sys.executable, "-c", QUICK_WATCHER, str(tmp_path)]) as watcher:
        wait_until(lambda: log.stat().st_size == 0)
        assert watcher.poll() is None
        os.close(share)
        assert watcher.wait(10) == 0


def test_odd_values_of_settings_arrive_whole(server_folder):
    """A quote or a backslash in a value ends neither the value nor the file."""
    assert cluster._quoted("it's C:\\") == "it''s C:\\\\"
    odd = {"application_name": "it's C:\\", **NOT_DURABLE}
    with EmbeddedPostgres.join(server_folder, settings=odd) as server:
        assert server.port
