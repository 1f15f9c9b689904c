"""The wire format of the simulated exchange. Pure.

A frame is a length (4 bytes, big-endian) and that many bytes of MessagePack: one message, a map whose `type` names it.
A client says Hello first. Every request has a `request` number of the client's choosing, and gets one answer with it.
What happens to an account's orders comes unasked, as stream items numbered without gap: a client that misses one asks
for it again (Resume). An answer says only whether a request was carried out: what it caused is in the stream.
"""

from __future__ import annotations

import struct
from typing import Literal

import msgspec

from nautilus_ext.simulation.exchange.orders import (  # noqa: TC001 - msgspec reads them when it makes a decoder
    AccountState,
    AccountTerms,
    Event,
    Fill,
    NewOrder,
    OrderState,
    PositionState,
    Side,
)
from nautilus_ext.simulation.market import Listing  # noqa: TC001 - as above

PROTOCOL = 1
FRAME_BYTES_MAX = 4_000_000
ORDERS_PER_LIST_MAX = 100
REPORTS_PER_ANSWER_MAX = 1_000  # a longer answer comes in pages
HEARTBEAT_S = 1.0
_LENGTH = struct.Struct(">I")

type Channel = Literal["quotes", "trades", "book", "status"]


class Message(msgspec.Struct, frozen=True, kw_only=True, tag=True, omit_defaults=True):
    """What all messages are."""


# -- requests ---------------------------------------------------------------------------------------


class Request(Message, frozen=True, kw_only=True):
    request: int


class Hello(Request, frozen=True, kw_only=True):
    """First on a connection. With terms it trades; no other `session` may trade for that account meanwhile."""

    protocol: int = PROTOCOL
    session: str  # the same for all connections of one client object
    venue: str | None = None
    terms: AccountTerms | None = None
    resume_after: int | None = None  # last stream number seen; None begins with what comes now
    world: str | None = None  # digest of the world that the client expects; None takes any


class Bye(Request, frozen=True, kw_only=True):
    """The client leaves for good: without any client left the server ends."""


class ListInstruments(Request, frozen=True, kw_only=True):
    venue: str | None = None


class Subscribe(Request, frozen=True, kw_only=True):
    """Answered before the first datum. A book begins with a snapshot, quotes and status with what they are now."""

    channel: Channel
    instrument_id: str


class Unsubscribe(Request, frozen=True, kw_only=True):
    channel: Channel
    instrument_id: str


class GetBook(Request, frozen=True, kw_only=True):
    instrument_id: str
    depth: int = 0  # levels per side; 0 gives all


class Place(Request, frozen=True, kw_only=True):
    orders: tuple[NewOrder, ...]  # a list is taken whole or refused whole


class Modify(Request, frozen=True, kw_only=True):
    """By venue order id, or without one by client order id. What is None stays as it is."""

    client_order_id: str
    venue_order_id: str | None = None
    quantity: str | None = None  # decimals, as text
    price: str | None = None
    trigger_price: str | None = None


class Cancel(Request, frozen=True, kw_only=True):
    client_order_id: str
    venue_order_id: str | None = None


class CancelMany(Request, frozen=True, kw_only=True):
    """Each is carried out or refused on its own: the answer has one refusal code, or "", per order."""

    client_order_ids: tuple[str, ...]


class CancelAll(Request, frozen=True, kw_only=True):
    instrument_id: str | None = None
    side: Side | None = None


class GetOrders(Request, frozen=True, kw_only=True):
    """The account's orders, oldest first: by one id, or by filters. `after`: last venue order id of the page before."""

    client_order_id: str | None = None
    venue_order_id: str | None = None
    instrument_id: str | None = None
    open_only: bool = False
    since_ns: int = 0  # open orders come whatever their time
    until_ns: int | None = None
    after: str | None = None


class GetFills(Request, frozen=True, kw_only=True):
    venue_order_id: str | None = None
    client_order_id: str | None = None
    instrument_id: str | None = None
    since_ns: int = 0
    until_ns: int | None = None
    after: str | None = None  # last trade id of the page before


class GetAccount(Request, frozen=True, kw_only=True):
    """Balances, margins and positions."""


class Resume(Request, frozen=True, kw_only=True):
    """Send again what came after this stream number."""

    after: int


class Control(Request, frozen=True, kw_only=True):
    """For tests and demonstrations: what an exchange's own staff could do."""

    venue: str
    action: Literal["faults", "halt", "open", "stale", "fresh", "step", "pause", "play"]
    faults: bytes | None = None  # JSON of faults.Faults
    steps: int = 1  # with "step", while paused


# -- answers ----------------------------------------------------------------------------------------


class Answer(Message, frozen=True, kw_only=True):
    request: int


class Welcome(Answer, frozen=True, kw_only=True):
    """`seq`: the stream's last number at this moment. `run`: how often this server's ledger was opened."""

    exchange: str
    run: int
    seq: int = 0
    world: str = ""


class Done(Answer, frozen=True, kw_only=True):
    """Carried out; `refused` has one code per order of a CancelMany, `faults` answers a Control."""

    refused: tuple[str, ...] = ()
    faults: dict[str, int] = {}  # how often each kind happened at the venue since this server started


class Refused(Answer, frozen=True, kw_only=True):
    """Not carried out; nothing has changed because of it."""

    code: str
    text: str
    retry_after_ms: int = 0  # RATE_LIMITED only


class Instruments(Answer, frozen=True, kw_only=True):
    listings: tuple[Listing, ...]


class BookSnapshot(Answer, frozen=True, kw_only=True):
    book: BookLevels


class Orders(Answer, frozen=True, kw_only=True):
    """`seq`: the stream's last number that is contained in it."""

    orders: tuple[OrderState, ...]
    seq: int
    more: bool = False


class Fills(Answer, frozen=True, kw_only=True):
    fills: tuple[Fill, ...]
    seq: int
    more: bool = False


class Account(Answer, frozen=True, kw_only=True):
    state: AccountState
    positions: tuple[PositionState, ...]
    seq: int


# -- unasked ----------------------------------------------------------------------------------------


class StreamItem(Message, frozen=True, kw_only=True):
    """What happened to the account, number by number."""

    seq: int
    event: Event


class Heartbeat(Message, frozen=True, kw_only=True):
    """Once a second. On a trading connection `seq` shows whether the last item got lost."""

    ts_ns: int
    seq: int = 0


class QuoteMessage(Message, frozen=True, kw_only=True):
    """Best bid and ask, in ticks and lots; 0 lots: that side is empty."""

    instrument_id: str
    bid_ticks: int
    ask_ticks: int
    bid_lots: int
    ask_lots: int
    ts_ns: int


class TradeMessage(Message, frozen=True, kw_only=True):
    instrument_id: str
    trade_id: str
    price_ticks: int
    lots: int
    buyer_is_aggressor: bool
    ts_ns: int


class BookLevels(msgspec.Struct, frozen=True, kw_only=True):
    """Levels as (ticks, lots), best first."""

    instrument_id: str
    bids: tuple[tuple[int, int], ...]
    asks: tuple[tuple[int, int], ...]
    number: int  # of the last change that is contained
    ts_ns: int


class BookSnapshotMessage(Message, frozen=True, kw_only=True):
    """The first datum of a book's subscription."""

    book: BookLevels


class BookChange(Message, frozen=True, kw_only=True):
    """Levels as (ticks, lots) that are now so; 0 lots: gone. `number` counts without gap per instrument."""

    instrument_id: str
    number: int
    bids: tuple[tuple[int, int], ...]
    asks: tuple[tuple[int, int], ...]
    ts_ns: int


class StatusMessage(Message, frozen=True, kw_only=True):
    instrument_id: str
    status: Literal["TRADING", "HALT"]
    ts_ns: int


type AnyRequest = (
    Hello | Bye | ListInstruments | Subscribe | Unsubscribe | GetBook | Place | Modify | Cancel | CancelMany
    | CancelAll | GetOrders | GetFills | GetAccount | Resume | Control
)  # fmt: skip
type AnyAnswer = Welcome | Done | Refused | Instruments | BookSnapshot | Orders | Fills | Account
type Unasked = (
    StreamItem | Heartbeat | QuoteMessage | TradeMessage | BookSnapshotMessage | BookChange | StatusMessage
)  # fmt: skip
type FromServer = AnyAnswer | Unasked


class WireError(ValueError):
    """What came is no message of this format: the connection is of no more use."""


class Framer:
    """Bytes in, whole messages out. One per direction of a connection."""

    def __init__(self, decoder: msgspec.msgpack.Decoder) -> None:
        self._decoder = decoder
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list:
        buffer = self._buffer
        buffer += data
        messages = []
        begin = 0
        while len(buffer) - begin >= _LENGTH.size:
            (size,) = _LENGTH.unpack_from(buffer, begin)
            if size > FRAME_BYTES_MAX:
                raise WireError(f"a frame of {size:,} bytes; {FRAME_BYTES_MAX:,} is the most")
            end = begin + _LENGTH.size + size
            if end > len(buffer):
                break
            try:
                messages.append(self._decoder.decode(memoryview(buffer)[begin + _LENGTH.size : end]))
            except (msgspec.MsgspecError, ValueError, RecursionError) as error:  # ValueError: text that is no UTF-8
                raise WireError(f"a frame that is no message: {error}") from error
            begin = end
        if begin:
            del buffer[:begin]
        return messages


_encoder = msgspec.msgpack.Encoder()


def request_framer() -> Framer:
    """For the server: decodes what clients send."""
    return Framer(msgspec.msgpack.Decoder(AnyRequest))


def server_framer() -> Framer:
    """For a client: decodes what the server sends."""
    return Framer(msgspec.msgpack.Decoder(FromServer))


def frame(message: Message) -> bytes:
    return framed(encoded(message))


def encoded(message: Message) -> bytes:
    return _encoder.encode(message)


def framed(body: bytes) -> bytes:
    return _LENGTH.pack(len(body)) + body
