"""`flush: power`: no venue hears of a command before its intent is on the disk, and nothing overtakes."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import pytest

from nautilus_ext.persistence import segments
from nautilus_ext.persistence.intents import INTENT, TIMED_OUT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CHILD = Path(__file__).with_name("power_node.py")
KILLS = int(os.environ.get("POWER_KILLS", "2"))
SEED = int(os.environ.get("POWER_SEED", "5"))
START_S, STUCK_S, STOP_S = 60.0, 30.0, 30.0


class Sent(NamedTuple):
    client: str
    command: str
    order: str


class Node:
    """A node in a process of its own, and what it says."""

    def __init__(self, folder: Path, seed: int) -> None:
        folder.mkdir()
        self.folder = folder
        self.said: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, CHILD, folder, str(seed)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.said.extend(line.rstrip("\n") for line in self.process.stdout if line.endswith("\n"))

    def heard(self, word: str) -> list[str]:
        return [line.removeprefix(f"{word} ") for line in list(self.said) if line.startswith(f"{word} ")]

    @property
    def sent(self) -> list[Sent]:
        return [Sent(*line.split()) for line in self.heard("sent")]

    @property
    def denied(self) -> dict[str, str]:
        return dict(line.split(" ", 1) for line in self.heard("denied"))

    def stop(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(STOP_S) == 0
        self._reader.join()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[int], Node]]:
    nodes: list[Node] = []

    def _start(seed: int) -> Node:
        print("seed", seed)
        nodes.append(Node(tmp_path / str(len(nodes)), seed))
        return nodes[-1]

    yield _start
    for node in nodes:
        if node.process.poll() is None:
            node.kill()
        for stream in (node.process.stdin, node.process.stdout):
            assert stream is not None
            stream.close()


def intents(folder: Path) -> list[tuple[str, str]]:
    """The intents in the segments of a folder, in their order."""
    found = []
    for path in segments.segments(folder):
        offset, state = 0, segments.State.MORE
        while state is segments.State.MORE:
            frames, state = segments.read_frames(path, offset)
            records = [msgspec.json.decode(payload) for _, payload in frames]
            found += [(each[4]["command"], each[4].get("client_order_id")) for each in records if each[1] == INTENT]
            offset = frames[-1][0] if frames else offset
    return found


def assert_nothing_overtook(sent: list[Sent], asked: list[tuple[str, str]]) -> None:
    """What each client was told are intents of its own, in their order; none was told twice."""
    places: dict[tuple[str, str], list[int]] = {}
    for place, each in enumerate(asked):
        places.setdefault(each, []).append(place)
    last: dict[str, int] = {}
    for client, *what in sent:
        later = [place for place in places.get((what[0], what[1]), []) if place > last.get(client, -1)]
        assert later, f"{what} was told to {client} out of its turn, or without an intent"
        last[client] = later[0]


def test_nothing_overtakes_and_what_waited_too_long_is_never_sent(start, wait_until):
    """Two clients, a disk of random pace; it hangs for a while: orders are denied, cancels go on, none comes late."""
    node = start(SEED)
    wait_until(lambda: len(node.sent) > 200, START_S)
    (node.folder / "stuck").touch()
    wait_until(lambda: len(node.denied) > 5, STUCK_S)
    before = len(node.sent)
    wait_until(lambda: len(node.denied) > 20, STUCK_S)
    told = node.sent[before:]
    assert {each.command for each in told} <= {"CancelOrder"}, "nothing else is sent without a disk"
    (node.folder / "stuck").unlink()
    now = len(node.sent)
    wait_until(lambda: len(node.sent) > now + 200, STUCK_S)
    node.stop()
    assert ["0"] == node.heard("finished")
    assert all(reason.startswith(f"{TIMED_OUT}: ") for reason in node.denied.values()), node.denied
    asked = intents(segments.run_folder(node.folder / "journal", 1))
    print(f"{len(node.sent)} commands sent, {len(node.denied)} orders denied, {len(asked)} intents")
    assert_nothing_overtook(node.sent, asked)
    submits = [each.order for each in node.sent if each.command == "SubmitOrder"]
    assert set() == set(submits) & node.denied.keys()
    assert len(submits) == len(set(submits))
    assert {"SubmitOrder", "ModifyOrder", "CancelOrder"} == {each.command for each in node.sent}
    assert len({each.client for each in node.sent}) == 2


def test_after_a_kill_the_disk_has_the_intent_of_every_command_that_a_client_was_told(start, wait_until):
    """What a power cut leaves is what was synced: the image of the disk, not what the kernel still holds."""
    rng = random.Random(SEED)
    for number in range(KILLS):
        node = start(SEED + number)
        enough = rng.randrange(100, 400)
        wait_until(lambda node=node, enough=enough: len(node.sent) > enough, START_S)
        time.sleep(rng.uniform(0, 0.1))  # the moment is the test
        node.kill()
        on_disk = intents(node.folder / "image")
        in_log = intents(segments.run_folder(node.folder / "journal", 1))
        assert [] == [each for each in node.sent if (each.command, each.order) not in on_disk]
        print(f"{len(node.sent)} sent, {len(on_disk)} intents on the disk, {len(in_log)} in the log")
        assert on_disk == in_log[: len(on_disk)]
