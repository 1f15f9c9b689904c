"""A trading node on the simulated exchange that a test drives from outside: a process that can be killed."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

CHILD = Path(__file__).with_name("exchange_hand.py")
POLL_S = 0.01
ANSWER_S = 30.0
START_S = 40.0
LINE_BYTES_MAX = 50_000_000

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


class ExchangeNode:
    """The process, and what it says. `with` ends it in order; `kill` does not."""

    def __init__(self, config: dict[str, Any], folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.log = folder / f"node-{time.monotonic_ns()}.log"
        ours, theirs = socket.socketpair()
        command = [sys.executable, str(CHILD), str(theirs.fileno()), json.dumps(config)]
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


def exchange_folder(folder: Path) -> Path:
    return folder / "exchange" / "paper"
