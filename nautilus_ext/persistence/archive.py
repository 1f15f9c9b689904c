"""Old runs go from the journal to Parquet: one file per run, read back and compared, and only then deleted.

The file is whole and on the disk under its name before one transaction of the owner deletes the events and says where
they are. Killed before that, nothing has changed, and the next call writes the file anew. The tables keep their rows.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from asyncpg import exceptions as pg
from pyarrow import parquet

from nautilus_ext.errors import DatabaseError, MachineError
from nautilus_ext.persistence.archive_file import CHUNK_ROWS, SCHEMA, Content, Digest, path_of, read_back
from nautilus_ext.persistence.rows import JournalRow
from nautilus_ext.persistence.segments import take_lock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import asyncpg

LOCK = "archive.lock"

_COLUMNS = ", ".join(f"{name}::text" if name == "payload" else name for name in JournalRow._fields)

_EVENTS = f"""
    SELECT {_COLUMNS} FROM order_events
     WHERE book_id = $1 AND run = $2 AND seq > $3 ORDER BY seq LIMIT $4"""  # noqa: S608 - our own names
_CLAIM = """
    SELECT run FROM runs
     WHERE book_id = $1 AND run = $2 AND archived_at IS NULL AND durable_seq = last_seq FOR UPDATE"""
_DELETE = "DELETE FROM order_events WHERE book_id = $1 AND run = $2"
_SAY = "UPDATE runs SET archived_at = now(), archive = $3 WHERE book_id = $1 AND run = $2"


async def archive_run(
    reader: asyncpg.Connection, owner: asyncpg.Connection, book_id: str, run: int, folder: Path
) -> Path:
    """Write the file, prove it, delete the events; return where the file is."""
    lock = _lock(folder)
    try:
        path, content = await _write(reader, book_id, run, folder)
        await _delete(owner, book_id, run, path, content)
    except pg.InsufficientPrivilegeError:
        raise DatabaseError(
            "this role may not delete from the journal, which only its owner may: set database.migrate_url"
        ) from None
    except (ConnectionError, TimeoutError):
        raise  # the database's
    except OSError as error:
        raise MachineError(f"{folder}: {error.strerror}: free space, or choose another folder with --to") from error
    finally:
        os.close(lock)
    return path


def _lock(folder: Path) -> int:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = take_lock(folder / LOCK)
    except OSError as error:
        raise MachineError(f"{folder}: {error.strerror}: choose another folder with --to") from error
    if lock is None:
        raise MachineError(f"{folder}: another archive is being written there: wait for it")
    return lock


async def _write(reader: asyncpg.Connection, book_id: str, run: int, folder: Path) -> tuple[Path, Content]:
    """Write beside the name and rename: under its name there is a whole and proven file, or none."""
    unfinished = folder / f"{run:06d}.unfinished"
    written = Digest()
    with parquet.ParquetWriter(unfinished, SCHEMA, compression="zstd") as file:
        async for rows in _events(reader, book_id, run):
            written.take(rows)
            columns = [
                pa.array(values, kind) for values, kind in zip(zip(*rows, strict=True), SCHEMA.types, strict=True)
            ]
            file.write_table(pa.Table.from_arrays(columns, schema=SCHEMA))
        file.add_key_value_metadata({"book_id": book_id, "run": str(run), **_as_text(written.content)})
    with unfinished.open("rb") as data:
        os.fsync(data.fileno())
    if read_back(unfinished) != written.content:
        raise MachineError(f"{unfinished} does not read as it was written: look at this disk; nothing was deleted")
    path = path_of(folder, run, written.content)
    unfinished.rename(path)
    _sync(folder)
    return path, written.content


async def _events(reader: asyncpg.Connection, book_id: str, run: int) -> AsyncIterator[list[tuple[Any, ...]]]:
    seq = 0
    while rows := await reader.fetch(_EVENTS, book_id, run, seq, CHUNK_ROWS):
        seq = rows[-1]["seq"]
        yield [tuple(row) for row in rows]


def _as_text(content: Content) -> dict[str, str]:
    return {"rows": str(content.rows), "sha256": content.sha256}


async def _delete(owner: asyncpg.Connection, book_id: str, run: int, path: Path, content: Content) -> None:
    async with owner.transaction():
        if await owner.fetchval(_CLAIM, book_id, run) is None:
            raise DatabaseError(f"run {run} of book {book_id} changed meanwhile: nothing was deleted, try again")
        deleted = int((await owner.execute(_DELETE, book_id, run)).rpartition(" ")[2])
        if deleted != content.rows:
            raise DatabaseError(
                f"run {run} of book {book_id} has {deleted:,} events and the file {content.rows:,}: nothing was deleted"
            )
        await owner.execute(_SAY, book_id, run, str(path))


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
