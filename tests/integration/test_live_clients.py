"""live.json's real venue clients are built on made-up keys, offline: nothing connects before the node runs."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

BUILD = """
import json, os, sys
from nautilus_ext.app.node import Node
from nautilus_ext.app.view import View
from nautilus_ext.config import load

config = load(sys.argv[1]).for_run("B.live", run=1, epoch=1)
node = Node(config, View(book="B", run=1, world="live"), on_asked=lambda: None, on_stopping=lambda reason: None)
kernel = node._node.kernel
states = []
kernel.msgbus.subscribe("events.system.*", lambda event: states.append(str(event.config)))
for client in node._clients:
    client.reset()
shown = repr(node._node._config) + node._node._config.json().decode() + "".join(states)
print(json.dumps({
    "exec": sorted(str(name) for name in kernel.exec_engine.registered_clients),
    "data": sorted(str(name) for name in kernel.data_engine.registered_clients),
    "accounts": sorted(str(client.account_id) for client in node._clients if hasattr(client, "account_id")),
    "states": len(states),
    "planted": "planted" in shown,
}))
"""


def test_four_venues_and_a_second_account_are_built_and_show_no_key(tmp_path):
    """Binance twice, Bybit twice, OKX: registered, and neither Nautilus's config nor the bus holds a secret."""
    text = (ROOT / "node_configs" / "live.json").read_text()
    document = json.loads(text)
    second = json.dumps(document["exec_clients"]["BYBIT"]).replace("BYBIT_API", "BYBIT_B_API")
    document["exec_clients"]["BYBIT_B"] = json.loads(second)
    path = tmp_path / "live.json"
    path.write_text(json.dumps(document))
    names = {part.split("}")[0] for part in (text + second).split("${")[1:] if ":-" not in part.split("}")[0]}
    keys = {name: f"planted-{name.lower()}" for name in names} | {
        "DATABASE_URL": "postgresql://desk:planted@localhost/x"
    }
    result = subprocess.run(
        [sys.executable, "-c", BUILD, str(path)],
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), **keys},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
    answer = result.stdout.index('{"exec"')  # Nautilus's logger writes before and after it
    seen = json.loads(result.stdout[answer:].splitlines()[0])
    assert ["BINANCE_FUTURES", "BINANCE_SPOT", "BYBIT", "BYBIT_B", "OKX"] == seen["exec"]
    assert ["BINANCE_FUTURES", "BINANCE_SPOT", "BYBIT", "OKX"] == seen["data"]
    assert {"BYBIT-UNIFIED", "BYBIT_B-UNIFIED"} <= set(seen["accounts"])
    assert seen["states"] > 5
    assert not seen["planted"]
