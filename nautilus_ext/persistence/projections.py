"""Rows of the tables from the state of an order, and from records that are a row by themselves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from nautilus_ext.messages import operation_of
from nautilus_ext.persistence import orders, records, rows
from nautilus_ext.persistence.orders import EXACT, QUOTIENT, plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from decimal import Decimal

    from nautilus_ext.persistence.orders import OrderState
    from nautilus_ext.persistence.records import Record
    from nautilus_ext.persistence.rows import InstrumentRow

BASE_QUANTITY_TYPES = frozenset({"CryptoOption", "CryptoOptionSpread"})  # inverse names their premium only
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def fold_order(
    book_id: str, order_records: Iterable[Record], instruments: Mapping[str, InstrumentRow]
) -> rows.OrderRow | None:
    """Fold all records of one order, in any order and any number, into its row; None when none says what it is."""
    state = orders.fold(order_records).state
    return None if state is None else order_row(book_id, state, instruments.get(state.instrument_id))


def moment(ns: int) -> datetime:
    return _EPOCH + timedelta(microseconds=ns // 1_000)


def journal_row(book_id: str, record: Record, event: Any) -> rows.JournalRow:
    """Make the row of any record; `event` is what `records.typed` or `records.ids` says of it."""
    return rows.JournalRow(
        book_id,
        record.run,
        record.seq,
        getattr(event, "event_id", None),
        record.type,
        getattr(event, "client_order_id", None) or getattr(event, "parent_client_order_id", None),
        getattr(event, "position_id", None),
        getattr(event, "account_id", None),
        getattr(event, "instrument_id", None),
        getattr(event, "strategy_id", None),
        record.ts_event,
        record.ts_init,
        record.body,
    )


def order_row(book_id: str, state: OrderState, instrument: InstrumentRow | None) -> rows.OrderRow | None:
    init = state.init
    if init is None or state.created_ns is None:
        return None
    spawned_by = init.exec_spawn_id if init.exec_spawn_id != state.client_order_id else None
    params, options = bytes(init.exec_algorithm_params), bytes(init.options)
    return rows.OrderRow(
        book_id=book_id,
        client_order_id=state.client_order_id,
        operation_id=operation_of(init.tags) or state.client_order_id,
        canonical_id=instrument and instrument.canonical_id,
        asset_key=instrument and instrument.asset_key,
        instrument_id=state.instrument_id,
        venue=instrument.venue if instrument else venue_of(state.instrument_id),
        venue_type=instrument.venue_type if instrument else "NAUTILUS",
        account_id=state.account_id,
        strategy_id=state.strategy_id,
        venue_order_id=state.venue_order_id,
        operation="trade",
        side=init.order_side,
        order_type=init.order_type,
        exec_algorithm=init.exec_algorithm_id or "NORMAL",
        exec_algorithm_params=None if params == b"null" else params,
        parent_client_order_id=spawned_by or init.parent_order_id,
        order_list_id=init.order_list_id,
        contingency=None if init.contingency_type == "NO_CONTINGENCY" else init.contingency_type,
        linked_order_ids=init.linked_order_ids,
        status=state.status,
        quantity=state.quantity,
        filled_quantity=state.filled,
        price=state.price,
        trigger_price=state.trigger_price,
        average_price=state.average_price,
        time_in_force=init.time_in_force,
        expire_ns=state.expire_ns,
        post_only=init.post_only,
        reduce_only=init.reduce_only,
        quote_quantity=state.quote_quantity,
        emulation_trigger=state.emulation_trigger,
        tags=init.tags,
        fills=b"[" + b",".join(state.fills) + b"]",
        fill_count=state.fill_count,
        commissions=_by_name(state.commissions),
        rejection_reason=state.rejection_reason,
        error_message=state.error_message,
        is_reconciled=state.is_reconciled,
        tx_hash=None,
        gas_used=None,
        gas_price_gwei=None,
        contract_address=None,
        source_token=None,
        target_token=None,
        max_slippage=None,
        atomic_group_id=None,
        sequence_in_group=None,
        odds=None,
        selection=None,
        potential_payout=None,
        source_venue=None,
        target_venue=None,
        expected_deltas=_expected_deltas(state, instrument),
        metadata=None if options == b"{}" else options,
        created_at=moment(state.created_ns),
        updated_at=moment(state.updated_ns),
        created_ns=state.created_ns,
        updated_ns=state.updated_ns,
        run=state.version[0],
        seq=state.version[1],
    )


def fill_row(
    book_id: str, record: Record, event: records.OrderFilled, instrument: InstrumentRow | None
) -> rows.FillRow:
    commission, currency = records.money(event.commission)
    return rows.FillRow(
        book_id=book_id,
        client_order_id=event.client_order_id,
        trade_id=event.trade_id,
        event_id=event.event_id,
        venue_order_id=event.venue_order_id,
        account_id=event.account_id or "",
        instrument_id=event.instrument_id,
        asset_key=instrument and instrument.asset_key,
        venue=instrument.venue if instrument else venue_of(event.instrument_id),
        strategy_id=event.strategy_id,
        position_id=event.position_id,
        side=event.order_side,
        order_type=event.order_type,
        quantity=event.last_qty,
        price=event.last_px,
        currency=event.currency,
        commission=commission,
        commission_currency=currency,
        liquidity_side=event.liquidity_side,
        ts_event=record.ts_event,
        ts_init=record.ts_init,
        is_reconciled=event.reconciliation,
        run=record.run,
        seq=record.seq,
    )


def account_row(book_id: str, record: Record, event: records.AccountState) -> rows.AccountRow:
    return rows.AccountRow(
        book_id,
        event.account_id,
        event.account_type,
        event.base_currency,
        bytes(event.balances),
        bytes(event.margins),
        event.reported,
        record.ts_event,
        record.run,
        record.seq,
    )


def instrument_row(book_id: str, record: Record, event: records.Instrument) -> rows.InstrumentRow:
    return rows.InstrumentRow(
        book_id=book_id,
        instrument_id=event.instrument_id,
        canonical_id=event.canonical_id,
        asset_key=event.asset_key,
        venue=event.venue,
        venue_type=event.venue_type,
        instrument_type=event.instrument_type,
        base_asset=event.base_asset,
        quote_currency=event.quote_currency,
        settlement_currency=event.settlement_currency,
        is_inverse=event.is_inverse,
        multiplier=event.multiplier,
        price_precision=event.price_precision,
        size_precision=event.size_precision,
        definition=bytes(event.definition),
        run=record.run,
        seq=record.seq,
    )


def risk_row(book_id: str, record: Record, event: records.Risk) -> rows.RiskRow:
    return rows.RiskRow(
        book_id,
        record.run,
        record.seq,
        event.client_order_id,
        event.strategy_id,
        event.instrument_id,
        event.verdict,
        event.ts_ns,
        event.code,
        event.scope,
        event.unit,
        event.limit,
        event.value,
        event.would_be,
        bytes(event.details),
    )


def routing_row(book_id: str, record: Record, event: records.Routing) -> rows.RoutingRow:
    return rows.RoutingRow(
        book_id,
        record.run,
        record.seq,
        event.parent_client_order_id,
        event.strategy_id,
        event.instrument_id,
        event.plan,
        event.slice,
        event.ts_ns,
        bytes(event.chosen),
        bytes(event.alternatives),
        event.reason,
    )


def is_converted(instrument: InstrumentRow) -> bool:
    """Tell whether a contract is worth a fixed amount of the quote currency: its base units depend on the price.

    Nautilus calls Binance's COIN-M contracts linear; that they are paid in what they are made of tells.
    """
    if instrument.instrument_type in BASE_QUANTITY_TYPES:
        return False
    return instrument.is_inverse or instrument.settlement_currency == instrument.base_asset != instrument.quote_currency


def venue_of(instrument_id: str) -> str:
    return instrument_id.rpartition(".")[2]


def _by_name(amounts: Mapping[str, Decimal]) -> bytes | None:
    return msgspec.json.encode({name: plain(amount) for name, amount in amounts.items()}) if amounts else None


def _expected_deltas(state: OrderState, instrument: InstrumentRow | None) -> bytes | None:
    """What the order should add to the position of its asset, in base units; unknown without a price to convert at."""
    if instrument is None or instrument.asset_key is None or state.init is None:
        return None
    units = state.quantity if state.quote_quantity else EXACT.multiply(state.quantity, instrument.multiplier)
    if is_converted(instrument) or state.quote_quantity:
        price = state.price or state.trigger_price
        if not price:
            return None
        units = QUOTIENT.divide(units, price)
    signed = units if state.init.order_side == "BUY" else units.copy_negate()
    return msgspec.json.encode({instrument.asset_key: plain(signed)})
