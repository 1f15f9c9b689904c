"""Kinds of column in short, for revisions. What a function gives never changes: revisions that ran depend on it."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB


def record_key(comment: str) -> list[sa.Column]:
    return [
        text("book_id", comment),
        integer("run", "Run that wrote the record"),
        bigint("seq", "Number of the record in its run, from 1 without gap"),
    ]


def newest_record() -> list[sa.Column]:
    return [
        integer("run", "Run of the newest record in this row"),
        bigint("seq", "Number of the newest record in this row; guards against older ones"),
    ]


def text(name: str, comment: str, *, null: bool = False, default: str | None = None) -> sa.Column:
    return sa.Column(name, sa.Text(), nullable=null, server_default=default, comment=comment)


def texts(name: str, comment: str) -> sa.Column:
    return _column(name, ARRAY(sa.Text()), comment, null=True)


def integer(name: str, comment: str, *, null: bool = False, default: str | None = None) -> sa.Column:
    return _column(name, sa.Integer(), comment, null=null, default=default)


def bigint(name: str, comment: str, *, null: bool = False) -> sa.Column:
    return _column(name, sa.BigInteger(), comment, null=null)


def numeric(name: str, comment: str, *, null: bool = False, default: str | None = None) -> sa.Column:
    return _column(name, sa.Numeric(), comment, null=null, default=default)


def flag(name: str, comment: str, *, default: str | None = None) -> sa.Column:
    return _column(name, sa.Boolean(), comment, default=default)


def json(name: str, comment: str, *, null: bool = False) -> sa.Column:
    return _column(name, JSONB(), comment, null=null)


def moment(name: str, comment: str, *, null: bool = False, default: str | None = None) -> sa.Column:
    return _column(name, sa.DateTime(timezone=True), comment, null=null, default=default)


def index(table: str, *columns: str, where: str | None = None) -> None:
    name = f"ix_{table}_{'_'.join(columns)}"
    op.create_index(name, table, list(columns), postgresql_where=None if where is None else sa.text(where))


def _column(name: str, kind: Any, comment: str, *, null: bool = False, default: str | None = None) -> sa.Column:
    server_default = None if default is None else sa.text(default)
    return sa.Column(name, kind, nullable=null, server_default=server_default, comment=comment)
