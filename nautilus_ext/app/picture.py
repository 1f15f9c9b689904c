"""A View as lines of text: pure, and quick enough to be drawn beside a trading thread."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nautilus_ext.app.view import Part, View

POSITIONS_SHOWN = 12
RECENT_SHOWN = 8
ALERTS_SHOWN = 4
COUNTS = ("submitted", "accepted", "filled", "canceled", "rejected", "denied")

_STYLES = {
    "bold": "\x1b[1m",
    "dim": "\x1b[2m",
    "title": "\x1b[1;7m",
    "good": "\x1b[32m",
    "bad": "\x1b[1;31m",
    "alert": "\x1b[33m",
}
_END = "\x1b[0m"
_POSITION = "{:<24} {:<22} {:<6} {:>14} {:>14} {:>20} {:>20}"

_NO_CONTROL = dict.fromkeys([*range(32), *range(127, 160)], " ")  # a name must not steer the terminal

Piece = tuple[str, str]  # a text and the name of its style


def picture(view: View, columns: int, rows: int, *, color: bool) -> list[str]:
    """The view as it fits: lines are cut at the width, and what does not fit the height is left out from the end."""
    lines = [_render(line, columns, color=color) for line in _lines(view)]
    return lines[: max(rows, 1)]


def status_line(view: View) -> str:
    counts = ", ".join(f"{view.counts.get(name, 0):,} {name}" for name in COUNTS if view.counts.get(name))
    ill = "; ".join(f"{part.name} {part.state}" for part in view.parts if not part.well)
    return (
        f"  · {view.running_s:,.0f} s  orders: {counts or 'none yet'}  positions: {view.positions_open}  "
        f"PnL: {money(view)}  parts: {ill or 'all well'}"
    )


def money(view: View) -> str:
    return ", ".join(f"{amount} {currency}" for currency, amount in view.pnl.items()) or "0"


def _lines(view: View) -> list[list[Piece]]:
    """In the order of their worth: a small terminal loses the last ones. The blocks keep their place."""
    title = [(f" {view.book} ", "title"), (f"  {view.world}, run {view.run}, {_clock(view.running_s)}", "")]
    return [
        [],
        [*title, ("   PnL ", "dim"), (money(view), "bold"), ("   Ctrl-C stops", "dim")],
        [],
        [piece for part in view.parts for piece in _part(part)],
        [],
        [("".join(f"{name:>11}" for name in (*COUNTS, "working")), "dim")],
        [("".join(f"{view.counts.get(name, 0):>11,}" for name in COUNTS) + f"{view.working:>11,}", "")],
        [],
        *_positions(view),
        [],
        *([(f" {line}", "dim")] for line in view.recent[-RECENT_SHOWN:]),
        *([(f" ! {line}", "alert")] for line in view.alerts[-ALERTS_SHOWN:]),
    ]


def _part(part: Part) -> list[Piece]:
    if part.well:
        return [(" ● ", "good"), (part.name, ""), (f" {part.state} ", "dim")]
    return [(" ● ", "bad"), (part.name, ""), (f" {part.state} ", "bad")]


def _positions(view: View) -> list[list[Piece]]:
    head = _POSITION.format("position", "strategy", "side", "quantity", "average", "unrealized", "realized")
    rows: list[list[Piece]] = [[(f" {head}", "dim")]]
    for row in view.positions[:POSITIONS_SHOWN]:
        cells = (row.instrument, row.strategy, row.side, row.quantity, row.average, row.unrealized, row.realized)
        rows.append([(" " + _POSITION.format(*cells), "")])
    more = view.positions_open - min(len(view.positions), POSITIONS_SHOWN)
    if more > 0:
        rows.append([(f" and {more:,} more", "dim")])
    elif not view.positions:
        rows.append([(" none", "dim")])
    return rows


def _render(pieces: list[Piece], columns: int, *, color: bool) -> str:
    room, out = columns, []
    for text, style in pieces:
        shown = text.translate(_NO_CONTROL)[:room]
        room -= len(shown)
        out.append(f"{_STYLES[style]}{shown}{_END}" if color and style else shown)
    return "".join(out)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
