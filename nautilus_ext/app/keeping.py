"""The verbs that keep the history: audit, archive, backup, restore-backup. Each returns an exit code."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nautilus_ext
from nautilus_ext.app import asked
from nautilus_ext.app.database import open_tables
from nautilus_ext.app.desk_session import chosen_book
from nautilus_ext.app.paper import say
from nautilus_ext.errors import ConfigError, Problem
from nautilus_ext.persistence import archive as archives
from nautilus_ext.persistence import audit as audits
from nautilus_ext.persistence import backup as backups
from nautilus_ext.persistence.archive_runs import candidates
from nautilus_ext.persistence.audit import opened
from nautilus_ext.persistence.segments import runs as log_runs

if TYPE_CHECKING:
    import argparse

    from nautilus_ext.app.command import Command
    from nautilus_ext.app.database import Tables
    from nautilus_ext.config import Config
    from nautilus_ext.persistence.audit import Check, Report

_MARKS = {True: "✓", False: "✗", None: "?"}
_VERDICTS = {
    audits.EQUAL: "proven equal",
    audits.DIFFERENT: "different in {count}: see the lines above",
    audits.UNPROVEN: "not proven: see the lines with a question mark",
}


def audit(command: Command, options: argparse.Namespace) -> int:
    """Prove that nothing is missing: 0 proven equal, 1 differences, 2 not proven or asked wrongly."""
    asked.check(options, "audit")
    config = command.load(options.config, backtest=options.backtest)
    with open_tables(config) as tables:
        report = asyncio.run(_audit(config, tables, options.book, live=options.live))
    if options.json:
        _print_json(_audit_dict(report))
    else:
        _print_report(report)
    return report.verdict


async def _audit(config: Config, tables: Tables, book: str | None, *, live: bool) -> Report:
    timeout_s = config.suite.database.connect_timeout_s
    async with opened(tables.app_url, timeout_s, "exec-suite audit", **audits.SETTINGS) as connection:
        book_id = await chosen_book(connection, config, book)
        place = audits.Place(book_id, config.journal_folder(book_id), socket.gethostname())
        return await audits.audit(connection, place, live=live)


def _print_report(report: Report) -> None:
    lines = [f"audit of {report.book_id}"]
    lines += [_line(check) for check in report.checks]
    lines += [f"  note: {note}" for note in report.notes]
    lines += [f"    {finding}" for finding in report.listed]
    if report.differences > len(report.listed):
        lines.append(f"    … and {report.differences - len(report.listed):,} more")
    lines.append(f"  {_VERDICTS[report.verdict].format(count=f'{report.differences:,}')}")
    say("\n".join(lines))


def _line(check: Check) -> str:
    return f"  {_MARKS[check.proven]} {check.name:<20} {check.took_s:6.2f} s  {check.text}"


def _audit_dict(report: Report) -> dict[str, Any]:
    return {
        "book_id": report.book_id,
        "verdict": report.verdict,
        "checks": [check._asdict() for check in report.checks],
        "notes": report.notes,
        "differences": report.differences,
        "listed": [finding._asdict() for finding in report.listed],
    }


def archive(command: Command, options: argparse.Namespace) -> int:
    """Move the events of old runs into files: 0 when all that may go has gone."""
    asked.check(options, "archive")
    before = _moment(options.before)
    to = Path(options.to).expanduser().absolute() if options.to else None
    config = command.load(options.config, backtest=options.backtest)
    with open_tables(config) as tables:
        done = asyncio.run(_archive(config, tables, options, before, to))
    if options.json:
        _print_json(done)
    else:
        _print_archive(done)
    return audits.EQUAL


def _moment(text: str) -> datetime:
    try:
        ns = asked.since_ns(text, now_ns=time.time_ns())
    except ValueError as error:
        raise ConfigError("command line", [Problem("--before", f"{text!r} {error}")]) from None
    return datetime.fromtimestamp(ns / 1e9, UTC)


async def _archive(
    config: Config, tables: Tables, options: argparse.Namespace, before: datetime, to: Path | None
) -> dict[str, Any]:
    timeout_s = config.suite.database.connect_timeout_s
    async with opened(tables.app_url, timeout_s, "exec-suite archive") as reader:
        book_id = await chosen_book(reader, config, options.book)
        folder = (to or config.data_dir / "archive") / book_id
        done: dict[str, Any] = {"book_id": book_id, "before": before.isoformat(), "archived": [], "stay": []}
        found = await candidates(reader, book_id, before, config.journal_folder(book_id))
        done["stay"] = [{"run": each.run, "reason": each.reason} for each in found if each.reason]
        going = [each for each in found if not each.reason]
        if options.dry_run:
            return {**done, "would_archive": [{"run": each.run, "events": each.events} for each in going]}
        async with opened(tables.owner_url, timeout_s, "exec-suite archive owner") as owner:
            for each in going:
                path = await archives.archive_run(reader, owner, book_id, each.run, folder)
                done["archived"].append({"run": each.run, "events": each.events, "file": str(path)})
    return done


def _print_archive(done: dict[str, Any]) -> None:
    say(f"archive of {done['book_id']}, runs that ended before {done['before']}")
    for each in done.get("would_archive", ()):
        say(f"    run {each['run']} would go: {each['events']:,} events")
    for each in done["archived"]:
        say(f"  ✓ run {each['run']}: {each['events']:,} events, now in {each['file']}")
    for each in done["stay"]:
        say(f"    run {each['run']} stays: {each['reason']}")
    if not done["archived"] and "would_archive" not in done:
        say("  nothing to archive")


def backup(command: Command, options: argparse.Namespace) -> int:
    """Write all tables of the database, every book, to one file."""
    config = command.load(options.config, backtest=options.backtest)
    began_s, path = time.monotonic(), Path(options.file).expanduser().absolute()
    with open_tables(config) as tables:
        manifest = asyncio.run(_backup(config, tables, path))
    rows = sum(content.rows for content in manifest.tables.values())
    say(f"{path}: {rows:,} rows of {len(manifest.tables)} tables in {time.monotonic() - began_s:.1f} s")
    return audits.EQUAL


async def _backup(config: Config, tables: Tables, path: Path) -> backups.Manifest:
    timeout_s = config.suite.database.connect_timeout_s
    async with opened(tables.app_url, timeout_s, "exec-suite backup", **backups.SETTINGS) as connection:
        return await backups.backup(connection, path, nautilus_ext.__version__)


def restore_backup(command: Command, options: argparse.Namespace) -> int:
    """Fill the empty tables of the config's database from a backup."""
    config = command.load(options.config, backtest=options.backtest)
    path = Path(options.file).expanduser().absolute()
    backups.read_manifest(path)  # before anything is started for it
    with open_tables(config) as tables:
        if tables.auto_migrate:
            tables.migrate()
        manifest, books = asyncio.run(_restore(config, tables, path))
        rows = sum(content.rows for content in manifest.tables.values())
        say(f"{tables.place}: {rows:,} rows of {len(books):,} books restored and proven")
    for book_id in books:
        if log_runs(config.journal_folder(book_id)):
            say(
                f"  note: {config.journal_folder(book_id)} holds logs: move them away if they are newer than the backup"
            )
    return audits.EQUAL


async def _restore(config: Config, tables: Tables, path: Path) -> tuple[backups.Manifest, list[str]]:
    timeout_s = config.suite.database.connect_timeout_s
    async with opened(tables.owner_url, timeout_s, "exec-suite restore", **backups.SETTINGS) as owner:
        manifest = await backups.restore(owner, path)
        return manifest, [row["book_id"] for row in await owner.fetch("SELECT book_id FROM books ORDER BY book_id")]


def _print_json(value: Any) -> None:
    say(json.dumps(value, ensure_ascii=False))
