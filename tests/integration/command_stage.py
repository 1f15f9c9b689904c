"""A node's loop with Nautilus's bus, a gate on it that does as it is told, and the channel to it."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from nautilus_trader.common.component import LiveClock, MessageBus
from nautilus_trader.model.identifiers import TraderId

from nautilus_ext.app.commanding import Channel
from nautilus_ext.app.loop_side import LoopSide
from nautilus_ext.config.risk import Risk
from nautilus_ext.messages import ALERT, COMMAND
from nautilus_ext.risk.inbox import Inbox
from nautilus_ext.risk.standing import KINDS, Standing
from nautilus_ext.schema import books, commands
from nautilus_ext.schema.commands import Taker
from nautilus_ext.schema.connect import connect

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import asyncpg

BOOK = "PAPER-001.paper"
WHY = "a test"
CLAIM = books.Claim(BOOK, "PAPER-001", "paper", "i-1", "here", 1, "0.1.0", "1.231.0")


class Gate:
    """A node without a venue: its loop, its bus, what stands. `holds_back`: it begins commands, and says nothing."""

    def __init__(self, *, holds_back: bool = False, is_there: bool = True) -> None:
        self.applied: list[str] = []
        self.alerts: list[Any] = []
        self.held: list[Any] = []
        self.fails = False
        self.holds_back = holds_back
        self.standing = Standing(Risk())
        self.msgbus = MessageBus(trader_id=TraderId("PAPER-001"), clock=LiveClock())
        if is_there:
            self.msgbus.register(COMMAND, self._on_command)
        self.msgbus.subscribe(topic=ALERT, handler=self.alerts.append)
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)

    def call(self, action: Any, *arguments: Any) -> None:
        self.loop.call_soon_threadsafe(action, *arguments)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        if self._thread.is_alive():
            self.call(self.loop.stop)
            self._thread.join(5)

    def _on_command(self, asked: Any) -> None:
        assert threading.current_thread() is self._thread, "a command came on another thread than the loop's"
        self.applied.append(asked.command.command_id)
        if self.fails:
            raise RuntimeError("boom")
        outcome = self.standing.apply(asked.command, time.time_ns())
        if self.holds_back:
            self.held.append(asked)
        else:
            asked.answer(*outcome)


class Run:
    """One start of a node on the book: a channel with all that belongs to it."""

    def __init__(self, url: str, start: books.Start, folder: Path, gate: Gate, redis_url: Any = None) -> None:
        self.taker = Taker(BOOK, start.run, start.epoch)
        self.gate = gate
        self.inbox = Inbox(folder)
        side = LoopSide(gate.msgbus, gate.call)
        self.channel = Channel(lambda: url, self.taker, self.inbox, side, connect_timeout_s=2.0, redis_url=redis_url)

    def begin(self) -> None:
        self.channel.begin()
        self.gate.start()

    def end(self) -> None:
        self.gate.stop()
        self.channel.end()


def start(url: str, folder: Path, gate: Gate, redis_url: Any = None) -> Run:
    return Run(url, query(url, _start), folder, gate, redis_url)


@contextmanager
def running(url: str, folder: Path, gate: Gate | None = None, redis_url: Any = None) -> Iterator[Run]:
    run = start(url, folder, gate or Gate(), redis_url)
    run.begin()
    try:
        yield run
    finally:
        run.end()
        run.gate.loop.close()


async def _start(connection: asyncpg.Connection) -> books.Start:
    return await books.start_run(connection, CLAIM)


def query(url: str, work: Any) -> Any:
    """Do something on a connection of its own."""

    async def run() -> Any:
        connection = await connect(url, timeout_s=10.0)
        try:
            return await work(connection)
        finally:
            await connection.close()

    return asyncio.run(run())


def ask(url: str, command_id: str, kind: str = "halt", expires_s: float | None = None, **arguments: Any) -> bool:
    told = {"scope": "node", "why": WHY} | arguments
    return query(url, lambda connection: commands.insert(connection, BOOK, (command_id, kind, told, "ann"), expires_s))


def rows(url: str) -> dict[str, tuple[str, str, int | None]]:
    """Each command with its status, result and run."""

    async def read(connection: asyncpg.Connection) -> Any:
        return await connection.fetch("SELECT command_id, status, result, applied_run FROM commands")

    return {command_id: tuple(row) for command_id, *row in query(url, read)}


def applied(url: str) -> list[str]:
    """What a restart reads, in its order."""

    async def read(connection: asyncpg.Connection) -> list[str]:
        return [asked.command_id async for _, asked in commands.applied(connection, BOOK, KINDS)]

    return query(url, read)


def status(url: str, command_id: str) -> str | None:
    return rows(url).get(command_id, (None,))[0]
