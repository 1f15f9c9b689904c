"""The desk: what an operator reads from the tables. Nothing here writes."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from nautilus_ext.app import asked
from nautilus_ext.app.database import open_tables
from nautilus_ext.app.desk_session import Session
from nautilus_ext.app.desk_views import (
    View,
    as_json,
    counted,
    exposure_view,
    fills_view,
    orders_view,
    positions_view,
    today,
)
from nautilus_ext.app.follow import News, Totals, follow, until_left
from nautilus_ext.app.order_life import Life, facts
from nautilus_ext.app.paper import Listing, Paper
from nautilus_ext.app.text_tables import GAP, Column, head, layout, line, moment, plain, styled, wrapped
from nautilus_ext.persistence import reading
from nautilus_ext.persistence.reading import Question, rows
from nautilus_ext.schema.books import archives

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from nautilus_ext.app.command import Command
    from nautilus_ext.app.database import Tables
    from nautilus_ext.app.desk_views import Standing
    from nautilus_ext.app.text_tables import Row
    from nautilus_ext.config import Config
    from nautilus_ext.persistence.reading import Filters

EXIT_OK = 0
EXIT_UNKNOWN = 1
WORDS_WIDTH_MIN = 30


class Topic(NamedTuple):
    """What a verb asks, and how it shows the answer."""

    verb: str
    ask: Callable[..., Question]
    view: Callable[..., View]
    newest_last: bool = True


def orders(command: Command, options: argparse.Namespace) -> int:
    return _list(Topic("orders", reading.orders, orders_view), command, options)


def fills(command: Command, options: argparse.Namespace) -> int:
    return _list(Topic("fills", reading.fills, fills_view), command, options)


def positions(command: Command, options: argparse.Namespace) -> int:
    return _list(Topic("positions", reading.positions, positions_view), command, options)


def exposure(command: Command, options: argparse.Namespace) -> int:
    return _list(Topic("exposure", reading.exposure, exposure_view, newest_last=False), command, options)


def order(command: Command, options: argparse.Namespace) -> int:
    """Tell the life of one order, event by event."""
    asked.check(options, "order")
    config = command.load(options.config, backtest=options.backtest)
    paper = Paper(command.mask)
    with open_tables(config) as tables, until_left(followed=False):
        return asyncio.run(_life(config, tables, options, paper))
    return EXIT_OK  # the reader left


def _list(topic: Topic, command: Command, options: argparse.Namespace) -> int:
    asked.check(options, topic.verb)
    config = command.load(options.config, backtest=options.backtest)
    paper = Paper(command.mask)
    with open_tables(config) as tables, until_left(followed=options.follow):
        asyncio.run(_listed(topic, config, tables, options, paper))
    return EXIT_OK


async def _listed(topic: Topic, config: Config, tables: Tables, options: argparse.Namespace, paper: Paper) -> None:
    async with await Session.of_book(config, tables, options.book) as session:
        filters = asked.filters(options, topic.verb, session.book_id, await session.now_ns())
        question = topic.ask(replace(filters, limit=filters.limit + 1))
        news = Totals(question) if topic.ask is reading.exposure else News(topic.ask, filters)
        found = await news.first(session, question)
        standing = await session.standing()
        shown = found[: filters.limit]
        if topic.newest_last:
            shown.reverse()
        view = topic.view(followed=options.follow)
        listing = Listing(paper, view.columns)
        listing.show(shown, options, as_json)
        if not options.json:
            paper.note(_below(view, shown, standing, filters, more=len(found) > filters.limit))
        if not options.follow:
            return

        async def reopen() -> Session:
            return await Session.of_book(config, tables, session.book_id)

        await follow(session, news, lambda more: listing.show(more, options, as_json), paper=paper, reopen=reopen)


def _below(view: View, shown: Sequence[Row], standing: Standing, filters: Filters, *, more: bool) -> str:
    if shown:
        count = f"the newest {counted(len(shown), view.noun)}" if more else counted(len(shown), view.noun)
        told = f"{count}{view.summary(shown)}" + ("; more with --limit" if more else "")
    else:
        told = f"no {view.noun}s" + (" that match" if replace(filters, book_id="", limit=1) != _NO_FILTERS else "")
    return f"{standing.book_id}, run {standing.run}: {told}; {standing.text}"


_NO_FILTERS = reading.Filters(book_id="", limit=1)


async def _life(config: Config, tables: Tables, options: argparse.Namespace, paper: Paper) -> int:
    async with await Session.of_book(config, tables, options.book) as session:
        book_id = session.book_id
        found = await meant(session, options.id)
        if not found:
            paper.warn(
                f"{book_id} has no order {options.id!r}, by our id, by the venue's, or as an operation; "
                f"`python -m nautilus_ext orders {options.config}` lists its orders, --book NAME reads another book"
            )
            return EXIT_UNKNOWN
        if len(found) > 1:
            several(found, options, paper)
            return EXIT_OK
        (row,) = found
        order_id = row["client_order_id"]
        children = await rows(session.connection, Question(reading.CHILDREN, [book_id, order_id]))
        others = [each for each in (row["parent_client_order_id"], *(row["linked_order_ids"] or [])) if each]
        legs = await rows(session.connection, Question(reading.LEGS, [book_id, others]))
        life = await lived(session, order_id)
        since_ns, newest = row["created_ns"], row["run"]
        gone = [] if life.events else await archives(session.connection, book_id, since_ns=since_ns, run=newest)
        standing = await session.standing()
    if options.json:
        told = {"order": as_json(row), "children": [*map(as_json, children)], "linked": [*map(as_json, legs)]}
        told |= {"older_events": life.older, "life": [step.as_json() for step in life.steps]}
        told |= {"archived": [each._asdict() for each in gone]}
        paper.say(json.dumps(told, indent=2))
    else:
        files = [("archived", f"run {each.run} is in {each.archive}") for each in gone]
        tell_head(row, [*facts(row, children, legs), *files], paper)
        if life.events:
            _tell_life(life, paper)
        events = "its events are archived" if gone else counted(life.events, "event")
        paper.note(f"{book_id}, run {standing.run}: {events}; {standing.text}")
    return EXIT_OK


async def meant(session: Session, text: str) -> list[Row]:
    for sql in reading.MEANT:
        found = await rows(session.connection, Question(sql, [session.book_id, text]))
        if found:
            return found
    return []


def several(found: list[Row], options: argparse.Namespace, paper: Paper) -> None:
    if options.json:
        paper.say(json.dumps({"orders": [as_json(row) for row in found]}, indent=2))
        return
    Listing(paper, orders_view().columns).add(found[::-1])
    paper.note(f"{plain(options.id)} stands for {len(found):,} orders: ask for one of them by its id")


def tell_head(row: Row, told: list[tuple[str, str]], paper: Paper) -> None:
    paper.say(styled(f"{plain(row['client_order_id'])}  {row['status']}", "bold", color=paper.color))
    width = max(len(name) for name, _ in told)
    for name, text in told:
        paper.say(*wrapped_after(f"  {paper.dim(name.ljust(width))}  ", width + 4, plain(text), paper))


async def lived(session: Session, order_id: str) -> Life:
    life = Life()
    async with session.snapshot():
        async for events in reading.pages(session.connection, Question(reading.LIFE, [session.book_id, order_id])):
            life.add(events)
    return life


def _tell_life(life: Life, paper: Paper) -> None:
    """The words stand last and are wrapped: a venue's reason is what the operator came for."""
    day = today()
    columns = (
        Column("time UTC", lambda row: moment(row["event_ns"], day), 1),
        Column("+ ms", lambda row: row["after"], 2, right=True),
        Column("run:seq", lambda row: f"{row['run']}:{row['seq']}", 3, right=True),
    )
    table = [step.row | {"after": "" if step.after_ms is None else f"{step.after_ms:,.3f}"} for step in life.steps]
    shown = layout(columns, table, None)
    indent = sum(shown.widths) + len(GAP) * len(shown.widths)
    paper.say("", head(shown, color=paper.color) + paper.dim(f"{GAP}what happened"))
    if life.older:
        paper.say(f"… {counted(life.older, 'older event')}, in order_events and not shown")
    for step, row in zip(life.steps, table, strict=True):
        start = line(shown, row).ljust(indent)
        paper.say(*wrapped_after(start, indent, plain(step.words), paper))


def wrapped_after(start: str, indent: int, text: str, paper: Paper) -> list[str]:
    if paper.width is None:
        return [f"{start}{text}"]
    first, *others = wrapped(text, max(paper.width - indent, WORDS_WIDTH_MIN))
    return [f"{start}{first}", *(f"{' ' * indent}{other}" for other in others)]
