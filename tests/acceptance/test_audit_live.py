"""Three ledgers of a desk that trades: the tables, the node's cache and the venue's own must say the same."""

from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest
from conftest import CONFIGS
from deaf_venue import MAKER, STRANGER, STRANGER_ID, WISH

from nautilus_ext.embedded import EmbeddedPostgres
from nautilus_ext.persistence.audit import DIFFERENT, EQUAL, UNPROVEN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import Running, Shell

HERE = str(CONFIGS.parent / "tests" / "acceptance")
CLEAN_AUDITS = 4
FILLED = """SELECT client_order_id FROM unified_orders WHERE status = 'FILLED' AND account_id LIKE 'SIM2%'
             ORDER BY created_ns LIMIT 1"""
TAMPER = "UPDATE unified_orders SET filled_quantity = filled_quantity + $2 WHERE client_order_id = $1"


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
        async def work() -> str:
            with EmbeddedPostgres.join(self._shell.data / "postgres") as server:
                connection = await asyncpg.connect(server.owner_url)
                try:
                    name = await connection.fetchval(FILLED)
                    assert "UPDATE 1" == await connection.execute(TAMPER, name, by)
                    return name
                finally:
                    await connection.close()

        return asyncio.run(work())


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
    counts = [re.findall(r"(\d+) fill", text) for text in audits[-1][1].values() if text.startswith("account")]
    assert 3 == len(counts), audits[-1][1]
    assert 0 < sum(int(count) for (count,) in counts)

    name = desk.tamper(+1)
    code, _, listed = desk.audit()
    assert DIFFERENT == code
    assert {("unified_orders", name), ("SIM2 order", name)} == {each[:2] for each in listed}, "and nothing else"
    assert name == desk.tamper(-1)

    desk.wish(STRANGER, "silent order")
    code, _, ((table, key, field, ours, theirs),) = desk.audit()
    assert (DIFFERENT, "SIM3 order", "row", "none") == (code, table, field, ours)
    assert key.startswith(STRANGER_ID)
    assert "only at the venue: ACCEPTED, 0.000 of 0.010 filled" == theirs

    desk.wish(MAKER, "not heard:")
    trade = desk.node.output.partition("not heard: ")[2].split()[0]
    code, _, listed = desk.audit()
    assert DIFFERENT == code
    (fill,) = [each for each in listed if each[0] == "SIM3 fill" and each[1].endswith(f"/{trade}")]
    assert fill[4].startswith("only at the venue: ")
    assert ("SIM3 position", "BTCUSDT-PERP.SIM3", "net quantity") in [each[:3] for each in listed]
    assert {"SIM3"} == {each[0].split()[0] for each in listed}

    (exchange,) = shell.exchanges()
    exchange.suspend()
    code, lines, listed = desk.audit()
    assert (UNPROVEN, []) == (code, listed)
    assert {name for name in lines if name.startswith("venue ") and lines[name].startswith("not asked: ")} == {
        "venue SIM1", "venue SIM2", "venue SIM3",
    }  # fmt: skip
    assert desk.node.process.poll() is None, "the node trades on"
