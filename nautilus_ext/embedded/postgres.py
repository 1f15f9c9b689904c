"""One PostgreSQL server per folder, shared by the processes that use it; the last one out causes it to stop."""

from __future__ import annotations

import fcntl
import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Self

from nautilus_ext.embedded import cluster, postmaster
from nautilus_ext.embedded.binaries import bin_folder, clean_environment, launch_prefix
from nautilus_ext.errors import MachineError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from nautilus_ext.embedded.postmaster import Postmaster

START_TIMEOUT_S = 60.0
WATCHER_START_S = 2.0
PORT_TRIES_MAX = 5
PRIVATE_MODE = 0o700

_PORT_TAKEN = "Address already in use"
_DETACHED = 'log=$1; shift; "$@" >>"$log" 2>&1 &'


class EmbeddedPostgres:
    """A share in the server of one folder. Whoever joins closes it; a killed process loses its share by itself."""

    @classmethod
    def join(
        cls,
        folder: Path,
        *,
        port: int = 0,
        settings: Mapping[str, str] | None = None,
        start_timeout_s: float = START_TIMEOUT_S,
    ) -> Self:
        """Start the server, or share the one that runs: it keeps the port and the settings that it was started with."""
        return cls(folder, port, dict(settings or {}), start_timeout_s)

    def __init__(self, folder: Path, port: int, settings: Mapping[str, str], start_timeout_s: float) -> None:
        with _explained(folder):
            self.folder = _private_folder(folder)
            self._share: int | None = postmaster.open_lock(self.folder, postmaster.USERS_LOCK)
        self.port = port
        self._wanted_port = port
        self._settings = settings
        self._start_timeout_s = start_timeout_s
        self._data = self.folder / postmaster.DATA_FOLDER
        self._log = self.folder / postmaster.SERVER_LOG
        self._log_start = 0
        try:
            with _explained(self.folder):
                postmaster.take_lock(self._share, fcntl.LOCK_SH, time.monotonic() + start_timeout_s)
            self.ensure_running()
            self._passwords = cluster.read_passwords(self.folder)
        except BaseException:
            os.close(self._share)
            raise

    @property
    def owner_url(self) -> str:
        return self._url(cluster.OWNER, cluster.DATABASE)

    @property
    def app_url(self) -> str:
        return self._url(cluster.APPLICATION, cluster.DATABASE)

    @property
    def admin_url(self) -> str:
        return self._url(cluster.SUPERUSER, cluster.SUPERUSER)

    def _url(self, role: str, database: str) -> str:
        return f"postgresql://{role}:{self._passwords[role]}@127.0.0.1:{self.port}/{database}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of our share; the watcher stops the server when it was the last one."""
        share, self._share = self._share, None
        if share is None:
            return
        with suppress(OSError):  # the folder was deleted under us: there is no server left to look after
            self._ensure_watcher()
        os.close(share)

    def ensure_running(self) -> None:
        """Start the server again when somebody killed it: on its former port, if that is still free."""
        deadline_s = time.monotonic() + self._start_timeout_s
        with _explained(self.folder), self._held(postmaster.START_LOCK, deadline_s):
            self._ensure_watcher()
            found = postmaster.settle(self.folder, deadline_s) or self._start(deadline_s)
            self.port = found.port
            self._await_watcher(deadline_s)

    @contextmanager
    def _held(self, name: str, deadline_s: float) -> Iterator[int]:
        lock = postmaster.open_lock(self.folder, name)
        try:
            postmaster.take_lock(lock, fcntl.LOCK_EX, deadline_s)
            yield lock
        finally:
            os.close(lock)

    def _start(self, deadline_s: float) -> Postmaster:
        if self._wanted_port and (problem := _port_problem(self._wanted_port)):
            raise _port_taken(self._wanted_port, problem)
        bin_path, prefix = bin_folder(), launch_prefix(self.folder)
        for port in self._ports():
            with self._held(postmaster.SERVER_LOCK, deadline_s) as lock:
                self._launch(port, cluster.Programs(self.folder, bin_path, prefix, lock, deadline_s))
            if (started := postmaster.settle(self.folder, deadline_s)) is not None:
                return started
            if _PORT_TAKEN not in self._log_tail():
                raise MachineError(
                    f"data_dir {self.folder}: PostgreSQL did not start; server.log ends with:\n{self._log_tail()}"
                )
        raise _port_taken(self._wanted_port, "taken by somebody else at the moment of the start")

    def _ports(self) -> Iterator[int]:
        """Yield the ports to try; the former one first, where other users of a killed server look for it."""
        former = postmaster.former_port(self._data)
        if self._wanted_port:
            yield self._wanted_port
        elif former is not None and _port_problem(former) is None:
            yield former
        if not self._wanted_port:
            yield from (_free_port() for _ in range(PORT_TRIES_MAX))

    def _launch(self, port: int, programs: cluster.Programs) -> None:
        if not cluster.exists(self.folder):
            cluster.build(programs)
        postmaster.disarm_pid_file(self._data)
        cluster.write_settings(self._data, port, self._settings)
        self._log_start = self._log.stat().st_size if self._log.exists() else 0
        self._spawn(programs.command("postgres", "-D", str(self._data)), programs.lock)

    def _ensure_watcher(self) -> None:
        if postmaster.is_free(self.folder, postmaster.WATCHER_LOCK):
            self._spawn([sys.executable, "-P", postmaster.__file__, str(self.folder)])

    def _await_watcher(self, deadline_s: float) -> None:
        next_try_s = time.monotonic() + WATCHER_START_S
        while postmaster.is_free(self.folder, postmaster.WATCHER_LOCK):
            if time.monotonic() > deadline_s:
                raise MachineError(
                    f"data_dir {self.folder}: the watcher of its PostgreSQL did not start: see {self._log}"
                )
            if time.monotonic() > next_try_s:  # somebody killed it before it had the lock
                self._ensure_watcher()
                next_try_s = time.monotonic() + WATCHER_START_S
            time.sleep(postmaster.POLL_S)

    def _spawn(self, command: list[str], *kept: int) -> None:
        """Start a process that is nobody's child: it outlives us, and when it is killed no zombie of it stays."""
        shell = ["/bin/sh", "-c", _DETACHED, "sh", str(self._log), *command]
        environment = clean_environment()
        subprocess.run(  # noqa: S603 - a fixed script; the command is its arguments, never its text
            shell, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True, cwd="/", env=environment, pass_fds=kept, check=True,
        )  # fmt: skip

    def _log_tail(self) -> str:
        with self._log.open("rb") as log:
            log.seek(self._log_start)
            return cluster.tail(log.read().decode(errors="replace"))


def _private_folder(folder: Path) -> Path:
    folder.mkdir(mode=PRIVATE_MODE, parents=True, exist_ok=True)
    folder.chmod(PRIVATE_MODE)
    return folder.resolve()


def _port_problem(port: int) -> str | None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as problem:
            return problem.strerror
    return None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _port_taken(port: int, problem: str) -> MachineError:
    cure = "stop what listens there, choose another port, or 0 for any that is free"
    return MachineError(f"database.embedded_port {port}: port taken on 127.0.0.1 ({problem}): {cure}")


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        cure = f"look into {folder / postmaster.SERVER_LOG} and at the processes that use this folder"
        raise MachineError(f"data_dir {folder}: its PostgreSQL was neither up nor down in time: {cure}") from error
    except OSError as error:
        cure = "choose a data_dir that this user may write and that has space"
        raise MachineError(f"data_dir {folder}: {error.strerror} ({error.filename}): {cure}") from error
