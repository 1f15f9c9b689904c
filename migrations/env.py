"""Run the migrations on the connection that `nautilus_ext.schema.upgrade` hands over."""

from __future__ import annotations

from alembic import context

from nautilus_ext.errors import DatabaseError
from nautilus_ext.schema.tables import metadata

connection = context.config.attributes.get("connection")
if connection is None:
    raise DatabaseError("migrations need an open connection: run `python -m nautilus_ext migrate CONFIG`")

context.configure(
    connection=connection,
    target_metadata=metadata,
    version_table=context.config.attributes["version_table"],
)
with context.begin_transaction():
    context.run_migrations()
