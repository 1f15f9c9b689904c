"""What the runner makes of a file: the gate in its place in each world, or no node."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from two_worlds import in_child

from nautilus_ext.config import load
from nautilus_ext.errors import ConfigError

CHILD = str(Path(__file__).with_name("risk_runner.py"))
PAPER = Path(__file__).parents[2] / "node_configs" / "paper.json"
GATE = "nautilus_ext.risk:RiskGate"


def written(folder: Path, name: str, *, taker: bool | None = None, **changes: Any) -> str:
    """The paper file, changed; with an actor that takes the endpoint over."""
    document = json.loads(PAPER.read_text()) | {"data_dir": str(folder)} | changes
    document["backtest"]["synthetic"]["minutes"] = 1
    if taker is not None:
        entry = {"actor_path": "risk_runner:Taker", "config_path": "risk_runner:TakerConfig"}
        document["actors"] = [{**entry, "config": {"to_engine": taker}}]
    path = folder / f"{name}.json"
    path.write_text(json.dumps(document))
    return str(path)


@pytest.mark.parametrize("world", ["node", "backtest"])
def test_a_node_is_built_only_behind_the_gate(tmp_path, world):
    """Restore, the Mirror, then the gate, which is asked first; who takes it over must pass on."""
    files = [
        written(tmp_path, "plain"),
        written(tmp_path, "polite", taker=False),
        written(tmp_path, "rude", taker=True),
    ]
    found, _ = in_child(CHILD, world, *files)
    before = ["Mirror", "PortfolioStore"] if world == "backtest" else ["Restore", "Mirror", "PortfolioStore"]
    assert [*before, "AlertDesk", "RiskGate", "EventLog", "RiskGate"] == found["plain.json"]
    assert [*before, "AlertDesk", "RiskGate", "EventLog", "Taker", "Taker"] == found["polite.json"]
    assert "the risk gate does not stand in front of the execution engine" in found["rude.json"]


def test_paper_may_go_without_the_gate_and_a_live_file_may_not(tmp_path):
    """Neither by switching it off nor by leaving it to `actors`."""
    off = written(tmp_path, "off", risk={"enabled": False})
    assert GATE not in [each["actor_path"] for each in load(off).tree["actors"]]
    live = written(tmp_path, "live", risk={"enabled": False, "preset": "strict"}, environment="live")
    with pytest.raises(ConfigError, match=r"risk\.enabled"):
        load(live)


@pytest.mark.parametrize(("environment", "backtest"), [("live", False), ("sandbox", False), ("sandbox", True)])
def test_the_expanded_file_of_each_world_has_the_same_gate(tmp_path, environment, backtest):
    risk = {"preset": "strict", "max_orders_per_second": 3, "max_total_notional": "1000"}
    file = load(written(tmp_path, "file", environment=environment, risk=risk), backtest=backtest)
    (gate,) = [each for each in file.tree["actors"] if each["actor_path"] == GATE]
    section = gate["config"]["section"]
    assert risk == {name: section[name] for name in risk}
    paths = [each["actor_path"].rpartition(":")[2] for each in file.tree["actors"]]
    assert paths.index("Mirror") < paths.index("RiskGate")
