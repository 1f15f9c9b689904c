"""The sandbox's file: one owner, one process, all of a change or nothing, and nothing that is not ours is touched."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import msgspec
import pytest

from nautilus_ext.errors import BookTaken, MachineError
from nautilus_ext.simulation.sandbox.memory import (
    Change,
    Memory,
    OrderRecord,
    Owner,
    PositionRecord,
    still_needed,
)

if TYPE_CHECKING:
    from pathlib import Path

OWNER = Owner(trader_id="TEST-001", venue="SIM2", account_type="MARGIN", oms_type="NETTING", base_currency=None)


def order(order_id: str, *, is_closed: bool = False, parent: str | None = None, linked: tuple[str, ...] = ()):
    about = {"order_side": "BUY", "order_type": "LIMIT", "instrument_id": "ETHUSDT-PERP.SIM2"}
    ids = {"client_order_id": order_id, "parent_order_id": parent, "linked_order_ids": list(linked) or None}
    return OrderRecord(
        initialized={**about, **ids},
        is_closed=is_closed,
        venue_order_id=f"V-{order_id}",
        position_id=None,
        quantity="1.000",
        quote_quantity=False,
        price="3000.00",
        trigger_price=None,
        filled="0.000",
        average_price=0.0,
        triggered=False,
        activated=False,
    )


def position(position_id: str = "P-1") -> PositionRecord:
    return PositionRecord(
        position_id=position_id,
        instrument_id="ETHUSDT-PERP.SIM2",
        strategy_id="S-001",
        opening_order_id="O-1",
        side="BUY",
        quantity="1.500",
        average_price=3000.1,
        realized_pnl="-1.50000000 USDT",
        opened_ns=1_795_238_124_903_113_915,
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with a balance, an order and a position in it, closed in order."""
    found = tmp_path / "sandbox" / "TEST-001" / "SIM2.sqlite"
    memory = Memory(found, OWNER)
    memory.save(Change(balances={"USDT": "9.00000000 USDT"}, orders=[order("A")], positions=[position()]))
    memory.close()
    return found


def test_what_was_saved_is_there(path):
    """Equal records; what a later change takes back is gone."""
    memory = Memory(path, OWNER)
    known = memory.remembered
    assert ({"USDT": "9.00000000 USDT"}, [order("A")], [position()]) == (known.balances, known.orders, known.positions)
    assert memory.set_aside is None
    memory.save(Change(balances={"USDT": "8.00000000 USDT"}, orders_gone=["A"], positions_gone=["P-1", "unknown"]))
    memory.close()
    known = Memory(path, OWNER).remembered
    assert ({"USDT": "8.00000000 USDT"}, [], []) == (known.balances, known.orders, known.positions)


def test_a_change_that_fails_half_way_leaves_nothing(path):
    """The orders of it are not there without its positions."""
    memory = Memory(path, OWNER)
    memory._database.execute("CREATE TRIGGER no BEFORE INSERT ON positions BEGIN SELECT RAISE(ABORT, 'full'); END")
    with pytest.raises(sqlite3.Error, match="full"):
        memory.save(Change(balances={"USDT": "0.00000000 USDT"}, orders=[order("B")], positions=[position("P-2")]))
    memory._database.execute("DROP TRIGGER no")
    memory.save(Change(orders=[order("C")]))
    memory.close()
    known = Memory(path, OWNER).remembered
    assert ({"USDT": "9.00000000 USDT"}, [order("A"), order("C")]) == (known.balances, known.orders)


def test_a_killed_process_leaves_all_that_it_had_saved(tmp_path):
    """No close, no checkpoint: the last change is there."""
    path = tmp_path / "SIM2.sqlite"
    script = (
        "import os, sys; from pathlib import Path; from nautilus_ext.simulation.sandbox.memory import *\n"
        "memory = Memory(Path(sys.argv[1]), msgspec.json.decode(sys.argv[2], type=Owner))\n"
        "for number in range(1_000): memory.save(Change(balances={'USDT': f'{number} USDT'}))\n"
        "os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path), msgspec.json.encode(OWNER).decode()], check=False)
    assert -9 == done.returncode
    assert {"USDT": "999 USDT"} == Memory(path, OWNER).remembered.balances


def test_a_second_process_is_refused_and_the_first_writes_on(path):
    """Locked from the first access to the close."""
    memory = Memory(path, OWNER)
    with pytest.raises(BookTaken, match="a node of TEST-001 trades SIM2 on paper already; stop it"):
        Memory(path, OWNER)
    memory.save(Change(orders=[order("B")]))
    memory.close()
    assert [order("A"), order("B")] == Memory(path, OWNER).remembered.orders


def test_a_folder_that_cannot_be_made_is_a_machine_error(tmp_path):
    """With path, reason and cure."""
    (tmp_path / "file").write_text("")
    with pytest.raises(MachineError, match=r"SIM2.sqlite cannot be opened .*choose another data_dir"):
        Memory(tmp_path / "file" / "SIM2.sqlite", OWNER)


def _overwrite_half(path: Path) -> None:
    content = bytearray(path.read_bytes())
    quarter = len(content) // 4
    content[quarter : quarter * 3] = bytes(quarter * 2)
    path.write_bytes(content)


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5_000])


def _run(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode = DELETE")
        database.execute(statement)
        database.commit()


def _replace_by_foreign(path: Path) -> None:
    path.unlink()
    _run(path, "CREATE TABLE recipes (name TEXT)")


SPOILED = {
    "text": (lambda path: path.write_text("nothing that SQLite knows" * 200), "is damaged (file is not a database)"),
    "half": (_overwrite_half, "is damaged ("),
    "truncated": (_truncate, "is damaged ("),
    "record": (
        lambda path: _run(path, "UPDATE positions SET record = '{\"side\": 1}'"),
        "is damaged (a record in it: ",
    ),
    "no-owner": (lambda path: _run(path, "DELETE FROM owner"), "is damaged (a record in it: "),
    "no-table": (lambda path: _run(path, "DROP TABLE orders"), "is damaged (no such table: orders)"),
    "foreign": (_replace_by_foreign, "belongs to another program"),
    "newer": (lambda path: _run(path, "PRAGMA user_version = 99"), "has format 99, and this version reads 1"),
    "other-trader": (
        lambda path: _run(path, "UPDATE owner SET owner = replace(owner, 'TEST-001', 'ALICE-007')"),
        "is of another account (trader_id ALICE-007, not TEST-001)",
    ),
    "other-account": (
        lambda path: _run(path, "UPDATE owner SET owner = replace(owner, 'MARGIN', 'CASH')"),
        "is of another account (account_type CASH, not MARGIN)",
    ),
}


@pytest.mark.parametrize("spoiled", SPOILED)
def test_a_file_that_cannot_be_used_is_kept_as_it_was_and_another_begun(path, spoiled):
    """It says why and where the file is now; the next start finds the new one."""
    spoil, said = SPOILED[spoiled]
    spoil(path)
    content = path.read_bytes()
    memory = Memory(path, OWNER)
    assert memory.set_aside is not None
    assert memory.set_aside.startswith(f"{path} {said}")
    (aside,) = [each for each in path.parent.glob("SIM2.sqlite.unusable-*") if not each.name.endswith("-wal")]
    assert memory.set_aside.endswith(f"; it is kept as {aside.name}")
    assert content == aside.read_bytes()
    assert {} == memory.remembered.balances
    memory.save(Change(balances={"USDT": "1.00000000 USDT"}))
    memory.close()
    again = Memory(path, OWNER)
    assert (None, {"USDT": "1.00000000 USDT"}) == (again.set_aside, again.remembered.balances)


def test_an_empty_file_is_a_new_one(tmp_path):
    """As a process leaves it that is killed between making the file and writing to it."""
    path = tmp_path / "SIM2.sqlite"
    path.touch()
    memory = Memory(path, OWNER)
    assert (None, {}) == (memory.set_aside, memory.remembered.balances)


def test_closed_orders_stay_as_long_as_their_bracket_works():
    """The engine looks up parents and linked orders; whose family is over is not needed."""
    entry = order("E", is_closed=True, linked=("S", "T"))
    stop = order("S", parent="E", linked=("T",))
    target = order("T", is_closed=True, parent="E", linked=("S",))
    over = [order("X", is_closed=True, linked=("Y",)), order("Y", is_closed=True, parent="X")]
    assert {"E", "S", "T", "A"} == still_needed([entry, stop, target, *over, order("A", parent="unknown")])
