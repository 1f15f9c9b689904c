"""Whether the memory and the lag of a soak stayed flat. A record in, checks out."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from soak_run import Memory, Outside, Record

WARM_UP = 1 / 3  # of the time: until what Nautilus purges is as much as what comes
MB = 1e6
NODE_SLOPE_MB_PER_MIN_MAX = 0.3
SHIPPER_SLOPE_MB_PER_MIN_MAX = 0.1
GROWTH_MB_MAX = 6.0  # from the median of the first third after the warm-up to that of the last one
RATE_MIN = 2.0  # times the usual one
LAG_GROWTH_MS_MAX = 50.0
LAG_GROWTH_EVENTS_MAX = 50.0
LOG_MB_MAX = 33.0  # two files of the log: one is shipped while the next one fills
MINUTE_S = 60.0

Points = list[tuple[float, float]]


class Check(NamedTuple):
    """One thing that must hold: what was found is at most the bound."""

    what: str
    found: float
    bound: float
    unit: str

    @property
    def passes(self) -> bool:
        return self.found <= self.bound

    def __str__(self) -> str:
        verdict = "flat" if self.passes else "NOT FLAT"
        return f"{self.what}: {self.found:,.2f} {self.unit}, at most {self.bound:,.2f}: {verdict}"


def judge(record: Record) -> list[Check]:
    """Hold a record against the bounds; all must pass."""
    node = memory(record, lambda look: look.node)
    shipper = memory(record, lambda look: look.shipper)
    behind = warm([(look.at_s, float(look.seq - look.shipped_seq)) for look in record.inside])
    late = warm(record.visible)
    return [
        Check("node, slope of its memory", slope(node), NODE_SLOPE_MB_PER_MIN_MAX, "MB/min"),
        Check("node, last third over the first", growth(node), GROWTH_MB_MAX, "MB"),
        Check("shipper, slope of its memory", slope(shipper), SHIPPER_SLOPE_MB_PER_MIN_MAX, "MB/min"),
        Check("shipper, last third over the first", growth(shipper), GROWTH_MB_MAX, "MB"),
        Check("event to visible, last third over the first", growth(late), LAG_GROWTH_MS_MAX, "ms"),
        Check("events behind, last third over the first", growth(behind), LAG_GROWTH_EVENTS_MAX, "events"),
        Check("local log on disk, most", max(look.log_bytes for look in record.outside) / MB, LOG_MB_MAX, "MB"),
    ]


def is_busy(record: Record) -> bool:
    """Whether it had at least twice the usual rate of events; without that the rest says nothing."""
    return rate(record) >= RATE_MIN * record.usual_rate


def rate(record: Record) -> float:
    """Events a second, from the first look to the last."""
    first, last = record.inside[0], record.inside[-1]
    return (last.seq - first.seq) / (last.at_s - first.at_s)


def memory(record: Record, process: Callable[[Outside], Memory]) -> Points:
    """Return the anonymous memory of a process, in MB, after the warm-up."""
    return warm([(look.at_s, process(look).anonymous / MB) for look in record.outside])


def warm(points: Points) -> Points:
    first_s, last_s = points[0][0], points[-1][0]
    begin_s = first_s + (last_s - first_s) * WARM_UP
    return [point for point in points if point[0] >= begin_s]


def slope(points: Points) -> float:
    """Fit a line; return what it rises in a minute."""
    times_s, values = zip(*points, strict=True)
    return statistics.linear_regression(times_s, values).slope * MINUTE_S


def growth(points: Points) -> float:
    """Return by how much the median of the last third is above that of the first."""
    first, _, last = thirds(points)
    return last - first


def thirds(points: Points) -> tuple[float, float, float]:
    """Return the medians of the first, the middle and the last third of the time."""
    begin_s, end_s = points[0][0], points[-1][0]
    step_s = (end_s - begin_s) / 3
    parts: tuple[list[float], ...] = ([], [], [])
    for at_s, value in points:
        parts[min(int((at_s - begin_s) / step_s), 2)].append(value)
    first, middle, last = map(statistics.median, parts)
    return first, middle, last


def percentiles(points: Sequence[tuple[float, float]]) -> tuple[float, float, float]:
    """Return the median, the 99th percentile and the most."""
    values = [value for _, value in points]
    return statistics.median(values), statistics.quantiles(values, n=100)[98], max(values)
