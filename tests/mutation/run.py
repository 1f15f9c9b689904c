"""Does a test notice each small mistake in the rules of the risk gate? Writes docs/risk-mutants.md.

Each mutant runs in a fork of a process that has loaded everything but the rules and their tests. Only modules that have
changed since the page was written are run again; with ALL=1 all of them, with AGAIN=1 the survivors of the others as
well, after tests were added. Reasons on the page are kept.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import itertools
import os
import resource
import sys
import time
from importlib.abc import Loader, MetaPathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any

import _pytest.mark.structures
import msgspec  # noqa: F401 - loaded once, for all forks
import pytest
from hypothesis import HealthCheck, Phase, settings
from mutants import Mutant, digest, mutants
from mutants_page import KILLED_SHARE_MIN, MODULES, PAGE, RULES, Result, read_page, written

import nautilus_ext.config.risk
import nautilus_ext.messages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from importlib.machinery import ModuleSpec
    from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests" / "unit" / "risk"
FIRST = (
    "test_small_rules",
    "test_adopt",
    "test_small_memory",
    "test_order_rows",
    "test_reach_rows",
    "test_flow_rows",
    "test_past_rows",
    "test_risk_adversary_rules",
)
THEN = ("test_meeting_rows", "test_permission_rows", "test_rulebook", "test_random_orders")
OWN = {  # of what operators and breakers do: no judge is asked for it, so these alone have to notice
    "alerts": ("test_alert_rules",),
    "breakers": ("test_breaker_rules", "test_breakers"),
    "commands": ("test_commands", "test_standing"),
    "halts": ("test_halts", "test_standing"),
    "results": ("test_results",),
    "standing": ("test_standing",),
    "watches": ("test_breakers",),
}
SEED, ROUNDS = "7", "15"  # of the random orders: a mutant must not live by luck
CPU_S_MAX = 60
MEMORY_MAX = 4 << 30
SURVIVED, KILLED = 0, 1
JOBS = int(os.environ.get("JOBS", "2"))


# -- in a fork --------------------------------------------------------------------------------------------


class Swapped(MetaPathFinder, Loader):
    """Loads the mutant in the place of its module."""

    def __init__(self, mutant: Mutant) -> None:
        self._mutant = mutant

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:  # noqa: ARG002 - as asked
        if fullname != f"nautilus_ext.risk.{self._mutant.module}":
            return None
        return importlib.util.spec_from_loader(fullname, self)

    def exec_module(self, module: ModuleType) -> None:
        module.__dict__["_same"] = lambda value: value
        exec(compile(self._mutant.tree, self._mutant.module, "exec"), module.__dict__)


def is_killed(mutant: Mutant) -> bool:
    """The first test that fails, whatever way, kills it."""
    if mutant.module:
        sys.meta_path.insert(0, Swapped(mutant))
    try:
        for name in tests_of(mutant.module):
            for test in _tests(importlib.import_module(name)):
                test()
    except BaseException:  # a mutant may raise anything
        if not mutant.module:
            raise
        return True
    return False


def tests_of(module: str) -> tuple[str, ...]:
    """Of no module: all there are."""
    everything = dict.fromkeys((*FIRST, *THEN, *itertools.chain(*OWN.values())))
    return OWN.get(module, (*FIRST, *THEN)) if module else tuple(everything)


def _tests(module: ModuleType) -> Iterator[Callable[[], Any]]:
    """As pytest would call them; those that want another fixture than `monkeypatch` are left out."""
    for name, function in list(vars(module).items()):
        if not name.startswith("test_"):
            continue
        marks = [each for each in getattr(function, "pytestmark", ()) if each.name == "parametrize"]
        tables = [_rows(each) for each in marks]
        code = function.__code__
        wanted = set(code.co_varnames[: code.co_argcount + code.co_kwonlyargcount])
        for rows in itertools.product(*tables):
            arguments = {key: value for row in rows for key, value in row.items()}
            if wanted - {"monkeypatch"} == set(arguments):
                with pytest.MonkeyPatch.context() as patch:
                    given = arguments | dict.fromkeys(wanted - set(arguments), patch)
                    yield lambda function=function, given=given: function(**given)


def _rows(mark: Any) -> list[dict[str, Any]]:
    names, values = mark.args[0], mark.args[1]
    names = [each.strip() for each in names.split(",")] if isinstance(names, str) else list(names)
    rows = []
    for each in values:
        if isinstance(each, _pytest.mark.structures.ParameterSet):
            rows.append(dict(zip(names, each.values, strict=True)))
        else:
            rows.append(dict(zip(names, each if len(names) > 1 else (each,), strict=True)))
    return rows


def fork(mutant: Mutant) -> int:
    child = os.fork()
    if child:
        return child
    code = KILLED
    try:
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_S_MAX, CPU_S_MAX))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MAX, MEMORY_MAX))
        with open(os.devnull, "w") as nothing:  # noqa: PTH123 - no path
            sys.stdout = nothing
            if mutant.module:
                sys.stderr = nothing
            code = KILLED if is_killed(mutant) else SURVIVED
    finally:
        os._exit(code)


# -- the run ----------------------------------------------------------------------------------------------


def survivors(found: list[Mutant]) -> list[Mutant]:
    """JOBS at a time."""
    left, running, alive = list(reversed(found)), {}, []
    while left or running:
        while left and len(running) < JOBS:
            mutant = left.pop()
            running[fork(mutant)] = mutant
        child, status = os.wait()
        mutant = running.pop(child)
        if status == SURVIVED:
            alive.append(mutant)
            print(f"  lives: {mutant.module}:{mutant.line} {mutant.name}", flush=True)
    return sorted(alive, key=lambda each: (each.line, each.name))


def main() -> int:
    os.environ |= {"SEED": SEED, "ROUNDS": ROUNDS}
    phases = (Phase.explicit, Phase.generate)  # without a search for the smallest example
    unhurried = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}  # a busy machine kills no mutant
    settings.register_profile("mutants", derandomize=True, database=None, phases=phases, **unhurried)
    settings.load_profile("mutants")
    sys.path[:0] = [str(TESTS), str(ROOT)]
    assert nautilus_ext.config.risk, "loaded before any fork"
    page = read_page()
    if survivors([Mutant("", "none", 0, ast.Module([], []))]) == []:
        print("the tests fail without any mutant: run them first")
        return 1
    results, reasons = dict(page.results), dict(page.reasons)
    for module in MODULES:
        path, known = RULES / f"{module}.py", page.results.get(module)
        found = list(mutants(path))
        is_stale = known is None or known.digest != digest(path) or bool(os.environ.get("ALL"))
        if not is_stale and not os.environ.get("AGAIN"):
            continue
        started = time.monotonic()
        asked = found if is_stale else [each for each in found if (module, each.name) in page.reasons]
        alive = survivors(asked)
        print(f"{module}: {len(alive)} of {len(asked)} live, {time.monotonic() - started:.0f} s", flush=True)
        results[module] = Result(module, digest(path), len(found), len(found) - len(alive))
        reasons = {key: reason for key, reason in reasons.items() if key[0] != module}
        reasons |= {(module, each.name): page.reasons.get((module, each.name), "") for each in alive}
        PAGE.write_text(written(results, reasons))
    share = sum(each.killed for each in results.values()) / sum(each.made for each in results.values())
    unexplained = [key for key, reason in reasons.items() if not reason]
    print(f"{100 * share:.1f} % killed, {len(unexplained)} survivors without a reason")
    return 0 if share >= KILLED_SHARE_MIN and not unexplained else 1


if __name__ == "__main__":
    sys.exit(main())
