"""Alerts that were told, one row each."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from migrations.columns import bigint, integer, moment, text

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "alerts",
        text("book_id", "Book that the alert is about"),
        integer("run", "Run that told it"),
        integer("number", "Its number among the alerts of its run, from 1"),
        text("code", "What has happened, in one word: BREAKER_LOSS, MAX_POSITION, JOURNAL, …"),
        text("scope", "Where: node, venue=…, strategy=…, instrument=… or whatever else it names"),
        text("severity", "warning or critical"),
        text("text", "What a person should know"),
        integer("count", "How often it has happened since it was last told"),
        bigint("ts_ns", "When it happened, ns since 1970"),
        moment(
            "written_at",
            "When this row was written: later than it was told when the database was away",
            default="now()",
        ),
        sa.PrimaryKeyConstraint("book_id", "run", "number", name="pk_alerts"),
        sa.CheckConstraint("severity IN ('warning', 'critical')", name=op.f("ck_alerts_severity")),
        comment="What the node has told whoever looks after it",
    )


def downgrade() -> None:
    op.drop_table("alerts")
