"""Finds the server of a folder, or starts it: exactly one, whoever asks at the same time.

All of it blocks for a moment: call it in a thread.
"""

from __future__ import annotations

import fcntl
import os
import select
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import nautilus_ext
from nautilus_ext.errors import MachineError
from nautilus_ext.simulation import wire
from nautilus_ext.simulation.server.address import LAUNCH_LOCK_FILE, LOG_FILE, Address, lives, read_address

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nautilus_ext.simulation.world import World

PRIVATE_MODE = 0o700
POLL_S = 0.01
ASK_S = 2.0  # how long a living server may take to answer a stranger
LOG_TAIL_BYTES = 4_000
_DETACHED = 'exec 3<&0 4>>"$1"; shift; "$@" <&3 >&4 2>&4 3<&- 4>&- &'  # nobody's child: no zombie, and it outlives us


def find(folder: Path) -> Address | None:
    """Tell where the server of the folder listens; None when none lives and answers."""
    address = read_address(folder)
    if address is None or not lives(address):
        return None
    answer = _ask(address, wire.ListInstruments(request=1), ASK_S)
    return address if answer is not None else None


def ensure(folder: Path, world: World, timeout_s: float) -> Address:
    """Give the address of the folder's server, started now if none runs; MachineError names what is in the way."""
    deadline_s = time.monotonic() + timeout_s
    with _explained(folder):
        folder.mkdir(mode=PRIVATE_MODE, parents=True, exist_ok=True)
        while time.monotonic() < deadline_s:
            found = find(folder)
            if found is not None and not _steps_aside(found, world, folder):
                return found
            with _launch_lock(folder, deadline_s):
                if not _is_anybody(folder):
                    return _start(folder, world, deadline_s)
            time.sleep(POLL_S)  # it is just ending, or beginning anew
        raise _no_answer(folder, timeout_s)


def _is_anybody(folder: Path) -> bool:
    """Tell whether a server has the folder, also one that does not answer at the moment: a second one is no help."""
    address = read_address(folder)
    return address is not None and lives(address)


def _no_answer(folder: Path, timeout_s: float) -> MachineError:
    address = read_address(folder)
    if address is None or not lives(address):
        return MachineError(f"exchange {folder}: no server within {timeout_s:g} s: look into {folder / LOG_FILE}")
    cure = f"end it (kill -9 {address.pid}: its ledger keeps what was answered) and start again"
    return MachineError(
        f"exchange {folder}: its server (pid {address.pid}) has not answered for {timeout_s:g} s: {cure}"
    )


def _ask(address: Address, request: wire.Request, timeout_s: float) -> wire.AnyAnswer | None:
    """Give the server's answer; None when nobody of its kind is there."""
    framer = wire.server_framer()
    deadline_s = time.monotonic() + timeout_s
    with suppress(OSError, wire.WireError), socket.create_connection((address.host, address.port), timeout_s) as link:
        link.sendall(wire.frame(request))
        while (left_s := deadline_s - time.monotonic()) > 0:
            link.settimeout(left_s)
            data = link.recv(65_536)
            if not data:
                return None
            for message in framer.feed(data):
                if isinstance(message, wire.Answer):
                    return message  # type: ignore[return-value]  # every answer is one of them
    return None


def _steps_aside(found: Address, world: World, folder: Path) -> bool:
    """A server that runs with another world and has no client ends when it is asked; one with clients is in the way."""
    if found.world == world.digest:
        return False
    hello = wire.Hello(request=1, session="launch", world=world.digest)
    answer = _ask(found, hello, ASK_S)
    if isinstance(answer, wire.Refused) and answer.code == "OTHER_WORLD":
        raise MachineError(f"exchange {folder}: {answer.text} (pid {found.pid})")
    return True


def _start(folder: Path, world: World, deadline_s: float) -> Address:
    """Start it detached, and wait until it listens. Whoever calls holds the launch lock."""
    log = folder / LOG_FILE
    if log.exists() and not log.is_file():
        raise MachineError(f"exchange {folder}: {log} is no file: move it away, or choose another exchange name")
    log_began = log.stat().st_size if log.exists() else 0
    read_end, write_end = os.pipe()  # the server holds the other end for its life: we hear when it dies
    try:
        try:
            _spawn(folder, world, write_end)
        finally:
            os.close(write_end)
        while time.monotonic() < deadline_s:
            has_died = bool(select.select([read_end], [], [], POLL_S)[0])
            address = read_address(folder)
            if address is not None and lives(address) and _ask(address, wire.ListInstruments(request=1), ASK_S):
                return address
            if has_died:
                raise MachineError(f"exchange {folder}: its server ended at its start: {_last_line(log, log_began)}")
    finally:
        os.close(read_end)
    raise MachineError(
        f"exchange {folder}: its server did not listen in time; it said last: {_last_line(log, log_began)}: "
        f"allow more seconds, or look into {log}"
    )


def _spawn(folder: Path, world: World, kept: int) -> None:
    command = [sys.executable, "-m", "nautilus_ext.simulation.server", str(folder.resolve())]
    shell = ["/bin/sh", "-c", _DETACHED, "sh", str(folder.resolve() / LOG_FILE), *command]
    done = subprocess.run(  # noqa: S603 - a fixed script; the command is its arguments, never its text
        shell, input=world.to_json(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True, cwd=Path(nautilus_ext.__file__).parents[1], pass_fds=(kept,), check=False,
    )  # fmt: skip
    if done.returncode:
        log = folder / LOG_FILE
        raise MachineError(f"exchange {folder}: {log} cannot be written: give this user the right to, or free space")


def _last_line(log: Path, began: int) -> str:
    with log.open("rb") as file:
        file.seek(max(began, file.seek(0, os.SEEK_END) - LOG_TAIL_BYTES))
        lines = file.read().decode(errors="replace").strip().splitlines()
    if not lines:
        return f"it said nothing, as on a full disk: free space for {log.parent}, or look there"
    return lines[-1].partition(" ")[2]  # without the time


@contextmanager
def _launch_lock(folder: Path, deadline_s: float) -> Iterator[None]:
    lock = os.open(folder / LAUNCH_LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        while not _is_taken(lock):
            if time.monotonic() > deadline_s:
                raise MachineError(f"exchange {folder}: another process has been starting its server for too long")
            time.sleep(POLL_S)
        yield
    finally:
        os.close(lock)


def _is_taken(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        cure = "choose a data_dir that this user may write and that has space"
        raise MachineError(f"exchange {folder}: {error.strerror} ({error.filename}): {cure}") from error
