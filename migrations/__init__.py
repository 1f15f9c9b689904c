"""Alembic migrations: `script_location = "migrations:"`, so they are found from a tree, a wheel and any folder."""

# Other projects have a package called `migrations` too: preflight looks for this line.
DISTRIBUTION = "exec-suite-nt"
