"""The guide of the limits says what the code does."""

import json
import re
import typing
from pathlib import Path

import pytest

from nautilus_ext.config.load import load
from nautilus_ext.config.risk import Liftable, Limits, Risk
from nautilus_ext.risk.limits import Rulebook
from nautilus_ext.risk.presets import PRESETS

ROOT = Path(__file__).resolve().parents[3]
GUIDE = (ROOT / "docs" / "guides" / "risk-limits.md").read_text()
EXAMPLES = re.findall(r"```json\n(.*?)```", GUIDE, re.DOTALL)
REFUSALS = re.search(r"\| Code \|.*?\n\n", GUIDE, re.DOTALL)
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in REFUSALS[0].strip().splitlines()[2:]]
CODES = {code: row[3] for row in ROWS for code in re.findall(r"`([A-Z_]+)`", row[0])}


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_every_example_is_a_section_that_a_file_may_have(example, tmp_path):
    """Copied into a file it loads, and a live file may have it."""
    document = {"environment": "live", "trader_id": "T-1", **json.loads(f"{{{example}}}")}
    path = tmp_path / "config.json"
    path.write_text(json.dumps(document))
    assert load(path, environ={}).suite.risk.preset == "strict"


def test_every_code_of_a_refusal_has_its_row():
    """A new refusal is explained, and none is explained that nobody meets."""
    source = "".join(path.read_text() for path in (ROOT / "nautilus_ext" / "risk").glob("*.py"))
    used = set(re.findall(r"\bcode ?= ?\"?([A-Z_]{4,})\b", source))  # a constant has the name of what it says
    assert used > {"MAX_POSITION", "NO_LIMIT"}
    assert used == set(CODES)


def test_the_guide_says_which_codes_an_override_may_lift():
    """The same that the section takes."""
    assert set(typing.get_args(Liftable)) == {code for code, answer in CODES.items() if answer.startswith("yes")}


def test_the_guide_names_every_limit():
    """In its table, or in the text below it."""
    assert [] == [key for key in Limits.__struct_fields__ if f"`{key}`" not in GUIDE]
    assert [] == [key for key in Risk.__struct_fields__ if key not in GUIDE]


def told_of_presets():
    """By row and preset."""
    table = re.search(r"\| \| `strict`.*?\n\n", GUIDE, re.DOTALL)[0].strip().splitlines()
    head, _, *rows = ([cell.strip(" `") for cell in line.strip("|").split("|")] for line in table)
    return {(row[0], name): cell for row in rows for name, cell in zip(head[1:], row[1:], strict=True)}


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_the_guide_says_what_a_preset_holds(name):
    """Cell by cell."""
    told = {row: cell for (row, preset), cell in told_of_presets().items() if preset == name}
    book, limits = Rulebook(Risk(preset=name)), PRESETS[name].limits.get("global", Limits())
    windows = [f"{each.max} in {each.window_s:g} s" for each in limits.messages or ()]
    age_s = book.price_age_ns_max // 10**9
    age = "a day" if age_s == 86_400 else f"{age_s} s"
    every = {1: "each", 100: "every 100th", 1_000: "every 1,000th"}[book.approvals_recorded_every]
    assert {
        "an instrument without a size and `max_position": "refused" if book.needs_limits else "allowed",
        "price_collar_bps": number(limits.price_collar_bps),
        "messages": " and ".join(windows),
        "duplicate_window_ms": number(limits.duplicate_window_ms),
        "self_match": limits.self_match or "",
        "check_balance": "yes" if limits.check_balance else "",
        "reference price": f"{book.reference}, at most {age} old",
        "approvals recorded (`approvals_recorded_every`)": every,
    } == told


def number(value):
    return "" if value is None else f"{value:,}"
