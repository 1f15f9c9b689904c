"""Advisory locks: 64-bit keys that another program in the same database will not hit by chance.

A key is blake2b over the name, personalised with `execsuite` and the purpose: `book` (one node per book) or
`migrate` (one migration at a time). It must never change: an old and a new version have to exclude each other.
PostgreSQL keeps advisory locks per database, so two databases may hold the same book.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Literal


def lock_key(purpose: Literal["book", "migrate"], name: str) -> int:
    """Return the signed 64-bit key that pg_advisory_lock takes."""
    digest = blake2b(name.encode(), digest_size=8, person=f"execsuite{purpose}".encode())
    return int.from_bytes(digest.digest(), "big", signed=True)
