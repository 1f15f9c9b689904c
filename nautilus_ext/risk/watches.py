"""What breakers look at: each watch is fed one kind of fact, a number, and says what it has come to. Pure.

None: it is not above its limit, or nobody can say. A rejection is 1, any other answer 0. By the clock's time, never by
timers.
"""

from __future__ import annotations

from collections import deque
from decimal import Decimal
from statistics import median
from typing import Protocol

import msgspec

from nautilus_ext.risk.windows import Window

BUCKETS = 60  # of a window that is counted in steps: the oldest step leaves it as a whole


class Watch(Protocol):
    """Fed with facts until a limit is passed; `begin` is called when somebody lets it go on after that."""

    def take(self, now_ns: int, fact: Decimal, /) -> Decimal | None: ...

    def begin(self) -> None: ...


class Memory(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a watch needs after a restart."""

    since_ns: int = 0
    reference: Decimal | None = None
    last: Decimal | None = None
    count: int = 0


class Fall:
    """How far a result has fallen within a period: from where it stood when that began, or from its highest since.

    Periods follow one another from midnight UTC; a length of 0 is one that never ends.
    """

    def __init__(self, window_ns: int, *, is_from_peak: bool, memory: Memory | None = None) -> None:
        memory = memory or Memory()
        self._window_ns = window_ns
        self._is_from_peak = is_from_peak
        self._since_ns, self._reference, self._last = memory.since_ns, memory.reference, memory.last

    def take(self, now_ns: int, result: Decimal) -> Decimal:
        """What was lost before the first result of a period belongs to it: it begins where the last one ended."""
        since_ns = now_ns - now_ns % self._window_ns if self._window_ns else 0
        if self._reference is None or since_ns > self._since_ns:
            self._since_ns = since_ns
            self._reference = result if self._last is None else self._last
        if self._is_from_peak:
            self._reference = max(self._reference, result)
        self._last = result
        return self._reference - result

    def begin(self) -> None:
        """From the last result on: whoever lets it go on has seen what is lost."""
        self._reference = self._last

    def memory(self) -> Memory:
        return Memory(since_ns=self._since_ns, reference=self._reference, last=self._last)


class Streak:
    """Rejections in a row; after a pause as long as the window a new row begins."""

    def __init__(self, window_ns: int, memory: Memory | None = None) -> None:
        memory = memory or Memory()
        self._window_ns = window_ns
        self._count, self._last_ns = memory.count, memory.since_ns

    def take(self, now_ns: int, rejected: Decimal) -> Decimal:
        if not rejected or now_ns - self._last_ns >= self._window_ns:
            self._count = 0
        self._count += int(rejected)
        self._last_ns = now_ns
        return Decimal(self._count)

    def begin(self) -> None:
        self._count = 0

    def memory(self) -> Memory:
        return Memory(since_ns=self._last_ns, count=self._count)


class Share:
    """Which share of the answers within the window were rejections, once there are enough of them."""

    def __init__(self, window_ns: int, least: int) -> None:
        self._step_ns = max(1, window_ns // BUCKETS)
        self._least = least
        self._steps: deque[tuple[int, int, int]] = deque(maxlen=BUCKETS)  # its number, answers, rejections

    def take(self, now_ns: int, rejected: Decimal) -> Decimal | None:
        step = now_ns // self._step_ns
        while self._steps and self._steps[0][0] <= step - BUCKETS:
            self._steps.popleft()
        answers = rejections = 0
        if self._steps and self._steps[-1][0] == step:
            _, answers, rejections = self._steps.pop()
        self._steps.append((step, answers + 1, rejections + int(rejected)))
        answers, rejections = (sum(each[at] for each in self._steps) for at in (1, 2))
        return None if answers < self._least else Decimal(rejections) / answers

    def begin(self) -> None:
        self._steps.clear()


class Often:
    """One more within the window than a limit allows."""

    def __init__(self, window_ns: int, limit: int) -> None:
        self._window = Window(limit + 1, window_ns)

    def take(self, now_ns: int, count: Decimal) -> Decimal | None:
        self._window.add(now_ns, int(count))
        return None if self._window.fits(now_ns) else Decimal(self._window.most)

    def begin(self) -> None:
        self._window = Window(self._window.most, self._window.length_ns)


class Slow:
    """The median of the last answers' times, once there are enough within the window."""

    def __init__(self, window_ns: int, least: int) -> None:
        self._window_ns = window_ns
        self._least = least
        self._times: deque[tuple[int, Decimal]] = deque(maxlen=least)

    def take(self, now_ns: int, latency_ms: Decimal) -> Decimal | None:
        self._times.append((now_ns, latency_ms))
        if len(self._times) < self._least or now_ns - self._times[0][0] >= self._window_ns:
            return None
        return median(latency for _, latency in self._times)

    def begin(self) -> None:
        self._times.clear()


class Lasting:
    """What is measured, once it has been above the limit for as long as the window."""

    def __init__(self, window_ns: int, limit: Decimal) -> None:
        self._window_ns = window_ns
        self._limit = limit
        self._since_ns: int | None = None

    def take(self, now_ns: int, value: Decimal) -> Decimal | None:
        if value <= self._limit:
            self._since_ns = None
            return None
        if self._since_ns is None:
            self._since_ns = now_ns
        return value if now_ns - self._since_ns >= self._window_ns else None

    def begin(self) -> None:
        self._since_ns = None
