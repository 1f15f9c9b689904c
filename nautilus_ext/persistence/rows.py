"""One row of each table that is computed from the journal: its fields are the table's columns, in their order.

A jsonb column holds its JSON as bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from datetime import datetime
    from decimal import Decimal


class JournalRow(NamedTuple):
    book_id: str
    run: int
    seq: int
    event_id: str | None
    type: str
    client_order_id: str | None
    position_id: str | None
    account_id: str | None
    instrument_id: str | None
    strategy_id: str | None
    ts_event: int
    ts_init: int
    payload: bytes


class OrderRow(NamedTuple):
    book_id: str
    client_order_id: str
    operation_id: str
    canonical_id: str | None
    asset_key: str | None
    instrument_id: str
    venue: str
    venue_type: str
    account_id: str | None
    strategy_id: str
    venue_order_id: str | None
    operation: str
    side: str
    order_type: str
    exec_algorithm: str
    exec_algorithm_params: bytes | None
    parent_client_order_id: str | None
    order_list_id: str | None
    contingency: str | None
    linked_order_ids: list[str] | None
    status: str
    quantity: Decimal
    filled_quantity: Decimal
    price: Decimal | None
    trigger_price: Decimal | None
    average_price: Decimal | None
    time_in_force: str
    expire_ns: int | None
    post_only: bool
    reduce_only: bool
    quote_quantity: bool
    emulation_trigger: str | None
    tags: list[str] | None
    fills: bytes
    fill_count: int
    commissions: bytes | None
    rejection_reason: str | None
    error_message: str | None
    is_reconciled: bool
    tx_hash: str | None
    gas_used: Decimal | None
    gas_price_gwei: Decimal | None
    contract_address: str | None
    source_token: str | None
    target_token: str | None
    max_slippage: Decimal | None
    atomic_group_id: str | None
    sequence_in_group: int | None
    odds: Decimal | None
    selection: str | None
    potential_payout: Decimal | None
    source_venue: str | None
    target_venue: str | None
    expected_deltas: bytes | None
    metadata: bytes | None
    created_at: datetime
    updated_at: datetime
    created_ns: int
    updated_ns: int
    run: int
    seq: int


class FillRow(NamedTuple):
    book_id: str
    client_order_id: str
    trade_id: str
    event_id: str
    venue_order_id: str | None
    account_id: str
    instrument_id: str
    asset_key: str | None
    venue: str
    strategy_id: str
    position_id: str | None
    side: str
    order_type: str
    quantity: Decimal
    price: Decimal
    currency: str
    commission: Decimal
    commission_currency: str | None
    liquidity_side: str
    ts_event: int
    ts_init: int
    is_reconciled: bool
    run: int
    seq: int


class PositionRow(NamedTuple):
    book_id: str
    account_id: str
    instrument_id: str
    strategy_id: str
    position_id: str
    opening_order_id: str
    canonical_id: str | None
    asset_key: str | None
    base_asset: str | None
    venue: str
    venue_type: str
    closing_order_id: str | None
    entry: str
    side: str
    signed_quantity: Decimal
    base_quantity: Decimal
    quantity: Decimal
    peak_quantity: Decimal
    last_quantity: Decimal
    last_price: Decimal
    average_entry_price: Decimal
    average_exit_price: Decimal | None
    currency: str
    realized_pnl: Decimal
    multiplier: Decimal
    is_inverse: bool
    current_price: Decimal | None
    marked_ns: int | None
    unrealized_pnl: Decimal | None
    opened_ns: int
    closed_ns: int | None
    updated_at: datetime
    updated_ns: int
    run: int
    seq: int


class UnifiedPositionRow(NamedTuple):
    book_id: str
    asset_key: str
    base_asset: str | None
    aggregated_quantity: Decimal
    venue_positions: bytes
    venue_types: bytes
    average_entry_price: Decimal | None
    current_price: Decimal | None
    pnl_currency: str | None
    unrealized_pnl: Decimal | None
    realized_pnl: Decimal | None
    updated_at: datetime
    updated_ns: int
    run: int
    seq: int


class AccountRow(NamedTuple):
    book_id: str
    account_id: str
    account_type: str
    base_currency: str | None
    balances: bytes
    margins: bytes
    is_reported: bool
    ts_event: int
    run: int
    seq: int


class InstrumentRow(NamedTuple):
    book_id: str
    instrument_id: str
    canonical_id: str | None
    asset_key: str | None
    venue: str
    venue_type: str
    instrument_type: str
    base_asset: str | None
    quote_currency: str | None
    settlement_currency: str | None
    is_inverse: bool
    multiplier: Decimal
    price_precision: int
    size_precision: int
    definition: bytes
    run: int
    seq: int


class RiskRow(NamedTuple):
    book_id: str
    run: int
    seq: int
    client_order_id: str
    strategy_id: str
    instrument_id: str
    verdict: str
    ts_ns: int
    code: str
    scope: str
    unit: str
    limit: Decimal | None
    value: Decimal | None
    would_be: Decimal | None
    details: bytes


class RoutingRow(NamedTuple):
    book_id: str
    run: int
    seq: int
    parent_client_order_id: str
    strategy_id: str
    instrument_id: str
    plan: int
    slice: int
    ts_ns: int
    chosen: bytes
    alternatives: bytes
    reason: str


class RejectionRow(NamedTuple):
    """A record that the database or a projection refused; rejected_at is the database's."""

    book_id: str
    run: int
    seq: int
    stage: str
    type: str | None
    error: str
    raw: bytes


KEYS: dict[type, tuple[str, ...]] = {
    JournalRow: ("run", "seq"),
    OrderRow: ("client_order_id",),
    FillRow: ("client_order_id", "trade_id"),
    PositionRow: ("account_id", "instrument_id", "strategy_id", "position_id", "opening_order_id", "opened_ns"),
    UnifiedPositionRow: ("asset_key",),
    AccountRow: ("account_id",),
    InstrumentRow: ("instrument_id",),
    RiskRow: ("run", "seq"),
    RoutingRow: ("run", "seq"),
}


def key_of(row: Any) -> tuple[Any, ...]:
    """Return the key of a row within its book."""
    return tuple(getattr(row, name) for name in KEYS[type(row)])
