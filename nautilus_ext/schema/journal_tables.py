"""The journal, which is the truth, and what stands beside it: decisions, commands, alerts, refused records.

None has a foreign key: it would lock the row of the book once per event, and the shipper's transaction has checked
the book and its epoch already. The application's role inserts into the journal and cannot change or delete a row.
"""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, LargeBinary, Table

from nautilus_ext.schema.columns import (
    bigint,
    book_id,
    index,
    integer,
    json,
    metadata,
    moment,
    numeric,
    record_key,
    text,
)

INSERT_ONLY = "SELECT, INSERT"

order_events = Table(
    "order_events",
    metadata,
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
    index("book_id", "client_order_id", where="client_order_id IS NOT NULL"),
    comment="Journal: every event of every run, in order; every other table is computed from it",
    info={"grant": INSERT_ONLY},
)

risk_decisions = Table(
    "risk_decisions",
    metadata,
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
    index("book_id", "client_order_id"),
    comment="Verdicts of the risk gate, with the numbers that led to them",
    info={"grant": INSERT_ONLY},
)

routing_decisions = Table(
    "routing_decisions",
    metadata,
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
    index("book_id", "parent_client_order_id"),
    comment="How slices of parent orders were placed, and what else there was",
    info={"grant": INSERT_ONLY},
)

rejected_events = Table(
    "rejected_events",
    metadata,
    *record_key("Book of the record"),
    text("stage", "Where it failed: decode, journal (no row there) or projection (the journal has it)"),
    text("type", "Name of the record; empty when not even that could be read", null=True),
    text("error", "Why it failed"),
    Column("raw", LargeBinary, nullable=False, comment="The record as it stood in the local log"),
    moment("rejected_at", "When it was refused"),
    CheckConstraint("stage IN ('decode', 'journal', 'projection')", name="stage"),
    comment="Records that the database refused, byte for byte: nothing is dropped in silence",
    info={"grant": INSERT_ONLY},
)

commands = Table(
    "commands",
    metadata,
    book_id("Book that the command is for"),
    text("command_id", "Id of the command: it is applied once", key=True),
    text("kind", "What to do, for example halt, resume or limits"),
    json("arguments", "Arguments by name"),
    text("issued_by", "Who asked for it"),
    moment("issued_at", "When it was asked for"),
    text("status", "pending, taken (a run has begun it), applied, refused or expired", default="pending"),
    text("result", "What came of it, in words", null=True),
    integer("applied_run", "Run that applied or refused it", null=True),
    moment("applied_at", "When it was applied or refused", null=True),
    moment("expires_at", "When nobody shall begin it any more; empty: never", null=True),
    integer("applied_number", "Its number among the answers of its run, from 1", null=True),
    CheckConstraint("status IN ('pending', 'taken', 'applied', 'refused', 'expired')", name="status"),
    index("book_id", "issued_at", where="status = 'pending'"),
    comment="What an operator asks of a running node",
    info={"grant": "SELECT, INSERT, UPDATE (status, result, applied_run, applied_at, applied_number)"},
)

alerts = Table(
    "alerts",
    metadata,
    book_id("Book that the alert is about"),
    integer("run", "Run that told it", key=True),
    integer("number", "Its number among the alerts of its run, from 1", key=True),
    text("code", "What has happened, in one word: BREAKER_LOSS, MAX_POSITION, JOURNAL, …"),
    text("scope", "Where: node, venue=…, strategy=…, instrument=… or whatever else it names"),
    text("severity", "warning or critical"),
    text("text", "What a person should know"),
    integer("count", "How often it has happened since it was last told"),
    bigint("ts_ns", "When it happened, ns since 1970"),
    moment("written_at", "When this row was written: later than it was told when the database was away"),
    CheckConstraint("severity IN ('warning', 'critical')", name="severity"),
    comment="What the node has told whoever looks after it",
    info={"grant": INSERT_ONLY},
)
