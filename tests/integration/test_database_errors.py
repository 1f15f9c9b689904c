"""Each way in which a database can be out of reach is named with its cure, and never with a password."""

from __future__ import annotations

import asyncio
import socket
import ssl
from urllib.parse import quote

import asyncpg
import pytest
from book_node import query

from nautilus_ext.errors import DatabaseError
from nautilus_ext.schema.connect import connect, create_pool, database_error

SECRET = "planted-S3cret"


async def refusal(url, timeout_s=2.0):
    """Fail to connect; return the message after looking for the password in the whole chain and all its frames."""
    with pytest.raises(DatabaseError) as caught:
        await connect(url, timeout_s=timeout_s)
    assert SECRET not in f"{caught.getrepr(style='native', chain=True)}"
    return str(caught.value)


@pytest.mark.parametrize(
    ("url", "part"),
    [
        (
            f"postgresql://desk:{SECRET}@127.0.0.1:9/suite",
            "nothing accepts connections at 127.0.0.1:9, database 'suite'",
        ),
        (f"postgresql://desk:{SECRET}@localhost:9/suite", "localhost:9"),
        (f"postgresql://desk:{SECRET}@no-such-host.invalid/suite", "'no-such-host.invalid' cannot be resolved"),
        (f"postgresql://desk:{SECRET}@{'a' * 70}.example/suite", "cannot be resolved"),
        (f"postgresql://desk:{SECRET}@/suite?host=/nowhere", "no server listens on the socket"),
        (f"postgresql://desk:{SECRET}@/suite?port=x", "cannot be used"),
        (f"postgresql://desk:{SECRET}@db/suite?sslmode=sometimes", "cannot be used"),
        (f"postgresql://desk:{SECRET}@db/suite?{SECRET}", "cannot be used"),
        (f"postgresql://desk:{SECRET}@db:99999/suite", "99999"),
        (f"postgresql://desk:p@{SECRET}@db/suite", "@ is %40"),
        (f"postgresql://desk:{SECRET}/x@db/suite", "/ is %2F"),
        (f"postgresql://desk:[{SECRET}@db/suite", ""),
        (f"postgresql+asyncpg://desk:{SECRET}@db/suite", "without the part from + on"),
        (f"dbname=suite password={SECRET}", "does not start with postgresql://"),
    ],
)
async def test_a_bad_address_or_an_absent_server_is_named(url, part):
    """Host, port, database and user are shown."""
    assert part in await refusal(url)


async def test_a_wrong_password_an_absent_role_and_an_absent_database_differ(empty_database):
    """Each has another cure."""
    rest = empty_database.app_url.partition("@")[2]
    wrong = f"postgresql://suite_app:{SECRET}@{rest}"
    assert "rejects this user or password" in await refusal(wrong)
    assert "rejects this user or password" in await refusal(wrong.replace("suite_app", "no_role"))
    absent = empty_database.app_url.replace(empty_database.name, "no_such_database")
    text = await refusal(absent)
    assert "has no database 'no_such_database': CREATE DATABASE" in text
    assert absent.split(":")[2].partition("@")[0] not in text


async def test_a_server_without_a_free_connection_is_named(empty_database, postgres_server):
    """The limit of a role counts as one of the server."""
    role, password = "few_connections", SECRET
    admin = await asyncpg.connect(postgres_server.admin_url)
    try:
        await admin.execute(f"CREATE ROLE {role} LOGIN CONNECTION LIMIT 0 PASSWORD '{password}'")
        url = f"postgresql://{role}:{password}@{empty_database.app_url.partition('@')[2]}"
        assert "has no connection left for user 'few_connections'" in await refusal(url)
        await admin.execute(f"ALTER ROLE {role} NOLOGIN")
        assert "does not let this user in" in await refusal(url)
    finally:
        await admin.execute(f"DROP ROLE {role}")
        await admin.close()


async def test_a_database_that_may_not_be_entered_is_named(empty_database, postgres_server):
    """The right to connect is one that an operator can give."""
    admin = await asyncpg.connect(postgres_server.admin_url)
    await admin.execute(f"REVOKE CONNECT ON DATABASE {empty_database.name} FROM PUBLIC")
    await admin.close()
    assert "user 'suite_app' lacks a permission" in await refusal(empty_database.app_url)


async def test_a_server_that_never_answers_is_given_up():
    """A firewall that drops packets and a stopped server look like this."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert "no answer within 0.3 s" in await refusal(f"postgresql://d:{SECRET}@127.0.0.1:{port}/x", timeout_s=0.3)


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
async def test_a_server_that_is_no_postgres_is_named(answer):
    """A wrong port often reaches another program."""

    async def speak(_reader, writer):
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(speak, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert "is it no PostgreSQL" in await refusal(f"postgresql://d:{SECRET}@127.0.0.1:{port}/x")


async def test_a_server_without_tls_says_so(empty_database):
    """What sslmode asks for is not silently left out."""
    assert "without the TLS that sslmode asks for" in await refusal(f"{empty_database.app_url}?sslmode=require")
    assert "no TLS connection" in str(database_error(ssl.SSLError("x"), empty_database.app_url))


async def test_where_nothing_listens_nobody_is_asked_about_tls(unused_tcp_port):
    """One cure for one trouble: start it, or correct where it is."""
    told = await refusal(f"postgresql://d:{SECRET}@127.0.0.1:{unused_tcp_port}/x")
    assert told.endswith("start the database, or correct host and port")


async def test_a_dead_client_is_noticed_within_seconds(empty_database):
    """The lock of a machine that lost its power must not stay for the two hours of TCP's default."""
    connection = await connect(empty_database.app_url, timeout_s=5, application_name="exec-suite x")
    try:
        names = ("idle", "interval", "count")
        found = [await connection.fetchval(f"SHOW tcp_keepalives_{name}") for name in names]
        assert found == ["5", "2", "3"]
        assert await connection.fetchval("SHOW application_name") == "exec-suite x"
    finally:
        await connection.close()


async def test_a_password_with_every_special_character_works_when_encoded(empty_database, postgres_server):
    """The cure that the errors name is one."""
    password = "p@ss/w?o#r:d%[]&="
    admin = await asyncpg.connect(postgres_server.admin_url)
    try:
        await admin.execute(f"CREATE ROLE special LOGIN PASSWORD '{password}'")
        rest = empty_database.app_url.partition("@")[2]
        connection = await connect(f"postgresql://special:{quote(password, safe='')}@{rest}", timeout_s=5)
        await connection.close()
    finally:
        await admin.execute("DROP ROLE special")
        await admin.close()


async def test_a_pool_is_bounded_in_size_and_in_each_statement(database):
    """Size and timeouts come from the config and hold."""
    pool = await create_pool(database.app_url, size=2, timeout_s=5, statement_timeout_s=0.2)
    try:
        assert pool.get_max_size() == 2
        with pytest.raises(asyncpg.QueryCanceledError):
            await pool.execute("SELECT pg_sleep(5)")
        assert await pool.fetchval("SELECT count(*) FROM books") == 0
    finally:
        await pool.close()


async def test_a_pool_names_an_absent_server_as_a_connection_does(database, postgres_server):
    """At its start and at each later connection."""
    with pytest.raises(DatabaseError, match="nothing accepts connections"):
        await create_pool(f"postgresql://d:{SECRET}@127.0.0.1:9/x", size=1, timeout_s=1, statement_timeout_s=1)
    pool = await create_pool(database.app_url, size=1, timeout_s=5, statement_timeout_s=5)
    try:
        gone = f"ALTER DATABASE {database.name} ALLOW_CONNECTIONS "
        await asyncio.to_thread(query, postgres_server.admin_url, f"{gone} false")
        await pool.expire_connections()
        with pytest.raises(DatabaseError, match=r"lacks a permission|does not let this user in|refused"):
            await pool.fetchval("SELECT 1")
        await asyncio.to_thread(query, postgres_server.admin_url, f"{gone} true")
        assert await pool.fetchval("SELECT 1") == 1
    finally:
        await pool.close()
