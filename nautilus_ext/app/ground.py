"""What every world stands on: a machine that is fit, tables that are current, a log."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING
from uuid import uuid4

from nautilus_ext.app.database import open_tables, secrets_in
from nautilus_ext.app.preflight import check_machine
from nautilus_ext.logs import LogSession, Masker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nautilus_ext.app.database import Tables
    from nautilus_ext.app.screen import Screen
    from nautilus_ext.config import Config


@contextmanager
def prepared_tables(config: Config, screen: Screen) -> Iterator[Tables]:
    """A machine that is fit and tables that are current, told step by step."""
    with screen.step("machine") as step:
        check_machine(config.data_dir, config.log_folder)
        step.detail = str(config.data_dir)
    with screen.step("database") as step:
        tables = open_tables(config)
        step.detail = tables.place
    with tables:
        if tables.auto_migrate:
            with screen.step("schema") as step:
                applied = tables.migrate()
                step.detail = f"migrated to {applied[-1]}" if applied else "up to date"
        yield tables


def open_log(config: Config, tables: Tables, screen: Screen) -> LogSession:
    """A log without a file yet: the file belongs to the book, and a book may turn out to be another node's."""
    settings = config.suite.logging_ext
    level = settings.backtest_level if config.world == "backtest" else settings.level
    masker = Masker(config.secrets.masked | secrets_in(tables))
    screen.mask = masker.text
    terminal = None if screen.tty else screen.stream  # on a terminal the live view shows the last lines
    return LogSession.start(level=level, masker=masker, terminal=terminal)


def attach_log_file(log: LogSession, config: Config, book_id: str) -> str:
    settings = config.suite.logging_ext
    path = config.log_folder / f"{book_id}.jsonl"
    log.attach_file(path, max_bytes=settings.file_size_bytes_max, retain_files=settings.retain_files)
    return str(path)


def instance_id(config: Config) -> str:
    """Nautilus's own id of this instance: the one that the config fixes, or a new one for both of us."""
    return config.tree.setdefault("instance_id", str(uuid4()))
