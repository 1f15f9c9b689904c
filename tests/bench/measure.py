"""A measured figure, with what it may be at most."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Figure:
    """Runs of one thing. A figure without a budget is reported and passes."""

    what: str
    unit: str
    values: tuple[float, ...]
    budget: float | None = None
    note: str = ""

    @property
    def median(self) -> float:
        return round(statistics.median(self.values), 3)

    @property
    def passes(self) -> bool:
        return self.budget is None or self.median <= self.budget

    def to_dict(self) -> dict[str, Any]:
        fields = asdict(self) | {"median": self.median, "max": round(max(self.values), 3), "runs": len(self.values)}
        order = ("what", "unit", "median", "max", "runs", "budget")
        return {key: fields[key] for key in order} | {"pass": self.passes, "note": self.note}
