"""One connection of a client: frames in, frames out, late or lost where the venue's faults say so."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Protocol

from nautilus_ext.simulation.wire import WireError, frame, request_framer

if TYPE_CHECKING:
    from nautilus_ext.simulation.faults import ItemFault, RequestFault
    from nautilus_ext.simulation.server.ledger import OpenAccount
    from nautilus_ext.simulation.wire import AnyRequest, Message

OUTBOX_BYTES_MAX = 8_000_000  # a client that reads so slowly is dropped
INBOX_MESSAGES_MAX = 5_000  # under latency: then its bytes wait in the socket
INBOX_BYTES_MAX = 8_000_000  # under latency: few and large messages are no better than many
UNGREETED_BYTES_MAX = 64_000  # of somebody whose Hello was not answered yet
LATE_MAX = 1_000  # messages that are late at one time; more are on time
HELD_MAX = 1_000  # messages that wait to be overtaken at one time; one more overtakes them all
REORDER_S = 0.05  # after this a held message leaves even when nothing followed it


class Hall(Protocol):
    """Where sessions meet."""

    def opened(self, session: Session) -> None: ...
    def received(self, session: Session, requests: list[AnyRequest]) -> None: ...
    def closed(self, session: Session) -> None: ...
    def wake(self) -> None: ...
    def log(self, text: str) -> None: ...


class Session(asyncio.Protocol):
    """Gathers what leaves until `flush`: the server calls it once a turn, after the ledger's commit."""

    def __init__(self, hall: Hall) -> None:
        self.name = "a stranger"  # as it is called in the log
        self.session = ""
        self.venue = ""  # none: it reads all venues, without latency and faults
        self.account: OpenAccount | None = None
        self.delay_s = 0.0
        self.is_greeted = False
        self.is_closed = False
        self.said_bye = False
        self.replay_at: int | None = None  # the last stream number sent again; None: live
        self.opened_s = time.monotonic()
        self.is_stuck = False  # it does not read as quickly as we write
        self._hall = hall
        self._framer = request_framer()
        self._transport: asyncio.Transport = None  # type: ignore[assignment]  # set before anything else happens
        self._out: list[bytes] = []
        self._held: list[bytes] = []
        self._delayed_bytes = 0
        self._waiting = 0
        self._waiting_bytes = 0
        self._ungreeted_bytes = 0
        self._late = 0

    # -- what asyncio calls -------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._hall.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self.is_closed = True
        self._hall.closed(self)

    def data_received(self, data: bytes) -> None:
        if self.is_closed:
            return
        if not self.is_greeted:
            self._ungreeted_bytes += len(data)
            if self._ungreeted_bytes > UNGREETED_BYTES_MAX:
                self.drop(f"more than {UNGREETED_BYTES_MAX:,} bytes before its Hello was answered")
                return
        try:
            requests = self._framer.feed(data)
        except WireError as error:
            self.drop(f"{error}")
            return
        if not self.delay_s:
            self._hall.received(self, requests)
            return
        self._waiting += len(requests)
        self._waiting_bytes += len(data)
        if self._waiting_bytes > INBOX_BYTES_MAX:
            self.drop(f"{self._waiting_bytes:,} bytes of it are on their way; {INBOX_BYTES_MAX:,} is the most")
            return
        self._choose_reading()
        asyncio.get_running_loop().call_later(self.delay_s, self._arrive, requests, len(data))

    def pause_writing(self) -> None:
        self.is_stuck = True
        self._choose_reading()

    def resume_writing(self) -> None:
        self.is_stuck = False
        self._choose_reading()
        self._hall.wake()

    # -- in -----------------------------------------------------------------------------------------

    def _arrive(self, requests: list[AnyRequest], size: int) -> None:
        self._waiting -= len(requests)
        self._waiting_bytes -= size
        self._choose_reading()
        if not self.is_closed:
            self._hall.received(self, requests)

    def _choose_reading(self) -> None:
        """Take no more of a client that does not read, or has much on its way: TCP tells it to wait."""
        if self.is_closed:
            return
        if self.is_stuck or self._waiting > INBOX_MESSAGES_MAX:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    # -- out ----------------------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        self._out.append(data)
        if self._held:
            self._release()

    def answer(self, message: Message, fault: RequestFault | None = None, late_s: float = 0.0) -> None:
        self.item(frame(message), fault, late_s)

    def item(self, data: bytes, fault: RequestFault | ItemFault | None, late_s: float) -> None:
        if fault is None:
            self.send(data)
        elif fault not in ("lost_answer", "lost_item"):
            self._send_with(data, fault.partition("_")[0], late_s)

    def _send_with(self, data: bytes, kind: str, late_s: float) -> None:
        loop = asyncio.get_running_loop()
        if kind == "late" and self._late < LATE_MAX:
            self._late += 1
            loop.call_later(late_s, self._send_late, data)
        elif kind == "reordered" and len(self._held) < HELD_MAX:
            self._held.append(data)
            loop.call_later(REORDER_S, self._release_and_flush)
        else:
            self.send(data)
            if kind == "duplicate":
                self.send(data)

    def _send_late(self, data: bytes) -> None:
        self._late -= 1
        self.send(data)
        self.flush()

    def _release(self) -> None:
        self._out += self._held
        self._held.clear()

    def _release_and_flush(self) -> None:
        self._release()
        self.flush()

    def flush(self) -> None:
        if not self._out or self.is_closed:
            return
        data = b"".join(self._out) if len(self._out) > 1 else self._out[0]
        self._out.clear()
        if not self.delay_s:
            self._write(data)
            return
        self._delayed_bytes += len(data)
        asyncio.get_running_loop().call_later(self.delay_s, self._write_delayed, data)

    def _write_delayed(self, data: bytes) -> None:
        self._delayed_bytes -= len(data)
        if not self.is_closed:
            self._write(data)

    def _write(self, data: bytes) -> None:
        self._transport.write(data)
        unread = self._transport.get_write_buffer_size() + self._delayed_bytes
        if unread > OUTBOX_BYTES_MAX:
            self.drop(f"it has {unread:,} bytes to read; {OUTBOX_BYTES_MAX:,} is the most")

    # -- the end ------------------------------------------------------------------------------------

    def drop(self, why: str) -> None:
        """Close at once: what it has not read is lost, what it has sent is not looked at."""
        if not self.is_closed:
            self._hall.log(f"dropped {self.name}: {why}")
            self.is_closed = True
            self._transport.abort()

    def end(self) -> None:
        """Close after what was written has been read."""
        self.flush()
        self.is_closed = True
        self._transport.close()
