"""Where a verb writes its answer: a terminal with a width and colours, or a file or pipe without."""

from __future__ import annotations

import json
import os
import select
import shutil
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from nautilus_ext.app.text_tables import Column, Layout, head, layout, line, styled, wrapped
from nautilus_ext.errors import MachineError, ReaderGone

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Sequence
    from typing import TextIO

    from nautilus_ext.app.text_tables import Row

WIDTH_MIN = 20
SAMPLE_ROWS_MAX = 1000  # by which the columns of a table that grows are laid out


def say(*lines: str, to: TextIO | None = None) -> None:
    """Write an answer to standard output, all at once, now. MachineError: it did not arrive."""
    stream = to or sys.stdout
    try:
        _write(stream, lines)
    except BrokenPipeError:
        raise ReaderGone("standard output: whoever read it left before the end of the answer") from None
    except OSError as error:
        raise MachineError(f"standard output: {error.strerror}: free space there, or write it elsewhere") from None


def warn(*lines: str) -> None:
    """Write to standard error; where that is full or gone, the exit code says what there is to say."""
    with suppress(OSError):
        _write(sys.stderr, lines)


def _write(stream: TextIO, lines: Sequence[str]) -> None:
    try:
        stream.write("".join(f"{each}\n" for each in lines))
        stream.flush()
    except OSError:
        _let_go(stream)
        raise


def _let_go(stream: TextIO) -> None:
    """What is left in the buffer goes nowhere: the interpreter would complain of it at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


class Paper:
    """Standard output as it is now; secrets do not get through."""

    def __init__(self, mask: Callable[[str], str]) -> None:
        self._stream = sys.stdout
        self._mask = mask
        self.tty = self._stream.isatty()
        self.width = max(shutil.get_terminal_size().columns, WIDTH_MIN) if self.tty else None
        self.color = self.tty and not os.environ.get("NO_COLOR") and os.environ.get("TERM", "dumb") != "dumb"

    def say(self, *lines: str) -> None:
        """Write it all at once, now. ReaderGone: nobody reads any more."""
        say(*map(self._mask, lines), to=self._stream)

    def warn(self, text: str) -> None:
        warn(self._mask(text))

    def note(self, text: str) -> None:
        """A remark below a table, within the width."""
        self.say(*map(self.dim, wrapped(text, self.width) if self.width else [text]))

    def dim(self, text: str) -> str:
        return styled(text, "dim", color=self.color)

    @property
    def is_gone(self) -> bool:
        """Whether the reader of a pipe has left, which a writer with nothing to say would never hear."""
        poll = select.poll()
        poll.register(self._stream, 0)
        return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


class Listing:
    """A table that may grow: its columns are laid out anew, below a new head, when a row asks for more room."""

    def __init__(self, paper: Paper, columns: Sequence[Column]) -> None:
        self._paper = paper
        self._columns = columns
        self._sample: list[Row] = []
        self._layout: Layout | None = None

    def show(self, rows: Sequence[Row], options: Namespace, as_json: Callable[[Row], Row]) -> None:
        """As the verb was asked to: lines of the table, an object per line while it follows, or one array."""
        if not options.json:
            self.add(rows)
        elif options.follow:
            self._paper.say(*(json.dumps(as_json(row)) for row in rows))
        else:
            self._paper.say(json.dumps([as_json(row) for row in rows], indent=2))

    def add(self, rows: Sequence[Row]) -> None:
        if not rows:
            return
        sample = [*self._sample, *rows][-max(SAMPLE_ROWS_MAX, len(rows)) :]
        wanted = layout(self._columns, sample, self._paper.width)
        lines = []
        if wanted != self._layout:
            self._layout, self._sample = wanted, sample
            lines.append(head(wanted, color=self._paper.color))
        self._paper.say(*lines, *(line(wanted, row, color=self._paper.color) for row in rows))
