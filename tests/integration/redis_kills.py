"""The same kill of the same busy node, with our journal and with Nautilus's Redis cache: what each of them has then."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import platform
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg
import msgspec
import redis
from busy_ear import ORDERS_PER_S
from exchange_ledger import Ledger

from nautilus_ext.persistence.segments import run_folder
from nautilus_ext.persistence.shipper.state import LAST_PHASES, read_state

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping, Sequence

    from nautilus_ext.embedded import EmbeddedPostgres

ROOT = Path(__file__).resolve().parents[2]
PAPER = ROOT / "node_configs" / "paper.json"
TRADER = "PAPER-001"
LIFE_S = (0.3, 1.5)  # from the first fill to the kill
TRADES_S_MAX = 60.0
DRAIN_S_MAX = 60.0
SETTLE_S = 0.5  # what had reached the socket is in Valkey by then
POLL_S = 0.01
BUFFER_MS = 100  # what Nautilus's documentation calls a good compromise
JOURNALED = """SELECT client_order_id, event_id FROM order_events
 WHERE book_id = $1 AND client_order_id IS NOT NULL AND type LIKE 'Order%' ORDER BY run, seq"""

Kind = str  # of the three below
KINDS: Mapping[Kind, str] = {
    "journal": "local log and shipper",
    "redis": "Redis cache",
    "buffered": f"Redis cache, `buffer_interval_ms` {BUFFER_MS}",
}


@dataclass(frozen=True)
class Loss:
    """What one kill cost: of the events that the node had acknowledged, and of the orders that the exchange has."""

    acknowledged: int
    lost: int
    orders_behind: int  # their newest event is missing
    orders_unknown: int  # at the exchange, and the store has never heard of them
    doubled: int


class Killer:
    """Kills one node after the other, each with a book of its own; Valkey and PostgreSQL stay up."""

    def __init__(self, folder: Path, server: EmbeddedPostgres, valkey_port: int) -> None:
        self._folder = folder
        self._url = server.app_url
        self._valkey_port = valkey_port
        self._kills = 0

    def kill(self, kind: Kind, rnd: random.Random) -> Loss:
        """Let a node trade for a moment, kill it, and compare."""
        self._kills += 1
        book, heard = f"KILL-{self._kills}", self._folder / f"heard-{self._kills}"
        with redis.Redis(port=self._valkey_port) as client:
            client.flushall()
        process = self._start(kind, book, heard)
        try:
            _await(lambda: _has_filled(heard) or process.poll() is not None, TRADES_S_MAX)
            time.sleep(rnd.uniform(*LIFE_S))
            assert process.poll() is None, "the node ended by itself"
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
        kept = self._journaled(book) if kind == "journal" else self._cached()
        return _loss(heard.read_text(), kept, Ledger(self._folder / "exchange" / "paper", book))

    def close(self) -> None:
        """End the exchange, which waits for the nodes that were killed."""
        address = self._folder / "exchange" / "paper" / "server.json"
        if address.exists():
            with contextlib.suppress(ProcessLookupError):
                os.kill(json.loads(address.read_text())["pid"], signal.SIGKILL)

    def _start(self, kind: Kind, book: str, heard: Path) -> subprocess.Popen[bytes]:
        config = self._folder / f"{book}.json"
        config.write_text(json.dumps(self._document(kind, heard)))
        places = {"NAUTILUS_EXT_DATA": str(self._folder), "PYTHONPATH": str(Path(__file__).parent)}
        return subprocess.Popen(
            [sys.executable, "-m", "nautilus_ext.run", str(config), "--book", book],
            cwd=ROOT,
            env={**os.environ, **places},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def _document(self, kind: Kind, heard: Path) -> dict[str, Any]:
        document = json.loads(PAPER.read_text())
        del document["$schema"]
        ear = {"actor_path": "busy_ear:Ear", "config_path": "busy_ear:EarConfig", "config": {"path": str(heard)}}
        busy = {
            "strategy_path": "busy_ear:Busy",
            "config_path": "nautilus_trader.config:StrategyConfig",
            "config": {"order_id_tag": "001"},
        }
        rate = {"max_order_submit_rate": "100000/00:00:01"}
        document |= {"actors": [ear], "strategies": [busy], "risk_engine": rate}
        if kind != "journal":
            database = {"type": "redis", "host": "127.0.0.1", "port": self._valkey_port}
            buffer = {"buffer_interval_ms": BUFFER_MS} if kind == "buffered" else {}
            document |= {"persistence": {"enabled": False}, "cache": {"database": database, **buffer}}
        return document

    def _journaled(self, book: str) -> dict[str, list[str]]:
        """Return the events of each order as the tables have them, once the shipper that was left alone has ended."""
        folder = run_folder(self._folder / "journal" / book, 1)
        _await(lambda: read_state(folder).phase in LAST_PHASES, DRAIN_S_MAX)
        return asyncio.run(self._fetched(book))

    async def _fetched(self, book: str) -> dict[str, list[str]]:
        connection = await asyncpg.connect(self._url)
        kept: dict[str, list[str]] = {}
        for order_id, event_id in await connection.fetch(JOURNALED, book):
            kept.setdefault(order_id, []).append(event_id)
        await connection.close()
        return kept

    def _cached(self) -> dict[str, list[str]]:
        """Return the same as Valkey has it: a list of events for each order."""
        time.sleep(SETTLE_S)
        prefix = f"trader-{TRADER}:orders:"
        with redis.Redis(port=self._valkey_port) as client:
            keys = [key.decode() for key in client.scan_iter(f"{prefix}*", count=1_000)]
            pipe = client.pipeline(transaction=False)
            for key in keys:
                pipe.lrange(key, 0, -1)
            lists = pipe.execute()
        decode = msgspec.msgpack.decode
        return {
            key.removeprefix(prefix): [decode(event)["event_id"] for event in events]
            for key, events in zip(keys, lists, strict=True)
        }


def _loss(heard: str, kept: Mapping[str, list[str]], ledger: Ledger) -> Loss:
    whole = heard[: heard.rfind("\n") + 1].splitlines()  # the kill may have cut the last line
    told = [line.split() for line in whole]
    known = {event_id for events in kept.values() for event_id in events}
    lost = [(event_id, order_id) for event_id, order_id, _ in told if event_id not in known]
    sent = {row["client_order_id"] for row in ledger.orders}
    return Loss(
        acknowledged=len(told),
        lost=len(lost),
        orders_behind=len({order_id for _, order_id in lost}),
        orders_unknown=len(sent - kept.keys()),
        doubled=sum(len(events) for events in kept.values()) - len(known),
    )


def page(losses: Mapping[Kind, Sequence[Loss]], seed: int) -> str:
    """Write what is linked from the page of the kills: sums first, then each kill."""
    head = (
        "# The same kills with Nautilus's own Redis cache\n\n"
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {os.cpu_count()} cores, Linux {platform.release()}, Python "
        f"{platform.python_version()}, NautilusTrader {version('nautilus_trader')}, seed {seed}, load of the machine "
        f"{os.getloadavg()[1]:.1f}. `make prove` writes this page.\n\n"
        f"A paper node with one busy strategy (market orders and limit orders that are cancelled, up to {ORDERS_PER_S} "
        f"orders/s) is killed with kill -9 at a random moment, {LIFE_S[0]:g} to {LIFE_S[1]:g} s after its first fill. "
        "*Acknowledged* is an event of an order that the cache had taken and the bus had told of: the node writes its "
        "id to a file at once. *Lost* is one that is not in the store afterwards: the tables once the shipper that was "
        "left alone has ended, or Valkey half a second later. Only the node is killed; Valkey and PostgreSQL stay up. "
        "The simulated exchange's durable ledger says which orders had reached it.\n\n"
    )
    return head + _sums(losses) + "\n\n## Kill by kill\n\nEvents lost, of those acknowledged.\n\n" + _kills(losses)


def _sums(losses: Mapping[Kind, Sequence[Loss]]) -> str:
    names = (
        "", "Kills", "Acknowledged", "Lost", "Kills that lost any", "Most in one", "Orders left behind",
        "Orders at the exchange and unknown", "Applied twice",
    )  # fmt: skip
    rows = [f"| {' | '.join(names)} |", f"|---|{'---:|' * (len(names) - 1)}"]
    for kind, found in losses.items():
        lost = [loss.lost for loss in found]
        figures = (
            len(found), sum(loss.acknowledged for loss in found), sum(lost), sum(map(bool, lost)), max(lost),
            sum(loss.orders_behind for loss in found), sum(loss.orders_unknown for loss in found),
            sum(loss.doubled for loss in found),
        )  # fmt: skip
        rows.append(f"| {KINDS[kind]} | {' | '.join(f'{figure:,}' for figure in figures)} |")
    return "\n".join(rows)


def _kills(losses: Mapping[Kind, Sequence[Loss]]) -> str:
    rows = [f"| Kill | {' | '.join(KINDS[kind] for kind in losses)} |", f"|---:|{'---:|' * len(losses)}"]
    for number, row in enumerate(zip(*losses.values(), strict=True), 1):
        rows.append(f"| {number} | {' | '.join(f'{loss.lost:,} of {loss.acknowledged:,}' for loss in row)} |")
    return "\n".join(rows) + "\n"


def _has_filled(heard: Path) -> bool:
    return heard.exists() and b"OrderFilled" in heard.read_bytes()


def _await(predicate: Any, timeout_s: float) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not predicate():
        assert time.monotonic() < deadline_s, f"not true within {timeout_s:g} s"
        time.sleep(POLL_S)
