"""The thread through which operators reach a running node: rows of a table, files of the inbox, a stream.

It has a loop and a connection of its own, as the Keeper has: whatever hangs in it, the node trades on. A command goes
to the node's loop once and in the order in which it came; its answer is written as soon as the database is there.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from asyncpg import exceptions as pg

from nautilus_ext.app.aside import aside
from nautilus_ext.app.commanded import operator
from nautilus_ext.app.docket import ANSWER_S_MAX, Docket
from nautilus_ext.app.keeper import error_text
from nautilus_ext.app.loop_side import LoopSide
from nautilus_ext.app.stream import CommandStream
from nautilus_ext.errors import BookLost, ConfigError, DatabaseError, MachineError, SuiteError
from nautilus_ext.risk.commands import COMMANDS, NAME_MAX, Command, Stop, read
from nautilus_ext.risk.halts import NODE
from nautilus_ext.risk.inbox import Inbox
from nautilus_ext.risk.standing import Outcome
from nautilus_ext.schema import commands
from nautilus_ext.schema.commands import Taker
from nautilus_ext.schema.connect import CLOSE_S_MAX, CONNECTION_ERRORS, NO_LONG_TRANSACTION, connect

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import asyncpg

    from nautilus_ext.app.book import BookHold
    from nautilus_ext.app.docket import Kept, Ticket
    from nautilus_ext.app.node import Node
    from nautilus_ext.config import Config
    from nautilus_ext.messages import Commanded
    from nautilus_ext.risk.alerts import Severity
    from nautilus_ext.risk.inbox import Waiting
    from nautilus_ext.schema.commands import Asked

POLL_S = 0.4  # also while the server tells of each command: its word may be lost
FILES_S = 0.25
ANSWER_KEPT_S = 60.0  # in a file
BACKOFF_S_MIN, BACKOFF_S_MAX = 0.1, 2.0
ANSWER_TIMEOUT_S = 5.0  # of a statement
FIRST_S_MAX = 6.0  # for what waits already, before the node starts
FILES_FIRST_S_MAX = 4.0  # then files are looked at without the database
END_S_MAX, JOIN_S_MAX = 1.0, 1.5
FAILED, UNRECORDED, UNREADABLE, UNANSWERED = (
    "COMMAND_CHANNEL_FAILED",
    "COMMAND_NOT_RECORDED",
    "COMMAND_UNREADABLE",
    "COMMAND_NOT_ANSWERED",
)
NOT_BEGUN = f"the node's loop has not come to it in {ANSWER_S_MAX:g} s: it will not be applied any more"
LATE = "the database was away when the node had taken it, and its time is over: ask again if it is still wanted"
ENDED = "run {} had begun it when it ended: look at what came of it, and ask again if it is still wanted"
STOPPED = "the node was stopped before it came to it"

DATABASE, FOLDER, STREAM = "database", "inbox", "stream"

log = logging.getLogger(__name__)


def open_channel(
    config: Config, url: Callable[[], str], redis_url: Callable[[], str] | None, hold: BookHold, node: Node
) -> Channel:
    """The one of a run; it begins when it is told to, and whoever opened it ends it."""
    return Channel(
        url,
        Taker(hold.book_id, hold.run, hold.epoch),
        Inbox(config.inbox_folder(hold.book_id)),
        LoopSide(node.msgbus, node.call),
        connect_timeout_s=config.suite.database.connect_timeout_s,
        redis_url=redis_url,
    )


class Channel:
    """`begin` and `end` are for the node's own thread, the rest runs in the channel's."""

    def __init__(
        self,
        url: Callable[[], str],
        taker: Taker,
        inbox: Inbox,
        node: LoopSide,
        *,
        connect_timeout_s: float,
        redis_url: Callable[[], str] | None = None,
    ) -> None:
        self._url = url
        self._taker = taker
        self._inbox = inbox
        self._node = node
        self._connect_timeout_s = connect_timeout_s
        self._shown_url = ""
        self._troubles: dict[str, str] = {}
        self._end_asked = asyncio.Event()
        self._first_look = asyncio.Event()
        self._has_looked = threading.Event()  # the same for the node's thread
        self._loop = asyncio.SelectorEventLoop()
        self._wake = asyncio.Event()
        self._docket = Docket(lambda: self._call(self._wake.set))
        self._stream = None
        if redis_url is not None:
            say = partial(self._complain, STREAM)
            self._stream = CommandStream(redis_url, taker.book_id, say, self._wake.set)
        self._thread = threading.Thread(target=self._run, name=f"commands {taker.book_id}", daemon=True)

    # -- for the node

    def begin(self, *, halted: bool = False) -> None:
        """Start, and return when what waits already is in front of everything else that the node's loop will do.

        `halted`: a halt of the node is the first of it. It comes by the inbox, so it stands whatever the database does.
        """
        if halted:
            what = Stop(scope=NODE, why="started with --halted")
            name = f"halted-{self._taker.run}"
            self._inbox.put(Command(command_id=name, issued_by=operator(), what=what))
        self._node.hear(lambda commanded: self._call(self._record_own, commanded))
        self._thread.start()
        if self._has_looked.wait(FIRST_S_MAX):
            return
        if halted:
            raise MachineError(f"the node was not halted within {FIRST_S_MAX:g} s, so it does not start: see the log")
        log.warning("commands that wait were not read within %g s: the node starts without them", FIRST_S_MAX)

    @property
    def trouble(self) -> str:
        """What keeps commands from coming just now; for any thread."""
        return "; ".join(filter(None, list(self._troubles.values())))

    def end(self) -> None:
        """Write what is answered, leave the rest to the next run, JOIN_S_MAX at most. The node's loop runs no more."""
        self._call(self._stop)
        if self._thread.is_alive():
            self._thread.join(JOIN_S_MAX)

    def _stop(self) -> None:
        """What may be done twice is left to the next run; the rest, if it is not begun, never is."""
        for ticket in self._docket.unanswered():
            if not ticket.is_harmless_twice:
                ticket.give_up(STOPPED)
        self._end_asked.set()
        self._wake.set()

    def _call(self, action: Callable[..., object], *arguments: Any) -> None:
        with suppress(RuntimeError):  # the loop is closed: the end
            self._loop.call_soon_threadsafe(action, *arguments)

    # -- the life of the thread

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._live())

    async def _live(self) -> None:
        serving = asyncio.create_task(self._kept(self._serve))
        others = [asyncio.create_task(self._kept(self._watch))]
        if self._stream is not None:
            others.append(asyncio.create_task(self._kept(self._stream.serve)))
        await self._end_asked.wait()
        for task in others:
            task.cancel()
        await asyncio.wait({serving}, timeout=END_S_MAX)
        serving.cancel()
        await asyncio.gather(serving, *others, return_exceptions=True)

    async def _kept(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do it again when it fails: a node that hears nobody any more must say so, and hear again."""
        while not self._end_asked.is_set():
            try:
                await work()
            except BookLost as lost:
                log.error("%s", lost)  # noqa: TRY400 - no defect: the keeper ends this node
                return
            except Exception as error:
                log.exception("the command channel failed")
                self._alert(FAILED, f"the command channel failed ({type(error).__name__}): see the log")
                await asyncio.sleep(BACKOFF_S_MAX)

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        self._wake.clear()

    def _alert(self, code: str, text: str, severity: Severity = "critical") -> None:
        self._node.tell(code, self._taker.book_id, severity, text)

    # -- what comes, whichever way

    def _take_up(self, kept: Kept) -> Ticket:
        """Hand it to the node; what is no command is refused without the node."""
        try:
            command = read(*kept)
        except ConfigError as error:
            return self._refuse(kept, str(error))
        except Exception as error:  # one that breaks the reading must not come again and again
            log.exception("command %s cannot be read", ascii(kept[0]))
            return self._refuse(kept, f"it cannot be read ({type(error).__name__}): see the node's log")
        ticket = self._docket.add(kept, command)
        self._node.apply(ticket)
        return ticket

    def _refuse(self, kept: Kept, text: str) -> Ticket:
        log.warning("command %s is refused: %s", ascii(kept[0][:NAME_MAX]), text)
        self._wake.set()
        return self._docket.add(kept, None, Outcome(applied=False, text=text))

    def _record_own(self, done: Commanded) -> None:
        """What the node has commanded itself."""
        command: Command = done.command
        if not self._docket.own_has_room:
            self._alert(UNRECORDED, f"{command.kind} by {command.issued_by} stands and is not recorded: too many wait")
            return
        kept = (command.command_id, command.kind, command.arguments, command.issued_by)
        ticket = self._docket.add(kept, command, Outcome(done.applied, done.text), own=True)
        self._wake.set()
        if done.applied and ticket.is_harmless_twice:
            self._keep(ticket, command)

    def _keep(self, ticket: Ticket, command: Command) -> None:
        """A breaker's halt stands after a crash, too: what the database has not got yet lies in the inbox."""
        try:
            self._inbox.put(command)
        except MachineError as error:
            self._complain(FOLDER, str(error))
        else:
            ticket.file = command.command_id

    # -- files, and the patience with the node: with or without a database

    async def _watch(self) -> None:
        with suppress(TimeoutError):  # the rows of what files asked for are looked at first, if that can be
            async with asyncio.timeout(FILES_FIRST_S_MAX):
                await self._first_look.wait()
        while True:  # for as long as the node lives
            self._look_at_files()
            self._has_looked.set()
            self._look_at_overdue()
            await asyncio.sleep(FILES_S)

    def _look_at_files(self) -> None:
        try:
            trouble = self._take_files()
            for ticket in self._docket.to_write():
                self._tell_file(ticket)
            self._inbox.forget_answers(time.time() - ANSWER_KEPT_S)
        except MachineError as error:
            self._complain(FOLDER, str(error))
        else:
            self._complain(FOLDER, trouble)

    def _take_files(self) -> str:
        """One that can neither be read nor put aside keeps no halt from being heard."""
        trouble = ""
        for waiting in self._inbox.waiting():
            try:
                self._take_file(waiting)
            except MachineError as error:
                trouble = trouble or str(error)
        return trouble

    def _take_file(self, waiting: Waiting) -> None:
        command = waiting.command
        if command is None:
            self._inbox.set_aside(waiting.name)
            self._alert(UNREADABLE, f"the file {waiting.name!a} in the inbox asks nothing: {waiting.fault}", "warning")
            name = f"file:{self._taker.run}:{time.time_ns()}"
            self._refuse((name, "file", {"name": ascii(waiting.name)}, "a file"), waiting.fault)
            return
        ticket = self._docket.known(command.command_id)
        if ticket is None:
            ticket = self._take_up((command.command_id, command.kind, command.arguments, command.issued_by))
        ticket.file = waiting.name
        if ticket.is_written:
            self._end_file(ticket)

    def _tell_file(self, ticket: Ticket) -> None:
        if ticket.file and not ticket.is_told and ticket.outcome is not None:
            self._inbox.answer(ticket.command_id, ticket.outcome)
            ticket.is_told = True

    def _look_at_overdue(self) -> None:
        now_s = time.monotonic()
        for ticket in self._docket.unanswered():
            if not ticket.overdue(now_s):
                continue
            text = NOT_BEGUN
            if not ticket.give_up(NOT_BEGUN):
                text = f"the node has begun it and not said in {ANSWER_S_MAX:g} s what came of it: look at its log"
                ticket.answer(ticket.is_harmless_twice, text)  # what stops stands rather than not
            self._wake.set()
            self._alert(UNANSWERED, f"command {ticket.command_id} ({ticket.kept[1]}): {text}")

    def _complain(self, where: str, trouble: str) -> None:
        """Say it once, not four times a second."""
        if trouble and not self._troubles.get(where):
            log.warning("commands: %s", trouble)
        elif not trouble and self._troubles.get(where):
            log.info("commands: the %s is well again", where)
        self._troubles[where] = trouble

    # -- rows

    async def _serve(self) -> None:
        delay_s = BACKOFF_S_MIN
        while not self._end_asked.is_set():
            try:
                connection = await self._open()
                try:
                    delay_s = BACKOFF_S_MIN
                    await self._rounds(connection)
                    await connection.close(timeout=CLOSE_S_MAX)
                finally:
                    connection.terminate()
            except BookLost:
                raise
            except CONNECTION_ERRORS as error:
                self._complain(DATABASE, f"{error_text(error, self._shown_url)}; only files are heard until it is back")
            await self._pause(delay_s)
            delay_s = min(delay_s * 2, BACKOFF_S_MAX)

    async def _open(self) -> asyncpg.Connection:
        url = self._shown_url = await self._address()
        return await connect(
            url,
            timeout_s=self._connect_timeout_s,
            answer_timeout_s=ANSWER_TIMEOUT_S,
            application_name=f"exec-suite commands {self._taker.book_id}",
            server_settings=NO_LONG_TRANSACTION,
        )

    async def _address(self) -> str:
        """Asking may take as long as an embedded server takes to start: files are heard meanwhile."""
        try:
            return await aside(self._url, "address of the database")
        except (OSError, SuiteError) as error:
            raise DatabaseError(f"the address of the database is not known: {error}") from None

    async def _rounds(self, connection: asyncpg.Connection) -> None:
        await commands.listen(connection, self._taker.book_id, self._wake.set)
        if not self._first_look.is_set():
            await self._forget_files(connection)
            self._look_at_files()
        await self._take_former(connection)
        self._complain(DATABASE, "")
        while True:
            await self._round(connection)
            if not self._first_look.is_set():
                self._first_look.set()
                self._has_looked.set()
            if self._end_asked.is_set():
                await self._write(connection)  # what was answered during the round
                return
            await self._pause(POLL_S)

    async def _round(self, connection: asyncpg.Connection) -> None:
        batch = await self._stream.write(connection, self._refuse) if self._stream is not None else []
        await self._write(connection)
        if batch and self._stream is not None:
            self._stream.written()
        if self._end_asked.is_set() or not await commands.waiting(connection, self._taker.book_id):
            return
        await commands.expire(connection, self._taker.book_id)
        while self._docket.has_room:
            asked = await commands.take(connection, self._taker)
            if asked is None:
                return
            self._take_row(asked)
            await self._write(connection)  # of many that wait few are in hand when this node dies

    def _take_row(self, asked: Asked) -> None:
        ticket = self._docket.known(asked.command_id)
        if ticket is None:
            ticket = self._take_up((asked.command_id, asked.kind, asked.arguments, asked.issued_by))
        else:
            self._docket.again(ticket)
        ticket.has_row = True

    async def _forget_files(self, connection: asyncpg.Connection) -> None:
        """A run that died between a row and the end of its file left a command that is over, and lifted maybe."""
        with suppress(MachineError):  # it is said where files are looked at
            for waiting in self._inbox.waiting():
                if waiting.command is None:
                    continue
                told = await commands.answer_to(connection, self._taker.book_id, waiting.command.command_id)
                if told is not None and told.status in ("applied", "refused"):
                    self._inbox.done(waiting.command.command_id)

    async def _take_former(self, connection: asyncpg.Connection) -> None:
        """What was taken and has no answer: by a run that died, or by this one when the server's word was lost."""
        for run, is_late, asked in await commands.unanswered(connection, self._taker):
            trait = COMMANDS.get(asked.kind)
            is_known, is_ours = self._docket.known(asked.command_id) is not None, run == self._taker.run
            if is_ours and is_late and not is_known:  # the server's word came too late for it
                text = LATE
            elif is_ours or is_known or trait is None or trait.may_repeat:
                self._take_row(asked)
                continue
            else:
                text = ENDED.format(run)
            self._refuse((asked.command_id, asked.kind, asked.arguments, asked.issued_by), text).has_row = True

    # -- answers

    async def _write(self, connection: asyncpg.Connection) -> None:
        for ticket in self._docket.to_write():
            try:
                is_known = await self._write_one(connection, ticket)
            except pg.DataError as error:
                self._alert(UNRECORDED, f"what came of {ticket.command_id!a} cannot be written: {type(error).__name__}")
                is_known = True
            if not is_known:
                log.warning("command %s: another answer stands in the table", ascii(ticket.command_id))
            self._docket.written(ticket)
            if ticket.file:
                self._end_file(ticket)

    async def _write_one(self, connection: asyncpg.Connection, ticket: Ticket) -> bool:
        outcome = ticket.outcome
        assert outcome is not None, "only what has an outcome is written"
        told = {"applied": outcome.applied, "result": outcome.text.replace("\0", "\ufffd")}
        if ticket.has_row:
            return await commands.answer(connection, self._taker, ticket.number, ticket.command_id, **told)
        await commands.record(connection, self._taker, ticket.number, ticket.kept, **told)
        return True  # a row of its id that waits is taken next, and answered then

    def _end_file(self, ticket: Ticket) -> None:
        try:
            self._tell_file(ticket)
            self._inbox.done(ticket.command_id)
        except MachineError as error:
            self._complain(FOLDER, str(error))
