"""A command is taken before it is applied, may expire, and its answer has a place among those of its run."""

from __future__ import annotations

from alembic import op

from migrations.columns import integer, moment

revision = "0005"
down_revision = "0004"

STATUS = "ck_commands_status"
BEFORE = "pending, applied, refused or expired"
NOW = "pending, taken (a run has begun it), applied, refused or expired"


def upgrade() -> None:
    op.add_column("commands", moment("expires_at", "When nobody shall begin it any more; empty: never", null=True))
    number = integer("applied_number", "Its number among the answers of its run, from 1", null=True)
    op.add_column("commands", number)
    _allow("'pending', 'taken', 'applied', 'refused', 'expired'")
    op.alter_column("commands", "status", comment=NOW, existing_comment=BEFORE)


def downgrade() -> None:
    op.execute("UPDATE commands SET status = 'pending' WHERE status = 'taken'")
    op.alter_column("commands", "status", comment=BEFORE, existing_comment=NOW)
    _allow("'pending', 'applied', 'refused', 'expired'")
    op.drop_column("commands", "applied_number")
    op.drop_column("commands", "expires_at")


def _allow(statuses: str) -> None:
    op.drop_constraint(op.f(STATUS), "commands", type_="check")
    op.create_check_constraint(op.f(STATUS), "commands", f"status IN ({statuses})")
