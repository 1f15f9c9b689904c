"""A node that holds a book and appends rows under its epoch: python book_writer.py URL BOOK NAME.

SIGTERM ends it in order. What happened to it stands on stdout: {"epoch": n}, {"refused": …}, {"lost": …}.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading

import asyncpg

from nautilus_ext.app import keeper
from nautilus_ext.app.book import BookHold
from nautilus_ext.errors import SuiteError
from nautilus_ext.schema.connect import CONNECTION_ERRORS

HEARTBEAT_S = 0.1
TAKE_WAIT_S = 5.0  # a queue for the book: whoever loses it has a successor at once
PAUSE_S = 0.005
# The row of the book is held while the row is added: whoever raises the epoch waits for us, or we see the new one.
APPEND = """WITH mine AS (SELECT epoch FROM books WHERE book_id = $1 AND epoch = $2 FOR SHARE)
    INSERT INTO appended (epoch, node) SELECT epoch, $3 FROM mine"""
GUARDED = "INSERT 0 1"


def say(**fields: object) -> None:
    os.write(1, (json.dumps(fields) + "\n").encode())


def main(url: str, book_id: str, name: str) -> int:
    asked_to_end = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: asked_to_end.set())
    keeper.TAKE_WAIT_S_MAX = TAKE_WAIT_S
    lost = threading.Event()
    try:
        hold = BookHold.acquire(
            url,
            book_id=book_id,
            trader_id="PAPER-001",
            environment="paper",
            instance_id=name,
            connect_timeout_s=5.0,
            heartbeat_s=HEARTBEAT_S,
            on_lost=lambda reason: (say(lost=reason), lost.set()),
        )
    except SuiteError as error:
        say(refused=str(error))
        return error.exit_code
    say(epoch=hold.epoch)
    rows = 0
    while not asked_to_end.is_set() and not lost.wait(PAUSE_S):
        rows += asyncio.run(_append(url, hold, name, asked_to_end, lost))
    if lost.is_set():
        asked_to_end.wait(4 * HEARTBEAT_S)  # long enough to hear of it a second time
    clean = hold.release(clean=not lost.is_set(), exit_code=0)
    say(ended=rows, recorded=clean)
    return 0


async def _append(url: str, hold: BookHold, name: str, *ends: threading.Event) -> int:
    """Append until the epoch is over or the connection breaks: the keeper, not this writer, says what that means."""
    rows, connection = 0, None
    try:
        connection = await asyncpg.connect(url, timeout=5, command_timeout=5)
        while not any(end.is_set() for end in ends):
            if await connection.execute(APPEND, hold.book_id, hold.epoch, name) != GUARDED:
                break
            rows += 1
            await asyncio.sleep(PAUSE_S)
    except CONNECTION_ERRORS:
        pass
    finally:
        if connection is not None:
            connection.terminate()
    return rows


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:4]))
