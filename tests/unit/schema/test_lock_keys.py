"""Advisory locks of old and new versions have to exclude each other."""

from __future__ import annotations

from nautilus_ext.schema.locks import lock_key


def test_a_key_never_changes():
    """Two versions side by side mean the same book by the same key."""
    assert lock_key("book", "PAPER-001.paper") == KEY_OF_PAPER_001
    assert lock_key("migrate", "") == KEY_OF_MIGRATIONS


def test_keys_fit_the_server_and_differ():
    """The server takes signed 64-bit integers; a book's name is no other lock's."""
    keys = {lock_key(purpose, f"B-{number}") for purpose in ("book", "migrate") for number in range(1000)}
    assert len(keys) == 2000
    assert all(-(2**63) <= key < 2**63 for key in keys)
    assert min(keys) < 0 < max(keys)


KEY_OF_PAPER_001 = 2378473879602795419
KEY_OF_MIGRATIONS = -5962836570310374422
