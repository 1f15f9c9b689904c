"""What an operator asks of a running node: halt, resume, limits, flatten. Each waits for the answer and prints it.

The database is the way to the node. What only stops goes by a file as well, when the database is away: on the node's
own machine, by whoever may write into its data folder.
"""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

from asyncpg import exceptions as pg

from nautilus_ext.app import asked as asking
from nautilus_ext.app.commanded import operator
from nautilus_ext.app.database import open_tables
from nautilus_ext.app.desk_session import chosen_book
from nautilus_ext.app.paper import Paper
from nautilus_ext.app.text_tables import plain
from nautilus_ext.app.traded import accounts_of, traders_of
from nautilus_ext.config import book_name_problem
from nautilus_ext.errors import ConfigError, DatabaseError, MachineError, Problem
from nautilus_ext.persistence import reading
from nautilus_ext.risk.commands import COMMANDS, read
from nautilus_ext.risk.inbox import KINDS as BY_FILE
from nautilus_ext.risk.inbox import Inbox
from nautilus_ext.schema import commands
from nautilus_ext.schema.connect import CONNECTION_ERRORS, connect, database_error
from nautilus_ext.schema.upgrade import require_current

if TYPE_CHECKING:
    import argparse
    from collections.abc import AsyncIterator

    import asyncpg

    from nautilus_ext.app.command import Command
    from nautilus_ext.app.database import Tables
    from nautilus_ext.config import Config
    from nautilus_ext.risk.commands import Command as Asked

EXIT_APPLIED, EXIT_REFUSED, EXIT_NO_ANSWER = 0, 1, 5
WAIT_S, WAIT_S_MAX = 10.0, 600.0
POLL_S = 0.05
_OPTIONS = {"issued_by": "--by"}
_POSITIONAL = {"set-limit": ("scope", "key", "value"), "override": ("code",)}
_WAITS = "no node has applied it yet; it waits, and is applied before anything else when a node of the book starts"
_GIVEN_UP = "no node has applied it yet; none will when {expires_s:g} s are over"
_BEGUN = "the node has begun it and has not said yet what came of it: `limits CONFIG history` will have it"
_BY_FILE = "it lies in {folder} and waits for a node of the book on this machine; none has looked at it yet"
_GONE = "a node has taken the file, and the database has the answer: `limits CONFIG history` will have it"


class NoRight(DatabaseError):
    """The role may not give commands: that is no outage, so no file goes around it."""


class Told(NamedTuple):
    """What came of it so far."""

    book_id: str
    status: str  # applied, refused, expired; pending or taken: there is no answer yet
    text: str
    run: int | None = None

    @property
    def exit_code(self) -> int:
        return {"applied": EXIT_APPLIED, "refused": EXIT_REFUSED}.get(self.status, EXIT_NO_ANSWER)


# -- the verbs --------------------------------------------------------------------------------------


def halt(command: Command, options: argparse.Namespace) -> int:
    return give(command, options, "halt", {**_scoped(options), "flatten": options.flatten})


def reduce_only(command: Command, options: argparse.Namespace) -> int:
    return give(command, options, "reduce-only", _scoped(options))


def resume(command: Command, options: argparse.Namespace) -> int:
    return give(command, options, "resume", {**_scoped(options), "mode": options.mode})


def cancel_all(command: Command, options: argparse.Namespace) -> int:
    return give(command, options, "cancel-all", _scoped(options))


def flatten(command: Command, options: argparse.Namespace) -> int:
    return give(command, options, "flatten", _scoped(options))


def override(command: Command, options: argparse.Namespace) -> int:
    try:
        until = asking.until_iso(options.until, now_ns=time.time_ns())
    except ValueError as error:
        raise ConfigError(asking.SOURCE, [Problem("--until", f"{options.until!a} {error}")]) from None
    return give(command, options, "override", {**_scoped(options), "code": options.code, "until": until})


def _scoped(options: argparse.Namespace) -> dict[str, Any]:
    return {"scope": options.scope, "why": options.why}


def give(command: Command, options: argparse.Namespace, kind: str, arguments: dict[str, Any]) -> int:
    """Ask for it, wait, print what came of it."""
    asked, wait_s = _checked(options, kind, arguments), _wait_s(options.wait)
    config = command.load(options.config)
    paper = Paper(command.mask)
    if note := _strange(config, options.scope):
        paper.warn(note)
    told = _given(config, options, asked, wait_s, paper)
    if options.json:
        paper.say(json.dumps(_as_dict(asked, told)))
    else:
        by = f" by run {told.run}" if told.run is not None else ""
        paper.say(plain(f"{told.status}{by}: {told.text}"))
    return told.exit_code


def _as_dict(asked: Asked, told: Told) -> dict[str, Any]:
    return {
        "book_id": told.book_id,
        "command_id": asked.command_id,
        "kind": asked.kind,
        "arguments": asked.arguments,
        "issued_by": asked.issued_by,
        "status": told.status,
        "result": told.text,
        "run": told.run,
    }


# -- what is asked ----------------------------------------------------------------------------------


def _checked(options: argparse.Namespace, kind: str, arguments: dict[str, Any]) -> Asked:
    """All that is wrong with it at once, under the names of the options."""
    problems: list[Problem] = []
    if options.book is not None and (problem := book_name_problem(options.book)):
        problems.append(problem)
    try:
        asked = read(f"cli-{uuid4()}", kind, arguments, operator() if options.by is None else options.by)
    except ConfigError as error:
        problems += [Problem(_option(kind, problem.path), problem.message) for problem in error.problems]
        raise ConfigError(asking.SOURCE, problems) from None
    if problems:
        raise ConfigError(asking.SOURCE, problems)
    return asked


def _option(kind: str, path: str) -> str:
    """`arguments.value.max` stands in VALUE."""
    field = ".".join(path.split(".")[:2])
    name = field.removeprefix("arguments.")
    shown = name.upper() if name in _POSITIONAL.get(kind, ()) else f"--{name}"
    return _OPTIONS.get(field, shown) + path.removeprefix(field)


def _wait_s(text: str | None) -> float:
    if text is None:
        return WAIT_S
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= WAIT_S_MAX:
        cure = f"{text!a} is no number of seconds from 0 to {WAIT_S_MAX:g}"
        raise ConfigError(asking.SOURCE, [Problem("--wait", cure)])
    return value


def _strange(config: Config, scope: str) -> str:
    """A name that the file does not have is more likely misspelt than meant."""
    kind, _, member = scope.partition("=")
    venues = sorted({each.venue for each in accounts_of(config)})
    known = {
        "venue": venues,
        "strategy": [each.strategy_id for each in traders_of(config)],
        "instrument": venues,
    }.get(kind)
    name = member.rpartition(".")[2] if kind == "instrument" and ":" not in member else member
    if known is None or "*" in member or ":" in name or name in known:
        return ""
    what = "venue" if kind == "instrument" else kind
    return f"note: this file has no {what} {plain(name)}: it has {', '.join(known) or 'none'}. It holds for that name"


# -- by the table -----------------------------------------------------------------------------------


def _given(config: Config, options: argparse.Namespace, asked: Asked, wait_s: float, paper: Paper) -> Told:
    try:
        with open_tables(config) as tables:
            return asyncio.run(_by_table(config, tables, options.book, asked, wait_s))
    except NoRight:
        raise
    except (DatabaseError, MachineError) as error:
        if asked.kind not in BY_FILE:
            raise
        paper.warn(f"{error}\n  so it goes to the node by a file")
    return _by_file(config, options.book or config.book_id, asked, wait_s)


async def _by_table(config: Config, tables: Tables, name: str | None, asked: Asked, wait_s: float) -> Told:
    async with _connected(config, tables) as connection:
        book_id = await _chosen(connection, config, name)
        row = (asked.command_id, asked.kind, asked.arguments, asked.issued_by)
        await commands.insert(connection, book_id, row, COMMANDS[asked.kind].expires_s)
        return await _awaited(connection, book_id, asked, wait_s)


@asynccontextmanager
async def _connected(config: Config, tables: Tables) -> AsyncIterator[asyncpg.Connection]:
    settings = config.suite.database
    url = tables.app_url
    connection = await connect(
        url,
        timeout_s=settings.connect_timeout_s,
        answer_timeout_s=settings.connect_timeout_s,
        application_name="exec-suite operator",
    )
    try:
        await require_current(connection)
        yield connection
    except pg.InsufficientPrivilegeError as error:
        cure = "this role may not give commands: docs/guides/commands.md says which right it needs"
        raise NoRight(f"{database_error(error, url)}; {cure}") from None
    except CONNECTION_ERRORS as error:
        if isinstance(error, DatabaseError):
            raise
        raise database_error(error, url) from None
    finally:
        connection.terminate()


async def _chosen(connection: asyncpg.Connection, config: Config, name: str | None) -> str:
    book_id = await chosen_book(connection, config, name)
    if await connection.fetchval(reading.BOOK, book_id) == "backtest":
        raise ConfigError(asking.SOURCE, [Problem("--book", f"{book_id} is a backtest: nobody applies commands there")])
    return book_id


async def _awaited(connection: asyncpg.Connection, book_id: str, asked: Asked, wait_s: float) -> Told:
    """The answer, or how far it is when the time is over; what would come too late is taken back."""
    end_s = time.monotonic() + wait_s
    while time.monotonic() < end_s:
        if (told := await _answer(connection, book_id, asked)).status not in ("pending", "taken"):
            return told
        await asyncio.sleep(POLL_S)
    if COMMANDS[asked.kind].expires_s is not None:
        with suppress(pg.InsufficientPrivilegeError):  # who may only ask takes nothing back: the node gives it up
            await commands.expire(connection, book_id, asked.command_id)
    return await _answer(connection, book_id, asked)


async def _answer(connection: asyncpg.Connection, book_id: str, asked: Asked) -> Told:
    found = await commands.answer_to(connection, book_id, asked.command_id)
    if found is None:
        raise DatabaseError(f"command {asked.command_id} is gone from the table of {book_id}: was a backup restored?")
    expires_s = COMMANDS[asked.kind].expires_s
    waits = _WAITS if expires_s is None else _GIVEN_UP.format(expires_s=expires_s)
    text = {"pending": waits, "taken": _BEGUN}.get(found.status, found.result)
    return Told(book_id, found.status, text, found.run)


# -- by a file --------------------------------------------------------------------------------------


def _by_file(config: Config, book_id: str, asked: Asked, wait_s: float) -> Told:
    folder = config.inbox_folder(book_id)
    inbox = Inbox(folder)
    inbox.put(asked)
    end_s = time.monotonic() + wait_s
    while time.monotonic() < end_s:
        waits = inbox.waits(asked.command_id)
        if (outcome := inbox.answer_to(asked.command_id)) is not None:
            return Told(book_id, "applied" if outcome.applied else "refused", outcome.text)
        if not waits:
            return Told(book_id, "taken", _GONE)
        time.sleep(POLL_S)
    return Told(book_id, "pending", _BY_FILE.format(folder=folder))
