"""What a user's own code does wrong must end in good order, with the reason in the log and an exit code."""

import json
import re
import signal
import time
from pathlib import Path

import asyncpg
import pytest

from nautilus_ext.embedded import EmbeddedPostgres
from nautilus_ext.errors import MachineError

ROOT = Path(__file__).resolve().parents[2]
BOOK = "PAPER-001.paper"
REFUSED_WITHIN_S = 5.0  # the start of the command included

# Strategies that misbehave at the place that their config names.
FAULTY = """
import time
from nautilus_trader.config import StrategyConfig
from nautilus_trader.model.identifiers import InstrumentId
from nautilus_trader.trading.strategy import Strategy
from nautilus_ext.logs import EventLog

class FaultyConfig(StrategyConfig, frozen=True, kw_only=True):
    where: str

class Faulty(Strategy):
    def boom(self, where):
        if self.config.where == where:
            raise RuntimeError(f"boom in {where}")

    def on_start(self):
        self.boom("on_start")
        self.msgbus.subscribe("events.order.*", lambda event: self.boom("subscriber"))
        self.subscribe_quote_ticks(InstrumentId.from_str("BTCUSDT.SIM1"))

    def on_quote_tick(self, tick):
        self.boom("on_quote_tick")
        if self.config.where == "view":
            EventLog.recent_lines = lambda _: self.boom("view")
        if self.config.where == "stands still":
            print("standing still", flush=True)
            time.sleep(120)

    def on_stop(self):
        if self.config.where == "blocks":
            time.sleep(120)
        self.boom("on_stop")
"""

# A data client whose connection is never there, and one that raises.
AWAY = """
import asyncio
from nautilus_ext.simulation import SimulatedDataClient, SimulatedDataClientConfig, SimulatedDataClientFactory

class AwayClient(SimulatedDataClient):
    async def _connect(self):
        await asyncio.sleep(3600)

class BrokenClient(SimulatedDataClient):
    async def _connect(self):
        raise RuntimeError("this key is not valid")

class BrokenFactory(SimulatedDataClientFactory):
    @staticmethod
    def create(loop, name, config, msgbus, cache, clock):
        from nautilus_trader.model.identifiers import ClientId
        return BrokenClient(loop=loop, client_id=ClientId(name), msgbus=msgbus, cache=cache, clock=clock, config=config)

class AwayFactory(SimulatedDataClientFactory):
    @staticmethod
    def create(loop, name, config, msgbus, cache, clock):
        from nautilus_trader.model.identifiers import ClientId
        return AwayClient(loop=loop, client_id=ClientId(name), msgbus=msgbus, cache=cache, clock=clock, config=config)
"""


@pytest.fixture
def faulty(tmp_path, config):
    (tmp_path / "faulty.py").write_text(FAULTY)

    def write(where):
        strategies = json.loads((ROOT / "node_configs" / "paper.json").read_text())["strategies"]
        entry = {"strategy_path": "faulty:Faulty", "config_path": "faulty:FaultyConfig"}
        return config(strategies=[*strategies, {**entry, "config": {"order_id_tag": "900", "where": where}}])

    return write


def reasons(shell):
    return "\n".join(json.dumps(record) for record in shell.records(BOOK))


def left_working(shell):
    """Orders that a venue accepted and that nobody closed."""
    records = shell.records(BOOK)
    accepted = {record["client_order_id"] for record in records if record.get("event") == "OrderAccepted"}
    closing = ("OrderFilled", "OrderCanceled", "OrderRejected")
    return accepted - {record["client_order_id"] for record in records if record.get("event") in closing}


@pytest.mark.parametrize("where", ["on_quote_tick", "subscriber"])
def test_an_exception_while_trading_shuts_the_node_down_in_good_order(shell, faulty, tmp_path, where):
    """Not a silent end of the process: exit 1, the reason on the screen and in the log, the summary printed."""
    code, output = shell.run(faulty(where), "--seconds", "20", PYTHONPATH=str(tmp_path))
    assert code == 1, output
    assert "orders " in output
    assert f"boom in {where}" in reasons(shell)
    assert "ended because" in output
    assert left_working(shell) == set()


def test_a_view_that_cannot_be_drawn_ends_no_trading(shell, faulty, tmp_path):
    """The node trades to its end and stops in good order; the defect is told once, and is a defect all the same."""
    code, output = shell.run(faulty("view"), "--seconds", "4", PYTHONPATH=str(tmp_path))
    assert code == 1, output
    records = shell.records(BOOK)
    told = [n for n, record in enumerate(records) if "the live view cannot be drawn" in str(record.get("message"))]
    stopping = [n for n, record in enumerate(records) if "4 seconds are over" in str(record.get("message"))]
    assert (1, 1) == (len(told), len(stopping))
    assert [record for record in records[told[0] : stopping[0]] if record.get("event") == "OrderAccepted"]
    assert "boom in view" in reasons(shell)
    assert left_working(shell) == set()


@pytest.mark.parametrize("where", ["on_start", "on_stop"])
def test_a_strategy_that_fails_at_the_edge_of_a_run_does_not_keep_the_others_from_stopping(
    shell, faulty, tmp_path, where
):
    """Nautilus's trader gives up at the first that raises, and the others' orders would stay at the venues."""
    code, output = shell.run(faulty(where), "--seconds", "3", PYTHONPATH=str(tmp_path))
    assert code == 1, output
    assert f"RuntimeError: boom in {where}" in output
    assert "Traceback" not in output
    assert left_working(shell) == set()
    records = shell.records(BOOK)
    stopped = [record["message"] for record in records if record.get("component") == "TwoSidedQuoter"]
    assert "STOPPED" in stopped


def test_a_strategy_that_blocks_the_stop_is_left_behind_after_ten_seconds(shell, faulty, tmp_path, wait_until):
    """The watchdog's bound holds even when the loop stands still."""
    running = shell.start(faulty("blocks"), PYTHONPATH=str(tmp_path))
    running.until("order submitted")
    running.process.send_signal(signal.SIGTERM)
    began = time.monotonic()
    assert running.end(20) == 1
    took_s = time.monotonic() - began
    print(f"ended by force after {took_s:.2f} s")
    assert took_s < 11
    assert "longer than 10 s" in running.output
    wait_until(lambda: not shell.postmasters(), 10)


def test_a_loop_that_stands_still_is_left_behind_as_well(shell, faulty, tmp_path):
    """The signal is heard although the loop hears nothing."""
    running = shell.start(faulty("stands still"), PYTHONPATH=str(tmp_path))
    running.until("standing still")
    running.process.send_signal(signal.SIGTERM)
    began = time.monotonic()
    assert running.end(20) == 1
    assert time.monotonic() - began < 11
    assert "longer than 10 s" in running.output


def test_a_venue_that_does_not_connect_is_named(shell, config, tmp_path):
    """Exit 6 within the time that the config gives it."""
    (tmp_path / "away.py").write_text(AWAY)
    clients = json.loads((ROOT / "node_configs" / "paper.json").read_text())["data_clients"]
    clients["SIM"]["factory"]["path"] = "away:AwayFactory"
    code, output = shell.run(config(data_clients=clients, timeout_connection=2.0), PYTHONPATH=str(tmp_path))
    assert code == 6, output
    assert "not connected within 2 s: SIM" in output
    assert "Traceback" not in output


def test_a_venue_that_refuses_ends_the_start_at_once_with_its_reason(shell, config):
    """Another market beside a running one is known at once: nobody waits for the time-out of the connection."""
    first = shell.start(config())
    first.until("order submitted")
    document = json.loads((ROOT / "node_configs" / "paper.json").read_text())
    document["data_clients"]["SIM"]["config"]["seed"] = 8
    other = config(trader_id="PAPER-002", data_clients=document["data_clients"], timeout_connection=60.0)
    began = time.monotonic()
    code, output = shell.run(other)
    took_s = time.monotonic() - began
    print(f"exit {code} after {took_s:.2f} s")
    assert code == MachineError.exit_code, output
    assert took_s < REFUSED_WITHIN_S
    assert "started with another market or other venues" in output
    assert "log: " in output
    assert "Traceback" not in output
    first.process.send_signal(signal.SIGTERM)
    assert first.end(20) == 0, first.output


def test_what_a_client_of_any_adapter_raises_ends_the_start_at_once(shell, config, tmp_path):
    """Nobody tries again after that, so there is nothing to wait for."""
    (tmp_path / "away.py").write_text(AWAY)
    clients = json.loads((ROOT / "node_configs" / "paper.json").read_text())["data_clients"]
    clients["SIM"]["factory"]["path"] = "away:BrokenFactory"
    code, output = shell.run(config(data_clients=clients, timeout_connection=60.0), PYTHONPATH=str(tmp_path))
    assert code == 6, output
    took_s = float(re.search(r"✗ venues +(\d+\.\d\d) s", output)[1])
    assert took_s < REFUSED_WITHIN_S
    assert "SIM: RuntimeError: this key is not valid" in output
    assert "Traceback" not in output


def test_a_venue_that_is_not_there_is_named_with_the_reason(shell, config):
    """The last error of each client that did not connect stands behind its name."""
    code, output = shell.run(config(data_clients={}, strategies=[], timeout_connection=2.0))
    assert code == 6, output
    assert "not connected within 2 s: SIM1, SIM2, SIM3" in output
    assert "no exchange 'paper' runs in" in output


def test_a_stop_while_venues_connect_takes_less_than_ten_seconds(shell, config, tmp_path, wait_until):
    """The time-out of the connection is longer than an operator waits."""
    (tmp_path / "away.py").write_text(AWAY)
    clients = json.loads((ROOT / "node_configs" / "paper.json").read_text())["data_clients"]
    clients["SIM"]["factory"]["path"] = "away:AwayFactory"
    running = shell.start(config(data_clients=clients, timeout_connection=60.0), PYTHONPATH=str(tmp_path))
    log = shell.data / "logs" / f"{BOOK}.jsonl"
    wait_until(lambda: log.exists() and "Connecting..." in log.read_text(), 20)
    running.process.send_signal(signal.SIGINT)
    began = time.monotonic()
    code = running.end(20)
    print(f"exit {code} after {time.monotonic() - began:.2f} s")
    assert code == 0, running.output
    assert time.monotonic() - began < 10
    assert "interrupted" in running.output
    assert "connected and reconciled" not in running.output


async def test_a_database_that_dies_while_the_node_trades_costs_no_order(shell, wait_until):
    """An outage is no loss of the book: trading goes on, and the hold comes back with the server."""
    running = shell.start("node_configs/paper.json")
    running.until("order submitted")
    (postmaster,) = [process for process in shell.postmasters() if "postgres" not in (process.parent().name() or "")]
    postmaster.kill()
    running.until("held again")
    before = len(running.output)
    wait_until(lambda: "order " in running.output[before:], 20)
    running.process.send_signal(signal.SIGTERM)
    assert running.end(20) == 0, running.output
    with EmbeddedPostgres.join(shell.data / "postgres") as server:
        connection = await asyncpg.connect(server.app_url)
        (run,) = await connection.fetch("SELECT run, clean_end, epoch FROM runs")
        await connection.close()
    assert (1, True, 1) == tuple(run)
