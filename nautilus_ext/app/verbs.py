"""What the command line's verbs do. Each takes the command and its arguments and returns an exit code."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from nautilus_ext.app.asked import SOURCE
from nautilus_ext.app.book import HEARTBEAT_AGE_S_MAX
from nautilus_ext.app.database import open_tables
from nautilus_ext.app.desk_session import Session
from nautilus_ext.app.desk_views import Standing, counted
from nautilus_ext.app.preflight import check_machine
from nautilus_ext.config import book_name_problem
from nautilus_ext.config.backtest import parity_report
from nautilus_ext.config.schema import json_schema
from nautilus_ext.errors import ConfigError
from nautilus_ext.logs import Masker
from nautilus_ext.persistence import reading
from nautilus_ext.schema.books import last_holder

if TYPE_CHECKING:
    import argparse
    from datetime import timedelta

    from nautilus_ext.app.command import Command
    from nautilus_ext.app.database import Tables
    from nautilus_ext.config import Config
    from nautilus_ext.schema.books import Holder

EXIT_OK = 0
EXIT_NO_HEARTBEAT = 1


def check(command: Command, options: argparse.Namespace) -> int:
    """Say everything about a config: what is wrong, what deserves a look, what it becomes."""
    try:
        config = command.load(options.config, backtest=options.backtest)
    except ConfigError as error:
        if not options.json:
            raise
        problems = [_as_dict(problem) for problem in error.problems]
        _print_json({"ok": False, "source": error.source, "problems": problems})
        return error.exit_code
    parity = parity_report(config) if options.backtest else []
    if options.json:
        _print_json(_report(config, parity, expand=options.expand))
        return EXIT_OK
    _say(f"{config.source}: fine ({config.trader_id}, {config.world})")
    for note in config.notes:
        _say(f"  note: {note}")
    for line in parity:
        _say(f"  parity: {line}")
    if options.expand:
        _print_json(_expanded(config))
    return EXIT_OK


def _report(config: Config, parity: list[Any], *, expand: bool) -> dict[str, Any]:
    report: dict[str, Any] = {
        "ok": True,
        "source": str(config.source),
        "trader_id": config.trader_id,
        "world": config.world,
        "notes": [_as_dict(note) for note in config.notes],
        "parity": [_as_dict(line) for line in parity],
    }
    return {**report, "expanded": _expanded(config)} if expand else report


def _expanded(config: Config) -> dict[str, Any]:
    """Plain Nautilus configuration, with the placeholders of secrets: it can be saved and shared."""
    return Masker(config.secrets.masked).fields(config.tree)


def migrate(command: Command, options: argparse.Namespace) -> int:
    config = command.load(options.config, backtest=options.backtest)
    check_machine(config.data_dir)
    with open_tables(config) as tables:
        applied = tables.migrate()
        _say(f"{tables.place}: {'migrated to ' + applied[-1] if applied else 'up to date'}")
    return EXIT_OK


def status(command: Command, options: argparse.Namespace) -> int:
    """A health check: 0 when the node of the book wrote its heartbeat a moment ago, 1 when it did not."""
    if options.book is not None and (problem := book_name_problem(options.book)):
        raise ConfigError(SOURCE, [problem])
    config = command.load(options.config, backtest=options.backtest)
    with open_tables(config) as tables:
        found = asyncio.run(_found(config, tables, options.book))
    holder = found.holder
    alive = holder is not None and holder.status == "running" and _seconds(holder.heartbeat_age) <= HEARTBEAT_AGE_S_MAX
    if options.json:
        _print_json({"book_id": found.book_id, "alive": alive, "node": _holder_dict(holder), **_tables_dict(found)})
    elif holder is None:
        _say(f"{found.book_id}: no node has run yet")
    else:
        _say(
            f"{found.book_id}: {holder.status}, run {holder.run} on {holder.host} (pid {holder.pid}), "
            f"heartbeat {_seconds(holder.heartbeat_age):,.1f} s ago"
        )
        counts = ", ".join(counted(found.counts[key], noun) for key, noun in _COUNTS.items())
        _say(f"  {counts}; {found.standing.text}")
    return EXIT_OK if alive else EXIT_NO_HEARTBEAT


class _Found(NamedTuple):
    """What the tables say of a book and of the node that had it last."""

    book_id: str
    holder: Holder | None
    standing: Standing
    counts: dict[str, int]


_COUNTS = {"working_orders": "working order", "open_positions": "open position", "rejected_events": "rejected event"}


async def _found(config: Config, tables: Tables, book: str | None) -> _Found:
    async with await Session.open(config, tables) as session:
        if book is not None or config.world == "backtest":
            await session.choose(config, book)
        elif not await session.take(config.book_id):
            return _Found(config.book_id, None, Standing(config.book_id, 0, 0), {})
        holder = await last_holder(session.connection, session.book_id)
        counts = await session.connection.fetchrow(reading.COUNTS, session.book_id, list(reading.WORKING))
        return _Found(session.book_id, holder, await session.standing(), dict(counts or {}))


def _tables_dict(found: _Found) -> dict[str, Any]:
    standing = found.standing
    tables = {"last_seq": standing.last_seq, "durable_seq": standing.durable_seq, "behind": standing.behind}
    return {"run": standing.run or None, "tables": tables, **{key: found.counts.get(key, 0) for key in _COUNTS}}


def _holder_dict(holder: Holder | None) -> dict[str, Any] | None:
    if holder is None:
        return None
    return {
        "run": holder.run,
        "instance_id": holder.instance_id,
        "host": holder.host,
        "pid": holder.pid,
        "status": holder.status,
        "started_at": holder.started_at.isoformat(),
        "heartbeat_age_s": _seconds(holder.heartbeat_age),
    }


def schema(command: Command, options: argparse.Namespace) -> int:
    del command, options  # the schema is the same for everyone
    _print_json(json_schema())
    return EXIT_OK


def _seconds(age: timedelta) -> float:
    return age.total_seconds()


def _as_dict(problem: Any) -> dict[str, str]:
    return {"path": problem.path, "message": problem.message}


def _print_json(value: Any) -> None:
    _say(json.dumps(value, indent=2))


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
