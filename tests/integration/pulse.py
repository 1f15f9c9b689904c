"""An actor that shows how long the node's loop stands still: the worst pause of each tenth of a second."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from nautilus_trader.common.actor import Actor
from nautilus_trader.common.config import ActorConfig

BEAT_S = 0.005
LINE_S = 0.1


class PulseConfig(ActorConfig, frozen=True):
    """Where the lines go: `<monotonic clock> <worst pause since the line before, in ms>`."""

    path: str = ""


class Pulse(Actor):
    """Beats from the start on, also while the node stops."""

    def on_start(self) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # in a backtest nothing is to be seen
            return
        self._task = loop.create_task(self._beat())

    async def _beat(self) -> None:
        with Path(self.config.path).open("a", buffering=1, encoding="utf-8") as told:  # noqa: ASYNC230 - once, in the beginning
            worst_s, line_s, before_s = 0.0, time.monotonic(), time.monotonic()
            while True:
                await asyncio.sleep(BEAT_S)
                now_s = time.monotonic()
                worst_s, before_s = max(worst_s, now_s - before_s - BEAT_S), now_s
                if now_s - line_s > LINE_S:
                    told.write(f"{now_s:.3f} {worst_s * 1e3:.1f}\n")
                    worst_s, line_s = 0.0, now_s


def worst_ms(path: Path, begin_s: float, end_s: float) -> float:
    """The worst pause that was told between two moments; no line at all is a loop that stood still throughout."""
    lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines() if line.count(" ") == 1]
    told = [float(ms) for at_s, ms in lines if begin_s <= float(at_s) <= end_s + LINE_S]
    assert told, f"not one beat of the loop within {end_s - begin_s:.1f} s"
    return max(told)
