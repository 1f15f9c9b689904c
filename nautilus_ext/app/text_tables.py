"""Rows as lines of text: aligned columns that fit a terminal, or uncut for a file. Pure.

A terminal that is too narrow first loses the columns of the least worth; texts are cut only where a column allows it.
"""

from __future__ import annotations

import textwrap
import unicodedata
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from decimal import Decimal

    Row = dict[str, Any]

GAP = "  "
EMPTY = "-"
CUT = "…"
CELL_MAX = 48  # of a terminal's columns: one monstrous name must not push out all others
ESSENTIAL = 6  # columns up to this worth are cut rather than left out
DIGITS_SHOWN = 4  # of an amount of money below 1
DECIMALS_MAX = 8
NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000

STYLES = {
    "": "",
    "bold": "\x1b[1m",
    "dim": "\x1b[2m",
    "good": "\x1b[32m",
    "bad": "\x1b[31m",
    "alert": "\x1b[33m",
    "live": "\x1b[36m",
}
_END = "\x1b[0m"


class Column(NamedTuple):
    """One column; `worth` 1 stays longest, `least` is the width down to which its texts may be cut."""

    title: str
    cell: Callable[[Row], str]
    worth: int
    right: bool = False
    least: int = CELL_MAX
    optional: bool = False  # left out when no row has anything in it
    style: Callable[[Row], str] = lambda _: ""


class Layout(NamedTuple):
    """The columns that are shown, and their widths."""

    columns: tuple[Column, ...]
    widths: tuple[int, ...]


def layout(columns: Sequence[Column], rows: Sequence[Row], width: int | None) -> Layout:
    """Choose columns and widths for these rows; without a width everything is shown whole.

    What is essential may be cut to make room for more of its kind, never for what is not.
    """
    used = [column for column in columns if not column.optional or any(plain(column.cell(row)) for row in rows)]
    natural = {column.title: _natural(column, rows) for column in used}
    if width is None:
        return Layout(tuple(used), tuple(natural.values()))
    wanted = {title: min(length, max(CELL_MAX, len(title))) for title, length in natural.items()}
    widths: dict[str, int] = {}
    room = width + len(GAP)
    by_worth = sorted(used, key=lambda column: column.worth)
    for column in by_worth:
        if column.worth > ESSENTIAL:
            room = _widened(widths, wanted, room)
        least = min(wanted[column.title], max(column.least, len(column.title)))
        whole = min(wanted[column.title], room - len(GAP))
        if whole >= least or not widths:
            widths[column.title] = min(least if column.worth <= ESSENTIAL else whole, width)
            room -= widths[column.title] + len(GAP)
    _widened(widths, wanted, room)
    shown = tuple(column for column in used if column.title in widths)
    return Layout(shown, tuple(widths[column.title] for column in shown))


def _widened(widths: dict[str, int], wanted: dict[str, int], room: int) -> int:
    """Give the room that is left to what was cut, the most worthy first; return what is still left."""
    for title, width in widths.items():
        more = min(wanted[title] - width, room)
        widths[title] = width + more
        room -= more
    return room


def head(shown: Layout, *, color: bool = False) -> str:
    titles = [_placed(column.title, column, width) for column, width in zip(*shown, strict=True)]
    return styled(GAP.join(titles).rstrip(), "dim", color=color)


def line(shown: Layout, row: Row, *, color: bool = False) -> str:
    cells = []
    for column, width in zip(*shown, strict=True):
        text = plain(column.cell(row)) or EMPTY
        cells.append(styled(_placed(text, column, width), column.style(row), color=color))
    return GAP.join(cells).rstrip()


def styled(text: str, style: str, *, color: bool) -> str:
    return f"{STYLES[style]}{text}{_END}" if color and STYLES[style] and text else text


def plain(text: str) -> str:
    """The text without anything that could steer a terminal: control characters, marks that turn the direction."""
    return text if text.isprintable() else "".join(char if char.isprintable() else "\ufffd" for char in text)


def cut(text: str, width: int) -> str:
    """The text within a width; what is taken out is taken from the middle: ids differ at both ends."""
    if _cells(text) <= width:
        return text
    if width <= 1:
        return CUT[:width]
    behind = _tail(text, (width - 1) // 2)
    front = _tail(text[::-1], width - 1 - _cells(behind))[::-1]
    return f"{front}{CUT}{behind}"


def wrapped(text: str, width: int) -> list[str]:
    """Lines that a terminal of this width need not wrap itself."""
    wide = _cells(text) > len(text)
    return textwrap.wrap(text, width // 2 if wide else width) or [""]


def number(value: Decimal | None) -> str:
    """Exact, with thousands separators."""
    return "" if value is None else f"{value:,f}" if value else _zero(value)


def rounded(value: Decimal | None, decimals: int) -> str:
    """With so many decimals at most."""
    if value is None or decimals_of(value) <= decimals:
        return number(value)
    return number(round(value, decimals))


def amount(value: Decimal | None) -> str:
    """Money at a glance: cents, or four digits of what is small; the exact figure is in --json."""
    if value is None:
        return ""
    decimals = DIGITS_SHOWN - 1 - value.adjusted() if value and abs(value) < 1 else 2
    return f"{round(value, min(decimals, DECIMALS_MAX)):,f}"


def moment(ns: int | None, today: str) -> str:
    """UTC to the millisecond; with the date, unless it is `today`."""
    if ns is None:
        return ""
    iso = iso_ns(ns)
    return iso[11:23] if iso[:10] == today else f"{iso[:10]} {iso[11:23]}"


def iso_ns(ns: int) -> str:
    """ISO 8601 with all nine decimals."""
    seconds, rest = divmod(ns, NS_PER_S)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09}Z"


def decimals_of(value: Decimal) -> int:
    exponent = value.as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def _natural(column: Column, rows: Sequence[Row]) -> int:
    return max([len(column.title), *(_cells(plain(column.cell(row)) or EMPTY) for row in rows)])


def _placed(text: str, column: Column, width: int) -> str:
    shown = cut(text, width)
    fill = " " * (width - _cells(shown))
    return fill + shown if column.right else shown + fill


def _cells(text: str) -> int:
    """How many of a terminal's columns a text takes: East Asian signs take two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(map(_cells_of, text))


def _cells_of(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def _tail(text: str, width: int) -> str:
    start, room = len(text), width
    while start > 0 and (room := room - _cells_of(text[start - 1])) >= 0:
        start -= 1
    return text[start:]


def _zero(value: Decimal) -> str:
    return f"{abs(value):f}" if decimals_of(value) <= DECIMALS_MAX else "0"
