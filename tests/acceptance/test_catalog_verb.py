"""`python -m nautilus_ext catalog`: from nothing to data that a backtest and a replay read."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from nautilus_trader.persistence.catalog import ParquetDataCatalog

PAPER = Path(__file__).resolve().parents[2] / "node_configs" / "paper.json"


def test_it_makes_what_it_says_where_it_says(shell, tmp_path):
    """Place, range, seed and counts are printed, and they are those of the catalog."""
    folder = tmp_path / "new" / "market"
    code, output = shell.verb("catalog", str(folder), "--seed", "3", "--start", "2026-02-01", "--minutes", "2")
    assert code == 0, output
    assert output.startswith(f"{folder}: made in")
    assert "2026-02-01 00:00:00 to 2026-02-01 00:02:00 UTC, every 1000 ms, seed 3" in output
    stored = ParquetDataCatalog(str(folder))
    quotes, trades = len(stored.quote_ticks()), len(stored.trade_ticks())
    assert f"8 instruments, {quotes:,} quotes, {trades:,} trades" in output
    assert 8 * 120 == quotes
    assert re.search(r"BTCUSDT\.SIM1 +120 quotes, \d+ trades", output)
    assert [folder] == list(folder.parent.iterdir()), "and nothing else is left behind"


def test_what_it_prints_runs_as_a_backtest_and_as_a_replay(shell, tmp_path, config):
    """The lines for the config file are right as they stand."""
    code, output = shell.verb("catalog", str(tmp_path / "market"), "--minutes", "1")
    assert code == 0, output
    entries = [json.loads(line) for line in output.splitlines() if line.startswith("  {")]
    client, data = entries[0], entries[1:]
    client["REPLAY"]["config"] |= {"speed": 30.0, "stop_at_end": True}
    backtest = json.loads(PAPER.read_text())["backtest"] | {"data": data}
    sandboxes = {
        venue["name"]: {
            "path": "nautilus_trader.adapters.sandbox.config:SandboxExecutionClientConfig",
            "factory": {"path": "nautilus_trader.adapters.sandbox.factory:SandboxLiveExecClientFactory"},
            "config": {
                "venue": venue["name"],
                "account_type": venue["account_type"],
                "starting_balances": venue["starting_balances"],
            },
        }
        for venue in backtest["venues"]
    }
    backtest.pop("synthetic", None)
    file = config(data_clients=client, exec_clients=sandboxes, backtest=backtest)
    played = len(ParquetDataCatalog(str(tmp_path / "market")).quote_ticks()) + len(
        ParquetDataCatalog(str(tmp_path / "market")).trade_ticks()
    )
    code, output = shell.run(file, "--backtest")
    assert code == 0, output
    assert f"{played:,} data" in output
    code, output = shell.run(file)
    assert code == 0, output
    assert f"the catalog is at its end after {played:,} data, as asked" in output
    assert "note: data_clients.REPLAY.config.speed" in output


def test_a_file_describes_the_market(shell, tmp_path, config):
    """Instruments, regimes, seed and interval are those of its simulated data client; options win."""
    market = {
        "path": "nautilus_ext.simulation:SimulatedDataClientConfig",
        "factory": {"path": "nautilus_ext.simulation:SimulatedDataClientFactory"},
        "config": {
            "seed": 4,
            "interval_ms": 500,
            "listings": [{"instrument_id": "BTCUSDT.SIM1"}, {"instrument_id": "ETHUSDT.SIM2"}],
            "regimes": [{"kind": "halted", "start_s": 10, "seconds": 20, "venue": "SIM1"}],
        },
    }
    file = config(data_clients={"SIM": market}, strategies=[])
    code, output = shell.verb("catalog", str(tmp_path / "made"), "--config", file, "--minutes", "1", "--seed", "9")
    assert code == 0, output
    assert "every 500 ms, seed 9" in output
    assert re.search(r"BTCUSDT\.SIM1 +80 quotes", output), "nothing while its venue is halted"
    assert re.search(r"ETHUSDT\.SIM2 +120 quotes", output)


def test_the_same_seed_gives_the_same_data_and_another_one_others(shell, tmp_path):
    """Any seed, any range: what is made can be made again."""
    made = {}
    for name, seed in (("one", "5"), ("two", "5"), ("three", "6")):
        assert shell.verb("catalog", str(tmp_path / name), "--minutes", "1", "--seed", seed)[0] == 0
        made[name] = [str(tick) for tick in ParquetDataCatalog(str(tmp_path / name)).quote_ticks()]
    assert made["one"] == made["two"]
    assert made["one"] != made["three"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--minutes", "0"], "between 1 and 20,000,000 can be made: change the minutes or the interval"),
        (["--minutes", "-3"], "change the minutes or the interval"),
        (["--minutes", "99999999"], "between 1 and 20,000,000"),
        (["--start", "yesterday"], "'yesterday' is no time; write an ISO time"),
        (["--start", "1923-01-01"], "must be between 1970 and 2200"),
        (["--interval-ms", "0"], "interval_ms is 0; it must be between 1 and 60000 ms"),
        (["--seed", "seven"], "argument --seed: invalid int value: 'seven'"),
        (["--config", "nowhere.json"], "nowhere.json: 1 problem\n  no such file"),
    ],
)
def test_a_mistake_is_named_with_its_cure_and_nothing_is_made(shell, tmp_path, arguments, expected):
    """Exit code 2, one message, no traceback, no folder."""
    code, output = shell.verb("catalog", str(tmp_path / "made"), *arguments)
    assert (2, True) == (code, expected in output), output
    assert "Traceback" not in output
    assert not (tmp_path / "made").exists()


def test_what_is_there_is_not_overwritten(shell, tmp_path):
    """Not a catalog and not anything else; an empty folder is fine."""
    (tmp_path / "kept").mkdir()
    assert shell.verb("catalog", str(tmp_path / "kept"), "--minutes", "1")[0] == 0
    before = sorted(str(file) for file in (tmp_path / "kept").rglob("*"))
    code, output = shell.verb("catalog", str(tmp_path / "kept"), "--minutes", "1")
    assert (2, True) == (code, "is there already: choose another folder, or remove it first" in output), output
    assert before == sorted(str(file) for file in (tmp_path / "kept").rglob("*"))
    (tmp_path / "file").touch()
    code, output = shell.verb("catalog", str(tmp_path / "file" / "below"), "--minutes", "1")
    assert (3, True) == (code, f"cannot write the catalog {tmp_path}/file/below" in output), output


def test_a_file_without_a_market_says_what_is_missing(shell, tmp_path, config):
    """A config of real venues only."""
    file = config("paper.json", data_clients={}, backtest=None, strategies=[])
    code, output = shell.verb("catalog", str(tmp_path / "made"), "--config", file)
    assert (2, True) == (code, "has no market: it needs a data client of nautilus_ext.simulation:" in output), output
