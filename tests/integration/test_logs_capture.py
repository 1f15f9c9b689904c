"""A real process with a real Nautilus kernel: what it writes to stdout and stderr ends in the one file."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap
import time

import pytest

SECRET = 'pl4nted "secret" of 40 characters, or so'
PRELUDE = """
import json, logging, os, subprocess, sys, threading, time
from pathlib import Path
from nautilus_ext.logs import EventLog, LogSession, Masker
SECRET = os.environ["PLANTED"]
def start(folder, **kwargs):
    session = LogSession.start(masker=Masker([SECRET]), terminal=sys.stdout, **kwargs)
    session.capture_output()
    session.attach_file(Path(folder, "book.jsonl"), max_bytes=50_000_000, retain_files=2)
    return session
"""
KERNEL = """
from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.config import LoggingConfig
from nautilus_trader.model.currencies import BTC, USDT
from nautilus_trader.model.data import QuoteTick
from nautilus_trader.model.enums import AccountType, OmsType, OrderSide
from nautilus_trader.model.identifiers import Venue
from nautilus_trader.model.objects import Money
from nautilus_trader.test_kit.providers import TestInstrumentProvider
from nautilus_trader.trading.strategy import Strategy

INSTRUMENT = TestInstrumentProvider.btcusdt_binance()

class Talker(Strategy):
    told = False
    def on_start(self):
        self.subscribe_quote_ticks(INSTRUMENT.id)
    def on_quote_tick(self, tick):
        if self.told:
            return
        self.told = True
        self.submit_order(self.order_factory.market(INSTRUMENT.id, OrderSide.BUY, INSTRUMENT.make_qty("0.5")))
        print("printed by a strategy", SECRET)
        print(json.dumps({"api_secret": SECRET}), file=sys.stderr)
        self.log.info(f"logged {SECRET}\\nsecond line")
        self.log.error("an error\\nwith a second line")
        subprocess.run(["echo", "a child says", SECRET])

def run_kernel():
    logging_config = LoggingConfig(log_colors=True)
    engine = BacktestEngine(BacktestEngineConfig(trader_id="CAPTURE-001", logging=logging_config))
    engine.add_venue(Venue("BINANCE"), OmsType.NETTING, AccountType.CASH, [Money(9_000_000, USDT), Money(9, BTC)])
    engine.add_instrument(INSTRUMENT)
    engine.add_actor(EventLog())
    engine.add_strategy(Talker())
    size = INSTRUMENT.make_qty("10")
    bid, ask = INSTRUMENT.make_price(50_000), INSTRUMENT.make_price(50_001)
    engine.add_data([QuoteTick(INSTRUMENT.id, bid, ask, size, size, n * 10**9, n * 10**9) for n in range(1, 10)])
    engine.run()
    engine.dispose()
"""


def run(program, folder, expect=0):
    text = PRELUDE + KERNEL * ("run_kernel" in program) + textwrap.dedent(program)
    env = {"PLANTED": SECRET, "PATH": "/usr/bin:/bin"}
    command = [sys.executable, "-c", text]
    ended = subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == expect, ended.stderr + ended.stdout
    return ended


def records(folder):
    return [json.loads(line) for line in (folder / "book.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def kernel_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kernel")
    result = run(
        """
        with start(".") as session:
            run_kernel()
        print("after", session.lost, len(os.listdir("/proc/self/fd")))
        """,
        folder,
    )
    return result, records(folder)


def test_nautilus_logs_into_the_same_file(kernel_run):
    """From the first line of the kernel to the last one of its disposal, with component and trader."""
    nautilus = [record for record in kernel_run[1] if record.get("trader_id") == "CAPTURE-001"]
    texts = [(record["component"], record["message"]) for record in nautilus]
    assert ("BacktestEngine", "Building system kernel") in texts
    assert ("Talker", "logged ***\nsecond line") in texts
    assert ("MessageBus", "Closed message bus") in texts
    (error,) = [record for record in nautilus if record["level"] == "ERROR"]
    assert error["message"] == "an error\nwith a second line"


def test_events_and_prints_stand_beside_it(kernel_run):
    """One submission and one fill record; prints and what a child writes are records with their stream."""
    events = [record["event"] for record in kernel_run[1] if "event" in record]
    assert (events.count("OrderSubmitted"), events.count("OrderFilled")) == (1, 1)
    stray = {(record["stream"], record["message"]) for record in kernel_run[1] if "stream" in record}
    assert {
        ("stdout", "printed by a strategy ***"),
        ("stdout", "a child says ***"),
        ("stderr", '{"api_secret": "***"}'),
    } == stray


def test_no_secret_is_left_behind(kernel_run):
    """Neither the file nor what reached the terminal holds it, in any spelling."""
    result, found = kernel_run
    assert "pl4nted" not in json.dumps(found) + result.stdout + result.stderr


def test_the_terminal_is_calm_and_comes_back(kernel_run):
    """Our lines, prints and Nautilus's warnings and errors; after the close stdout is the terminal again."""
    lines = kernel_run[0].stdout.splitlines()
    assert lines[-1].startswith("after 0 ")
    assert [line for line in lines if "order filled" in line and "@ 50,001.00" in line]
    assert [line for line in lines if line.endswith("ERROR    Talker: an error  (+1 lines in the log file)")]
    assert not [line for line in lines if "Building system kernel" in line]
    assert kernel_run[0].stderr == ""


def test_no_descriptor_is_left_open(tmp_path):
    """Two captures one after the other: both get everything, and nothing is left open."""
    result = run(
        """
        def fds():
            return sorted(int(fd) for fd in os.listdir("/proc/self/fd"))
        before = fds()
        for name in ("one", "two"):
            with start(name):
                os.system(f"echo {name}")
        print(json.dumps([before, fds()]))
        """,
        tmp_path,
    )
    before, after = json.loads(result.stdout.splitlines()[-1])
    assert before == after
    assert [records(tmp_path / name)[0]["message"] for name in ("one", "two")] == ["one", "two"]


def test_a_child_that_lives_on_does_not_hold_the_close_up(tmp_path):
    """It inherited stdout, keeps it open and even goes on writing: the close is bounded, the child is not our end."""
    start_s = time.monotonic()
    result = run(
        """
        session = start(".")
        child = subprocess.Popen(["sh", "-c", "while echo child; do sleep 0.01; done"])
        while not [line for line in Path("book.jsonl").read_text().splitlines() if "child" in line] \\
                if Path("book.jsonl").exists() else True:
            time.sleep(0.01)
        begin = time.monotonic()
        session.close(timeout_s=1.0)
        took = time.monotonic() - begin
        child.wait(5)
        print(json.dumps([took, threading.active_count()]))
        """,
        tmp_path,
    )
    took, threads = json.loads(result.stdout.splitlines()[-1])
    assert took < 1.5
    assert threads == 1
    assert time.monotonic() - start_s < 20


def test_megabytes_of_output_are_bounded_and_block_nobody(tmp_path):
    """A strategy that prints without end and without line ends: cut, counted, and the process ends in time."""
    run(
        """
        with start("."):
            os.write(1, b"x" * 5_000_000 + b"\\n")
            for n in range(50_000):
                print("line", n)
            print("end")
        """,
        tmp_path,
    )
    found = records(tmp_path)
    assert found[-1]["message"] == "end" or "lost" in found[-1]["message"]
    assert max(len(record["message"]) for record in found) <= 64 * 1024


def test_an_abort_leaves_a_trace_on_the_terminal(tmp_path):
    """When the process dies at once no thread can write: faulthandler still says where."""
    result = run("session = start('.')\nos.abort()\n", tmp_path, expect=-signal.SIGABRT)
    assert "Fatal Python error: Aborted" in result.stderr


def test_an_uncaught_error_is_a_record_even_without_a_close(tmp_path):
    """The interpreter's own exit closes the session; the terminal gets one line, the file the traceback."""
    result = run("session = start('.')\nraise RuntimeError(SECRET)\n", tmp_path, expect=1)
    (record,) = records(tmp_path)
    assert record["exception"].endswith("RuntimeError: ***")
    assert len((result.stdout + result.stderr).splitlines()) == 1


def test_rust_panics_are_records(tmp_path):
    """What native code writes to stderr past Python is captured as well."""
    run(
        """
        import ctypes
        with start("."):
            libc = ctypes.CDLL(None)
            libc.dprintf(2, b"thread 'x' panicked at src/lib.rs:1:\\nboom\\n")
        """,
        tmp_path,
    )
    (record,) = records(tmp_path)
    assert record["message"] == "thread 'x' panicked at src/lib.rs:1:\nboom"
    assert (record["level"], record["stream"]) == ("WARNING", "stderr")


def test_a_live_node_is_in_the_file_until_its_disposal(tmp_path):
    """A TradingNode that is stopped by a signal: its last lines are in the file, none on the terminal."""
    result = run(
        """
        import asyncio, signal
        from nautilus_trader.config import ImportableActorConfig, LoggingConfig, TradingNodeConfig
        from nautilus_trader.live.node import TradingNode
        actor = ImportableActorConfig(
            actor_path="nautilus_ext.logs:EventLog", config_path="nautilus_ext.logs:EventLogConfig", config={}
        )
        with start("."):
            node = TradingNode(TradingNodeConfig(
                trader_id="LIVE-001", actors=[actor], logging=LoggingConfig(log_colors=True),
                timeout_post_stop=0.1, timeout_disconnection=1.0,
            ))
            node.build()
            node.get_event_loop().call_later(0.5, os.kill, os.getpid(), signal.SIGTERM)
            node.run()
            node.dispose()
        """,
        tmp_path,
    )
    messages = [(r["component"], r["message"]) for r in records(tmp_path) if r.get("trader_id") == "LIVE-001"]
    assert ("EventLog", "RUNNING") in messages
    assert ("EventLog", "DISPOSED") in messages
    assert ("TradingNode", "DISPOSED") in messages
    assert "INFO" not in result.stdout + result.stderr
