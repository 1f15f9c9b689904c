"""A process that must send nothing more: its main thread stands still while another one writes the last lines."""

from __future__ import annotations

import subprocess
import sys

CHILD = """
import os, sys, threading, time
from nautilus_ext.app.stop import StopSignals

signals = StopSignals()
signals.install()
count = 0

def end():
    time.sleep(0.2)
    signals.freeze()
    seen = count
    time.sleep(0.3)
    print(seen > 0, count - seen, flush=True)
    os._exit(5)

threading.Thread(target=end).start()
{loop}
"""
BUSY = "while True: count += 1"
LOOP = """
import asyncio, uvloop
async def trade():
    global count
    while True:
        count += 1
        await asyncio.sleep(0.001)
with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
    runner.run(trade())
"""


def frozen(loop: str) -> tuple[int, str]:
    ended = subprocess.run([sys.executable, "-c", CHILD.format(loop=loop)], capture_output=True, text=True, timeout=20)
    return ended.returncode, ended.stdout.strip() + ended.stderr


def test_a_busy_main_thread_stands_still():
    assert (5, "True 0") == frozen(BUSY)


def test_an_event_loop_stands_still():
    assert (5, "True 0") == frozen(LOOP)
