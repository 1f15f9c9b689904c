"""What a book remembers for the risk gate: the orders it sent lately, how many ever, and what parents have reserved.

An order was sent when an event of it names an account: Nautilus's clients say SUBMITTED before they ask the venue, so
that one without an answer counts. One that the emulator released counts as `unsent.sent_by_the_emulator` has it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nautilus_ext.messages import PastFill, PastOrder, Recent
from nautilus_ext.schema.connect import for_any_book

if TYPE_CHECKING:
    import asyncpg

ORDERS_MAX = 10_000
LOOKED_AT_MAX = 100_000  # of the newest, and of a strategy: who has many more that were never sent counts too few
COUNTED_MAX = 10_000  # of a strategy
STRATEGIES_MAX = 1_000
FILLS_MAX = 10_000
WITHIN_S = 86_400.0  # the longest window of the section `risk`

_SENT = "(account_id IS NOT NULL OR status = 'RELEASED') AND strategy_id <> 'EXTERNAL'"
_ORDERS = f"""
    SELECT created_ns, client_order_id, strategy_id, instrument_id, side, quantity, price, operation_id,
           CASE WHEN exec_algorithm <> 'NORMAL' THEN parent_client_order_id END AS parent_id,
           order_type, trigger_price, account_id, order_list_id
      FROM (SELECT * FROM unified_orders
             WHERE book_id = $1 AND created_at >= to_timestamp($2) ORDER BY created_at DESC LIMIT $3) AS looked_at
     WHERE {_SENT} ORDER BY created_at DESC LIMIT $4"""  # noqa: S608 - a constant
# From one strategy to the next by the index, and of each no more than are wanted: for a limit alone the server would
# take any order in which the rows come, the whole table's.
_COUNTS = f"""
    WITH RECURSIVE traded (strategy_id) AS (
        (SELECT strategy_id FROM unified_orders WHERE book_id = $1 ORDER BY strategy_id LIMIT 1)
        UNION ALL
        SELECT (SELECT o.strategy_id FROM unified_orders AS o
                 WHERE o.book_id = $1 AND o.strategy_id > traded.strategy_id ORDER BY o.strategy_id LIMIT 1)
          FROM traded WHERE traded.strategy_id IS NOT NULL)
    SELECT traded.strategy_id, sent.count FROM traded, LATERAL (
        SELECT count(*) FROM (
            SELECT FROM (SELECT * FROM unified_orders AS o
                          WHERE o.book_id = $1 AND o.strategy_id BETWEEN traded.strategy_id AND traded.strategy_id
                          ORDER BY o.strategy_id LIMIT $2) AS looked_at
             WHERE {_SENT} LIMIT $3) AS found) AS sent
     WHERE sent.count > 0 LIMIT $4"""  # noqa: S608 - as above
# The newest word on each; OFFSET keeps it as it is written: an index probe for each parent.
_RESERVED = """
    SELECT wanted.id FROM unnest($2::text[]) WITH ORDINALITY AS wanted (id, place), LATERAL (
        SELECT d.details ->> 'action' AS action FROM risk_decisions AS d
         WHERE d.book_id = $1 AND d.client_order_id = wanted.id AND d.verdict = 'approved'
           AND d.details ->> 'action' IN ('reserve', 'release')
         ORDER BY d.run DESC, d.seq DESC LIMIT 1 OFFSET 0) AS newest
     WHERE newest.action = 'reserve' ORDER BY wanted.place"""
_FILLED = """
    SELECT ts_event, instrument_id, strategy_id, account_id FROM unified_fills
     WHERE book_id = $1 AND ts_event >= $2 ORDER BY ts_event DESC LIMIT $3"""


async def read_recent(
    connection: asyncpg.Connection,
    book_id: str,
    *,
    now_s: float,
    parents: list[str],
    counted_max: int,
    fills_s: float = 0.0,
) -> Recent:
    """`parents` are open orders that an algorithm works; `counted_max` is how far a strategy's orders are counted.

    Fills of the last `fills_s` seconds come along.
    """
    most = min(counted_max, COUNTED_MAX)
    async with for_any_book(connection):
        orders = await connection.fetch(_ORDERS, book_id, now_s - WITHIN_S, LOOKED_AT_MAX, ORDERS_MAX)
        counts = await connection.fetch(_COUNTS, book_id, LOOKED_AT_MAX, most, STRATEGIES_MAX) if most else []
        reserved = await connection.fetch(_RESERVED, book_id, parents) if parents else []
        since_ns = round((now_s - fills_s) * 1e9)
        fills = await connection.fetch(_FILLED, book_id, since_ns, FILLS_MAX) if fills_s else []
    return Recent(
        orders=sorted((_past(row) for row in orders), key=lambda past: past.ts_ns),
        orders_by_strategy={row["strategy_id"]: row["count"] for row in counts},
        reserved=[row["id"] for row in reserved],
        fills=[PastFill(*row) for row in reversed(fills)],
    )


def _past(row: Any) -> PastOrder:
    return PastOrder(
        ts_ns=row["created_ns"],
        client_order_id=row["client_order_id"],
        strategy_id=row["strategy_id"],
        instrument_id=row["instrument_id"],
        side=row["side"],
        quantity=f"{row['quantity']:f}",
        price=_text(row["price"]),
        operation_id=row["operation_id"],
        parent_id=row["parent_id"] or "",
        type=row["order_type"],
        trigger_price=_text(row["trigger_price"]),
        account_id=row["account_id"] or "",
        list_id=row["order_list_id"] or "",
    )


def _text(number: Any) -> str | None:
    return None if number is None else f"{number:f}"
