"""One JSON file for three worlds: `load` reads, checks and expands it, or names everything that is wrong with it."""

from nautilus_ext.config.load import Config, book_name_problem, load

__all__ = ["Config", "book_name_problem", "load"]
