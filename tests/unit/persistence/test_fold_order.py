"""An order's row says what Nautilus's own order says after the same events, whatever way they came."""

from __future__ import annotations

import itertools
import os
import random
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from order_histories import OrderLife, told_by_the_venue

from nautilus_ext.persistence.orders import fold
from nautilus_ext.persistence.projections import fold_order

if TYPE_CHECKING:
    from nautilus_ext.persistence.records import Record

SEED = int(os.environ.get("FOLD_SEED", "0")) or random.randrange(1, 10**9)
LIVES = 800


def life(rng: random.Random, number: int = 0) -> OrderLife:
    sequence = itertools.count(1)
    found = OrderLife(rng, number, lambda: (1, next(sequence)))
    found.live(rng.choice((0, rng.randrange(14))))
    return found


def row_of(order_records: list[Record]) -> Any:
    return fold_order("b", order_records, {})


def money(order: Any) -> dict[str, Decimal]:
    return {amount.currency.code: amount.as_decimal() for amount in order.commissions()}


def test_a_row_equals_the_nautilus_order_after_the_same_events() -> None:
    """Every field that both know, after random lives of every order type, refused events included."""
    print(f"FOLD_SEED={SEED}")
    rng = random.Random(SEED)
    statuses: dict[str, int] = {}
    for number in range(LIVES):
        lived = life(rng, number)
        order, row = lived.order, row_of(lived.records)
        statuses[row.status] = statuses.get(row.status, 0) + 1
        said = (number, [record.type for record in lived.records])
        assert order.status_string() == row.status, said
        assert order.type_string() == row.order_type, said
        assert order.quantity.as_decimal() == row.quantity, said
        assert order.filled_qty.as_decimal() == row.filled_quantity, said
        assert (order.price.as_decimal() if order.has_price else None) == row.price, said
        assert (order.trigger_price.as_decimal() if order.has_trigger_price else None) == row.trigger_price, said
        assert (order.venue_order_id and order.venue_order_id.value) == row.venue_order_id, said
        assert order.strategy_id.value == row.strategy_id, said
        assert order.is_quote_quantity == row.quote_quantity, said
        assert (order.emulation_trigger != 0) == (row.emulation_trigger is not None), said
        assert order.account_id is None or order.account_id.value == row.account_id, said
        assert order.tags == row.tags, said
        assert len(order.trade_ids) == row.fill_count, said
        state = fold(lived.records).state
        assert state is not None
        assert {trade.value for trade in order.trade_ids} == state.trade_ids, said
        if order.filled_qty > 0:
            assert pytest.approx(order.avg_px, rel=1e-9) == float(row.average_price), said
            charged = msgspec.json.decode(row.commissions)
            assert money(order) == {currency: Decimal(amount) for currency, amount in charged.items()}, said
    print(statuses)
    reached = {
        "INITIALIZED",
        "DENIED",
        "EMULATED",
        "SUBMITTED",
        "ACCEPTED",
        "REJECTED",
        "CANCELED",
        "EXPIRED",
        "FILLED",
    }
    assert reached | {"TRIGGERED", "PENDING_UPDATE", "PENDING_CANCEL", "PARTIALLY_FILLED"} <= statuses.keys()


def test_any_duplicated_or_reordered_delivery_gives_the_same_row() -> None:
    """Records twice, thrice, in any order: the same state, fills and row."""
    print(f"FOLD_SEED={SEED}")
    rng = random.Random(SEED)
    for number in range(100):
        lived = life(rng, number)
        expected, fills = row_of(lived.records), fold(lived.records).fills
        for _ in range(3):
            delivered = lived.records + rng.choices(lived.records, k=rng.randrange(8))
            rng.shuffle(delivered)
            assert expected == row_of(delivered)
            assert fills == fold(delivered).fills


def test_an_event_that_is_recorded_twice_counts_once() -> None:
    """A restarted node writes the OrderInitialized of a resting order again, under a new number."""
    rng = random.Random(3)
    for number in range(30):
        lived = life(rng, number)
        again = lived.records[0]._replace(run=2, seq=1)
        expected = row_of(lived.records)._replace(run=2, seq=1)
        assert expected == row_of([*lived.records, again])


def test_an_order_that_a_reconciliation_tells_again_is_filled_once() -> None:
    """A node that lost its cache finds its orders at the venue: a new OrderInitialized, the same trades."""
    print(f"FOLD_SEED={SEED}")
    rng = random.Random(SEED)
    for number in range(50):
        lived = life(rng, number)
        again = [
            record._replace(run=2, seq=seq, body=record.body.replace(b'"event_id":"', b'"event_id":"again-'))
            for seq, record in enumerate(lived.records, 1)
        ]
        if any(b"OrderReleased" in record.body for record in again):
            continue  # it began again in its first life already
        expected = row_of(lived.records)._replace(run=2, seq=len(again))
        delivered = lived.records + again
        assert fold(lived.records).fills == fold(delivered).fills
        rng.shuffle(delivered)
        assert expected == row_of(delivered)


ORIGIN = (
    *("operation_id", "strategy_id", "exec_algorithm", "exec_algorithm_params", "parent_client_order_id", "tags"),
    *("order_list_id", "contingency", "linked_order_ids", "metadata", "is_reconciled", "created_at", "created_ns"),
)


def test_what_the_venue_tells_of_our_order_leaves_its_origin() -> None:
    """A restarted node knows no strategy, tag, algorithm or parent: they stay as said first."""
    print(f"FOLD_SEED={SEED}")
    rng = random.Random(SEED)
    for number in range(200):
        lived = life(rng, number)
        first = row_of(lived.records)
        told = [told_by_the_venue(lived.records, run) for run in range(2, rng.randrange(3, 5))]
        newest = row_of(told[-1])
        assert ("EXTERNAL", "NORMAL", None, True) == (
            newest.strategy_id,
            newest.exec_algorithm,
            newest.tags,
            newest.is_reconciled,
        )
        expected = newest._replace(**{name: getattr(first, name) for name in ORIGIN})
        delivered = [*lived.records, *itertools.chain(*told)]
        delivered += rng.choices(delivered, k=rng.randrange(8))
        rng.shuffle(delivered)
        assert expected == row_of(delivered), number


def test_an_order_that_only_the_venue_told_of_becomes_ours_when_we_say_so() -> None:
    """The order of the numbers decides, not which came first to the tables."""
    rng = random.Random(4)
    for number in range(20):
        lived = life(rng, number)
        ours = [record._replace(run=3) for record in lived.records]
        expected = row_of(ours)
        row = row_of([*ours, *told_by_the_venue(lived.records, 2)])
        assert [getattr(expected, name) for name in ORIGIN[:-3]] == [getattr(row, name) for name in ORIGIN[:-3]]
        assert (expected.status, expected.filled_quantity) == (row.status, row.filled_quantity)


def test_an_order_of_many_fills_keeps_the_last_ones_and_counts_them_all() -> None:
    """The row stays small; what was filled, and for how much, is exact."""
    sequence = itertools.count(1)
    lived = OrderLife(random.Random(1), 0, lambda: (1, next(sequence)))
    for kind in ("Submitted", "Accepted", "Filled"):
        lived.step(kind)
    *begin, fill = lived.records
    told = msgspec.json.decode(fill.body)
    init = msgspec.json.decode(begin[0].body) | {"quantity": "1.000"}
    fills = [
        fill._replace(
            seq=seq,
            body=msgspec.json.encode(told | {"event_id": f"e-{seq}", "trade_id": f"t-{seq}", "last_qty": "0.003"}),
        )
        for seq in range(10, 10 + 250)
    ]
    row = row_of([begin[0]._replace(body=msgspec.json.encode(init)), *begin[1:], *fills])
    assert ("PARTIALLY_FILLED", 250, Decimal("0.750")) == (row.status, row.fill_count, row.filled_quantity)
    kept = [each["trade_id"] for each in msgspec.json.decode(row.fills)]
    assert [f"t-{seq}" for seq in range(160, 260)] == kept
    amount, currency = told["commission"].split()
    assert {currency: 250 * Decimal(amount)} == {
        name: Decimal(sum_) for name, sum_ in msgspec.json.decode(row.commissions).items()
    }
    assert Decimal(told["last_px"]) == row.average_price
