"""The page of the mutants: what `make mutation` found, and why a survivor may live."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "risk-mutants.md"
RULES = ROOT / "nautilus_ext" / "risk"
KILLED_SHARE_MIN = 0.9
MODULES = (
    "alerts",
    "breakers",
    "commands",
    "compiling",
    "controls",
    "decisions",
    "halts",
    "judge",
    "ledger",
    "limits",
    "needs",
    "nets",
    "past",
    "resting",
    "results",
    "standing",
    "steps",
    "verdicts",
    "watches",
    "windows",
)
ROW = re.compile(r"^\| (?P<module>\w+) \| (?P<name>.+?) \| (?P<reason>.*?) \|$")
COUNT = re.compile(r"^\| (?P<module>\w+) \| (?P<digest>[0-9a-f]{16}) \| (?P<made>\d+) \| (?P<killed>\d+) \|$")


class Result(NamedTuple):
    module: str
    digest: str
    made: int
    killed: int


class Page(NamedTuple):
    """What the page says: counts by module, and the reason of each survivor by module and name."""

    results: dict[str, Result]
    reasons: dict[tuple[str, str], str]


def read_page() -> Page:
    results, reasons = {}, {}
    for line in PAGE.read_text().splitlines() if PAGE.exists() else ():
        if found := COUNT.match(line):
            results[found["module"]] = Result(
                found["module"], found["digest"], int(found["made"]), int(found["killed"])
            )
        elif (found := ROW.match(line)) and found["module"] in MODULES:
            reasons[found["module"], found["name"]] = found["reason"]
    return Page(results, reasons)


def written(results: dict[str, Result], reasons: dict[tuple[str, str], str]) -> str:
    made, killed = (sum(each[index] for each in results.values()) for index in (2, 3))
    lines = [
        "# Mutants of the risk rules",
        "",
        "`make mutation` makes each small mistake in a rule, one at a time: a comparison, a number, a sign,",
        "a condition, a return value, a statement that is missing. A test must fail for each. It writes this page; a",
        "reason is written by hand, and kept. `make test` fails when a module has changed since, or when a survivor",
        "has no reason.",
        "",
        f"{killed} of {made} are killed ({100 * killed / made:.1f} %).",
        "",
        "| Module | Digest of its code | Mutants | Killed |",
        "|---|---|---|---|",
        *(f"| {each.module} | {each.digest} | {each.made} | {each.killed} |" for _, each in sorted(results.items())),
        "",
        "## Survivors",
        "",
        "| Module | Mutant | Why it may live |",
        "|---|---|---|",
        *(
            f"| {module} | {name} | {reason} |"
            for (module, name), reason in sorted(reasons.items(), key=lambda each: each[0][0])
        ),
    ]
    return "\n".join(lines) + "\n"
