"""Migrate a database, in a process that can be killed: crash_migration.py OWNER_URL APP_URL."""

from __future__ import annotations

import sys

from nautilus_ext.schema.upgrade import upgrade

if __name__ == "__main__":
    upgrade(*sys.argv[1:], timeout_s=10.0)
