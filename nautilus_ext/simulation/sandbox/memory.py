"""The file in which a sandbox venue remembers: balances, positions and working orders, never a part of a change.

One SQLite file per trader (or book) and venue. A change is one transaction, which survives the end of the process at
any moment. The file is locked as long as somebody has it open, and what cannot be read is set aside, not deleted.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from nautilus_ext.errors import BookTaken, MachineError

if TYPE_CHECKING:
    from pathlib import Path

FORMAT = 1
APPLICATION_ID = 0x4E584D59  # in the header of the file: a database of another program is told apart
_MACHINE_CODES = (
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
)
_PRIMARY_CODE = 0xFF  # SQLite adds the kind of a code above it

_TABLES = """
CREATE TABLE owner (owner TEXT NOT NULL);
CREATE TABLE balances (currency TEXT PRIMARY KEY, total TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE instruments (instrument_id TEXT PRIMARY KEY, definition BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE orders (client_order_id TEXT PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE positions (position_id TEXT PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID;
"""
_PUT = {
    "balances": "INSERT OR REPLACE INTO balances VALUES (?, ?)",
    "instruments": "INSERT OR REPLACE INTO instruments VALUES (?, ?)",
    "orders": "INSERT OR REPLACE INTO orders VALUES (?, ?)",
    "positions": "INSERT OR REPLACE INTO positions VALUES (?, ?)",
}
_DROP = {
    "orders": "DELETE FROM orders WHERE client_order_id = ?",
    "positions": "DELETE FROM positions WHERE position_id = ?",
}


class Owner(msgspec.Struct, frozen=True, kw_only=True):
    """Whose account it is. A file of another one is not used."""

    trader_id: str
    venue: str
    account_type: str
    oms_type: str
    base_currency: str | None


class OrderRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One order as it stands; what led there is folded into it."""

    initialized: dict[str, Any]
    is_closed: bool
    venue_order_id: str | None
    position_id: str | None
    quantity: str
    quote_quantity: bool
    price: str | None
    trigger_price: str | None
    filled: str
    average_price: float
    triggered: bool
    activated: bool

    @property
    def client_order_id(self) -> str:
        return self.initialized["client_order_id"]

    @property
    def parent_id(self) -> str | None:
        return self.initialized["parent_order_id"]

    @property
    def linked_ids(self) -> list[str]:
        return self.initialized["linked_order_ids"] or []

    def __str__(self) -> str:
        order = self.initialized
        price = self.price or self.trigger_price
        at = f" at {price}" if price is not None else ""
        what = f"{order['order_side']} {self.quantity} {order['instrument_id']}{at}, {self.filled} of it filled"
        return f"{order['order_type']} {self.client_order_id} ({what})"


class PositionRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One open position; its fills are folded into one at the average price."""

    position_id: str
    instrument_id: str
    strategy_id: str
    opening_order_id: str
    side: Literal["BUY", "SELL"]
    quantity: str
    average_price: float
    realized_pnl: str | None
    opened_ns: int

    def __str__(self) -> str:
        return f"position {self.position_id} ({self.side} {self.quantity} at {self.average_price})"


@dataclass
class Change:
    """What one turn of the loop changed."""

    balances: dict[str, str] = field(default_factory=dict)
    instruments: dict[str, bytes] = field(default_factory=dict)
    orders: list[OrderRecord] = field(default_factory=list)
    orders_gone: list[str] = field(default_factory=list)
    positions: list[PositionRecord] = field(default_factory=list)
    positions_gone: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Remembered:
    """What the file held when it was opened."""

    balances: dict[str, str]
    instruments: dict[str, bytes]
    orders: list[OrderRecord]
    positions: list[PositionRecord]


def still_needed(records: list[OrderRecord]) -> set[str]:
    """Working orders, and the closed ones of their brackets, which the rules of the others look up."""
    by_id = {record.client_order_id: record for record in records}
    needed: set[str] = set()
    for record in records:
        if not record.is_closed:
            needed |= {record.client_order_id, *record.linked_ids, record.parent_id or ""} & by_id.keys()
    return needed


class Memory:
    """Owns the open file; `close` ends that, and so does the end of the process."""

    def __init__(self, path: Path, owner: Owner) -> None:
        self.path = path
        self.set_aside: str | None = None
        """Why an older file was not used, and where it is now."""
        try:
            self._database, self.remembered = _opened(path, owner)
        except _Unusable as unusable:
            aside = _move_aside(path)
            self.set_aside = f"{path} {unusable}; it is kept as {aside.name}"
            self._database, self.remembered = _opened(path, owner)

    def save(self, change: Change) -> None:
        """All of it or nothing; sqlite3.Error when it cannot be written."""
        encode = msgspec.json.encode
        put = self._database.executemany
        self._database.execute("BEGIN IMMEDIATE")
        try:
            put(_PUT["balances"], change.balances.items())
            put(_PUT["instruments"], change.instruments.items())
            put(_PUT["orders"], [(each.client_order_id, encode(each)) for each in change.orders])
            put(_PUT["positions"], [(each.position_id, encode(each)) for each in change.positions])
            put(_DROP["orders"], [(each,) for each in change.orders_gone])
            put(_DROP["positions"], [(each,) for each in change.positions_gone])
            self._database.execute("COMMIT")
        except sqlite3.Error:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            raise

    def close(self) -> None:
        self._database.close()


class _Unusable(Exception):
    """The file exists, and what is in it cannot be used."""


def _opened(path: Path, owner: Owner) -> tuple[sqlite3.Connection, Remembered]:
    cure = "give the folder to the user who runs the node, or choose another data_dir"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        database = sqlite3.connect(path, timeout=0.0, isolation_level=None, check_same_thread=False)
    except (OSError, sqlite3.OperationalError) as error:
        raise MachineError(f"{path} cannot be opened ({error}): {cure}") from error
    try:
        return database, _read(database, owner)
    except sqlite3.DatabaseError as error:
        database.close()
        code = error.sqlite_errorcode & _PRIMARY_CODE
        if code == sqlite3.SQLITE_BUSY:
            taken = f"{path} is in use: a node of {owner.trader_id} trades {owner.venue} on paper already"
            raise BookTaken(f"{taken}; stop it, or run under another trader_id or --book") from error
        if code in _MACHINE_CODES:
            raise MachineError(f"{path} cannot be used ({error}): {cure}") from error
        raise _Unusable(f"is damaged ({error})") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        database.close()
        raise _Unusable(f"is damaged (a record in it: {error})") from error
    except BaseException:
        database.close()
        raise


def _read(database: sqlite3.Connection, owner: Owner) -> Remembered:
    database.execute("PRAGMA locking_mode = EXCLUSIVE")  # held from the first access on: one node per account
    database.execute("BEGIN IMMEDIATE")
    found = database.execute("PRAGMA application_id").fetchone()[0]
    is_new = not database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if is_new:
        database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        database.execute(f"PRAGMA user_version = {FORMAT}")
        for statement in _TABLES.split(";"):
            database.execute(statement)
        database.execute("INSERT INTO owner VALUES (?)", (msgspec.json.encode(owner).decode(),))
    elif found != APPLICATION_ID:
        raise _Unusable("belongs to another program")
    database.execute("COMMIT")
    _verify(database, owner)
    remembered = Remembered(
        balances=dict(_rows(database, "balances")),
        instruments=dict(_rows(database, "instruments")),
        orders=[msgspec.json.decode(record, type=OrderRecord) for _, record in _rows(database, "orders")],
        positions=[msgspec.json.decode(record, type=PositionRecord) for _, record in _rows(database, "positions")],
    )
    database.execute("PRAGMA journal_mode = WAL")  # only now: what is not ours stays as it is
    # The end of the process loses nothing then; a power cut, the last moments.
    database.execute("PRAGMA synchronous = NORMAL")
    return remembered


def _rows(database: sqlite3.Connection, table: str) -> list[tuple[Any, Any]]:
    with closing(database.execute(f"SELECT * FROM {table}")) as cursor:  # noqa: S608 - a name of ours
        return cursor.fetchall()


def _verify(database: sqlite3.Connection, owner: Owner) -> None:
    version = database.execute("PRAGMA user_version").fetchone()[0]
    if version != FORMAT:
        raise _Unusable(f"has format {version}, and this version reads {FORMAT}")
    verdict = database.execute("PRAGMA quick_check(1)").fetchone()[0]
    if verdict != "ok":
        raise _Unusable(f"is damaged ({' '.join(verdict.split())})")
    (text,) = database.execute("SELECT owner FROM owner").fetchone() or ("{}",)
    found = msgspec.json.decode(text, type=Owner)
    if found != owner:
        differences = [
            f"{name} {getattr(found, name)}, not {getattr(owner, name)}"
            for name in Owner.__struct_fields__
            if getattr(found, name) != getattr(owner, name)
        ]
        raise _Unusable(f"is of another account ({'; '.join(differences)})")


def _move_aside(path: Path) -> Path:
    """With what SQLite keeps beside it, which belongs to it."""
    moment = f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
    aside = path.with_name(f"{path.name}.unusable-{moment}")
    for suffix in ("-wal", "-shm", "-journal", ""):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(aside.with_name(aside.name + suffix))
    return aside
