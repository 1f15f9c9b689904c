"""Which alerts are told and which only counted: a fault that says the same a thousand times is one message. Pure.

Two are the same when code and scope are; of the same one is told, then none until it has been quiet for a while.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Literal

import msgspec

from nautilus_ext.risk.windows import Window

Severity = Literal["warning", "critical"]

OPEN_MAX = 1_000  # alerts whose like is looked for; the one that began longest ago is forgotten
TOLD_MAX, TOLD_WINDOW_NS = 60, 60_000_000_000  # that many of each severity in a minute
TEXT_MAX = 500
RANKS: dict[Severity, int] = {"warning": 1, "critical": 2}
FLOOD = "ALERTS_HELD_BACK"
_CONTROLS = dict.fromkeys((*range(32), *range(127, 160)), " ")  # a venue's text must not move a cursor


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """Something that a person should know within seconds. `count`: how often it has happened since it was last told."""

    code: str
    scope: str
    severity: Severity
    text: str
    ts_ns: int
    count: int = 1

    @property
    def likeness(self) -> tuple[str, str]:
        return (self.code, self.scope)

    def __str__(self) -> str:
        again = f" ({self.count} times)" if self.count > 1 else ""
        return f"{self.severity.upper()} {self.code} {self.scope}: {self.text}{again}"


def alert(code: str, scope: str, severity: Severity, text: str, ts_ns: int) -> Alert:
    """One whose words are fit for a terminal, a table and a webhook, whoever wrote it."""
    return Alert(code=_plain(code), scope=_plain(scope), severity=severity, text=_plain(text), ts_ns=ts_ns)


def _plain(text: str) -> str:
    plain = " ".join(text.encode(errors="replace").decode().translate(_CONTROLS).split())
    return plain if len(plain) <= TEXT_MAX else plain[: TEXT_MAX - 1] + "…"


@dataclass(slots=True)
class _Open:
    """One of which was heard. `told`: how bad the last told one was; so many of its like are `untold`."""

    last: Alert
    since_ns: int
    told: int = 0
    untold: int = 0


class Alerts:
    """Takes all that happens, and gives what is to be told. Not for several threads."""

    def __init__(self, quiet_ns: int) -> None:
        self._quiet_ns = quiet_ns
        self._open: OrderedDict[tuple[str, str], _Open] = OrderedDict()
        self._told = {severity: Window(TOLD_MAX, TOLD_WINDOW_NS) for severity in RANKS}
        self._held_back = 0
        self._flood_ns: int | None = None

    def take(self, new: Alert) -> list[Alert]:
        """What is to be told at once: the first of its like, and one that is worse than what was told."""
        known = self._open.setdefault(new.likeness, _Open(new, new.ts_ns))
        if not known.untold or RANKS[new.severity] >= RANKS[known.last.severity]:
            known.last = new  # what is worse is not talked down before it was told
        known.untold += 1
        if len(self._open) > OPEN_MAX:
            self._open.popitem(last=False)
        if RANKS[new.severity] <= known.told:
            return self._flood(new.ts_ns)
        told = self._tell(known, new.ts_ns)
        self._held_back += not told and known.untold == 1
        return [*told, *self._flood(new.ts_ns)]

    def due(self, now_ns: int) -> list[Alert]:
        """What is told because time has passed: that it has come again and how often. To be asked every second."""
        found = []
        for likeness, known in list(self._open.items()):
            if now_ns - known.since_ns < self._quiet_ns:
                continue
            if known.untold:
                found += self._tell(known, now_ns)
            else:
                del self._open[likeness]  # it is over: the next of its like is a new one
        return [*found, *self._flood(now_ns)]

    def _tell(self, known: _Open, now_ns: int) -> list[Alert]:
        """Where there is room; what is held back waits, and is told later with its count."""
        told = self._told[known.last.severity]
        if not told.fits(now_ns):
            return []
        told.add(now_ns)
        message = msgspec.structs.replace(known.last, count=known.untold)
        known.told, known.untold, known.since_ns = RANKS[known.last.severity], 0, now_ns
        return [message]

    def _flood(self, now_ns: int) -> list[Alert]:
        """That some are held back, once in the window that they would not fit into."""
        is_recent = self._flood_ns is not None and now_ns - self._flood_ns < TOLD_WINDOW_NS
        if not self._held_back or is_recent:
            return []
        self._flood_ns, count, self._held_back = now_ns, self._held_back, 0
        text = f"more than {TOLD_MAX} alerts in {TOLD_WINDOW_NS // 1_000_000_000} s: those held back come later"
        return [msgspec.structs.replace(alert(FLOOD, "node", "critical", text, now_ns), count=count)]
