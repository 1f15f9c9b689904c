"""One tree, named by what the operator does next.

SuiteError                  exit 1   report it: a defect of ours, or something nobody foresaw
├── ProjectionDefect        exit 1   install a version without it: the events wait where they are
├── ConfigError             exit 2   change the file, the command line or the environment variables
├── MachineError            exit 3   cure this machine: Python, packages, permissions, ports, a full disk
│   └── ReaderGone          exit 3   read the answer to its end
├── DatabaseError           exit 4   cure the database or its address
│   └── SchemaBehind        exit 4   run the migration
├── BookError               exit 5   look at the other node
│   ├── BookTaken           exit 5   stop the other node, or choose another book
│   ├── BookIncomplete      exit 5   start the other node, bring its log here, or accept the loss
│   └── BookLost            exit 5   nothing: the other node trades the book now
└── VenueError              exit 6   look at the venue: its state, its keys, the way to it

Exit 0: ended as asked. Exit 130: stopped before it ran.

A message names the place, the value and the cure. It never holds a secret.
"""

from __future__ import annotations

from dataclasses import dataclass


class SuiteError(Exception):
    """Something that nobody foresaw: report it with the log file."""

    exit_code = 1


class ProjectionDefect(SuiteError):
    """Our own code failed at an event that nothing is wrong with: nothing is refused, all waits for a cured version."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong in a config: where, what, and how to cure it."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class ConfigError(SuiteError):
    """Change the file, the command line or the environment: every problem is listed."""

    exit_code = 2

    def __init__(self, source: str, problems: list[Problem]) -> None:
        self.source = source
        self.problems = problems
        count = f"{len(problems)} problem{'s' if len(problems) != 1 else ''}"
        super().__init__("\n".join([f"{source}: {count}", *(f"  {problem}" for problem in problems)]))


class MachineError(SuiteError):
    """Cure this machine: the wrong Python or package, a missing permission, a port that is taken."""

    exit_code = 3


class ReaderGone(MachineError):
    """Whoever read the answer left before its end: read all of it, or send it to /dev/null for the exit code alone."""


class DatabaseError(SuiteError):
    """Cure the database or its address; the message shows the host, never the password."""

    exit_code = 4


class SchemaBehind(DatabaseError):
    """The tables are older than this version: run `python -m nautilus_ext migrate CONFIG`."""


class BookError(SuiteError):
    """Another node has to do with this book."""

    exit_code = 5


class BookTaken(BookError):
    """Another node trades this book: stop it first, or run under another book."""


class BookIncomplete(BookError):
    """The log of a former run may hold what the tables lack: bring it here, or start with --accept-loss."""


class BookLost(BookError):
    """The book is another node's by now, and this node has stopped."""


class VenueError(SuiteError):
    """A venue did not connect or reconcile in time: look at its state, its keys and the way to it."""

    exit_code = 6
