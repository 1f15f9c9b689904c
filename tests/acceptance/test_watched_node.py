"""A node that is watched over: it stops itself, tells of it in every way, and knows it after a kill -9."""

from __future__ import annotations

import json
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from nautilus_ext.embedded import EmbeddedPostgres

sys.path.insert(0, str(Path(__file__).parents[1] / "integration"))

from alert_receiver import SECRET, receiving
from book_node import query

BOOK = "PAPER-001.paper"
SOON_S = 40.0
BREAKERS = [
    {"kind": "executions", "scope": "strategy=*", "limit": 1, "window_s": 3600, "action": "halt"},
    {"kind": "loss", "scope": "node", "limit": 1_000_000, "action": "halt"},
    {"kind": "drop_copy", "scope": "venue=*", "limit": 0, "action": "alert"},
    {"kind": "sync_failure", "scope": "venue=*", "limit": 0, "action": "alert"},
    {"kind": "venue_down", "scope": "venue=*", "limit": 10, "action": "alert"},
    {"kind": "shipper_lag", "scope": "node", "limit": 30, "action": "alert"},
]


@pytest.fixture
def receiver():
    with receiving() as receiver:
        yield receiver


def until(condition, timeout_s=SOON_S):
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "not true in time"
        time.sleep(0.05)


def kept(shell):
    return json.loads((shell.data / "risk" / BOOK / "breakers.json").read_text())


@contextmanager
def changed_fill(url):
    """Our ledger says another price than the venue, for a while."""
    newest = "(SELECT trade_id FROM unified_fills ORDER BY ts_event DESC LIMIT 1)"
    (row,) = query(url, f"UPDATE unified_fills SET price = price + 1 WHERE trade_id = {newest} RETURNING trade_id")
    try:
        yield row["trade_id"]
    finally:
        query(url, "UPDATE unified_fills SET price = price - 1 WHERE trade_id = $1", row["trade_id"])


@pytest.mark.row(17, "told")
@pytest.mark.row(18, "one tick over")
@pytest.mark.row(6, "after restart")
@pytest.mark.row(23, "after restart")
def test_a_breaker_is_told_in_every_way_and_stands_after_a_kill(shell, config, receiver):
    """Log, table (through its verb), webhook; no secret in any of them; and the venues say what our tables say."""
    hook = {"url": receiver.url, "secret": "${HOOK_SECRET}"}
    risk = {"breakers": BREAKERS, "venue_check_interval_s": 1, "cancel_on_disconnect": ["*"]}
    path = config(risk=risk, alerts={"webhook": hook})
    with EmbeddedPostgres.join(shell.data / "postgres") as server:
        running = shell.start(path, HOOK_SECRET=SECRET)
        running.until("order submitted", 40)
        follower = shell.start("alerts", path, "--follow", "--json", module="nautilus_ext", HOOK_SECRET=SECRET)
        follower.until("BREAKER_EXECUTIONS", SOON_S)
        until(lambda: "BREAKER_EXECUTIONS" in {each["code"] for each in receiver.taken})
        time.sleep(3)  # some checks of the venues: they agree
        assert not {"BREAKER_DROP_COPY", "BREAKER_SYNC_FAILURE"} & {each["code"] for each in receiver.taken}
        with changed_fill(server.owner_url) as trade:
            until(lambda: [each for each in receiver.taken if each["code"] == "BREAKER_DROP_COPY"])
            (differs,) = [each["text"] for each in receiver.taken if each["code"] == "BREAKER_DROP_COPY"]
            assert trade in differs
        running.process.kill()
        running.process.wait()
        latched = {each["command_id"]: each["scope"] for each in kept(shell)["latched"]}
        assert latched
        assert all(scope.startswith("strategy=") for scope in latched.values())

        again = shell.start(path, HOOK_SECRET=SECRET)
        again.until("connected and reconciled", 40)
        time.sleep(3)
        code, told = shell.verb("alerts", path, "--json", "--limit", "500", HOOK_SECRET=SECRET)
        again.process.terminate()
        assert 0 == again.end(), again.output
        follower.process.kill()
    assert 0 == code
    rows = json.loads(told)
    stopped = [(row["run"], row["scope"]) for row in rows if row["code"] == "BREAKER_EXECUTIONS"]
    assert latched.items() <= {each["command_id"]: each["scope"] for each in kept(shell)["latched"]}.items()
    assert len({scope for _, scope in stopped}) == len(stopped)  # once each, over both runs
    for code in ("BREAKER_SYNC_FAILURE", "BREAKER_VENUE_DOWN", "BREAKER_BLIND", "BREAKER_NOT_APPLIED", "CRITICAL_"):
        assert code not in told
    stopped_before = [scope.removeprefix("strategy=") for scope in latched.values()]
    sent = [line for line in again.output.splitlines() if "order submitted" in line]
    assert [] == [line for line in sent if any(line.rstrip().endswith(name) for name in stopped_before)]
    log = (shell.data / "logs" / f"{BOOK}.jsonl").read_text()
    assert "BREAKER_EXECUTIONS" in log
    for text in (log, told, running.output, again.output, follower.output, json.dumps(receiver.taken)):
        assert SECRET not in text
        assert "part-of-the-address" not in text
