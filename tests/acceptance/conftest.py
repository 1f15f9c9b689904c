"""What an operator has: commands in a shell, a folder of data, a terminal to read."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from nautilus_ext.embedded import EmbeddedPostgres

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "node_configs"
PAPER = CONFIGS / "paper.json"
COMMAND_TIMEOUT_S = 60.0
# A suite in the background, or under nohup, ignores these, and every command of a test would inherit that.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)
NOT_INHERITED = ("DATABASE_URL", "BINANCE_", "BYBIT_", "OKX_", "TRADER_ID", "LOG_LEVEL")


class Running:
    """A command under way; its output is read as it comes."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def output(self) -> str:
        return "".join(self.lines)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)

    def until(self, text: str, timeout_s: float = 30.0) -> None:
        deadline_s = time.monotonic() + timeout_s
        while text not in self.output:
            if self.process.poll() is not None or time.monotonic() > deadline_s:
                pytest.fail(f"{text!r} did not come within {timeout_s} s (exit {self.process.poll()}):\n{self.output}")
            time.sleep(0.02)

    def end(self, timeout_s: float = COMMAND_TIMEOUT_S) -> int:
        code = self.process.wait(timeout_s)
        self._reader.join(5)
        return code


class Shell:
    """Starts commands with a data folder of the test's own, and leaves none of them behind."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self._processes: list[subprocess.Popen[Any]] = []

    def environment(self, **more: str) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(NOT_INHERITED)}
        return {**kept, "NAUTILUS_EXT_DATA": str(self.data), "PYTHONUNBUFFERED": "1", **more}

    def start(self, *arguments: str, module: str = "nautilus_ext.run", cwd: Path = ROOT, **more: str) -> Running:
        return Running(
            self.spawn(
                *arguments,
                module=module,
                cwd=cwd,
                env=self.environment(**more),
                text=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
        )

    def spawn(self, *arguments: str, module: str = "nautilus_ext.run", **options: Any) -> subprocess.Popen[Any]:
        """A command with streams of the test's own choice."""
        options = {"cwd": ROOT, "env": self.environment()} | options
        process = subprocess.Popen([sys.executable, "-m", module, *arguments], **options)
        self._processes.append(process)
        return process

    def run(self, *arguments: str, **more: Any) -> tuple[int, str]:
        running = self.start(*arguments, **more)
        return running.end(), running.output

    def verb(self, *arguments: str, **more: Any) -> tuple[int, str]:
        return self.run(*arguments, module="nautilus_ext", **more)

    def records(self, book: str) -> list[dict[str, Any]]:
        path = self.data / "logs" / f"{book}.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()]

    def postmasters(self) -> list[psutil.Process]:
        """Server processes that work below our data folder."""
        found = []
        for process in psutil.process_iter(["name"]):
            try:
                if "postgres" in (process.info["name"] or "") and process.cwd().startswith(str(self.data)):
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def exchanges(self) -> list[psutil.Process]:
        """Simulated exchanges that keep their ledger below our data folder."""
        found = []
        for address in self.data.glob("exchange/*/server.json"):
            with contextlib.suppress(psutil.Error, OSError, ValueError):
                process = psutil.Process(json.loads(address.read_text())["pid"])
                if str(address.parent) in process.cmdline():
                    found.append(process)
        return found

    def close(self) -> None:
        """An exchange outlives a node that was killed, so it is ended here."""
        for process in self._processes:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                process.wait(10)
        for exchange in self.exchanges():
            exchange.kill()
            exchange.wait(10)


@pytest.fixture
def shell(tmp_path: Path, wait_until: Callable[..., None]) -> Iterator[Shell]:
    shell = Shell(tmp_path / "data")
    yield shell
    shell.close()
    wait_until(lambda: not shell.postmasters(), 15)


@pytest.fixture
def config(tmp_path: Path) -> Callable[..., str]:
    """Write a variation of a shipped config and return its path."""

    def write(base: str = "paper.json", /, **changes: Any) -> str:
        document = json.loads((CONFIGS / base).read_text())
        document.update(changes)
        path = tmp_path / f"config-{len(list(tmp_path.glob('config-*')))}.json"
        path.write_text(json.dumps({key: value for key, value in document.items() if value is not None}))
        return str(path)

    return write


@pytest.fixture
def traded(shell: Shell, config: Callable[..., str]) -> Iterator[Shell]:
    """A book with a minute of backtest in it, on a server that stays up."""
    backtest = json.loads((CONFIGS / "paper.json").read_text())["backtest"]
    path = config(backtest={**backtest, "synthetic": {**backtest.get("synthetic", {}), "minutes": 1}})
    with EmbeddedPostgres.join(shell.data / "postgres"):
        code, output = shell.run(path, "--backtest")
        assert 0 == code, output
        yield shell
