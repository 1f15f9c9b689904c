"""Commands in the table: asked once, taken by one run, answered once, whatever breaks in between."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import asyncpg
import pytest
from book_node import query

from nautilus_ext.errors import BookLost
from nautilus_ext.schema import books, commands
from nautilus_ext.schema.commands import Taker
from nautilus_ext.schema.connect import connect

BOOK = "PAPER-001@paper"
WAIT_S = 10.0
HALT = ("c-1", "halt", {"scope": "node", "why": "a test", "flatten": False}, "ann")


def claim(book_id=BOOK):
    return books.Claim(book_id, "PAPER-001", "paper", "i-1", "here", 1, "0.1.0", "1.231.0")


class Desk:
    """A connection, and the run that applies."""

    def __init__(self, connection, start):
        self.connection = connection
        self.taker = Taker(BOOK, start.run, start.epoch)

    async def ask(self, command_id, expires_s=None):
        return await commands.insert(self.connection, BOOK, (command_id, *HALT[1:]), expires_s)

    async def take(self):
        taken = await commands.take(self.connection, self.taker)
        return taken and taken.command_id

    async def answer(self, number, command_id, *, applied=True, result="done"):
        return await commands.answer(self.connection, self.taker, number, command_id, applied=applied, result=result)

    async def status(self, command_id):
        found = await commands.answer_to(self.connection, BOOK, command_id)
        return found and (found.status, found.result, found.run)

    async def applied(self, *kinds):
        return [each.command_id async for _, each in commands.applied(self.connection, BOOK, kinds)]

    async def restart(self):
        self.taker = Taker(BOOK, *await books.start_run(self.connection, claim()))


@asynccontextmanager
async def desk(database):
    connection = await connect(database.app_url, timeout_s=WAIT_S)
    try:
        yield Desk(connection, await books.start_run(connection, claim()))
    finally:
        await connection.close()


async def test_a_command_comes_to_the_node_as_it_was_asked(database):
    """Its arguments, who asked and when; then it is nobody else's."""
    async with desk(database) as node:
        assert await commands.insert(node.connection, BOOK, HALT, None)
        assert ("pending", "", None) == await node.status("c-1")
        taken = await commands.take(node.connection, node.taker)
        assert HALT == (taken.command_id, taken.kind, taken.arguments, taken.issued_by)
        assert taken.issued_at.tzinfo is not None
        assert ("taken", "", node.taker.run) == await node.status("c-1")
        assert await node.take() is None
        assert await node.answer(1, "c-1", result="halted")
        assert ("applied", "halted", node.taker.run) == await node.status("c-1")
        assert await node.status("c-2") is None


async def test_the_same_command_sent_twice_is_one(database):
    """Also when it has been answered meanwhile: its id is known for good."""
    async with desk(database) as node:
        assert [True, False] == [await node.ask("c-1") for _ in range(2)]
        await node.take()
        await node.answer(1, "c-1")
        assert not await node.ask("c-1")
        assert await node.take() is None


async def test_the_oldest_comes_first_and_other_books_have_their_own(database):
    """In the order in which they were asked."""
    async with desk(database) as node:
        for command_id in ("b", "a", "c"):
            await node.ask(command_id)
        await commands.insert(node.connection, "OTHER-001@paper", HALT, None)
        assert ["b", "a", "c", None] == [await node.take() for _ in range(4)]


async def test_two_that_want_it_do_not_both_get_it(database):
    """Should two connections of one run ever ask at once."""
    async with desk(database) as node:
        others = [await connect(database.app_url, timeout_s=WAIT_S) for _ in range(4)]
        for number in range(20):
            await node.ask(f"c-{number}")

        async def take_all(connection):
            found = []
            while await connection.fetchval("SELECT count(*) FROM commands WHERE status = 'pending'"):
                taken = await commands.take(connection, node.taker)
                found += [taken.command_id] if taken else []
            return found

        found = await asyncio.gather(*map(take_all, others))
        assert sorted(f"c-{number}" for number in range(20)) == sorted(each for one in found for each in one)
        for each in others:
            await each.close()


async def test_what_expires_is_not_begun(database):
    """Nobody wants a flatten of yesterday; a halt without an end waits for as long as it takes."""
    async with desk(database) as node:
        await node.ask("c-1", expires_s=0.0)
        await node.ask("c-2")
        assert ["c-2", None] == [await node.take() for _ in range(2)]
        assert ("pending", "", None) == await node.status("c-1")
        assert [1, 0] == [await commands.expire(node.connection, BOOK) for _ in range(2)]
        assert ("expired", commands.NOT_APPLIED, None) == await node.status("c-1")
        await node.ask("c-3", expires_s=WAIT_S)
        assert 0 == await commands.expire(node.connection, BOOK)
        assert "c-3" == await node.take()


async def test_who_gives_up_waiting_takes_back_what_nobody_has_begun(database):
    """Either it is expired, or the node has it and its answer comes: never both."""
    async with desk(database) as node:
        await node.ask("c-1")
        await node.ask("c-2")
        assert 1 == await commands.expire(node.connection, BOOK, "c-1")
        assert "c-2" == await node.take()
        assert 0 == await commands.expire(node.connection, BOOK, "c-2")
        assert "taken" == (await node.status("c-2"))[0]


async def test_an_answer_is_given_once_and_may_be_repeated(database):
    """Of an answer whose commit was lost nobody knows: the same again is true, another one is not."""
    async with desk(database) as node:
        await node.ask("c-1")
        assert not await node.answer(1, "c-1"), "nobody has taken it"
        await node.take()
        assert [True, True] == [await node.answer(1, "c-1") for _ in range(2)]
        assert not await node.answer(2, "c-1")
        assert not await node.answer(1, "c-1", applied=False)
        assert not await node.answer(3, "c-9")
        assert "applied" == (await node.status("c-1"))[0]


async def test_what_a_dead_run_had_begun_is_left_for_the_next(database):
    """It sees whose it was, and answers it as its own; what it has taken itself is found again as well."""
    async with desk(database) as node:
        for command_id in ("c-1", "c-2", "c-3"):
            await node.ask(command_id)
        await node.take()
        await node.take()
        await node.answer(1, "c-2")
        first = node.taker.run
        await node.restart()
        assert "c-3" == await node.take()
        found = await commands.unanswered(node.connection, node.taker)
        assert [(first, "c-1"), (node.taker.run, "c-3")] == [(each.run, each.asked.command_id) for each in found]
        assert HALT[1:] == tuple(found[0].asked)[1:4]
        assert await node.answer(1, "c-1", applied=False, result="look, and ask again")
        assert ("refused", "look, and ask again", node.taker.run) == await node.status("c-1")


async def test_a_run_that_lost_the_book_applies_nothing(database):
    """It neither takes nor answers nor records; what it had taken is the next one's."""
    async with desk(database) as node:
        await node.ask("c-1")
        await node.ask("c-2")
        await node.take()
        lost = node.taker
        await node.restart()
        for attempt in (
            commands.take(node.connection, lost),
            commands.answer(node.connection, lost, 1, "c-1", applied=True, result=""),
            commands.record(node.connection, lost, 1, ("c-3", *HALT[1:]), applied=True, result=""),
        ):
            with pytest.raises(BookLost, match="applies no command any more"):
                await attempt
        assert ["taken", "pending"] == [(await node.status(each))[0] for each in ("c-1", "c-2")]
        assert await node.status("c-3") is None


async def test_what_was_applied_comes_back_in_that_order(database):
    """Over runs, with what breakers had latched, without what was refused: all of it adds up to what holds."""
    async with desk(database) as node:
        for command_id in ("a", "b", "c", "d"):
            await node.ask(command_id)
        for _ in range(4):
            await node.take()
        await node.answer(1, "d")
        await node.answer(2, "b", applied=False)
        recorded = ("trip-1", "halt", HALT[2], "breaker loss")
        assert await commands.record(node.connection, node.taker, 3, recorded, applied=True, result="latched")
        assert not await commands.record(node.connection, node.taker, 4, recorded, applied=True, result="latched")
        await node.answer(4, "a")
        await node.restart()
        await node.answer(1, "c")
        assert ["d", "trip-1", "a", "c"] == await node.applied("halt", "resume")
        assert [] == await node.applied("resume")


async def test_many_that_were_applied_all_count(database):
    """A halt from long ago stands: there is no number of commands after which it is forgotten."""
    async with desk(database) as node:
        await node.connection.execute(
            """INSERT INTO commands (book_id, command_id, kind, arguments, issued_by, status, applied_run,
                                     applied_number, applied_at)
               SELECT $1, 'c-' || n, 'halt', '{}', 'ann', 'applied', 1, n, now() FROM generate_series(1, $2::int) n""",
            BOOK,
            3 * commands.ROWS_AT_ONCE + 1,
        )
        assert [f"c-{number}" for number in range(1, 3 * commands.ROWS_AT_ONCE + 2)] == await node.applied("halt")


async def test_a_command_wakes_the_node_of_its_book(database):
    """Within moments, and no other one; and it wakes up as well when its connection is gone."""
    async with desk(database) as node:
        ear = await connect(database.app_url, timeout_s=WAIT_S)
        woken = asyncio.Queue()
        await commands.listen(ear, BOOK, lambda: woken.put_nowait("woken"))
        await commands.insert(node.connection, "OTHER-001@paper", HALT, None)
        await node.ask("c-1")
        assert "woken" == await asyncio.wait_for(woken.get(), WAIT_S)
        await node.ask("c-1")
        await node.ask("c-2")
        assert "woken" == await asyncio.wait_for(woken.get(), WAIT_S)
        assert woken.empty()
        await node.connection.execute("SELECT pg_terminate_backend($1)", ear.get_server_pid())
        assert "woken" == await asyncio.wait_for(woken.get(), WAIT_S)


async def test_who_may_not_ask_is_told_so(database, postgres_server):
    """A role that only reads: nothing is asked for, and nothing wakes."""
    admin = await asyncpg.connect(postgres_server.admin_url.rpartition("/")[0] + f"/{database.name}")
    role = f"reader_{database.name}"
    await admin.execute(f"CREATE ROLE {role}; GRANT SELECT ON commands TO {role}")
    try:
        await admin.execute(f"SET ROLE {role}")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await commands.insert(admin, BOOK, HALT, None)
        assert await commands.answer_to(admin, BOOK, "c-1") is None
    finally:
        await admin.execute(f"RESET ROLE; DROP OWNED BY {role}; DROP ROLE {role}")
        await admin.close()


def test_nobody_changes_what_was_asked(database):
    """The application answers commands; it neither rewrites nor deletes them."""
    for statement in (
        "UPDATE commands SET arguments = '{}'",
        "UPDATE commands SET issued_by = 'x'",
        "UPDATE commands SET kind = 'x'",
        "UPDATE commands SET expires_at = now()",
        "DELETE FROM commands",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            query(database.app_url, statement)
