"""The way of a client to the exchange: the stream in order whatever comes, and a link that comes back."""

from __future__ import annotations

import asyncio
import os
import random
from decimal import Decimal
from itertools import pairwise
from typing import Self

import pytest

from nautilus_ext.simulation import wire
from nautilus_ext.simulation.client import connection
from nautilus_ext.simulation.client.connection import Link, LinkError, LinkRefused, NotSent, Unanswered
from nautilus_ext.simulation.client.stream import AHEAD_MAX, InOrder, Picture
from nautilus_ext.simulation.exchange.orders import (
    Accepted,
    AccountChanged,
    AccountState,
    AccountTerms,
    Canceled,
    Fill,
    Filled,
    OrderState,
    PositionState,
)

SEED = int(os.environ.get("STREAM_SEED", "0")) or random.randrange(1, 10**9)
ROUNDS = 200
TIMEOUT_S = 5.0
TERMS = AccountTerms(account="A", kind="CASH", starting_balances={"USDT": Decimal(100)})


def order(number: int = 1, *, filled: int = 0, status: str = "ACCEPTED") -> OrderState:
    return OrderState(
        venue_order_id=f"V{number}",
        client_order_id=f"C{number}",
        account="A",
        instrument_id="BTCUSDT.SIM1",
        side="BUY",
        type="LIMIT",
        time_in_force="GTC",
        quantity=Decimal(10),
        filled=Decimal(filled),
        status=status,
        ts_accepted_ns=1,
        ts_last_ns=1,
    )


def fill(number: int, trade: int) -> Fill:
    return Fill(
        trade_id=f"T{trade}",
        match_id=trade,
        venue_order_id=f"V{number}",
        client_order_id=f"C{number}",
        account="A",
        instrument_id="BTCUSDT.SIM1",
        side="BUY",
        quantity=Decimal(1),
        price=Decimal(100),
        fee=Decimal(0),
        fee_currency="USDT",
        maker=True,
        ts_ns=1,
    )


def state(ts_ns: int = 0) -> AccountState:
    return AccountState(account="A", kind="CASH", balances=(), margins=(), ts_ns=ts_ns)


def item(seq: int) -> wire.StreamItem:
    return wire.StreamItem(seq=seq, event=Accepted(order(seq)))


# -- the stream -------------------------------------------------------------------------------------


def test_items_come_in_order_and_once_whatever_the_order_of_their_arrival():
    """Each is shuffled a little and sometimes doubled; nothing is lost because nothing was lost on the way."""
    print(f"STREAM_SEED={SEED}")
    rng = random.Random(SEED)
    for _ in range(ROUNDS):
        begin, number = rng.randrange(1_000), rng.randrange(1, 60)
        arriving = [item(begin + 1 + index) for index in range(number)]
        arriving += rng.choices(arriving, k=rng.randrange(10))
        arriving.sort(key=lambda each: each.seq + rng.uniform(0, 8))
        stream = InOrder(begin)
        told = [each.seq for one in arriving for each in stream.take(one)]
        assert list(range(begin + 1, begin + number + 1)) == told
        assert stream.position == begin + number
        assert not stream.gap


def test_a_missing_item_is_a_gap_until_it_comes():
    """What follows waits."""
    stream = InOrder(4)
    assert stream.take(item(6)) == []
    assert stream.gap
    assert [each.seq for each in stream.take(item(5))] == [5, 6]
    assert not stream.gap


def test_a_lost_tail_is_a_gap_as_soon_as_somebody_mentions_it():
    """A heartbeat or an answer names the last number."""
    stream = InOrder(4)
    stream.heard_of(3)
    assert not stream.gap
    stream.heard_of(5)
    assert stream.gap


def test_what_waits_is_bounded_and_comes_again():
    """Items beyond the bound are dropped, and taken when they are sent a second time."""
    stream = InOrder(0)
    for number in range(2, AHEAD_MAX + 100):
        stream.take(item(number))
    told = stream.take(item(1))
    assert told[-1].seq == AHEAD_MAX + 1
    assert stream.gap
    rest = [each.seq for number in range(stream.position + 1, AHEAD_MAX + 100) for each in stream.take(item(number))]
    assert all(before + 1 == after for before, after in pairwise(rest))
    assert not stream.gap


def test_a_picture_of_several_moments_becomes_one_of_the_last():
    """Items that an answer contained already change nothing; those after it do."""
    position = PositionState(
        account="A",
        instrument_id="X.SIM1",
        quantity=Decimal(2),
        average_price=Decimal(100),
        cost=Decimal(200),
        realized=Decimal(0),
        ts_last_ns=9,
    )
    items = [
        wire.StreamItem(seq=1, event=Filled(order(1, filled=1, status="PARTIALLY_FILLED"), fill(1, 1))),
        wire.StreamItem(seq=2, event=Filled(order(1, filled=2, status="PARTIALLY_FILLED"), fill(1, 2))),
        wire.StreamItem(seq=3, event=AccountChanged(state(3), (position,))),
        wire.StreamItem(seq=4, event=Canceled(order(1, filled=2, status="CANCELED"))),
        wire.StreamItem(seq=5, event=Accepted(order(2))),
    ]
    picture = Picture(state(1), {"V1": order(1, filled=1, status="PARTIALLY_FILLED")}, {"T1": fill(1, 1)})
    picture.follow(items)
    assert {"V1": ("CANCELED", 2), "V2": ("ACCEPTED", 0)} == {
        name: (each.status, int(each.filled)) for name, each in picture.orders.items()
    }
    assert {"T1", "T2"} == set(picture.fills)
    assert picture.state.ts_ns == 3
    assert picture.positions["X.SIM1"].quantity == 2


# -- the link ---------------------------------------------------------------------------------------


class Exchange:
    """A real server on a real socket that does what a test tells it to; keeps the stream like the real one."""

    def __init__(self) -> None:
        self.requests: list[wire.AnyRequest] = []
        self.items: list[wire.StreamItem] = []
        self.mute: set[type] = set()  # requests that get no answer
        self.lose: set[int] = set()  # stream numbers that are not sent the first time
        self.refuse_hello: list[wire.Refused] = []
        self.writers: list[asyncio.StreamWriter] = []
        self.connections = 0

    async def __aenter__(self) -> Self:
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.stop()
        await asyncio.sleep(0)

    def stop(self) -> None:
        self.server.close()
        self.drop()

    def drop(self) -> None:
        for writer in self.writers:
            writer.transport.abort()
        self.writers.clear()

    async def find(self) -> tuple[str, int]:
        return "127.0.0.1", self.port

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        framer = wire.request_framer()
        while data := await reader.read(65_536):
            for request in framer.feed(data):
                self.requests.append(request)
                if type(request) not in self.mute:
                    self.answer(writer, request)
        writer.close()

    def answer(self, writer: asyncio.StreamWriter, request: wire.AnyRequest) -> None:
        if isinstance(request, wire.Hello):
            if self.refuse_hello:
                refused = self.refuse_hello.pop(0)
                writer.write(wire.frame(wire.Refused(request=request.request, code=refused.code, text=refused.text)))
                return
            self.writers.append(writer)
            welcome = wire.Welcome(request=request.request, exchange="test", run=1, seq=len(self.items))
            writer.write(wire.frame(welcome))
            self.replay(writer, len(self.items) if request.resume_after is None else request.resume_after)
        else:
            writer.write(wire.frame(wire.Done(request=request.request)))
            if isinstance(request, wire.Resume):
                self.replay(writer, request.after)

    def replay(self, writer: asyncio.StreamWriter, after: int) -> None:
        for each in self.items[after:]:
            self.send(writer, each)

    def happen(self) -> None:
        self.items.append(item(len(self.items) + 1))
        for writer in self.writers:
            self.send(writer, self.items[-1])

    def send(self, writer: asyncio.StreamWriter, each: wire.StreamItem) -> None:
        if each.seq in self.lose:
            self.lose.remove(each.seq)
        else:
            writer.write(wire.frame(each))

    def beat(self) -> None:
        for writer in self.writers:
            writer.write(wire.frame(wire.Heartbeat(ts_ns=1, seq=len(self.items))))


class Client:
    """A link with what it told."""

    def __init__(self, exchange: Exchange, **options) -> None:
        self.told: list[int] = []
        self.changes: list[tuple[str, str]] = []
        options = {"venue": "SIM1", "terms": TERMS, "answer_timeout_s": 0.3, **options}
        self.link = Link(
            exchange.find,
            on_item=lambda each: self.told.append(each.seq),
            on_change=lambda state, reason: self.changes.append((state, reason)),
            **options,
        )

    async def __aenter__(self) -> Self:
        await self.link.open(TIMEOUT_S)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.link.close()

    async def until(self, predicate) -> None:
        async with asyncio.timeout(TIMEOUT_S):
            while not predicate():  # noqa: ASYNC110 - what is waited for knows no event
                await asyncio.sleep(0.005)


async def test_a_request_is_answered_and_requests_keep_their_order():
    """They leave in the order in which `ask` was called, whatever is awaited first."""
    async with Exchange() as exchange, Client(exchange) as client:
        asks = [client.link.ask(wire.Cancel, client_order_id=str(number)) for number in range(50)]
        answers = await asyncio.gather(*asks)
        assert all(isinstance(answer, wire.Done) for answer in answers)
        assert [str(number) for number in range(50)] == [each.client_order_id for each in exchange.requests[1:]]


async def test_a_lost_item_is_asked_for_again():
    """In the middle by what follows, at the end by the heartbeat."""
    async with Exchange() as exchange, Client(exchange) as client:
        exchange.lose = {2, 5}
        for _ in range(3):
            exchange.happen()
        await client.until(lambda: client.told == [1, 2, 3])
        exchange.happen()
        exchange.happen()
        await client.until(lambda: client.told == [1, 2, 3, 4])
        exchange.beat()
        await client.until(lambda: client.told == [1, 2, 3, 4, 5])
        assert client.link.position == 5


async def test_after_a_reconnect_the_stream_goes_on_where_it_was():
    """Everything that happened meanwhile, each once."""
    async with Exchange() as exchange, Client(exchange) as client:
        exchange.happen()
        await client.until(lambda: client.told == [1])
        exchange.drop()
        exchange.happen()
        exchange.happen()
        await client.until(lambda: client.told == [1, 2, 3])
        assert ["up", "lost", "up"] == [state for state, _ in client.changes]
        hellos = [each for each in exchange.requests if isinstance(each, wire.Hello)]
        assert [None, 1] == [each.resume_after for each in hellos]
        assert hellos[0].session == hellos[1].session


async def test_a_request_without_an_answer_is_unanswered_and_nothing_else():
    """Time is over, or the connection is lost; without a connection it is not even sent."""
    async with Exchange() as exchange, Client(exchange) as client:
        exchange.mute = {wire.Place}
        with pytest.raises(Unanswered, match=r"no answer within 0\.3 s"):
            await client.link.ask(wire.Place, orders=())
        asking = asyncio.ensure_future(client.link.ask(wire.Place, orders=()))
        await client.until(lambda: len(exchange.requests) == 3)
        exchange.stop()
        with pytest.raises(Unanswered, match="the connection was lost"):
            await asking
        with pytest.raises(NotSent):
            await client.link.ask(wire.Place, orders=())


async def test_renewing_ends_the_connection_of_that_request_and_no_later_one():
    """What was unanswered on the old connection must not cost the new one."""
    async with Exchange() as exchange, Client(exchange) as client:
        exchange.mute = {wire.Place}
        with pytest.raises(Unanswered) as caught:
            await client.link.ask(wire.Place, orders=())
        client.link.renew(caught.value)
        async with asyncio.timeout(TIMEOUT_S):
            await client.link.up()
        assert exchange.connections == 2
        client.link.renew(caught.value)
        await client.link.ask(wire.GetAccount)
        assert exchange.connections == 2


async def test_up_waits_for_what_happened_before_the_connection_began():
    """Who looks at the stream then knows all that the old connection can have caused."""
    async with Exchange() as exchange, Client(exchange) as client:
        exchange.drop()
        exchange.lose = {1, 2}
        exchange.happen()
        exchange.happen()
        await client.until(lambda: client.link.state == "up" and exchange.connections == 2)
        async with asyncio.timeout(TIMEOUT_S):
            await client.link.up()
        assert client.told == [1, 2]


async def test_an_exchange_that_stays_away_is_told_once(monkeypatch):
    """Lost, away, up: one line each, however often it is tried."""
    monkeypatch.setattr(connection, "AWAY_AFTER_S", 0.2)
    async with Exchange() as exchange, Client(exchange) as client:
        exchange.stop()
        await client.until(lambda: client.link.state == "away")
        await asyncio.sleep(0.3)
        exchange.server = await asyncio.start_server(exchange.serve, "127.0.0.1", exchange.port)
        await client.until(lambda: client.link.state == "up")
        assert ["up", "lost", "away", "up"] == [state for state, _ in client.changes]


async def test_a_server_that_is_silent_is_taken_for_dead(monkeypatch):
    """A connection on which nothing comes, not even a heartbeat, is made anew."""
    monkeypatch.setattr(connection, "SILENCE_S_MAX", 0.2)
    monkeypatch.setattr(wire, "HEARTBEAT_S", 0.05)
    async with Exchange() as exchange, Client(exchange) as client:
        await client.until(lambda: exchange.connections >= 2)
        assert "not a byte" in client.changes[1][1]


async def test_the_first_connection_says_why_it_was_not_possible():
    """Nobody there, or refused: with a reason, within the bound. An account in use is worth a second try."""
    async with Exchange() as exchange:
        exchange.refuse_hello = [wire.Refused(request=0, code="UNKNOWN_VENUE", text="there are SIM1")]
        with pytest.raises(LinkRefused, match="UNKNOWN_VENUE: there are SIM1"):
            await Client(exchange).link.open(TIMEOUT_S)
        exchange.refuse_hello = [wire.Refused(request=0, code="ACCOUNT_IN_USE", text="another one")] * 2
        async with Client(exchange):
            assert exchange.connections == 4
        exchange.stop()
        with pytest.raises(LinkError, match="Connect call failed"):
            await Client(exchange).link.open(0.3)


async def test_a_past_that_is_gone_is_told_and_the_stream_begins_anew():
    """What cannot be sent again has to be asked for: the owner of the link learns of it with the next `up`."""
    async with Exchange() as exchange, Client(exchange) as client:
        exchange.happen()
        await client.until(lambda: client.told == [1])
        exchange.refuse_hello = [wire.Refused(request=0, code="STREAM_GONE", text="7 is the oldest")]
        exchange.items += [item(2), item(3)]
        exchange.drop()
        await client.until(lambda: client.changes[-1] == ("up", "7 is the oldest"))
        exchange.happen()
        await client.until(lambda: client.told == [1, 4])


async def test_what_is_no_message_ends_the_connection_and_not_the_client():
    """A frame that cannot be read is a reason to begin again."""
    async with Exchange() as exchange, Client(exchange) as client:
        exchange.writers[0].write(b"\x00\x00\x00\x03\xff\xff\xff")
        await client.until(lambda: exchange.connections == 2 and client.link.state == "up")
        assert "no message" in client.changes[1][1]
