"""Strategies, actors, algorithms and venue clients: the paths of a config resolved and their configs checked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import msgspec
from nautilus_trader.common.actor import Actor
from nautilus_trader.common.config import ActorConfig, NautilusConfig, msgspec_encoding_hook
from nautilus_trader.execution.algorithm import ExecAlgorithm
from nautilus_trader.execution.config import ExecAlgorithmConfig
from nautilus_trader.live.config import LiveDataClientConfig, LiveExecClientConfig
from nautilus_trader.live.factories import LiveDataClientFactory, LiveExecClientFactory
from nautilus_trader.trading.config import StrategyConfig
from nautilus_trader.trading.strategy import Strategy

from nautilus_ext.config.env import FromEnv, Unresolved, holds, join
from nautilus_ext.config.identifiers import client_name_fault
from nautilus_ext.config.locate import Unlocatable, locate
from nautilus_ext.config.shape import decode, shape_problems, unknown_key
from nautilus_ext.errors import Problem


@dataclass(frozen=True)
class Kind:
    section: str
    path_key: str
    component: type
    config: type


KINDS = (
    Kind("actors", "actor_path", Actor, ActorConfig),
    Kind("strategies", "strategy_path", Strategy, StrategyConfig),
    Kind("exec_algorithms", "exec_algorithm_path", ExecAlgorithm, ExecAlgorithmConfig),
)


@dataclass(frozen=True)
class ClientSpec:
    """One venue client: its classes, and its config as plain data in which secrets are placeholders."""

    name: str
    config_class: type[NautilusConfig]
    factory: type
    config: dict[str, Any]

    def decode(self, config: dict[str, Any]) -> Any:
        return decode(config, self.config_class)

    def filled(self, **known: str) -> ClientSpec:
        """With what the run knows, where the config class has a field of that name and the file leaves it out."""
        fields = self.config_class.__struct_fields__
        missing = {name: value for name, value in known.items() if name in fields and not self.config.get(name)}
        return replace(self, config={**self.config, **missing})


def component_problems(entries: Any, kind: Kind) -> list[Problem]:
    """Check each entry of `actors`, `strategies` or `exec_algorithms` as far as building it once, outside any node."""
    problems: list[Problem] = []
    if not isinstance(entries, list):
        return problems
    for index, entry in enumerate(entries):
        at = f"{kind.section}[{index}]"
        if isinstance(entry, dict):
            problems += _component(entry, kind, at)
    return problems


def _component(entry: dict[str, Any], kind: Kind, at: str) -> list[Problem]:
    problems: list[Problem] = []
    component = _resolve(entry.get(kind.path_key), kind.component, join(at, kind.path_key), problems)
    config_class = _resolve(entry.get("config_path"), kind.config, join(at, "config_path"), problems)
    config = entry.get("config", {})
    if config_class is not None and isinstance(config, dict):
        problems += shape_problems(config, config_class, join(at, "config"))
    if problems or component is None or config_class is None or holds(config, Unresolved):
        return problems
    try:
        settings = decode(config, config_class)
        component(config=settings)
    except Exception as error:  # noqa: BLE001 - a user's constructor may raise anything; the operator gets one line
        return [Problem(join(at, "config"), f"{component.__name__} refuses it: {error}")]
    if holds(config, FromEnv):
        # Nautilus decodes strictly: "5" from the environment must have become 5 by then.
        entry["config"] = msgspec.to_builtins(settings, enc_hook=msgspec_encoding_hook)
    return []


def client_specs(entries: Any, section: str, problems: list[Problem]) -> list[ClientSpec]:
    """Check `data_clients` or `exec_clients` and return what is needed to build them."""
    if not isinstance(entries, dict):
        return []
    _clashes(entries, section, problems)
    kinds = {
        "data_clients": (LiveDataClientConfig, LiveDataClientFactory),
        "exec_clients": (LiveExecClientConfig, LiveExecClientFactory),
    }
    specs = (_client(name, entry, section, kinds[section], problems) for name, entry in entries.items())
    found = [spec for spec in specs if spec is not None]
    problems += _doubled_venues(found, section)
    return found


def _doubled_venues(specs: list[ClientSpec], section: str) -> list[Problem]:
    """A second account needs a name of its own at the venue, which Nautilus's sandbox does not have."""
    first: dict[str, str] = {}
    problems: list[Problem] = []
    for spec in specs:
        if spec.factory.__name__ != "SandboxLiveExecClientFactory":
            continue
        venue = str(spec.config.get("venue"))
        if venue in first:
            cure = f"the venue {venue} has the client {first[venue]!r} already: a sandbox has one account per venue"
            problems.append(Problem(f"{section}.{spec.name}.config.venue", cure))
        first.setdefault(venue, spec.name)
    return problems


def _clashes(entries: dict[str, Any], section: str, problems: list[Problem]) -> None:
    seen: dict[str, str] = {}
    for name in entries:
        short = name.partition("-")[0]
        if short in seen:
            cure = f'Nautilus cuts client names at "-", so it clashes with {seen[short]!r}: use underscores'
            problems.append(Problem(join(section, name), cure))
        elif fault := client_name_fault(name):
            problems.append(Problem(join(section, name), fault))
        seen.setdefault(short, name)


def _client(
    name: str, entry: Any, section: str, kinds: tuple[type, type], problems: list[Problem]
) -> ClientSpec | None:
    at = join(section, name)
    if not isinstance(entry, dict):
        problems.append(Problem(at, 'expected an object: {"path": …, "factory": {"path": …}, "config": {…}}'))
        return None
    known = ["path", "factory", "config"]
    problems += [unknown_key(key, known, at) for key in entry if key not in known]
    factory_entry = entry.get("factory")
    factory_path = factory_entry.get("path") if isinstance(factory_entry, dict) else None
    config_class = _resolve(entry.get("path"), kinds[0], join(at, "path"), problems)
    factory = _resolve(factory_path, kinds[1], join(at, "factory.path"), problems)
    config = entry.get("config", {})
    if config_class is None or factory is None:
        return None
    problems += shape_problems(config, config_class, join(at, "config"))
    if not isinstance(config, dict):
        config = {}  # a whole config from a variable of the other world
    return ClientSpec(name=name, config_class=config_class, factory=factory, config=config)


def _resolve(path: Any, kind: type, at: str, problems: list[Problem]) -> Any:
    if path is None:
        problems.append(Problem(at, f"is missing: write the path of a {kind.__name__} as package.module:ClassName"))
        return None
    if isinstance(path, Unresolved):
        return None
    try:
        return locate(path, kind=kind)
    except Unlocatable as error:
        problems.append(Problem(at, str(error)))
        return None


def importable_problems(value: Any, at: str) -> list[Problem]:
    """Resolve the paths inside a section of Nautilus's own, such as a fill model of a backtest venue."""
    problems: list[Problem] = []
    if isinstance(value, list):
        return [problem for index, item in enumerate(value) for problem in importable_problems(item, f"{at}[{index}]")]
    if not isinstance(value, dict):
        return problems
    for key, item in value.items():
        if isinstance(item, str) and (key.endswith("_path") or key == "data_cls") and ":" in item:
            _resolve(item, object, join(at, key), problems)
        problems += importable_problems(item, join(at, key))
    return problems
