"""The mirror in a live node: acknowledged means in the file, whatever becomes of the process."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path
from statistics import median

import msgspec
import pytest
from mirror_engine import log_of, names

from nautilus_ext.persistence import segments

CHILD = Path(__file__).with_name("mirror_node.py")
KILLS = int(os.environ.get("MIRROR_KILLS", "2"))
SEED = int(os.environ.get("MIRROR_SEED", "1"))
STOP_TIMEOUT_S = 20.0
MARK_INTERVAL_S = 0.1  # as mirror_node.py configures it


class Node:
    """A node in a process of its own; what it says arrives in `said`."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.folder = segments.run_folder(folder, 1)
        self.said: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, CHILD, folder, kind], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.endswith("\n"):  # a killed process may say half a line
                self.said.append(line.rstrip("\n"))

    def heard(self, word: str) -> list[str]:
        return [line.removeprefix(f"{word} ") for line in list(self.said) if line.startswith(f"{word} ")]

    def stop(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.close()
        assert 0 == self.process.wait(STOP_TIMEOUT_S)
        self._end()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self._end()

    def _end(self) -> None:
        self._reader.join()
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            stream.close()


@pytest.fixture
def start():
    nodes = []

    def _start(folder: Path, kind: str) -> Node:
        nodes.append(Node(folder, kind))
        return nodes[-1]

    yield _start
    for node in nodes:
        if node.process.poll() is None:
            node.kill()


def test_kill_9_loses_no_event_that_anybody_had_seen(tmp_path, start, wait_until):
    """A witness behind the mirror tells each event through a pipe; after the kill the log has every one of them."""
    rng = random.Random(SEED)
    nodes = [start(tmp_path / str(n), "busy") for n in range(KILLS)]
    for number, node in enumerate(nodes):
        enough = rng.randrange(300, 900)
        wait_until(lambda node=node, enough=enough: len(node.said) > enough, timeout_s=30)
        time.sleep(rng.uniform(0, 0.1))  # the moment is the test
        node.kill()
        records = log_of(tmp_path / str(number))
        numbered = [record for record in records if record.seq]
        assert list(range(1, len(numbered) + 1)) == [record.seq for record in numbered], f"seed {SEED}"
        written = {record.body.get("event_id") for record in records}
        witnessed = node.heard("event")
        assert len(witnessed) > 250
        assert [] == [event_id for event_id in witnessed if event_id not in written], f"seed {SEED}, kill {number}"
        assert "End" not in names(records)
        assert not segments.is_locked(node.folder / segments.NODE_LOCK)


def assert_marks_every(interval_s: float, records: list) -> None:
    """A quote each 50 ms: the prices are written as often as the config says, not as often as they change."""
    assert len({price for record in records for _, price, _ in record.body["marks"]}) > 2
    gaps_s = [(later.ts_init - earlier.ts_init) / 1e9 for earlier, later in pairwise(records)]
    assert interval_s * 0.9 < median(gaps_s) < interval_s * 3, gaps_s


def test_a_node_from_its_start_to_its_end(tmp_path, start, wait_until):
    """Account first; marks while a position is open; the state each second; an audit answered; an end that is clean."""
    node = start(tmp_path, "calm")
    wait_until(lambda: len(node.heard("state")) >= 1, timeout_s=30)
    assert segments.is_locked(node.folder / segments.NODE_LOCK)
    shipper = {"run": 1, "shipped_seq": 3, "segment": 9, "at_ns": time.time_ns(), "last_error": "", "pid": 1}
    (node.folder / "shipper.json").write_bytes(msgspec.json.encode(shipper))
    (node.folder / "audit.request").write_text('{"id": "a1"}')
    wait_until((node.folder / "audit-a1.json").exists)
    answer = json.loads((node.folder / "audit-a1.json").read_bytes())
    (node.folder / "audit.request").write_text("no request")
    wait_until(lambda: not (node.folder / "audit.request").exists())
    node.stop()
    records = log_of(tmp_path)
    assert ["AccountState", "Held", "Instrument", "OrderInitialized"] == names(records)[:4]
    assert_marks_every(MARK_INTERVAL_S, [record for record in records if record.type == "Marks"])
    last = max(record.seq for record in records)
    assert ("End", {"last_seq": last, "clean": True}) == (records[-1].type, records[-1].body)
    assert "OrderCanceled" in names(records), "what the strategy's stop caused"
    assert ["0 "] == node.heard("finished")
    assert_the_audit_is_right(answer, records)
    states = [json.loads(text) for text in node.heard("state")]
    assert {"book_id": "BOOK", "run": 1, "shipped_seq": 0}.items() <= states[0].items()
    assert states[0]["unshipped_bytes"] > 1_000, "no shipper yet: what is on the disk"
    assert {"shipped_seq": 3, "unshipped_bytes": 0, "last_error": ""}.items() <= states[-1].items()


def test_what_is_wrong_stands_in_the_book_s_log_once(tmp_path, start, wait_until):
    """Trouble of the shipper, growing rejections, and the return: a line for each, none for figures that grow."""
    node = start(tmp_path, "calm")
    wait_until(lambda: node.heard("state"), timeout_s=30)

    def shipper_says(last_error: str = "", rejected: int = 0) -> None:
        state = {"run": 1, "at_ns": time.time_ns(), "last_error": last_error, "rejected": rejected}
        (node.folder / "shipper.new").write_bytes(msgspec.json.encode(state))
        (node.folder / "shipper.new").rename(node.folder / "shipper.json")

    expected = ["journal: the database is away, 100 wait"]
    shipper_says("the database is away, 100 wait")
    wait_until(lambda: node.heard("log") == expected)
    shipper_says("the database is away, 2,000 wait")
    wait_until(lambda: "2,000 wait" in node.heard("state")[-1])
    shipper_says()
    expected.append("journal: all is well again")
    wait_until(lambda: node.heard("log") == expected)
    for rejected in (1, 7):
        shipper_says("record 5 was refused", rejected)
        refused = f"journal: the tables refused {rejected} records so far, see rejected_events; record 5 was refused"
        expected.append(refused)
        wait_until(lambda: node.heard("log") == expected)
    node.stop()
    assert expected == node.heard("log")


def assert_the_audit_is_right(answer, records) -> None:
    """At the number it names the log has the same orders and the same position."""
    before = [record for record in records if 0 < record.seq <= answer["seq"]]
    assert answer["id"] == "a1"
    fills = [record.body for record in before if record.type == "OrderFilled"]
    assert 1 == len(fills)
    orders = {record.body["client_order_id"]: record.type for record in before if record.type.startswith("Order")}
    expected = {
        fills[0]["client_order_id"]: ("FILLED", "1.000", "1.000"),
        next(order for order, last in orders.items() if last == "OrderAccepted"): ("ACCEPTED", "1.000", "0.000"),
    }
    assert expected == {row[0]: tuple(row[1:4]) for row in answer["orders"]}
    assert all(row[4] for row in answer["orders"])
    (position,) = answer["positions"]
    expected = [fills[0][key] for key in ("account_id", "instrument_id", "strategy_id")]
    expected += [f"{fills[0]['instrument_id']}-{fills[0]['strategy_id']}", fills[0]["client_order_id"], "LONG", "1.000"]
    assert expected == position
