"""What the command line's verbs do. Each takes the command and its arguments and returns an exit code."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from nautilus_ext.app.database import open_tables
from nautilus_ext.app.explain import explained, say_explained
from nautilus_ext.app.paper import Paper, say
from nautilus_ext.app.preflight import check_machine
from nautilus_ext.config.backtest import parity_report
from nautilus_ext.config.schema import json_schema
from nautilus_ext.errors import ConfigError, Problem
from nautilus_ext.logs import Masker

if TYPE_CHECKING:
    import argparse

    from nautilus_ext.app.command import Command
    from nautilus_ext.config import Config

EXIT_OK = 0


def check(command: Command, options: argparse.Namespace) -> int:
    """Say everything about a config: what is wrong, what deserves a look, what it becomes."""
    if options.explain is None and (options.strategy or options.account):
        problem = Problem(
            "--strategy, --account", "go with --explain INSTRUMENT: say which instrument's limits to print"
        )
        raise ConfigError("command line", [problem])
    try:
        config = command.load(options.config, backtest=options.backtest)
    except ConfigError as error:
        if not options.json:
            raise
        problems = [_as_dict(problem) for problem in error.problems]
        _print_json({"ok": False, "source": error.source, "problems": problems})
        return error.exit_code
    parity = parity_report(config) if options.backtest else []
    limits = _explained(config, options)
    if options.json:
        report = _report(config, parity, expand=options.expand)
        _print_json(report if limits is None else {**report, "explained": limits})
        return EXIT_OK
    say(f"{config.source}: fine ({config.trader_id}, {config.world})")
    for note in config.notes:
        say(f"  note: {note}")
    for line in parity:
        say(f"  parity: {line}")
    if limits is not None:
        say_explained(limits, Paper(command.mask))
    if options.expand:
        _print_json(_expanded(config))
    return EXIT_OK


def _explained(config: Config, options: argparse.Namespace) -> dict[str, Any] | None:
    if options.explain is None:
        return None
    return explained(config, options.explain, options.strategy or "", options.account or "", time.time_ns())


def _report(config: Config, parity: list[Any], *, expand: bool) -> dict[str, Any]:
    report: dict[str, Any] = {
        "ok": True,
        "source": str(config.source),
        "trader_id": config.trader_id,
        "world": config.world,
        "notes": [_as_dict(note) for note in config.notes],
        "parity": [_as_dict(line) for line in parity],
    }
    return {**report, "expanded": _expanded(config)} if expand else report


def _expanded(config: Config) -> dict[str, Any]:
    """Plain Nautilus configuration, with the placeholders of secrets: it can be saved and shared."""
    return Masker(config.secrets.masked).fields(config.tree)


def migrate(command: Command, options: argparse.Namespace) -> int:
    config = command.load(options.config, backtest=options.backtest)
    check_machine(config.data_dir)
    with open_tables(config) as tables:
        applied = tables.migrate()
        say(f"{tables.place}: {'migrated to ' + applied[-1] if applied else 'up to date'}")
    return EXIT_OK


def schema(command: Command, options: argparse.Namespace) -> int:
    del command, options  # the schema is the same for everyone
    _print_json(json_schema())
    return EXIT_OK


def _as_dict(problem: Any) -> dict[str, str]:
    return {"path": problem.path, "message": problem.message}


def _print_json(value: Any) -> None:
    say(json.dumps(value, indent=2))
