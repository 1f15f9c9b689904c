"""Canonical ids: `canonical` and `symbols` are pure; `nautilus` knows the engine and is imported by its own name."""

from nautilus_ext.instruments.canonical import CanonicalId, parse

__all__ = ["CanonicalId", "parse"]
