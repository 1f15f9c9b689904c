"""How Nautilus 1.231 behaves where we rely on it or guard against it: an upgrade that changes it fails here first."""

import json
import subprocess
import sys

import pytest

NODE = """
import asyncio, threading, json
from datetime import timedelta
from nautilus_trader.common.actor import Actor
from nautilus_trader.common.config import ActorConfig
from nautilus_trader.live.config import LiveExecEngineConfig, TradingNodeConfig
from nautilus_trader.live.node import TradingNode
from nautilus_trader.config import LoggingConfig

class Probe(Actor):
    threads = []
    states = []
    def on_start(self):
        seen = self.threads.append
        self.clock.set_timer("t", timedelta(milliseconds=20), callback=lambda event: seen(threading.get_ident()))

loop = asyncio.new_event_loop()
asyncio.set_event_loop(loop)
node = TradingNode(
    TradingNodeConfig(
        trader_id="PROBE-001", logging=LoggingConfig(log_level="ERROR"),
        exec_engine=LiveExecEngineConfig(reconciliation=False),
        timeout_post_stop=0.1, timeout_disconnection=0.5, timeout_shutdown=0.1,
    ),
    loop=loop,
)
probe = Probe(ActorConfig())
node.trader.add_actor(probe)
node.kernel.msgbus.subscribe("events.system.*", lambda event: probe.states.append(event.config))
node.build()
loop.call_later(0.5, node.stop)
node.run()
print(json.dumps({
    "main": threading.get_ident(), "threads": sorted(set(probe.threads)), "fired": len(probe.threads),
    "published": any("component_id" in config for config in probe.states),
}))
"""


def python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    "call", ["TraderId('A')", "TraderId('-1')", "Venue('\\u00e9')", "AccountId('-1')", "StrategyId('A-')"]
)
def test_a_bad_identifier_aborts_the_whole_process(call):
    """Why every identifier of a config is checked before Nautilus sees it."""
    result = python(f"from nautilus_trader.model.identifiers import *\n{call}")
    assert result.returncode == -6


def test_live_timers_call_back_on_another_thread_and_components_publish_their_config():
    """Handlers on the bus may be entered from two threads, and a config on the bus must hold no secret."""
    result = python(NODE)
    assert result.returncode == 0, result.stderr
    seen = json.loads(result.stdout.splitlines()[-1])
    assert seen["fired"] > 5
    assert seen["main"] not in seen["threads"]
    assert seen["published"]
