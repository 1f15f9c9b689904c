"""Slow state of strategies: positions with stops, capital, pyramids, signals."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from migrations.columns import bigint, flag, index, integer, moment, numeric, text

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    _create_portfolio_positions()
    _create_portfolio_state()
    _create_pyramiding_state()
    _create_signal_log()


def downgrade() -> None:
    for table in (
        "signal_log",
        "pyramiding_state",
        "portfolio_state",
        "portfolio_positions",
    ):
        op.drop_table(table)


def _create_portfolio_positions() -> None:
    op.create_table(
        "portfolio_positions",
        text("book_id", "Book of the position"),
        text("position_id", "Id of the position: the client order id of its entry"),
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
        integer("version", "Rises by one at each write; a write with an old one is refused"),
        moment("created_at", "When the row was written first", default="now()"),
        moment("updated_at", "When the row was written last", default="now()"),
        sa.PrimaryKeyConstraint("book_id", "position_id", name="pk_portfolio_positions"),
        sa.CheckConstraint(
            "(status = 'closed') = (closed_ns IS NOT NULL)", name=op.f("ck_portfolio_positions_closed_ns")
        ),
        sa.CheckConstraint(
            "closed_quantity >= 0 AND closed_quantity <= quantity", name=op.f("ck_portfolio_positions_closed_quantity")
        ),
        sa.CheckConstraint("quantity > 0", name=op.f("ck_portfolio_positions_quantity")),
        sa.CheckConstraint(
            "rollover_status IN ('none', 'pending', 'in_progress', 'rolled', 'failed')",
            name=op.f("ck_portfolio_positions_rollover_status"),
        ),
        sa.CheckConstraint("side IN ('LONG', 'SHORT')", name=op.f("ck_portfolio_positions_side")),
        sa.CheckConstraint("status IN ('open', 'partial', 'closed')", name=op.f("ck_portfolio_positions_status")),
        sa.CheckConstraint("version > 0", name=op.f("ck_portfolio_positions_version")),
        comment="Positions as strategies manage them: base entries and pyramids with their stops",
    )
    index("portfolio_positions", "book_id", "status")
    index("portfolio_positions", "book_id", "instrument_id", "status")
    index("portfolio_positions", "book_id", "strategy_id", "instrument_id", where="status <> 'closed'")
    index("portfolio_positions", "book_id", "opened_ns")
    index("portfolio_positions", "book_id", "rollover_status", where="rollover_status <> 'none'")


def _create_portfolio_state() -> None:
    op.create_table(
        "portfolio_state",
        text("book_id", "Book of the portfolio"),
        text("currency", "Currency of the amounts; money of two currencies is never added up"),
        numeric("initial_capital", "Capital at the start"),
        numeric("closed_equity", "Capital with the profit and loss of all that was closed"),
        integer("version", "Rises by one at each write; a write with an old one is refused"),
        moment("created_at", "When the row was written first", default="now()"),
        moment("updated_at", "When the row was written last", default="now()"),
        sa.PrimaryKeyConstraint("book_id", "currency", name="pk_portfolio_state"),
        sa.CheckConstraint("version > 0", name=op.f("ck_portfolio_state_version")),
        comment="Capital of a book, one row per currency",
    )


def _create_pyramiding_state() -> None:
    op.create_table(
        "pyramiding_state",
        text("book_id", "Book of the pyramid"),
        text("strategy_id", "Strategy that pyramids"),
        text("instrument_id", "Instrument that it pyramids in"),
        text("base_position_id", "Base of the pyramid; empty when there is none or its row was deleted", null=True),
        integer("pyramid_count", "Additions since the base entry"),
        numeric("last_pyramid_price", "Price of the last entry or addition", null=True),
        integer("version", "Rises by one at each write; a write with an old one is refused"),
        moment("created_at", "When the row was written first", default="now()"),
        moment("updated_at", "When the row was written last", default="now()"),
        sa.PrimaryKeyConstraint("book_id", "strategy_id", "instrument_id", name="pk_pyramiding_state"),
        sa.ForeignKeyConstraint(
            ["book_id", "base_position_id"],
            ["portfolio_positions.book_id", "portfolio_positions.position_id"],
            name="fk_pyramiding_state_portfolio_positions",
            ondelete="SET NULL (base_position_id)",
        ),
        sa.CheckConstraint("pyramid_count >= 0", name=op.f("ck_pyramiding_state_pyramid_count")),
        sa.CheckConstraint("version > 0", name=op.f("ck_pyramiding_state_version")),
        comment="Where the pyramid of a strategy in an instrument stands",
    )


def _create_signal_log() -> None:
    op.create_table(
        "signal_log",
        text("book_id", "Book that got the signal"),
        text("fingerprint", "What makes two signals the same: the second one is a duplicate"),
        text("strategy_id", "Strategy that got the signal"),
        text("instrument_id", "Instrument of the signal"),
        text("signal_type", "What it asks for, for example an entry, an addition or an exit"),
        bigint("signal_ns", "Time that the signal carries, ns since 1970"),
        text("client_order_id", "Order that acts upon it"),
        text("outcome", "claimed, then executed, rejected or lost", default="claimed"),
        text("reason", "Why it was rejected or lost", null=True),
        integer("duplicates", "How often it came again and was refused", default="0"),
        moment("received_at", "When it came first", default="now()"),
        integer("version", "Rises by one at each write; a write with an old one is refused"),
        moment("updated_at", "When the row was written last", default="now()"),
        sa.PrimaryKeyConstraint("book_id", "fingerprint", name="pk_signal_log"),
        sa.CheckConstraint("duplicates >= 0", name=op.f("ck_signal_log_duplicates")),
        sa.CheckConstraint(
            "outcome IN ('claimed', 'executed', 'rejected', 'lost')", name=op.f("ck_signal_log_outcome")
        ),
        sa.CheckConstraint("version > 0", name=op.f("ck_signal_log_version")),
        comment="Signals that were seen, so that none acts twice; old rows are cleaned up",
    )
    index("signal_log", "book_id", "strategy_id", "instrument_id", where="outcome = 'claimed'")
    index("signal_log", "book_id", "instrument_id", "signal_ns")
    index("signal_log", "book_id", "received_at")
