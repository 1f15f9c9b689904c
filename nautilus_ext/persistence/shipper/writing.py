"""One connection of the shipper: a batch is one transaction, and what the database says of it is sorted here."""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import asyncpg
from asyncpg import exceptions as pg

from nautilus_ext.errors import BookLost, DatabaseError, SchemaBehind
from nautilus_ext.persistence.shipper.statements import ADVANCE, DRAINED, EPOCH, MISSING, PROGRESS, TARGETS, Target
from nautilus_ext.schema.books import shipper_name
from nautilus_ext.schema.connect import ANY_BOOK, CLOSE_S_MAX, NO_LONG_TRANSACTION, connect
from nautilus_ext.schema.revision import REVISION

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from asyncpg.prepared_stmt import PreparedStatement

    from nautilus_ext.persistence.shipper.state import ShipperOrder

# Data exceptions, broken constraints, a row twice in one merge, a key that is too long for its index: the record's
# fault. All other classes are the server's, and pass.
_DATA_CLASSES = ("22", "23", "21", "54")
_JSONB_VERSION = b"\x01"
# A plan that was made while the tables were small or unknown must not read the whole book for each batch later.
BY_INDEX = {**ANY_BOOK, **{f"enable_{way}": "off" for way in ("seqscan", "hashjoin", "mergejoin", "material")}}


type Rows = dict[type, Sequence[Any]]


class Overtaken(DatabaseError):
    """Another shipper has moved the progress of this run: read it again."""


class TooSlow(DatabaseError):
    """A batch was not in time: end what holds the tables up, or raise database.statement_timeout_s."""

    def __init__(self, records: int, statement_timeout_s: float) -> None:
        what = "even 1 record takes" if records == 1 else f"{records:,} records take"
        super().__init__(
            f"{what} the database longer than statement_timeout_s ({statement_timeout_s:g} s): does a lock or a "
            "trigger hold its tables up? End that, or raise database.statement_timeout_s; the log keeps what waits"
        )


class Progress(NamedTuple):
    durable_seq: int
    rejected: int
    life: tuple[int, str, int]  # epoch, host and pid of the node that has the run


class Step(NamedTuple):
    """How the progress of a run moves with a batch."""

    run: int
    begin: int
    end: int
    known: int


class Writer:
    """Writes batches of one book under one epoch. Whoever opened it closes it; after an error it is of no use."""

    @classmethod
    async def open(cls, url: str, order: ShipperOrder) -> Self:
        connection = await _connect(url, order)
        try:
            reader = await _connect(url, order, **BY_INDEX)
            try:
                writer = cls(connection, reader, order)
                await writer._prepare()
            except BaseException:
                reader.terminate()
                raise
        except BaseException:
            connection.terminate()
            raise
        return writer

    def __init__(self, connection: asyncpg.Connection, reader: asyncpg.Connection, order: ShipperOrder) -> None:
        self.statement_timeout_s = order.statement_timeout_s
        self._connection = connection
        self._reader = reader
        self._book_id = order.book_id
        self._epoch = order.epoch
        self._merges: dict[type, PreparedStatement] = {}

    async def _prepare(self) -> None:
        """Prepare in a transaction: the driver leaves one open behind a PREPARE, with its locks and its time-out."""
        stages = [target.create_stage for target in TARGETS.values() if target.stage]
        async with self._transaction():
            await self._connection.execute(";".join(stages))
            for kind, target in TARGETS.items():
                if target.stage:
                    self._merges[kind] = await self._connection.prepare(target.merge)
            self._advance = await self._connection.prepare(ADVANCE)

    async def close(self) -> None:
        await self._reader.close(timeout=CLOSE_S_MAX)
        await self._connection.close(timeout=CLOSE_S_MAX)

    def terminate(self) -> None:
        self._reader.terminate()
        self._connection.terminate()

    async def progress(self, run: int) -> Progress | None:
        """How far a run has come; None when this database does not know the run."""
        row = await self._reader.fetchrow(PROGRESS, self._book_id, run)
        return (
            None
            if row is None
            else Progress(row["durable_seq"], row["rejected"], (row["epoch"], row["host"], row["pid"]))
        )

    async def missing(self, run: int) -> int:
        """Count the records that are passed and are neither in the journal nor named as refused."""
        return await self._reader.fetchval(MISSING, self._book_id, run) or 0

    async def mark_drained(self, run: int) -> None:
        """Say that the log of a run holds nothing more: the next start need not look for it."""
        await self._connection.execute(DRAINED, self._book_id, run, self._epoch)

    async def check_epoch(self) -> None:
        """BookLost when another node has taken the book; SchemaBehind when the tables are not this version's."""
        self._judge(await self._reader.fetchrow(EPOCH, self._book_id))

    def _judge(self, found: Any) -> None:
        epoch = None if found is None else found["epoch"]
        if epoch != self._epoch:
            now = "is gone" if epoch is None else f"has epoch {epoch}"
            raise BookLost(f"book {self._book_id} {now}, this shipper writes under {self._epoch}: the next one goes on")
        if found is not None and found["revision"] != REVISION:
            raise SchemaBehind(
                f"the tables are at revision {found['revision']!r}, this shipper writes {REVISION!r}: nothing is lost, "
                "the rest waits in the local log. Start the node anew, with the version that the tables are of"
            )

    async def fetch(self, query: str, *arguments: Any) -> list[Any]:
        """Read what was committed, also while a batch is on its way; the statement is prepared once."""
        return await self._reader.fetch(query, self._book_id, *arguments)

    async def write(self, step: Step, rows: Rows) -> None:
        """Commit the rows and the progress, all or nothing."""
        async with self._transaction():
            row = await self._advance.fetchrow(self._book_id, step.run, step.begin, step.end, step.known, self._epoch)
            assert row is not None, "a SELECT without FROM has a row"
            self._judge(row)
            if not row["has_advanced"]:
                raise Overtaken(f"book {self._book_id}, run {step.run}: its progress is not {step.begin} any more")
            for kind, target in TARGETS.items():
                if batch := rows.get(kind):
                    await self._put(kind, target, batch)

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[None]:
        """By hand: the driver's own takes the next one for a part of one whose COMMIT took too long."""
        await self._connection.execute("BEGIN")
        try:
            yield
            await self._connection.execute("COMMIT")
        except BaseException:
            if not self._connection.is_closed() and self._connection.is_in_transaction():
                with suppress(OSError, pg.PostgresError, pg.InterfaceError):  # what went wrong before is told
                    await self._connection.execute("ROLLBACK")
            raise

    async def _put(self, kind: type, target: Target, batch: Sequence[Any]) -> None:
        table, records = (target.stage, target.staged(batch)) if target.stage else (target.table, batch)
        await self._connection.copy_records_to_table(table, records=records, columns=target.columns)
        if target.merge:
            await self._merges[kind].fetch()


async def _connect(url: str, order: ShipperOrder, **settings: str) -> asyncpg.Connection:
    connection = await connect(
        url,
        timeout_s=order.connect_timeout_s,
        answer_timeout_s=order.statement_timeout_s + order.connect_timeout_s,
        application_name=shipper_name(order.book_id),
        server_settings={
            "statement_timeout": str(round(order.statement_timeout_s * 1_000)),
            **NO_LONG_TRANSACTION,
            **settings,
        },
        max_cached_statement_lifetime=0,
    )
    try:
        # JSON is bytes here from the log to the table: nobody in between reads it.
        await connection.set_type_codec(
            "jsonb", schema="pg_catalog", format="binary", encoder=_JSONB_VERSION.__add__, decoder=_without_version
        )
    except BaseException:
        connection.terminate()
        raise
    return connection


def is_data_error(error: Exception) -> bool:
    """Tell what a record is guilty of from what the connection, the server or its disk is."""
    if isinstance(error, pg.PostgresError):
        return str(getattr(error, "sqlstate", "")).startswith(_DATA_CLASSES)
    return isinstance(error, (ValueError, TypeError, ArithmeticError))  # what the driver cannot encode


def is_too_slow(error: Exception) -> bool:
    """Tell a statement that took longer than statement_timeout_s: a smaller batch may be in time."""
    return isinstance(error, pg.QueryCanceledError)


def _without_version(value: bytes) -> bytes:
    return bytes(value[1:])
