"""One file in, one checked config out: every problem of the file at once, or none."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from nautilus_trader.backtest.config import BacktestDataConfig, BacktestVenueConfig
from nautilus_trader.live.config import TradingNodeConfig

from nautilus_ext.config.alerts import Webhook, webhook_problems
from nautilus_ext.config.beside import beside_problems
from nautilus_ext.config.components import KINDS, ClientSpec, client_specs, component_problems, importable_problems
from nautilus_ext.config.differences import speed_notes
from nautilus_ext.config.document import read_document
from nautilus_ext.config.env import Unresolved, holds, join, plain, walk
from nautilus_ext.config.expand import BREAKERS, MIRROR, RESTORE, VENUE_WATCH, expand
from nautilus_ext.config.identifiers import identifier_fault
from nautilus_ext.config.locate import locate
from nautilus_ext.config.masking import Masker
from nautilus_ext.config.renamed import take_renamed
from nautilus_ext.config.risk import VENUE_CHECKED, Risk
from nautilus_ext.config.secret import Secrets
from nautilus_ext.config.shape import decode, shape_problems, unknown_key
from nautilus_ext.config.suite import (
    MARKET_CONFIG,
    MAX_STOP_S,
    OWN_STOP_S,
    RISK_RULES,
    SYNTHETIC_QUOTES_MAX,
    Suite,
    Synthetic,
    is_stream_address,
)
from nautilus_ext.errors import ConfigError, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

World = Literal["live", "paper", "backtest"]
BOOK_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")

_WORLD_OF_ENVIRONMENT: dict[str, World] = {"live": "live", "sandbox": "paper"}
_ONLY_WITHOUT_BACKTEST = (
    "data_clients",
    "exec_clients",
    "database.url",
    "database.migrate_url",
    "redis",
    "alerts.webhook",
)
_ONLY_WITH_BACKTEST = ("backtest", "database.backtest_url")
_EDITOR_KEY = "$schema"
_BUILT_IN = ("nautilus_trader.", "nautilus_ext.")


@dataclass(frozen=True, repr=False)
class Config:
    """A config without a problem in it. `tree` is Nautilus's part, expanded, with placeholders for client secrets."""

    source: Path
    world: World
    trader_id: str
    suite: Suite
    tree: dict[str, Any]
    data_clients: list[ClientSpec]
    exec_clients: list[ClientSpec]
    notes: list[Problem]
    secrets: Secrets

    def __repr__(self) -> str:
        return f"Config({str(self.source)!r}, {self.world}, {self.trader_id})"

    @property
    def book_id(self) -> str:
        return f"{self.trader_id}.{self.world}"

    def for_run(self, book_id: str, run: int, epoch: int, holdings: Path | None = None) -> Config:
        """Clients that keep something of their own keep it in the data folder, book by book; the Mirror, run by run.

        `holdings` is the file of what the book holds.
        """
        known = {"data_dir": str(self.data_dir), "book": book_id}
        place = {
            "folder": str(self.journal_folder(book_id)),
            "book_id": book_id,
            "run": run,
            "epoch": epoch,
            "external_venues": sorted({spec.config.get("venue") or spec.name for spec in self._external_clients()}),
        }
        places = {
            MIRROR: place,
            VENUE_WATCH: {key: place[key] for key in ("folder", "book_id", "run")},
            RESTORE: {"path": str(holdings or "")},
            BREAKERS: {"path": "" if self.world == "backtest" else str(self.risk_folder(book_id) / "breakers.json")},
        }
        return replace(
            self,
            tree={**self.tree, "actors": [_placed(entry, places) for entry in self.tree["actors"]]},
            data_clients=[spec.filled(**known) for spec in self.data_clients],
            exec_clients=[spec.filled(**known) for spec in self.exec_clients],
        )

    def _external_clients(self) -> list[ClientSpec]:
        """Clients for venues that neither Nautilus nor the suite itself brings along."""
        return [spec for spec in self.exec_clients if not spec.factory.__module__.startswith(_BUILT_IN)]

    def journal_folder(self, book_id: str) -> Path:
        """Where the local log of a book is, run by run."""
        return self.data_dir / "journal" / book_id

    def inbox_folder(self, book_id: str) -> Path:
        """Where a node of the book finds halts while its database is away."""
        return self.data_dir / "inbox" / book_id

    def risk_folder(self, book_id: str) -> Path:
        """Where a book's risk controls keep what the next start of its node has to know."""
        return self.data_dir / "risk" / book_id

    @property
    def data_dir(self) -> Path:
        return Path(self.suite.data_dir).expanduser().absolute()

    @property
    def log_folder(self) -> Path:
        folder = self.suite.logging_ext.directory
        return Path(folder).expanduser().absolute() if folder else self.data_dir / "logs"


def load(path: str | Path, *, backtest: bool = False, environ: Mapping[str, str] | None = None) -> Config:
    """Read, fill in, check and expand a config, or raise ConfigError with all that is wrong with it."""
    source = Path(path)
    raw = read_document(source)
    raw.pop(_EDITOR_KEY, None)
    raw.setdefault("data_dir", Suite().data_dir)  # its default names a variable
    document, problems = take_renamed(raw)
    secrets = Secrets()
    variables = os.environ if environ is None else environ
    tree = _fill_in(document, backtest=backtest, environ=variables, secrets=secrets, problems=problems)
    problems += _shapes(tree)
    data_clients = client_specs(tree.get("data_clients", {}), "data_clients", problems)
    exec_clients = client_specs(tree.get("exec_clients", {}), "exec_clients", problems)
    problems += beside_problems(data_clients, exec_clients)
    for kind in KINDS:
        problems += component_problems(tree.get(kind.section, []), kind)
    problems += _rules(tree, secrets, backtest=backtest)
    if problems:
        masker = Masker(secrets.masked)  # a strategy may have put its key into what it raised
        masked = [Problem(problem.path, masker.text(problem.message)) for problem in problems]
        raise ConfigError(str(source), _in_file_order(masked, document))
    world: World = "backtest" if backtest else _WORLD_OF_ENVIRONMENT[tree.get("environment", "live")]
    if not backtest:
        tree.pop("backtest", None)  # its variables may be unset
    suite = decode({key: tree[key] for key in _suite_keys() if key in tree}, Suite)
    return Config(
        source=source,
        world=world,
        trader_id=tree["trader_id"],
        suite=suite,
        tree=expand(plain({key: value for key, value in tree.items() if key not in _suite_keys()}), suite, world),
        data_clients=data_clients,
        exec_clients=exec_clients,
        notes=_notes(tree, world, data_clients),
        secrets=secrets,
    )


def _placed(entry: dict[str, Any], places: dict[str, dict[str, Any]]) -> dict[str, Any]:
    place = places.get(entry["actor_path"])
    return entry if place is None else {**entry, "config": {**entry["config"], **place}}


def book_name_problem(name: str) -> Problem | None:
    if BOOK_NAME.fullmatch(name):
        return None
    return Problem("--book", f"{name!r} is no book name: letters, digits and . _ : - up to 128 characters")


def _suite_keys() -> tuple[str, ...]:
    return Suite.__struct_fields__


def _fill_in(
    document: dict[str, Any], *, backtest: bool, environ: Mapping[str, str], secrets: Secrets, problems: list[Problem]
) -> dict[str, Any]:
    skipped = _ONLY_WITHOUT_BACKTEST if backtest else _ONLY_WITH_BACKTEST

    def visit(at: str, text: str) -> str:
        unused = any(at == section or at.startswith((section + ".", section + "[")) for section in skipped)
        if unused:
            return Unresolved(text) if "${" in text else text
        return secrets.take(text, at, environ, problems)

    return walk(document, "", visit)


def _shapes(tree: dict[str, Any]) -> list[Problem]:
    suite_keys, nautilus_keys = list(_suite_keys()), list(TradingNodeConfig.__struct_fields__)
    problems = [
        unknown_key(key, suite_keys + nautilus_keys, "")
        for key in tree
        if key not in suite_keys and key not in nautilus_keys
    ]
    problems += shape_problems({key: tree[key] for key in suite_keys if key in tree}, Suite, "")
    problems += shape_problems({key: tree[key] for key in nautilus_keys if key in tree}, TradingNodeConfig, "")
    backtest = tree.get("backtest")
    if isinstance(backtest, dict):
        problems += _backtest_shapes(backtest)
    beside = [*_webhook_problems(tree.get("alerts")), *_redis_problems(tree.get("redis"))]
    return problems + _risk_problems(tree.get("risk", {})) + beside


def _redis_problems(section: Any) -> list[Problem]:
    """Without the address: what is not read as its password may be a part of it."""
    url = section.get("url") if isinstance(section, dict) else None
    if not isinstance(url, str) or isinstance(url, Unresolved) or is_stream_address(url):
        return []
    cure = 'write redis://USER:PASSWORD@HOST:PORT/0, rediss:// or unix:///PATH, or "embedded"; in a password %23 for #'
    return [Problem("redis.url", f"is no address: {cure}")]


def _webhook_problems(section: Any) -> list[Problem]:
    webhook = section.get("webhook") if isinstance(section, dict) else None
    if not isinstance(webhook, dict) or holds(webhook, Unresolved) or shape_problems(webhook, Webhook, ""):
        return []
    return [Problem(f"alerts.webhook.{key}", text) for key, text in webhook_problems(decode(webhook, Webhook))]


def _risk_problems(section: Any) -> list[Problem]:
    """What the rules of the gate say of the parts whose shape is right."""
    if not isinstance(section, dict):
        return []
    sound = {key: value for key, value in section.items() if _is_sound({key: value})}
    limits = section.get("limits")
    if isinstance(limits, dict):  # a scope's name is looked at whatever is in it
        sound["limits"] = {
            scope: each if _is_sound({"limits": {scope: each}}) else {} for scope, each in limits.items()
        }
    return [Problem(join("risk", at), text) for at, text in locate(RISK_RULES)(decode(sound, Risk))]


def _is_sound(part: dict[str, Any]) -> bool:
    return not holds(part, Unresolved) and not shape_problems(part, Risk, "")


def _backtest_shapes(backtest: dict[str, Any]) -> list[Problem]:
    venues, data = backtest.get("venues", []), backtest.get("data", [])
    problems = shape_problems(venues, list[BacktestVenueConfig], "backtest.venues")
    problems += shape_problems(data, list[BacktestDataConfig], "backtest.data")
    problems += importable_problems(backtest, "backtest")
    moments = {f"backtest.{key}": _time_fault(backtest.get(key)) for key in ("start", "end")}
    problems += [Problem(at, fault) for at, fault in moments.items() if fault]
    synthetic = backtest.get("synthetic")
    if isinstance(synthetic, dict) and not shape_problems(synthetic, Synthetic, ""):
        problems += _synthetic_problems(synthetic)
    for index, venue in enumerate(venues if isinstance(venues, list) else []):
        fault = identifier_fault("VenueName", venue.get("name", "?")) if isinstance(venue, dict) else None
        if fault:
            problems.append(Problem(f"backtest.venues[{index}].name", fault))
    return problems


def _synthetic_problems(synthetic: dict[str, Any]) -> list[Problem]:
    at = "backtest.synthetic"
    given = {key: synthetic[key] for key in ("seed", "interval_ms", "listings") if synthetic.get(key) is not None}
    problems = shape_problems(given, locate(MARKET_CONFIG), at)
    if fault := _time_fault(synthetic.get("start")):
        problems.append(Problem(f"{at}.start", fault))
    if not problems and not holds(synthetic, Unresolved):
        settings = decode(synthetic, Synthetic)
        per_step = len(decode(given, locate(MARKET_CONFIG)).to_market().listings)
        quotes = settings.minutes * 60_000 // settings.interval_ms * per_step
        if not 1 <= quotes <= SYNTHETIC_QUOTES_MAX:
            size = f"make {quotes:,} quotes; 1 to {SYNTHETIC_QUOTES_MAX:,} can be made: change minutes or interval_ms"
            problems.append(Problem(f"{at}.minutes", f"{settings.minutes} minutes of {per_step} instruments {size}"))
    return problems


def _time_fault(text: Any) -> str | None:
    if not isinstance(text, str) or isinstance(text, Unresolved):
        return None
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return f"{text!r} is no time: write ISO 8601, for instance 2026-01-05T00:00:00Z"
    return None


def _rules(tree: dict[str, Any], secrets: Secrets, *, backtest: bool) -> list[Problem]:
    """What no single field can tell."""
    problems: list[Problem] = []
    if "trader_id" not in tree:
        problems.append(Problem("trader_id", 'is missing: it names your book, like "TRADER-001"'))
    if tree.get("environment", "live") == "backtest":
        problems.append(Problem("environment", 'say "live" or "sandbox", and run with --backtest for a backtest'))
    if backtest and not isinstance(tree.get("backtest"), dict):
        problems.append(Problem("backtest", "is missing: --backtest needs its venues and data"))
    elif backtest and not tree["backtest"].get("data") and tree["backtest"].get("synthetic") is None:
        cure = 'has no data: give "data" entries, or "synthetic": {} for a made-up market'
        problems.append(Problem("backtest", cure))
    for engine in ("data_engine", "risk_engine", "exec_engine"):
        section = tree.get(engine)
        if isinstance(section, dict) and section.get("graceful_shutdown_on_exception") is False:
            cure = "must stay true: without it an exception ends the process at once, with no line in the log"
            problems.append(Problem(join(engine, "graceful_shutdown_on_exception"), cure))
    if isinstance(folder := tree.get("data_dir"), str) and (fault := _folder_fault(folder)):
        problems.append(Problem("data_dir", fault))
    if tree.get("environment", "live") == "live" and not backtest:
        problems += _unlimited(tree.get("risk", {}))
    problems += _without_tables(tree)
    problems += _stop_time(tree)
    problems += _order_id_tags(tree.get("strategies"))
    if tree.get("streaming"):
        problems += _streaming(tree, secrets, backtest=backtest)
    return problems


def _without_tables(tree: dict[str, Any]) -> list[Problem]:
    """Breakers that look at the journal, in a file that keeps none."""
    risk, persistence = tree.get("risk"), tree.get("persistence")
    if not isinstance(persistence, dict) or persistence.get("enabled") is not False or not isinstance(risk, dict):
        return []
    rules = risk.get("breakers")
    kinds = [
        rule.get("kind") if isinstance(rule, dict) else None for rule in (rules if isinstance(rules, list) else [])
    ]
    cure = "looks at the tables, and persistence.enabled is false: leave out one of the two"
    return [
        Problem(f"risk.breakers[{number}].kind", f"{kind} {cure}")
        for number, kind in enumerate(kinds)
        if kind in (*VENUE_CHECKED, "shipper_lag")
    ]


def _unlimited(risk: Any) -> list[Problem]:
    """Real money takes a decision about its limits."""
    if not isinstance(risk, dict):
        return []
    problems: list[Problem] = []
    switch = {"enabled": risk.get("enabled", True)}  # a variable may say it
    if _is_sound(switch) and not decode(switch, Risk).enabled:
        cure = "a live node does not start without the gate: leave it out, and say in limits what is limited"
        problems.append(Problem("risk.enabled", cure))
    if risk.get("preset") is None:
        cure = 'is missing: a live file says which limits it begins with; write "risk": {"preset": "strict", …}'
        problems.append(Problem("risk.preset", cure))
    return problems


def _order_id_tags(strategies: Any) -> list[Problem]:
    """Nautilus numbers a strategy without a tag by its place, and refuses the same tag twice, whatever the classes."""
    problems: list[Problem] = []
    taken: dict[str, int] = {}
    for index, entry in enumerate(strategies if isinstance(strategies, list) else []):
        config = entry.get("config") if isinstance(entry, dict) else None
        tag = (config.get("order_id_tag") if isinstance(config, dict) else None) or f"{index:03d}"
        if not isinstance(tag, str):
            continue  # its shape is a problem of its own
        if tag in taken:
            cure = f"{tag!r} is the tag of strategies[{taken[tag]}] already: give each strategy a tag of its own"
            problems.append(Problem(f"strategies[{index}].config.order_id_tag", cure))
        taken.setdefault(tag, index)
    return problems


def _streaming(tree: dict[str, Any], secrets: Secrets, *, backtest: bool) -> list[Problem]:
    problems: list[Problem] = []
    if secrets.in_tree:
        cure = f"would write {', '.join(secrets.in_tree)} to its files in clear: leave streaming out, or the secret"
        problems.append(Problem("streaming", cure))
    engine = tree.get("exec_engine")
    reconciles = engine.get("reconciliation", True) if isinstance(engine, dict) else True
    if reconciles and not backtest:
        cure = "fails on reconciliation's reports (Nautilus 1.231) and the node would not start: leave streaming out"
        problems.append(Problem("streaming", cure))
    return problems


def _folder_fault(folder: str) -> str | None:
    if not folder.strip() or "\x00" in folder or "\n" in folder:
        return f"{folder!r} is no folder"
    try:
        Path(folder).expanduser()
    except RuntimeError as error:
        return f"{folder!r}: {error}"
    return None


def _stop_time(tree: dict[str, Any]) -> list[Problem]:
    keys = ("timeout_post_stop", "timeout_disconnection", "timeout_shutdown")
    values = [Decimal(tree[key]) for key in keys if isinstance(tree.get(key), int | float)]  # of any size
    limit_s = MAX_STOP_S - OWN_STOP_S
    if sum(values) <= limit_s:
        return []
    message = f"{' + '.join(keys)} make {sum(values):.6g} s, but a stop may take {limit_s:g} s: lower them"
    return [Problem(keys[0], message)]


def _notes(tree: dict[str, Any], world: World, data_clients: list[ClientSpec]) -> list[Problem]:
    """Worth a second look, but no error."""
    engine = tree.get("exec_engine") if isinstance(tree.get("exec_engine"), dict) else {}
    notes: list[Problem] = []
    if world != "backtest" and not (tree.get("data_clients") and tree.get("exec_clients")):
        notes.append(Problem("data_clients", "without a data client and an execution client nothing will trade"))
    if world != "backtest":
        notes += speed_notes(tree, data_clients)
    if world != "live" or engine is None:
        return notes
    if engine.get("open_check_open_only", True):
        risk = "an order that vanished at the venue is never resolved; live needs false"
        notes.append(Problem("exec_engine.open_check_open_only", risk))
    if not engine.get("purge_closed_orders_interval_mins"):
        risk = "is off: a long run keeps every closed order in memory"
        notes.append(Problem("exec_engine.purge_closed_orders_interval_mins", risk))
    return notes


def _in_file_order(problems: list[Problem], document: dict[str, Any]) -> list[Problem]:
    """As the operator reads the file: by top-level key, otherwise in the order in which they were found."""
    order = {key: index for index, key in enumerate(document)}
    unique = list(dict.fromkeys(problems))
    return sorted(unique, key=lambda problem: order.get(re.split(r"[.\[]", problem.path)[0], -1))
