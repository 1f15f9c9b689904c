"""A book whose tables a real shipper filled, an owner who tampers with them, and the audit of it."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import asyncpg
from shipper_log import INSTRUMENT, START_NS, STRATEGY, Trader
from shipper_stage import BOOK, Stage

from nautilus_ext.persistence.archive import archive_run
from nautilus_ext.persistence.audit import Place, Report, audit, opened

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

ORDERS = 70  # more than any table has columns
JSON_TAMPERED = '{"tampered": 1}'
OTHERS = {"side": {"BUY": "SELL", "SELL": "BUY", "LONG": "SHORT", "FLAT": "LONG"}, "operation": {"trade": "swap"}}


def decisions(trader: Trader, client_order_id: str) -> list[bytes]:
    """One verdict of a risk gate, one routing."""
    ids = {"strategy_id": STRATEGY, "instrument_id": INSTRUMENT, "ts_ns": START_NS}
    risk = {
        "client_order_id": client_order_id,
        "verdict": "approved",
        "limit": "5",
        "value": "1",
        "would_be": "2",
        **ids,
    }
    routing = {"parent_client_order_id": client_order_id, "plan": 1, "slice": 1, "reason": "cheapest", **ids}
    return [
        trader.record("RiskDecision", {**risk, "code": "", "scope": "book", "unit": "orders", "details": {"a": 1}}),
        trader.record("RoutingDecision", {**routing, "chosen": [{"venue": "A"}], "alternatives": []}),
    ]


class AuditStage:
    """One book of two ended runs, shipped, and a copy of its tables to go back to."""

    def __init__(self, owner_url: str, app_url: str, folder: Path) -> None:
        self.owner_url = owner_url
        self.stage = Stage(app_url, folder)

    def fill(self, orders: int = ORDERS, runs: int = 2) -> None:
        """The position of a run is closed at its end when `orders` is a multiple of four."""
        for run in range(1, runs + 1):
            self.run(orders, prefix=f"R{run}")

    def run(self, orders: int, *, prefix: str, extra: Iterable[bytes] = (), clean: bool = True) -> int:
        start, trader = self.stage.start_run(), Trader(prefix)
        log = self.stage.begin_log(start)
        log.append(trader.instrument())
        for _ in range(orders):
            log.append_many(list(trader.order()))
        log.append_many([*decisions(trader, f"{prefix}-1"), *extra])
        if clean:
            log.append(trader.end())
        log.close()
        assert self.stage.run_to_end(start) == 0
        if clean:
            self.execute(f"UPDATE runs SET ended_at = now(), clean_end = true WHERE run = {start.run}")
        return start.run

    def execute(self, sql: str) -> None:
        asyncio.run(self._execute(sql))

    async def _execute(self, sql: str) -> None:
        connection = await asyncpg.connect(self.owner_url)
        try:
            await connection.execute(sql)
        finally:
            await connection.close()

    def fetch(self, sql: str, *arguments: Any) -> list[asyncpg.Record]:
        return self.stage.query(sql, *arguments)

    def rows(self, table: str) -> list[str]:
        return [row["ctid"] for row in self.fetch(f"SELECT ctid::text FROM {table} ORDER BY ctid")]

    def audit(self, *, host: str = "", live: bool = False) -> Report:
        async def work() -> Report:
            async with opened(self.stage.url, 5.0, "test") as connection:
                place = Place(BOOK, self.stage.folder, host or socket.gethostname())
                return await audit(connection, place, live=live)

        return asyncio.run(work())

    def archive(self, run: int, folder: Path, owner_url: str = "") -> Path:
        async def work() -> Path:
            async with (
                opened(self.stage.url, 5.0, "test") as reader,
                opened(owner_url or self.owner_url, 5.0, "test") as owner,
            ):
                return await archive_run(reader, owner, BOOK, run, folder)

        return asyncio.run(work())

    def keep(self, *tables: str) -> None:
        for table in tables:
            self.execute(f"CREATE TABLE kept_{table} AS SELECT * FROM {table}")

    def put_back(self, *tables: str) -> None:
        for table in tables:
            self.execute(f"TRUNCATE {table}; INSERT INTO {table} SELECT * FROM kept_{table}")

    def columns(self, table: str) -> dict[str, str]:
        found = self.fetch(
            "SELECT column_name, data_type FROM information_schema.columns "
            "WHERE table_name = $1 AND table_schema = 'public' ORDER BY ordinal_position",
            table,
        )
        return {row["column_name"]: row["data_type"] for row in found if row["column_name"] != "book_id"}


def changed(column: str, kind: str) -> str:
    """Say the SQL of another value of the same type that the table accepts."""
    if column in OTHERS:
        cases = " ".join(f"WHEN '{old}' THEN '{new}'" for old, new in OTHERS[column].items())
        return f"CASE {column} {cases} END"
    name = f'"{column}"'
    return {
        "text": f"coalesce({name}, '') || 'x'",
        "numeric": f"coalesce({name}, 0) + 1",
        "integer": f"coalesce({name}, 0) + 1000",
        "bigint": f"coalesce({name}, 0) + 1000",
        "boolean": f"NOT {name}",
        "jsonb": f"'{JSON_TAMPERED}'::jsonb",
        "timestamp with time zone": f"{name} + interval '1 second'",
        "ARRAY": f"array_append({name}, 'x')",
    }[kind]
