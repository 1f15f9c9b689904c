"""What is new in the tables of a book, look by look; a database that goes away is waited for."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from msgspec.structs import replace

from nautilus_ext.errors import DatabaseError, ReaderGone, SchemaBehind
from nautilus_ext.persistence import reading
from nautilus_ext.persistence.reading import ROWS_MAX, Filters, Question, Span, Version, rows
from nautilus_ext.schema.connect import CONNECTION_ERRORS, database_error
from nautilus_ext.schema.retry import is_transient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nautilus_ext.app.desk_session import Session
    from nautilus_ext.app.paper import Paper
    from nautilus_ext.app.text_tables import Row

POLL_S = 0.5
BACKOFF_S_MAX = 5.0
_POSITION_ANY = ("all",)  # whoever follows the open positions wants to hear of their end


class News:
    """Remembers how far it has read; each look is one snapshot of the tables, so that nothing is told twice."""

    def __init__(self, ask: Callable[..., Question], filters: Filters) -> None:
        self._ask = ask
        state = _POSITION_ANY if ask is reading.positions and filters.status is None else filters.status
        self._filters = replace(filters, status=state, limit=ROWS_MAX)
        self._after = Version(0, 0)

    async def first(self, session: Session, question: Question) -> list[Row]:
        """The answer as it stands now; from here on `next` tells what came after it."""
        async with session.snapshot():
            newest = await session.newest()
            if newest is not None:
                self._after = Version(newest["run"], newest["seq"])
            return await rows(session.connection, question)

    async def next(self, session: Session) -> list[Row]:
        async with session.snapshot():
            reach = await session.connection.fetchrow(reading.REACH, session.book_id, *self._after)
            if reach is None:
                return []
            span = Span(self._after, Version(*reach))
            found = await rows(session.connection, self._ask(self._filters, span))
            self._after = span.upto
        return sorted(found, key=lambda row: (row["run"], row["seq"]))


class Totals:
    """The same for sums: a group is news when a position of it changed, not when a price did."""

    def __init__(self, question: Question) -> None:
        self._question = question
        self._known: dict[tuple[str, str], Row] = {}

    async def first(self, session: Session, question: Question) -> list[Row]:
        found = await rows(session.connection, question)
        self._known = {_group(row): row for row in found}
        return found

    async def next(self, session: Session) -> list[Row]:
        before = self._known
        found = await self.first(session, self._question)
        gone = [_flat(row) for group, row in before.items() if group not in self._known]
        return [row for row in found if _held(row) != _held(before.get(_group(row)))] + gone


def _group(row: Row) -> tuple[str, str]:
    return row["base_asset"], row["quote_currency"]


def _held(row: Row | None) -> Any:
    return row and (row["net"], row["long"], row["short"], row["positions"], row["realized_pnl"], row["unpriced"])


def _flat(row: Row) -> Row:
    """A group without an open position any more."""
    nothing = row["net"] * 0
    sums = dict.fromkeys(("net", "long", "short", "net_value", "gross_value"), nothing)
    return row | sums | {"unrealized_pnl": {}, "realized_pnl": {}, "positions": 0, "unpriced": 0, "venues": []}


@contextmanager
def until_left(*, followed: bool) -> Iterator[None]:
    """Who has seen enough ends it without an error: `| head` at any time, Ctrl-C while he follows."""
    try:
        yield
    except ReaderGone:
        pass
    except KeyboardInterrupt:
        if not followed:
            raise


class Source[Item](Protocol):
    """What can be followed: each look tells what is new since the one before."""

    async def next(self, session: Session) -> list[Item]: ...


async def follow[Item](
    session: Session,
    news: Source[Item],
    show: Callable[[list[Item]], None],
    *,
    paper: Paper,
    reopen: Callable[[], Any],
) -> None:
    """Show what is new until nobody reads; takes over the session and closes whichever it has at the end."""
    lost = 0
    try:
        while not paper.is_gone:
            try:
                if session.connection.is_closed():
                    lost = _warned(lost, paper, "the connection to the database was lost")
                    session = await reopen()
                show(await news.next(session))
                lost = 0
            except SchemaBehind:
                raise
            except CONNECTION_ERRORS as error:
                if not is_transient(error):
                    raise
                session.connection.terminate()
                lost = _warned(lost, paper, _told(error, session)) + 1
            await asyncio.sleep(min(POLL_S * 2 ** max(lost - 1, 0), BACKOFF_S_MAX))
    finally:
        session.connection.terminate()


def _warned(lost: int, paper: Paper, reason: str) -> int:
    """Say it once, however long it lasts."""
    if not lost:
        paper.warn(f"{reason}; trying again, nothing will be missed")
    return max(lost, 1)


def _told(error: BaseException, session: Session) -> str:
    return str(error if isinstance(error, DatabaseError) else database_error(error, session.url))
