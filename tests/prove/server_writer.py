"""A process that shares the embedded server of a folder and appends rows; it tells each row that was acknowledged.

python server_writer.py FOLDER NAME: ends in order when its input is closed.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from pathlib import Path

import asyncpg

from nautilus_ext.embedded import EmbeddedPostgres
from nautilus_ext.errors import MachineError
from nautilus_ext.schema.connect import CONNECTION_ERRORS

NOT_DURABLE = {"fsync": "off"}  # a killed process needs no disk to be remembered
PAUSE_S = 0.002


def main(folder: Path, name: str) -> int:
    asked_to_end = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), asked_to_end.set()), daemon=True).start()
    try:
        with EmbeddedPostgres.join(folder, settings=NOT_DURABLE) as server:
            number = 0
            while not asked_to_end.is_set():
                number = asyncio.run(_append(server.owner_url, name, number, asked_to_end))
                server.ensure_running()
    except MachineError as error:
        print(f"MachineError: {error}", file=sys.stderr)
        return error.exit_code
    return 0


async def _append(url: str, name: str, number: int, asked_to_end: threading.Event) -> int:
    """Append until asked to end or until the connection breaks; a row in doubt is never tried again."""
    connection = None
    try:
        connection = await asyncpg.connect(url, timeout=5, command_timeout=5)
        while not asked_to_end.is_set():
            number += 1
            await connection.execute("INSERT INTO kept VALUES ($1, $2)", name, number)
            print(number, flush=True)
            await asyncio.sleep(PAUSE_S)
    except CONNECTION_ERRORS:
        await asyncio.sleep(PAUSE_S)
    finally:
        if connection is not None:
            connection.terminate()
    return number


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
