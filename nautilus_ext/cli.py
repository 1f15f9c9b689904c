"""python -m nautilus_ext VERB: check, migrate, status, catalog, schema. Exit codes are those of the errors."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from nautilus_ext.app import verbs
from nautilus_ext.app.command import Command, Once
from nautilus_ext.config.suite import Synthetic

if TYPE_CHECKING:
    from collections.abc import Callable

    Verb = Callable[[Command, argparse.Namespace], int]


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    verb: Verb = options.verb
    return Command().run(lambda command: verb(command, options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m nautilus_ext", description="Execution suite for NautilusTrader.")
    commands = parser.add_subparsers(required=True, metavar="VERB")

    check = _verb(commands, "check", "find everything that is wrong with a config: exit 0 or 2", verbs.check)
    check.add_argument("--backtest", action="store_true", help="as --backtest would run it, with a parity report")
    check.add_argument("--expand", action="store_true", help="print the plain Nautilus config that it becomes")
    check.add_argument("--json", action="store_true", help="the answer as one JSON object")

    migrate = _verb(commands, "migrate", "bring the tables up to date", verbs.migrate)
    migrate.add_argument("--backtest", action="store_true", help="the tables of database.backtest_url")

    status = _verb(commands, "status", "show the node of this config's book: exit 0 when its heart beats", verbs.status)
    status.add_argument("--book", action=Once, metavar="NAME", help="another book than the config's own")
    status.add_argument("--json", action="store_true", help="the answer as one JSON object")

    _add_catalog(commands)

    schema = commands.add_parser("schema", help="print the JSON schema of a config file, for editors")
    schema.set_defaults(verb=verbs.schema, config=None)
    return parser


def _add_catalog(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    purpose = "make a Parquet catalog from the market model, for backtests and replays"
    catalog = commands.add_parser("catalog", help=purpose, description=f"{purpose[0].upper()}{purpose[1:]}.")
    catalog.add_argument("folder", metavar="FOLDER", help="where it will be; nothing may be there yet")
    seed = f"seed of the market: the same seed, the same data (default {Synthetic().seed})"
    catalog.add_argument("--seed", type=int, metavar="N", help=seed)
    catalog.add_argument(
        "--start", default=Synthetic().start, metavar="TIME", help="first moment, ISO 8601 (default %(default)s)"
    )
    catalog.add_argument(
        "--minutes", type=int, default=Synthetic().minutes, metavar="N", help="length (default %(default)s)"
    )
    interval = f"milliseconds between two quotes (default {Synthetic().interval_ms})"
    catalog.add_argument("--interval-ms", type=int, metavar="N", help=interval)
    catalog.add_argument(
        "--config",
        metavar="FILE",
        help="take instruments, regimes, seed and interval from this file's simulated data client, "
        "else from its backtest.synthetic; options given here win",
    )
    catalog.set_defaults(verb=_make_catalog)


def _make_catalog(command: Command, options: argparse.Namespace) -> int:
    from nautilus_ext.app import catalogs  # noqa: PLC0415 - Parquet and the engine's persistence: no other verb needs them

    return catalogs.make(command, options)


def _verb(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, purpose: str, verb: Verb
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=purpose, description=purpose)
    parser.add_argument("config", metavar="CONFIG", help="a JSON file, for example node_configs/paper.json")
    parser.set_defaults(verb=verb)
    return parser
