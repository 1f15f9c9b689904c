"""What goes wrong at a venue, and when: by a script or by chance, the same again with the same seed. Pure."""

from __future__ import annotations

import random
from collections import Counter
from itertools import accumulate
from typing import Literal, get_args

import msgspec

type RequestFault = Literal[
    "rejected",  # refused although nothing speaks against it; only what acts on orders
    "rate_limited",  # refused: too many requests
    "drop_before",  # the connection is closed and the request was not carried out
    "drop_after",  # the connection is closed and the request was carried out
    "lost_answer",
    "late_answer",
    "duplicate_answer",
    "reordered_answer",  # it leaves after what should have followed it
    "restart",  # carried out and written, then the server starts anew
]
type ItemFault = Literal["lost_item", "late_item", "duplicate_item", "reordered_item"]

REQUEST_FAULTS: tuple[RequestFault, ...] = get_args(RequestFault.__value__)
ITEM_FAULTS: tuple[ItemFault, ...] = get_args(ItemFault.__value__)
type Ladder[Kind] = tuple[tuple[float, Kind], ...]

ACTS = frozenset({"Place", "Modify", "Cancel", "CancelMany", "CancelAll"})
LATE_MS_MAX = 60_000
SCRIPT_LINES_MAX = 1_000


class Scripted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One fault at a known moment: the `nth` message called `on` (Place, GetOrders, …; Filled, Accepted, …)."""

    on: str
    fault: RequestFault | ItemFault
    nth: int = 1  # counted from the moment when the faults were set


class Faults(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The faults of one venue. A script wins over chance."""

    seed: int = 0
    rates: dict[RequestFault | ItemFault, float] = {}  # probability per request, or per stream item
    script: tuple[Scripted, ...] = ()
    late_ms: int = 300  # how late a late answer or item is

    def __post_init__(self) -> None:
        for name, kinds in (("requests", REQUEST_FAULTS), ("stream items", ITEM_FAULTS)):
            rates = [self.rates.get(kind, 0.0) for kind in kinds]
            if not (all(rate >= 0 for rate in rates) and sum(rates) <= 1):
                raise ValueError(f"faults: the rates of {name} must be at least 0 and together at most 1: {rates}")
        if not 1 <= self.late_ms <= LATE_MS_MAX:
            raise ValueError(f"faults: late_ms is {self.late_ms}; it must be between 1 and {LATE_MS_MAX} ms")
        if len(self.script) > SCRIPT_LINES_MAX or any(line.nth < 1 for line in self.script):
            raise ValueError(f"faults: a script has at most {SCRIPT_LINES_MAX:,} lines, and nth is at least 1")


class FaultPlan:
    """Decides, message by message: the same faults, run of the server and messages give the same decisions.

    Each run has its own chance: a restart that came at the tenth request does not come there for ever.
    """

    def __init__(self, faults: Faults, run: int = 1) -> None:
        self.late_s = faults.late_ms / 1_000
        self.counts: Counter[str] = Counter()
        self._rng = random.Random(f"{faults.seed}:{run}")  # noqa: S311 - reproducible bad luck, not a secret
        self._requests = _ladder(faults, REQUEST_FAULTS)
        self._items = _ladder(faults, ITEM_FAULTS)
        self._script = {(line.on, line.nth): line.fault for line in faults.script}
        self._seen: Counter[str] = Counter()

    @property
    def number(self) -> int:
        """How many faults there have been."""
        return self.counts.total()

    def request(self, name: str) -> RequestFault | None:
        return self._decide(name, self._requests, REQUEST_FAULTS)

    def item(self, name: str) -> ItemFault | None:
        return self._decide(name, self._items, ITEM_FAULTS)

    def _decide[Kind: str](self, name: str, ladder: Ladder[Kind], possible: tuple[Kind, ...]) -> Kind | None:
        if not (ladder or self._script):
            return None
        self._seen[name] += 1
        scripted = self._script.get((name, self._seen[name]))
        fault = next((kind for kind in possible if kind == scripted), None)
        if ladder and fault is None:
            drawn = self._rng.random()
            fault = next((kind for below, kind in ladder if drawn < below), None)
        if fault is None or (fault == "rejected" and name not in ACTS):
            return None
        self.counts[fault] += 1
        return fault


def _ladder[Kind: (RequestFault, ItemFault)](faults: Faults, kinds: tuple[Kind, ...]) -> Ladder[Kind]:
    """Cumulated rates: one random number per message decides on all kinds."""
    below = accumulate(faults.rates.get(kind, 0.0) for kind in kinds)
    return tuple((sum_so_far, kind) for sum_so_far, kind in zip(below, kinds, strict=True) if faults.rates.get(kind))
