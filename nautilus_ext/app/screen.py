"""What the operator sees: start-up steps with their times, then a calm live view or plain lines, then a summary."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nautilus_ext.app.view import Part, View

REFRESH_S = 0.5
PLAIN_STATUS_S = 10.0
POSITIONS_SHOWN = 12
RECENT_SHOWN = 8
ALERTS_SHOWN = 4
PLAIN_WIDTH = 120
CLOSE_TIMEOUT_S = 1.0

_COUNTS = ("submitted", "accepted", "filled", "canceled", "rejected", "denied")


@dataclass
class Step:
    """One start-up step; whoever does it may leave a remark that stands behind its time."""

    detail: str = ""


class Screen:
    """Draws on one stream. Opened and closed by the command that runs; its drawing thread is its own."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.tty = stream.isatty()
        width = None if self.tty else PLAIN_WIDTH
        self.console = Console(file=stream, highlight=False, width=width, no_color=not self.tty, soft_wrap=not self.tty)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @contextmanager
    def step(self, name: str) -> Iterator[Step]:
        step, began = Step(), time.monotonic()
        try:
            yield step
        except BaseException:
            self.console.print(f"  [red]✗[/] {name:<24} {time.monotonic() - began:6.2f} s")
            raise
        self.done(name, time.monotonic() - began, step.detail)

    def done(self, name: str, took_s: float, detail: str = "") -> None:
        mark = f"  [green]✓[/] {name:<24} {took_s:6.2f} s"
        self.console.print(f"{mark}  [dim]{escape(detail)}[/]" if detail else mark)

    def move_to(self, stream: TextIO) -> None:
        """Draw on another stream from now on: the log has taken the first one over."""
        self.stream = stream
        self.console.file = stream

    def say(self, text: str) -> None:
        self.console.print(Text(text))

    def watch(self, look: Callable[[], View | None]) -> None:
        """Draw what `look` returns until `close`: in place on a terminal, as an occasional line elsewhere."""
        target = self._draw if self.tty else self._report
        self._thread = threading.Thread(target=target, args=(look,), name="screen", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(CLOSE_TIMEOUT_S)
            self._thread = None

    def _draw(self, look: Callable[[], View | None]) -> None:
        live = Live(
            console=self.console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
        )
        with live:
            while not self._stop.wait(REFRESH_S):
                view = look()
                if view is not None:
                    live.update(draw(view), refresh=True)

    def _report(self, look: Callable[[], View | None]) -> None:
        while not self._stop.wait(PLAIN_STATUS_S):
            view = look()
            if view is not None:
                self.say(status_line(view))


def status_line(view: View) -> str:
    counts = ", ".join(f"{view.counts.get(name, 0):,} {name}" for name in _COUNTS if view.counts.get(name))
    ill = [f"{part.name} {part.state}" for part in view.parts if not part.well]
    pnl = ", ".join(f"{amount} {currency}" for currency, amount in view.pnl.items()) or "0"
    return (
        f"  · {view.running_s:,.0f} s  orders: {counts or 'none yet'}  positions: {view.positions_open}  "
        f"pnl: {pnl}  parts: {'; '.join(ill) or 'all well'}"
    )


def draw(view: View) -> Group:
    """The live view: it keeps its shape, so that the eye finds a number where it was."""
    title = Text.assemble(
        (f" {view.book} ", "bold reverse"),
        f"  {view.world}, run {view.run}, ",
        (_clock(view.running_s), "bold"),
        ("   Ctrl-C stops", "dim"),
    )
    parts = Text("  ").join(_part(part) for part in view.parts)
    recent = [_line(line, "dim") for line in view.recent[-RECENT_SHOWN:]]
    alerts = [_line(f"! {line}", "yellow") for line in view.alerts[-ALERTS_SHOWN:]]
    blocks = [Text(), title, Text(), parts, Text(), _orders(view), Text(), _positions(view), Text(), *recent, *alerts]
    return Group(*(Padding(block, (0, 1)) for block in blocks))


def _part(part: Part) -> Text:
    mark, shade = ("green", "dim") if part.well else ("bold red", "red")
    return Text.assemble(("● ", mark), part.name, (f" {part.state}", shade))


def _line(text: str, style: str) -> Text:
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")


def _orders(view: View) -> Table:
    table = Table.grid(padding=(0, 3))
    for _ in range(len(_COUNTS) + 2):
        table.add_column(justify="right")
    pnl = "  ".join(f"{amount} {currency}" for currency, amount in view.pnl.items()) or "0"
    table.add_row(*(Text(name, style="dim") for name in (*_COUNTS, "working", "PnL")))
    table.add_row(*(f"{view.counts.get(name, 0):,}" for name in _COUNTS), f"{view.working:,}", Text(pnl, style="bold"))
    return table


def _positions(view: View) -> Table:
    more = view.positions_open - min(len(view.positions), POSITIONS_SHOWN)
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", caption=f"and {more} more" if more > 0 else None)
    table.add_column("position")
    table.add_column("strategy")
    table.add_column("side")
    for name in ("quantity", "average", "unrealized", "realized"):
        table.add_column(name, justify="right")
    for row in view.positions[:POSITIONS_SHOWN]:
        table.add_row(row.instrument, row.strategy, row.side, row.quantity, row.average, row.unrealized, row.realized)
    if not view.positions:
        table.add_row("none", "", "", "", "", "", "", style="dim")
    return table


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
