"""What somebody changes in the tables of a running node is named by `audit`, and all is proven when it is put back."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

import asyncpg
import pytest
import pytest_asyncio
from conftest import CONFIGS

from nautilus_ext.embedded import EmbeddedPostgres
from nautilus_ext.persistence.audit import DIFFERENT, EQUAL

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from conftest import Shell

PAPER = str(CONFIGS / "paper.json")
TRADED_S_MAX = 40.0
SHIPPED_S_MAX = 10.0
# Of rows that the node will not write again: an order that is filled, a position that is closed.
FILLED = "SELECT client_order_id FROM unified_orders WHERE status = 'FILLED' ORDER BY created_ns LIMIT 1"
CLOSED = "SELECT opening_order_id FROM venue_positions WHERE side = 'FLAT' ORDER BY closed_ns LIMIT 1"


class Value(NamedTuple):
    """One value of the tables, and the order that its row is about."""

    table: str
    column: str
    where: str
    order: str

    @property
    def read(self) -> str:
        return f"SELECT {self.column}::text FROM {self.table} WHERE {self.where} = $1"

    def write(self, new: str) -> str:
        return f"UPDATE {self.table} SET {self.column} = {new} WHERE {self.where} = $1"


class Owner:
    """The role that may change what the application's may not, beside a node that trades."""

    def __init__(self, shell: Shell, connection: asyncpg.Connection) -> None:
        self._shell = shell
        self._connection = connection

    @asynccontextmanager
    async def tampering(self, value: Value, new: str) -> AsyncIterator[None]:
        before = await self._connection.fetchval(value.read, value.order)
        assert "UPDATE 1" == await self._connection.execute(value.write(new), value.order)
        yield
        assert await self._connection.fetchval(value.read, value.order) != before, "the node wrote the row again"
        back = value.write(f"('{before}')::{'jsonb' if value.column == 'payload' else 'numeric'}")
        assert "UPDATE 1" == await self._connection.execute(back, value.order)

    async def traded(self) -> tuple[str, str]:
        """Ask for an order that is filled and one that opened a position which is closed."""
        async with asyncio.timeout(SHIPPED_S_MAX):
            while (closed := await self._connection.fetchval(CLOSED)) is None:  # noqa: ASYNC110 - another process writes it
                await asyncio.sleep(0.05)
        return await self._connection.fetchval(FILLED), closed

    def audit(self) -> tuple[int, list[tuple[str, str, str]]]:
        """Return the exit code and what is listed; the running node has answered each time."""
        code, output = self._shell.verb("audit", PAPER, "--json")
        report = json.loads(output)
        (node,) = [check for check in report["checks"] if check["name"] == "running node"]
        assert node["text"].startswith("run 1 at event"), output
        assert (code, len(report["listed"])) == (report["verdict"], report["differences"])
        return code, [(each["table"], each["key"], each["field"]) for each in report["listed"]]


@pytest_asyncio.fixture
async def owner(shell: Shell) -> AsyncIterator[Owner]:
    """The owner of a paper node's tables; the node trades on until the end of the test, which it must live to see."""
    node = shell.start(PAPER)
    node.until("position closed", TRADED_S_MAX)
    with EmbeddedPostgres.join(shell.data / "postgres") as server:
        connection = await asyncpg.connect(server.owner_url)
        yield Owner(shell, connection)
        await connection.close()
    assert node.process.poll() is None, node.output
    node.process.terminate()
    assert 0 == node.end(), node.output


@pytest.mark.timeout(180)
async def test_a_row_that_was_changed_beside_a_running_node_is_named_until_it_is_put_back(owner: Owner) -> None:
    """An order's row, a position's row, an event of the journal: each with its id, and nothing else."""
    filled, closed = await owner.traded()
    of_order = Value("unified_orders", "filled_quantity", "client_order_id", filled)
    of_position = Value("venue_positions", "realized_pnl", "opening_order_id", closed)
    async with owner.tampering(of_order, "filled_quantity + 1"), owner.tampering(of_position, "realized_pnl - 1"):
        code, listed = owner.audit()
    (table, key, field), position = listed
    assert (DIFFERENT, *of_order[:2], filled) == (code, table, field, key)
    assert (of_position[:2], True) == ((position[0], position[2]), closed in position[1].split("/"))
    assert (EQUAL, []) == owner.audit()
    event = Value("order_events", "payload", "type = 'OrderFilled' AND client_order_id", filled)
    async with owner.tampering(event, """payload || '{"last_qty": "0.00001"}'"""):
        code, listed = owner.audit()
    assert code == DIFFERENT
    assert ("cache order", filled, "filled_quantity") in listed, "the node itself knows better"
    assert {filled} == {key.partition("/")[0] for _, key, _ in listed}
    assert (EQUAL, []) == owner.audit()
