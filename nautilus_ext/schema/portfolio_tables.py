"""Slow state of strategies that the journal does not know: stops, pyramids, capital, and signals seen.

`version` rises by one at each write: who does not have the latest must read again before it writes.
"""

from __future__ import annotations

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Table

from nautilus_ext.schema.columns import bigint, book_id, flag, index, integer, metadata, moment, numeric, text

_VERSION = "Rises by one at each write; a write with an old one is refused"
_WRITTEN = "When the row was written last"

portfolio_positions = Table(
    "portfolio_positions",
    metadata,
    book_id("Book of the position"),
    text("position_id", "Id of the position: the client order id of its entry", key=True),
    text("strategy_id", "Strategy that manages the position"),
    text("instrument_id", "Instrument that is held now"),
    text("side", "LONG or SHORT"),
    flag("is_base_position", "True for the first entry, false for what was added to it"),
    text("status", "open, partial when a part is closed, or closed"),
    text("rollover_status", "none, pending, in_progress, rolled or failed", default="none"),
    numeric("quantity", "Quantity of the entry, in the unit of the instrument"),
    numeric("closed_quantity", "How much of it is closed", default="0"),
    numeric("entry_price", "Price at which it was entered"),
    numeric("initial_stop", "Stop at the entry", null=True),
    numeric("current_stop", "Stop now", null=True),
    text("limiter", "What bounded its size: risk, volatility, margin, …", null=True),
    numeric("exit_price", "Average price at which it was closed", null=True),
    numeric("realized_pnl", "Profit and loss of what is closed", null=True),
    text("currency", "Currency of the profit and loss"),
    text("fingerprint", "Signal that opened it", null=True),
    bigint("opened_ns", "When it was entered, ns since 1970; simulated time in a backtest"),
    bigint("closed_ns", "When it was closed, ns since 1970", null=True),
    text("close_reason", "Why it was closed", null=True),
    integer("version", _VERSION),
    moment("created_at", "When the row was written first"),
    moment("updated_at", _WRITTEN),
    CheckConstraint("side IN ('LONG', 'SHORT')", name="side"),
    CheckConstraint("status IN ('open', 'partial', 'closed')", name="status"),
    CheckConstraint(
        "rollover_status IN ('none', 'pending', 'in_progress', 'rolled', 'failed')",
        name="rollover_status",
    ),
    CheckConstraint("quantity > 0", name="quantity"),
    CheckConstraint("closed_quantity >= 0 AND closed_quantity <= quantity", name="closed_quantity"),
    CheckConstraint("(status = 'closed') = (closed_ns IS NOT NULL)", name="closed_ns"),
    CheckConstraint("version > 0", name="version"),
    index("book_id", "status"),
    index("book_id", "instrument_id", "status"),
    index("book_id", "strategy_id", "instrument_id", where="status <> 'closed'"),
    index("book_id", "opened_ns"),
    index("book_id", "rollover_status", where="rollover_status <> 'none'"),
    comment="Positions as strategies manage them: base entries and pyramids with their stops",
    info={"grant": "SELECT, INSERT, UPDATE"},
)

portfolio_state = Table(
    "portfolio_state",
    metadata,
    book_id("Book of the portfolio"),
    text("currency", "Currency of the amounts; money of two currencies is never added up", key=True),
    numeric("initial_capital", "Capital at the start"),
    numeric("closed_equity", "Capital with the profit and loss of all that was closed"),
    integer("version", _VERSION),
    moment("created_at", "When the row was written first"),
    moment("updated_at", _WRITTEN),
    CheckConstraint("version > 0", name="version"),
    comment="Capital of a book, one row per currency",
    info={"grant": "SELECT, INSERT, UPDATE"},
)

# The one foreign key here: the rows are few, and a base position that is deleted must not be pointed at.
pyramiding_state = Table(
    "pyramiding_state",
    metadata,
    book_id("Book of the pyramid"),
    text("strategy_id", "Strategy that pyramids", key=True),
    text("instrument_id", "Instrument that it pyramids in", key=True),
    text("base_position_id", "Base of the pyramid; empty when there is none or its row was deleted", null=True),
    integer("pyramid_count", "Additions since the base entry"),
    numeric("last_pyramid_price", "Price of the last entry or addition", null=True),
    integer("version", _VERSION),
    moment("created_at", "When the row was written first"),
    moment("updated_at", _WRITTEN),
    ForeignKeyConstraint(
        ["book_id", "base_position_id"],
        ["portfolio_positions.book_id", "portfolio_positions.position_id"],
        ondelete="SET NULL (base_position_id)",
    ),
    CheckConstraint("pyramid_count >= 0", name="pyramid_count"),
    CheckConstraint("version > 0", name="version"),
    comment="Where the pyramid of a strategy in an instrument stands",
    info={"grant": "SELECT, INSERT, UPDATE"},
)

signal_log = Table(
    "signal_log",
    metadata,
    book_id("Book that got the signal"),
    text("fingerprint", "What makes two signals the same: the second one is a duplicate", key=True),
    text("strategy_id", "Strategy that got the signal"),
    text("instrument_id", "Instrument of the signal"),
    text("signal_type", "What it asks for, for example an entry, an addition or an exit"),
    bigint("signal_ns", "Time that the signal carries, ns since 1970"),
    text("client_order_id", "Order that acts upon it"),
    text("outcome", "claimed, then executed, rejected or lost", default="claimed"),
    text("reason", "Why it was rejected or lost", null=True),
    integer("duplicates", "How often it came again and was refused", default="0"),
    moment("received_at", "When it came first"),
    integer("version", _VERSION),
    moment("updated_at", _WRITTEN),
    CheckConstraint("outcome IN ('claimed', 'executed', 'rejected', 'lost')", name="outcome"),
    CheckConstraint("duplicates >= 0", name="duplicates"),
    CheckConstraint("version > 0", name="version"),
    index("book_id", "strategy_id", "instrument_id", where="outcome = 'claimed'"),
    index("book_id", "instrument_id", "signal_ns"),
    index("book_id", "received_at"),
    comment="Signals that were seen, so that none acts twice; old rows are cleaned up",
    info={"grant": "SELECT, INSERT, UPDATE, DELETE"},
)
