"""A look into the tables of one book: a read-only connection, the book that is meant, and how far its tables are."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

from nautilus_ext.app.asked import SOURCE
from nautilus_ext.app.desk_views import Standing, seconds_behind
from nautilus_ext.errors import ConfigError, DatabaseError, Problem
from nautilus_ext.persistence import reading
from nautilus_ext.schema.connect import CONNECTION_ERRORS, connect, database_error
from nautilus_ext.schema.upgrade import require_current

if TYPE_CHECKING:
    from collections.abc import Iterator

    import asyncpg

    from nautilus_ext.app.database import Tables
    from nautilus_ext.config import Config

BOOKS_NAMED = 10


class Session:
    """One connection that cannot write. Whoever opens it closes it."""

    def __init__(self, url: str, connection: asyncpg.Connection) -> None:
        self.url = url
        self.connection = connection
        self.book_id = ""
        self.environment = ""

    @classmethod
    async def open(cls, config: Config, tables: Tables) -> Self:
        settings = config.suite.database
        url = tables.app_url
        connection = await connect(
            url,
            timeout_s=settings.connect_timeout_s,
            answer_timeout_s=settings.statement_timeout_s + settings.connect_timeout_s,
            application_name="exec-suite desk",
            server_settings={
                "statement_timeout": str(max(1, round(settings.statement_timeout_s * 1000))),
                "default_transaction_read_only": "on",
            },
        )
        session = cls(url, connection)
        with session.or_ended():
            await require_current(connection)
        return session

    @classmethod
    async def of_book(cls, config: Config, tables: Tables, name: str | None) -> Self:
        """Open it on a book."""
        session = await cls.open(config, tables)
        with session.or_ended():
            await session.choose(config, name)
        return session

    @contextmanager
    def or_ended(self) -> Iterator[None]:
        """For whoever hands the session on: what goes wrong on the way there ends it, and is a DatabaseError."""
        try:
            yield
        except BaseException as error:
            self.connection.terminate()
            if isinstance(error, CONNECTION_ERRORS) and not isinstance(error, DatabaseError):
                raise database_error(error, self.url) from None
            raise

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        """Translate what the driver raised: its own messages may quote the address."""
        self.connection.terminate()
        if isinstance(error, CONNECTION_ERRORS) and not isinstance(error, DatabaseError):
            raise database_error(error, self.url) from None

    async def choose(self, config: Config, name: str | None) -> None:
        """Read the book that is meant from now on."""
        await self.take(await chosen_book(self.connection, config, name))

    async def take(self, book_id: str) -> bool:
        """Read this book from now on, if it exists."""
        environment = await self.connection.fetchval(reading.BOOK, book_id)
        self.book_id, self.environment = book_id, environment or ""
        return environment is not None

    def snapshot(self) -> Any:
        """All that is read inside of it is from one moment."""
        return self.connection.transaction(isolation="repeatable_read", readonly=True)

    async def now_ns(self) -> int:
        """Where a duration counts back from: now, or the end of a backtest's own time."""
        if self.environment != "backtest":
            return time.time_ns()
        newest = await self.newest()
        return newest["ts_init"] if newest else time.time_ns()

    async def newest(self) -> Any:
        return await self.connection.fetchrow(reading.NEWEST, self.book_id)

    async def standing(self) -> Standing:
        row = await self.connection.fetchrow(reading.STANDING, self.book_id)
        if row is None:
            return Standing(self.book_id, 0, 0)
        lives = row["ended_at"] is None and self.environment != "backtest"
        newest = await self.newest() if lives and row["last_seq"] > row["durable_seq"] else None
        behind_s = seconds_behind(newest["ts_init"], time.time_ns()) if newest else None
        return Standing(self.book_id, row["run"], row["last_seq"], row["durable_seq"], behind_s)


async def chosen_book(connection: asyncpg.Connection, config: Config, name: str | None) -> str:
    """The book of that name, else the config's own or its newest backtest; ConfigError names those that exist."""
    if name is None and config.world == "backtest":
        name = await connection.fetchval(reading.NEWEST_BACKTEST, config.trader_id)
        if name is None:
            raise await _unknown(connection, f"no backtest of {config.trader_id} has run yet")
    book_id = name or config.book_id
    if await connection.fetchval(reading.BOOK, book_id) is None:
        told = f"no book is called {name!r}" if name else f"no node has run on book {book_id} yet"
        raise await _unknown(connection, told)
    return book_id


async def _unknown(connection: asyncpg.Connection, told: str) -> ConfigError:
    names = [row["book_id"] for row in await connection.fetch(reading.BOOKS, BOOKS_NAMED + 1)]
    listed = ", ".join(names[:BOOKS_NAMED]) + (" and more" if len(names) > BOOKS_NAMED else "")
    cure = f"these tables have {listed}" if names else "these tables have none: run a config first"
    return ConfigError(SOURCE, [Problem("--book", f"{told}; {cure}")])
