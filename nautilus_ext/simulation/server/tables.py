"""The ledger's tables, and rows made from the exchange's words and back. Pure.

Prices, quantities and money are decimals as text: what is read is what was booked, to the last digit.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec

from nautilus_ext.simulation.exchange.orders import AccountTerms, Balance, Fill, OrderState, PositionState

if TYPE_CHECKING:
    from collections.abc import Iterable

SCHEMA = 1  # raise it when a table changes: an older ledger is then refused, with the cure

ORDER_COLUMNS = OrderState.__struct_fields__
FILL_COLUMNS = Fill.__struct_fields__
POSITION_COLUMNS = PositionState.__struct_fields__
_IDENTITY = ("venue", "venue_order_id", "client_order_id", "account", "instrument_id", "side", "type", "ts_accepted_ns")
_CHANGING = tuple(name for name in ORDER_COLUMNS if name not in _IDENTITY)

TABLES = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE accounts (
  id INTEGER PRIMARY KEY, venue TEXT NOT NULL, account TEXT NOT NULL, kind TEXT NOT NULL,
  starting_balances TEXT NOT NULL, leverage TEXT NOT NULL, opened_ns INTEGER NOT NULL,
  UNIQUE (venue, account));
CREATE TABLE balances (
  venue TEXT NOT NULL, account TEXT NOT NULL, currency TEXT NOT NULL, total TEXT NOT NULL, locked TEXT NOT NULL,
  ts_ns INTEGER NOT NULL,
  PRIMARY KEY (venue, account, currency)) WITHOUT ROWID;
CREATE TABLE positions (
  venue TEXT NOT NULL, account TEXT NOT NULL, instrument_id TEXT NOT NULL, quantity TEXT NOT NULL, average_price TEXT,
  cost TEXT NOT NULL, realized TEXT NOT NULL, ts_last_ns INTEGER NOT NULL,
  PRIMARY KEY (venue, account, instrument_id)) WITHOUT ROWID;
CREATE TABLE orders (
  number INTEGER PRIMARY KEY, venue TEXT NOT NULL, venue_order_id TEXT NOT NULL, client_order_id TEXT NOT NULL,
  account TEXT NOT NULL, instrument_id TEXT NOT NULL, side TEXT NOT NULL, type TEXT NOT NULL,
  time_in_force TEXT NOT NULL, quantity TEXT NOT NULL, filled TEXT NOT NULL, status TEXT NOT NULL,
  ts_accepted_ns INTEGER NOT NULL, ts_last_ns INTEGER NOT NULL, average_price TEXT, price TEXT, trigger_price TEXT,
  expire_ns INTEGER NOT NULL, post_only INTEGER NOT NULL, reduce_only INTEGER NOT NULL, display_quantity TEXT,
  parent_id TEXT, linked_ids TEXT NOT NULL, contingency TEXT NOT NULL, held INTEGER NOT NULL,
  triggered INTEGER NOT NULL, reason TEXT NOT NULL, priority INTEGER NOT NULL, ordered TEXT, shown TEXT,
  UNIQUE (venue, venue_order_id), UNIQUE (venue, account, client_order_id));
CREATE INDEX open_orders ON orders (venue, account) WHERE status IN ('ACCEPTED', 'TRIGGERED', 'PARTIALLY_FILLED');
CREATE TABLE fills (
  number INTEGER PRIMARY KEY, venue TEXT NOT NULL, trade_id TEXT NOT NULL, match_id INTEGER NOT NULL,
  venue_order_id TEXT NOT NULL, client_order_id TEXT NOT NULL, account TEXT NOT NULL, instrument_id TEXT NOT NULL,
  side TEXT NOT NULL, quantity TEXT NOT NULL, price TEXT NOT NULL, fee TEXT NOT NULL, fee_currency TEXT NOT NULL,
  maker INTEGER NOT NULL, ts_ns INTEGER NOT NULL,
  UNIQUE (venue, trade_id));
CREATE INDEX fills_of_order ON fills (venue, venue_order_id);
CREATE TABLE stream (
  account_id INTEGER NOT NULL, seq INTEGER NOT NULL, event TEXT NOT NULL, ts_ns INTEGER NOT NULL,
  body BLOB NOT NULL,
  PRIMARY KEY (account_id, seq)) WITHOUT ROWID;
"""


def _insert(table: str, columns: Iterable[str]) -> str:
    names = tuple(columns)
    return f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"  # noqa: S608 - own names


def _upsert(table: str, columns: Iterable[str], key: str, changing: Iterable[str]) -> str:
    changes = ", ".join(f"{name} = excluded.{name}" for name in changing)
    return f"{_insert(table, columns)} ON CONFLICT ({key}) DO UPDATE SET {changes}"


PUT_META = _upsert("meta", ("name", "value"), "name", ("value",))
PUT_ACCOUNT = _insert("accounts", ("id", "venue", "account", "kind", "starting_balances", "leverage", "opened_ns"))
PUT_BALANCE = _upsert(
    "balances", ("venue", "account", "currency", "total", "locked", "ts_ns"), "venue, account, currency",
    ("total", "locked", "ts_ns"),
)  # fmt: skip
PUT_POSITION = _upsert("positions", ("venue", *POSITION_COLUMNS), "venue, account, instrument_id", POSITION_COLUMNS[2:])
PUT_ORDER = _upsert("orders", ("venue", *ORDER_COLUMNS), "venue, venue_order_id", _CHANGING)
PUT_FILL = _insert("fills", ("venue", *FILL_COLUMNS))
PUT_ITEM = _insert("stream", ("account_id", "seq", "event", "ts_ns", "body"))


def order_row(venue: str, order: OrderState) -> tuple[Any, ...]:
    return (
        venue,
        order.venue_order_id,
        order.client_order_id,
        order.account,
        order.instrument_id,
        order.side,
        order.type,
        order.time_in_force,
        str(order.quantity),
        str(order.filled),
        order.status,
        order.ts_accepted_ns,
        order.ts_last_ns,
        _text(order.average_price),
        _text(order.price),
        _text(order.trigger_price),
        order.expire_ns,
        order.post_only,
        order.reduce_only,
        _text(order.display_quantity),
        order.parent_id,
        msgspec.json.encode(order.linked_ids).decode() if order.linked_ids else "",
        order.contingency,
        order.held,
        order.triggered,
        order.reason,
        order.priority,
        _text(order.ordered),
        _text(order.shown),
    )


def order_from(row: tuple[Any, ...]) -> OrderState:
    """From the columns of an order, without the venue."""
    fields = dict(zip(ORDER_COLUMNS, row, strict=True))
    fields["linked_ids"] = msgspec.json.decode(fields["linked_ids"] or "[]")
    return msgspec.convert(fields, OrderState, strict=False)


def fill_row(venue: str, fill: Fill) -> tuple[Any, ...]:
    return (
        venue,
        fill.trade_id,
        fill.match_id,
        fill.venue_order_id,
        fill.client_order_id,
        fill.account,
        fill.instrument_id,
        fill.side,
        str(fill.quantity),
        str(fill.price),
        str(fill.fee),
        fill.fee_currency,
        fill.maker,
        fill.ts_ns,
    )


def fill_from(row: tuple[Any, ...]) -> Fill:
    return msgspec.convert(dict(zip(FILL_COLUMNS, row, strict=True)), Fill, strict=False)


def position_row(venue: str, position: PositionState) -> tuple[Any, ...]:
    return (
        venue,
        position.account,
        position.instrument_id,
        str(position.quantity),
        _text(position.average_price),
        str(position.cost),
        str(position.realized),
        position.ts_last_ns,
    )


def position_from(row: tuple[Any, ...]) -> PositionState:
    return msgspec.convert(dict(zip(POSITION_COLUMNS, row, strict=True)), PositionState, strict=False)


def balance_row(venue: str, account: str, balance: Balance, ts_ns: int) -> tuple[Any, ...]:
    return (venue, account, balance.currency, str(balance.total), str(balance.locked), ts_ns)


def balance_from(currency: str, total: str, locked: str) -> Balance:
    return Balance(currency, Decimal(total), Decimal(locked))


def terms_row(number: int, venue: str, terms: AccountTerms, ts_ns: int) -> tuple[Any, ...]:
    starting = msgspec.json.encode(terms.starting_balances).decode()
    return (number, venue, terms.account, terms.kind, starting, str(terms.leverage), ts_ns)


def terms_from(account: str, kind: str, starting: str, leverage: str) -> AccountTerms:
    fields = {
        "account": account,
        "kind": kind,
        "starting_balances": msgspec.json.decode(starting),
        "leverage": leverage,
    }
    return msgspec.convert(fields, AccountTerms)


def _text(number: Decimal | None) -> str | None:
    return None if number is None else str(number)
