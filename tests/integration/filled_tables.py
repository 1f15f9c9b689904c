"""One row in every table, made from what the database says of its columns: also of tables of an older revision."""

from __future__ import annotations

import asyncio

import asyncpg
from book_node import query

from nautilus_ext.schema.tables import metadata

VALUES = {
    "text": "'x'",
    "text[]": "'{x}'",
    "integer": "1",
    "bigint": "1",
    "numeric": "1",
    "boolean": "true",
    "jsonb": "'{}'",
    "bytea": "'x'",
    "timestamp with time zone": "now()",
}
CHECKED = {
    "books.environment": "'paper'",
    "instance_metadata.status": "'running'",
    "rejected_events.stage": "'decode'",
    "commands.status": "'pending'",
    "alerts.severity": "'warning'",
    "unified_orders.operation": "'trade'",
    "unified_orders.side": "'BUY'",
    "portfolio_positions.side": "'LONG'",
    "portfolio_positions.status": "'closed'",
    "portfolio_positions.rollover_status": "'none'",
    "signal_log.outcome": "'claimed'",
}
COLUMNS = """
SELECT c.relname AS table, array_agg(a.attname::text ORDER BY a.attnum) AS names,
       array_agg(format_type(a.atttypid, NULL) ORDER BY a.attnum) AS types
  FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
 WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace
 GROUP BY c.relname
"""


def fill(url: str, tables: list[str] | None = None) -> None:
    """Add the row to all tables that exist, or to those that are named; a row that is there stays."""

    async def run() -> None:
        connection = await asyncpg.connect(url)
        try:
            found = {row["table"]: _insert(**row) for row in await connection.fetch(COLUMNS)}
            wanted = [table.name for table in metadata.sorted_tables if tables is None or table.name in tables]
            await connection.execute(";".join(found[table] for table in wanted if table in found))
        finally:
            await connection.close()

    asyncio.run(run())


def _insert(table: str, names: list[str], types: list[str]) -> str:
    values = [CHECKED.get(f"{table}.{name}", VALUES.get(kind)) for name, kind in zip(names, types, strict=True)]
    quoted = ", ".join(f'"{name}"' for name in names)
    return f"INSERT INTO {table} ({quoted}) VALUES ({', '.join(map(str, values))}) ON CONFLICT DO NOTHING"


def rows(url: str, table: str, without: str = "") -> list[str]:
    """All rows of a table as text, without the columns that came with a later revision."""
    sql = f"SELECT (to_jsonb(t) - string_to_array($1, ' '))::text AS row FROM {table} t ORDER BY 1"
    return [row["row"] for row in query(url, sql, without)]
