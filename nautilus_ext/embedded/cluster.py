"""The content of a new cluster: initdb, roles, passwords, who may connect. It appears whole or not at all."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nautilus_ext.embedded.binaries import clean_environment
from nautilus_ext.errors import MachineError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SUPERUSER, OWNER, APPLICATION = "postgres", "suite_owner", "suite_app"
DATABASE = "suite"
PASSWORD_BYTES = 24
TAIL_LINES = 8

_CLUSTER, _UNFINISHED, _PASSWORDS = "cluster", "cluster.unfinished", "passwords.json"
_INITDB = ("-U", SUPERUSER, "-A", "scram-sha-256", "-E", "UTF8", "--locale=C", "--data-checksums", "--no-instructions")
_SINGLE = (
    "--single",
    "-F",
    "-c",
    "exit_on_error=on",
    "-c",
    "log_min_error_statement=panic",
    "-c",
    "log_checkpoints=off",
)
_CONNECTIONS = "host all all 127.0.0.1/32 scram-sha-256\n"
_SETTINGS = {
    "max_connections": "100",
    "shared_buffers": "128MB",
    "fsync": "on",
    "synchronous_commit": "on",
    "dynamic_shared_memory_type": "mmap",  # in the folder: a killed server leaves nothing in /dev/shm, full or small
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_destination": "stderr",
    "log_min_error_statement": "panic",  # a failed statement may hold a password
}


@dataclass(frozen=True)
class Programs:
    """How PostgreSQL's programs are run here; who runs them holds `lock`, an inherited descriptor, until they end."""

    folder: Path
    bin_folder: Path
    prefix: tuple[str, ...]
    lock: int
    deadline_s: float

    def command(self, program: str, *arguments: str) -> list[str]:
        return [*self.prefix, str(self.bin_folder / program), *arguments]

    def run(self, program: str, *arguments: str, script: str = "") -> None:
        bound_s = max(self.deadline_s - time.monotonic(), 0.0)
        try:
            done = subprocess.run(  # noqa: S603 - our programs, our arguments, no shell
                self.command(program, *arguments),
                input=script,
                capture_output=True,
                text=True,
                check=False,
                timeout=bound_s,
                env=clean_environment(),
                pass_fds=(self.lock,),
            )
        except subprocess.TimeoutExpired:
            raise MachineError(f"data_dir {self.folder}: {program} did not end within {bound_s:.0f} s") from None
        if done.returncode:
            raise MachineError(f"data_dir {self.folder}: {program} failed ({done.returncode}):\n{tail(done.stderr)}")


def tail(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-TAIL_LINES:])


def exists(folder: Path) -> bool:
    return (folder / _CLUSTER).is_dir()


def build(programs: Programs) -> None:
    """Build under another name and rename: a build that was killed leaves nothing that looks like a cluster."""
    folder = programs.folder
    unfinished = folder / _UNFINISHED
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700)
    data = unfinished / "data"
    passwords = {role: secrets.token_urlsafe(PASSWORD_BYTES) for role in (SUPERUSER, OWNER, APPLICATION)}
    superuser_password = unfinished / "superuser"
    _write_private(superuser_password, passwords[SUPERUSER])
    programs.run("initdb", "-D", str(data), *_INITDB, f"--pwfile={superuser_password}", "--no-sync")
    superuser_password.unlink()
    programs.run("postgres", *_SINGLE, "-D", str(data), SUPERUSER, script=_roles(passwords))
    (data / "pg_hba.conf").write_text(_CONNECTIONS, encoding="utf-8")
    _write_private(unfinished / _PASSWORDS, json.dumps(passwords))
    programs.run("initdb", "-D", str(data), "--sync-only")  # all files once, instead of in each step
    _sync_folder(unfinished)
    unfinished.rename(folder / _CLUSTER)
    _sync_folder(folder)


def _roles(passwords: Mapping[str, str]) -> str:
    """One statement a line, as the single-user server reads them: it listens nowhere, so no password is on a wire."""
    return (
        f"CREATE ROLE {OWNER} LOGIN PASSWORD '{passwords[OWNER]}'\n"
        f"CREATE ROLE {APPLICATION} LOGIN PASSWORD '{passwords[APPLICATION]}'\n"
        f"CREATE DATABASE {DATABASE} OWNER {OWNER}\n"
    )


def read_passwords(folder: Path) -> dict[str, str]:
    path = folder / _CLUSTER / _PASSWORDS
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        cure = f"restore it from a backup, or move {folder} away: a new, empty database is then made"
        raise MachineError(
            f"data_dir {folder}: the passwords of its database ({path}) cannot be read: {cure}"
        ) from None


def write_settings(data: Path, port: int, settings: Mapping[str, str]) -> None:
    """Write the whole file at each start: what the server runs with can be read in one place."""
    fixed = {"port": str(port), "listen_addresses": "127.0.0.1", "unix_socket_directories": ""}
    lines = [f"{name} = '{_quoted(value)}'" for name, value in {**_SETTINGS, **settings, **fixed}.items()]
    (data / "postgresql.conf").write_text("\n".join([*lines, ""]), encoding="utf-8")


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace("'", "''")


def _write_private(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(descriptor)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
