"""The tables come to this version from anywhere, whole or not at all, and the application gets what it needs."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import asyncpg
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from book_node import query
from filled_tables import fill, rows
from sqlalchemy import NullPool
from sqlalchemy.ext.asyncio import create_async_engine

import migrations
from nautilus_ext.errors import DatabaseError, SchemaBehind
from nautilus_ext.schema.connect import connect
from nautilus_ext.schema.locks import lock_key
from nautilus_ext.schema.revision import REVISION, VERSION_TABLE
from nautilus_ext.schema.tables import metadata
from nautilus_ext.schema.upgrade import config_for, require_current, upgrade

REVISIONS = ["0001", "0002", "0003", "0004", "0005", "0006"]
NEWEST = REVISIONS[-1]
OLD_TABLES = ["books", "runs", "instance_metadata"]
NEW_COLUMNS = "archived_at archive drained_at"
UPGRADE = "import sys; from nautilus_ext.schema.upgrade import upgrade; print(upgrade(*sys.argv[1:], timeout_s=20))"
CHECK = """
import asyncio, sys
from nautilus_ext.errors import SuiteError
from nautilus_ext.schema.connect import connect
from nautilus_ext.schema.upgrade import require_current
async def check():
    connection = await connect(sys.argv[1], timeout_s=5)
    await require_current(connection)
try:
    asyncio.run(check())
except SuiteError as error:
    print(type(error).__name__, error)
"""
CATALOG = """
SELECT 'column', c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull::text,
       pg_get_expr(d.adbin, d.adrelid), col_description(c.oid, a.attnum)
  FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
  LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
 WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace AND c.relname <> 'schema_version'
UNION ALL
SELECT 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid), contype::text, NULL, NULL
  FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND conrelid::regclass::text <> 'schema_version'
UNION ALL
SELECT 'index', tablename, indexname, indexdef, NULL, NULL, NULL
  FROM pg_indexes WHERE schemaname = 'public' AND tablename <> 'schema_version'
UNION ALL
SELECT 'table', relname, obj_description(oid, 'pg_class'), NULL, NULL, NULL, NULL
  FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND relname <> 'schema_version'
"""


def run_on(url, work):
    """Run a function of a synchronous connection in one transaction."""

    async def run():
        engine = create_async_engine(
            "postgresql+asyncpg://", poolclass=NullPool, async_creator=lambda: connect(url, timeout_s=5)
        )
        async with engine.begin() as connection:
            result = await connection.run_sync(work)
        await engine.dispose()
        return result

    return asyncio.run(run())


def check(url):
    async def run():
        connection = await connect(url, timeout_s=5)
        try:
            await require_current(connection)
        finally:
            await connection.close()

    asyncio.run(run())


def catalog(url):
    return sorted(str(tuple(row)) for row in query(url, CATALOG))


def python(script, *arguments, path=None, cwd="/"):
    environment = {"PYTHONPATH": str(path)} if path else {}
    command_line = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(
        command_line, cwd=cwd, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stderr == ""
    return done.stdout.strip()


def copy_of_migrations(folder, *left_out):
    ignored = shutil.ignore_patterns("__pycache__", *left_out)
    return shutil.copytree(Path(migrations.__file__).parent, folder / "migrations", ignore=ignored)


@pytest.fixture
def former_version(tmp_path):
    """The migrations as the version before the journal had them."""
    copy_of_migrations(tmp_path, *(f"{revision}_*" for revision in REVISIONS[1:]))
    return tmp_path


@pytest.fixture
def next_version(tmp_path):
    """Write a later version of the migrations, which goes before ours on the path of a process."""

    def write(statement):
        folder = copy_of_migrations(tmp_path)
        (folder / "versions" / "9999_next.py").write_text(
            textwrap.dedent(f"""
                from alembic import op
                revision, down_revision = "9999", {NEWEST!r}
                def upgrade():
                    op.execute("CREATE TABLE later (id int)")
                    op.execute({statement!r})
            """)
        )
        return tmp_path

    return write


def test_the_migrated_database_is_what_the_tables_say(empty_database):
    """Columns, types, defaults, comments, checks, keys and indexes are the same both ways."""
    url = empty_database.owner_url
    assert upgrade(url, empty_database.app_url, timeout_s=10) == REVISIONS
    options = {"version_table": VERSION_TABLE, "compare_type": True, "compare_server_default": True}
    assert run_on(url, lambda c: compare_metadata(MigrationContext.configure(c, opts=options), metadata)) == []
    migrated = catalog(url)
    run_on(url, lambda c: command.downgrade(config_for(c), "base"))
    assert catalog(url) == []
    run_on(url, metadata.create_all)
    assert migrated == catalog(url)


@pytest.mark.parametrize("start", [None, *REVISIONS])
def test_every_former_revision_comes_to_this_version(empty_database, start):
    """Wherever a database stands, one command brings it here; then there is nothing left to do."""
    url = empty_database.owner_url
    if start is not None:
        run_on(url, lambda c: command.upgrade(config_for(c), start))
    newer = REVISIONS if start is None else REVISIONS[REVISIONS.index(start) + 1 :]
    assert upgrade(url, empty_database.app_url, timeout_s=10) == newer
    assert upgrade(url, empty_database.app_url, timeout_s=10) == []
    check(empty_database.app_url)


def test_down_to_nothing_and_up_again(database):
    """A downgrade leaves nothing that an upgrade stumbles over, nor does the version table."""
    before = catalog(database.owner_url)
    run_on(database.owner_url, lambda c: command.downgrade(config_for(c), "base"))
    with pytest.raises(SchemaBehind, match="no tables yet"):
        check(database.app_url)
    assert upgrade(database.owner_url, database.app_url, timeout_s=10) == REVISIONS
    assert before == catalog(database.owner_url)


def test_filled_tables_go_down_and_up_again(empty_database):
    """Rows that an older version knows survive both ways, whatever stands in the newer tables."""
    url = empty_database.owner_url
    before = {}
    for revision in REVISIONS:
        run_on(url, lambda c, to=revision: command.upgrade(config_for(c), to))
        fill(url)
        before[revision] = catalog(url)
    kept = {table: rows(url, table, NEW_COLUMNS) for table in OLD_TABLES}
    assert [1] * len(metadata.tables) == [len(rows(url, table)) for table in metadata.tables]
    down = [(command.downgrade, revision) for revision in REVISIONS[-2::-1]]
    up = [(command.upgrade, revision) for revision in REVISIONS[1:]]
    for move, revision in [*down, *up]:
        run_on(url, lambda c, move=move, to=revision: move(config_for(c), to))
        assert before[revision] == catalog(url)
        assert kept == {table: rows(url, table, NEW_COLUMNS) for table in OLD_TABLES}
    fill(url)
    assert upgrade(url, empty_database.app_url, timeout_s=10) == []


def test_a_database_without_tables_names_the_cure(empty_database):
    """The message can be followed as it stands."""
    with pytest.raises(SchemaBehind, match=rf"'{NEWEST}'\. Run: python -m nautilus_ext migrate CONFIG"):
        check(empty_database.app_url)


def test_the_next_version_finds_a_database_that_is_behind(database, next_version):
    """It names the revision that is there and the one it needs, and applies what is missing."""
    path = next_version("SELECT 1")
    said = python(CHECK, database.app_url, path=path)
    assert said.startswith("SchemaBehind")
    assert f"at revision '{NEWEST}'; this version needs '9999'" in said
    assert python(UPGRADE, database.owner_url, database.app_url, path=path) == "['9999']"
    assert python(CHECK, database.app_url, path=path) == ""


def test_a_database_that_is_ahead_is_refused(database, next_version):
    """An older version touches nothing and says what to upgrade."""
    python(UPGRADE, database.owner_url, database.app_url, path=next_version("SELECT 1"))
    for refused in (
        lambda: check(database.app_url),
        lambda: upgrade(database.owner_url, database.app_url, timeout_s=5),
    ):
        with pytest.raises(DatabaseError, match=r"'9999', which this version does not know.*upgrade the software") as e:
            refused()
        assert not isinstance(e.value, SchemaBehind)


def test_the_version_before_the_journal_refuses_its_tables(database, former_version):
    """Old code on a new database names both revisions and asks for an upgrade of the software."""
    said = python(CHECK, database.app_url, path=former_version)
    assert said.startswith("DatabaseError")
    assert f"at revision '{NEWEST}', which this version does not know (its newest is '0001'): upgrade the" in said


def test_this_version_refuses_the_tables_before_the_journal(empty_database, former_version):
    """New code on a database that the old version made, filled: the migration is named, and cures it."""
    assert python(UPGRADE, empty_database.owner_url, empty_database.owner_url, path=former_version) == "['0001']"
    fill(empty_database.owner_url)
    query(empty_database.owner_url, f"GRANT SELECT ON {VERSION_TABLE} TO suite_app")
    with pytest.raises(
        SchemaBehind, match=rf"at revision '0001'; this version needs '{NEWEST}'\. Run: python -m .* migrate"
    ):
        check(empty_database.app_url)
    assert upgrade(empty_database.owner_url, empty_database.app_url, timeout_s=10) == REVISIONS[1:]
    check(empty_database.app_url)


def test_a_migration_that_fails_leaves_nothing(empty_database, next_version):
    """All revisions of one upgrade stand or fall together."""
    script = UPGRADE.replace("print", "\ntry: print") + "\nexcept Exception as error: print(error)"
    said = python(script, empty_database.owner_url, empty_database.app_url, path=next_version("SELECT 1/0"))
    assert "division by zero (SQLSTATE 22012)" in said
    assert query(empty_database.owner_url, "SELECT FROM pg_tables WHERE schemaname = 'public'") == []


def test_migrations_are_found_from_any_folder(empty_database, tmp_path):
    """The current folder has no say."""
    assert python(UPGRADE, empty_database.owner_url, empty_database.app_url, cwd=tmp_path) == str(REVISIONS)


def test_processes_that_migrate_at_once_take_turns(empty_database):
    """All succeed, and one of them did the work."""
    command_line = [sys.executable, "-c", UPGRADE, empty_database.owner_url, empty_database.app_url]
    started = [
        subprocess.Popen(command_line, cwd="/", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    said = [process.communicate(timeout=60) for process in started]
    assert [process.returncode for process in started] == [0] * 4, said
    assert sorted(out.strip() for out, _ in said) == [str(REVISIONS), "[]", "[]", "[]"]


async def test_the_wait_for_another_migration_is_bounded(empty_database):
    """Who waits too long says for what."""
    other = await asyncpg.connect(empty_database.owner_url)
    try:
        await other.execute("SELECT pg_advisory_lock($1::bigint)", lock_key("migrate", ""))
        with pytest.raises(DatabaseError, match=r"waited 0\.2 s at .* for another migration"):
            await asyncio.to_thread(upgrade, empty_database.owner_url, empty_database.app_url, timeout_s=0.2)
    finally:
        await other.close()


async def test_the_application_writes_rows_and_no_more(database):
    """It inserts and updates what changes; it deletes nothing, owns nothing and changes no table."""
    app = await connect(database.app_url, timeout_s=5)
    try:
        await app.execute(
            "INSERT INTO books VALUES ('b', 't', 'paper', 1);"
            "INSERT INTO runs (book_id, run, epoch, host, pid, suite_version, nautilus_version)"
            " VALUES ('b', 1, 1, 'h', 1, '0', '1');"
            "UPDATE books SET epoch = 2; UPDATE runs SET last_seq = 9, durable_seq = 9"
        )
        for forbidden in (
            "DELETE FROM runs",
            "TRUNCATE runs",
            "UPDATE books SET trader_id = 'x'",
            "UPDATE runs SET started_at = now()",
            "ALTER TABLE runs ADD x int",
            "DROP TABLE runs",
            "CREATE TABLE mine (id int)",
            "CREATE INDEX ON runs (pid)",
            f"UPDATE {VERSION_TABLE} SET version_num = 'x'",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await app.execute(forbidden)
        assert await app.fetchval("SELECT count(*) FROM pg_class WHERE relowner = current_user::regrole") == 0
    finally:
        await app.close()


@pytest.mark.parametrize(
    "row",
    [
        "INSERT INTO books VALUES ('c', 't', 'demo', 1)",
        "INSERT INTO books VALUES ('', 't', 'paper', 1)",
        "INSERT INTO books VALUES ('c', 't', 'paper', 0)",
        "UPDATE runs SET durable_seq = last_seq + 1",
        "UPDATE runs SET clean_end = true",
        "UPDATE runs SET run = 0",
        "UPDATE instance_metadata SET status = 'fine'",
    ],
)
def test_the_database_refuses_what_cannot_be(database, row):
    """A defect of ours becomes an error, not a row."""
    query(database.owner_url, "INSERT INTO books VALUES ('b', 't', 'paper', 1)")
    query(database.owner_url, "INSERT INTO runs VALUES ('b', 1, 1, 'h', 1, '0', '1')")
    query(database.owner_url, "INSERT INTO instance_metadata VALUES ('b', 'i', 1, 'h', 1, 'running')")
    with pytest.raises(asyncpg.CheckViolationError):
        query(database.owner_url, row)


def test_grants_are_set_anew_at_each_upgrade(database, postgres_server):
    """What an older version or a hand gave too much is taken back; a name with a blank is a name."""
    query(database.owner_url, "GRANT ALL ON runs TO suite_app")
    query(postgres_server.admin_url, "CREATE ROLE \"Desk App\" LOGIN PASSWORD 'x'")
    other_url = database.app_url.replace("suite_app:", "Desk%20App:")
    try:
        for url in (database.app_url, other_url):
            assert upgrade(database.owner_url, url, timeout_s=10) == []
        sql = "SELECT has_table_privilege($1, 'runs', 'DELETE'), has_table_privilege($1, 'books', 'INSERT')"
        for role in ("suite_app", "Desk App"):
            assert tuple(query(database.owner_url, sql, role)[0]) == (False, True)
    finally:
        query(postgres_server.admin_url.rpartition("/")[0] + f"/{database.name}", 'DROP OWNED BY "Desk App"')
        query(postgres_server.admin_url, 'DROP ROLE "Desk App"')


def test_one_role_for_both_needs_no_grants(empty_database):
    """A single address is enough to begin with."""
    assert upgrade(empty_database.owner_url, empty_database.owner_url, timeout_s=10) == REVISIONS
    check(empty_database.owner_url)


def test_an_application_role_that_does_not_exist_is_named(empty_database):
    """Nothing is migrated for an application that could not use it."""
    app_url = empty_database.app_url.replace("suite_app:", "nobody:")
    with pytest.raises(DatabaseError, match="role 'nobody' does not exist: CREATE ROLE"):
        upgrade(empty_database.owner_url, app_url, timeout_s=10)
    with pytest.raises(SchemaBehind):
        check(empty_database.owner_url)


def test_an_owner_that_may_not_create_is_told_what_it_needs(empty_database):
    """The application's role cannot migrate."""
    with pytest.raises(DatabaseError, match=r"user 'suite_app' lacks a permission.*CREATE on its schema"):
        upgrade(empty_database.app_url, empty_database.app_url, timeout_s=10)


def test_a_role_without_grants_is_sent_to_the_migration(database, postgres_server):
    """After a change of the application's role the same command cures it."""
    query(database.owner_url, f"REVOKE ALL ON {VERSION_TABLE} FROM suite_app")
    with pytest.raises(SchemaBehind, match=r"'suite_app' may not read.*Run: python -m nautilus_ext migrate CONFIG"):
        check(database.app_url)


def test_no_password_reaches_a_log(empty_database, caplog):
    """Not even with everything switched on."""
    caplog.set_level("DEBUG")
    upgrade(empty_database.owner_url, empty_database.app_url, timeout_s=10)
    password = empty_database.owner_url.split(":")[2].partition("@")[0]
    assert "0001" in caplog.text
    assert password not in caplog.text


def test_who_writes_without_alembic_knows_its_newest_revision():
    """The shipper compares it in each transaction."""
    assert REVISIONS[-1] == REVISION
