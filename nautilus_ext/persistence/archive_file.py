"""The file of an archived run: its rows of `order_events` in Parquet. Its name says how many they are, and their hash.

`runs.archive` holds the path, so the database knows what the file must hold, and only the owner can say otherwise.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import pyarrow as pa
from pyarrow import parquet

from nautilus_ext.errors import MachineError
from nautilus_ext.persistence.rows import JournalRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

CHUNK_ROWS = 2_000  # of one row group: no more are held at once, however many a run has

_NUMBERS = {"run": pa.int32(), "seq": pa.int64(), "ts_event": pa.int64(), "ts_init": pa.int64()}
# Text, the payload too: what the database wrote is what stands in the file, character by character.
SCHEMA = pa.schema([pa.field(name, _NUMBERS.get(name, pa.string())) for name in JournalRow._fields])
_NAME = re.compile(r"(\d{6,9})-(\d{1,18})-([0-9a-f]{64})\.parquet", re.ASCII)


class Content(NamedTuple):
    """What a file holds: number of rows, and sha256 over them."""

    rows: int
    sha256: str


class Promise(NamedTuple):
    """What the name of a file says: whose events it holds, and what they are."""

    run: int
    content: Content


class Unreadable(MachineError):
    """The file of an archived run is missing or damaged: put it back to where `runs.archive` says that it is."""


class Digest:
    """Counts and hashes rows as they come."""

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


def path_of(folder: Path, run: int, content: Content) -> Path:
    return folder / f"{run:06d}-{content.rows}-{content.sha256}.parquet"


def promised(path: str) -> Promise | None:
    match = _NAME.fullmatch(Path(path).name)
    return Promise(int(match[1]), Content(int(match[2]), match[3])) if match else None


def chunks(path: Path, rows: int = CHUNK_ROWS) -> Iterator[list[tuple[Any, ...]]]:
    """Read the rows of a file, some at a time. Unreadable names the file and what is wrong with it."""
    try:
        with path.open("rb") as data, parquet.ParquetFile(data) as file:
            if not file.schema_arrow.equals(SCHEMA):
                raise Unreadable(f"{path}: its columns are not those of order_events")
            for batch in file.iter_batches(rows):
                yield list(zip(*(column.to_pylist() for column in batch.columns), strict=True))
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0].rstrip(".")
        raise Unreadable(f"{path}: {reason}: put it back there") from None


def read_back(path: Path) -> Content:
    """Count and hash the rows of a file."""
    found = Digest()
    for rows in chunks(path):
        found.take(rows)
    return found.content
