"""Starts the shipper of a run detached, and again when it died: the only part in it that the node has."""

from __future__ import annotations

import logging
import os
import select
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

import msgspec

import nautilus_ext
from nautilus_ext.errors import MachineError
from nautilus_ext.persistence.segments import run_folder
from nautilus_ext.persistence.shipper.state import (
    LAST_PHASES,
    LOG_FILE,
    ORDER_BYTES_MAX,
    ShipperOrder,
    ShipperState,
    make_private,
    read_state,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

log = logging.getLogger(__name__)

RESPAWN_S_MIN, RESPAWN_S_MAX = 0.1, 60.0  # one that fails each time costs a start per minute
STEADY_S = 10.0  # a shipper that lived this long died of something new: the next one follows at once
JOIN_S_MAX = 2.0

# Nobody's child: no zombie, and it outlives us.
_DETACHED = 'exec 3<&0 4>>"$1"; shift; "$@" <&3 >&4 2>&4 3<&- 4>&- &'
# No venue key and no address travels along; a database address may lean on the PG* variables of its user.
_KEPT_VARIABLES = ("PATH", "LD_LIBRARY_PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "TZ", "LANG")
_KEPT_PREFIXES = ("PG", "PYTHON", "LC_", "NAUTILUS_EXT_")


class Shipping:
    """Keeps one shipper on a run. Whoever started it closes it; the shipper itself goes on until all is durable."""

    @classmethod
    def start(cls, order: ShipperOrder) -> Self:
        """Start the shipper now; MachineError when this machine does not let us."""
        folders = [
            None if name is None else str(Path(name).resolve())
            for name in (order.journal_folder, order.embedded_folder)
        ]
        order = msgspec.structs.replace(order, journal_folder=folders[0], embedded_folder=folders[1])
        folder = run_folder(order.journal_folder, order.run)
        with _explained(folder):
            make_private(folder)
            return cls(order, folder, _spawn(order))

    def __init__(self, order: ShipperOrder, folder: Path, life: int) -> None:
        self._order = order
        self._folder = folder
        self._bell, self._rope = os.pipe()
        self._is_closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, args=(life,), name=f"shipper {order.book_id}", daemon=True)
        self._thread.start()

    @property
    def state(self) -> ShipperState:
        """What the shipper said last."""
        return read_state(self._folder)

    def drain(self, timeout_s: float) -> bool:
        """Wait until the shipper has ended: true when every record of the run is durable or named as rejected."""
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            return False
        state = self.state
        return state.phase == "ended" and not state.missing and state.shipped_seq >= state.known_seq

    def close(self) -> None:
        """Look after the shipper no longer."""
        if self._is_closed.is_set():
            return
        self._is_closed.set()
        with suppress(OSError):
            os.write(self._rope, b"x")
        self._thread.join(JOIN_S_MAX)
        os.close(self._rope)
        os.close(self._bell)

    def _watch(self, life: int | None) -> None:
        try:
            self._respawn(life)
        except Exception:
            log.critical(
                "book %s: nobody looks after its shipper any more: events wait in the local log, start the node anew",
                self._order.book_id,
                exc_info=True,
            )

    def _respawn(self, life: int | None) -> None:
        delay_s = RESPAWN_S_MIN
        while True:  # for as long as the node lives; `close` ends it
            began_s = time.monotonic()
            self._await_death(life)
            if self._is_closed.is_set() or self.state.phase in LAST_PHASES:
                return
            if time.monotonic() - began_s > STEADY_S:
                delay_s = RESPAWN_S_MIN
            said = self.state.last_error or f"see {self._folder.parent / LOG_FILE}"
            has_failed = self.state.phase == "failed"
            level, left_s = (logging.CRITICAL, f" in {delay_s:g} s") if has_failed else (logging.WARNING, "")
            log.log(level, "book %s: its shipper ended (%s); the next one starts%s", self._order.book_id, said, left_s)
            if self._is_closed.wait(delay_s):
                return
            delay_s = min(delay_s * 2, RESPAWN_S_MAX)
            life = self._spawn_again()

    def _await_death(self, life: int | None) -> None:
        if life is None:
            return
        poll = select.poll()
        poll.register(life, select.POLLIN)
        poll.register(self._bell, select.POLLIN)
        poll.poll()
        os.close(life)

    def _spawn_again(self) -> int | None:
        try:
            return _spawn(self._order)
        except Exception as error:  # noqa: BLE001 - whatever it is, the next attempt may succeed
            log.warning("book %s: no shipper could be started: %s", self._order.book_id, error)
            return None


def _spawn(order: ShipperOrder) -> int:
    """Start a shipper; return a descriptor on which its death is heard, whoever is its parent."""
    line = msgspec.json.encode(order) + b"\n"
    if len(line) > ORDER_BYTES_MAX:
        raise MachineError(f"order of the shipper: {len(line):,} bytes, {ORDER_BYTES_MAX:,} are taken: shorten paths")
    life, kept = os.pipe()
    log_file = Path(order.journal_folder, LOG_FILE)
    command = [sys.executable, "-m", "nautilus_ext.persistence.shipper"]
    try:
        done = subprocess.run(  # noqa: S603 - a fixed script; the command is its arguments, never its text
            ["/bin/sh", "-c", f"umask 077; {_DETACHED}", "sh", str(log_file), *command],
            input=line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=_environment(),
            start_new_session=True, cwd=Path(nautilus_ext.__file__).parents[1], pass_fds=(kept,), check=False,
        )  # fmt: skip
    except BaseException:
        os.close(life)
        raise
    finally:
        os.close(kept)
    if done.returncode:
        os.close(life)
        raise MachineError(f"{log_file} cannot be written: give this user the right to, or free space")
    return life


def _environment() -> dict[str, str]:
    return {
        name: value for name, value in os.environ.items()
        if name in _KEPT_VARIABLES or name.startswith(_KEPT_PREFIXES)
    }  # fmt: skip


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        cure = "choose a data_dir that this user may write and that has space"
        raise MachineError(f"journal {folder}: {error.strerror} ({error.filename}): {cure}") from error
