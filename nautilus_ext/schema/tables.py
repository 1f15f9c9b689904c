"""The tables. Every key starts with book_id, and every table and column says in the database what it holds.

`info["grant"]` is all that the application's role may do with a table; the owner's role migrates and owns.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    func,
    text,
)

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(referred_table_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)


def _moment(name: str, comment: str, *, nullable: bool = False) -> Column:
    return Column(
        name,
        DateTime(timezone=True),
        nullable=nullable,
        server_default=None if nullable else func.now(),
        comment=comment,
    )


def _text(name: str, comment: str, *, primary_key: bool = False) -> Column:
    return Column(name, Text, primary_key=primary_key, nullable=False, comment=comment)


def _book_id(comment: str) -> Column:
    return _text("book_id", comment, primary_key=True)


books = Table(
    "books",
    metadata,
    _book_id("Key of the trading history: trader and environment, for example PAPER-001.paper"),
    _text("trader_id", "Trader that trades this book; never changes"),
    _text("environment", "World of the book: live, paper or backtest; never changes"),
    Column(
        "epoch",
        BigInteger,
        nullable=False,
        comment="Rises by one at each start of a node; who does not have the latest must not write",
    ),
    _moment("created_at", "When the book was used for the first time"),
    CheckConstraint("book_id <> ''", name="book_id"),
    CheckConstraint("environment IN ('live', 'paper', 'backtest')", name="environment"),
    CheckConstraint("epoch > 0", name="epoch"),
    comment="One row per trading history",
    info={"grant": "SELECT, INSERT, UPDATE (epoch)"},
)

runs = Table(
    "runs",
    metadata,
    _book_id("Book of the run"),
    Column(
        "run", Integer, primary_key=True, autoincrement=False, comment="Number of the start within its book, from 1"
    ),
    Column("epoch", BigInteger, nullable=False, comment="Epoch that this start gave to the book"),
    _text("host", "Machine on which the node runs"),
    Column("pid", Integer, nullable=False, comment="Process id of the node on its machine"),
    _text("suite_version", "Version of this suite"),
    _text("nautilus_version", "Version of NautilusTrader"),
    _moment("started_at", "When the node took the book"),
    Column(
        "last_seq",
        BigInteger,
        nullable=False,
        server_default=text("0"),
        comment="Number of the last event that is known to exist; events of a run count from 1 without gap",
    ),
    Column(
        "durable_seq",
        BigInteger,
        nullable=False,
        server_default=text("0"),
        comment="All events up to this number are committed in this database",
    ),
    _moment("ended_at", "When the node gave the book back; empty while it runs and after a crash", nullable=True),
    Column(
        "clean_end",
        Boolean,
        nullable=False,
        server_default=text("false"),
        comment="True when the node stopped in order: nothing is missing after the last event",
    ),
    Column("exit_code", Integer, comment="Exit code of the process; empty while it runs and after a crash"),
    ForeignKeyConstraint(["book_id"], ["books.book_id"]),
    CheckConstraint("run > 0", name="run"),
    CheckConstraint("durable_seq >= 0 AND durable_seq <= last_seq", name="durable_seq"),
    CheckConstraint("ended_at IS NOT NULL OR (exit_code IS NULL AND NOT clean_end)", name="ended_at"),
    Index(None, "book_id", "epoch", unique=True),
    comment="One row per start of a node on a book",
    info={"grant": "SELECT, INSERT, UPDATE (last_seq, durable_seq, ended_at, clean_end, exit_code)"},
)

instance_metadata = Table(
    "instance_metadata",
    metadata,
    _book_id("Book of the node"),
    _text("instance_id", "Nautilus instance of the node", primary_key=True),
    Column("run", Integer, nullable=False, comment="Run of the book that this node made"),
    _text("host", "Machine on which the node runs"),
    Column("pid", Integer, nullable=False, comment="Process id of the node on its machine"),
    _text("status", "What the node said last: starting, running, stopping or stopped; see last_heartbeat"),
    _moment("started_at", "When the node took the book"),
    _moment("last_heartbeat", "When the node was last heard of: an old one under `running` is a node that died"),
    ForeignKeyConstraint(["book_id", "run"], ["runs.book_id", "runs.run"]),
    CheckConstraint("status IN ('starting', 'running', 'stopping', 'stopped')", name="status"),
    Index(None, "last_heartbeat"),
    comment="One row per node that ever held a book, with its heartbeat",
    info={"grant": "SELECT, INSERT, UPDATE (run, host, pid, status, started_at, last_heartbeat)"},
)
