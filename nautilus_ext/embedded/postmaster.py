"""The postmaster of one folder: which process it is, how it is stopped and, run as a script, who stops it.

Run as a script this is the watcher: a detached process that waits for the last user of the folder to go and then stops
the server. It therefore imports nothing of this package, which need not be importable where the watcher runs.

Who holds which lock (flock: the kernel drops it with its holder, also after kill -9):

users.lock     shared by every user for its life; exclusive by the watcher while it stops the server
start.lock     exclusive by the user that builds or starts the server
watcher.lock   exclusive by the watcher for its life
server.lock    exclusive by initdb and by the postmaster with all its children: inherited, free when the last has exited
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterator

USERS_LOCK = "users.lock"
START_LOCK = "start.lock"
WATCHER_LOCK = "watcher.lock"
SERVER_LOCK = "server.lock"
DATA_FOLDER = "cluster/data"
PID_FILE = "postmaster.pid"
SERVER_LOG = "server.log"

POLL_S = 0.01
STOP_FAST_S = 10.0  # then the immediate stop, which costs the next start a recovery and no data
STOP_IMMEDIATE_S = 10.0
ORPHAN_GRACE_S = 3.0
LOG_BYTES_MAX = 8 * 1024 * 1024
LOG_CHECK_S = 10.0

_PORT_LINE, _SHARED_MEMORY_LINE, _STATUS_LINE = 3, 6, 7
_NOBODYS_PID = str(2**31 - 2)  # above every pid_max


@dataclass(frozen=True)
class Postmaster:
    process: psutil.Process
    port: int
    is_ready: bool


def pid_file_lines(data: Path) -> list[str]:
    try:
        return (data / PID_FILE).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def former_port(data: Path) -> int | None:
    """Tell on which port a postmaster listened that did not end in order, and so left its pid file."""
    try:
        return int(pid_file_lines(data)[_PORT_LINE])
    except (IndexError, ValueError):
        return None


def disarm_pid_file(data: Path) -> None:
    """Take the pid out of a dead postmaster's file: a new one refuses to start when a stranger has got that number.

    The rest stays: by the shared memory that it names a new postmaster sees backends that outlived the old one.
    """
    path = data / PID_FILE
    lines = pid_file_lines(data)
    if len(lines) > _SHARED_MEMORY_LINE:
        path.write_text("\n".join([_NOBODYS_PID, *lines[1:], ""]), encoding="utf-8")
    else:
        path.unlink(missing_ok=True)


def find_postmaster(data: Path) -> Postmaster | None:
    """Find the process that the pid file names, unless that number belongs to somebody else by now."""
    lines = pid_file_lines(data)
    try:
        process = psutil.Process(int(lines[0]))
        port = int(lines[_PORT_LINE])
    except (IndexError, ValueError, OverflowError, psutil.Error):
        return None
    if not _is_server_process(process, data):
        return None
    is_ready = len(lines) > _STATUS_LINE and lines[_STATUS_LINE].strip() == "ready"
    return Postmaster(process, port, is_ready)


def _is_server_process(process: psutil.Process, data: Path) -> bool:
    """Tell a server of this folder by what it runs and where: any installation's postgres, no other folder's."""
    try:
        return Path(process.exe()).name == "postgres" and process.cwd() == str(data)
    except (psutil.Error, OSError):
        return False


def quit_orphans(data: Path) -> None:
    """Make the backends of a killed postmaster quit: a busy one does not notice by itself that it is alone."""
    for process in psutil.process_iter():
        if _is_server_process(process, data):
            with contextlib.suppress(psutil.Error):
                process.send_signal(signal.SIGQUIT)


def open_lock(folder: Path, name: str) -> int:
    return os.open(folder / name, os.O_RDWR | os.O_CREAT, 0o600)


@contextlib.contextmanager
def try_lock(folder: Path, name: str) -> Iterator[int | None]:
    """Yield the descriptor that holds the lock, or None while somebody else holds it."""
    lock = open_lock(folder, name)
    try:
        yield lock if _is_taken(lock, fcntl.LOCK_EX) else None
    finally:
        os.close(lock)


def _is_taken(lock: int, kind: int) -> bool:
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def take_lock(lock: int, kind: int, deadline_s: float) -> None:
    """Poll, since a blocking flock knows no bound; TimeoutError past the deadline."""
    while not _is_taken(lock, kind):
        if time.monotonic() > deadline_s:
            raise TimeoutError
        time.sleep(POLL_S)


def is_free(folder: Path, name: str) -> bool:
    with try_lock(folder, name) as lock:
        return lock is not None


def settle(folder: Path, deadline_s: float) -> Postmaster | None:
    """Wait until the server takes connections, or its last process is gone (None); TimeoutError past the deadline."""
    data = folder / DATA_FOLDER
    orphans_end_s = time.monotonic() + ORPHAN_GRACE_S
    while time.monotonic() < deadline_s:
        postmaster = find_postmaster(data)
        if postmaster is not None and postmaster.is_ready:
            return postmaster
        if postmaster is None and is_free(folder, SERVER_LOCK):
            return None
        if postmaster is None and time.monotonic() > orphans_end_s:
            quit_orphans(data)
            orphans_end_s = time.monotonic() + ORPHAN_GRACE_S
        time.sleep(POLL_S)
    raise TimeoutError


def stop_server(folder: Path) -> bool:
    """Stop it in order (fast), else at once (the next start then recovers from the WAL); tell whether it is gone."""
    return _stop(folder, signal.SIGINT, STOP_FAST_S) or _stop(folder, signal.SIGQUIT, STOP_IMMEDIATE_S)


def _stop(folder: Path, how: signal.Signals, bound_s: float) -> bool:
    data = folder / DATA_FOLDER
    started_s = time.monotonic()
    is_asked = False
    while (waited_s := time.monotonic() - started_s) < bound_s:
        postmaster = find_postmaster(data)
        if postmaster is None and is_free(folder, SERVER_LOCK):
            return True
        if postmaster is not None and not is_asked:
            with contextlib.suppress(psutil.Error):
                postmaster.process.send_signal(how)  # psutil compares start times: never a stranger's pid
            is_asked = True
        if postmaster is None and waited_s > ORPHAN_GRACE_S:
            quit_orphans(data)
        time.sleep(POLL_S)
    return False


def bound_log(log: Path) -> None:
    """Keep one older generation and empty the log in place: the server appends to it for as long as it runs."""
    with contextlib.suppress(OSError):
        if log.stat().st_size > LOG_BYTES_MAX:
            shutil.copyfile(log, log.with_suffix(".log.1"))
            os.truncate(log, 0)


def watch(folder: Path) -> None:
    """Wait for the last user to go, then stop the server."""
    watcher_lock = open_lock(folder, WATCHER_LOCK)
    fcntl.flock(watcher_lock, fcntl.LOCK_EX)
    signal.signal(signal.SIGALRM, lambda *_: bound_log(folder / SERVER_LOG))
    signal.setitimer(signal.ITIMER_REAL, LOG_CHECK_S, LOG_CHECK_S)
    users_lock = open_lock(folder, USERS_LOCK)
    fcntl.flock(users_lock, fcntl.LOCK_EX)
    stop_server(folder)
    signal.setitimer(signal.ITIMER_REAL, 0)  # an interpreter that ends has no handler any more: the alarm would kill it
    os.close(watcher_lock)  # before users.lock: whoever joins next must not take us for a watcher that stays
    os.close(users_lock)


if __name__ == "__main__":
    watch(Path(sys.argv[1]))
