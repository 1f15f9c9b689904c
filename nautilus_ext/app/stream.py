"""A Redis stream whose messages become rows of `commands`: another way to the table, with no authority of its own.

An entry stays until its row is there, as pending of the one consumer of its group: what a crash leaves is read again,
and its id makes one row of it. What is no command has a row as well, which says why.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from nautilus_ext.app.aside import aside
from nautilus_ext.errors import ConfigError, Problem, SuiteError
from nautilus_ext.risk.commands import COMMANDS, NAME_MAX, read_message
from nautilus_ext.schema import commands

if TYPE_CHECKING:
    from collections.abc import Callable

    import asyncpg

    from nautilus_ext.app.docket import Kept

GROUP, CONSUMER = b"suite", b"node"  # a book has one node
FIELD = b"command"
BATCH = 100
BLOCK_MS = 1_000
ANSWER_S_MAX = 5.0
BACKOFF_S_MIN, BACKOFF_S_MAX = 0.1, 2.0
SHOWN_MAX = 200
BY = "redis:"

log = logging.getLogger(__name__)


def stream_name(book_id: str) -> str:
    """Where the commands of a book are added."""
    return f"suite:commands:{book_id}"


class Entry(NamedTuple):
    """One message: its id at the server, what it holds, how long it had been there."""

    entry_id: str
    fields: dict[bytes, bytes]
    age_s: float


class CommandStream:
    """Read by `serve`, written by `write` on the channel's connection: a batch is one or the other, never both."""

    def __init__(
        self, url: Callable[[], str], book_id: str, complain: Callable[[str], None], wake: Callable[[], None]
    ) -> None:
        self._url = url
        self._book_id = book_id
        self._name = stream_name(book_id)
        self._complain = complain
        self._wake = wake
        self._batch: list[Entry] = []
        self._is_written = asyncio.Event()

    # -- reading

    async def serve(self) -> None:
        delay_s = BACKOFF_S_MIN
        while True:  # for as long as the node lives
            try:
                url = await aside(self._url, "address of the stream")
                async with _client(url) as client:
                    await self._join(client)
                    self._complain("")
                    delay_s = BACKOFF_S_MIN
                    await self._pass_on(client)
            except (RedisError, OSError, ValueError, SuiteError) as error:
                # ValueError: no address, and its words may hold a part of the password
                words = "redis.url is no address" if isinstance(error, ValueError) else error
                self._complain(f"the stream {self._name} cannot be read ({words}); it is tried again")
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 2, BACKOFF_S_MAX)

    async def _join(self, client: Any) -> None:
        try:
            await client.xgroup_create(self._name, GROUP, id="0", mkstream=True)
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):  # it is there already: all is well
                raise

    async def _pass_on(self, client: Any) -> None:
        place = "0"  # first what was read before and has no row yet
        while True:
            found = await client.xreadgroup(GROUP, CONSUMER, {self._name: place}, count=BATCH, block=BLOCK_MS)
            entries = found[0][1] if found else []
            if not entries:
                place = ">"
                continue
            seconds, _ = await client.time()
            await self._written([_entry(entry_id, fields, seconds) for entry_id, fields in entries])
            await client.xack(self._name, GROUP, *(entry_id for entry_id, _ in entries))
            await client.xdel(self._name, *(entry_id for entry_id, _ in entries))

    async def _written(self, batch: list[Entry]) -> None:
        self._is_written.clear()
        self._batch = batch
        self._wake()
        await self._is_written.wait()

    # -- rows

    async def write(self, connection: asyncpg.Connection, refuse: Callable[[Kept, str], object]) -> list[Entry]:
        """Make a row of each that waits, and return them; what is refused the caller records, and then calls `written`.

        The batch stays the same until then: whoever reads waits.
        """
        batch = self._batch
        for entry in batch:
            try:
                await self._insert(connection, entry)
            except ConfigError as error:
                kept = (f"{BY}{entry.entry_id}", "message", {"message": _shown(entry.fields)}, BY.rstrip(":"))
                refuse(kept, str(error))
        return batch

    def written(self) -> None:
        """All rows are there: the stream may forget the messages."""
        self._batch = []
        self._is_written.set()

    async def _insert(self, connection: asyncpg.Connection, entry: Entry) -> None:
        if FIELD not in entry.fields:
            fault = f"it has no field {FIELD.decode()!r}: put the JSON object of the command there"
            raise ConfigError("command", [Problem("message", fault)])
        command = read_message(entry.fields[FIELD])
        limit_s = COMMANDS[command.kind].expires_s
        by = f"{BY}{command.issued_by}"[:NAME_MAX]
        asked = (command.command_id, command.kind, command.arguments, by)
        # One that is too old has a row all the same: it expires at once, and says so.
        await commands.insert(
            connection, self._book_id, asked, None if limit_s is None else max(limit_s - entry.age_s, 0.0)
        )


def _client(url: str) -> Redis:
    return Redis.from_url(url, socket_timeout=ANSWER_S_MAX, socket_connect_timeout=ANSWER_S_MAX)


def _entry(entry_id: bytes, fields: dict[bytes, bytes] | None, now_s: int) -> Entry:
    text = entry_id.decode()
    return Entry(text, fields or {}, max(0.0, now_s - int(text.partition("-")[0]) / 1_000))


def _shown(fields: dict[bytes, bytes]) -> str:
    """What a message held, in short and fit for a table."""
    return ascii(fields.get(FIELD) or dict(list(fields.items())[:1]))[:SHOWN_MAX]
