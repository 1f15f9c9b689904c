"""What the two roles of the embedded server may do."""

from __future__ import annotations

import asyncpg
import pytest


async def test_the_owner_creates_tables_and_the_application_cannot(empty_database):
    """Only migrations create tables: the application role may connect and no more."""
    owner = await asyncpg.connect(empty_database.owner_url)
    await owner.execute("CREATE TABLE books (book_id text)")
    await owner.close()
    application = await asyncpg.connect(empty_database.app_url)
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await application.execute("CREATE TABLE mine (id int)")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await application.fetch("SELECT * FROM books")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await application.execute("CREATE DATABASE mine")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await application.execute("CREATE SCHEMA mine")
    finally:
        await application.close()
