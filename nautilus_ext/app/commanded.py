"""What was commanded in a book and stands, read from its rows: a node begins with it, `limits` and `status` show it."""

from __future__ import annotations

import getpass
import os
import socket
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from nautilus_ext.config.risk import Risk
from nautilus_ext.errors import BookError, ConfigError
from nautilus_ext.messages import AppliedCommand
from nautilus_ext.risk.commands import read
from nautilus_ext.risk.standing import KINDS, STOPS, Standing
from nautilus_ext.schema.commands import applied

if TYPE_CHECKING:
    from collections.abc import Sequence

    import asyncpg

    from nautilus_ext.risk.halts import Halt

STANDING_MAX = 100_000  # ten a day for a working life
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


async def standing_commands(
    connection: asyncpg.Connection, book_id: str, kinds: Sequence[str] = KINDS
) -> list[AppliedCommand]:
    """In the order in which they were applied; BookError when there are more than a node would take in."""
    found: list[AppliedCommand] = []
    async for at, asked in applied(connection, book_id, kinds):
        if len(found) == STANDING_MAX:
            cure = "write the limits into the file, and go on under another book (--book NAME)"
            raise BookError(f"book {book_id}: more than {STANDING_MAX:,} commands were applied: {cure}")
        found.append(
            AppliedCommand(
                applied_ns=(at - _EPOCH) // timedelta(microseconds=1) * 1_000,
                command_id=asked.command_id,
                kind=asked.kind,
                arguments=asked.arguments if isinstance(asked.arguments, dict) else {},
                issued_by=asked.issued_by,
            )
        )
    return found


async def standing_halts(connection: asyncpg.Connection, book_id: str) -> tuple[Halt, ...]:
    """What is stopped in a book, by what its rows say: its node's own view, or what the next one begins with."""
    standing = Standing(Risk())
    for each in await standing_commands(connection, book_id, STOPS):
        with suppress(ConfigError):  # of another version: `limits` names it
            standing.apply(read(each.command_id, each.kind, each.arguments, each.issued_by), each.applied_ns)
    return standing.halts.standing()


def operator() -> str:
    """Name whoever gives a command here; a container's user may have no name."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = str(os.getuid())
    return f"{name}@{socket.gethostname()}"
