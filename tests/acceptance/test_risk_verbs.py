"""The risk section from a shell: the refusal to start live, the limits explained, the doctor."""

import json
import re

import pytest
from conftest import ROOT

PAPER = "node_configs/paper.json"
GUIDE = ROOT / "docs" / "guides" / "risk-limits.md"


@pytest.mark.parametrize(
    ("risk", "parts"),
    [
        (None, ["risk.preset", '"preset": "strict"']),
        ({"preset": "strict", "enabled": False}, ["risk.enabled", "a live node does not start without the gate"]),
    ],
)
def test_a_live_file_without_its_limits_does_not_start(shell, config, risk, parts):
    """Exit 2 with the cure, beside everything else that is wrong, and nothing is left behind."""
    code, output = shell.run(config("live.json", risk=risk))
    assert 2 == code
    assert "Traceback" not in output
    for part in (*parts, "OKX_API_KEY is not set"):
        assert part in output, output
    assert not shell.data.exists()


def test_the_limits_of_a_strategy_are_explained(shell):
    """For people as a table, for programs as JSON; by InstrumentId and by canonical id."""
    code, output = shell.verb("check", PAPER, "--explain", "BTCUSDT-PERP.SIM3", "--strategy", "TwoSidedQuoter-002")
    assert 0 == code, output
    (shown,) = re.findall(r"```\n\$ python -m nautilus_ext check.*?\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    assert shown in output, "the guide shows what it prints"
    lines = output.splitlines()
    of_pattern = lines.index("risk.limits.instrument=BTC*: instrument=BTCUSDT-PERP.SIM3")
    assert {"max_position", "3"} <= set(" ".join(lines[of_pattern : of_pattern + 3]).split())
    assert ["check_balance", "yes"] in [line.split() for line in lines[lines.index("preset paper") :]]
    code, output = shell.verb("check", PAPER, "--explain", "SIM3:PERPETUAL:BTC-USDT", "--json")
    assert 0 == code, output
    answer = json.loads(output)["explained"]
    assert ("BTCUSDT-PERP.SIM3", "BTC", "paper") == (answer["instrument_id"], answer["asset"], answer["preset"])
    assert ["3"] == [row["value"] for row in answer["limits"] if row["limit"] == "max_position"]


@pytest.mark.parametrize(
    "arguments", [["--explain", "BTC"], ["--explain", "A:B:C"], ["--strategy", "A-1"], ["--explain", ""]]
)
def test_a_question_that_cannot_be_meant_is_told_how_to_ask(shell, arguments):
    """Exit 2, one message."""
    code, output = shell.verb("check", PAPER, *arguments)
    assert 2 == code, output
    assert "Traceback" not in output


def test_the_doctor_finds_nothing_dangerous_in_the_shipped_file(shell):
    """It still says which checks do nothing, and what stands in for them."""
    code, output = shell.verb("doctor", PAPER)
    assert 0 == code, output
    assert "exec_clients.SIM2, exec_clients.SIM3" in output
    assert "instead: max_order_notional, check_balance, max_position" in output
    assert "not set everywhere" not in output
    assert output.rstrip().endswith("nothing dangerous")


def test_the_doctor_names_what_is_dangerous_and_exits_1(shell, config):
    """Each with its path and its cure, the same in JSON."""
    risk = {"preset": "paper", "base_currency": "EUR", "limits": {"global": {"max_exposure": 5}}}
    path = config(risk=risk, risk_engine={"bypass": True}, exec_engine={"reconciliation": False})
    code, output = shell.verb("doctor", path)
    assert 1 == code, output
    for part in ("risk_engine.bypass", "cure: leave it out", "risk.conversions", "exec_engine.reconciliation"):
        assert part in output, output
    code, text = shell.verb("doctor", path, "--json")
    assert 1 == code
    report = json.loads(text)
    assert {"risk_engine.bypass", "risk.conversions", "exec_engine.reconciliation"} == {
        each["path"] for each in report["dangers"]
    }
    assert ["risk_engine.bypass"] == [each["path"] for each in report["inert"]]
    assert f"{len(report['dangers'])} things dangerous" in output


def test_the_doctor_looks_at_the_world_that_is_asked_for(shell, config):
    """A backtest has accounts of its own, and is left alone with what only a venue can do."""
    exec_engine = {"reconciliation": False}
    assert 1 == shell.verb("doctor", config(exec_engine=exec_engine))[0]
    code, output = shell.verb("doctor", config(exec_engine=exec_engine), "--backtest")
    assert 0 == code, output
    assert "backtest.venues[1], backtest.venues[2]" in output


def test_the_doctor_names_the_limits_that_nobody_has_set(shell, config):
    """With what the gate makes of it."""
    code, output = shell.verb("doctor", config(risk={"preset": "paper", "needs_limits": True}))
    assert 0 == code, output
    assert "not set everywhere: max_order_notional or max_order_quantity" in output
    assert "TrendFollower-001 in ETHUSDT-PERP.SIM2" in output
    assert "max_order_quantity or max_order_notional, max_position, max_exposure" in output
    assert "refused (risk.needs_limits)" in output
