"""What the two roles may do with the journal and its tables, seen on a real server."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import asyncpg
import pytest
from book_node import query
from filled_tables import fill

from nautilus_ext.errors import DatabaseError
from nautilus_ext.schema.connect import connect
from nautilus_ext.schema.tables import metadata
from nautilus_ext.schema.upgrade import upgrade

BOOK_TABLES = ["books", "runs", "instance_metadata"]
INSERT_ONLY = ["order_events", "risk_decisions", "routing_decisions", "rejected_events"]
UPSERTED = [
    *("unified_orders", "unified_fills", "instruments", "venue_positions", "unified_positions", "account_states"),
    *("portfolio_positions", "portfolio_state", "pyramiding_state", "signal_log"),
]
RUN = "INSERT INTO runs (book_id, run, epoch, host, pid, suite_version, nautilus_version"


@pytest.fixture
def filled(database):
    """A row in every table, all but those of the book written by the application."""
    fill(database.owner_url, BOOK_TABLES)
    fill(database.app_url, [table.name for table in metadata.sorted_tables if table.name not in BOOK_TABLES])
    return database


def let_pass(url, statements):
    """Run each on one connection; return those that the server let pass."""

    async def run():
        connection = await connect(url, timeout_s=5)
        passed = []
        for statement in statements:
            try:
                await connection.execute(statement)
                passed.append(statement)
            except asyncpg.InsufficientPrivilegeError:
                pass
        await connection.close()
        return passed

    return asyncio.run(run())


@pytest.mark.parametrize("table", INSERT_ONLY)
def test_history_is_only_added_to(filled, table):
    """Neither directly nor by a detour does the application change or remove what it wrote."""
    tried = (
        f"UPDATE {table} SET book_id = 'y'",
        f"DELETE FROM {table}",
        f"TRUNCATE {table}",
        f"INSERT INTO {table} SELECT * FROM {table} ON CONFLICT (book_id, run, seq) DO UPDATE SET book_id = 'y'",
        f"MERGE INTO {table} t USING books b ON t.book_id = b.book_id WHEN MATCHED THEN DELETE",
        f"SELECT FROM {table} FOR UPDATE",
        f"ALTER TABLE {table} DISABLE TRIGGER ALL",
        f"ALTER TABLE {table} OWNER TO suite_app",
        f"ALTER TABLE {table} DROP COLUMN run",
        f"CREATE RULE no AS ON INSERT TO {table} DO INSTEAD NOTHING",
        f"CREATE TRIGGER no BEFORE INSERT ON {table} EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        f"DROP TABLE {table}",
    )
    assert [] == let_pass(filled.app_url, tried)
    assert query(filled.app_url, f"SELECT count(*) FROM {table} WHERE book_id = 'x'")[0][0] == 1


def test_the_application_cannot_become_the_owner(filled):
    """No role, setting or grant of its own lets it past its rights."""
    tried = (
        "SET ROLE suite_owner",
        "SET SESSION AUTHORIZATION suite_owner",
        "SET session_replication_role = replica",
        "ALTER ROLE suite_app SUPERUSER",
        "GRANT suite_owner TO suite_app",
        "ALTER SCHEMA public OWNER TO suite_app",
        "REASSIGN OWNED BY suite_owner TO suite_app",
    )
    assert [] == let_pass(filled.app_url, tried)
    query(filled.app_url, "GRANT ALL ON order_events TO suite_app")  # a warning, and nothing granted
    rights = (
        "SELECT has_table_privilege('order_events', 'UPDATE, DELETE, TRUNCATE, TRIGGER'),"
        " has_any_column_privilege('order_events', 'UPDATE'), pg_has_role('suite_owner', 'MEMBER')"
    )
    assert tuple(query(filled.app_url, rights)[0]) == (False, False, False)


def test_computed_rows_are_upserted(filled):
    """The application writes a row again, and deletes none but an old signal."""
    for table in UPSERTED:
        key = ", ".join(column.name for column in metadata.tables[table].primary_key)
        again = f"INSERT INTO {table} SELECT * FROM {table} ON CONFLICT ({key}) DO UPDATE SET book_id = 'x' RETURNING 1"
        assert len(query(filled.app_url, again)) == 1
    deletions = [f"DELETE FROM {table}" for table in metadata.tables]
    assert ["DELETE FROM signal_log"] == let_pass(filled.app_url, deletions)


def test_an_event_is_written_once(filled):
    """A batch that is sent again finds its rows and adds nothing."""
    again = "INSERT INTO order_events SELECT * FROM order_events"
    with pytest.raises(asyncpg.UniqueViolationError):
        query(filled.app_url, again)
    assert query(filled.app_url, f"{again} ON CONFLICT DO NOTHING RETURNING 1") == []


def test_only_the_owner_says_that_a_run_is_archived(database):
    """An audit believes it, so the application can neither set it nor start a run with it."""
    query(database.owner_url, "INSERT INTO books VALUES ('b', 't', 'paper', 1)")
    query(database.app_url, f"{RUN}) VALUES ('b', 1, 1, 'h', 1, '0', '1')")
    tried = (
        "UPDATE runs SET archived_at = now(), archive = 'x'",
        "UPDATE runs SET archive = 'x'",
        f"{RUN}, archived_at, archive) VALUES ('b', 2, 2, 'h', 1, '0', '1', now(), 'x')",
    )
    assert [] == let_pass(database.app_url, tried)
    with pytest.raises(asyncpg.CheckViolationError):
        query(database.owner_url, "UPDATE runs SET archive = 'x'")
    query(database.owner_url, "UPDATE runs SET archived_at = now(), archive = 'x'")
    assert query(database.app_url, "SELECT archive FROM runs")[0]["archive"] == "x"


async def test_a_batch_goes_through_a_temporary_table(database):
    """Copied first, then merged: what the shipper does, with the rights that it has."""
    app = await connect(database.app_url, timeout_s=5)
    names = [column.name for column in metadata.tables["account_states"].columns]
    try:
        await app.execute("CREATE TEMP TABLE batch (LIKE account_states) ON COMMIT DELETE ROWS")
        for seq in (1, 2):
            async with app.transaction():
                row = ("b", "SIM-001", "MARGIN", None, "[]", "[]", True, 1, 1, seq)
                await app.copy_records_to_table("batch", records=[row], columns=names)
                await app.execute(
                    "INSERT INTO account_states SELECT * FROM batch ON CONFLICT (book_id, account_id)"
                    " DO UPDATE SET seq = excluded.seq"
                )
        assert await app.fetch("SELECT seq FROM account_states") == [(2,)]
        assert await app.fetchval("SELECT count(*) FROM batch") == 0
    finally:
        await app.close()


def test_a_hardened_server_gives_the_application_its_temporary_tables(database):
    """Where nobody may create one, the migration allows it to the application alone."""
    query(database.owner_url, f"REVOKE TEMPORARY ON DATABASE {database.name} FROM PUBLIC")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        query(database.app_url, "CREATE TEMP TABLE batch (id int)")
    assert upgrade(database.owner_url, database.app_url, timeout_s=10) == []
    assert query(database.app_url, "CREATE TEMP TABLE batch (id int)") == []


def test_an_owner_that_cannot_allow_temporary_tables_says_who_must_run_what(database, postgres_server):
    """The database may belong to somebody else than its tables."""
    admin_url = postgres_server.admin_url
    query(admin_url, f"ALTER DATABASE {database.name} OWNER TO CURRENT_USER")
    query(admin_url, f"REVOKE TEMPORARY ON DATABASE {database.name} FROM PUBLIC")
    cure = f'Run: GRANT TEMPORARY ON DATABASE "?{database.name}"? TO "?suite_app'
    with pytest.raises(DatabaseError, match=cure):
        upgrade(database.owner_url, database.app_url, timeout_s=10)


def test_a_deleted_base_position_leaves_its_pyramid(filled):
    """The pyramid's row stays and points at nothing."""
    query(filled.owner_url, "DELETE FROM portfolio_positions")
    found = query(filled.app_url, "SELECT book_id, strategy_id, base_position_id FROM pyramiding_state")
    assert [tuple(row) for row in found] == [("x", "x", None)]


def test_an_amount_comes_back_as_it_was(filled):
    """Tokens with 30 decimals and sums of any size lose nothing."""
    for amount in ("0.000000000000000000000000000001", "9" * 60 + "." + "9" * 60, "-1E+300"):
        query(filled.app_url, "UPDATE unified_fills SET quantity = $1", Decimal(amount))
        assert Decimal(amount) == query(filled.app_url, "SELECT quantity FROM unified_fills")[0]["quantity"]


def test_the_database_refuses_values_that_nobody_means(filled):
    """A defect of ours becomes an error, not a row."""
    for statement in (
        "UPDATE unified_orders SET operation = 'buy'",
        "UPDATE unified_orders SET side = 'LONG'",
        "UPDATE commands SET status = 'done'",
        "UPDATE rejected_events SET stage = 'copy'",
        "UPDATE portfolio_positions SET status = 'open'",
        "UPDATE portfolio_positions SET rollover_status = ''",
        "UPDATE portfolio_positions SET closed_quantity = quantity + 1",
        "UPDATE portfolio_state SET version = 0",
        "UPDATE pyramiding_state SET pyramid_count = -1",
        "UPDATE signal_log SET outcome = 'accepted'",
    ):
        with pytest.raises(asyncpg.CheckViolationError):
            query(filled.owner_url, statement)


def test_the_catalog_explains_each_table(database):
    """Who looks with any tool finds what a table and its columns hold."""
    found = query(
        database.app_url,
        """SELECT c.relname, obj_description(c.oid, 'pg_class') IS NULL AS bare,
                  count(*) FILTER (WHERE col_description(c.oid, a.attnum) IS NULL) AS bare_columns
             FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
            WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace GROUP BY c.oid""",
    )
    assert [row["relname"] for row in found if row["bare"] or row["bare_columns"]] == []
    assert {row["relname"] for row in found} == {*metadata.tables, "schema_version"}


@pytest.mark.parametrize(
    "columns",
    [
        "strategy_id", "created_at", "status, strategy_id", "venue, status", "operation", "atomic_group_id", "tx_hash",
        "operation, status",
    ],
)  # fmt: skip
def test_the_eight_indexes_that_the_requirement_names_are_there(database, columns):
    """Behind the book, which every key begins with; a query of the desk or of risk leans on them."""
    found = query(database.owner_url, "SELECT indexdef FROM pg_indexes WHERE tablename = 'unified_orders'")
    assert [each for (each,) in found if f"(book_id, {columns})" in each]
