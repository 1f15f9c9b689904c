"""The newest revision of the tables that this version knows: who writes them without Alembic compares with it."""

REVISION = "0006"
VERSION_TABLE = "schema_version"
