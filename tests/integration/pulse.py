"""An actor that shows how long the node's loop stands still: the worst pause of each tenth of a second.

A pause is counted without the longest time for which a thread of the process could run and the machine had no core for
it: whichever it was, it may have held the interpreter.
"""

from __future__ import annotations

import asyncio
import gc
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from nautilus_trader.common.actor import Actor
from nautilus_trader.common.config import ActorConfig

BEAT_S = 0.005
LINE_S = 0.1
FROZEN = "frozen"
THREADS = Path("/proc/self/task")  # schedstat of each: ns on a core, ns in wait of one, turns


class PulseConfig(ActorConfig, frozen=True):
    """Where the lines go: `<monotonic clock> <worst pause since the line before, in ms> <with waits for a core>`."""

    path: str = ""


class Pauses(NamedTuple):
    """The worst of a while, in ms: the loop's own, and what the clock on the wall says."""

    own: float
    wall: float


class Pulse(Actor):
    """Beats from the start on, also while the node stops."""

    def on_start(self) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # in a backtest nothing is to be seen
            return
        self._task = loop.create_task(self._beat())

    async def _beat(self) -> None:
        with Path(self.config.path).open("a", buffering=1, encoding="utf-8") as told:  # noqa: ASYNC230 - a local file
            told.write(f"{FROZEN} {gc.get_freeze_count()}\n")
            wall_s, line_s, before_s, waited = 0.0, time.monotonic(), time.monotonic(), _waited_s()
            while True:
                await asyncio.sleep(BEAT_S)
                now_s = time.monotonic()
                wall_s, before_s = max(wall_s, now_s - before_s - BEAT_S), now_s
                if now_s - line_s > LINE_S:
                    before, waited = waited, _waited_s()
                    own_s = wall_s - max(waited[thread] - before.get(thread, 0.0) for thread in waited)
                    told.write(f"{now_s:.3f} {max(own_s, 0.0) * 1e3:.1f} {wall_s * 1e3:.1f}\n")
                    wall_s, line_s = 0.0, now_s


def _waited_s() -> dict[str, float]:
    """How long each thread of this process has waited for a core so far."""
    found = {}
    for path in THREADS.iterdir():
        with suppress(OSError):  # it has ended
            found[path.name] = int((path / "schedstat").read_bytes().split()[1]) / 1e9
    return found


def frozen(path: Path) -> int:
    """How many objects a full collection of garbage leaves out."""
    return int(path.read_text(encoding="utf-8").partition(f"{FROZEN} ")[2].split()[0])


def worst(path: Path, begin_s: float, end_s: float) -> Pauses:
    """The worst that was told between two moments; no line at all is a loop that stood still throughout."""
    lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines() if line.count(" ") == 2]
    told = [(float(own), float(wall)) for at_s, own, wall in lines if begin_s <= float(at_s) <= end_s + LINE_S]
    assert told, f"not one beat of the loop within {end_s - begin_s:.1f} s"
    own, wall = zip(*told, strict=True)
    return Pauses(max(own), max(wall))
