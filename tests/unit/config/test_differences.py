"""What `check` says about worlds that are not the same: only what the file makes use of, at its place."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from nautilus_trader.common.actor import Actor
from nautilus_trader.config import ActorConfig

from nautilus_ext.config import load
from nautilus_ext.config.backtest import parity_report
from nautilus_ext.config.code_names import names_in

if TYPE_CHECKING:
    from pathlib import Path

SANDBOX = "nautilus_trader.adapters.sandbox"
REPLAY = "nautilus_ext.simulation:CatalogReplayDataClient"
TWAP = "nautilus_trader.examples.algorithms.twap:TWAPExecAlgorithm"


class AlarmedConfig(ActorConfig, frozen=True):
    """Nothing to set."""


class Alarmed(Actor):
    """Sets an alarm in a function inside a method, and counts from the clock."""

    def on_start(self) -> None:
        def later() -> None:
            self.clock.set_time_alert("later", self.clock.utc_now() + timedelta(seconds=1))

        later()


class Inherits(Alarmed):
    """Its base class does it."""


class Silent(Actor):
    """Nothing of the kind."""

    def on_start(self) -> None:
        self.log.info("set_timer")


def document(catalog: str, *, speed: float = 1.0) -> dict[str, Any]:
    account = {"oms_type": "NETTING", "account_type": "MARGIN", "starting_balances": ["1000 USDT"]}
    return {
        "environment": "sandbox",
        "trader_id": "TEST-001",
        "data_clients": {
            "REPLAY": {
                "path": f"{REPLAY}Config",
                "factory": {"path": f"{REPLAY}Factory"},
                "config": {"catalog_path": catalog, "speed": speed},
            }
        },
        "exec_clients": {
            "SIM2": {
                "path": f"{SANDBOX}.config:SandboxExecutionClientConfig",
                "factory": {"path": f"{SANDBOX}.factory:SandboxLiveExecClientFactory"},
                "config": {"venue": "SIM2", **account},
            }
        },
        "backtest": {
            "venues": [{"name": "SIM2", **account}],
            "data": [{"catalog_path": catalog, "data_cls": "nautilus_trader.model.data:QuoteTick"}],
        },
    }


def component(kind: str, path: str, config_path: str | None = None, **config: Any) -> dict[str, Any]:
    return {f"{kind}_path": path, "config_path": config_path or f"{path}Config", "config": config}


QUOTER = component(
    "strategy",
    "nautilus_ext.strategies:TwoSidedQuoter",
    instrument_id="BTCUSDT-PERP.SIM2",
    quantity="1",
    max_inventory="1",
)
ALARMED = component("actor", f"{__name__}:Alarmed")


def trend(bars: str) -> dict[str, Any]:
    return component("strategy", "nautilus_ext.strategies:TrendFollower", bar_type=bars, quantity="1")


@pytest.fixture
def checked(tmp_path: Path) -> Any:
    def checked(content: dict[str, Any], *, backtest: bool = False) -> list[str]:
        path = tmp_path / "config.json"
        path.write_text(json.dumps(content))
        config = load(path, backtest=backtest)
        lines = parity_report(config) if backtest else config.notes
        return [str(line) for line in lines]

    return checked


def about(lines: list[str], place: str) -> list[str]:
    return [line.removeprefix(f"{place}: ") for line in lines if line.startswith(f"{place}: ")]


def test_names_are_found_in_bases_and_inner_functions_but_not_in_texts():
    """As far as one can see without running it."""
    assert {"set_time_alert", "utc_now"} <= names_in(Inherits)
    assert "set_timer" not in names_in(Silent)


def test_nothing_is_said_at_1x(checked):
    """Timers run as fast as the data there."""
    assert [] == checked({**document("c"), "actors": [ALARMED], "strategies": [trend("B.SIM2-1-MINUTE-MID-INTERNAL")]})


def test_another_speed_names_who_has_timers_and_what_cannot_be_seen(checked):
    """Code that sets them, and bars of time in a config; bars of ticks are none."""
    content = document("c", speed=10) | {
        "actors": [ALARMED, component("actor", f"{__name__}:Silent", f"{__name__}:AlarmedConfig")],
        "strategies": [
            trend("ETHUSDT-PERP.SIM2-1-MINUTE-MID-INTERNAL"),
            trend("ETHUSDT-PERP.SIM2-5-TICK-MID-INTERNAL"),
        ],
        "exec_algorithms": [component("exec_algorithm", TWAP)],
    }
    timers, clocks = about(checked(content), "data_clients.REPLAY.config.speed")
    assert "a second of the node is 10 s of the data" in timers
    assert "actors[0] (Alarmed): set_time_alert" in timers
    assert "strategies[0] (TrendFollower): ETHUSDT-PERP.SIM2-1-MINUTE-MID-INTERNAL" in timers
    assert "exec_algorithms[0] (TWAPExecAlgorithm): set_timer" in timers
    assert "are not seen" in timers
    assert not {"Silent", "strategies[1]"} & set(timers.replace(":", " ").split())
    assert "actors[0] (Alarmed)" in clocks


def test_a_speed_from_the_environment_is_a_speed(checked, monkeypatch):
    """As text it is a number all the same."""
    monkeypatch.setenv("REPLAY_SPEED", "2.5")
    content = document("c")
    content["data_clients"]["REPLAY"]["config"]["speed"] = "${REPLAY_SPEED}"
    (line,) = about(checked(content), "data_clients.REPLAY.config.speed")
    assert "2.5 s of the data" in line
    assert "none seen" in line


def test_the_parity_report_names_what_a_component_uses(checked):
    """Timers, clock, cancels, bars: each with its place in the file."""
    content = document("c") | {
        "actors": [ALARMED],
        "strategies": [QUOTER, trend("ETHUSDT-PERP.SIM2-5-TICK-MID-INTERNAL")],
    }
    lines = checked(content, backtest=True)
    alarm = about(lines, "actors[0] (Alarmed)")
    assert ["a timer (set_time_alert) fires live a moment late", "reads the clock"] == [
        alarm[0][: len("a timer (set_time_alert) fires live a moment late")],
        alarm[1][: len("reads the clock")],
    ]
    quoter = about(lines, "strategies[0] (TwoSidedQuoter)")
    assert any(line.startswith("a cancel in the same callback as its order") for line in quoter)
    (bars,) = about(lines, "strategies[1] (TrendFollower)")
    assert bars.startswith(
        "a bar that the node makes (ETHUSDT-PERP.SIM2-5-TICK-MID-INTERNAL) comes in a backtest before"
    )


def test_the_parity_report_says_what_the_journal_does_otherwise(checked):
    """Nothing is parked and nothing halted where no venue is; `event` is no other behaviour than `batch` there."""
    asked = {"persistence": {"flush": "power", "on_unshipped": "halt"}}
    lines = checked(document("c") | asked, backtest=True)
    (flush,), (policy,) = about(lines, "persistence.flush"), about(lines, "persistence.on_unshipped")
    assert flush.startswith('"power" becomes "batch"')
    assert policy.startswith('"halt" becomes "continue"')
    assert [] == about(checked(document("c") | {"persistence": {"flush": "event"}}, backtest=True), "persistence.flush")


@pytest.mark.parametrize(("backtest", "expected"), [(True, ("batch", "continue")), (False, ("power", "halt"))])
def test_only_a_live_node_gets_the_journals_policies(tmp_path, backtest, expected):
    """As `check --expand` prints it."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps(document("c") | {"persistence": {"flush": "power", "on_unshipped": "halt"}}))
    actors = load(path, backtest=backtest).tree["actors"]
    (mirror,) = [each["config"] for each in actors if each["actor_path"].endswith(":Mirror")]
    assert expected == (mirror["flush"], mirror["on_unshipped"])


def test_a_file_without_any_of_it_has_no_such_line(checked):
    """A replay of the backtest's catalog into one sandbox that is set up alike."""
    lines = checked(document("c"), backtest=True)
    assert ["environment", "data_clients.REPLAY", "exec_clients.SIM2"] == [line.partition(": ")[0] for line in lines]


def test_a_sandbox_that_is_set_up_otherwise_is_named(checked):
    """Another value, given or by default, and what only a backtest can do; 10 and "10" are the same."""
    content = document("c")
    content["exec_clients"]["SIM2"]["config"] |= {"default_leverage": "10", "use_reduce_only": False}
    content["backtest"]["venues"][0] |= {"default_leverage": 10, "liquidity_consumption": True}
    lines = checked(content, backtest=True)
    assert ["is True, but exec_clients.SIM2.config.use_reduce_only is False"] == about(
        lines, "backtest.venues[0].use_reduce_only"
    )
    assert ["only in a backtest: exec_clients.SIM2 has no such setting"] == about(
        lines, "backtest.venues[0].liquidity_consumption"
    )
    assert [] == about(lines, "backtest.venues[0].default_leverage")


def test_other_data_and_more_venues_are_named(checked):
    """A replay of another catalog than the backtest reads; orders of one moment at several venues."""
    content = document("here")
    content["backtest"]["data"][0]["catalog_path"] = "there"
    content["backtest"]["venues"].append({**content["backtest"]["venues"][0], "name": "SIM3"})
    lines = checked(content, backtest=True)
    assert ["is other data than data_clients.REPLAY plays, here"] == about(lines, "backtest.data")
    assert any("venue by venue" in line for line in about(lines, "backtest.venues"))


@pytest.mark.parametrize(
    ("reduce_only", "expected"),
    [(True, "it rejects the exits of a bracket"), (False, "the other leg of a bracket stays open")],
)
def test_a_sandbox_without_a_replay_is_named(checked, reduce_only, expected):
    """With live data it works in its own way."""
    content = document("c")
    simulated = "nautilus_ext.simulation:SimulatedDataClient"
    content["data_clients"] = {"SIM": {"path": f"{simulated}Config", "factory": {"path": f"{simulated}Factory"}}}
    content["exec_clients"]["SIM2"]["config"]["use_reduce_only"] = reduce_only
    (line,) = [each for each in about(checked(content, backtest=True), "exec_clients.SIM2") if "replay" in each]
    assert expected in line
