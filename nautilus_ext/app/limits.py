"""`limits CONFIG show|set|history`: what holds now and where it comes from, a change, all that was commanded."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from nautilus_ext.app import asked as asking
from nautilus_ext.app.commanded import standing_commands
from nautilus_ext.app.database import open_tables
from nautilus_ext.app.desk_session import Session
from nautilus_ext.app.desk_views import today
from nautilus_ext.app.explain import explained, say_explained
from nautilus_ext.app.operating import give
from nautilus_ext.app.paper import Listing, Paper
from nautilus_ext.app.text_tables import Column, moment
from nautilus_ext.config.risk import Limits
from nautilus_ext.errors import ConfigError
from nautilus_ext.risk.commands import SetLimit, SetOverride, read
from nautilus_ext.risk.halts import iso
from nautilus_ext.risk.limits import PRESET, Rulebook, moment_ns
from nautilus_ext.risk.standing import Standing
from nautilus_ext.schema import commands

if TYPE_CHECKING:
    import argparse
    from datetime import datetime

    from nautilus_ext.app.command import Command
    from nautilus_ext.app.text_tables import Row
    from nautilus_ext.config import Config
    from nautilus_ext.config.risk import Risk
    from nautilus_ext.messages import AppliedCommand
    from nautilus_ext.risk.commands import Command as Asked

EXIT_OK = 0
SHOWN_MAX = 500  # characters of a row's words in the list: whoever may insert may write anything
FROM_FILE = "file"  # as a value: what the file says holds again
_LIMITS = (
    Column("scope", lambda row: row["scope"], 1),
    Column("limit", lambda row: row["limit"], 2),
    Column("value", lambda row: row["shown"], 3, least=24),
    Column("from", lambda row: row["from"], 4, least=24),
)
_HISTORY = (
    Column("asked", lambda row: row["asked"], 1),
    Column("command", lambda row: row["command"], 3, least=30),
    Column("by", lambda row: row["issued_by"][:SHOWN_MAX], 4, least=16),
    Column("status", lambda row: row["status"], 2),
    Column("result", lambda row: row["shown"], 5, least=30),
)


class Now(NamedTuple):
    """What the commands of a book add up to, and who changed what of it last."""

    book_id: str
    standing: Standing
    changed: dict[tuple[str, str], str]  # by scope and key
    dropped: list[str]  # what the file of today does not bear any more


# -- show -------------------------------------------------------------------------------------------


def show(command: Command, options: argparse.Namespace) -> int:
    asking.check(options, "limits")
    config = command.load(options.config)
    paper = Paper(command.mask)
    with open_tables(config) as tables:
        now = asyncio.run(_now(config, tables, options.book))
    if options.instrument is not None:
        _show_instrument(config, now, options, paper)
        return EXIT_OK
    answer = _answer(config.suite.risk, now)
    if options.json:
        paper.say(json.dumps(answer, indent=2))
    else:
        _say(answer, now, options, paper)
    return EXIT_OK


async def _now(config: Config, tables: Any, name: str | None) -> Now:
    async with await Session.open(config, tables) as session:
        # A book that no node has run on yet has the limits of its file.
        if name is not None:
            await session.choose(config, name)
        book_id = session.book_id or config.book_id
        return summed_up(
            book_id, config.suite.risk, await standing_commands(session.connection, book_id), time.time_ns()
        )


def summed_up(book_id: str, file: Risk, applied: list[AppliedCommand], now_ns: int) -> Now:
    """As a node of the book does it that starts now with this file."""
    now = Now(book_id, Standing(file), {}, [])
    asked: list[tuple[int, Asked]] = []
    for each in applied:
        try:
            asked.append((each.applied_ns, read(each.command_id, each.kind, each.arguments, each.issued_by)))
        except ConfigError as error:
            now.dropped.append(f"{each.kind} {each.command_id} by {each.issued_by}: {error}")
    now.dropped.extend(now.standing.fold(asked, now_ns))
    placed = {(scope, key): value for scope, key, value, _ in Rulebook(now.standing.risk).settings()}
    for applied_ns, command in asked:
        what, by = command.what, f"{command.issued_by} {iso(applied_ns)}: {command.what.why}"
        if isinstance(what, SetLimit) and _holds(what, placed):
            now.changed[what.scope, what.key] = by
        elif isinstance(what, SetLimit):
            now.changed.pop((what.scope, what.key), None)
        elif isinstance(what, SetOverride):
            now.changed[what.scope, what.code] = by
    return now


def _holds(what: SetLimit, placed: dict[tuple[str, str], Any]) -> bool:
    if what.value is None:
        return False
    return placed.get((what.scope, what.key)) == getattr(msgspec.convert({what.key: what.value}, Limits), what.key)


def _answer(file: Risk, now: Now) -> dict[str, Any]:
    risk, now_ns = now.standing.risk, time.time_ns()
    live = [each for each in risk.overrides if moment_ns(each.until) > now_ns]
    return {
        "book_id": now.book_id,
        "enabled": risk.enabled,
        "preset": Rulebook(risk).preset,
        "limits": list(_rows(file, now)),
        "overrides": [
            {**msgspec.to_builtins(each), "from": now.changed.get((each.scope, each.code), "the file")} for each in live
        ],
        "halts": [msgspec.to_builtins(each) for each in now.standing.halts.standing()],
        "left_out": now.dropped,
    }


def _rows(file: Risk, now: Now) -> list[dict[str, Any]]:
    before = {(scope, key): value for scope, key, value, _ in Rulebook(file).settings()}
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for scope, key, value, source in Rulebook(now.standing.risk).settings():
        by = now.changed.get((scope, key)) if source == f"risk.limits.{scope}" else None
        told = msgspec.json.encode(value).decode().strip('"')
        old = before.get((scope, key))
        was = "not set" if old is None else msgspec.json.encode(old).decode().strip('"')
        row = {
            "scope": scope,
            "limit": key,
            "value": msgspec.to_builtins(value),
            "shown": told,
            "source": source,
            "changed_by": by,
            "file_value": None if by is None or old is None else msgspec.to_builtins(old),
            "from": source if by is None else f"{by} (file: {was})",
        }
        # Of one scope and key the file's counts over the preset's; windows of messages count side by side.
        is_beside = key == "messages" and not source.startswith(("risk.limits.", PRESET))
        found[scope, key if not is_beside else source] = row
    return sorted(found.values(), key=lambda row: (row["scope"] != "global", row["scope"]))


def _say(answer: dict[str, Any], now: Now, options: argparse.Namespace, paper: Paper) -> None:
    listing = Listing(paper, _LIMITS)
    listing.add(answer["limits"])
    for each in answer["overrides"]:
        paper.say(f"lifted until {each['until']}: {each['code']} of {each['scope']}, from {each['from']}")
    for halt in now.standing.halts.standing():
        paper.say(f"stands: {halt}")
    for each in answer["left_out"]:
        paper.say(f"left out, the file does not bear it: {each}")
    if not answer["enabled"]:
        paper.say("risk.enabled is false: nothing of this holds")
    paper.note(f"{now.book_id}, preset {answer['preset']}; of one instrument: --instrument ID --strategy ID")
    paper.note(f"what was asked and by whom: python -m nautilus_ext limits {options.config} history")


def _show_instrument(config: Config, now: Now, options: argparse.Namespace, paper: Paper) -> None:
    """As `check --explain` has it, with what was changed since the file."""
    suite = msgspec.structs.replace(config.suite, risk=now.standing.risk)
    placed = dataclasses.replace(config, suite=suite)
    answer = explained(placed, options.instrument, options.strategy or "", options.account or "", time.time_ns())
    for row in answer["limits"]:
        by = now.changed.get((row["source"].removeprefix("risk.limits."), row["limit"]))
        if by is not None:
            row["source"] = f"set by {by}"
    if options.json:
        paper.say(json.dumps(answer, indent=2))
    else:
        say_explained(answer, paper)


# -- set --------------------------------------------------------------------------------------------


def change(command: Command, options: argparse.Namespace) -> int:
    arguments = {"scope": options.scope, "key": options.key, "value": value_of(options.value), "why": options.why}
    return give(command, options, "set-limit", arguments)


def value_of(text: str) -> Any:
    """JSON where it is some; a number with a point stays text, which keeps each of its digits."""
    if text.strip() == FROM_FILE:
        return None
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return text
    return text.strip() if isinstance(value, float) or value is None else value


# -- history ----------------------------------------------------------------------------------------


def history(command: Command, options: argparse.Namespace) -> int:
    asking.check(options, "limits")
    config = command.load(options.config)
    paper = Paper(command.mask)
    limit = asking.limit_of(options.limit) if options.limit is not None else asking.LIMIT
    with open_tables(config) as tables:
        book_id, found = asyncio.run(_history(config, tables, options.book, limit))
    rows = [_told(row) for row in found]
    if options.json:
        paper.say(json.dumps([{key: row[key] for key in _JSON} for row in rows], indent=2))
        return EXIT_OK
    Listing(paper, _HISTORY).add(rows)
    paper.note(f"{book_id}: {len(rows):,} of the newest commands" if rows else f"{book_id}: no command yet")
    return EXIT_OK


_JSON = (
    "command_id",
    "kind",
    "arguments",
    "issued_by",
    "issued_at",
    "status",
    "result",
    "applied_run",
    "applied_at",
)


async def _history(config: Config, tables: Any, name: str | None, limit: int) -> tuple[str, list[Any]]:
    async with await Session.of_book(config, tables, name) as session:
        return session.book_id, await commands.history(session.connection, session.book_id, limit)


def _told(row: Any) -> Row:
    arguments = commands.decoded(row["arguments"])
    shown = arguments if isinstance(arguments, dict) else {"arguments": arguments}
    ordered = sorted(shown, key=lambda key: (key == "why", key != "scope"))  # the reason last: it may be long
    if row["kind"] == "set-limit" and shown.get("value", "") is None:
        shown = {**shown, "value": FROM_FILE}
    words = " ".join(f"{key}={_short(shown[key])}" for key in ordered if shown[key] not in (None, False))
    return {
        **row,
        "arguments": arguments,
        "issued_at": row["issued_at"].isoformat(),
        "applied_at": None if row["applied_at"] is None else row["applied_at"].isoformat(),
        "asked": moment(_ns(row["issued_at"]), today()),
        "command": f"{row['kind']} {words}"[:SHOWN_MAX],
        "result": row["result"] or "",
        "shown": "; ".join(map(str.strip, (row["result"] or "").splitlines())),
    }


def _short(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _ns(at: datetime) -> int:
    return round(at.timestamp() * 1_000) * 1_000_000
