"""A real HTTP server that takes alerts, or does to them what receivers do; and an alert desk on a bus of its own."""

from __future__ import annotations

import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from nautilus_trader.cache.cache import Cache
from nautilus_trader.common.component import LiveClock, MessageBus
from nautilus_trader.model.identifiers import TraderId
from nautilus_trader.portfolio.portfolio import Portfolio

from nautilus_ext.config.alerts import Webhook
from nautilus_ext.risk import AlertDesk, AlertDeskConfig
from nautilus_ext.schema import books
from nautilus_ext.schema.alerts import Teller
from nautilus_ext.schema.connect import connect

if TYPE_CHECKING:
    from collections.abc import Iterator

BOOK = "PAPER-001@paper"
SECRET = "planted-webhook-secret-91c4"
CLAIM = books.Claim(BOOK, "PAPER-001", "paper", "i-1", "here", 1, "0.1.0", "1.231.0")


class Receiver:
    """`answers` are the next statuses, then 200; a number below 0 is a pause of so many seconds before 200."""

    def __init__(self, port: int = 0) -> None:
        self.taken: list[dict[str, Any]] = []  # what was answered with 200
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.answers: list[float] = []
        self.came_ns: list[int] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.came_ns.append(time.time_ns())
                receiver.requests.append(({key.lower(): value for key, value in self.headers.items()}, body))
                answer = receiver.answers.pop(0) if receiver.answers else 200
                if answer < 0:
                    time.sleep(-answer)
                if answer in (200, 204) or answer < 0:
                    receiver.taken.append(json.loads(body))
                self.send_response(int(answer) if answer > 0 else 200)
                self.send_header("Location", "http://127.0.0.1:1/elsewhere")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?key=part-of-the-address"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def numbers(self) -> list[int]:
        return [each["number"] for each in self.taken]


@contextmanager
def receiving() -> Iterator[Receiver]:
    receiver = Receiver()
    try:
        yield receiver
    finally:
        receiver.close()


def webhook(url: str, **more: Any) -> Webhook:
    return Webhook(url=url, secret=SECRET, **({"timeout_s": 0.5} | more))


class Office:
    """A desk that is started on the running loop of a test; whoever makes it closes it."""

    def __init__(self, **config: Any) -> None:
        self.clock = LiveClock()
        self.bus = MessageBus(trader_id=TraderId("PAPER-001"), clock=self.clock)
        self.desk = AlertDesk(AlertDeskConfig(**config))
        cache = Cache()
        self.desk.register_base(Portfolio(self.bus, cache, self.clock), self.bus, cache, self.clock)

    def close(self) -> int:
        if self.desk.is_running:
            self.desk.stop()
        self.desk.dispose()
        return self.desk.close()


async def started_run(url: str) -> Teller:
    connection = await connect(url, timeout_s=10.0)
    try:
        start = await books.start_run(connection, CLAIM)
    finally:
        await connection.close()
    return Teller(BOOK, start.run, start.epoch)
