"""A paper node for a long time: what it and its shipper take, and how far the tables are behind, sampled."""

from __future__ import annotations

import asyncio
import copy
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg
import msgspec
import psutil
from soak_witness import Inside

from nautilus_ext.embedded import EmbeddedPostgres
from nautilus_ext.persistence.segments import run_folder
from nautilus_ext.persistence.shipper.state import read_state

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parents[2]
PAPER = ROOT / "node_configs" / "paper.json"
BOOK = "PAPER-001.paper"
MORE = "BTCUSDT-PERP.SIM2"
SAMPLES, SAMPLE_S_MAX = 40, 5.0  # a short one is looked at more often
POLL_S = 0.02
ANSWER_ROWS_MAX = 10_000
END_S_MAX = 30.0
START_S_MAX = 60.0
PURGES = {
    f"purge_{what}_mins": 1
    for what in (
        "closed_orders_interval", "closed_orders_buffer", "closed_positions_interval", "closed_positions_buffer",
        "account_events_interval", "account_events_lookback",
    )
}  # fmt: skip
NEW = """SELECT run, seq, ts_init FROM order_events
 WHERE book_id = $1 AND (run, seq) > ($2, $3) AND type LIKE 'Order%' ORDER BY run, seq LIMIT $4"""
RATE = "SELECT count(*), (max(ts_init) - min(ts_init)) / 1e9 FROM order_events WHERE book_id = $1"


class Memory(msgspec.Struct, frozen=True):
    """What a process takes, in bytes: its own pages, its share of all, and all that it sees."""

    uss: int
    pss: int
    rss: int


class Outside(msgspec.Struct, frozen=True, kw_only=True):
    """One look from outside; the log is what waits on disk or is not removed yet."""

    at_s: float
    node: Memory
    shipper: Memory
    log_bytes: int


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """All of a soak."""

    usual_rate: float
    seconds: float
    outside: list[Outside]
    inside: list[Inside]
    visible: list[tuple[float, float]]  # when an event was seen in the tables, and how late, ms
    exit_code: int
    output: str


def doubled(folder: Path, *, purges: bool = True, actors: Sequence[dict[str, Any]] = ()) -> Path:
    """Write paper.json with twice its events: a faster market, a busier rebalancer, one more quoter.

    It purges early, so that soon as much goes as comes; or never, to see what Nautilus keeps.
    """
    document = json.loads(PAPER.read_text())
    document["data_clients"]["SIM"]["config"]["interval_ms"] //= 2
    strategies = {each["strategy_path"].rpartition(":")[2]: each for each in document["strategies"]}
    strategies["Rebalancer"]["config"]["interval_s"] = 2
    quoter = copy.deepcopy(strategies["TwoSidedQuoter"])
    quoter["config"] |= {"order_id_tag": "004", "instrument_id": MORE, "external_order_claims": [MORE]}
    document["strategies"].append(quoter)
    document["actors"] = [_witness(folder), *actors]
    document["exec_engine"] |= PURGES if purges else dict.fromkeys(PURGES)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "soak.json"
    path.write_text(json.dumps(document))
    return path


def _witness(folder: Path) -> dict[str, Any]:
    return {
        "actor_path": "soak_witness:Witness",
        "config_path": "soak_witness:WitnessConfig",
        "config": {"path": str(folder / "inside.jsonl")},
    }


def usual_rate(folder: Path, seconds: float) -> float:
    """Events per second of paper.json as it is shipped, on this machine."""
    with EmbeddedPostgres.join(folder / "postgres") as server:
        process = start(folder, PAPER, seconds)
        output, _ = process.communicate(timeout=seconds + START_S_MAX)
        assert process.returncode == 0, output
        return asyncio.run(_rate(server.app_url))


async def _rate(url: str) -> float:
    connection = await asyncpg.connect(url)
    count, seconds = await connection.fetchrow(RATE, BOOK)
    await connection.close()
    return count / float(seconds)


def start(folder: Path, config: Path, seconds: float) -> subprocess.Popen[str]:
    places = {"NAUTILUS_EXT_DATA": str(folder), "PYTHONPATH": str(Path(__file__).parent)}
    return subprocess.Popen(
        [sys.executable, "-m", "nautilus_ext.run", str(config), "--seconds", f"{seconds:g}"],
        cwd=ROOT,
        env={**os.environ, **places},
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def soak(folder: Path, config: Path, seconds: float, rate: float) -> Record:
    """Run it to its end, and look all the time."""
    with EmbeddedPostgres.join(folder / "postgres") as server:
        process = start(folder, config, seconds)
        reader = asyncio.new_event_loop()
        try:
            outside, visible, output = reader.run_until_complete(_look(process, folder, server.app_url, seconds))
        finally:
            process.kill()
            reader.close()
    lines = (folder / "inside.jsonl").read_bytes().splitlines()
    return Record(
        usual_rate=rate,
        seconds=seconds,
        outside=outside,
        inside=[msgspec.json.decode(line, type=Inside) for line in lines],
        visible=visible,
        exit_code=process.returncode,
        output=output,
    )


async def _look(process: subprocess.Popen[str], folder: Path, url: str, seconds: float) -> tuple[Any, ...]:
    log = run_folder(folder / "journal" / BOOK, 1)
    output = asyncio.create_task(asyncio.to_thread(process.communicate, timeout=seconds + START_S_MAX + END_S_MAX))
    await _until_shipped(process, log)
    outside, visible = [], []
    watching = asyncio.create_task(_see(url, visible))
    every_s = min(seconds / SAMPLES, SAMPLE_S_MAX)
    end_s = time.monotonic() + seconds - every_s  # what the stop takes is no part of it
    while time.monotonic() < end_s and process.poll() is None:
        outside.append(_sample(process.pid, log))
        await asyncio.sleep(every_s)
    watching.cancel()
    text, _ = await output
    return outside, visible, text


async def _until_shipped(process: subprocess.Popen[str], log: Path) -> None:
    deadline_s = time.monotonic() + START_S_MAX
    while not read_state(log).shipped_seq:
        assert process.poll() is None, "the node ended"
        assert time.monotonic() < deadline_s, "nothing was shipped"
        await asyncio.sleep(POLL_S)


def _sample(node: int, log: Path) -> Outside:
    files = [path.stat().st_size for path in log.glob("*.seg") if path.exists()]
    return Outside(at_s=time.time(), node=_memory(node), shipper=_memory(read_state(log).pid), log_bytes=sum(files))


def _memory(pid: int) -> Memory:
    found = psutil.Process(pid).memory_full_info()
    return Memory(found.uss, found.pss, found.rss)


async def _see(url: str, visible: list[tuple[float, float]]) -> None:
    """Note of each event of an order how long after it was made it is in the tables, to the length of a poll."""
    connection = await asyncpg.connect(url)
    new = await connection.prepare(NEW)
    run, seq = 1, 0
    first = True
    while True:
        rows = await new.fetch(BOOK, run, seq, ANSWER_ROWS_MAX)
        now_s = time.time()
        if rows:
            run, seq = rows[-1]["run"], rows[-1]["seq"]
            if not first:  # what was there before the first look is of any age
                visible.extend((now_s, now_s * 1e3 - row["ts_init"] / 1e6) for row in rows)
            first = False
        await asyncio.sleep(POLL_S)
