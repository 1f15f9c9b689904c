"""A process that uses the embedded server, and what the tests ask about the processes behind a folder."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psutil

from nautilus_ext.embedded import postmaster

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

NOBODY_UID = 65534
NOT_DURABLE = {"fsync": "off"}
EXIT_TIMEOUT_S = 30.0

_USER = """
import json, os, sys
from pathlib import Path
from nautilus_ext.embedded import EmbeddedPostgres
from nautilus_ext.errors import MachineError
options = json.loads(sys.argv[2])
if uid := options.pop("uid"):
    os.setuid(uid)  # after the imports: another user need not be able to read this Python
try:
    server = EmbeddedPostgres.join(Path(sys.argv[1]), **options)
except MachineError as error:
    sys.exit(f"MachineError: {error}")
print(json.dumps({"port": server.port, "uid": os.geteuid(), "app_url": server.app_url}), flush=True)
sys.stdin.read()
server.close()
"""


class User:
    """One process that joins the server of a folder and lets go when told."""

    def __init__(
        self,
        folder: Path,
        *,
        prefix: tuple[str, ...] = (),
        uid: int | None = None,
        environment: Mapping[str, str] | None = None,
        **join_options: object,
    ) -> None:
        options = json.dumps({"uid": uid, "settings": NOT_DURABLE, **join_options})
        self.process = subprocess.Popen(
            [*prefix, sys.executable, "-c", _USER, str(folder), options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def joined(self) -> dict:
        line = self.process.stdout.readline()
        assert line, self.process.stderr.read()
        return json.loads(line)

    def let_go(self) -> str:
        """Close the share in order; returns what the process had to complain about."""
        return self.process.communicate("", timeout=EXIT_TIMEOUT_S)[1]

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@contextmanager
def user(folder: Path, **options) -> Iterator[User]:
    one = User(folder, **options)
    try:
        yield one
    finally:
        one.kill()


def postmaster_of(folder: Path) -> psutil.Process:
    found = postmaster.find_postmaster(folder.resolve() / postmaster.DATA_FOLDER)
    assert found is not None
    return found.process


def watcher_of(folder: Path) -> psutil.Process:
    [watcher] = [process for process in psutil.process_iter() if _is_watcher(process, folder)]
    return watcher


def _is_watcher(process: psutil.Process, folder: Path) -> bool:
    try:
        return process.cmdline()[-2:] == [postmaster.__file__, str(folder.resolve())]
    except psutil.Error:
        return False


def postmasters_in(folder: Path) -> list[int]:
    """Every process that was started as the server of the folder, whatever its pid file says."""
    data = str(folder.resolve() / postmaster.DATA_FOLDER)
    found = psutil.process_iter(["cmdline", "ppid"])
    servers = {
        process.pid: process.info["ppid"] for process in found if (process.info["cmdline"] or [])[-2:] == ["-D", data]
    }
    # A child that was forked a moment ago still has its parent's command line.
    return [pid for pid, parent in servers.items() if parent not in servers]


def is_stopped(folder: Path) -> bool:
    locks = (postmaster.SERVER_LOCK, postmaster.WATCHER_LOCK)
    return not postmasters_in(folder) and all(postmaster.is_free(folder, name) for name in locks)


def is_dead(process: psutil.Process) -> bool:
    """Tell a zombie from a live process: an init may take its time to collect what it inherits."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def kill(process: psutil.Process) -> None:
    process.send_signal(signal.SIGKILL)
    deadline_s = time.monotonic() + EXIT_TIMEOUT_S
    while not is_dead(process):
        assert time.monotonic() < deadline_s
        time.sleep(0.005)
