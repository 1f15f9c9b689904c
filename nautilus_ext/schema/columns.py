"""The one `metadata` of all tables, and the kinds of column that they are made of.

Identifiers are text without a limit, money and quantities are exact numerics, `*_ns` are nanoseconds since 1970.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

metadata = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(referred_table_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)


def book_id(comment: str) -> sa.Column:
    return text("book_id", comment, key=True)


def text(name: str, comment: str, *, key: bool = False, null: bool = False, default: str | None = None) -> sa.Column:
    return sa.Column(name, sa.Text, primary_key=key, nullable=null, server_default=default, comment=comment)


def texts(name: str, comment: str) -> sa.Column:
    return sa.Column(name, ARRAY(sa.Text), comment=comment)


def integer(name: str, comment: str, *, key: bool = False, null: bool = False, default: str | None = None) -> sa.Column:
    return _number(name, sa.Integer, comment, key=key, null=null, default=default)


def bigint(name: str, comment: str, *, key: bool = False, null: bool = False, default: str | None = None) -> sa.Column:
    return _number(name, sa.BigInteger, comment, key=key, null=null, default=default)


def numeric(name: str, comment: str, *, null: bool = False, default: str | None = None) -> sa.Column:
    return sa.Column(name, sa.Numeric, nullable=null, server_default=_sql(default), comment=comment)


def flag(name: str, comment: str, *, default: str | None = None) -> sa.Column:
    return sa.Column(name, sa.Boolean, nullable=False, server_default=_sql(default), comment=comment)


def json(name: str, comment: str, *, null: bool = False) -> sa.Column:
    return sa.Column(name, JSONB, nullable=null, comment=comment)


def moment(name: str, comment: str, *, null: bool = False, default: str | None = "now()") -> sa.Column:
    server_default = None if null else _sql(default)
    return sa.Column(name, sa.DateTime(timezone=True), nullable=null, server_default=server_default, comment=comment)


def record_key(comment: str) -> list[sa.Column]:
    """Key of a table that holds one row per numbered record of a run."""
    return [
        book_id(comment),
        integer("run", "Run that wrote the record", key=True),
        bigint("seq", "Number of the record in its run, from 1 without gap", key=True),
    ]


def newest_record() -> list[sa.Column]:
    """Version of a projected row: an older record, by (run, seq), never overwrites a newer one."""
    return [
        integer("run", "Run of the newest record in this row"),
        bigint("seq", "Number of the newest record in this row; guards against older ones"),
    ]


def index(*names: str, where: str | None = None, unique: bool = False) -> sa.Index:
    return sa.Index(None, *names, unique=unique, postgresql_where=_sql(where))


def _number(name: str, kind: Any, comment: str, *, key: bool, null: bool, default: str | None) -> sa.Column:
    return sa.Column(
        name,
        kind,
        primary_key=key,
        autoincrement=False,
        nullable=null,
        server_default=_sql(default),
        comment=comment,
    )


def _sql(text_of_it: str | None) -> sa.TextClause | None:
    return None if text_of_it is None else sa.text(text_of_it)
