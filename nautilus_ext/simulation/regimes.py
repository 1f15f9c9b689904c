"""What happens to a market at a time of its own: calm, trends, gaps, venues that are stale or halted. Pure."""

from __future__ import annotations

import math
from collections import defaultdict
from itertools import combinations
from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

type RegimeKind = Literal["calm", "trending", "gap", "stale", "halted"]

REGIMES_MAX = 100
TIME_S_MAX = 10 * 365 * 24 * 3_600
FACTOR_MAX = 10.0
LOG_MOVE_MAX = 3.0  # of all trends and gaps of one asset together: 20 times, up or down
NEED = {"calm": "factor", "trending": "drift_per_hour", "gap": "size", "stale": "venue", "halted": "venue"}
VENUE_KINDS = ("stale", "halted")


class Regime(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One such time. A gap is a moment; everything else lasts `seconds`."""

    kind: RegimeKind
    start_s: float  # after the first step of the tape
    seconds: float | None = None
    base: str | None = None  # the asset of calm, trending and gap; None: every asset
    factor: float | None = None  # calm: times the volatility; above 1 it excites
    drift_per_hour: float | None = None  # trending: of the log price
    size: float | None = None  # gap: -0.05 lowers the price by 5 %
    venue: str | None = None  # stale: its quotes stop; halted: nothing trades there

    def __post_init__(self) -> None:
        if self.kind not in NEED:
            raise ValueError(f"regime kind {self.kind!r}: it must be one of {', '.join(NEED)}")
        wrong = [*self._misplaced(), *self._out_of_range()]
        if wrong:
            raise ValueError(f"regime {self.kind!r} at {self.start_s} s: {'; '.join(wrong)}")

    def _misplaced(self) -> Iterator[str]:
        may = {NEED[self.kind], "kind", "start_s"}
        may |= set() if self.kind == "gap" else {"seconds"}
        may |= set() if self.kind in VENUE_KINDS else {"base"}
        for name in self.__struct_fields__:
            given = getattr(self, name) is not None
            if given and name not in may:
                yield f"{name} says nothing there: remove it"
            elif not given and name in may - {"base"}:
                yield f"{name} is missing: set it"

    def _out_of_range(self) -> Iterator[str]:
        """No comparison with NaN holds, so NaN is out of every range."""
        for name, low, high in (
            ("start_s", 0.0, TIME_S_MAX),
            ("seconds", 0.001, TIME_S_MAX),
            ("factor", 0.0, FACTOR_MAX),
            ("drift_per_hour", -math.inf, math.inf),  # its bound is what it comes to: LOG_MOVE_MAX
            ("size", math.expm1(-LOG_MOVE_MAX), math.expm1(LOG_MOVE_MAX)),
        ):
            number = getattr(self, name)
            if number is not None and not (low <= number <= high and math.isfinite(number)):
                yield f"{name} is {number}; it must be finite and between {low:.6g} and {high:.6g}"
        if abs(self.log_move) > LOG_MOVE_MAX or math.isnan(self.log_move):
            yield f"its drift comes to {self.log_move:.6g} of the log price; {LOG_MOVE_MAX} is the most"

    @property
    def log_move(self) -> float:
        """What it adds to the log price altogether."""
        if self.kind == "gap":
            return math.log1p(self.size) if self.size is not None and self.size > -1 else 0.0
        return (self.drift_per_hour or 0.0) * (self.seconds or 0.0) / 3_600

    @property
    def start_ms(self) -> int:
        return round(self.start_s * 1_000)

    @property
    def end_ms(self) -> int:
        return self.start_ms + round((self.seconds or 0.0) * 1_000)

    def lasts_at(self, at_ms: int) -> bool:
        return self.start_ms <= at_ms < self.end_ms

    def touches(self, base: str) -> bool:
        return self.kind not in VENUE_KINDS and self.base in {None, base}


def problems(
    regimes: Sequence[Regime], bases: Collection[str], venues: Collection[str], interval_ms: int
) -> Iterator[str]:
    """What makes no sense on such a market, one sentence each."""
    if len(regimes) > REGIMES_MAX:  # nothing else is looked at: the pairs alone would take for ever
        yield f"{len(regimes)} regimes; {REGIMES_MAX} is the most"
        return
    for index, regime in enumerate(regimes):
        if regime.base is not None and regime.base not in bases:
            yield f"regimes[{index}]: no asset {regime.base!r}; there are {', '.join(sorted(bases))}"
        if regime.venue is not None and regime.venue not in venues:
            yield f"regimes[{index}]: no venue {regime.venue!r}; there are {', '.join(sorted(venues))}"
        if regime.kind != "gap" and regime.end_ms - regime.start_ms < interval_ms:
            yield f"regimes[{index}]: {regime.seconds} s are shorter than a step of {interval_ms} ms: lengthen it"
    for (left, one), (right, other) in combinations(enumerate(regimes), 2):
        if _collide(one, other):
            yield f"regimes[{left}] ({one.kind}) and regimes[{right}] ({other.kind}) fall on the same time: part them"
    for base, moved in _moved(regimes, bases).items():
        if moved > LOG_MOVE_MAX:
            yield f"trends and gaps move {base} by {moved:.3g} of its log price; {LOG_MOVE_MAX} is the most together"


def _collide(one: Regime, other: Regime) -> bool:
    """Two of a kind on one asset or venue; and a halted venue is stale anyway."""
    if one.kind in VENUE_KINDS or other.kind in VENUE_KINDS:
        same = one.venue == other.venue
    else:
        same = one.kind == other.kind and (one.base == other.base or None in {one.base, other.base})
    if one.kind == "gap":
        return same and one.start_ms == other.start_ms
    return same and one.start_ms < other.end_ms and other.start_ms < one.end_ms


def _moved(regimes: Sequence[Regime], bases: Collection[str]) -> dict[str, float]:
    moved: dict[str, float] = defaultdict(float)
    for base in bases:
        for regime in regimes:
            if regime.touches(base):
                moved[base] += abs(regime.log_move)
    return moved


class Weather:
    """What the regimes of one asset do to its steps. One reader, forward in time."""

    def __init__(self, regimes: Sequence[Regime], base: str, interval_ms: int) -> None:
        touching = [regime for regime in regimes if regime.touches(base)]
        self._interval_ms = interval_ms
        self._gaps = [(regime.start_ms, regime.log_move) for regime in touching if regime.kind == "gap"]
        self._lasting = [regime for regime in touching if regime.kind != "gap"]

    def gap(self, number: int) -> float:
        """What the log price has jumped by when step `number` shows it."""
        end_ms = number * self._interval_ms
        return sum(jump for start_ms, jump in self._gaps if end_ms - self._interval_ms < start_ms <= end_ms)

    def factor_and_drift(self, number: int) -> tuple[float, float]:
        """Of the move from step `number` to the next one: times the volatility, plus to the log price."""
        at_ms = number * self._interval_ms
        factor, drift = 1.0, 0.0
        for regime in self._lasting:
            if regime.lasts_at(at_ms):
                factor *= 1.0 if regime.factor is None else regime.factor
                drift += (regime.drift_per_hour or 0.0) * self._interval_ms / 3_600_000
        return factor, drift


def venues_at(regimes: Sequence[Regime], kind: RegimeKind, at_ms: int) -> tuple[str, ...]:
    """The venues that are stale, or halted, at that time."""
    return tuple(regime.venue for regime in regimes if regime.kind == kind and regime.venue and regime.lasts_at(at_ms))
