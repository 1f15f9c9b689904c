"""The process of the simulated exchange: `python -m nautilus_ext.simulation.server FOLDER`, its world as JSON on stdin.

One per folder. It listens on loopback, keeps its ledger in the folder, says there where it listens, and ends by itself
when nobody is left. Without a world on stdin it goes on with the one that its ledger has.
"""

from __future__ import annotations

import asyncio
import fcntl
import gc
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import psutil

from nautilus_ext.simulation.server.address import (
    ADDRESS_FILE,
    LOCK_FILE,
    LOG_FILE,
    Address,
    read_address,
    write_address,
)
from nautilus_ext.simulation.server.desk import Desk
from nautilus_ext.simulation.server.floor import Floor
from nautilus_ext.simulation.server.ledger import Ledger, LedgerError
from nautilus_ext.simulation.server.logfile import ServerLog
from nautilus_ext.simulation.server.sessions import Session
from nautilus_ext.simulation.wire import HEARTBEAT_S, Heartbeat, frame
from nautilus_ext.simulation.world import World, from_json

if TYPE_CHECKING:
    from nautilus_ext.simulation.wire import AnyRequest

HOST = "127.0.0.1"
WORLD_BYTES_MAX = 16_000_000
LOCK_WAIT_S = 2.0  # somebody may just look whether it is free
POLL_S = 0.01
SESSIONS_MAX = 100
HELLO_WAIT_S = 5.0
BYE_LINGER_S = 1.0
PULSE_S = 0.1  # how late an order may expire while the market stands still
BEHIND_S_MAX = 1.0  # the market does not catch up on a longer pause
BROKEN = 70  # exit code: the ledger could not be written, or a defect
END_WAIT_S = 1.0  # for the clients to read what was said last


class Server:
    """Lets sessions and the market take turns: all that came in is handled, then committed, then answered."""

    def __init__(self, folder: Path, world: World, ledger: Ledger, log: ServerLog) -> None:
        self._folder = folder
        self._linger_s = world.linger_s
        self._interval_s = world.market.interval_ms / 1_000
        self._log = log
        self._ledger = ledger
        self._floor = Floor(world, ledger, log.line)
        self._desk = Desk(self._floor, step_aside=self._step_aside, is_full=self._is_full, restart=self._restart)
        self._sessions: set[Session] = set()
        self._inbox: list[tuple[Session, AnyRequest]] = []
        self._is_turn_due = False
        self._opened = 0
        self._market_due_s = 0.0  # by the loop's clock, from `serve` on
        self._ends_at_s = time.monotonic() + world.linger_s  # with no client by then
        self._has_ended = asyncio.Event()
        self._why = ""
        self.restarts = False

    async def serve(self) -> None:
        """Until somebody ends it, or nobody is left."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.end, signal.Signals(number).name)
        loop.set_exception_handler(self._break)
        listener = await self._listen(loop)
        port = listener.sockets[0].getsockname()[1]
        started = psutil.Process().create_time()
        address = Address(host=HOST, port=port, pid=os.getpid(), started=started, world=self._floor.world.digest)
        write_address(self._folder, address)
        self._log.line(f"run {self._ledger.run}: listening on {HOST}:{port}, pid {os.getpid()}")
        gc.freeze()
        self._market_due_s = loop.time() + self._interval_s
        loop.call_at(self._market_due_s, self._on_market)
        loop.call_later(PULSE_S, self._on_pulse, 1)
        await self._has_ended.wait()
        listener.close()
        if not self.restarts:  # its clients look for it where it was
            (self._folder / ADDRESS_FILE).unlink(missing_ok=True)
            await self._say_goodbye()
        self._log.line(f"run {self._ledger.run}: ended, {self._why}")

    async def _listen(self, loop: asyncio.AbstractEventLoop) -> asyncio.Server:
        """Where its clients knew it, if that port is free."""
        former = read_address(self._folder)
        if former is not None:
            try:
                return await loop.create_server(lambda: Session(self), HOST, former.port)
            except OSError:
                self._log.line(f"port {former.port}, where it listened before, is taken: another one is chosen")
        return await loop.create_server(lambda: Session(self), HOST, 0)

    async def _say_goodbye(self) -> None:
        for session in list(self._sessions):
            session.end()
        for _ in range(round(END_WAIT_S / POLL_S)):
            if not self._sessions:
                return
            await asyncio.sleep(POLL_S)

    def end(self, why: str) -> None:
        self._why = self._why or why
        self._has_ended.set()

    def close(self) -> None:
        self._ledger.close()

    def _break(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """End as if killed, before anybody is told what may not be in the ledger."""
        error = context.get("exception")
        if isinstance(error, OSError) and "transport" in context:
            self._log.line(f"a connection failed: {error}")
            return
        if error is not None and not isinstance(error, LedgerError):
            traceback.print_exception(error)
        self._log.line(f"cannot go on: {error or context['message']}")
        os._exit(BROKEN)

    # -- what sessions call -------------------------------------------------------------------------

    def opened(self, session: Session) -> None:
        self._opened += 1
        session.name = f"connection {self._opened}"
        self._sessions.add(session)
        strangers = [each for each in self._sessions if not (each.is_greeted or each.is_closed or each is session)]
        if strangers and len(strangers) + self._greeted() >= SESSIONS_MAX:
            oldest = min(strangers, key=lambda each: each.opened_s)
            oldest.drop(f"there are {SESSIONS_MAX} connections already, and it has not said Hello")

    def received(self, session: Session, requests: list[AnyRequest]) -> None:
        self._inbox += [(session, request) for request in requests]
        self.wake()

    def closed(self, session: Session) -> None:
        self._sessions.discard(session)
        self._floor.feed.forget(session)
        if session.is_greeted and not self._clients():
            linger_s = min(BYE_LINGER_S, self._linger_s) if session.said_bye else self._linger_s
            self._ends_at_s = time.monotonic() + linger_s

    def wake(self) -> None:
        if not self._is_turn_due:
            self._is_turn_due = True
            asyncio.get_running_loop().call_soon(self._turn)

    def log(self, text: str) -> None:
        self._log.line(text)

    def _greeted(self) -> int:
        return sum(session.is_greeted and not session.is_closed for session in self._sessions)

    def _clients(self) -> bool:
        return self._greeted() > 0

    def _is_full(self) -> bool:
        return self._greeted() >= SESSIONS_MAX

    def _step_aside(self) -> bool:
        if self._clients():
            return False
        self.end("a client with another world came, and there is no other client")
        return True

    def _restart(self) -> None:
        self.restarts = True
        self.end("a fault of the venue restarts it")

    # -- turns --------------------------------------------------------------------------------------

    def _turn(self) -> None:
        self._is_turn_due = False
        inbox, self._inbox = self._inbox, []
        for session, request in inbox:
            if not session.is_closed and not self.restarts:
                self._desk.handle(session, request)
        self._end_turn()

    def _end_turn(self) -> None:
        """What was booked is written before anybody is told."""
        self._floor.commit()
        if self.restarts:
            return
        for session in list(self._sessions):
            session.flush()
        if self._floor.has_more:
            self.wake()

    def _on_market(self) -> None:
        loop = asyncio.get_running_loop()
        if not self._floor.is_paused:
            self._floor.step()
            self._end_turn()
        self._market_due_s += self._interval_s
        if loop.time() - self._market_due_s > BEHIND_S_MAX:
            self._market_due_s = loop.time()
        loop.call_at(self._market_due_s, self._on_market)

    def _on_pulse(self, number: int) -> None:
        self._floor.expire()
        if number % round(HEARTBEAT_S / PULSE_S) == 0:
            self._beat()
        self._end_turn()
        if not self._clients() and time.monotonic() > self._ends_at_s:
            self.end("no client is left")
        asyncio.get_running_loop().call_later(PULSE_S, self._on_pulse, number + 1)

    def _beat(self) -> None:
        now_s, ts_ns = time.monotonic(), self._floor.now_ns()
        for session in list(self._sessions):
            if session.is_greeted:
                seq = 0 if session.account is None else session.account.seq
                session.send(frame(Heartbeat(ts_ns=ts_ns, seq=seq)))
            elif now_s - session.opened_s > HELLO_WAIT_S:
                session.drop(f"no Hello within {HELLO_WAIT_S:g} s")
        self._log.bound()


def main(arguments: list[str]) -> int:
    """Say what is wrong in one line: whoever starts the server shows the log's last one."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m nautilus_ext.simulation.server FOLDER < WORLD.json\n")
        return 2
    folder = Path(arguments[0])
    log = ServerLog(folder / LOG_FILE)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = _lock(folder)
        server = _server(folder, sys.stdin.buffer.read(WORLD_BYTES_MAX + 1), log)
        asyncio.run(server.serve())
        server.close()
    except (LedgerError, ValueError) as error:
        log.line(f"cannot go on: {error}")
        return 3
    except OSError as error:
        log.line(f"cannot go on: {folder}: {error}: free space on its disk and let this user write there")
        return 3
    os.close(lock)
    if server.restarts:
        again = [sys.executable, "-m", "nautilus_ext.simulation.server", str(folder)]
        os.execv(sys.executable, again)  # noqa: S606 - ourselves again, no shell
    return 0


def _lock(folder: Path) -> int:
    lock = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
    for _ in range(round(LOCK_WAIT_S / POLL_S)):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(POLL_S)
        else:
            return lock
    raise ValueError(f"a server of {folder} runs already: stop that one, or use it")


def _server(folder: Path, text: bytes, log: ServerLog) -> Server:
    ledger = Ledger(folder)
    if not text:
        text = ledger.meta.get("world", "").encode()
    if not 0 < len(text) <= WORLD_BYTES_MAX:
        raise ValueError(f"a world of {len(text):,} bytes on stdin; 1 to {WORLD_BYTES_MAX:,} are taken")
    try:
        world = from_json(text)
    except msgspec.MsgspecError as error:
        raise ValueError(f"the world on stdin: {error}") from error
    return Server(folder, world, ledger, log)
