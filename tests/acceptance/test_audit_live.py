"""Three ledgers of a desk that trades: the tables, the node's cache and the venue's own must say the same."""

from __future__ import annotations

import asyncio
import json
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest
from conftest import CONFIGS
from deaf_venue import MAKER, POOR, STRANGER, STRANGER_ID, WISH

from nautilus_ext.embedded import EmbeddedPostgres
from nautilus_ext.persistence.audit import DIFFERENT, EQUAL, UNPROVEN

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from conftest import Running, Shell

HERE = str(CONFIGS.parent / "tests" / "acceptance")
CLEAN_AUDITS = 4
AUDITS_MAX = 10
FILLED = """SELECT client_order_id FROM unified_orders WHERE status = 'FILLED' AND account_id LIKE 'SIM2%'
             ORDER BY created_ns LIMIT 1"""
TAMPER = "UPDATE unified_orders SET filled_quantity = filled_quantity + $2 WHERE client_order_id = $1"
POORER = """UPDATE account_states SET seq = seq + $1, balances = jsonb_set(balances, '{0,total}', '"1.5"')
             WHERE account_id LIKE 'SIM2%' RETURNING balances->0->>'currency'"""
NEWER = "SELECT seq FROM account_states WHERE account_id LIKE 'SIM2%'"
AHEAD = 1_000_000  # no event of the node replaces a row that is newer than it


class Desk:
    """A node that trades on a venue with a client of ours, and the audits of it."""

    def __init__(self, shell: Shell, path: str, wish: Path) -> None:
        self._shell = shell
        self._path = path
        self._wish = wish
        self.node: Running = shell.start(path, PYTHONPATH=HERE, **{WISH: str(wish)})

    def wish(self, word: str, until: str) -> None:
        self._wish.write_text(word)
        self.node.until(until, 40)

    def audit(self) -> tuple[int, dict[str, str], list[tuple[str, str, str, str, str]]]:
        """Return exit code, the lines by their names, and what is listed."""
        code, output = self._shell.verb("audit", self._path, "--live", "--json", PYTHONPATH=HERE)
        report: dict[str, Any] = json.loads(output)
        listed = [tuple(each.values()) for each in report["listed"]]
        return code, {check["name"]: check["text"] for check in report["checks"]}, listed

    def tamper(self, by: int) -> str:
        async def work(connection: asyncpg.Connection) -> str:
            name = await connection.fetchval(FILLED)
            assert "UPDATE 1" == await connection.execute(TAMPER, name, by)
            return name

        return self._at_the_tables(work)

    def tamper_account(self) -> str:
        return self._at_the_tables(lambda connection: connection.fetchval(POORER, AHEAD))

    def heal_account(self) -> None:
        """Let the node's next event replace the row, and wait for it."""

        async def work(connection: asyncpg.Connection) -> None:
            await connection.execute(POORER, -AHEAD)
            old = await connection.fetchval(NEWER)
            async with asyncio.timeout(40):
                while await connection.fetchval(NEWER) == old:  # noqa: ASYNC110 - the node writes it
                    await asyncio.sleep(0.05)

        self._at_the_tables(work)

    def _at_the_tables(self, work: Callable[[asyncpg.Connection], Awaitable[Any]]) -> Any:
        async def connected() -> Any:
            with EmbeddedPostgres.join(self._shell.data / "postgres") as server:
                connection = await asyncpg.connect(server.owner_url)
                try:
                    return await work(connection)
                finally:
                    await connection.close()

        return asyncio.run(connected())


@pytest.fixture
def desk(shell: Shell, config: Callable[..., str], tmp_path: Path) -> Iterator[Desk]:
    clients = json.loads((CONFIGS / "paper.json").read_text())["exec_clients"]
    clients["SIM3"]["factory"]["path"] = "deaf_venue:DeafFactory"
    desk = Desk(shell, config(exec_clients=clients), tmp_path / "wish")
    desk.node.until("position closed", 60)
    yield desk
    for exchange in shell.exchanges():
        exchange.resume()


@pytest.mark.timeout(240)
def test_three_ledgers_agree_until_one_of_them_lacks_something(desk: Desk, shell: Shell) -> None:
    """Clean at full pace, again and again; a changed row; an order, a fill that only the venue has; a venue away."""
    audits = [desk.audit() for _ in range(CLEAN_AUDITS)]
    assert [(EQUAL, [])] * CLEAN_AUDITS == [(code, listed) for code, _, listed in audits]
    texts = [text for text in audits[-1][1].values() if text.startswith("account")]
    assert all(re.search(r", [1-9]\d* balance", text) for text in texts), texts
    counts = [re.findall(r"(\d+) fill", text) for text in texts]
    assert 3 == len(counts), audits[-1][1]
    assert 0 < sum(int(count) for (count,) in counts)

    name = desk.tamper(+1)
    code, _, listed = desk.audit()
    assert DIFFERENT == code
    assert {("unified_orders", name), ("SIM2 order", name)} == {each[:2] for each in listed}, "and nothing else"
    assert name == desk.tamper(-1)

    currency = desk.tamper_account()
    code, _, listed = desk.audit()
    assert DIFFERENT == code
    assert {"account_states"} == {each[0] for each in listed} - {"SIM2 balance"}
    of_venue = {each[:4] for each in listed if each[0] == "SIM2 balance"}
    assert of_venue <= {("SIM2 balance", currency, "total in the tables", "1.5")}, "and none when it moved each time"
    desk.heal_account()

    desk.wish(STRANGER, "silent order")
    code, _, ((table, key, field, ours, theirs),) = desk.audit()
    assert (DIFFERENT, "SIM3 order", "row", "none") == (code, table, field, ours)
    assert key.startswith(STRANGER_ID)
    assert "only at the venue: ACCEPTED, 0.000 of 0.010 filled" == theirs

    desk.wish(POOR, "money not heard of")
    code, _, listed = desk.audit()
    assert DIFFERENT == code
    (balance,) = [each for each in listed if each[0] != "SIM3 order"]
    assert ("SIM3 balance", "USDT", "total in the cache") == balance[:3]
    assert Decimal(balance[3]) != Decimal(balance[4])

    desk.wish(MAKER, "not heard:")
    trade = desk.node.output.partition("not heard: ")[2].split()[0]
    code, _, listed = desk.audit()
    assert DIFFERENT == code
    (fill,) = [each for each in listed if each[0] == "SIM3 fill" and each[1].endswith(f"/{trade}")]
    assert fill[4].startswith("only at the venue: ")
    position = ("SIM3 position", "BTCUSDT-PERP.SIM3", "net quantity")
    for _ in range(AUDITS_MAX):  # of one that moves each time nobody can say what it should be
        if position in [each[:3] for each in listed]:
            break
        _, _, listed = desk.audit()
    assert position in [each[:3] for each in listed]
    assert {"SIM3"} == {each[0].split()[0] for each in listed}

    (exchange,) = shell.exchanges()
    exchange.suspend()
    code, lines, listed = desk.audit()
    assert (UNPROVEN, []) == (code, listed)
    assert {name for name in lines if name.startswith("venue ") and lines[name].startswith("not asked: ")} == {
        "venue SIM1", "venue SIM2", "venue SIM3",
    }  # fmt: skip
    assert desk.node.process.poll() is None, "the node trades on"
