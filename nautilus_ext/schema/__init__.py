"""Tables, migrations and connections: `upgrade` and `require_current` guard the schema, `connect` maps every error."""

from nautilus_ext.schema.address import redact
from nautilus_ext.schema.connect import connect, create_pool
from nautilus_ext.schema.tables import metadata
from nautilus_ext.schema.upgrade import require_current, upgrade

__all__ = ["connect", "create_pool", "metadata", "redact", "require_current", "upgrade"]
