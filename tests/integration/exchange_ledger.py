"""The one reader of an exchange's ledger: with sqlite3 from its file, past the server and past the clients."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

from nautilus_ext.simulation.server.ledger import FILE

if TYPE_CHECKING:
    from pathlib import Path

Row = dict[str, Any]


class Ledger:
    """One reading, of one account at all venues or of all. Opened beside the server, or after it was killed."""

    def __init__(self, folder: Path, account: str | None = None) -> None:
        with closing(sqlite3.connect(f"file:{folder / FILE}?mode=ro", uri=True)) as sql:
            sql.row_factory = sqlite3.Row
            sql.execute("BEGIN")  # one moment for all tables

            def rows(table: str, order: str = "venue, account") -> list[Row]:
                query = f"SELECT * FROM {table} WHERE :account IN (account, '') ORDER BY {order}"
                return [dict(row) for row in sql.execute(query, {"account": account or ""})]

            self.orders = rows("orders", "number")
            self.fills = rows("fills", "number")
            self.balances = rows("balances")
            self.positions = rows("positions")
            self.accounts = rows("accounts")
            self.stream = rows("stream JOIN accounts ON accounts.id = account_id", "account_id, seq")


def at(rows: list[Row], venue: str, account: str) -> list[Row]:
    return [row for row in rows if (row["venue"], row["account"]) == (venue, account)]
