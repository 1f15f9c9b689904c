"""The way of one client to the exchange: requests and their answers, the stream in order, coming back when it is lost.

A request is on its way as soon as `ask` is called, in the order of the calls. It ends in one of three ways:

answered       the exchange has said what it did
NotSent        there was no connection: it never left
Unanswered     the connection was lost or the time is over: nobody knows whether it was carried out

After Unanswered nothing may be concluded before the link is up again on a *new* connection: the exchange has dropped
what it had not yet read of the old one, so what has not happened by then never will.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING, Any, Literal, cast
from uuid import uuid4

from nautilus_ext.errors import SuiteError
from nautilus_ext.simulation import wire
from nautilus_ext.simulation.client.stream import InOrder

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from nautilus_ext.simulation.exchange.orders import AccountTerms

BACKOFF_FIRST_S = 0.02
BACKOFF_MAX_S = 1.0
HELLO_TIMEOUT_S = 5.0
SILENCE_S_MAX = 10.0  # without a heartbeat for so long the connection is taken for dead
AWAY_AFTER_S = 15.0  # from here on an exchange that is not there is worth a line of its own
RESUME_EVERY_S = 0.2
RESUMES_MAX = 25  # without progress; then the connection is made anew
PATIENCE_S = 10.0  # how long a question or a cancel waits for a connection
READS_MAX = 20  # of one question
RATE_LIMIT_WAIT_S = 0.05  # when the exchange does not say how long
PENDING_MAX = 10_000
UNREAD_BYTES_MAX = 8_000_000  # written, and not yet taken by the other side
BYE_TIMEOUT_S = 0.5
EARLY_MAX = 1_000
OTHER_PAST = ("STREAM_AHEAD", "STREAM_GONE")  # what was missed cannot be sent again: begin with what comes now
PASSING = ("ACCOUNT_IN_USE", "RATE_LIMITED", "WORLD_ENDS")  # refusals that may be over in a moment

type LinkState = Literal["up", "lost", "away", "closed"]


class LinkError(Exception):
    """Why there is no connection."""


class LinkRefused(LinkError):
    """The exchange refuses this client."""

    def __init__(self, refused: wire.Refused) -> None:
        super().__init__(f"{refused.code}: {refused.text}")
        self.code = refused.code


class NotSent(Exception):
    """There is no connection: the request never left."""


class Unanswered(Exception):
    """The connection was lost, or the time is over: nobody knows whether the request was carried out."""

    def __init__(self, text: str, channel: _Channel | None = None) -> None:
        super().__init__(text)
        self.channel = channel  # on which it was sent


class Link:
    """Owns the connection. `open` makes the first one, from then on it is kept up until `close`."""

    def __init__(
        self,
        find: Callable[[], Awaitable[tuple[str, int] | None]],
        *,
        venue: str | None,
        terms: AccountTerms | None = None,
        world: str | None = None,
        answer_timeout_s: float,
        on_item: Callable[[wire.StreamItem], None] | None = None,
        on_market: Callable[[wire.Unasked], None] | None = None,
        on_change: Callable[[LinkState, str], None],
    ) -> None:
        self._find = find
        self._venue, self._terms, self._world = venue, terms, world
        self._answer_timeout_s = answer_timeout_s
        self._on_item, self._on_market, self._on_change = on_item, on_market, on_change
        self._session = uuid4().hex
        self._loop = asyncio.get_running_loop()
        self._numbers = count(1)
        self._pending: dict[int, asyncio.Future] = {}
        self._channel: _Channel | None = None  # the connection that carries messages; None before the Welcome
        self._stream: InOrder | None = None
        self._early: list[wire.StreamItem] = []
        self._began_anew = ""  # why the stream could not go on where it was
        self._waiting: list[tuple[int, asyncio.Future]] = []
        self._resumed_s, self._resumes = 0.0, 0
        self._lost = asyncio.Event()
        self._up = asyncio.Event()
        self._keeper: asyncio.Task | None = None
        self.state: LinkState = "closed"
        self.reason = ""  # why it is not up

    # -- life ---------------------------------------------------------------------------------------

    async def open(self, timeout_s: float) -> None:
        """Connect for the first time, or raise LinkError with the reason why that was not possible in time."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._connect_until_up(first=True)
        except TimeoutError:
            raise LinkError(self.reason or f"no answer within {timeout_s:g} s") from None
        self._keeper = self._loop.create_task(self._keep_up(), name="keep the exchange's connection up")

    async def close(self) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait({self._keeper})
        if self._channel is not None:
            with suppress(NotSent, Unanswered):
                await self.ask(wire.Bye, timeout_s=BYE_TIMEOUT_S)
        self.state = "closed"
        self._drop("this client leaves")

    def renew(self, unanswered: Unanswered) -> None:
        """Give up the connection of that request, so that it cannot be carried out any more, and make a new one."""
        if unanswered.channel is not None:
            unanswered.channel.abort(str(unanswered))

    async def up(self) -> None:
        """Wait until there is a connection, and all that happened before it began was handed on."""
        while True:
            await self._up.wait()
            channel = self._channel
            try:
                await self.reached(self._known)
            except Unanswered:
                continue
            if channel is not None and channel is self._channel:
                return

    async def up_in_time(self) -> bool:
        """Whether there is a connection within the time that a command or a question may wait for one."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self.up()
        except TimeoutError:
            return False
        return True

    async def _keep_up(self) -> None:
        while True:
            await self._lost.wait()
            await self._connect_until_up(first=False)

    async def _connect_until_up(self, *, first: bool) -> None:
        began_s, delay_s = self._loop.time(), BACKOFF_FIRST_S
        while True:
            try:
                await self._connect()
            except (OSError, TimeoutError, LinkError, SuiteError) as error:
                self.reason = str(error) or "no answer to the greeting"
                if first and (isinstance(error, SuiteError) or getattr(error, "code", PASSING[0]) not in PASSING):
                    raise
            else:
                return
            if first:
                self._tell("closed", self.reason)
            elif self.state == "lost" and self._loop.time() - began_s > AWAY_AFTER_S:
                self._tell("away", self.reason)
            await asyncio.sleep(delay_s)
            delay_s = min(2 * delay_s, BACKOFF_MAX_S)

    async def _connect(self) -> None:
        address = await self._find()
        if address is None:
            raise LinkError("no exchange runs there")
        async with asyncio.timeout(HELLO_TIMEOUT_S):
            _, channel = await self._loop.create_connection(lambda: _Channel(self), *address)
            try:
                await self._greet(channel)
            except BaseException:
                channel.abort("the greeting failed")
                raise

    async def _greet(self, channel: _Channel) -> None:
        position = self._stream.position if self._stream is not None else None
        number, answer = self._expect()
        hello = wire.Hello(
            request=number,
            session=self._session,
            venue=self._venue,
            terms=self._terms,
            resume_after=position,
            world=self._world,
        )
        try:
            channel.send(hello)
            welcome = await answer
        except Unanswered as error:
            raise LinkError(str(error)) from None
        finally:
            self._pending.pop(number, None)
        if isinstance(welcome, wire.Refused):
            if welcome.code in OTHER_PAST:
                self._stream, self._began_anew = None, welcome.text
            raise LinkRefused(welcome)
        if channel.is_closed:
            raise LinkError("the connection was lost during the greeting")
        self._begin(channel, welcome)

    def _begin(self, channel: _Channel, welcome: wire.Welcome) -> None:
        self._channel = channel
        self._lost.clear()
        if self._terms is not None:
            if self._stream is None:
                self._stream = InOrder(welcome.seq)
            self._stream.heard_of(welcome.seq)
            early, self._early = self._early, []
            for item in early:
                self._take(item)
        self._up.set()
        anew, self._began_anew = self._began_anew, ""
        self._tell("up", anew)

    def _drop(self, reason: str) -> None:
        if self._channel is not None:
            self._channel.abort(reason)

    def _tell(self, state: LinkState, reason: str) -> None:
        self.state, self.reason = state, reason
        self._on_change(state, reason)

    # -- requests -----------------------------------------------------------------------------------

    async def ask(self, kind: type[wire.Request], *, timeout_s: float | None = None, **fields: Any) -> Any:
        """Send, at once, and wait for the answer; NotSent or Unanswered when there is none."""
        channel = self._channel
        if channel is None:
            raise NotSent(f"not connected: {self.reason}")
        if len(self._pending) >= PENDING_MAX:
            raise NotSent(f"{PENDING_MAX:,} requests are unanswered")
        if channel.unread_bytes > UNREAD_BYTES_MAX:
            raise NotSent(f"the exchange has not read {UNREAD_BYTES_MAX:,} bytes")
        number, answer = self._expect()
        limit_s = self._answer_timeout_s if timeout_s is None else timeout_s
        clock = self._loop.call_later(limit_s, _expire, answer, limit_s, channel)
        channel.send(kind(request=number, **fields))
        try:
            return await answer
        finally:
            clock.cancel()
            self._pending.pop(number, None)

    async def read(self, kind: type[wire.Request], **fields: Any) -> Any:
        """Ask for something that changes nothing: again when the answer is lost or the limit reached; not for ever."""
        reason = ""
        for _ in range(READS_MAX):
            try:
                answer = await self.ask(kind, **fields)
            except (NotSent, Unanswered) as error:
                reason = str(error)
                if not await self.up_in_time():
                    break
                continue
            if not isinstance(answer, wire.Refused):
                return answer
            reason = f"{answer.code}: {answer.text}"
            if answer.code != "RATE_LIMITED":
                break
            await asyncio.sleep(wait_s(answer))
        raise Unanswered(f"{kind.__name__}: {reason}")

    def _expect(self) -> tuple[int, asyncio.Future]:
        number, answer = next(self._numbers), self._loop.create_future()
        self._pending[number] = answer
        return number, answer

    # -- what comes ---------------------------------------------------------------------------------

    def received(self, message: wire.FromServer) -> None:
        """Called by the connection, message by message."""
        if isinstance(message, wire.StreamItem):
            self._take(message)
        elif isinstance(message, wire.Answer):
            answer = self._pending.get(message.request)
            if answer is not None and not answer.done():
                answer.set_result(message)
        elif isinstance(message, wire.Heartbeat):
            if self._stream is not None and self._channel is not None:
                self._stream.heard_of(message.seq)
                self._fill_gap()
        elif self._on_market is not None:
            self._on_market(message)

    def lost(self, channel: _Channel, reason: str) -> None:
        """Called by the connection at its end, once."""
        for answer in self._pending.values():
            if not answer.done():
                answer.set_exception(Unanswered(f"the connection was lost: {reason}", channel))
        if channel is not self._channel:
            return  # it never got as far as a Welcome
        self._channel = None
        self._up.clear()
        self._early.clear()
        if self.state != "closed":
            self._tell("lost", reason)
            self._lost.set()

    def _take(self, item: wire.StreamItem) -> None:
        if self._stream is None:
            if len(self._early) < EARLY_MAX:
                self._early.append(item)  # it overtook the Welcome
            return
        assert self._on_item is not None, "who trades listens"
        ready = self._stream.take(item)
        for each in ready:
            self._on_item(each)
        if ready:
            self._resumes = 0
            self._wake()
        if self._stream.gap:
            self._fill_gap()

    # -- the stream ---------------------------------------------------------------------------------

    @property
    def position(self) -> int:
        """The number of the last item that was handed on."""
        return self._stream.position if self._stream is not None else 0

    @property
    def _known(self) -> int:
        return self._stream.known if self._stream is not None else 0

    async def reached(self, number: int, timeout_s: float | None = None) -> None:
        """Wait until the stream has been handed on up to this number; Unanswered when that takes too long."""
        if self.position >= number:
            return
        if self._stream is not None:
            self._stream.heard_of(number)
        waiter = self._loop.create_future()
        self._waiting.append((number, waiter))
        self._fill_gap()
        limit_s = self._answer_timeout_s if timeout_s is None else timeout_s
        clock = self._loop.call_later(limit_s, _expire, waiter, limit_s)
        try:
            await waiter
        finally:
            clock.cancel()
            self._waiting = [pair for pair in self._waiting if pair[1] is not waiter]

    def _wake(self) -> None:
        for number, waiter in self._waiting:
            if number <= self.position and not waiter.done():
                waiter.set_result(None)

    def _fill_gap(self) -> None:
        """Ask again for what is missing: not more often than it can come, and not for ever on one connection."""
        if self._channel is None or self._stream is None or not self._stream.gap:
            return
        now_s = self._loop.time()
        if now_s - self._resumed_s < RESUME_EVERY_S:
            return
        self._resumed_s = now_s
        self._resumes += 1
        if self._resumes > RESUMES_MAX:
            self._resumes = 0
            self._drop(f"the stream stands still at {self._stream.position} of {self._stream.known}")
            return
        self._channel.send(wire.Resume(request=next(self._numbers), after=self._stream.position))
        self._loop.call_later(RESUME_EVERY_S, self._fill_gap)


class _Channel(asyncio.Protocol):
    """One TCP connection: bytes to messages and back. Ends once, and says why."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._framer = wire.server_framer()
        self._transport: asyncio.Transport | None = None
        self._reason = "the exchange closed it"
        self._watch: asyncio.TimerHandle | None = None
        self._heard_s = 0.0
        self._loop = asyncio.get_running_loop()
        self.is_closed = False

    @property
    def unread_bytes(self) -> int:
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass of it
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._heard_s = self._loop.time()
        self._look()

    def data_received(self, data: bytes) -> None:
        self._heard_s = self._loop.time()
        try:
            messages = self._framer.feed(data)
        except wire.WireError as error:
            self.abort(str(error))
            return
        for message in messages:
            if self.is_closed:
                return  # given up meanwhile: what follows comes again on the next connection
            self._link.received(message)

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None:
            self._reason = str(exc)
        self._end()

    def send(self, message: wire.Message) -> None:
        if self._transport is not None and not self.is_closed:
            self._transport.write(wire.frame(message))

    def abort(self, reason: str) -> None:
        """At once: nothing that arrives from here on is looked at."""
        if self.is_closed:
            return
        self._reason = reason
        if self._transport is not None:
            self._transport.abort()
        self._end()

    def _end(self) -> None:
        if self.is_closed:
            return
        self.is_closed = True
        if self._watch is not None:
            self._watch.cancel()
        self._link.lost(self, self._reason)

    def _look(self) -> None:
        if self._loop.time() - self._heard_s > SILENCE_S_MAX:
            self.abort(f"not a byte for {SILENCE_S_MAX:g} s")
        else:
            self._watch = self._loop.call_later(wire.HEARTBEAT_S, self._look)


def wait_s(refused: wire.Refused) -> float:
    """How long to wait before asking again."""
    return refused.retry_after_ms / 1_000 or RATE_LIMIT_WAIT_S


def _expire(answer: asyncio.Future, limit_s: float, channel: _Channel | None = None) -> None:
    if not answer.done():
        answer.set_exception(Unanswered(f"no answer within {limit_s:g} s", channel))
