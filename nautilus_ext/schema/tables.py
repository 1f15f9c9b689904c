"""The tables. Every key starts with book_id, and every table and column says in the database what it holds.

`info["grant"]` is all that the application's role may do with a table; the owner's role migrates and owns.
"""

from __future__ import annotations

from nautilus_ext.schema.book_tables import books, instance_metadata, runs
from nautilus_ext.schema.columns import metadata
from nautilus_ext.schema.journal_tables import (
    alerts,
    commands,
    order_events,
    rejected_events,
    risk_decisions,
    routing_decisions,
)
from nautilus_ext.schema.order_tables import instruments, unified_fills, unified_orders
from nautilus_ext.schema.portfolio_tables import portfolio_positions, portfolio_state, pyramiding_state, signal_log
from nautilus_ext.schema.position_tables import account_states, unified_positions, venue_positions

__all__ = [
    "account_states",
    "alerts",
    "books",
    "commands",
    "instance_metadata",
    "instruments",
    "metadata",
    "order_events",
    "portfolio_positions",
    "portfolio_state",
    "pyramiding_state",
    "rejected_events",
    "risk_decisions",
    "routing_decisions",
    "runs",
    "signal_log",
    "unified_fills",
    "unified_orders",
    "unified_positions",
    "venue_positions",
]
