"""The run command: arguments in, exit code out. An operator's mistake ends in one clear message."""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING

import psutil

from nautilus_ext.app.command import Command, Once
from nautilus_ext.app.screen import Screen
from nautilus_ext.app.stop import StopSignals
from nautilus_ext.config import book_name_problem
from nautilus_ext.errors import ConfigError, Problem

if TYPE_CHECKING:
    from nautilus_ext.config import Config


def run_command(arguments: list[str]) -> int:
    options = _parser().parse_args(arguments)
    return Command().run(lambda command: _start(command, options))


def _start(command: Command, options: argparse.Namespace) -> int:
    signals = StopSignals()
    signals.install()
    _check_options(options)
    with Screen(sys.stdout) as screen:
        screen.say(f"exec-suite-nt  {options.config}{'  as a backtest' if options.backtest else ''}")
        screen.done("python and engine", time.time() - psutil.Process().create_time())
        with screen.step("configuration") as step:
            config = command.load(options.config, backtest=options.backtest)
            screen.mask = command.mask
            step.detail = f"{config.trader_id}, {config.world}"
        for note in config.notes:
            screen.say(f"  note: {note}")
        return _run(config, screen, signals, options)


def _run(config: Config, screen: Screen, signals: StopSignals, options: argparse.Namespace) -> int:
    # Only a backtest may import the simulation: live code gets it by a string in the config, or not at all.
    if config.world == "backtest":
        from nautilus_ext.app.backtest import run_backtest  # noqa: PLC0415 - see above

        return run_backtest(config, screen, signals, book=options.book)
    from nautilus_ext.app.live import run_live  # noqa: PLC0415 - see above

    if options.halted:
        _require_gate(config)
    return run_live(
        config,
        screen,
        signals,
        seconds=options.seconds,
        book=options.book,
        accepts_loss=options.accept_loss,
        halted=options.halted,
    )


def _require_gate(config: Config) -> None:
    """Whoever starts a node halted must not get one that trades."""
    for path, enabled in (("risk", config.suite.risk.enabled), ("persistence", config.suite.persistence.enabled)):
        if not enabled:
            text = "is false, and without it nothing keeps a node halted: set it to true, or leave out --halted"
            raise ConfigError(str(config.source), [Problem(f"{path}.enabled", text)])


def _check_options(options: argparse.Namespace) -> None:
    problems: list[Problem] = []
    if options.book is not None and (problem := book_name_problem(options.book)):
        problems.append(problem)
    if options.seconds is not None and options.backtest:
        problems.append(Problem("--seconds", "goes with a live or paper run; a backtest ends with its data"))
    if options.halted and options.backtest:
        problems.append(Problem("--halted", "goes with a live or paper run: a backtest has nobody who would resume it"))
    if problems:
        raise ConfigError("command line", problems)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m nautilus_ext.run",
        description="Run one config: live or paper as its environment says, or as a backtest.",
        epilog="exit codes: 0 ended as asked, 1 a defect or a crash, 2 change the file, the command or the "
        "environment, 3 cure this machine, 4 cure the database, 5 another node has the book, "
        "6 a venue did not connect, 130 stopped before it ran",
    )
    parser.add_argument("config", metavar="CONFIG", help="a JSON file, for example node_configs/paper.json")
    parser.add_argument("--backtest", action="store_true", help="run the same file as a backtest")
    parser.add_argument(
        "--seconds", type=_positive, action=Once, metavar="N", help="end by itself after N seconds of trading"
    )
    parser.add_argument(
        "--accept-loss",
        action="store_true",
        help="start although a former run's log is out of reach and may hold events that the tables lack; recorded",
    )
    parser.add_argument(
        "--halted", action="store_true", help="start with everything halted, until `python -m nautilus_ext resume`"
    )
    parser.add_argument("--book", action=Once, metavar="NAME", help="a trading history of another name")
    return parser


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds above 0")
    return value
