"""A trading node on the simulated exchange that a test drives from outside, and a second client to trade against it.

The node is a process of its own: it can be killed. A test sends it Python expressions, which it evaluates on its loop
between the engine's own work, with the names `hand` (a strategy), `client`, `cache`, `node` and `loop`.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Self

import msgspec
import psutil

from nautilus_ext.simulation import wire
from nautilus_ext.simulation.exchange.orders import AccountTerms, NewOrder
from nautilus_ext.simulation.faults import Faults

if TYPE_CHECKING:
    from pathlib import Path

POLL_S = 0.01
ANSWER_S = 30.0
START_S = 40.0
LINE_BYTES_MAX = 50_000_000

PERP, SPOT, INVERSE = "BTCUSDT-PERP.SIM2", "BTCUSDT.SIM1", "BTCUSD-PERP.SIM3"
GRACEFUL = {"graceful_shutdown_on_exception": True}


def exec_client(venue: str, account_type: str, *balances: str, **more: Any) -> dict[str, Any]:
    return {
        "path": "nautilus_ext.simulation:SimulatedExecClientConfig",
        "factory": {"path": "nautilus_ext.simulation:SimulatedExecClientFactory"},
        "config": {"venue": venue, "account_type": account_type, "starting_balances": list(balances), **more},
    }


def node_config(folder: Path, *, exec_engine: dict[str, Any] | None = None, **market: Any) -> dict[str, Any]:
    """Three accounts at three venues. The market stands still unless the test lets it go on."""
    common = {"data_dir": str(folder), "answer_timeout_s": 0.5}
    return {
        "environment": "live",
        "trader_id": "TEST-001",
        "logging": {"log_level": "INFO", "log_colors": False},
        "data_engine": GRACEFUL,
        "risk_engine": {**GRACEFUL, "bypass": True},
        "exec_engine": {**GRACEFUL, **(exec_engine or {})},
        "timeout_connection": 20.0,
        "timeout_post_stop": 0.2,
        "timeout_disconnection": 2.0,
        "data_clients": {
            "SIM": {
                "path": "nautilus_ext.simulation:SimulatedDataClientConfig",
                "factory": {"path": "nautilus_ext.simulation:SimulatedDataClientFactory"},
                "config": {**common, "interval_ms": 50, "linger_s": 60.0, **market},
            }
        },
        "exec_clients": {
            "SIM1": exec_client("SIM1", "CASH", "1000000 USDT", "10 BTC", **common),
            "SIM2": exec_client("SIM2", "MARGIN", "1000000 USDT", **common),
            "SIM3": exec_client("SIM3", "MARGIN", "1000000 USDT", "20 BTC", **common),
        },
    }


# -- the child --------------------------------------------------------------------------------------


def main() -> None:
    from exchange_hand import Hand
    from nautilus_trader.config import TradingNodeConfig
    from nautilus_trader.live.node import TradingNode

    from nautilus_ext.simulation import SimulatedExecClientFactory

    control = socket.socket(fileno=int(sys.argv[1]))
    config = json.loads(sys.argv[2])
    node = TradingNode(config=TradingNodeConfig.parse(json.dumps(config)))
    hand = Hand()
    node.trader.add_strategy(hand)
    for name in config["exec_clients"]:
        node.add_exec_client_factory(name, SimulatedExecClientFactory)
    node.build()
    hand.listen(node)
    loop = node.get_event_loop()
    clients = {str(each.id): each for each in node.kernel.exec_engine._clients.values()}
    names = {"hand": hand, "clients": clients, "cache": node.cache, "node": node, "loop": loop, "asyncio": asyncio}
    begin_listening(control, loop, names)
    node.run()
    node.dispose()


def begin_listening(control: socket.socket, loop: asyncio.AbstractEventLoop, names: dict[str, Any]) -> None:
    buffer = bytearray()
    tasks = set()

    def readable() -> None:
        data = control.recv(65_536)
        if not data:
            loop.remove_reader(control)
            return
        buffer.extend(data)
        while b"\n" in buffer:
            line, _, rest = bytes(buffer).partition(b"\n")
            buffer[:] = rest
            task = loop.create_task(evaluate(line.decode(), names, control))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    loop.add_reader(control, readable)


async def evaluate(expression: str, names: dict[str, Any], control: socket.socket) -> None:
    try:
        result = eval(expression, names)
        if inspect.isawaitable(result):
            result = await result
        answer = {"result": result}
    except Exception as error:  # noqa: BLE001 - it is told to the test
        answer = {"error": f"{type(error).__name__}: {error}"}
    control.setblocking(True)  # the loop has made it otherwise, and an answer may be long
    control.sendall(json.dumps(answer, default=str).encode() + b"\n")


# -- the parent -------------------------------------------------------------------------------------


class ExchangeNode:
    """The process, and what it says. `with` ends it in order; `kill` does not."""

    def __init__(self, config: dict[str, Any], folder: Path) -> None:
        self.log = folder / f"node-{time.monotonic_ns()}.log"
        ours, theirs = socket.socketpair()
        command = [sys.executable, __file__, str(theirs.fileno()), json.dumps(config)]
        with self.log.open("w") as out:
            self.process = subprocess.Popen(
                command, pass_fds=[theirs.fileno()], stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
            )
        theirs.close()
        ours.settimeout(ANSWER_S)
        self._control = ours
        self._lines = ours.makefile("r")

    def __enter__(self) -> Self:
        self.until("hand.started", START_S)
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(ANSWER_S)
            except subprocess.TimeoutExpired:
                self.kill()
        self._control.close()
        self._lines.close()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(ANSWER_S)

    def __call__(self, expression: str) -> Any:
        self._control.sendall(expression.encode() + b"\n")
        answer = json.loads(self._lines.readline(LINE_BYTES_MAX) or '{"error": "the node has ended"}')
        assert "error" not in answer, f"{expression}: {answer['error']}\n{self.said()[-3_000:]}"
        return answer["result"]

    def until(self, expression: str, timeout_s: float = 10.0) -> None:
        deadline_s = time.monotonic() + timeout_s
        while not self(expression):
            assert self.process.poll() is None, self.said()[-5_000:]
            assert time.monotonic() < deadline_s, f"not true in time: {expression}\n{self.said()[-5_000:]}"
            time.sleep(POLL_S)

    def said(self) -> str:
        return self.log.read_text()


class Peer:
    """A plain client on a plain socket: trades against the node's orders, and is the exchange's own staff."""

    def __init__(self, folder: Path, venue: str, account: str = "peer", **balances: str) -> None:
        address = json.loads((exchange_folder(folder) / "server.json").read_text())
        self._socket = socket.create_connection((address["host"], address["port"]), timeout=ANSWER_S)
        self._framer = wire.server_framer()
        self._number = 0
        self._orders = 0
        self.venue = venue
        amounts = {name: Decimal(text) for name, text in (balances or {"USDT": "1E8", "BTC": "1E5"}).items()}
        terms = AccountTerms(
            account=f"{account}-{time.monotonic_ns()}", kind="MARGIN", starting_balances=amounts, leverage=Decimal(100)
        )
        self.ask(wire.Hello, session=terms.account, venue=venue, terms=terms)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def ask(self, kind: type, **fields: Any) -> Any:
        self._number += 1
        self._socket.sendall(wire.frame(kind(request=self._number, **fields)))
        while True:
            for message in self._framer.feed(self._socket.recv(1_000_000) or _ended()):
                if getattr(message, "request", None) == self._number:
                    assert not isinstance(message, wire.Refused), f"{message.code}: {message.text}"
                    return message

    def trade(self, side: str, quantity: str, price: str, instrument: str = PERP) -> None:
        """Take what rests there up to this price, and leave nothing."""
        self._orders += 1
        order = NewOrder(
            client_order_id=f"P{self._orders}",
            instrument_id=instrument,
            side=side,
            type="LIMIT",
            quantity=Decimal(quantity),
            price=Decimal(price),
            time_in_force="IOC",
        )
        self.ask(wire.Place, orders=(order,))

    def control(self, action: str, **fields: Any) -> Any:
        return self.ask(wire.Control, venue=self.venue, action=action, **fields)

    def faults(self, **fields: Any) -> None:
        self.control("faults", faults=msgspec.json.encode(Faults(**fields)))

    def fault_counts(self) -> dict[str, int]:
        return self.control("faults").faults


def _ended() -> bytes:
    raise ConnectionError("the exchange closed the connection")


class Ledger:
    """What the exchange itself has written down."""

    def __init__(self, folder: Path) -> None:
        self._path = exchange_folder(folder) / "exchange.sqlite"

    def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        connection = sqlite3.connect(f"file:{self._path}?mode=ro", uri=True, timeout=10.0)
        try:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(query, values)]
        finally:
            connection.close()

    def orders(self, account: str = "TEST-001") -> dict[str, dict[str, Any]]:
        found = self.rows("SELECT * FROM orders WHERE account = ? ORDER BY number", account)
        trades = self.fills(account)
        for row in found:
            row["trades"] = sorted(
                each["trade_id"] for each in trades if each["venue_order_id"] == row["venue_order_id"]
            )
        return {row["client_order_id"]: row for row in found}

    def fills(self, account: str = "TEST-001") -> list[dict[str, Any]]:
        return self.rows("SELECT * FROM fills WHERE account = ? ORDER BY number", account)

    def positions(self, account: str = "TEST-001") -> dict[str, str]:
        rows = self.rows("SELECT * FROM positions WHERE account = ?", account)
        amounts = {row["instrument_id"]: Decimal(row["quantity"]) for row in rows}
        return {name: str(amount.normalize()) for name, amount in amounts.items() if amount}

    def balances(self, account: str = "TEST-001") -> dict[str, dict[str, list[Decimal]]]:
        found: dict[str, dict[str, list[Decimal]]] = {}
        for row in self.rows("SELECT * FROM balances WHERE account = ?", account):
            key = f"{row['venue']}-{account}"
            found.setdefault(key, {})[row["currency"]] = [Decimal(row["total"]), Decimal(row["locked"])]
        return found


def exchange_folder(folder: Path) -> Path:
    return folder / "exchange" / "paper"


def server_pid(folder: Path) -> int:
    return json.loads((exchange_folder(folder) / "server.json").read_text())["pid"]


def stop_server(folder: Path) -> None:
    """Whatever became of it; the test is over."""
    path = exchange_folder(folder) / "server.json"
    if not path.exists():
        return
    address = json.loads(path.read_text())
    try:
        process = psutil.Process(address["pid"])
        if abs(process.create_time() - address["started"]) < 1:
            os.kill(address["pid"], signal.SIGKILL)
            process.wait(ANSWER_S)
    except psutil.NoSuchProcess:
        pass


if __name__ == "__main__":
    main()
