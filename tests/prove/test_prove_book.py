"""Several nodes want one book, and are ended, killed, paused and cut off at random."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from book_node import query

pytestmark = [pytest.mark.prove, pytest.mark.timeout(3600)]

WRITER = Path(__file__).with_name("book_writer.py")
BOOK = "PAPER-001.paper"
NODES = 4
HITS = 200
PAUSE_S = (0.05, 0.1, 0.3, 0.6, 1.2)
EXIT_TIMEOUT_S = 30.0
FAULTS = ("end", "kill", "kill", "pause", "pause and cut", "pause and cut", "cut", "cut")
HOLDER = "SELECT pid FROM runs ORDER BY epoch DESC LIMIT 1"
CUT = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted"


class Contender:
    """One process that wants the book; what it said is read when it has ended."""

    def __init__(self, url: str, name: str) -> None:
        self.name = name
        self.paused_until_s: float | None = None
        command = [sys.executable, str(WRITER), url, BOOK, name]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def signal(self, number: signal.Signals) -> None:
        if self.process.poll() is None:
            self.process.send_signal(number)

    def pause(self, for_s: float) -> None:
        self.signal(signal.SIGSTOP)
        self.paused_until_s = time.monotonic() + for_s

    def resume(self) -> None:
        self.signal(signal.SIGCONT)
        self.paused_until_s = None

    def words(self) -> list[dict]:
        out, err = self.process.communicate(timeout=EXIT_TIMEOUT_S)
        assert "Traceback" not in err, err
        return [json.loads(line) for line in out.splitlines()]


def test_never_two_nodes_that_could_write(database, seed, rounds, tell):
    """The rows in the order in which they were added never go back to an older epoch, and a loss is told once."""
    query(database.owner_url, "CREATE TABLE appended (id bigserial PRIMARY KEY, epoch bigint, node text)")
    query(database.owner_url, "GRANT SELECT, INSERT ON appended TO suite_app")
    query(database.owner_url, "GRANT USAGE ON SEQUENCE appended_id_seq TO suite_app")
    counts: Counter[str] = Counter()
    words = _chaos(database.app_url, random.Random(seed), rounds(HITS), counts)
    owners = {one["epoch"]: name for name, said in words.items() for one in said if "epoch" in one}
    told = sum("epoch" in one for said in words.values() for one in said)
    assert told == len(owners), "an epoch was given twice"
    losses = [sum("lost" in one for one in said) for said in words.values()]
    assert max(losses) <= 1, "a loss was told twice"
    rows = query(database.owner_url, "SELECT epoch, node FROM appended ORDER BY id")
    back = sum(after["epoch"] < before["epoch"] for before, after in pairwise(rows))
    assert back == 0, "a node wrote although another had the book"
    writers = {row["epoch"]: {other["node"] for other in rows if other["epoch"] == row["epoch"]} for row in rows}
    assert all(len(names) == 1 for names in writers.values())
    assert all(names == {owners.get(epoch, next(iter(names)))} for epoch, names in writers.items())
    ends = query(database.owner_url, "SELECT epoch, clean_end FROM runs WHERE clean_end")
    recorded = {name for name, said in words.items() if any(one.get("recorded") for one in said)}
    assert {owners[end["epoch"]] for end in ends} <= recorded
    tell(
        f"hold on a book: faults={counts.total()} ({', '.join(f'{name} {n}' for name, n in sorted(counts.items()))}) "
        f"nodes={len(words)} epochs={len(owners)} rows={len(rows)} losses_heard={sum(losses)} "
        f"two_writers={back} seed={seed}"
    )


def _chaos(url: str, rnd: random.Random, hits: int, counts: Counter[str]) -> dict[str, list[dict]]:
    """Keep several contenders on the book and hit one at a time; return what each of them said."""
    running: list[Contender] = []
    words: dict[str, list[dict]] = {}
    hit = 0
    try:
        while hit < hits or running:
            _look_after(running, words)
            if hit < hits and len(running) < NODES:
                running.append(Contender(url, f"node-{len(words) + len(running)}"))
            if hit < hits and rnd.random() < 0.3:
                kind, one = rnd.choice(FAULTS), _victim(running, url, rnd)
                _hit(kind, one, url, rnd)
                counts[kind] += 1
                hit += 1
            elif hit >= hits:
                for one in running:
                    one.resume()
                    one.signal(signal.SIGTERM)
            time.sleep(0.1)
    finally:
        for one in running:
            one.signal(signal.SIGKILL)
    return words


def _look_after(running: list[Contender], words: dict[str, list[dict]]) -> None:
    for one in list(running):
        if one.paused_until_s is not None and time.monotonic() > one.paused_until_s:
            one.resume()
        if one.process.poll() is not None:
            words[one.name] = one.words()
            running.remove(one)


def _victim(running: list[Contender], url: str, rnd: random.Random) -> Contender:
    """Mostly the one that has the book."""
    pids = {row["pid"] for row in query(url, HOLDER)}
    holders = [one for one in running if one.process.pid in pids]
    return rnd.choice(holders) if holders and rnd.random() < 0.7 else rnd.choice(running)


def _hit(kind: str, one: Contender, url: str, rnd: random.Random) -> None:
    if kind == "end":
        one.signal(signal.SIGTERM)
    elif kind == "kill":
        one.signal(signal.SIGKILL)
    elif kind.startswith("pause"):
        one.pause(rnd.choice(PAUSE_S))
    if kind.endswith("cut"):
        query(url, CUT)
