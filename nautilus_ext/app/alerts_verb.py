"""The alerts of a book, the newest last: one look, or each new one until Ctrl-C."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from nautilus_ext.app import asked
from nautilus_ext.app.database import open_tables
from nautilus_ext.app.desk_session import Session
from nautilus_ext.app.desk_views import counted, today
from nautilus_ext.app.follow import follow, until_left
from nautilus_ext.app.paper import Listing, Paper
from nautilus_ext.app.text_tables import Column, iso_ns, moment, plain
from nautilus_ext.schema import alerts as rows

if TYPE_CHECKING:
    import argparse

    from nautilus_ext.app.command import Command
    from nautilus_ext.app.database import Tables
    from nautilus_ext.app.text_tables import Row
    from nautilus_ext.config import Config

EXIT_OK = 0
LOOK_MAX = 1_000  # rows of one look; the next sees the rest
TEXT_WIDTH_MIN = 30


def alerts(command: Command, options: argparse.Namespace) -> int:
    asked.check(options, "alerts")
    config = command.load(options.config)
    paper = Paper(command.mask)
    with open_tables(config) as tables, until_left(followed=options.follow):
        asyncio.run(_listed(config, tables, options, paper))
    return EXIT_OK


class _News:
    """Remembers which was the last; a run's alerts are written in their order."""

    def __init__(self) -> None:
        self._last = (0, 0)

    def see(self, found: list[Any]) -> list[Row]:
        if found:
            self._last = (found[-1]["run"], found[-1]["number"])
        return [dict(row) for row in found]

    async def next(self, session: Session) -> list[Row]:
        return self.see(await rows.after(session.connection, session.book_id, *self._last, LOOK_MAX))


async def _listed(config: Config, tables: Tables, options: argparse.Namespace, paper: Paper) -> None:
    most = asked.limit_of(options.limit) if options.limit is not None else asked.LIMIT
    listing = Listing(paper, _columns())
    async with await Session.of_book(config, tables, options.book) as session:
        news = _News()
        found = news.see(await rows.newest(session.connection, session.book_id, most))
        listing.show(found, options, _as_json)
        if not options.json:
            paper.note(f"{session.book_id}: {counted(len(found), 'alert')} shown")
        if not options.follow:
            return

        async def reopen() -> Session:
            return await Session.of_book(config, tables, session.book_id)

        await follow(session, news, lambda more: listing.show(more, options, _as_json), paper=paper, reopen=reopen)


def _as_json(row: Row) -> dict[str, Any]:
    return {**row, "time": iso_ns(row["ts_ns"])}


def _columns() -> tuple[Column, ...]:
    day = today()
    return (
        Column("time UTC", lambda row: moment(row["ts_ns"], day), 4),
        Column("severity", lambda row: row["severity"], 2, style=_severity_style),
        Column("code", lambda row: plain(row["code"]), 1),
        Column("scope", lambda row: plain(row["scope"]), 3, least=12),
        Column("times", lambda row: f"{row['count']:,}" if row["count"] > 1 else "", 6, right=True, optional=True),
        Column("text", lambda row: plain(row["text"]), 5, least=TEXT_WIDTH_MIN),
    )


def _severity_style(row: Row) -> str:
    return "bad" if row["severity"] == "critical" else "alert"
