"""The journal, what is computed from it, decisions and commands."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from migrations.columns import (
    bigint,
    flag,
    index,
    integer,
    json,
    moment,
    newest_record,
    numeric,
    record_key,
    text,
    texts,
)

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    _mark_archived_runs()
    _create_order_events()
    _create_risk_decisions()
    _create_routing_decisions()
    _create_rejected_events()
    _create_commands()
    _create_unified_orders()
    _create_unified_fills()
    _create_instruments()
    _create_venue_positions()
    _create_unified_positions()
    _create_account_states()


def downgrade() -> None:
    for table in (
        "account_states",
        "unified_positions",
        "venue_positions",
        "instruments",
        "unified_fills",
        "unified_orders",
        "commands",
        "rejected_events",
        "routing_decisions",
        "risk_decisions",
        "order_events",
    ):
        op.drop_table(table)
    op.drop_constraint(op.f("ck_runs_archive"), "runs", type_="check")
    op.drop_column("runs", "archive")
    op.drop_column("runs", "archived_at")


def _mark_archived_runs() -> None:
    op.add_column(
        "runs", moment("archived_at", "When the events of the run went from order_events to its archive", null=True)
    )
    op.add_column("runs", text("archive", "Path of the archive that holds the events of the run", null=True))
    op.create_check_constraint(op.f("ck_runs_archive"), "runs", "(archived_at IS NULL) = (archive IS NULL)")


def _create_order_events() -> None:
    op.create_table(
        "order_events",
        *record_key("Book of the event"),
        text("event_id", "Id that Nautilus gave the event; empty for records that are no Nautilus event", null=True),
        text("type", "Name of the record: OrderFilled, PositionOpened, AccountState, RiskDecision, …"),
        text("client_order_id", "Order of the event", null=True),
        text("position_id", "Position of the event", null=True),
        text("account_id", "Account of the event", null=True),
        text("instrument_id", "Instrument of the event", null=True),
        text("strategy_id", "Strategy of the event", null=True),
        bigint("ts_event", "When it happened, ns since 1970; simulated time in a backtest"),
        bigint("ts_init", "When the node made the event, ns since 1970"),
        json("payload", "The whole record as the node wrote it"),
        sa.PrimaryKeyConstraint("book_id", "run", "seq", name="pk_order_events"),
        comment="Journal: every event of every run, in order; every other table is computed from it",
    )
    index("order_events", "book_id", "client_order_id", where="client_order_id IS NOT NULL")


def _create_risk_decisions() -> None:
    op.create_table(
        "risk_decisions",
        *record_key("Book of the decision"),
        text("client_order_id", "Order that was judged"),
        text("strategy_id", "Strategy of the order"),
        text("instrument_id", "Instrument of the order"),
        text("verdict", "approved or refused"),
        bigint("ts_ns", "When it was decided, ns since 1970"),
        text("code", "Rule that refused; empty when none did"),
        text("scope", "What the rule counts over, for example a strategy or the whole book"),
        text("unit", "Unit of limit, value and would_be"),
        numeric("limit", "What the rule allows", null=True),
        numeric("value", "What was there before the order", null=True),
        numeric("would_be", "What there would be with the order", null=True),
        json("details", "Further numbers of the verdict by name"),
        sa.PrimaryKeyConstraint("book_id", "run", "seq", name="pk_risk_decisions"),
        comment="Verdicts of the risk gate, with the numbers that led to them",
    )
    index("risk_decisions", "book_id", "client_order_id")


def _create_routing_decisions() -> None:
    op.create_table(
        "routing_decisions",
        *record_key("Book of the decision"),
        text("parent_client_order_id", "Parent order whose slice was placed"),
        text("strategy_id", "Strategy of the parent"),
        text("instrument_id", "Instrument of the parent"),
        integer("plan", "Number of the plan within the parent"),
        integer("slice", "Number of the slice within the plan"),
        bigint("ts_ns", "When it was decided, ns since 1970"),
        json("chosen", "List of the venues that were chosen, with their numbers"),
        json("alternatives", "List of the venues that were not chosen, with their cost and why they lost"),
        text("reason", "Why it was placed like this; empty when the numbers say it"),
        sa.PrimaryKeyConstraint("book_id", "run", "seq", name="pk_routing_decisions"),
        comment="How slices of parent orders were placed, and what else there was",
    )
    index("routing_decisions", "book_id", "parent_client_order_id")


def _create_rejected_events() -> None:
    op.create_table(
        "rejected_events",
        *record_key("Book of the record"),
        text("stage", "Where it failed: decode, journal (no row there) or projection (the journal has it)"),
        text("type", "Name of the record; empty when not even that could be read", null=True),
        text("error", "Why it failed"),
        sa.Column("raw", sa.LargeBinary(), nullable=False, comment="The record as it stood in the local log"),
        moment("rejected_at", "When it was refused", default="now()"),
        sa.PrimaryKeyConstraint("book_id", "run", "seq", name="pk_rejected_events"),
        sa.CheckConstraint("stage IN ('decode', 'journal', 'projection')", name=op.f("ck_rejected_events_stage")),
        comment="Records that the database refused, byte for byte: nothing is dropped in silence",
    )


def _create_commands() -> None:
    op.create_table(
        "commands",
        text("book_id", "Book that the command is for"),
        text("command_id", "Id of the command: it is applied once"),
        text("kind", "What to do, for example halt, resume or limits"),
        json("arguments", "Arguments by name"),
        text("issued_by", "Who asked for it"),
        moment("issued_at", "When it was asked for", default="now()"),
        text("status", "pending, applied, refused or expired", default="pending"),
        text("result", "What came of it, in words", null=True),
        integer("applied_run", "Run that applied or refused it", null=True),
        moment("applied_at", "When it was applied or refused", null=True),
        sa.PrimaryKeyConstraint("book_id", "command_id", name="pk_commands"),
        sa.CheckConstraint("status IN ('pending', 'applied', 'refused', 'expired')", name=op.f("ck_commands_status")),
        comment="What an operator asks of a running node",
    )
    index("commands", "book_id", "issued_at", where="status = 'pending'")


def _create_unified_orders() -> None:
    op.create_table(
        "unified_orders",
        text("book_id", "Book of the order"),
        text("client_order_id", "Our id of the order, unique in its book"),
        text("operation_id", "Id of the operation: the order's tag op:<id>, else the client order id; legs share one"),
        text("canonical_id", "Instrument as [ASSET_CLASS:]VENUE:TYPE:PAYLOAD[@CHAIN]", null=True),
        text("asset_key", "The canonical id without its venue: what positions add up by", null=True),
        text("instrument_id", "Nautilus id of the instrument"),
        text("venue", "Venue of the instrument"),
        text("venue_type", "NAUTILUS for a venue of NautilusTrader, EXTERNAL_SDK for any other"),
        text("account_id", "Account that the order works on; empty before the venue knows it", null=True),
        text("strategy_id", "Strategy that sent the order; EXTERNAL when it came from outside"),
        text("venue_order_id", "Id that the venue gave the order", null=True),
        text("operation", "trade, supply, borrow, stake, withdraw, swap, transfer or bet", default="trade"),
        text("side", "BUY, SELL, SUPPLY, BORROW, STAKE, WITHDRAW, BACK or LAY"),
        text("order_type", "Type of the order, by its Nautilus name"),
        text("exec_algorithm", "Algorithm that works the order; NORMAL for none", default="NORMAL"),
        json("exec_algorithm_params", "Parameters of the algorithm", null=True),
        text(
            "parent_client_order_id",
            "Order that this one was made for: its algorithm parent or bracket entry",
            null=True,
        ),
        text("order_list_id", "List that the order was submitted with", null=True),
        text("contingency", "How it hangs together with linked_order_ids: OTO, OCO or OUO", null=True),
        texts("linked_order_ids", "Orders that it hangs together with"),
        text("status", "Status by its Nautilus name, for example ACCEPTED or FILLED"),
        numeric("quantity", "Ordered quantity, in the unit of the instrument"),
        numeric("filled_quantity", "Filled so far"),
        numeric("price", "Limit price", null=True),
        numeric("trigger_price", "Price that triggers a stop", null=True),
        numeric("average_price", "Average price of the fills", null=True),
        text("time_in_force", "GTC, IOC, FOK, GTD, DAY, …"),
        bigint("expire_ns", "When a GTD order expires, ns since 1970", null=True),
        flag("post_only", "Must not take liquidity"),
        flag("reduce_only", "Must not open or turn a position"),
        flag("quote_quantity", "The quantity is in the quote currency"),
        text(
            "emulation_trigger", "Price that the emulator watches; empty for an order that the venue holds", null=True
        ),
        texts("tags", "Tags that the strategy gave the order"),
        json("fills", "The last 100 fills: trade_id, qty, px, commission, currency, liquidity, ts; all: unified_fills"),
        integer("fill_count", "Number of all fills"),
        json("commissions", "Commission so far, by currency", null=True),
        text("rejection_reason", "Why it was denied or rejected", null=True),
        text("error_message", "Why its last modification or cancellation was rejected", null=True),
        flag("is_reconciled", "True when it came out of a comparison with the venue"),
        text("tx_hash", "Transaction on the chain (DeFi)", null=True),
        numeric("gas_used", "Gas that the transaction used (DeFi)", null=True),
        numeric("gas_price_gwei", "Price of the gas, in gwei (DeFi)", null=True),
        text("contract_address", "Contract that was called (DeFi)", null=True),
        text("source_token", "Token that is given (DeFi)", null=True),
        text("target_token", "Token that is taken (DeFi)", null=True),
        numeric("max_slippage", "Slippage that is accepted, as a fraction (DeFi)", null=True),
        text("atomic_group_id", "Operations that happen together or not at all", null=True),
        integer("sequence_in_group", "Place within the atomic group", null=True),
        numeric("odds", "Decimal odds (sports)", null=True),
        text("selection", "Outcome that is backed or laid (sports)", null=True),
        numeric("potential_payout", "What is paid when the bet wins (sports)", null=True),
        text("source_venue", "Venue that a transfer leaves", null=True),
        text("target_venue", "Venue that a transfer goes to", null=True),
        json("expected_deltas", "What it should do to positions: signed quantity by asset key", null=True),
        json("metadata", "Options of the order that have no column", null=True),
        moment("created_at", "When the order was made; simulated time in a backtest"),
        moment("updated_at", "When its newest event happened"),
        bigint("created_ns", "created_at in ns since 1970"),
        bigint("updated_ns", "updated_at in ns since 1970"),
        *newest_record(),
        sa.PrimaryKeyConstraint("book_id", "client_order_id", name="pk_unified_orders"),
        sa.CheckConstraint(
            "operation IN ('trade', 'supply', 'borrow', 'stake', 'withdraw', 'swap', 'transfer', 'bet')",
            name=op.f("ck_unified_orders_operation"),
        ),
        sa.CheckConstraint(
            "side IN ('BUY', 'SELL', 'SUPPLY', 'BORROW', 'STAKE', 'WITHDRAW', 'BACK', 'LAY')",
            name=op.f("ck_unified_orders_side"),
        ),
        comment="Every order of every venue as it stands now",
    )
    index("unified_orders", "book_id", "strategy_id")
    index("unified_orders", "book_id", "created_at")
    index("unified_orders", "book_id", "status", "strategy_id")
    index("unified_orders", "book_id", "venue", "status")
    index("unified_orders", "book_id", "operation")
    index("unified_orders", "book_id", "atomic_group_id", where="atomic_group_id IS NOT NULL")
    index("unified_orders", "book_id", "tx_hash", where="tx_hash IS NOT NULL")
    index("unified_orders", "book_id", "operation", "status")
    index("unified_orders", "book_id", "operation_id")
    index("unified_orders", "book_id", "venue_order_id", where="venue_order_id IS NOT NULL")
    index("unified_orders", "book_id", "instrument_id", "created_at")
    index("unified_orders", "book_id", "parent_client_order_id", where="parent_client_order_id IS NOT NULL")


def _create_unified_fills() -> None:
    op.create_table(
        "unified_fills",
        text("book_id", "Book of the fill"),
        text("client_order_id", "Order that was filled"),
        text("trade_id", "Id that the venue gave the trade"),
        text("event_id", "Id that Nautilus gave the event"),
        text("venue_order_id", "Id that the venue gave the order", null=True),
        text("account_id", "Account that was charged"),
        text("instrument_id", "Nautilus id of the instrument"),
        text("asset_key", "Canonical id of the instrument without its venue", null=True),
        text("venue", "Venue of the instrument"),
        text("strategy_id", "Strategy of the order"),
        text("position_id", "Position that the fill went to", null=True),
        text("side", "BUY or SELL"),
        text("order_type", "Type of the order, by its Nautilus name"),
        numeric("quantity", "Filled quantity, in the unit of the instrument"),
        numeric("price", "Price of the fill"),
        text("currency", "Currency of the price"),
        numeric("commission", "Commission, negative for a rebate"),
        text("commission_currency", "Currency of the commission", null=True),
        text("liquidity_side", "MAKER, TAKER or NO_LIQUIDITY_SIDE"),
        bigint("ts_event", "When it happened, ns since 1970; simulated time in a backtest"),
        bigint("ts_init", "When the node made the event, ns since 1970"),
        flag("is_reconciled", "True when it came out of a comparison with the venue"),
        *newest_record(),
        sa.PrimaryKeyConstraint("book_id", "client_order_id", "trade_id", name="pk_unified_fills"),
        comment="Every fill of every order",
    )
    index("unified_fills", "book_id", "ts_event")
    index("unified_fills", "book_id", "strategy_id", "ts_event")
    index("unified_fills", "book_id", "instrument_id", "ts_event")


def _create_instruments() -> None:
    op.create_table(
        "instruments",
        text("book_id", "Book that traded the instrument"),
        text("instrument_id", "Nautilus id of the instrument"),
        text("canonical_id", "Instrument as [ASSET_CLASS:]VENUE:TYPE:PAYLOAD[@CHAIN]", null=True),
        text("asset_key", "The canonical id without its venue", null=True),
        text("venue", "Venue of the instrument"),
        text("venue_type", "NAUTILUS for a venue of NautilusTrader, EXTERNAL_SDK for any other"),
        text("instrument_type", "Nautilus class of the instrument, for example CryptoPerpetual"),
        text("base_asset", "What is bought and sold, for example BTC", null=True),
        text("quote_currency", "Currency of its prices; a synthetic instrument has none", null=True),
        text("settlement_currency", "Currency of its profit and loss; a synthetic instrument has none", null=True),
        flag("is_inverse", "True when it is worth a fixed amount of the quote currency"),
        numeric("multiplier", "Size of one contract"),
        integer("price_precision", "Decimals of a price"),
        integer("size_precision", "Decimals of a quantity"),
        json("definition", "The whole definition as Nautilus writes it"),
        *newest_record(),
        sa.PrimaryKeyConstraint("book_id", "instrument_id", name="pk_instruments"),
        comment="Instruments that a book has traded, as they were defined last",
    )


def _create_venue_positions() -> None:
    op.create_table(
        "venue_positions",
        text("book_id", "Book of the position"),
        text("account_id", "Account that holds the position"),
        text("instrument_id", "Nautilus id of the instrument"),
        text("strategy_id", "Strategy of the position"),
        text("position_id", "Nautilus id of the position; used again after it was closed"),
        text("opening_order_id", "Order that opened it"),
        text("canonical_id", "Instrument as [ASSET_CLASS:]VENUE:TYPE:PAYLOAD[@CHAIN]", null=True),
        text("asset_key", "The canonical id without its venue", null=True),
        text("base_asset", "What is held, for example BTC", null=True),
        text("venue", "Venue of the instrument"),
        text("venue_type", "NAUTILUS for a venue of NautilusTrader, EXTERNAL_SDK for any other"),
        text("closing_order_id", "Order that closed it", null=True),
        text("entry", "Side of the first fill: BUY or SELL"),
        text("side", "LONG, SHORT or FLAT"),
        numeric("signed_quantity", "Quantity in the unit of the instrument, negative when short"),
        numeric("base_quantity", "Quantity in base units, negative when short; inverse contracts at the average entry"),
        numeric("quantity", "Quantity in the unit of the instrument"),
        numeric("peak_quantity", "Largest quantity that it ever had"),
        numeric("last_quantity", "Quantity of the last fill"),
        numeric("last_price", "Price of the last fill"),
        numeric("average_entry_price", "Average price of the fills that opened it"),
        numeric("average_exit_price", "Average price of the fills that closed it", null=True),
        text("currency", "Currency of its profit and loss"),
        numeric("realized_pnl", "Profit and loss of what was closed, commissions included"),
        numeric("multiplier", "Size of one contract"),
        flag("is_inverse", "True when a contract is worth a fixed amount of the quote currency"),
        numeric("current_price", "Newest price", null=True),
        bigint("marked_ns", "When current_price was seen, ns since 1970", null=True),
        numeric("unrealized_pnl", "Profit and loss of what is open, at current_price", null=True),
        bigint("opened_ns", "When it was opened, ns since 1970: one order may open a position twice"),
        bigint("closed_ns", "When it was closed, ns since 1970", null=True),
        moment("updated_at", "When its newest event happened; simulated time in a backtest"),
        bigint("updated_ns", "updated_at in ns since 1970"),
        *newest_record(),
        sa.PrimaryKeyConstraint(
            "book_id",
            "account_id",
            "instrument_id",
            "strategy_id",
            "position_id",
            "opening_order_id",
            "opened_ns",
            name="pk_venue_positions",
        ),
        comment="Every position, open and closed, per account, instrument, strategy and opening order",
    )
    index("venue_positions", "book_id", "asset_key", where="side <> 'FLAT'")
    index("venue_positions", "book_id", "strategy_id", where="side <> 'FLAT'")
    index("venue_positions", "book_id", "closed_ns", where="side = 'FLAT'")
    index("venue_positions", "book_id", "opening_order_id")


def _create_unified_positions() -> None:
    op.create_table(
        "unified_positions",
        text("book_id", "Book of the position"),
        text("asset_key", "Canonical id without its venue: what is added up"),
        text("base_asset", "What is held, for example BTC", null=True),
        numeric("aggregated_quantity", "Sum over all venues in base units, negative when short"),
        json("venue_positions", "Quantity in base units by venue"),
        json("venue_types", "NAUTILUS or EXTERNAL_SDK by venue"),
        numeric("average_entry_price", "Average entry of the open parts on the net side, by base quantity", null=True),
        numeric("current_price", "Newest price", null=True),
        text("pnl_currency", "Currency of the profit and loss; empty when the parts have several", null=True),
        numeric("unrealized_pnl", "Profit and loss of what is open, at current_price", null=True),
        numeric("realized_pnl", "Profit and loss of what was closed, closed parts included", null=True),
        moment("updated_at", "When its newest event happened; simulated time in a backtest"),
        bigint("updated_ns", "updated_at in ns since 1970"),
        *newest_record(),
        sa.PrimaryKeyConstraint("book_id", "asset_key", name="pk_unified_positions"),
        comment="One position per asset: all accounts, venues and strategies of the book together",
    )


def _create_account_states() -> None:
    op.create_table(
        "account_states",
        text("book_id", "Book of the account"),
        text("account_id", "Account at the venue"),
        text("account_type", "CASH, MARGIN or BETTING"),
        text("base_currency", "Currency of the account; empty when it holds several", null=True),
        json("balances", "List of balances: currency, total, locked, free"),
        json("margins", "List of margins"),
        flag("is_reported", "True when the venue said it, false when it was computed"),
        bigint("ts_event", "When it was so, ns since 1970; simulated time in a backtest"),
        *newest_record(),
        sa.PrimaryKeyConstraint("book_id", "account_id", name="pk_account_states"),
        comment="Accounts as they were heard of last; every former state is in order_events",
    )
