"""Old runs go from the journal to Parquet: one file per run, read back and compared, and only then deleted.

The file is whole and on the disk under its name before one transaction of the owner deletes the events and says where
they are. Killed before that, nothing has changed, and the next call writes the file anew. The tables keep their rows.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import pyarrow as pa
from asyncpg import exceptions as pg
from pyarrow import parquet

from nautilus_ext.errors import DatabaseError, MachineError
from nautilus_ext.persistence.reading import WORKING
from nautilus_ext.persistence.rows import JournalRow
from nautilus_ext.persistence.segments import runs as log_runs
from nautilus_ext.persistence.segments import take_lock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from datetime import datetime
    from pathlib import Path

    import asyncpg

CHUNK_ROWS = 2_000  # of one row group
LOCK = "archive.lock"

_NUMBERS = {"run": pa.int32(), "seq": pa.int64(), "ts_event": pa.int64(), "ts_init": pa.int64()}
# Text, the payload too: what the database wrote is what stands in the file, character by character.
SCHEMA = pa.schema([pa.field(name, _NUMBERS.get(name, pa.string())) for name in JournalRow._fields])
_COLUMNS = ", ".join(f"{name}::text" if name == "payload" else name for name in JournalRow._fields)

# A run ends when its node gave it back, else when the next one began.
_RUNS = """
    SELECT run, durable_seq, last_seq, archived_at, ended_at IS NOT NULL OR next IS NOT NULL AS is_over,
           coalesce(ended_at, next) < $2 AS is_old,
           (SELECT count(*) FROM order_events e WHERE (e.book_id, e.run) = (r.book_id, r.run)) AS events,
           (SELECT count(*) FROM rejected_events x
             WHERE (x.book_id, x.run) = (r.book_id, r.run) AND x.stage <> 'projection') AS unwritten
      FROM (SELECT *, lead(started_at) OVER (ORDER BY run) AS next FROM runs WHERE book_id = $1) r ORDER BY run"""
_OPEN_ORDERS = """
    SELECT DISTINCT e.run FROM unified_orders o JOIN order_events e USING (book_id, client_order_id)
     WHERE o.book_id = $1 AND o.status = ANY($2)"""
_OPEN_POSITIONS = """
    SELECT DISTINCT e.run FROM venue_positions p JOIN order_events e USING (book_id, position_id)
     WHERE p.book_id = $1 AND p.side <> 'FLAT'
       AND (e.run = p.run OR e.payload->>'opening_order_id' = p.opening_order_id)"""
_SHARED = """
    SELECT DISTINCT runs FROM (
        SELECT array_agg(DISTINCT run) AS runs FROM order_events
         WHERE book_id = $1 AND client_order_id IS NOT NULL
         GROUP BY client_order_id HAVING min(run) <> max(run)) AS orders"""
_EVENTS = f"""
    SELECT {_COLUMNS} FROM order_events
     WHERE book_id = $1 AND run = $2 AND seq > $3 ORDER BY seq LIMIT {CHUNK_ROWS}"""  # noqa: S608 - our own names
_CLAIM = """
    SELECT run FROM runs
     WHERE book_id = $1 AND run = $2 AND archived_at IS NULL AND durable_seq = last_seq FOR UPDATE"""
_DELETE = "DELETE FROM order_events WHERE book_id = $1 AND run = $2"
_SAY = "UPDATE runs SET archived_at = now(), archive = $3 WHERE book_id = $1 AND run = $2"


class Candidate(NamedTuple):
    """A run, and why it stays; an empty reason is none."""

    run: int
    events: int
    reason: str


class Content(NamedTuple):
    """What a file holds: number of rows, and sha256 over them."""

    rows: int
    sha256: str


class _Hash:
    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._rows = 0

    def take(self, rows: Iterable[tuple[Any, ...]]) -> None:
        for row in rows:
            self._hash.update(msgspec.json.encode(row))
            self._hash.update(b"\n")
            self._rows += 1

    @property
    def content(self) -> Content:
        return Content(self._rows, self._hash.hexdigest())


async def candidates(
    connection: asyncpg.Connection, book_id: str, before: datetime, journal_folder: Path
) -> list[Candidate]:
    """Judge every run of a book that is not archived yet."""
    states = [row for row in await connection.fetch(_RUNS, book_id, before) if row["archived_at"] is None]
    orders = {row["run"] for row in await connection.fetch(_OPEN_ORDERS, book_id, list(WORKING))}
    positions = {row["run"] for row in await connection.fetch(_OPEN_POSITIONS, book_id)}
    logged = {run for run, _ in log_runs(journal_folder)}
    reasons = {row["run"]: _reason(row, orders, positions, logged) for row in states}
    shared = [row["runs"] for row in await connection.fetch(_SHARED, book_id)]
    _spread(reasons, shared)
    return [Candidate(row["run"], row["events"], reasons[row["run"]]) for row in states]


def _reason(row: Any, orders: set[int], positions: set[int], logged: set[int]) -> str:
    """Say the first reason why a run stays; nothing when it may go."""
    late = row["last_seq"] - row["durable_seq"]
    reasons = (
        (not row["is_over"], "it has not ended"),
        (not row["is_old"], "it ended later"),
        (late, f"{late:,} events are not in the tables yet"),
        (row["run"] in logged and not row["durable_seq"], "its local log has not been shipped yet"),
        (row["events"] + row["unwritten"] != row["durable_seq"], "events are missing in it: see audit"),
        (row["run"] in orders, "an order of it still works"),
        (row["run"] in positions, "a position of it is still open"),
    )
    return next((text for applies, text in reasons if applies), "")


def _spread(reasons: dict[int, str], shared: Iterable[list[int]]) -> None:
    """An order goes as a whole: what one of its runs keeps here keeps the others here as well."""
    groups = [runs for runs in shared if len(runs) > 1]
    has_changed = True
    while has_changed:  # each round keeps at least one more run
        has_changed = False
        for runs in groups:
            kept = next((run for run in runs if reasons.get(run)), None)
            for run in runs:
                if kept is not None and reasons.get(run) == "":
                    reasons[run] = f"it has an order in common with run {kept}, which stays"
                    has_changed = True


async def archive_run(
    reader: asyncpg.Connection, owner: asyncpg.Connection, book_id: str, run: int, folder: Path
) -> Path:
    """Write the file, prove it, delete the events; return where the file is."""
    path = folder / f"{run:06d}.parquet"
    lock = _lock(folder)
    try:
        content = await _write(reader, book_id, run, path)
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


async def _write(reader: asyncpg.Connection, book_id: str, run: int, path: Path) -> Content:
    """Write beside the name and rename: under its name there is a whole and proven file, or none."""
    unfinished = path.with_suffix(".unfinished")
    written = _Hash()
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
    unfinished.rename(path)
    _sync(path.parent)
    return written.content


async def _events(reader: asyncpg.Connection, book_id: str, run: int) -> AsyncIterator[list[tuple[Any, ...]]]:
    seq = 0
    while rows := await reader.fetch(_EVENTS, book_id, run, seq):
        seq = rows[-1]["seq"]
        yield [tuple(row) for row in rows]


def read_back(path: Path) -> Content:
    """Count and hash the rows of a file."""
    found = _Hash()
    with parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(CHUNK_ROWS):
            found.take(zip(*(column.to_pylist() for column in batch.columns), strict=True))
    return found.content


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
