"""A View as lines of text: pure, and quick enough to be drawn beside a trading thread."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nautilus_ext.app.view import Part, View

HALTS_SHOWN = 3
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
_POSITION_HEAD = ("position", "strategy", "side", "quantity", "average", "unrealized", "realized")
_WIDTHS_MIN = (18, 18, 5, 9, 10, 16, 16)  # a table that grows with each digit would not be calm
_SIDES = "<<<>>>>"

_NO_CONTROL = dict.fromkeys([*range(32), *range(127, 160)], " ")  # a name must not steer the terminal

Piece = tuple[str, str]  # a text and the name of its style


def picture(view: View, columns: int, rows: int, *, color: bool) -> list[str]:
    """The view as it fits: lines are cut at the width, and what does not fit the height is left out from the end."""
    lines = [_render(line, columns, color=color) for line in _lines(view, columns)]
    return lines[: max(rows, 1)]


def status_line(view: View) -> str:
    counts = ", ".join(f"{view.counts.get(name, 0):,} {name}" for name in COUNTS if view.counts.get(name))
    ill = "; ".join(f"{part.name} {part.state}" for part in view.parts if not part.well)
    stopped = f"  stopped: {'; '.join(_halts(view))}" if view.halts else ""
    return (
        f"  · {view.running_s:,.0f} s  orders: {counts or 'none yet'}  positions: {view.positions_open}  "
        f"PnL: {money(view)}  parts: {ill or 'all well'}{stopped}"
    )


def money(view: View) -> str:
    return ", ".join(f"{amount} {currency}" for currency, amount in view.pnl.items()) or "0"


def _lines(view: View, columns: int) -> list[list[Piece]]:
    """In the order of their worth: a small terminal loses the last ones. The blocks keep their place."""
    title = [(f" {view.book} ", "title"), (f"  {view.world}, run {view.run}, {_clock(view.running_s)}", "")]
    return [
        [],
        [*title, ("   PnL ", "dim"), (money(view), "bold"), ("   Ctrl-C stops", "dim")],
        *([(f" ■ {line}", "bad")] for line in _halts(view)),
        [],
        *_parts(view, columns),
        [],
        [("".join(f"{name:>11}" for name in (*COUNTS, "working")), "dim")],
        [("".join(f"{view.counts.get(name, 0):>11,}" for name in COUNTS) + f"{view.working:>11,}", "")],
        [],
        *_positions(view),
        [],
        *([(f" {line}", "dim")] for line in view.recent[-RECENT_SHOWN:]),
        *([(f" ! {line}", "alert")] for line in view.alerts[-ALERTS_SHOWN:]),
    ]


def _halts(view: View) -> list[str]:
    more = len(view.halts) - HALTS_SHOWN
    return [*view.halts[:HALTS_SHOWN], *([f"and {more:,} more: limits CONFIG show"] if more > 0 else [])]


def _parts(view: View, columns: int) -> list[list[Piece]]:
    """As many to a line as it holds: none is lost at the edge, for it may be the one that is ill."""
    lines: list[list[Piece]] = [[]]
    for pieces in map(_part, view.parts):
        if lines[-1] and sum(len(text) for text, _ in (*lines[-1], *pieces)) > columns + 1:  # a blank ends it
            lines.append([])
        lines[-1] += pieces
    return lines


def _part(part: Part) -> list[Piece]:
    if part.well:
        return [(" ● ", "good"), (part.name, ""), (f" {part.state} ", "dim")]
    return [(" ● ", "bad"), (part.name, ""), (f" {part.state} ", "bad")]


def _positions(view: View) -> list[list[Piece]]:
    cells = [
        (row.instrument, row.strategy, row.side, row.quantity, row.average, row.unrealized, row.realized)
        for row in view.positions[:POSITIONS_SHOWN]
    ]
    widths = [max(map(len, column)) for column in zip(_POSITION_HEAD, *cells, strict=True)]
    form = " ".join(f"{{:{side}{max(pair)}}}" for side, *pair in zip(_SIDES, widths, _WIDTHS_MIN, strict=True))
    rows: list[list[Piece]] = [[(f" {form.format(*_POSITION_HEAD)}", "dim")]]
    rows += [[(f" {form.format(*each)}", "")] for each in cells]
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
