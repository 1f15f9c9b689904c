"""The verbs that keep the history: audit, archive, backup, restore-backup. Each returns an exit code."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from typing import TYPE_CHECKING, Any

from nautilus_ext.app import asked
from nautilus_ext.app.database import open_tables
from nautilus_ext.persistence import audit as audits
from nautilus_ext.persistence.reading import NEWEST_BACKTEST
from nautilus_ext.schema.connect import connect

if TYPE_CHECKING:
    import argparse

    from nautilus_ext.app.command import Command
    from nautilus_ext.app.database import Tables
    from nautilus_ext.config import Config
    from nautilus_ext.persistence.audit import Check, Report

_MARKS = {True: "✓", False: "✗", None: "?"}
_VERDICTS = {
    audits.EQUAL: "proven equal",
    audits.DIFFERENT: "{count} differences",
    audits.UNPROVEN: "not proven: see the lines with a question mark",
}


def audit(command: Command, options: argparse.Namespace) -> int:
    """Prove that nothing is missing: 0 proven equal, 1 differences, 2 not proven or asked wrongly."""
    asked.check(options, "audit")
    config = command.load(options.config, backtest=getattr(options, "backtest", False))
    with open_tables(config) as tables:
        report = asyncio.run(_audit(config, tables, options.book))
    if options.json:
        _print_json(_audit_dict(report))
    else:
        _print_report(report)
    return report.verdict


async def _audit(config: Config, tables: Tables, book: str | None) -> Report:
    book_id = await _book(config, tables, book)
    place = audits.Place(
        url=tables.app_url,
        book_id=book_id,
        journal_folder=config.journal_folder(book_id),
        host=socket.gethostname(),
        connect_timeout_s=config.suite.database.connect_timeout_s,
    )
    return await audits.audit(place)


async def _book(config: Config, tables: Tables, book: str | None) -> str:
    """The book that is named, else the config's own, else its newest backtest."""
    if book is not None or config.world != "backtest":
        return book or config.book_id
    timeout_s = config.suite.database.connect_timeout_s
    connection = await connect(tables.app_url, timeout_s=timeout_s, answer_timeout_s=timeout_s)
    try:
        return await connection.fetchval(NEWEST_BACKTEST, str(config.trader_id)) or config.book_id
    finally:
        connection.terminate()


def _print_report(report: Report) -> None:
    lines = [f"audit of {report.book_id}"]
    lines += [_line(check) for check in report.checks]
    lines += [f"  note: {note}" for note in report.notes]
    lines += [f"    {finding}" for finding in report.listed]
    if report.differences > len(report.listed):
        lines.append(f"    … and {report.differences - len(report.listed):,} more")
    lines.append(f"  {_VERDICTS[report.verdict].format(count=f'{report.differences:,}')}")
    _say("\n".join(lines))


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


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def _print_json(value: Any) -> None:
    _say(json.dumps(value, ensure_ascii=False))
