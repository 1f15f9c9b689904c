"""A paper desk on a database behind a proxy: started, hurt in a chosen way, measured, and judged by its witness."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
from book_node import query
from exchange_ledger import Ledger
from pulse import Pauses, worst

from nautilus_ext.persistence.segments import last_seq, run_folder
from nautilus_ext.persistence.shipper.state import ShipperState, read_state

if TYPE_CHECKING:
    from collections.abc import Callable

    from outage_proxy import Proxy

ROOT = Path(__file__).resolve().parents[2]
BOOK = "PAPER-001.paper"
START_S, END_S, CAUGHT_UP_S = 60.0, 30.0, 60.0
MORE_MS_MAX = 250.0  # what an outage may add to the worst pause of the loop that the same run shows without one
ORDERS = "SELECT client_order_id, status, quantity, filled_quantity FROM unified_orders WHERE book_id = $1"
FILLS = """SELECT client_order_id, trade_id, quantity, price, commission, liquidity_side
  FROM unified_fills WHERE book_id = $1"""


class Desk:
    """One node in a process of its own. Whoever made it closes it."""

    def __init__(self, folder: Path, url: str, *, changes: dict[str, Any] | None = None, **persistence: Any) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.url = url
        self.pulse = folder / "pulse"
        self.config = folder / "paper.json"
        self.lines: list[str] = []
        self._process: subprocess.Popen[str] | None = None
        document = json.loads((ROOT / "node_configs" / "paper.json").read_text())
        pulse = {"actor_path": "pulse:Pulse", "config_path": "pulse:PulseConfig", "config": {"path": str(self.pulse)}}
        busy = {"strategy_path": "busy_strategy:Busy", "config_path": "busy_strategy:BusyConfig"}
        document["strategies"].append({**busy, "config": {"order_id_tag": "900"}})
        document |= {
            "data_dir": str(self.data),
            "database": {"url": url, "connect_timeout_s": 2.0, "statement_timeout_s": 60.0},
            "persistence": persistence,
            "actors": [pulse],
        }
        self.config.write_text(json.dumps(document | (changes or {})))

    # -- the node

    @property
    def output(self) -> str:
        return "".join(self.lines)

    @property
    def pid(self) -> int:
        assert self._process is not None, "it is started first"
        return self._process.pid

    def start(self) -> None:
        process = self._process = subprocess.Popen(
            [sys.executable, "-m", "nautilus_ext.run", str(self.config)],
            cwd=ROOT, env=_environment(), text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        threading.Thread(target=lambda: self.lines.extend(process.stdout or ()), daemon=True).start()
        self.until(lambda: "order filled" in self.output, "the first fill", START_S)

    def stop(self) -> int:
        assert self._process is not None, "it is started first"
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(END_S)

    def verb(self, *arguments: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "nautilus_ext", arguments[0], str(self.config), *arguments[1:]]
        done = subprocess.run(
            command, cwd=ROOT, env=_environment(), text=True, capture_output=True, timeout=START_S, check=False
        )
        return done.returncode, done.stdout + done.stderr

    def close(self) -> None:
        """Nothing of it survives: neither node, nor shipper, nor exchange."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        pids = {read_state(folder).pid for folder in self.data.glob("journal/*/*")}
        pids |= {json.loads(path.read_text())["pid"] for path in self.data.glob("exchange/*/server.json")}
        for pid in pids - {0}:
            _kill_ours(pid, self.data)

    # -- what is seen of it

    @property
    def run(self) -> Path:
        return run_folder(self.data / "journal" / BOOK, 1)

    @property
    def shipper(self) -> ShipperState:
        return read_state(self.run)

    @property
    def shipper_process(self) -> psutil.Process:
        return psutil.Process(self.shipper.pid)

    def until(self, is_so: Callable[[], object], what: str, timeout_s: float) -> None:
        deadline_s = time.monotonic() + timeout_s
        while not is_so():
            ended = self._process is not None and self._process.poll() is not None
            assert not ended, f"the node ended while it was waited for {what}:\n{self.output[-4000:]}"
            assert time.monotonic() < deadline_s, f"not within {timeout_s:g} s: {what}\n{self.output[-4000:]}"
            time.sleep(0.02)

    def until_caught_up(self) -> None:
        """What was known when it is asked for is durable, and the shipper is at work."""
        self.until(lambda: self.shipper.phase == "shipping", "the shipper ships", CAUGHT_UP_S)
        known = self.sent()
        self.until(lambda: self.shipper.shipped_seq >= known, f"record {known} is durable", CAUGHT_UP_S)

    def sent(self) -> int:
        """The last number in the local log."""
        return last_seq(self.run)

    def orders(self) -> int:
        """How many orders the exchange has."""
        return len(Ledger(self.data / "exchange" / "paper", BOOK).orders)

    def denied(self, code: str) -> int:
        """How many orders were denied for this reason, as the log of the book tells it."""
        return sum(
            record.get("event") == "OrderDenied" and str(record.get("reason", "")).startswith(code)
            for record in self.records()
        )

    def records(self) -> list[dict[str, Any]]:
        lines = (self.data / "logs" / f"{BOOK}.jsonl").read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines if line.endswith("}")]

    def worst(self, begin_s: float, end_s: float) -> Pauses:
        return worst(self.pulse, begin_s, end_s)

    # -- the end

    def judge(self) -> dict[str, int]:
        """After the stop: nothing is missing, nothing is there twice, and the audit says so."""
        ledger = Ledger(self.data / "exchange" / "paper", BOOK)
        ends = {
            each["client_order_id"]: (each["status"], Decimal(each["quantity"]), Decimal(each["filled"]))
            for each in ledger.orders
        }
        found = {name: tuple(rest) for name, *rest in self.rows(ORDERS)}
        assert ends == {name: found.get(name) for name in ends}
        fills = {
            (each["client_order_id"], each["trade_id"]): (
                Decimal(each["quantity"]), Decimal(each["price"]), Decimal(each["fee"]),
                "MAKER" if each["maker"] else "TAKER",
            )
            for each in ledger.fills
        }  # fmt: skip
        assert fills == {(name, trade): tuple(rest) for name, trade, *rest in self.rows(FILLS)}
        (run,) = self.rows("SELECT last_seq, durable_seq FROM runs WHERE book_id = $1")
        (events,) = self.rows("SELECT count(*), max(seq), count(DISTINCT seq) FROM order_events WHERE book_id = $1")
        assert {run["last_seq"]} == {run["durable_seq"], *events}
        code, said = self.verb("audit")
        assert code == 0, said
        return {"orders": len(ends), "fills": len(fills), "events": run["last_seq"]}

    def rows(self, sql: str) -> list[Any]:
        return query(self.url, sql, BOOK)


def quiet(desk: Desk, lasts_s: float) -> Pauses:
    """The longest pause of a desk's loop without any outage."""
    begin_s = time.monotonic()
    time.sleep(lasts_s)  # a measurement takes its time
    return desk.worst(begin_s, time.monotonic())


def behind(url: str, proxy: Proxy) -> str:
    """The address of a database as it is seen through a proxy."""
    head, _, rest = url.rpartition("@")
    return f"{head}@127.0.0.1:{proxy.port}/{rest.partition('/')[2]}"


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DATABASE_URL", "NAUTILUS_EXT"))}
    return {**kept, "PYTHONPATH": str(Path(__file__).parent), "PYTHONUNBUFFERED": "1"}


def _kill_ours(pid: int, data: Path) -> None:
    try:
        process = psutil.Process(pid)
        words = process.cmdline()
        if str(data) in " ".join(words) or "nautilus_ext.persistence.shipper" in words:
            process.kill()
    except psutil.Error:
        pass
