"""What stands in an exchange's folder beside its ledger: who the server is, and where it listens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec
import psutil

if TYPE_CHECKING:
    from pathlib import Path

ADDRESS_FILE = "server.json"
LOCK_FILE = "server.lock"  # flock, held by the server for its life: the kernel drops it with its holder
LAUNCH_LOCK_FILE = "launch.lock"  # flock, held by whoever starts the server, until it listens
LOG_FILE = "server.log"
PID_MAX = 2**22  # of any kernel
STARTED_TOLERANCE_S = 1.0  # between two readings of when a process started


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """A process is known by its pid and when it started: a pid alone may be somebody else's by now."""

    host: Annotated[str, msgspec.Meta(pattern=r"^127\.0\.0\.1$")]
    port: Annotated[int, msgspec.Meta(ge=1, le=65_535)]
    pid: Annotated[int, msgspec.Meta(ge=1, le=PID_MAX)]
    started: float
    world: str  # digest


def read_address(folder: Path) -> Address | None:
    """Give what the file says: a killed server leaves it behind. What no server can have written is as good as none."""
    try:
        return msgspec.json.decode((folder / ADDRESS_FILE).read_bytes(), type=Address)
    except (OSError, ValueError, msgspec.MsgspecError):
        return None


def lives(address: Address) -> bool:
    """Tell whether the process that wrote the address is there: a killed one leaves the file behind."""
    try:
        process = psutil.Process(address.pid)
        return (
            process.status() != psutil.STATUS_ZOMBIE
            and abs(process.create_time() - address.started) < STARTED_TOLERANCE_S
        )
    except psutil.Error:
        return False


def write_address(folder: Path, address: Address) -> None:
    """Whole or not at all."""
    unfinished = folder / f"{ADDRESS_FILE}.unfinished"
    unfinished.write_bytes(msgspec.json.encode(address))
    unfinished.replace(folder / ADDRESS_FILE)
