"""What Nautilus itself does differently in a backtest and in a live node, named where a config makes use of it.

Each line is shown to be real by a test (tests/integration/test_world_differences.py).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from nautilus_trader.adapters.sandbox.config import SandboxExecutionClientConfig
from nautilus_trader.backtest.config import BacktestVenueConfig

from nautilus_ext.config.code_names import NOT_SEEN, names_in, texts_in
from nautilus_ext.config.components import KINDS
from nautilus_ext.config.env import join
from nautilus_ext.config.locate import Unlocatable, locate
from nautilus_ext.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from nautilus_ext.config.components import ClientSpec
    from nautilus_ext.config.suite import Backtest

INTERNAL_BARS = re.compile(r"\S+-[A-Z_]+-[A-Z]+-INTERNAL\S*")
TIME_BARS = re.compile(r"\S+-(?:MILLISECOND|SECOND|MINUTE|HOUR|DAY|WEEK|MONTH|YEAR)-[A-Z]+-INTERNAL\S*")
TIMERS = frozenset(("set_timer", "set_timer_ns", "set_time_alert", "set_time_alert_ns"))
CLOCK = frozenset(("timestamp", "timestamp_ms", "timestamp_us", "timestamp_ns", "utc_now", "local_now"))
EXPIRY = frozenset(("GTD", "expire_time"))
CANCELS = frozenset(("cancel_order", "cancel_orders"))


@dataclass(frozen=True)
class Use:
    """What one component of the file makes use of, as far as that can be seen."""

    at: str
    timers: tuple[str, ...]  # why it depends on timers
    reads_clock: bool
    expires: bool
    cancels: bool
    bars: tuple[str, ...]  # that the node makes itself


def uses(tree: dict[str, Any]) -> list[Use]:
    """Every actor, strategy and algorithm of the file that can be found."""
    found: list[Use] = []
    for kind in KINDS:
        entries = tree.get(kind.section)
        for index, entry in enumerate(entries if isinstance(entries, list) else []):
            at = f"{kind.section}[{index}]"
            try:
                component = locate(entry[kind.path_key])
            except (Unlocatable, KeyError, TypeError):
                continue  # a problem of its own
            found.append(_use(at, component, entry.get("config")))
    return found


def _use(at: str, component: Any, config: Any) -> Use:
    names, texts = names_in(component), list(texts_in(config))
    time_bars = [text for text in texts if TIME_BARS.fullmatch(text)]
    return Use(
        at=f"{at} ({component.__name__})",
        timers=(*sorted(names & TIMERS), *time_bars),
        reads_clock=bool(names & CLOCK),
        expires=bool(names & EXPIRY) or "GTD" in texts,
        cancels=bool(names & CANCELS),
        bars=tuple(text for text in texts if INTERNAL_BARS.fullmatch(text)),
    )


def speed_notes(tree: dict[str, Any], data: list[ClientSpec]) -> list[Problem]:
    """A data client that has a speed plays faster, or slower, than the clock of the node runs."""
    notes: list[Problem] = []
    for spec in data:
        speed = spec.decode(spec.config).speed if "speed" in spec.config_class.__struct_fields__ else 1
        if speed != 1:
            at = f"data_clients.{spec.name}.config.speed"
            notes += [Problem(at, text) for text in _unscaled(uses(tree), speed)]
    return notes


def _unscaled(found: list[Use], speed: float) -> Iterator[str]:
    timed = [f"{use.at}: {', '.join(use.timers)}" for use in found if use.timers]
    clocked = [use.at for use in found if use.reads_clock or use.expires]
    rate = f"a second of the node is {speed:g} s of the data"
    seen = "; ".join(timed) if timed else "none seen"
    yield f"Nautilus's timers, bars of time and order rate limits run at 1x ({rate}). With timers: {seen} ({NOT_SEEN})"
    if clocked:
        yield f"its clock and order expiry too ({rate}): {', '.join(clocked)}"


def differences(
    tree: dict[str, Any], backtest: Backtest, clients: list[ClientSpec], data: list[ClientSpec]
) -> list[Problem]:
    """The lines of the parity report about Nautilus itself, and about sandboxes that are not set up alike."""
    sandboxes = [spec for spec in clients if issubclass(spec.config_class, SandboxExecutionClientConfig)]
    return [*_of_components(tree), *_of_venues(backtest, sandboxes), *_of_data(backtest, sandboxes, data)]


def _of_components(tree: dict[str, Any]) -> Iterator[Problem]:
    for use in uses(tree):
        if use.timers:
            late = "live a moment late and between other data, in a backtest at its very nanosecond"
            yield Problem(use.at, f"a timer ({', '.join(use.timers)}) fires {late} ({NOT_SEEN})")
        if use.reads_clock:
            yield Problem(use.at, "reads the clock: in a backtest it stands still at the datum, live it runs on")
        if use.expires:
            yield Problem(use.at, "GTD counts from the clock: live it is a moment later, maybe one datum more")
        if use.cancels:
            queue = "live the order still waits for the risk engine: the cancel is rejected and the order stays"
            yield Problem(use.at, f"a cancel in the same callback as its order works in a backtest; {queue}")
        if use.bars:
            order = "in a backtest before the tick that closes it reaches the strategies, live after it"
            yield Problem(use.at, f"a bar that the node makes ({', '.join(use.bars)}) comes {order}")


def _of_venues(backtest: Backtest, sandboxes: list[ClientSpec]) -> Iterator[Problem]:
    by_venue = {str(spec.config.get("venue")): spec for spec in sandboxes}
    unlike: dict[tuple[str, str, str], dict[str, str]] = {}  # by setting and text: the venues' places, their clients
    for index, venue in enumerate(backtest.venues):
        if (spec := by_venue.get(str(venue.get("name")))) is not None:
            for text in _unlike(venue, spec):
                unlike.setdefault(text, {})[str(index)] = spec.name
    for (name, before, after), clients in unlike.items():
        at = f"backtest.venues[{', '.join(clients)}]"
        yield Problem(join(at, name), f"{before}exec_clients.{together(clients.values())}{after}")
    if len(backtest.venues) > 1:
        order = "live in the order in which they were sent"
        yield Problem("backtest.venues", f"orders of one moment are worked off venue by venue in a backtest, {order}")


def together(names: Iterable[str]) -> str:
    """One name as it is, several as {A, B}."""
    found = list(names)
    return found[0] if len(found) == 1 else f"{{{', '.join(found)}}}"


def _unlike(venue: dict[str, Any], spec: ClientSpec) -> Iterator[tuple[str, str, str]]:
    """Settings that only the backtest knows, and settings that have another value there, given or by default.

    With what there is to say before the client's name and behind it.
    """
    here = {field.name: field for field in msgspec.structs.fields(BacktestVenueConfig)}
    there = {field.name: field for field in msgspec.structs.fields(spec.config_class)}
    for name, field in here.items():
        value = venue.get(name, field.default)
        if name not in there and name in venue and name != "name":
            yield name, "only in a backtest: ", " has no such setting"
        elif name in there and name != "routing":
            other = spec.config.get(name, there[name].default)
            if _plain(value) != _plain(other):
                yield name, f"is {value!r}, but ", f".config.{name} is {other!r}"


def _plain(value: Any) -> Any:
    """10, 10.0 and "10" say the same in a config."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return value


def _of_data(backtest: Backtest, sandboxes: list[ClientSpec], data: list[ClientSpec]) -> Iterator[Problem]:
    replays = [spec for spec in data if "catalog_path" in spec.config_class.__struct_fields__]
    read = {_folder(entry.get("catalog_path")) for entry in backtest.data}
    for spec in replays:
        path = spec.config.get("catalog_path")
        if _folder(path) not in read:
            yield Problem("backtest.data", f"is other data than data_clients.{spec.name} plays, {path}")
    faults: dict[str, list[str]] = {}
    for spec in [] if replays else sandboxes:
        faults.setdefault(_bracket_fault(spec), []).append(spec.name)
    late = "without a catalog replay the sandbox hears of a quote with the strategies, and its fills come after it"
    for fault, names in faults.items():
        yield Problem(f"exec_clients.{together(names)}", f"{late}; {fault}")


def _folder(path: Any) -> Path:
    return Path(str(path)).expanduser().absolute()


def _bracket_fault(spec: ClientSpec) -> str:
    if spec.config.get("use_reduce_only", True):
        return "it rejects the exits of a bracket, as use_reduce_only looks at a position that is not there yet"
    return "the other leg of a bracket stays open when one is filled"
