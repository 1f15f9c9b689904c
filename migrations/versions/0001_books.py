"""Books, their runs, and the nodes with their heartbeats."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute("COMMENT ON TABLE schema_version IS 'Revision of the tables; written by the migration alone'")
    op.execute("COMMENT ON COLUMN schema_version.version_num IS 'Name of the newest migration that was applied'")
    _create_books()
    _create_runs()
    _create_instance_metadata()


def downgrade() -> None:
    op.drop_table("instance_metadata")
    op.drop_table("runs")
    op.drop_table("books")


def _create_books() -> None:
    op.create_table(
        "books",
        sa.Column(
            "book_id",
            sa.Text(),
            nullable=False,
            comment="Key of the trading history: trader and environment, for example PAPER-001.paper",
        ),
        sa.Column("trader_id", sa.Text(), nullable=False, comment="Trader that trades this book; never changes"),
        sa.Column(
            "environment",
            sa.Text(),
            nullable=False,
            comment="World of the book: live, paper or backtest; never changes",
        ),
        sa.Column(
            "epoch",
            sa.BigInteger(),
            nullable=False,
            comment="Rises by one at each start of a node; who does not have the latest must not write",
        ),
        _moment("created_at", "When the book was used for the first time"),
        sa.PrimaryKeyConstraint("book_id", name="pk_books"),
        sa.CheckConstraint("book_id <> ''", name=op.f("ck_books_book_id")),
        sa.CheckConstraint("environment IN ('live', 'paper', 'backtest')", name=op.f("ck_books_environment")),
        sa.CheckConstraint("epoch > 0", name=op.f("ck_books_epoch")),
        comment="One row per trading history",
    )


def _create_runs() -> None:
    op.create_table(
        "runs",
        sa.Column("book_id", sa.Text(), nullable=False, comment="Book of the run"),
        sa.Column("run", sa.Integer(), nullable=False, comment="Number of the start within its book, from 1"),
        sa.Column("epoch", sa.BigInteger(), nullable=False, comment="Epoch that this start gave to the book"),
        sa.Column("host", sa.Text(), nullable=False, comment="Machine on which the node runs"),
        sa.Column("pid", sa.Integer(), nullable=False, comment="Process id of the node on its machine"),
        sa.Column("suite_version", sa.Text(), nullable=False, comment="Version of this suite"),
        sa.Column("nautilus_version", sa.Text(), nullable=False, comment="Version of NautilusTrader"),
        _moment("started_at", "When the node took the book"),
        sa.Column(
            "last_seq",
            sa.BigInteger(),
            nullable=False,
            server_default=sa.text("0"),
            comment="Number of the last event that is known to exist; events of a run count from 1 without gap",
        ),
        sa.Column(
            "durable_seq",
            sa.BigInteger(),
            nullable=False,
            server_default=sa.text("0"),
            comment="All events up to this number are committed in this database",
        ),
        _moment("ended_at", "When the node gave the book back; empty while it runs and after a crash", nullable=True),
        sa.Column(
            "clean_end",
            sa.Boolean(),
            nullable=False,
            server_default=sa.text("false"),
            comment="True when the node stopped in order: nothing is missing after the last event",
        ),
        sa.Column("exit_code", sa.Integer(), comment="Exit code of the process; empty while it runs and after a crash"),
        sa.PrimaryKeyConstraint("book_id", "run", name="pk_runs"),
        sa.ForeignKeyConstraint(["book_id"], ["books.book_id"], name="fk_runs_books"),
        sa.CheckConstraint("run > 0", name=op.f("ck_runs_run")),
        sa.CheckConstraint("durable_seq >= 0 AND durable_seq <= last_seq", name=op.f("ck_runs_durable_seq")),
        sa.CheckConstraint(
            "ended_at IS NOT NULL OR (exit_code IS NULL AND NOT clean_end)", name=op.f("ck_runs_ended_at")
        ),
        comment="One row per start of a node on a book",
    )
    op.create_index("ix_runs_book_id_epoch", "runs", ["book_id", "epoch"], unique=True)


def _create_instance_metadata() -> None:
    op.create_table(
        "instance_metadata",
        sa.Column("book_id", sa.Text(), nullable=False, comment="Book of the node"),
        sa.Column("instance_id", sa.Text(), nullable=False, comment="Nautilus instance of the node"),
        sa.Column("run", sa.Integer(), nullable=False, comment="Run of the book that this node made"),
        sa.Column("host", sa.Text(), nullable=False, comment="Machine on which the node runs"),
        sa.Column("pid", sa.Integer(), nullable=False, comment="Process id of the node on its machine"),
        sa.Column(
            "status",
            sa.Text(),
            nullable=False,
            comment="What the node said last: starting, running, stopping or stopped; see last_heartbeat",
        ),
        _moment("started_at", "When the node took the book"),
        _moment("last_heartbeat", "When the node was last heard of: an old one under `running` is a node that died"),
        sa.PrimaryKeyConstraint("book_id", "instance_id", name="pk_instance_metadata"),
        sa.ForeignKeyConstraint(["book_id", "run"], ["runs.book_id", "runs.run"], name="fk_instance_metadata_runs"),
        sa.CheckConstraint(
            "status IN ('starting', 'running', 'stopping', 'stopped')", name=op.f("ck_instance_metadata_status")
        ),
        comment="One row per node that ever held a book, with its heartbeat",
    )
    op.create_index("ix_instance_metadata_last_heartbeat", "instance_metadata", ["last_heartbeat"])


def _moment(name: str, comment: str, *, nullable: bool = False) -> sa.Column:
    return sa.Column(
        name,
        sa.DateTime(timezone=True),
        nullable=nullable,
        server_default=None if nullable else sa.text("now()"),
        comment=comment,
    )
