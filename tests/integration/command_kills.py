"""A node is killed over and over while people command it: each command is answered, none is done too often."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

from command_stage import BOOK, WHY, query

from nautilus_ext.risk.commands import COMMANDS, read
from nautilus_ext.risk.inbox import Inbox
from nautilus_ext.schema import commands

LIFE_S = (0.0, 0.6)
PAUSE_S = 0.08
SCOPES = ("node", "venue=SIM1", "venue=SIM2", "strategy=A-1")
PLAIN = ("halt", "reduce-only", "resume", "flatten", "cancel-all")
NODE = Path(__file__).with_name("command_node.py")
ROWS = "SELECT command_id, kind, status, result, applied_run, applied_number FROM commands ORDER BY issued_at"


def node(url, folder, journal):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    return subprocess.Popen([sys.executable, str(NODE), url, str(folder), str(journal)], text=True, **pipes)


def people(url, inbox, rnd, is_over):
    """Rows and files, whether a node runs or not."""

    async def ask(connection):
        number = 0
        while not is_over.is_set():
            number += 1
            kind, told = rnd.choice(PLAIN), {"scope": rnd.choice(SCOPES), "why": WHY}
            name = f"{kind}-{number}"
            if kind in ("halt", "reduce-only") and rnd.random() < 0.2:
                inbox.put(_command(name, kind, told))
            else:
                await commands.insert(connection, BOOK, (name, kind, told, "ann"), None)
            await asyncio.sleep(PAUSE_S)

    query(url, ask)


def _command(name, kind, told):
    return read(name, kind, told, "bob")


def play(url, tmp_path, wait_until, seed, kills):
    """Kill, start again, and hold the journal of what was applied against the rows."""
    print(f"SEED={seed} KILLS={kills}")
    rnd, journal = random.Random(seed), tmp_path / "journal"
    inbox, is_over = Inbox(tmp_path / "inbox"), threading.Event()
    asking = threading.Thread(target=people, args=(url, inbox, random.Random(seed + 1), is_over))
    asking.start()
    try:
        for _ in range(kills):
            with node(url, tmp_path / "inbox", journal) as killed:
                assert killed.stdout.readline().strip()
                time.sleep(rnd.uniform(*LIFE_S))
                killed.kill()
    finally:
        is_over.set()
        asking.join()
    with node(url, tmp_path / "inbox", journal) as last:
        run = int(last.stdout.readline())
        wait_until(lambda: not inbox.waiting() and _open(url) == 0, 20)
        last.stdin.close()
    rows = [tuple(row) for row in query(url, lambda connection: connection.fetch(ROWS))]
    order = journal.read_text().split()
    return _judge(rows, order, run)


def _open(url):
    count = "SELECT count(*) FROM commands WHERE status IN ('pending', 'taken')"
    return query(url, lambda connection: connection.fetchval(count))


def _judge(rows, order, run):
    done = Counter(order)
    assert done.keys() <= {command_id for command_id, *_ in rows}, "something was applied that has no row"
    twice = lost = 0
    for command_id, kind, status, result, _, _ in rows:
        assert status in ("applied", "refused"), (command_id, status)
        if status == "applied":
            assert done[command_id] >= 1, f"{command_id} was never applied, and its row says that it was"
        if not COMMANDS[kind].may_repeat:
            assert done[command_id] <= 1, f"{command_id} was applied {done[command_id]} times"
            lost += "had begun it" in (result or "")
        twice += done[command_id] > 1
    last_place = {command_id: place for place, command_id in enumerate(order)}
    numbered = sorted((by, place, command_id) for command_id, _, status, _, by, place in rows if status == "applied")
    places = [last_place[command_id] for *_, command_id in numbered]
    assert places == sorted(places), "what a restart adds up is not in the order in which it was applied"
    return f"{len(rows):,} commands in {run} runs: {twice} done twice as they may be, {lost} left to people"
