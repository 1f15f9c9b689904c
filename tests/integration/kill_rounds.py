"""Kills the processes of a trading desk at random moments, by a seed, and has the judge look after each few kills."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

from kill_desk import KINDS, REFUSALS, Desk, DeskError
from kill_judge import Seen, counted, judge, witnessed, works_on

from nautilus_ext.embedded import EmbeddedPostgres

if TYPE_CHECKING:
    from pathlib import Path

KILLS_PER_LIFE = 5  # then the node ends in order and everything is judged
KILLS_PER_DESK = 25  # then a new folder: each look reads all of a history
TRADE_S = (0.1, 1.6)
START_S = (0.0, 5.0)  # when in a start it is hit once more
SECOND_HIT = 0.4
AGAIN, AGAIN_S = 0.3, (0.0, 1.0)  # how often, and when, something dies before the desk has recovered
STARTS_MAX = 10  # a start that is hit may refuse, the next one must not
ENDS_MAX = 5  # on a busy machine an order may still be on its way to the exchange when its node ends
# What dies together: mostly one, now and then several within a millisecond.
CHOICES = (
    *[("node",)] * 6, *[("shipper",)] * 3, *[("postmaster",)] * 3, ("backend",), *[("exchange",)] * 3,
    ("node", "shipper"), ("node", "exchange"), ("node", "postmaster"), ("shipper", "postmaster"),
    *[("node", "shipper", "postmaster", "exchange")] * 3,
)  # fmt: skip


@dataclass
class Found:
    """What was done and looked at."""

    kills: int = 0
    killed: Counter[str] = field(default_factory=Counter)
    together: int = 0  # kills that hit several processes at once
    in_start: int = 0  # kills that hit a node while it started, or its shipper while it drained
    refused_starts: int = 0
    judgements: int = 0
    desks: int = 0
    runs: int = 0
    took_s: float = 0.0
    events: int = 0
    orders: int = 0
    fills: int = 0

    def add(self, other: Found) -> None:
        """Take in what was found on another desk."""
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))

    def verdict(self, seed: int) -> str:
        return f"kills={self.kills} seeds={seed}..{seed + self.desks - 1} differences=0"

    @property
    def line(self) -> str:
        kinds = ", ".join(f"{kind} {self.killed[kind]}" for kind in KINDS)
        return (
            f"kills={self.kills} ({kinds}; {self.together} of several at once, {self.in_start} during a start) "
            f"runs={self.runs} events={self.events:,} orders={self.orders:,} fills={self.fills:,} "
            f"judgements={self.judgements} took={self.took_s:.0f}s"
        )


def kill_often(parent: Path, seed: int, kills: int, at_once: int = 1) -> Found:
    """Kill so often, on several desks; raise with the seed of the desk on which something differs."""
    found, began_s = Found(), time.monotonic()
    plan = [min(KILLS_PER_DESK, kills - done) for done in range(0, kills, KILLS_PER_DESK)]

    def one(number: int) -> Found:
        return Killer(parent / f"desk-{number}", seed + number).run(plan[number])

    with ThreadPoolExecutor(at_once) as pool:
        for each in pool.map(one, range(len(plan))):
            found.add(each)
            found.took_s = time.monotonic() - began_s
            print(f"seeds {seed}..{seed + found.desks - 1}: {found.line}", flush=True)
    return found


class Killer:
    """One desk, and what its seed does to it."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._desk = Desk(folder)
        self._seed = seed
        self._rnd = random.Random(seed)
        self._found = Found(desks=1)
        self._story: list[str] = []

    def run(self, kills: int) -> Found:
        found = self._found
        try:
            while found.kills < kills:
                seen = self._life(min(kills, found.kills + KILLS_PER_LIFE))
            found.runs, found.events, found.orders, found.fills = self._desk.starts, *seen[1:]
        except Exception as error:
            told = "\n  ".join(self._story)
            raise DeskError(f"KILL_SEED={self._seed}: {error}\nwhat was done:\n  {told}") from error
        finally:
            self._desk.close()
        return found

    def _life(self, until: int) -> Seen:
        """Start, trade, be hit, go on, to the end in order, and judge."""
        self._start(until)
        while self._found.kills < until:
            time.sleep(self._rnd.uniform(*TRADE_S))
            self._hit_and_go_on(until)
        time.sleep(self._rnd.uniform(*TRADE_S))
        self._judge("while it trades", live=True)
        self._end()
        return self._judge("after the end", live=False)

    def _end(self) -> None:
        """End in order; what was still on its way to the exchange then, the next node must hear of."""
        for _ in range(ENDS_MAX):
            self._desk.stop()
            if not works_on(self._desk.data, self._desk.ended_ns):
                return
            self._tell(f"start {self._desk.starts} left orders at the exchange: the next one hears of them")
            self._start(0)
        raise DeskError(f"{ENDS_MAX} ends in a row left orders at the exchange")

    def _hit_and_go_on(self, until: int) -> None:
        before = self._desk.shipper_state()
        kinds = self._hit()
        if not kinds:
            return
        if self._rnd.random() < AGAIN and self._found.kills < until:
            time.sleep(self._rnd.uniform(*AGAIN_S))
            kinds |= self._hit()
        if "node" in kinds:
            self._desk.await_crash()
            self._start(until)
        else:
            self._desk.await_recovery(kinds, before)

    def _start(self, until: int) -> None:
        """Start the node, and perhaps hit it or what it needs before it trades; then it must start all the same."""
        for _ in range(STARTS_MAX):
            self._desk.begin()
            kinds: set[str] = set()
            if self._rnd.random() < SECOND_HIT and self._found.kills < until and self._desk.starts > 1:
                time.sleep(self._rnd.uniform(*START_S))
                is_starting = not self._desk.trades
                kinds = self._hit()
                self._found.in_start += bool(kinds) and is_starting
            if "node" in kinds:
                self._desk.await_crash()
            elif self._desk.await_trading():
                return
            self._judge_refusal(kinds)
        raise DeskError(f"{STARTS_MAX} starts in a row ended:\n{self._desk.output}")

    def _judge_refusal(self, kinds: set[str]) -> None:
        """A node that was hit is dead; one whose database or exchange was hit may refuse, in words."""
        assert self._desk.node is not None
        code = self._desk.node.returncode
        self._tell(f"start {self._desk.starts} ended with {code}")
        if "node" in kinds and code == -signal.SIGKILL:
            return
        if not kinds or code not in REFUSALS or "Traceback" in self._desk.output:
            raise DeskError(f"a start ended with {code} after the kill of {sorted(kinds)}:\n{self._desk.output}")
        self._found.refused_starts += 1

    def _hit(self) -> set[str]:
        """Kill one choice of the seed; what does not live at this moment cannot die."""
        chosen = self._rnd.choice(CHOICES)
        at_once = [(kind, self._rnd.choice(pids)) for kind in chosen if (pids := self._desk.victims(kind))]
        killed: set[str] = set()
        for kind, pid in at_once:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            killed.add(kind)
            self._found.killed[kind] += 1
        if killed:
            self._found.kills += 1
            self._found.together += len(killed) > 1
            self._tell(f"kill {self._found.kills}: {' '.join(sorted(killed))} in start {self._desk.starts}")
        return killed

    def _judge(self, when: str, *, live: bool) -> Seen:
        folder, data = self._desk.folder, self._desk.data
        with EmbeddedPostgres.join(data / "postgres") as server:
            seen = asyncio.run(judge(server.app_url, data, witnessed(folder), is_trading=live))
        self._found.judgements += 1
        for number in range(1, self._desk.starts + 1):
            output = (folder / f"node-{number}.txt").read_text(errors="replace")
            if "not restored" in output or "Traceback" in output:
                seen.differences.append(f"start {number} said:\n{output[-2000:]}")
        if seen.differences:
            raise DeskError(f"{when} of start {self._desk.starts}: {counted(seen.differences)}")
        return seen

    def _tell(self, what: str) -> None:
        self._story.append(f"{time.strftime('%H:%M:%S')} {what}")
