"""What every table keeps to."""

from __future__ import annotations

import pytest

from nautilus_ext.schema import metadata

TABLES = metadata.sorted_tables


@pytest.mark.parametrize("table", TABLES, ids=str)
def test_keys_start_with_the_book(table):
    """Rows of two books never meet in one key."""
    unique = [index for index in table.indexes if index.unique]
    keys = [list(table.primary_key.columns), *(list(index.columns) for index in unique)]
    assert [key[0].name for key in keys] == ["book_id"] * len(keys)


@pytest.mark.parametrize("table", TABLES, ids=str)
def test_table_and_columns_say_what_they_hold(table):
    """Who looks into the database with any tool finds the meaning there."""
    assert table.comment
    assert [column.name for column in table.columns if not column.comment] == []


@pytest.mark.parametrize("table", TABLES, ids=str)
def test_the_application_never_deletes(table):
    """Each table says what the application's role may do, and what was written stays."""
    granted = table.info["grant"]
    assert "SELECT" in granted
    assert not {"DELETE", "TRUNCATE", "ALL"} & set(granted.replace(",", "").split())
