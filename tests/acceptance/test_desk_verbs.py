"""An operator at the desk: reads along while a node trades, on terminals of any width, and leaves when he likes."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAPER = "node_configs/paper.json"
BOOK = "PAPER-001.paper"
COLOR = re.compile(r"\x1b\[[0-9;]*m")


class Follower:
    """A verb that goes on; its lines and what it says on stderr are read as they come."""

    def __init__(self, shell, verb, *options):
        self.process = shell.spawn(
            verb,
            PAPER,
            "--follow",
            *options,
            module="nautilus_ext",
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines, self.errors = [], []
        for stream, lines in ((self.process.stdout, self.lines), (self.process.stderr, self.errors)):
            threading.Thread(target=lambda stream=stream, lines=lines: lines.extend(stream), daemon=True).start()

    def rows(self):
        return [json.loads(line) for line in list(self.lines)]

    def interrupt(self):
        self.process.send_signal(signal.SIGINT)
        return self


def _newest(rows):
    return {row["client_order_id"]: row for row in rows}


def test_a_follower_sees_every_change_also_through_the_death_of_the_database(shell, wait_until):
    """kill -9 on the server: one line on stderr, no row missed, none told twice, Ctrl-C ends with 0."""
    node = shell.start(PAPER)
    node.until("order filled")
    orders = Follower(shell, "orders", "--json", "--limit", "10000")
    fills = Follower(shell, "fills", "--json", "--limit", "10000")
    positions = Follower(shell, "positions")
    health = Follower(shell, "status", "--json")
    wait_until(lambda: len(orders.lines) > 2 and fills.lines and positions.lines and health.lines, 40)
    (server,) = [each for each in shell.postmasters() if each.ppid() not in {one.pid for one in shell.postmasters()}]
    server.kill()
    wait_until(lambda: orders.errors, 20)
    before = len(orders.lines)
    wait_until(lambda: len(orders.lines) > before, 30)
    node.process.terminate()
    assert 0 == node.end()
    verbs = [
        shell.start(verb, PAPER, "--json", "--limit", "10000", module="nautilus_ext") for verb in ("orders", "fills")
    ]
    assert [0, 0] == [each.end() for each in verbs]
    final, fills_made = (json.loads(each.output) for each in verbs)
    made = {row["trade_id"] for row in fills_made}
    wait_until(lambda: _newest(final) == _newest(orders.rows()), 20)
    wait_until(lambda: len(made) == len(fills.lines), 20)
    wait_until(lambda: health.rows()[-1]["node"]["status"] == "stopped", 20)
    followers = [each.interrupt() for each in (orders, fills, positions, health)]
    assert [0, 0, 0, 0] == [each.process.wait(10) for each in followers]
    versions = [(row["client_order_id"], row["run"], row["seq"]) for row in orders.rows()]
    assert len(versions) == len(set(versions))
    assert sorted(made) == sorted(row["trade_id"] for row in fills.rows())
    for told in (orders.errors, health.errors):
        (said,) = told
        assert "nothing will be missed" in said
    assert [True, False] == [health.rows()[at]["alive"] for at in (0, -1)]
    code, output = shell.verb("status", PAPER)
    assert 1 == code
    assert "0 rejected events; tables up to date" in output


def _on_terminal(shell, columns, *arguments, **environment):
    """Exit code and text of a verb on a terminal of this width."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    settings = {**shell.environment(TERM="xterm", **environment)}
    for name in {"COLUMNS", "LINES", "NO_COLOR"} - environment.keys():
        settings.pop(name, None)
    process = shell.spawn(
        *arguments, module="nautilus_ext", env=settings, stdin=subprocess.DEVNULL, stdout=slave, stderr=slave
    )
    os.close(slave)
    seen = b""
    with contextlib.suppress(OSError):  # the terminal's way to say that nobody writes any more
        while some := os.read(master, 65536):
            seen += some
    os.close(master)
    return process.wait(20), seen.decode().replace("\r\n", "\n")


def test_the_tables_fit_a_terminal_and_stand_whole_in_a_pipe(traded):
    """No line is wider than 80, 120 or 200 columns; colours only where they are wanted; a reader may leave."""
    with ThreadPoolExecutor() as others:
        leaving = others.submit(_reader_leaves, traded)
        piped = others.submit(traded.verb, "orders", PAPER, "--backtest")
        widths = (80, 120, 200)
        shown = list(others.map(lambda each: _on_terminal(traded, each, "orders", PAPER, "--backtest"), widths))
        leaving.result()
    whole = piped.result()[1]
    assert not COLOR.search(whole)
    for columns, (code, text) in zip(widths, shown, strict=True):
        assert 0 == code
        assert COLOR.search(text)
        lines = COLOR.sub("", text).splitlines()
        assert max(map(len, lines)) <= columns
        assert len(lines) >= len(whole.splitlines())
    some_id = whole.splitlines()[1].split()[2]
    code, text = _on_terminal(traded, 80, "order", PAPER, some_id, "--backtest", NO_COLOR="1")
    assert 0 == code
    assert not COLOR.search(text)
    assert max(map(len, text.splitlines())) <= 80


def _reader_leaves(shell):
    """`| head -1`: also a follower that has nothing to say hears of it, and ends in silence."""
    arguments = ("fills", PAPER, "--backtest")
    streams = {"module": "nautilus_ext", "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    readers = [shell.spawn(*arguments, *more, **streams) for more in (["--follow"], ["--limit", "10000", "--json"])]
    for process in readers:
        process.stdout.readline()
        process.stdout.close()
        assert 0 == process.wait(20)
        assert b"" == process.stderr.read()
