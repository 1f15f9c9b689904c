"""Alembic migrations: `script_location = "migrations:"`, so they are found from a tree, a wheel and any folder."""
