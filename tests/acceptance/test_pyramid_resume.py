"""A pyramid outlives its node: kill -9, restart, and it goes on where the tables and the venue say it was."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg

from nautilus_ext.embedded import EmbeddedPostgres

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).parent
PAPER = HERE.parents[1] / "node_configs" / "paper.json"
WAIT_S = 30.0
TREND = [  # always upwards with little noise: one or two additions a second
    {"kind": "trending", "start_s": 0, "seconds": 300, "drift_per_hour": 7.2},
    {"kind": "calm", "start_s": 0, "seconds": 300, "factor": 0.1},
]
PYRAMID = {"notional": "1000", "stop_bps": "300", "target_bps": "5000", "pyramids": 200, "pyramid_step_bps": "10"}


def pyramiding() -> dict[str, Any]:
    """The changes that make the shipped file pyramid on a market that rises."""
    document = json.loads(PAPER.read_text())
    document["data_clients"]["SIM"]["config"]["regimes"] = TREND
    trend = next(each for each in document["strategies"] if each["strategy_path"].endswith("TrendFollower"))
    trend["strategy_path"] = "echo_follower:EchoFollower"
    trend["config"].update(PYRAMID)
    return {"data_clients": document["data_clients"], "strategies": [trend]}


async def tables(shell, holds: Callable[..., bool] | None = None) -> tuple[dict[str, Any], ...]:
    """Positions, state and signals; once `holds` says yes to them."""
    with EmbeddedPostgres.join(shell.data / "postgres") as server:
        connection = await asyncpg.connect(server.app_url)
        deadline_s = time.monotonic() + WAIT_S
        while True:
            async with connection.transaction(isolation="repeatable_read", readonly=True):  # they trade meanwhile
                held = await connection.fetch("SELECT * FROM portfolio_positions")
                told = await connection.fetch("SELECT * FROM signal_log")
                state = await connection.fetchrow("SELECT * FROM pyramiding_state")
            positions = {row["position_id"]: row for row in held}
            signals = {row["fingerprint"]: row for row in told}
            found = (positions, dict(state or {"pyramid_count": 0}), signals)
            if holds is None or holds(*found):
                await connection.close()
                return found
            assert time.monotonic() < deadline_s, f"not true in time: {found}"
            await asyncio.sleep(0.05)


async def test_a_killed_pyramid_goes_on_where_it_was(shell, config):
    """The same rows and one base, the count and the stops go on, and a bar that comes again acts no second time."""
    path = config(**pyramiding())
    environment = {"PYTHONPATH": str(HERE), "ECHO_MEMORY": str(shell.data / "echo.json")}
    first = shell.start(path, **environment)
    first.until("order filled")
    await tables(shell, lambda _, state, __: state["pyramid_count"] >= 2)
    first.process.kill()
    first.end()
    positions, state, signals = await tables(shell)
    count = state["pyramid_count"]
    echo = json.loads((shell.data / "echo.json").read_text())

    second = shell.start(path, **environment)
    second.until("Duplicate signal refused")
    later, later_state, later_signals = await tables(shell, lambda _, state, __: state["pyramid_count"] >= count + 2)
    assert set(positions) <= set(later)
    assert 1 == sum(row["is_base_position"] for row in later.values()), "no second base entry"
    assert {"open"} == {row["status"] for row in later.values()}
    assert len(later) == later_state["pyramid_count"] + 1
    base = later_state["base_position_id"]
    assert state["base_position_id"] == base
    assert later[base]["current_stop"] > positions[base]["current_stop"] > positions[base]["initial_stop"]

    (repeated,) = [row for row in later_signals.values() if row["duplicates"]]
    assert (echo["kind"], int(echo["bar"]["ts_event"]), 1) == (
        repeated["signal_type"],
        repeated["signal_ns"],
        repeated["duplicates"],
    )
    assert set(signals) <= set(later_signals)
    second.process.terminate()
    assert second.end() == 0, second.output

    closed, _, told = await tables(shell)
    assert {"closed"} == {closed[name]["status"] for name in later}, "the second run was stopped in order"
    executed = {row["client_order_id"] for row in told.values() if row["outcome"] == "executed"}
    assert executed == set(closed)
    records = shell.records("PAPER-001.paper")
    assert [record for record in records if "Resumed a pyramid: " in str(record.get("message"))]
    assert [] == [record for record in records if record["level"] == "ERROR"]
    assert executed == bought(shell), "each entry was sent once, and each that was sent has its row"


def bought(shell) -> set[str]:
    """The buy orders that the exchange's ledger knows."""
    ledger = sqlite3.connect(shell.data / "exchange" / "paper" / "exchange.sqlite")
    try:
        return {name for (name,) in ledger.execute("SELECT client_order_id FROM orders WHERE side = 'BUY'")}
    finally:
        ledger.close()
