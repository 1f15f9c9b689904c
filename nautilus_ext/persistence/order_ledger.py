"""The orders that a ledger knows, bounded: one that was pushed out is folded again from the journal."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from nautilus_ext.persistence import orders, projections, records
from nautilus_ext.persistence.orders import OrderState

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from nautilus_ext.persistence.records import OrderFilled, Record
    from nautilus_ext.persistence.rows import FillRow, InstrumentRow, OrderRow

OPEN_ORDERS_MAX = 50_000
CLOSED_ORDERS_MAX = 200  # 7 kB each; one that hears of something late costs a look into the journal


class OrderRows(NamedTuple):
    orders: list[OrderRow]
    fills: list[FillRow]
    refused: list[tuple[Record, Exception]]


class OrderLedger:
    """States of orders, and which of them the records of the current batch have changed."""

    def __init__(self) -> None:
        self._open: dict[str, OrderState] = {}
        self._closed: dict[str, OrderState] = {}
        self._journals: dict[str, list[Record]] = {}
        self._begin_batch()

    def _begin_batch(self) -> None:
        self._changed: dict[str, tuple[OrderState, Record]] = {}
        self._late: dict[str, list[Record]] = {}
        self._fills: list[tuple[Record, OrderFilled]] = []

    def wants(self, record: Record, client_order_id: str) -> bool:
        """Whether the order is unknown, or the record is older than what it has."""
        state = self._known(client_order_id)
        return state is None or record[:2] <= state.version

    def load(self, client_order_ids: Iterable[str], order_records: Iterable[Record]) -> None:
        self._journals = {client_order_id: [] for client_order_id in client_order_ids}
        for record in order_records:
            journal = self._journals.get(records.ids(record).client_order_id or "")
            if journal is not None:
                journal.append(record)
        for journal in self._journals.values():
            state = orders.fold(journal).state
            if state is not None:
                self._keep(state)

    def take(self, record: Record, event: Any) -> None:
        """Apply an event, or put it by when it is late: its whole order is folded again at the end of the batch."""
        client_order_id = event.client_order_id
        if client_order_id in self._late:
            self._late[client_order_id].append(record)
            return
        changed = self._changed.get(client_order_id)
        state = changed[0] if changed else self._known(client_order_id) or OrderState(client_order_id)
        if record[:2] <= state.version:
            self._late[client_order_id] = [record]
            return
        if state.apply(record, event):
            self._fills.append((record, event))
        self._changed[client_order_id] = state, record

    def rows(self, book_id: str, instruments: Mapping[str, InstrumentRow]) -> OrderRows:
        """End the batch: the rows of what it changed."""
        found = OrderRows([], [], self._refold())
        for record, event in self._fills:
            found.fills.append(projections.fill_row(book_id, record, event, instruments.get(event.instrument_id)))
        for state, record in self._changed.values():
            try:
                row = projections.order_row(book_id, state, instruments.get(state.instrument_id))
            except (ArithmeticError, ValueError) as error:
                found.refused.append((record, error))
                continue
            if row is not None:
                found.orders.append(row)
        for state, _ in self._changed.values():
            self._keep(state)
        self._begin_batch()
        self._journals = {}
        trim(self._open, OPEN_ORDERS_MAX)
        trim(self._closed, CLOSED_ORDERS_MAX)
        return found

    def _refold(self) -> list[tuple[Record, Exception]]:
        refused: list[tuple[Record, Exception]] = []
        for client_order_id, late in self._late.items():
            folded = orders.fold([*self._journals[client_order_id], *late])
            self._fills.extend(folded.fills)
            refused.extend((record, error) for record, error in folded.refused if record in late)
            if folded.state is not None:
                self._changed[client_order_id] = folded.state, late[-1]
        return refused

    def _known(self, client_order_id: str) -> OrderState | None:
        return self._open.get(client_order_id) or self._closed.get(client_order_id)

    def _keep(self, state: OrderState) -> None:
        """Put the order last: the one that moved longest ago goes first."""
        self._open.pop(state.client_order_id, None)
        self._closed.pop(state.client_order_id, None)
        kept = self._closed if state.is_closed else self._open
        kept[state.client_order_id] = state


def trim(kept: dict[Any, Any], most: int) -> None:
    """Let go of the oldest: only between batches, because what a batch needs has been asked for already."""
    for key in list(islice(kept, max(len(kept) - most, 0))):
        del kept[key]
