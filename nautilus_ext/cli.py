"""python -m nautilus_ext VERB: configs, tables, what is in them. Exit codes are those of the errors."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from nautilus_ext.app import status, verbs
from nautilus_ext.app.command import Command, Once
from nautilus_ext.config.suite import Synthetic

if TYPE_CHECKING:
    from collections.abc import Callable

    Verb = Callable[[Command, argparse.Namespace], int]


def main(arguments: list[str] | None = None) -> int:
    parser = _parser()
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        cure = f"`{parser.prog} {options.name} --help` lists what it takes"
        parser.error(f"{options.name} does not take {' '.join(unknown)}: {cure}")
    verb: Verb = options.verb
    return Command().run(lambda command: verb(command, options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m nautilus_ext", description="Execution suite for NautilusTrader.")
    commands = parser.add_subparsers(required=True, metavar="VERB", dest="name")

    check = _verb(commands, "check", "find everything that is wrong with a config: exit 0 or 2", verbs.check)
    check.add_argument("--backtest", action="store_true", help="as --backtest would run it, with a parity report")
    check.add_argument("--expand", action="store_true", help="print the plain Nautilus config that it becomes")
    check.add_argument("--explain", action=Once, metavar="INSTRUMENT", help="print the limits that hold there, and why")
    check.add_argument("--strategy", action=Once, metavar="ID", help="with --explain: of this strategy's orders")
    check.add_argument("--account", action=Once, metavar="ID", help="with --explain: on this account")
    check.add_argument("--json", action="store_true", help="the answer as one JSON object")

    purpose = "say which checks do nothing, which limits are missing, what is dangerous: exit 0 or 1"
    doctor = _verb(commands, "doctor", purpose, _doctor)
    doctor.add_argument("--backtest", action="store_true", help="as --backtest would run it")
    doctor.add_argument("--json", action="store_true", help="the answer as one JSON object")

    migrate = _verb(commands, "migrate", "bring the tables up to date", verbs.migrate)
    migrate.add_argument("--backtest", action="store_true", help="the tables of database.backtest_url")

    purpose = "show the node of this config's book: exit 0 when its heart beats"
    health = _verb(commands, "status", purpose, status.status)
    _add_book(health)
    health.add_argument("--follow", action="store_true", help="go on with what changes, until Ctrl-C: exit 0")
    health.add_argument("--json", action="store_true", help="one JSON object; with --follow one per line")

    purpose = "show the alerts of a book, the newest last"
    told = _verb(commands, "alerts", purpose, _alerts)
    told.add_argument("--book", action=Once, metavar="NAME", help="another book than the config's own")
    told.add_argument("--limit", action=Once, metavar="N", help=_FILTERS["--limit"][1])
    told.add_argument("--follow", action="store_true", help="go on with what comes, until Ctrl-C")
    told.add_argument("--json", action="store_true", help="one JSON array; with --follow one object per line")

    _add_desk(commands)
    _add_operating(commands)
    _add_keeping(commands)
    _add_catalog(commands)

    schema = commands.add_parser("schema", help="print the JSON schema of a config file, for editors")
    schema.set_defaults(verb=verbs.schema, config=None)
    return parser


def _add_desk(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """What is read from the tables; each verb offers the filters that mean something for it."""
    held = ("--strategy", "--venue", "--instrument", "--asset")
    made = ("--operation-id", *held, "--since", "--limit")
    listings = {
        "orders": ("show the orders of a book, the newest last", (*made, "--status")),
        "fills": ("show the fills of a book, the newest last", made),
        "positions": ("show the open positions of a book, or those that were closed", (*made, "--status")),
        "exposure": ("show what is held of each asset, over all venues", held),
    }
    for name, (purpose, filters) in listings.items():
        parser = _verb(commands, name, purpose, _desk(name))
        _add_book(parser)
        for each in filters:
            metavar, text = _FILTERS[f"{name} {each}" if f"{name} {each}" in _FILTERS else each]
            parser.add_argument(each, action=Once, metavar=metavar, help=text)
        parser.add_argument("--follow", action="store_true", help="go on with what changes, until Ctrl-C")
        parser.add_argument("--json", action="store_true", help="one JSON array; with --follow one object per line")
    order = _verb(commands, "order", "tell the life of one order, event by event", _desk("order"))
    order.add_argument("id", metavar="ID", help="its client order id, its operation's id, or the venue's id")
    _add_book(order)
    order.add_argument("--json", action="store_true", help="the answer as one JSON object")
    why = _verb(commands, "why", "say in plain words why an order was refused, or what else became of it", _why)
    why.add_argument("id", metavar="ID", help="its client order id, its operation's id, or the venue's id")
    _add_book(why)
    why.add_argument("--json", action="store_true", help="the answer as one JSON object")


_SINCE = "since: 30s, 10m, 2h, 1d ago, or an ISO 8601 time (UTC); a backtest has a time of its own"
_FILTERS = {
    "--operation-id": ("ID", "of one operation: the order's tag op:ID, else its client order id"),
    "--strategy": ("ID", "of one strategy, for example TrendFollower-001"),
    "--venue": ("NAME", "of one venue, for example BINANCE"),
    "--instrument": ("ID", "of one instrument: its Nautilus id, its canonical id, or an asset key for all venues"),
    "--asset": ("NAME", "of one base asset, for example BTC"),
    "--status": ("WORDS", "working, closed, or Nautilus names such as ACCEPTED,FILLED"),
    "positions --status": ("WORD", "open (default), closed or all"),
    "--since": ("TIME", f"made {_SINCE}"),
    "fills --since": ("TIME", f"happened {_SINCE}"),
    "positions --since": ("TIME", f"changed {_SINCE}"),
    "--limit": ("N", "the newest N rows at most (default 50)"),
}


def _doctor(command: Command, options: argparse.Namespace) -> int:
    from nautilus_ext.app import doctor  # noqa: PLC0415 - no other verb looks at a config this way

    return doctor.doctor(command, options)


def _alerts(command: Command, options: argparse.Namespace) -> int:
    from nautilus_ext.app import alerts_verb  # noqa: PLC0415 - no other verb reads them

    return alerts_verb.alerts(command, options)


def _why(command: Command, options: argparse.Namespace) -> int:
    from nautilus_ext.app import why  # noqa: PLC0415 - as above, and of verdicts

    return why.why(command, options)


def _desk(name: str) -> Verb:
    def verb(command: Command, options: argparse.Namespace) -> int:
        from nautilus_ext.app import desk  # noqa: PLC0415 - no other verb reads the tables of a book

        return getattr(desk, name)(command, options)

    return verb


def _add_operating(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """What a running node is asked: each waits for its answer. Exit 0 applied, 1 refused, 5 no answer yet."""
    purposes = {
        "halt": "refuse all that is new in a scope and cancel what works there, until `resume`",
        "reduce-only": "let through only what reduces positions in a scope, until `resume`",
        "resume": "lift what stands at exactly this scope",
        "cancel-all": "cancel what works in a scope, once",
        "flatten": "cancel what works in a scope and close what is held there, once",
        "override": "keep one control from refusing in a scope until a moment",
    }
    parsers = {name: _asked_verb(commands, name, purpose) for name, purpose in purposes.items()}
    parsers["halt"].add_argument("--flatten", action="store_true", help="close what is held there as well")
    mode = "lift only halts, or only what lets reducing orders through"
    parsers["resume"].add_argument("--mode", action=Once, choices=("halt", "reduce_only"), help=mode)
    override = parsers["override"]
    override.add_argument("code", metavar="CODE", help="as a refusal names it, for example MAX_ORDER_NOTIONAL")
    until = "30m, 2h, 1d from now, or an ISO 8601 time (UTC); now: it ends"
    override.add_argument("--until", action=Once, required=True, metavar="WHEN", help=until)
    _add_limits(commands)


def _asked_verb(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, purpose: str
) -> argparse.ArgumentParser:
    parser = _verb(commands, name, purpose, _operating(name.replace("-", "_")))
    scope = "node, venue=NAME, account=ID, strategy=ID or instrument=ID"
    if name == "override":
        scope = "as a refusal names it: global, venue=NAME, strategy=ID, asset=NAME, instrument=ID or account=ID"
    parser.add_argument("--scope", action=Once, required=True, metavar="SCOPE", help=scope)
    _add_asking(parser)
    return parser


def _add_asking(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--why", action=Once, required=True, metavar="TEXT", help="the reason, for the record")
    parser.add_argument("--by", action=Once, metavar="NAME", help="who asks (default: user@host)")
    parser.add_argument("--book", action=Once, metavar="NAME", help="another book than the config's own")
    wait = "how long to wait for the answer (default 10)"
    parser.add_argument("--wait", action=Once, metavar="SECONDS", help=wait)
    parser.add_argument("--json", action="store_true", help="the answer as one JSON object")


def _add_limits(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _verb(
        commands, "limits", "show the limits that hold now, change one, list what was asked", _limits("show")
    )
    actions = parser.add_subparsers(required=True, metavar="ACTION", dest="action")
    show = actions.add_parser("show", help="the limits that hold, and where each comes from")
    show.set_defaults(verb=_limits("show"))
    for name, text in (("instrument", "all limits of its orders"), ("strategy", "with --instrument"), ("account", "")):
        show.add_argument(f"--{name}", action=Once, metavar="ID", help=text or "with --instrument")
    change = actions.add_parser("set", help="change one limit of a running node")
    change.set_defaults(verb=_limits("change"))
    change.add_argument("scope", metavar="SCOPE", help="as in the file: global, venue=…, strategy=…, instrument=BTC*")
    change.add_argument("key", metavar="KEY", help="for example max_order_notional")
    change.add_argument("value", metavar="VALUE", help="a number, a word, JSON; `file`: what the file says holds again")
    _add_asking(change)
    history = actions.add_parser("history", help="who asked for what and when, and what came of it")
    history.set_defaults(verb=_limits("history"))
    history.add_argument("--limit", action=Once, metavar="N", help=_FILTERS["--limit"][1])
    for each in (show, history):
        each.add_argument("--book", action=Once, metavar="NAME", help="another book than the config's own")
        each.add_argument("--json", action="store_true", help="the answer as JSON")


def _operating(name: str) -> Verb:
    def verb(command: Command, options: argparse.Namespace) -> int:
        from nautilus_ext.app import operating  # noqa: PLC0415 - no other verb asks anything of a node

        return getattr(operating, name)(command, options)

    return verb


def _limits(name: str) -> Verb:
    def verb(command: Command, options: argparse.Namespace) -> int:
        from nautilus_ext.app import limits  # noqa: PLC0415 - as above

        return getattr(limits, name)(command, options)

    return verb


def _add_keeping(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """What looks after the tables: compare them with the journal, put old runs away, save and restore."""
    audit = _verb(
        commands, "audit", "compare a book's tables with its journal: exit 0 when they agree", _keeping("audit")
    )
    _add_book(audit)
    audit.add_argument("--live", action="store_true", help="the running node asks its venues, too: three ways")
    audit.add_argument("--json", action="store_true", help="the answer as one JSON object")

    purpose = "put the journal of runs that ended into Parquet files, and out of the tables"
    archive = _verb(commands, "archive", purpose, _keeping("archive"))
    _add_book(archive)
    before = "runs that ended before: 2026-01-31, 2026-01-31T12:00:00Z, or an age: 30d, 12h, 45m"
    archive.add_argument("--before", action=Once, required=True, metavar="WHEN", help=before)
    archive.add_argument("--to", action=Once, metavar="FOLDER", help="where the files go")
    archive.add_argument("--dry-run", action="store_true", help="say what would be put away, and change nothing")
    archive.add_argument("--json", action="store_true", help="the answer as one JSON object")

    for name, purpose in (
        ("backup", "save all tables to a file"),
        ("restore-backup", "bring the tables of a file back"),
    ):
        parser = _verb(commands, name, purpose, _keeping(name.replace("-", "_")))
        parser.add_argument("file", metavar="FILE", help="the backup's file")
        parser.add_argument("--backtest", action="store_true", help="the tables of database.backtest_url")


def _keeping(name: str) -> Verb:
    def verb(command: Command, options: argparse.Namespace) -> int:
        from nautilus_ext.app import keeping  # noqa: PLC0415 - Parquet: no other verb needs it

        return getattr(keeping, name)(command, options)

    return verb


def _add_book(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--book", action=Once, metavar="NAME", help="another book than the config's own")
    parser.add_argument(
        "--backtest", action="store_true", help="the newest backtest of this trader, in database.backtest_url"
    )


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
