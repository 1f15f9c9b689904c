"""What the exchange has said and booked, in SQLite: the witness. A killed server begins again with what stands here.

Everything of one turn of the server is one transaction, and answers leave after it: what a client was told is here.
Write-ahead log with synchronous=NORMAL: a kill of the process loses nothing; a power cut may lose the last moments.
"""

from __future__ import annotations

import re
import sqlite3
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from nautilus_ext.simulation.exchange.orders import OPEN, AccountChanged, AccountState, Filled
from nautilus_ext.simulation.server import tables

if TYPE_CHECKING:
    from collections.abc import Container, Iterator
    from pathlib import Path

    from nautilus_ext.simulation.exchange.orders import AccountTerms, Event, Fill, OrderState, PositionState
    from nautilus_ext.simulation.wire import GetFills, GetOrders

FILE = "exchange.sqlite"
STREAM_ITEMS_KEPT = 100_000  # per account; a client that was away for longer begins anew
TRIM_EVERY = 10_000
BUSY_TIMEOUT_S = 5.0  # how long a stranger may hold the file's write lock
CHECKPOINT_PAGES = 4_000
WAL_BYTES_KEPT = 32_000_000
CURE = "move the folder away, or choose another exchange name"
_OPEN = ", ".join(f"'{status}'" for status in OPEN)
_KNOWN = "SELECT 1 FROM orders WHERE venue = ? AND account = ? AND client_order_id = ?"
_ORDERS = f"SELECT {', '.join(tables.ORDER_COLUMNS)} FROM orders"  # noqa: S608 - our own column names
_FILLS = f"SELECT {', '.join(tables.FILL_COLUMNS)} FROM fills"  # noqa: S608 - our own column names


class LedgerError(Exception):
    """The ledger cannot be read or written: the server ends, for it could not keep its word."""


@dataclass(slots=True)
class OpenAccount:
    """An account as the ledger has it, with the number of its last stream item."""

    id: int
    terms: AccountTerms
    seq: int = 0


class Ledger:
    """One file, one writer. Writes gather until `commit`; reads see them at once. Whoever opens it closes it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self._orders: dict[tuple[str, str], tuple] = {}
        self._fresh_ids: set[tuple[str, str, str]] = set()
        self._fills: list[tuple] = []
        self._items: list[tuple] = []
        self._balances: dict[tuple[str, str, str], tuple] = {}
        self._positions: dict[tuple[str, str, str], tuple] = {}
        self._meta: dict[str, str] = {}
        self._has_changes = False
        self.accounts: dict[tuple[str, str], OpenAccount] = {}
        with self._explained():
            self._sql = sqlite3.connect(self.path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
            self._prepare()
        with self.understood(), self._explained():
            self.meta: dict[str, str] = dict(self._sql.execute("SELECT name, value FROM meta"))
            self.run = int(self.meta.get("run", "0")) + 1
            self.put_meta("run", str(self.run))
            self._load_accounts()

    def _prepare(self) -> None:
        self._sql.execute("PRAGMA journal_mode = WAL")
        self._sql.execute("PRAGMA synchronous = NORMAL")
        self._sql.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        self._sql.execute(f"PRAGMA journal_size_limit = {WAL_BYTES_KEPT}")
        (schema,) = self._sql.execute("PRAGMA user_version").fetchone()
        if schema == 0:
            self._sql.executescript(f"BEGIN IMMEDIATE; {tables.TABLES} PRAGMA user_version = {tables.SCHEMA}; COMMIT;")
        elif schema != tables.SCHEMA:
            raise LedgerError(
                f"{self.path} has tables of version {schema}, this version knows {tables.SCHEMA}: "
                "move the folder away, or choose another exchange name; a new, empty one is then made"
            )
        found = {name for (name,) in self._sql.execute("SELECT name FROM sqlite_master")}
        missing = sorted(set(re.findall(r"CREATE (?:TABLE|INDEX) (\w+)", tables.TABLES)) - found)
        if missing:
            raise LedgerError(f"{self.path} has lost {', '.join(missing)}: {CURE}")

    def _load_accounts(self) -> None:
        rows = self._sql.execute(
            "SELECT id, venue, account, kind, starting_balances, leverage,"
            " (SELECT coalesce(max(seq), 0) FROM stream WHERE account_id = accounts.id) FROM accounts"
        )
        for number, venue, account, kind, starting, leverage, seq in rows:
            terms = tables.terms_from(account, kind, starting, leverage)
            self.accounts[venue, account] = OpenAccount(number, terms, seq)

    # -- writing ------------------------------------------------------------------------------------

    def put_meta(self, name: str, value: str) -> None:
        self._meta[name] = value
        self._has_changes = True

    def open_account(self, venue: str, terms: AccountTerms, ts_ns: int) -> None:
        account = OpenAccount(len(self.accounts) + 1, terms)
        with self._explained():
            self._begin()
            self._sql.execute(tables.PUT_ACCOUNT, tables.terms_row(account.id, venue, terms, ts_ns))
        self.accounts[venue, terms.account] = account

    def append(self, account: OpenAccount, venue: str, event: Event, ts_ns: int, body: bytes) -> None:
        """Book one event and keep it as stream item `account.seq`, as the wire has it."""
        if isinstance(event, AccountChanged):
            self._put_account(venue, event)
        else:
            order = event.order
            self._orders[venue, order.venue_order_id] = tables.order_row(venue, order)
            self._fresh_ids.add((venue, order.account, order.client_order_id))
            if isinstance(event, Filled):
                self._fills.append(tables.fill_row(venue, event.fill))
        self._items.append((account.id, account.seq, type(event).__name__, ts_ns, body))
        self._has_changes = True
        if account.seq > STREAM_ITEMS_KEPT and account.seq % TRIM_EVERY == 0:
            oldest = account.seq - STREAM_ITEMS_KEPT
            with self._explained():
                self._begin()
                self._sql.execute("DELETE FROM stream WHERE account_id = ? AND seq <= ?", (account.id, oldest))

    def _put_account(self, venue: str, change: AccountChanged) -> None:
        name, ts_ns = change.state.account, change.state.ts_ns
        for balance in change.state.balances:
            self._balances[venue, name, balance.currency] = tables.balance_row(venue, name, balance, ts_ns)
        for position in change.positions:
            self._positions[venue, name, position.instrument_id] = tables.position_row(venue, position)

    def commit(self) -> None:
        """Nothing that the clients may know of leaves before this returns."""
        if self._has_changes or self._sql.in_transaction:
            with self._explained():
                self._flush()
                self._sql.execute("COMMIT")

    def _begin(self) -> None:
        if not self._sql.in_transaction:
            self._sql.execute("BEGIN IMMEDIATE")

    def _flush(self) -> None:
        """Hand what has gathered to SQLite, in the open transaction."""
        self._begin()
        for statement, rows in (
            (tables.PUT_ORDER, self._orders.values()),
            (tables.PUT_FILL, self._fills),
            (tables.PUT_BALANCE, self._balances.values()),
            (tables.PUT_POSITION, self._positions.values()),
            (tables.PUT_ITEM, self._items),
            (tables.PUT_META, self._meta.items()),
        ):
            if rows:
                self._sql.executemany(statement, rows)
        gathered = (
            self._orders,
            self._fresh_ids,
            self._fills,
            self._balances,
            self._positions,
            self._items,
            self._meta,
        )
        for each in gathered:
            each.clear()
        self._has_changes = False

    def close(self) -> None:
        self.commit()
        self._sql.close()

    # -- reading ------------------------------------------------------------------------------------

    def is_known(self, venue: str, account: str, client_order_id: str) -> bool:
        """Tell whether this id was ever used by the account; refused commands used none."""
        key = (venue, account, client_order_id)
        if key in self._fresh_ids:
            return True
        with self._explained():  # without a flush: every new order comes here
            return self._sql.execute(_KNOWN, key).fetchone() is not None

    def items_after(self, account: OpenAccount, seq: int, limit: int) -> list[tuple[int, str, bytes]]:
        """Give (seq, event, body) of the stream items that follow `seq`, oldest first."""
        return self._read(
            "SELECT seq, event, body FROM stream WHERE account_id = ? AND seq > ? ORDER BY seq LIMIT ?",
            (account.id, seq, limit),
        )

    def first_kept(self, account: OpenAccount) -> int:
        """Give the number of the oldest stream item that is still there; one past the last when there is none."""
        ((first,),) = self._read("SELECT min(seq) FROM stream WHERE account_id = ?", (account.id,))
        return account.seq + 1 if first is None else first

    def orders(self, venue: str, account: str, ask: GetOrders, limit: int) -> list[OrderState]:
        where = _Where(venue=venue, account=account)
        where.equal("client_order_id", ask.client_order_id)
        where.equal("venue_order_id", ask.venue_order_id)
        where.equal("instrument_id", ask.instrument_id)
        if ask.open_only:
            where.add(f"status IN ({_OPEN})")
        else:
            where.add(f"(ts_last_ns >= ? OR status IN ({_OPEN}))", ask.since_ns)
        if ask.until_ns is not None:
            where.add("ts_accepted_ns <= ?", ask.until_ns)
        if ask.after is not None:
            where.add("number > (SELECT number FROM orders WHERE venue = ? AND venue_order_id = ?)", venue, ask.after)
        rows = self._read(f"{_ORDERS} WHERE {where.text} ORDER BY number LIMIT ?", (*where.values, limit))
        return [tables.order_from(row) for row in rows]

    def fills(self, venue: str, account: str, ask: GetFills, limit: int) -> list[Fill]:
        where = _Where(venue=venue, account=account)
        where.equal("client_order_id", ask.client_order_id)
        where.equal("venue_order_id", ask.venue_order_id)
        where.equal("instrument_id", ask.instrument_id)
        where.add("ts_ns >= ?", ask.since_ns)
        if ask.until_ns is not None:
            where.add("ts_ns <= ?", ask.until_ns)
        if ask.after is not None:
            where.add("number > (SELECT number FROM fills WHERE venue = ? AND trade_id = ?)", venue, ask.after)
        rows = self._read(f"{_FILLS} WHERE {where.text} ORDER BY number LIMIT ?", (*where.values, limit))
        return [tables.fill_from(row) for row in rows]

    def open_orders(self, venue: str) -> list[OrderState]:
        rows = self._read(f"{_ORDERS} WHERE venue = ? AND status IN ({_OPEN}) ORDER BY number", (venue,))
        return [tables.order_from(row) for row in rows]

    def account_state(self, venue: str, terms: AccountTerms) -> AccountState:
        """Give the balances as they were booked; margins follow from positions and orders, and stand nowhere."""
        rows = self._read(
            "SELECT currency, total, locked, ts_ns FROM balances WHERE venue = ? AND account = ? ORDER BY currency",
            (venue, terms.account),
        )
        return AccountState(
            account=terms.account,
            kind=terms.kind,
            balances=tuple(tables.balance_from(*row[:3]) for row in rows),
            margins=(),
            ts_ns=max((row[3] for row in rows), default=0),
        )

    def positions(self, venue: str, account: str, listed: Container[str]) -> list[PositionState]:
        """Leave out what is not listed any more: such a position is flat, or the server would not have begun."""
        columns = ", ".join(tables.POSITION_COLUMNS)
        rows = self._read(
            f"SELECT {columns} FROM positions WHERE venue = ? AND account = ?",  # noqa: S608 - our own column names
            (venue, account),
        )
        return [position for position in map(tables.position_from, rows) if position.instrument_id in listed]

    def listings_in_use(self) -> set[str]:
        """Name what has open orders, or a position that is not flat."""
        rows = self._read(
            f"SELECT instrument_id FROM orders WHERE status IN ({_OPEN})"  # noqa: S608 - our own words
            " UNION SELECT instrument_id FROM positions WHERE CAST(quantity AS REAL) <> 0"
        )
        return {name for (name,) in rows}

    def _read(self, statement: str, values: tuple[Any, ...] = ()) -> list[tuple]:
        with self._explained():
            if self._has_changes:
                self._flush()
            return self._sql.execute(statement, values).fetchall()

    @contextmanager
    def understood(self) -> Iterator[None]:
        """For what was written before: somebody else may have changed it since."""
        try:
            yield
        except (ValueError, TypeError, ArithmeticError, LookupError, AssertionError, msgspec.MsgspecError) as error:
            what = f"{type(error).__name__} {error}".strip()
            raise LedgerError(f"{self.path} holds something that no server wrote ({what}): {CURE}") from error

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise LedgerError(
                f"{self.path}: {error}: free space on the disk, end what locks the file, or move the folder away"
            ) from error


class _Where:
    """Conditions and their values, side by side."""

    def __init__(self, **equal: str) -> None:
        self._conditions: list[str] = []
        self.values: list[Any] = []
        for name, value in equal.items():
            self.equal(name, value)

    @property
    def text(self) -> str:
        return " AND ".join(self._conditions)

    def equal(self, name: str, value: str | None) -> None:
        if value is not None:
            self.add(f"{name} = ?", value)

    def add(self, condition: str, *values: Any) -> None:
        self._conditions.append(condition)
        self.values += values
