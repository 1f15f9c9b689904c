"""What a desk relies on: whatever the exchange knows of an order, the tables know, too."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import asyncpg
from exchange_ledger import Ledger

from nautilus_ext.embedded import EmbeddedPostgres
from nautilus_ext.persistence.shipper.state import read_state

if TYPE_CHECKING:
    from conftest import Shell

PAPER = "node_configs/paper.json"
BOOK = "PAPER-001.paper"
ORDERS = "SELECT client_order_id, status, quantity, filled_quantity FROM unified_orders WHERE book_id = $1"
FILLS = """SELECT client_order_id, trade_id, quantity, price, commission, liquidity_side
  FROM unified_fills WHERE book_id = $1"""
OF_THE_BOOK = (
    """SELECT md5(string_agg(o::text, '' ORDER BY client_order_id)) FROM unified_orders o WHERE book_id = $1"""
)


async def rows(shell: Shell, sql: str, *arguments: Any) -> list[Any]:
    with EmbeddedPostgres.join(shell.data / "postgres") as server:
        connection = await asyncpg.connect(server.app_url)
        try:
            return await connection.fetch(sql, *arguments)
        finally:
            await connection.close()


def at_exchange(shell: Shell, book: str = BOOK) -> Ledger:
    return Ledger(shell.data / "exchange" / "paper", book)


async def assert_tables_equal_the_exchange(shell: Shell) -> None:
    """The exchange's own ledger is the witness: orders with their ends, fills with price and fee."""
    ledger = at_exchange(shell)
    ends = {
        each["client_order_id"]: (each["status"], Decimal(each["quantity"]), Decimal(each["filled"]))
        for each in ledger.orders
    }
    found = {name: tuple(rest) for name, *rest in await rows(shell, ORDERS, BOOK)}
    assert ends == {name: found.get(name) for name in ends}
    fills = {
        (each["client_order_id"], each["trade_id"]): (
            Decimal(each["quantity"]),
            Decimal(each["price"]),
            Decimal(each["fee"]),
            "MAKER" if each["maker"] else "TAKER",
        )
        for each in ledger.fills
    }
    assert len(fills) > 3
    assert fills == {(name, trade): tuple(rest) for name, trade, *rest in await rows(shell, FILLS, BOOK)}


async def test_after_a_run_the_tables_equal_the_exchanges_ledger(shell):
    """Orders, fills, prices and fees, to the last digit; and the run's numbers have no gap."""
    code, output = shell.run(PAPER, "--seconds", "8")
    assert 0 == code, output
    assert "all in the tables" in output
    await assert_tables_equal_the_exchange(shell)
    (run,) = await rows(shell, "SELECT last_seq, durable_seq FROM runs WHERE book_id = $1", BOOK)
    (count,) = await rows(shell, "SELECT count(*), max(seq) FROM order_events WHERE book_id = $1", BOOK)
    assert (run["last_seq"], run["last_seq"], run["last_seq"]) == (run["durable_seq"], *count)


async def test_a_killed_node_has_told_the_tables_of_every_order_that_the_exchange_has(shell, wait_until):
    """The shipper goes on alone until all is durable; the next start adds what happened meanwhile."""
    running = shell.start(PAPER)
    running.until("position closed")
    running.process.kill()
    running.end()
    folder = shell.data / "journal" / BOOK / "000001"
    wait_until(lambda: "ended" == read_state(folder).phase, 20)
    known = {name for name, *_ in await rows(shell, ORDERS, BOOK)}
    sent = {each["client_order_id"] for each in at_exchange(shell).orders}
    assert sent
    assert sent <= known, "an order reached the exchange and not the log"
    code, output = shell.run(PAPER, "--seconds", "4")
    assert 0 == code, output
    await assert_tables_equal_the_exchange(shell)
    code, output = shell.verb("audit", PAPER)
    assert 0 == code, output
    assert "run 1" in output, "it did not end in order, and the audit names it"


async def test_a_backtest_beside_a_trading_node_changes_none_of_its_rows(shell):
    """The same trader, the same client order ids: each world keeps its own book."""
    code, output = shell.run(PAPER, "--seconds", "4", "--book", "EARLIER")
    assert 0 == code, output
    ((before,),) = await rows(shell, OF_THE_BOOK, "EARLIER")
    running = shell.start(PAPER)
    running.until("order filled")
    code, output = shell.run(PAPER, "--backtest")
    assert 0 == code, output
    running.process.terminate()
    assert 0 == running.end(), running.output
    ((after,),) = await rows(shell, OF_THE_BOOK, "EARLIER")
    assert before == after
    await assert_tables_equal_the_exchange(shell)
    books = [name for (name,) in await rows(shell, "SELECT book_id FROM books ORDER BY created_at")]
    assert ["EARLIER", BOOK] == books[:2]
    (backtest,) = books[2:]
    for book in (BOOK, backtest):
        code, output = shell.verb("audit", PAPER, "--book", book, "--json")
        assert 0 == code, output
        assert json.loads(output)
