"""The page about the simulated exchange tells the truth about regimes and faults."""

import re
from pathlib import Path

import msgspec
import pytest

from nautilus_ext.simulation.client.config import SimulatedDataClientConfig
from nautilus_ext.simulation.regimes import NEED, Regime, RegimeKind, problems
from nautilus_ext.simulation.world import Faults, VenueTerms

PAGE = (Path(__file__).parents[3] / "docs" / "adapters" / "simulated.md").read_text(encoding="utf-8")
SECTION = PAGE.split("## Regimes and faults\n")[1].split("\n## ")[0]
EXAMPLES = re.findall(r"```json\n(.*?)```", SECTION, re.DOTALL)
ROWS = {row[0]: row[1] for row in re.findall(r"^\| `(\w+)` \|(.*)$", SECTION, re.MULTILINE)}


@pytest.mark.parametrize("example", EXAMPLES)
def test_each_example_is_a_config_that_loads(example):
    """As part of the data client's config, and without a problem on its market."""
    config = msgspec.json.decode(example, type=SimulatedDataClientConfig)
    market = config.to_market()
    bases = {listing.base for listing in market.listings}
    venues = set(config.to_world().listings())
    assert list(problems(config.regimes, bases, venues, config.interval_ms)) == []
    assert config.regimes or config.venues


def test_there_is_an_example_of_regimes_with_all_kinds_and_one_of_a_venue_with_faults():
    """Else the test above proves nothing."""
    configs = [msgspec.json.decode(example, type=SimulatedDataClientConfig) for example in EXAMPLES]
    kinds = {regime.kind for config in configs for regime in config.regimes}
    assert kinds == set(NEED)
    assert any(terms.faults and terms.faults.rates and terms.faults.script for each in configs for terms in each.venues)


@pytest.mark.parametrize("kind", RegimeKind.__value__.__args__)
def test_a_kind_needs_and_takes_what_its_row_says(kind):
    """Made with just the keys of the row, and refused without any one that it needs."""
    _, _, needs, may, _ = f"|{ROWS[kind]}".split("|")
    values = {"start_s": 1.0, "seconds": 60.0, "base": "BTC", "venue": "SIM1"}
    values |= {"factor": 2.0, "drift_per_hour": 0.1, "size": 0.1}
    needed, optional = re.findall(r"`(\w+)`", needs), re.findall(r"`(\w+)`", may)
    Regime(kind=kind, **{name: values[name] for name in (*needed, *optional)})
    for left_out in (name for name in needed if name != "start_s"):
        with pytest.raises(ValueError, match=f"{left_out} is missing"):
            Regime(kind=kind, **{name: values[name] for name in needed if name != left_out})
    for strange in set(values) - {*needed, *optional}:
        with pytest.raises(ValueError, match=f"{strange} says nothing there"):
            Regime(kind=kind, **{name: values[name] for name in (*needed, strange)})


@pytest.mark.parametrize("struct", [Regime, VenueTerms, Faults])
def test_every_key_is_named(struct):
    """In words or in an example."""
    named = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`\n]+)`", SECTION) + EXAMPLES)))
    assert sorted(set(struct.__struct_fields__) - named) == []
