"""Books, their runs, and the nodes with their heartbeats."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Table

from nautilus_ext.schema.columns import bigint, book_id, flag, index, integer, metadata, moment, text

books = Table(
    "books",
    metadata,
    book_id("Key of the trading history: trader and environment, for example PAPER-001.paper"),
    text("trader_id", "Trader that trades this book; never changes"),
    text("environment", "World of the book: live, paper or backtest; never changes"),
    bigint("epoch", "Rises by one at each start of a node; who does not have the latest must not write"),
    moment("created_at", "When the book was used for the first time"),
    CheckConstraint("book_id <> ''", name="book_id"),
    CheckConstraint("environment IN ('live', 'paper', 'backtest')", name="environment"),
    CheckConstraint("epoch > 0", name="epoch"),
    comment="One row per trading history",
    info={"grant": "SELECT, INSERT, UPDATE (epoch)"},
)

runs = Table(
    "runs",
    metadata,
    book_id("Book of the run"),
    integer("run", "Number of the start within its book, from 1", key=True),
    bigint("epoch", "Epoch that this start gave to the book"),
    text("host", "Machine on which the node runs"),
    integer("pid", "Process id of the node on its machine"),
    text("suite_version", "Version of this suite"),
    text("nautilus_version", "Version of NautilusTrader"),
    moment("started_at", "When the node took the book"),
    bigint(
        "last_seq",
        "Number of the last event that is known to exist; events of a run count from 1 without gap",
        default="0",
    ),
    bigint("durable_seq", "All events up to this number are committed in this database", default="0"),
    moment("ended_at", "When the node gave the book back; empty while it runs and after a crash", null=True),
    flag(
        "clean_end",
        "True when the node stopped in order: nothing is missing after the last event",
        default="false",
    ),
    integer("exit_code", "Exit code of the process; empty while it runs and after a crash", null=True),
    moment(
        "drained_at",
        "When all of the run's local log was in the tables, or its loss was accepted; empty before",
        null=True,
    ),
    moment("archived_at", "When the events of the run went from order_events to its archive", null=True),
    text("archive", "Path of the archive that holds the events of the run", null=True),
    ForeignKeyConstraint(["book_id"], ["books.book_id"]),
    CheckConstraint("run > 0", name="run"),
    CheckConstraint("durable_seq >= 0 AND durable_seq <= last_seq", name="durable_seq"),
    CheckConstraint("ended_at IS NOT NULL OR (exit_code IS NULL AND NOT clean_end)", name="ended_at"),
    CheckConstraint("(archived_at IS NULL) = (archive IS NULL)", name="archive"),
    index("book_id", "epoch", unique=True),
    comment="One row per start of a node on a book",
    # Only the owner says that a run is archived, and in the name of its file what that must hold: see archive_file.py.
    info={
        "grant": "SELECT, INSERT (book_id, run, epoch, host, pid, suite_version, nautilus_version), "
        "UPDATE (last_seq, durable_seq, drained_at, ended_at, clean_end, exit_code)"
    },
)

instance_metadata = Table(
    "instance_metadata",
    metadata,
    book_id("Book of the node"),
    text("instance_id", "Nautilus instance of the node", key=True),
    integer("run", "Run of the book that this node made"),
    text("host", "Machine on which the node runs"),
    integer("pid", "Process id of the node on its machine"),
    text("status", "What the node said last: starting, running, stopping or stopped; see last_heartbeat"),
    moment("started_at", "When the node took the book"),
    moment("last_heartbeat", "When the node was last heard of: an old one under `running` is a node that died"),
    ForeignKeyConstraint(["book_id", "run"], ["runs.book_id", "runs.run"]),
    CheckConstraint("status IN ('starting', 'running', 'stopping', 'stopped')", name="status"),
    index("last_heartbeat"),
    comment="One row per node that ever held a book, with its heartbeat",
    info={"grant": "SELECT, INSERT, UPDATE (run, host, pid, status, started_at, last_heartbeat)"},
)
