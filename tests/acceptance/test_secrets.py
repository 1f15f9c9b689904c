"""Planted secrets must not be in anything that a run leaves behind."""

import json

import asyncpg
import pytest

from nautilus_ext.embedded import EmbeddedPostgres

SECRETS = {
    "LEAKY_API_KEY": "planted-key-6f1c0a7be2",
    "LEAKY_API_SECRET": 'planted/secret+"quoted"\\back=slash 93',
    "LEAKY_PRIVATE_KEY": "-----BEGIN KEY-----\nplantedMIGHAgEAMBMGByqGSM49\nplantedAgEGCCqGSM49\n-----END KEY-----",
}

# A venue client that does what must not be done: it tells its secrets to every outlet there is.
LEAKY = """
import logging, sys, warnings
from nautilus_trader.config import StrategyConfig
from nautilus_trader.model.identifiers import InstrumentId
from nautilus_trader.trading.strategy import Strategy
from nautilus_ext.simulation import SimulatedDataClientConfig, SimulatedDataClientFactory

class LeakyConfig(SimulatedDataClientConfig, frozen=True, kw_only=True):
    api_key: str | None = None
    api_secret: str | None = None
    private_key: str | None = None

class LeakyFactory(SimulatedDataClientFactory):
    @staticmethod
    def create(loop, name, config, msgbus, cache, clock):
        assert config.api_secret.startswith("planted/"), "the client must get the real thing"
        client = SimulatedDataClientFactory.create(loop, name, config, msgbus, cache, clock)
        print("print", config.api_secret, config, config.json(), config.dict())
        print(config.api_secret, file=sys.stderr)
        client._log.info(f"nautilus {config.api_key} {config.api_secret}")
        client._log.error(f"nautilus {config.private_key}")
        logging.getLogger("nautilus_ext.leak").warning("python %s", config.api_secret, extra={"config": config.api_key})
        logging.getLogger("aiohttp").error("other %r", config)
        warnings.warn(config.api_key)
        if "crash" in (config.api_key or ""):
            raise RuntimeError(config.api_secret)
        return client

class LoudConfig(StrategyConfig, frozen=True, kw_only=True):
    api_key: str

class Loud(Strategy):
    def on_start(self):
        self.subscribe_quote_ticks(InstrumentId.from_str("BTCUSDT.SIM1"))

    def on_quote_tick(self, tick):
        raise RuntimeError(f"401 for {self.config.api_key}")
"""


@pytest.fixture
def leaky(tmp_path, config):
    (tmp_path / "leaky_venue.py").write_text(LEAKY)
    client = {
        "path": "leaky_venue:LeakyConfig",
        "factory": {"path": "leaky_venue:LeakyFactory"},
        "config": {"seed": 7, "interval_ms": 100}
        | {name: f"${{LEAKY_{name.upper()}}}" for name in ("api_key", "api_secret", "private_key")},
    }
    streaming = {"catalog_path": str(tmp_path / "data" / "stream")}
    return config(data_clients={"SIM": client}, streaming=streaming, exec_engine={"reconciliation": False})


def pieces():
    """Each secret, and each line of one that has several."""
    return {piece for secret in SECRETS.values() for piece in [secret, *secret.splitlines()] if "planted" in piece}


def files_with_secrets(folder):
    forms = [form.encode() for piece in pieces() for form in (piece, json.dumps(piece)[1:-1])]
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 10
    return [path.name for path in files if any(form in _content(path) for form in forms)]


def _content(path) -> bytes:
    """Read a file; the exchange ends by itself meanwhile, and SQLite takes its helper files away."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


async def test_secrets_are_in_nothing_that_a_run_leaves_behind(shell, leaky, tmp_path):
    """Terminal, log, streamed files with Nautilus's config.json, server files, tables: each is searched."""
    code, output = shell.run(leaky, "--seconds", "3", PYTHONPATH=str(tmp_path), **SECRETS)
    assert code == 0, output
    records = shell.records("PAPER-001.paper")
    assert any("print" in str(record.get("message")) and "***" in str(record) for record in records), "nothing leaked?"
    assert any("nautilus ***" in str(record.get("message")) for record in records)
    assert (shell.data / "stream").exists()
    assert "planted" not in output
    assert [] == files_with_secrets(shell.data)
    with EmbeddedPostgres.join(shell.data / "postgres") as server:
        connection = await asyncpg.connect(server.owner_url)
        tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        assert len(tables) >= 4
        for (table,) in tables:
            assert "planted" not in str(await connection.fetch(f'SELECT * FROM "{table}"'))
        await connection.close()


def test_check_and_its_expansion_show_no_secret(shell, leaky, tmp_path):
    """What is printed can be saved and shared."""
    for arguments in (("--expand",), ("--expand", "--json"), ("--backtest",)):
        code, output = shell.verb("check", leaky, *arguments, PYTHONPATH=str(tmp_path), **SECRETS)
        assert code == 0, output
        assert "planted" not in output


def test_a_client_that_fails_with_its_secret_in_hand_shows_it_nowhere(shell, leaky, tmp_path):
    """An exception's text is an outlet, too."""
    secrets = SECRETS | {"LEAKY_API_KEY": "planted-crash-6f1c0a"}
    code, output = shell.run(leaky, "--seconds", "3", PYTHONPATH=str(tmp_path), **secrets)
    assert code == 2, output
    assert "RuntimeError" in output
    assert "planted" not in output
    assert [] == files_with_secrets(shell.data)


def test_an_exception_while_trading_shows_its_secret_nowhere(shell, leaky, tmp_path, config):
    """The reason of the end is on the screen and in the log, without the key in it."""
    entry = {"strategy_path": "leaky_venue:Loud", "config_path": "leaky_venue:LoudConfig"}
    path = config(strategies=[{**entry, "config": {"order_id_tag": "L", "api_key": "${LEAKY_API_KEY}"}}])
    code, output = shell.run(path, "--seconds", "5", PYTHONPATH=str(tmp_path), **SECRETS)
    assert code == 1, output
    assert "401 for ***" in output
    assert "planted" not in output
    assert [] == files_with_secrets(shell.data)


def test_a_missing_secret_is_named_and_the_others_are_not_shown(shell, leaky, tmp_path):
    """A problem report lists variables, never values."""
    rest = {name: value for name, value in SECRETS.items() if name != "LEAKY_API_SECRET"}
    code, output = shell.run(leaky, PYTHONPATH=str(tmp_path), **rest)
    assert code == 2
    assert "LEAKY_API_SECRET" in output
    assert "planted" not in output
