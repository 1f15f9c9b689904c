"""The package's public names, and what happens at the small bounds of its clients and sessions."""

from __future__ import annotations

import ast
import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

import nautilus_ext.simulation as package
from nautilus_ext.simulation import wire
from nautilus_ext.simulation.client import gate, paging
from nautilus_ext.simulation.server import sessions
from nautilus_ext.simulation.server.sessions import Session


def _typed_homes() -> dict[str, str]:
    """By name, the module from which a type checker takes it."""
    tree = ast.parse(Path(package.__file__).read_text(encoding="utf-8"))
    block = next(each for each in tree.body if isinstance(each, ast.If))
    imports = [each for each in block.body if isinstance(each, ast.ImportFrom)]
    return {name.name: (each.module or "") for each in imports for name in each.names}


def test_the_three_lists_of_public_names_say_the_same():
    """For the type checker, for the star, and for whoever asks by a string in a config."""
    homes = {name: f"{package.__name__}.{home}" for name, home in package._HOMES.items()}
    assert sorted(homes) == package.__all__
    assert homes == _typed_homes()


@pytest.mark.parametrize("name", package.__all__)
def test_a_public_name_is_there(name):
    """And it is the one that its module has under this name."""
    assert name == getattr(getattr(package, name), "__name__", name)


class Hall:
    """Where the session under test arrives; nothing else happens there."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def opened(self, session: Session) -> None: ...

    def closed(self, session: Session) -> None: ...

    def log(self, text: str) -> None:
        self.lines.append(text)


async def test_a_message_too_many_to_be_held_overtakes_those_that_are(monkeypatch):
    """Nothing is lost at the bound and nothing grows beyond it; on a real socket."""
    monkeypatch.setattr(sessions, "HELD_MAX", 3)
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    hall: Any = Hall()
    session = Session(hall)
    await loop.connect_accepted_socket(lambda: session, sock=ours)
    for name in b"abcd":
        session.item(bytes([name]), "reordered_item", 0.0)
    session.flush()
    assert b"dabc" == await asyncio.wait_for(loop.sock_recv(theirs, 100), timeout=5)
    session.drop("the test is over")
    theirs.close()


class Pages:
    """Answers with one order per page, without end."""

    def __init__(self) -> None:
        self.asked: list[str | None] = []

    async def read(self, kind, **filters):
        assert wire.GetOrders is kind
        self.asked.append(filters.get("after"))
        order = type("Row", (), {"venue_order_id": f"T-{len(self.asked)}"})()
        return type("Page", (), {"orders": (order,), "seq": 7, "more": True})()

    async def reached(self, seq: int) -> None:
        assert 7 == seq


async def test_a_list_that_has_too_many_pages_is_said_to_be_cut(monkeypatch):
    """The warning says how much there is, from where on it is missing, and what to do."""
    monkeypatch.setattr(paging, "PAGES_MAX", 3)
    link: Any = Pages()
    lines: list[str] = []
    found = await paging.read_all(link, wire.GetOrders, lines.append)
    assert ["T-1", "T-2", "T-3"] == [each.venue_order_id for each in found]
    assert [None, "T-1", "T-2"] == link.asked
    cure = "ask for a shorter time (exec_engine.reconciliation_lookback_mins)"
    assert [f"3 orders were read, up to T-3; all after it are missing in the report: {cure}"] == lines


def test_a_gate_that_is_full_opens_and_says_so(monkeypatch):
    """In order, and none of them lost; whoever held it has nothing more to let go."""
    monkeypatch.setattr(gate, "HELD_ITEMS_MAX", 2)
    passed: list[Any] = []
    held: Any = gate.Gate(passed.append, lambda: passed.append(-1))  # its items are numbers here
    held.hold()
    held.hold()
    with held.recording() as seen:
        for item in (1, 2, 3, 4):
            held.take(item)
    held.let_go()
    held.take(5)
    assert [-1, 1, 2, 3, 4, 5] == passed
    assert [1, 2, 3, 4] == seen
