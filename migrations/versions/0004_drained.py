"""Whether all of a run's local log is in the tables: a later start asks before it trusts them."""

from __future__ import annotations

from alembic import op

from migrations.columns import moment

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    comment = "When all of the run's local log was in the tables, or its loss was accepted; empty before"
    op.add_column("runs", moment("drained_at", comment, null=True))


def downgrade() -> None:
    op.drop_column("runs", "drained_at")
