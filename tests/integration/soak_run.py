"""A paper node for a long time: what it and its shipper take, and how far the tables are behind, sampled."""

from __future__ import annotations

import asyncio
import copy
import json
import os
import signal
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
TICKS = 200  # and bars, that Nautilus keeps of each instrument: 10,000 trades or bars would take hours to come
MORE = "BTCUSDT-PERP.SIM2"
SAMPLES, SAMPLE_S_MAX = 40, 5.0  # a short one is looked at more often
POLL_S = 0.02
ANSWER_ROWS_MAX = 10_000
END_S_MAX = 30.0
AUDIT_S = 120.0  # for the audit, while the node goes on
KIB = 1_024
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
    """What a process takes, in bytes: what it asked for, its own pages, its share of all, and all that it sees.

    The first alone is its own doing: of the others, files that it shares are more or less when others come and go.
    """

    anonymous: int
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
    audit_code: int  # of an audit while the node still ran: 0, all is proven equal
    audit: str


def doubled(folder: Path, *, purges: bool = True, actors: Sequence[dict[str, Any]] = ()) -> Path:
    """Write paper.json with twice its events: a faster market, a busier rebalancer, one more quoter.

    It purges early and keeps few ticks, so that soon as much goes as comes; or never, to see what Nautilus keeps.
    """
    document = json.loads(PAPER.read_text())
    document["data_clients"]["SIM"]["config"]["interval_ms"] //= 2
    strategies = {each["strategy_path"].rpartition(":")[2]: each for each in document["strategies"]}
    strategies["Rebalancer"]["config"]["interval_s"] = 1
    quoter = copy.deepcopy(strategies["TwoSidedQuoter"])
    place = {"instrument_id": MORE, "external_order_claims": [MORE]}
    quoter["config"] |= {"order_id_tag": "004", "requote_bps": "0.3", **place}
    document["strategies"].append(quoter)
    document["actors"] = [_witness(folder), *actors]
    document["exec_engine"] |= PURGES if purges else dict.fromkeys(PURGES)
    document["cache"] = {"tick_capacity": TICKS, "bar_capacity": TICKS}
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
        code = process.wait(timeout=seconds + START_S_MAX)
        assert code == 0, _output(folder, "nautilus_ext.run").read_text()
        return asyncio.run(_rate(server.app_url))


async def _rate(url: str) -> float:
    connection = await asyncpg.connect(url)
    count, seconds = await connection.fetchrow(RATE, BOOK)
    await connection.close()
    return count / float(seconds)


def start(folder: Path, config: Path, seconds: float) -> subprocess.Popen[bytes]:
    return _spawn(folder, "nautilus_ext.run", str(config), "--seconds", f"{seconds:g}")


def _spawn(folder: Path, module: str, *arguments: str) -> subprocess.Popen[bytes]:
    """Run a command that writes into a file: nobody reads a pipe for half an hour."""
    places = {"NAUTILUS_EXT_DATA": str(folder), "PYTHONPATH": str(Path(__file__).parent)}
    with _output(folder, module).open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=ROOT,
            env={**os.environ, **places},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )


def _output(folder: Path, module: str) -> Path:
    return folder / f"{module}.txt"


def soak(folder: Path, config: Path, seconds: float, rate: float) -> Record:
    """Run it to its end, and look all the time."""
    with EmbeddedPostgres.join(folder / "postgres") as server:
        process = start(folder, config, seconds + AUDIT_S)
        reader = asyncio.new_event_loop()
        try:
            outside, visible = reader.run_until_complete(_look(process, folder, server.app_url, seconds))
            audit = _spawn(folder, "nautilus_ext", "audit", str(config))
            audit.wait(timeout=AUDIT_S)
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=END_S_MAX)
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
        output=_output(folder, "nautilus_ext.run").read_text(),
        audit_code=audit.returncode,
        audit=_output(folder, "nautilus_ext").read_text(),
    )


async def _look(
    process: subprocess.Popen[bytes], folder: Path, url: str, seconds: float
) -> tuple[list[Outside], list[Any]]:
    log = run_folder(folder / "journal" / BOOK, 1)
    await _until_shipped(process, log)
    outside, visible = [], []
    watching = asyncio.create_task(_see(url, visible))
    every_s = min(seconds / SAMPLES, SAMPLE_S_MAX)
    end_s = time.monotonic() + seconds - every_s
    while time.monotonic() < end_s and process.poll() is None:
        outside.append(_sample(process.pid, log))
        await asyncio.sleep(every_s)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    return outside, visible


async def _until_shipped(process: subprocess.Popen[bytes], log: Path) -> None:
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
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    anonymous = int(lines["RssAnon"].split()[0]) * KIB
    return Memory(anonymous, found.uss, found.pss, found.rss)


async def _see(url: str, visible: list[tuple[float, float]]) -> None:
    """Note of each event of an order how long after it was made it is in the tables, to the length of a poll."""
    connection = await asyncpg.connect(url)
    try:
        new = await connection.prepare(NEW)
        seen: tuple[int, int] | None = None
        while True:  # until it is cancelled
            rows = await new.fetch(BOOK, *(seen or (0, 0)), ANSWER_ROWS_MAX)
            now_s = time.time()
            if seen:  # what was there before the first look is of any age
                visible.extend((now_s, now_s * 1e3 - row["ts_init"] / 1e6) for row in rows)
            if rows:
                seen = rows[-1]["run"], rows[-1]["seq"]
            await asyncio.sleep(POLL_S)
    finally:
        connection.terminate()
