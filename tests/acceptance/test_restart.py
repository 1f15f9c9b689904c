"""What a desk holds when its node is killed, the next node holds: whose each order is, and what nobody had shipped."""

from __future__ import annotations

import json
import socket
from collections import Counter
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import pytest

from nautilus_ext.app import restoring
from nautilus_ext.embedded import EmbeddedPostgres
from nautilus_ext.errors import BookIncomplete
from nautilus_ext.persistence.shipper.state import read_state

ROOT = Path(__file__).resolve().parents[2]
BOOK = "PAPER-001.paper"
RAMP_ORDERS = 5
SENT = """SELECT e.client_order_id, o.strategy_id FROM order_events e
  JOIN unified_orders o USING (book_id, client_order_id) WHERE e.run = 1 AND e.type = 'OrderSubmitted'"""
OWNERS = "SELECT client_order_id, strategy_id FROM unified_orders WHERE book_id = $1"
TORN = "UPDATE runs SET host = 'elsewhere', drained_at = NULL, ended_at = NULL, clean_end = false, exit_code = NULL"


@pytest.fixture
def unclaimed(tmp_path):
    """Write paper.json without `external_order_claims`: nobody claims what a venue tells of."""
    document = json.loads((ROOT / "node_configs" / "paper.json").read_text())
    for strategy in document["strategies"]:
        strategy["config"].pop("external_order_claims", None)
    document["risk"]["limits"]["strategy=*"] = {"ramp": {"orders": RAMP_ORDERS, "max_order_quantity": "1000"}}
    path = tmp_path / "unclaimed.json"
    path.write_text(json.dumps(document))
    return str(path)


async def query(shell, sql: str, *arguments: Any) -> list[Any]:
    with EmbeddedPostgres.join(shell.data / "postgres") as server:
        connection = await asyncpg.connect(server.owner_url)
        try:
            return await connection.fetch(sql, *arguments)
        finally:
            await connection.close()


def kill_at_once(shell, running, run: int) -> None:
    """The node and its shipper: what is not in the tables yet lies in the local log."""
    shipper = psutil.Process(read_state(shell.data / "journal" / BOOK / f"{run:06d}").pid)
    shipper.suspend()
    running.until("order canceled")
    running.process.kill()
    shipper.kill()
    running.end()


async def test_what_nobody_had_shipped_is_drained_and_each_order_stays_its_strategys(shell, unclaimed):
    """The node and the shipper are killed; the next node begins with every order, and the audit proves it."""
    running = shell.start(unclaimed)
    running.until("position opened")
    kill_at_once(shell, running, 1)
    ((behind,),) = await query(shell, "SELECT last_seq FROM runs WHERE run = 1")
    code, output = shell.run(unclaimed, "--seconds", "4")
    assert 0 == code, output
    ((drained,),) = await query(shell, "SELECT last_seq FROM runs WHERE run = 1")
    assert behind < drained, "nothing was left in the log: no proof"
    made = ("OrderSubmitted", "OrderDenied")  # the gate may refuse one
    told = {each["client_order_id"] for each in shell.records(BOOK) if each.get("event") in made}
    owners = dict(map(tuple, await query(shell, OWNERS, BOOK)))
    assert told == owners.keys()
    assert "EXTERNAL" not in owners.values()
    assert "not restored" not in output
    holdings = json.loads((shell.data / "journal" / BOOK / "000002" / "holdings.json").read_text())
    before = dict(map(tuple, await query(shell, SENT)))
    assert before.keys() == {past[1] for past in holdings["recent"]["orders"]}
    counts = {strategy: min(count, RAMP_ORDERS) for strategy, count in Counter(before.values()).items()}
    assert counts == holdings["recent"]["orders_by_strategy"]
    code, output = shell.verb("audit", unclaimed)
    assert 0 == code, output


async def test_a_log_that_is_out_of_reach_keeps_the_node_from_starting(shell):
    """Another host may hold what the tables lack: refused with the cure; accepted on request, and written down."""
    code, output = shell.run("node_configs/paper.json", "--seconds", "2")
    assert 0 == code, output
    await query(shell, f"{TORN} WHERE run = 1")
    code, output = shell.run("node_configs/paper.json", "--seconds", "2")
    assert BookIncomplete.exit_code == code, output
    assert "run 1 on elsewhere" in output
    assert "--accept-loss" in output
    assert "Traceback" not in output
    code, output = shell.run("node_configs/paper.json", "--seconds", "2", "--accept-loss")
    assert 0 == code, output
    ((kind, arguments, by),) = await query(shell, "SELECT kind, arguments, issued_by FROM commands")
    assert ("accept-loss", {"runs": [1]}) == (kind, json.loads(arguments))
    assert by.endswith(f"@{socket.gethostname()}")
    code, output = shell.run("node_configs/paper.json", "--seconds", "2")
    assert 0 == code, f"asked once, and once only: {output}"


def test_no_two_starts_make_ids_in_one_second(monkeypatch):
    """An id holds the second and a count that begins anew: the second start waits for the next one."""
    slept = []
    monkeypatch.setattr(restoring.time, "time", lambda: 1_000.25)
    monkeypatch.setattr(restoring.time, "sleep", slept.append)
    for newest_s in (1_000.1, 999.9, 0.0, 5_000.0):
        restoring._await_next_second(newest_s)
    assert [0.75] == slept
