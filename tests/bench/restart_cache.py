"""What a node of a long history begins with, put into an empty cache: python restart_cache.py KIND FOLDER VALKEY_PORT.

KIND is journal (the tables are read, `Restore` fills the cache), recent (the same, with the newest 5,000 orders, of
which a venue would tell again) or redis (Nautilus loads its own cache database, which is all of it).
A process for itself each time: what is measured is its time and its peak of memory.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
from nautilus_trader.cache.cache import Cache
from nautilus_trader.cache.config import CacheConfig
from nautilus_trader.cache.database import CacheDatabaseAdapter
from nautilus_trader.common.component import MessageBus, TestClock
from nautilus_trader.common.config import DatabaseConfig
from nautilus_trader.core.uuid import UUID4
from nautilus_trader.execution.engine import ExecutionEngine
from nautilus_trader.model.identifiers import TraderId
from nautilus_trader.portfolio.portfolio import Portfolio
from nautilus_trader.serialization.serializer import MsgSpecSerializer
from restart_history import BOOK, QUOTE_NS, TRADER
from servers import POSTGRES, START_S_MAX

from nautilus_ext.embedded import EmbeddedPostgres
from nautilus_ext.persistence import Restore, RestoreConfig
from nautilus_ext.persistence.audit import opened
from nautilus_ext.persistence.holdings import Holdings, read_holdings

RECENT = 5_000
MB = 1_024  # the kernel counts in KiB


def _journal(folder: Path, recent_s: float) -> dict[str, Any]:
    with EmbeddedPostgres.join(folder / POSTGRES) as server:
        began_s = time.perf_counter()
        holdings = asyncio.run(_read(server.app_url, recent_s))
        path = folder / "holdings.json"
        path.write_bytes(msgspec.json.encode(holdings))
        read_s = time.perf_counter() - began_s
        clock = TestClock()
        cache, msgbus = Cache(), MessageBus(trader_id=TraderId(TRADER), clock=clock)
        actor = Restore(RestoreConfig(path=str(path)))
        portfolio = Portfolio(msgbus, cache, clock)
        filling_s = time.perf_counter()
        actor.register_base(portfolio, msgbus, cache, clock)
        filled_s = time.perf_counter() - filling_s
    assert not actor.restored.troubles, actor.restored.troubles
    return {"read": read_s, "fill": filled_s, "wall": read_s + filled_s, **_counts(cache)}


async def _read(url: str, recent_s: float) -> Holdings:
    async with opened(url, START_S_MAX, "exec-suite bench") as connection:
        return await read_holdings(connection, BOOK, recent_s=recent_s)


def _redis(valkey_port: int) -> dict[str, Any]:
    """Do as Nautilus's kernel does when it is built."""
    config = CacheConfig(database=DatabaseConfig(type="redis", host="127.0.0.1", port=valkey_port))
    serializer = MsgSpecSerializer(encoding=msgspec.msgpack, timestamps_as_str=True)
    began_s = time.perf_counter()
    cache = Cache(CacheDatabaseAdapter(TraderId(TRADER), UUID4(), serializer, config))
    clock = TestClock()
    engine = ExecutionEngine(MessageBus(trader_id=TraderId(TRADER), clock=clock), cache, clock)
    engine.load_cache()
    return {"wall": time.perf_counter() - began_s, **_counts(cache)}


def _counts(cache: Cache) -> dict[str, int]:
    return {"orders": cache.orders_total_count(), "open": cache.orders_open_count()}


def _measure(kind: str, folder: Path, valkey_port: int, orders: int) -> dict[str, Any]:
    if kind == "redis":
        found = _redis(valkey_port)
    else:
        first = orders - RECENT if kind == "recent" else orders + 1
        found = _journal(folder, first * QUOTE_NS / 1e9)
    return {**found, "peak_mb": _peak_kb() / MB}


def _peak_kb() -> int:
    """Read the peak of this program: `ru_maxrss` would be the parent's when that was larger."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


if __name__ == "__main__":
    result = _measure(sys.argv[1], Path(sys.argv[2]), *map(int, sys.argv[3:5]))
    sys.stdout.write(f"{json.dumps(result)}\n")
