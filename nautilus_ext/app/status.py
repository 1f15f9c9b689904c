"""The health of a book: does its node live, how far are its tables. One look, or each change until Ctrl-C."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from nautilus_ext.app import asked
from nautilus_ext.app.book import HEARTBEAT_AGE_S_MAX
from nautilus_ext.app.commanded import standing_halts
from nautilus_ext.app.database import open_tables
from nautilus_ext.app.desk_session import Session
from nautilus_ext.app.desk_views import Standing, as_json, counted, today
from nautilus_ext.app.follow import follow, until_left
from nautilus_ext.app.local_log import local_log
from nautilus_ext.app.paper import Paper
from nautilus_ext.app.text_tables import moment, plain
from nautilus_ext.errors import DatabaseError
from nautilus_ext.persistence import reading
from nautilus_ext.schema.books import last_holder

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from nautilus_ext.app.command import Command
    from nautilus_ext.app.database import Tables
    from nautilus_ext.config import Config
    from nautilus_ext.risk.halts import Halt
    from nautilus_ext.schema.books import Holder

EXIT_OK = 0
EXIT_NO_HEARTBEAT = 1
_COUNTS = {"working_orders": "working order", "open_positions": "open position", "rejected_events": "rejected event"}


def status(command: Command, options: argparse.Namespace) -> int:
    """A health check: 0 when the node of the book wrote its heartbeat a moment ago, 1 when it did not; followed: 0."""
    asked.check(options, "status")
    config = command.load(options.config, backtest=options.backtest)
    paper = Paper(command.mask)
    is_well = options.follow  # whoever follows has seen it
    # Without --follow the exit code is the answer: a reader who left does not make the node dead.
    try:
        with open_tables(config) as tables, until_left(followed=True) if options.follow else nullcontext():
            is_well = asyncio.run(_told(config, tables, options, paper)) or is_well
    except DatabaseError as error:
        raise type(error)(_with_local(error, config, options)) from None
    return EXIT_OK if is_well else EXIT_NO_HEARTBEAT


def _with_local(error: DatabaseError, config: Config, options: argparse.Namespace) -> str:
    """The tables say nothing: whoever asks on the node's own machine hears what its files say."""
    book_id = options.book or (config.book_id if config.world != "backtest" else None)
    local = local_log(config.journal_folder(book_id)) if book_id else None
    lines = [] if local is None else [local.text, local.trouble]
    return "\n  ".join([str(error), *filter(None, lines)])


class Health(NamedTuple):
    """What the tables said at a moment of a book and of the node that had it last."""

    seen_ns: int
    standing: Standing
    holder: Holder | None
    counts: dict[str, int]
    halts: tuple[Halt, ...] = ()
    trouble: str = ""

    @property
    def is_alive(self) -> bool:
        holder = self.holder
        return holder is not None and holder.status == "running" and _age_s(holder) <= HEARTBEAT_AGE_S_MAX

    @property
    def news(self) -> tuple[Any, ...]:
        """What is told again when it changes: no age, and not how many events there are."""
        holder = self.holder
        return (
            self.is_alive,
            holder and (holder.run, holder.status),
            self.counts,
            self.standing.behind > 0,
            self.halts,
            bool(self.trouble),
        )


class _Changes:
    """What has changed since it was shown."""

    def __init__(self, shown: Health, folder: Path) -> None:
        self._shown = shown
        self._folder = folder

    async def next(self, session: Session) -> list[Health]:
        found = await _look(session, self._folder)
        if found.news == self._shown.news:
            return []
        self._shown = found
        return [found]


async def _told(config: Config, tables: Tables, options: argparse.Namespace, paper: Paper) -> bool:
    async with await _opened(config, tables, options.book) as session:
        book_id, folder = session.book_id, config.journal_folder(session.book_id)
        health = await _look(session, folder)
        _show([health], options, paper)
        if options.follow:

            async def reopen() -> Session:
                return await _opened(config, tables, options.book, known=book_id)

            changes = _Changes(health, folder)
            await follow(session, changes, lambda found: _show(found, options, paper), paper=paper, reopen=reopen)
    return health.is_alive


async def _opened(config: Config, tables: Tables, name: str | None, *, known: str | None = None) -> Session:
    """On the book that is meant; the config's own need not be there yet: that no node has run is an answer."""
    session = await Session.open(config, tables)
    own = config.book_id if name is None and config.world != "backtest" else None
    with session.or_ended():
        if book_id := known or own:
            await session.take(book_id)
        else:
            await session.choose(config, name)
    return session


async def _look(session: Session, folder: Path) -> Health:
    async with session.snapshot():
        holder = await last_holder(session.connection, session.book_id)
        counts = await session.connection.fetchrow(reading.COUNTS, session.book_id, list(reading.WORKING))
        standing = await session.standing()
        halts = await standing_halts(session.connection, session.book_id)
    local = None if holder is None or holder.host != socket.gethostname() else local_log(folder)
    if local is None or local.run != standing.run or not local.is_alive:
        return Health(time.time_ns(), standing, holder, dict(counts or {}), halts)
    # What the tables say of the newest event is as old as the last batch that reached them.
    standing = standing._replace(last_seq=max(standing.last_seq, local.last_seq))
    return Health(time.time_ns(), standing, holder, dict(counts or {}), halts, local.trouble)


def _show(found: list[Health], options: argparse.Namespace, paper: Paper) -> None:
    indent = None if options.follow else 2
    for health in found:
        if options.json:
            paper.say(json.dumps(_as_dict(health), indent=indent))
        else:
            paper.say(*_lines(health, f"{moment(health.seen_ns, today())}  " if options.follow else ""))


def _lines(health: Health, when: str) -> list[str]:
    holder, standing = health.holder, health.standing
    stopped = [plain(f"  stands: {halt}") for halt in health.halts]
    if holder is None:
        return [f"{when}{standing.book_id}: no node has run yet", *stopped]
    age = f"{_age_s(holder):,.1f} s"
    is_silent = holder.status == "running" and not health.is_alive
    heartbeat = f"no heartbeat for {age}" if is_silent else f"heartbeat {age} ago"
    counts = ", ".join(counted(health.counts[key], noun) for key, noun in _COUNTS.items())
    return [
        f"{when}{standing.book_id}: {holder.status}, run {holder.run} on {holder.host} (pid {holder.pid}), {heartbeat}",
        f"  {counts}; {standing.text}",
        *stopped,
        *([f"  {health.trouble}"] if health.trouble else []),
    ]


def _as_dict(health: Health) -> dict[str, Any]:
    standing = health.standing
    return {
        "book_id": standing.book_id,
        **as_json({"seen_ns": health.seen_ns}),
        "alive": health.is_alive,
        "node": _node(health.holder),
        "run": standing.run or None,
        "tables": {"last_seq": standing.last_seq, "durable_seq": standing.durable_seq, "behind": standing.behind},
        "halts": [msgspec.to_builtins(halt) for halt in health.halts],
        "trouble": health.trouble or None,
        **{key: health.counts[key] for key in _COUNTS},
    }


def _node(holder: Holder | None) -> dict[str, Any] | None:
    if holder is None:
        return None
    return {
        "run": holder.run,
        "instance_id": holder.instance_id,
        "host": holder.host,
        "pid": holder.pid,
        "status": holder.status,
        "started_at": holder.started_at.isoformat(),
        "heartbeat_age_s": _age_s(holder),
    }


def _age_s(holder: Holder) -> float:
    return holder.heartbeat_age.total_seconds()
