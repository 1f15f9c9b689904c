"""A paper desk in a folder of its own whose processes are found and killed, and which is started again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from kill_judge import BOOK
from kill_trader import write_config

from nautilus_ext.embedded import postmaster
from nautilus_ext.persistence.segments import runs
from nautilus_ext.persistence.shipper.state import ShipperState, read_state
from nautilus_ext.simulation.server.address import lives, read_address

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[2]
NOT_INHERITED = ("DATABASE_URL", "BINANCE_", "BYBIT_", "OKX_", "TRADER_ID", "LOG_LEVEL", "NAUTILUS_EXT_")
START_S_MAX = 120.0  # a dozen times what a quiet machine takes
STOP_S_MAX = 30.0
RECOVERY_S_MAX = 60.0
POLL_S = 0.02
TRADES = "connected and reconciled"
# The database may be killed while a node starts: it then says so and ends, and is started again.
REFUSALS = (3, 4, 6)
KINDS = ("node", "shipper", "postmaster", "backend", "exchange")


class DeskError(AssertionError):
    """The desk did not do what it must after a kill."""


class Desk:
    """One data folder. `close` ends what is left of it, by the ids of its own processes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.starts = 0
        self.ended_ns = 0
        self.node: subprocess.Popen[bytes] | None = None
        self._config = folder / "config.json"
        folder.mkdir(parents=True)
        write_config(self._config, folder / "witness")

    # -- the node ------------------------------------------------------------------------------------

    @property
    def _output_file(self) -> Path:
        return self.folder / f"node-{self.starts}.txt"

    @property
    def output(self) -> str:
        """What the node of the last start has said."""
        return self._output_file.read_text(errors="replace")

    @property
    def trades(self) -> bool:
        """Whether the node of the last start came as far as trading."""
        return TRADES in self.output

    @property
    def is_up(self) -> bool:
        return self.node is not None and self.node.poll() is None

    def environment(self) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(NOT_INHERITED)}
        return {
            **kept,
            "NAUTILUS_EXT_DATA": str(self.data),
            "PYTHONUNBUFFERED": "1",
            "PYTHONPATH": str(Path(__file__).parent),
        }

    def begin(self, crash_at: str = "") -> None:
        """Start a node and return at once; with a place (see `crash_at`) it dies there."""
        assert not self.is_up, "one node at a time"
        self.starts += 1
        how = [str(Path(__file__).with_name("crash_at.py")), crash_at] if crash_at else ["-m"]
        with self._output_file.open("wb") as output:
            self.node = subprocess.Popen(
                [sys.executable, *how, "nautilus_ext.run", str(self._config)], cwd=ROOT, env=self.environment(),
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def await_crash(self) -> None:
        """Wait until the node died at its place."""
        assert self.node is not None
        code = self.node.wait(START_S_MAX)
        if code != -signal.SIGKILL:
            raise DeskError(f"the node did not come to its place, it ended with {code}:\n{self.output[-3000:]}")

    def await_trading(self) -> bool:
        """Wait until the node trades; False when it ended before, as it may when it was hit."""
        assert self.node is not None
        self._until(lambda: self.trades or not self.is_up, START_S_MAX, "the node does not start")
        return self.is_up

    def stop(self) -> None:
        """End the node in order, and wait until the tables have all of it."""
        assert self.node is not None
        self.node.send_signal(signal.SIGTERM)
        code = self.node.wait(STOP_S_MAX)
        self.ended_ns = time.time_ns()
        if code:
            raise DeskError(f"a node that was asked to stop ended with {code}:\n{self.output[-3000:]}")
        self._until(lambda: not self.shippers(), STOP_S_MAX, "the shipper does not end")

    # -- its processes -------------------------------------------------------------------------------

    def victims(self, kind: str) -> list[int]:
        """Return the ids of the living processes of a kind."""
        if kind == "node":
            return [self.node.pid] if self.is_up and self.node is not None else []
        if kind == "shipper":
            return self.shippers()
        if kind == "exchange":
            address = read_address(self.data / "exchange" / "paper")
            return [address.pid] if address is not None and lives(address) else []
        found = postmaster.find_postmaster(self.data.resolve() / "postgres" / postmaster.DATA_FOLDER)
        if found is None:
            return []
        return [found.process.pid] if kind == "postmaster" else _children(found.process)

    def shippers(self) -> list[int]:
        """Return the shippers of all runs: that of a killed node goes on alone."""
        states = [read_state(folder) for _, folder in runs(self.data / "journal" / BOOK)]
        return [state.pid for state in states if state.pid and _is_shipper(state.pid, self.data)]

    def halt_shipper(self, former: set[int]) -> int:
        """Stop the next shipper as soon as it is there: what the node writes waits in its log."""
        self._until(lambda: bool(self.living_shippers() - former), START_S_MAX, "no shipper starts")
        (pid,) = self.living_shippers() - former
        os.kill(pid, signal.SIGSTOP)
        return pid

    def living_shippers(self) -> set[int]:
        """Look through all processes: one that was just started has said nothing of itself yet."""
        return {process.pid for process in psutil.process_iter() if _is_shipper(process.pid, self.data)}

    def shipper_state(self) -> ShipperState:
        """What the newest shipper says."""
        found = runs(self.data / "journal" / BOOK)
        return read_state(found[-1][1]) if found else ShipperState()

    def close(self) -> None:
        """Kill what is left; the watcher of the database stops it when nobody uses it any more."""
        for kind in ("node", "shipper", "exchange"):
            for pid in self.victims(kind):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        if self.node is not None:
            self.node.wait(10)
        postmaster.stop_server(self.data.resolve() / "postgres")

    # -- what must go on -----------------------------------------------------------------------------

    def heard(self, *types: str) -> int:
        """Count the events that the node of the last start has acknowledged."""
        assert self.node is not None
        path = self.folder / f"witness.{self.node.pid}"
        if not path.exists():
            return 0
        lines = path.read_text().splitlines()
        return sum(line.split(" ")[1] in types for line in lines if line.count(" ") >= 1) if types else len(lines)

    def await_recovery(self, kinds: set[str], before: ShipperState) -> None:
        """The node lives, trades, and its events arrive in the tables again, with no start in between."""
        answers = self.heard("OrderAccepted", "OrderFilled", "OrderCanceled")
        self._must(lambda: self.heard("OrderAccepted", "OrderFilled", "OrderCanceled") > answers + 3, kinds, "trade")
        known = self.shipper_state().known_seq
        self._must(lambda: self.shipper_state().shipped_seq > max(known, before.known_seq), kinds, "ship")

    def _must(self, holds: Callable[[], bool], kinds: set[str], what: str) -> None:
        why = f"after the kill of {sorted(kinds)} the desk does not {what} within {RECOVERY_S_MAX:g} s"
        self._until(lambda: not self.is_up or holds(), RECOVERY_S_MAX, why)
        if not self.is_up:
            raise DeskError(f"the kill of {sorted(kinds)} ended the node:\n{self.output[-3000:]}")

    def _until(self, holds: Callable[[], bool], timeout_s: float, why: str) -> None:
        deadline_s = time.monotonic() + timeout_s
        while not holds():
            if time.monotonic() > deadline_s:
                raise DeskError(f"{why}: {self.folder}\n{self.shipper_state()}\n{self.output[-3000:]}")
            time.sleep(POLL_S)


def _children(process: psutil.Process) -> list[int]:
    try:
        return [child.pid for child in process.children()]
    except psutil.Error:
        return []


def _is_shipper(pid: int, data: Path) -> bool:
    try:
        process = psutil.Process(pid)
        return (
            "nautilus_ext.persistence.shipper" in process.cmdline()
            and process.status() != psutil.STATUS_ZOMBIE
            and process.environ().get("NAUTILUS_EXT_DATA") == str(data)
        )
    except psutil.Error:
        return False
