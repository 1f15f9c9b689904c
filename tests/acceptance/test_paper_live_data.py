"""paper_live_data.json: real venues' data and a sandbox that remembers. Offline a catalog stands for the venues."""

import json
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CONFIG = "node_configs/paper_live_data.json"
BOOK = "PAPER-002.paper"
VENUES = ("BINANCE_SPOT", "BINANCE_FUTURES", "BYBIT")
BARE = {"PATH": "/usr/bin:/bin"}

BUILD = """
import json, sys
from nautilus_ext.app.node import Node
from nautilus_ext.app.view import View
from nautilus_ext.config import load

config = load(sys.argv[1]).for_run("B.paper", run=1, epoch=1)
node = Node(config, View(book="B", run=1, world="paper"), on_asked=lambda: None, on_stopping=lambda reason: None)
kernel = node._node.kernel
print(json.dumps({
    "exec": {str(each.id): type(each).__name__ for each in node._clients if hasattr(each, "account_id")},
    "data": sorted(str(name) for name in kernel.data_engine.registered_clients),
}))
"""


def bare(*command: str, home: Path) -> subprocess.CompletedProcess[str]:
    """Without any variable of the suite or of a venue."""
    return subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env={**BARE, "HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_shipped_file_is_fine_without_any_variable(tmp_path):
    """No key, no address: `check` says fine and nothing more."""
    done = bare("-m", "nautilus_ext", "check", CONFIG, home=tmp_path)
    assert 0 == done.returncode, done.stdout + done.stderr
    assert f"{CONFIG}: fine (PAPER-002, paper)" in done.stdout
    text = (ROOT / CONFIG).read_text()
    assert "${" not in text
    assert "api_" not in text


def test_its_real_data_clients_are_built_without_a_key(tmp_path):
    """Nautilus's own for Binance and Bybit, beside a remembering sandbox for each of their venues."""
    done = bare("-c", BUILD, CONFIG, home=tmp_path)
    assert 0 == done.returncode, done.stderr
    answer = done.stdout.index('{"exec"')  # Nautilus's logger writes before and after it
    seen = json.loads(done.stdout[answer:].splitlines()[0])
    assert dict.fromkeys(VENUES, "RememberingSandboxClient") == seen["exec"]
    assert sorted(VENUES) == seen["data"]
    kept = tmp_path / ".local" / "state" / "nautilus_ext" / "sandbox" / "B.paper"
    assert {f"{venue}.sqlite" for venue in VENUES} == {each.name for each in kept.glob("*.sqlite")}


def test_okx_still_insists_on_a_key(tmp_path):
    """Why the file leaves it out. When this fails, put it in."""
    document = json.loads((ROOT / "node_configs" / "live.json").read_text())
    okx = document["data_clients"]["OKX"]
    okx["config"] = {key: value for key, value in okx["config"].items() if not key.startswith("api_")}
    shipped = json.loads((ROOT / CONFIG).read_text())
    path = tmp_path / "okx.json"
    path.write_text(json.dumps({**shipped, "data_clients": {"OKX": okx}}))
    done = bare("-c", BUILD, str(path), home=tmp_path)
    assert 0 != done.returncode
    assert "OKX_API_KEY" in done.stderr


@pytest.fixture
def swapped(shell, tmp_path) -> str:
    """The shipped file with a catalog of the same instruments, which its own backtest makes, in place of the venues."""
    code, output = shell.run(CONFIG, "--backtest")
    assert 0 == code, output
    assert re.search(r"orders +\d+ submitted", output), output
    (catalog,) = (shell.data / "catalogs").glob("synthetic-*")
    document = json.loads((ROOT / CONFIG).read_text())
    document["data_clients"] = {
        "REPLAY": {
            "path": "nautilus_ext.simulation:CatalogReplayDataClientConfig",
            "factory": {"path": "nautilus_ext.simulation:CatalogReplayDataClientFactory"},
            "config": {"catalog_path": str(catalog), "speed": 50},
        }
    }
    path = tmp_path / "swapped.json"
    path.write_text(json.dumps(document))
    return str(path)


def remembered(shell, venue: str) -> tuple[list[str], dict[str, Decimal]]:
    """The balances and positions in a venue's file, while nobody has it open."""
    path = shell.data / "sandbox" / BOOK / f"{venue}.sqlite"
    with closing(sqlite3.connect(path)) as database:
        balances = [total for (total,) in database.execute("SELECT total FROM balances ORDER BY currency")]
        records = [json.loads(record) for (record,) in database.execute("SELECT record FROM positions")]
    return balances, {each["position_id"]: Decimal(each["quantity"]) for each in records}


def test_it_trades_dies_and_goes_on_with_what_it_had(shell, swapped):
    """kill -9 in the middle: the second run says what is there again, opens nothing twice, and ends in good order."""
    first = shell.start(swapped)
    first.until("position opened")
    first.until("BTCUSDT-LINEAR.BYBIT")
    first.process.kill()
    first.end()
    before = {venue: remembered(shell, venue) for venue in VENUES}
    assert any(positions for _, positions in before.values())
    code, output = shell.run(swapped, "--seconds", "5")
    assert 0 == code, output
    assert "Traceback" not in output
    said = [str(record.get("message", "")) for record in shell.records(BOOK)]
    for venue, (balances, positions) in before.items():
        told = f"As it was: {', '.join(balances)}; positions open: {len(positions)};"
        assert [line for line in said if told in line and f"{venue}.sqlite" in line], (told, said)
    spot = before["BINANCE_SPOT"][1]
    assert spot, "the rebalancer bought at once"
    after = remembered(shell, "BINANCE_SPOT")
    assert set(spot) == set(after[1])
    held = Decimal(next(each for each in after[0] if each.endswith(" BTC")).split()[0])
    assert held == Decimal("0.2") + sum(after[1].values())
