"""The risk section from a shell: the refusal to start live, the limits explained, the doctor."""

import json

import pytest

PAPER = "node_configs/paper.json"


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
    rows = [line.split() for line in output.splitlines()]
    assert ["max_position", "3", "instrument=BTCUSDT-PERP.SIM3", "risk.limits.instrument=BTC*"] in rows
    assert ["check_balance", "yes", "global", "preset", "paper.global"] in rows
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
    assert "exec_clients.SIM2" in output
    assert "covered by max_order_notional, check_balance, max_position (rows 2, 7, 12)" in output
    assert output.rstrip().endswith("nothing dangerous")


def test_the_doctor_names_what_is_dangerous_and_exits_1(shell, config):
    """Each with its path and its cure, the same in JSON."""
    risk = {"preset": "paper", "conversions": {}, "base_currency": "EUR"}
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
    """A backtest has accounts of its own."""
    code, output = shell.verb("doctor", config(risk={"preset": "paper"}), "--backtest")
    assert 1 == code, output
    assert "backtest.venues[1].use_reduce_only" in output
