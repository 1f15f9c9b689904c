"""All tables of a database in one file, and back: COPY's text inside a zip, from one snapshot, with counts and hashes.

Not pg_dump: it must be at least as new as the server, is not on every machine, and proves nothing about what it wrote.
COPY's text is the same for every version of PostgreSQL, and any unzip shows it.

    backup.zip   one entry per table, in the order of their keys; the last entry `manifest.json`: revision, rows, sha256
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import Text

from nautilus_ext.errors import DatabaseError, MachineError
from nautilus_ext.schema.revision import VERSION_TABLE
from nautilus_ext.schema.tables import metadata

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import asyncpg
    from sqlalchemy import Table

FORMAT = 1
MANIFEST = "manifest.json"
COPY_S_MAX = 6 * 3600.0
CHUNK_BYTES = 1_000_000
# What COPY writes depends on these: the same on both sides.
SETTINGS = {
    "datestyle": "ISO, MDY",
    "timezone": "UTC",
    "bytea_output": "hex",
    "client_encoding": "UTF8",
    "statement_timeout": "0",  # COPY_S_MAX bounds it
}


class Content(msgspec.Struct, frozen=True):
    """What COPY wrote of one table."""

    columns: list[str]
    rows: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True):
    format: int
    revision: str
    suite_version: str
    tables: dict[str, Content]


class _Sink:
    """Takes what COPY writes: hashes it, and puts it into a file if there is one."""

    def __init__(self, file: Any = None) -> None:
        self._file = file
        self._hash = hashlib.sha256()

    async def take(self, data: bytes) -> None:
        self._hash.update(data)
        if self._file is not None:
            self._file.write(data)

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()


async def backup(connection: asyncpg.Connection, path: Path, suite_version: str) -> Manifest:
    """Write all tables as they are at one moment; under its name there is a whole and proven file, or none."""
    unfinished = path.with_name(f"{path.name}.unfinished")
    try:
        _refuse_used(path)
        descriptor = os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w+b") as file:
            manifest = await _write(connection, file, suite_version)
            file.flush()
            os.fsync(file.fileno())
        read_manifest(unfinished)
        unfinished.rename(path)
    except (ConnectionError, TimeoutError):
        raise  # the database's
    except OSError as error:
        raise MachineError(f"{path}: {error.strerror}: free space, or choose a folder that you may write") from error
    finally:
        unfinished.unlink(missing_ok=True)
    return manifest


def _refuse_used(path: Path) -> None:
    if path.exists():
        raise MachineError(f"{path} exists already: choose another name, or move it away")


async def _write(connection: asyncpg.Connection, file: Any, suite_version: str) -> Manifest:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=3) as archive:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            revision = await _revision(connection)
            contents: dict[str, Content] = {}
            for table in metadata.sorted_tables:
                with archive.open(table.name, "w", force_zip64=True) as entry:
                    contents[table.name] = await _content(connection, table, _Sink(entry))
        manifest = Manifest(FORMAT, revision, suite_version, contents)
        archive.writestr(MANIFEST, msgspec.json.format(msgspec.json.encode(manifest)))
    return manifest


async def _content(connection: asyncpg.Connection, table: Table, sink: _Sink) -> Content:
    """Copy a table out in an order that does not depend on the language of the database."""
    keys = [f'"{key.name}"' + (' COLLATE "C"' if isinstance(key.type, Text) else "") for key in table.primary_key]
    columns = [str(column.name) for column in table.columns]
    listed = ", ".join(f'"{name}"' for name in columns)
    query = f"SELECT {listed} FROM {table.name} ORDER BY {', '.join(keys)}"  # noqa: S608 - our own names
    said = await connection.copy_from_query(query, output=sink.take, timeout=COPY_S_MAX)
    return Content(columns, int(said.rpartition(" ")[2]), sink.sha256)


def read_manifest(path: Path) -> Manifest:
    """Read what a backup holds, and prove every byte of it against its hashes."""
    try:
        with zipfile.ZipFile(path) as archive:
            manifest = msgspec.json.decode(archive.read(MANIFEST), type=Manifest)
            for name, content in manifest.tables.items():
                with archive.open(name) as entry:
                    if hashlib.file_digest(entry, "sha256").hexdigest() != content.sha256:  # pyright: ignore[reportArgumentType] - it reads as any file
                        raise MachineError(f"{path}: {name} is damaged: take another backup")
            return manifest
    except OSError as error:
        raise MachineError(f"{path}: {error.strerror}: give the path of a backup that you may read") from error
    except (zipfile.BadZipFile, KeyError, EOFError, msgspec.MsgspecError, ValueError) as error:
        raise MachineError(f"{path} is no whole backup ({error}): take another one") from None


async def restore(owner: asyncpg.Connection, path: Path) -> Manifest:
    """Fill the empty tables of this version from a backup, all or nothing, and prove that they hold what it held."""
    manifest = read_manifest(path)
    async with owner.transaction():
        await _require_fitting(owner, manifest, path)
        with zipfile.ZipFile(path) as archive:
            for table in metadata.sorted_tables:
                content = manifest.tables[table.name]
                with archive.open(table.name) as entry:
                    source = _chunks(entry)
                    await owner.copy_to_table(table.name, source=source, columns=content.columns, timeout=COPY_S_MAX)
                found = await _content(owner, table, _Sink())
                if found != content:
                    raise DatabaseError(
                        f"{table.name} holds {found.rows:,} rows which are not the {content.rows:,} of the backup: "
                        "nothing was restored"
                    )
    return manifest


async def _require_fitting(owner: asyncpg.Connection, manifest: Manifest, path: Path) -> None:
    revision = await _revision(owner)
    names = {table.name for table in metadata.sorted_tables}
    if (manifest.format, manifest.revision, set(manifest.tables)) != (FORMAT, revision, names):
        raise DatabaseError(
            f"{path} is of revision {manifest.revision!r} (suite {manifest.suite_version}), "
            f"the tables are of {revision!r}: "
            "restore with that version of the suite, then migrate"
        )
    await owner.execute(f"LOCK TABLE {', '.join(sorted(names))} IN EXCLUSIVE MODE")
    for table in metadata.sorted_tables:
        if await owner.fetchval(f"SELECT EXISTS (SELECT FROM {table.name})"):  # noqa: S608 - our own names
            raise DatabaseError(
                f"{table.name} is not empty: a backup is restored into an empty database only. "
                "Point the config at a new one, or choose another data_dir"
            )


async def _revision(connection: asyncpg.Connection) -> str:
    return str(await connection.fetchval(f"SELECT version_num FROM {VERSION_TABLE}"))  # noqa: S608 - a constant


async def _chunks(entry: Any) -> AsyncIterator[bytes]:
    while data := entry.read(CHUNK_BYTES):
        yield data
