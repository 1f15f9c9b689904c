"""A Parquet catalog of the synthetic market: what a backtest or a replay reads when nobody has recorded data yet."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING

import msgspec
import nautilus_trader
from nautilus_trader.persistence.catalog import ParquetDataCatalog
from pyarrow import parquet

from nautilus_ext.config.suite import SYNTHETIC_QUOTES_MAX as QUOTES_MAX
from nautilus_ext.errors import ConfigError, MachineError, Problem
from nautilus_ext.simulation.instruments import TickMaker, to_instrument
from nautilus_ext.simulation.market import MODEL_VERSION, tape

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from nautilus_trader.model.data import QuoteTick, TradeTick

    from nautilus_ext.simulation.market import Market, Step

STEPS_PER_FILE = 20_000  # bounds what is in memory at once
SYNTHETIC = "synthetic-"
UNFINISHED = ".making-"
START_MAX = datetime(2200, 1, 1, tzinfo=UTC)  # nanoseconds of later times do not fit everywhere
LOCK_WAIT_S = 120.0
LOCK_POLL_S = 0.05
LISTING_OFFSET_NS = 1_000  # no two listings at the same nanosecond: their order in a backtest is then certain
TRADE_OFFSET_NS = 500  # a trade follows the quote it happened at


@dataclass(frozen=True)
class Catalog:
    """Where the data is and what a backtest has to know to read it."""

    path: Path
    instrument_ids: tuple[str, ...]
    start_ns: int
    end_ns: int


def ensure_catalog(folder: Path, market: Market, start: str | int, minutes: int) -> Catalog:
    """The catalog of this market and range below `folder`: made once, then used again.

    `start` is an ISO time (UTC unless it says otherwise) or nanoseconds since 1970. The folder appears complete
    or not at all, whoever is killed meanwhile and however many processes ask at once.
    """
    start_ns, steps = _start_ns(start), _steps(market, minutes)
    path = folder / f"{SYNTHETIC}{_digest(market, start_ns, steps)}"
    if not path.exists():
        _make(path, market, start_ns, steps)
    return _described(path, market, start_ns, steps)


def make_catalog(path: Path, market: Market, start: str | int, minutes: int) -> Catalog:
    """The catalog of this market and range at exactly this path, where nothing may be yet."""
    start_ns, steps = _start_ns(start), _steps(market, minutes)
    if _is_taken(path):
        cure = "choose another folder, or remove it first"
        raise ConfigError("catalog", [Problem("folder", f"{path} is there already: {cure}")])
    if not _make(path, market, start_ns, steps):
        raise ConfigError("catalog", [Problem("folder", f"another process has just made {path}: look at it")])
    return _described(path, market, start_ns, steps)


def _is_taken(path: Path) -> bool:
    return path.exists() and not (path.is_dir() and not any(path.iterdir()))


def rows(path: Path) -> dict[str, dict[str, int]]:
    """How many quotes, trades, … of each instrument a catalog holds, by Nautilus's names of them."""
    found: dict[str, dict[str, int]] = {}
    for file in sorted((path / "data").glob("*/*/*.parquet")):
        kind = found.setdefault(file.parent.parent.name, {})
        kind[file.parent.name] = kind.get(file.parent.name, 0) + parquet.read_metadata(file).num_rows
    return found


def _make(path: Path, market: Market, start_ns: int, steps: int) -> bool:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _sole_builder(path.parent):
            return _build(path, market, start_ns, steps)
    except OSError as error:
        raise MachineError(f"cannot write the catalog {path}: {error.strerror or error}") from error


def _described(path: Path, market: Market, start_ns: int, steps: int) -> Catalog:
    end_ns = start_ns + steps * market.interval_ms * 1_000_000
    return Catalog(path, tuple(listing.instrument_id for listing in market.listings), start_ns, end_ns)


def _start_ns(start: str | int) -> int:
    if isinstance(start, int):
        return start
    try:
        moment = datetime.fromisoformat(start)
    except ValueError as error:
        cure = "write an ISO time, for instance 2026-01-05T00:00:00Z"
        raise ConfigError("catalog", [Problem("start", f"{start!r} is no time; {cure}")]) from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    if not 0 <= moment.timestamp() < START_MAX.timestamp():
        raise ConfigError("catalog", [Problem("start", f"{start} must be between 1970 and {START_MAX.year}")])
    return int(moment.timestamp()) * 1_000_000_000 + moment.microsecond * 1_000


def _steps(market: Market, minutes: int) -> int:
    steps = minutes * 60_000 // market.interval_ms
    quotes = steps * len(market.listings)
    if steps >= 1 and quotes <= QUOTES_MAX:
        return steps
    text = (
        f"{minutes} minutes of {len(market.listings)} instruments every {market.interval_ms} ms are {quotes:,} quotes; "
        f"between 1 and {QUOTES_MAX:,} can be made: change the minutes or the interval"
    )
    raise ConfigError("catalog", [Problem("minutes", text)])


def _digest(market: Market, start_ns: int, steps: int) -> str:
    """Whatever changes the bytes is in it: another market, another range, another model, another engine."""
    content = msgspec.json.encode((MODEL_VERSION, nautilus_trader.__version__, market, start_ns, steps))
    return hashlib.sha256(content).hexdigest()[:16]


@contextmanager
def _sole_builder(folder: Path) -> Iterator[None]:
    """The kernel frees this lock when its holder dies, however it dies."""
    lock = os.open(folder, os.O_RDONLY)  # of the folder itself: a file for it would stay behind
    try:
        deadline = time.monotonic() + LOCK_WAIT_S
        while not _try_lock(lock):
            if time.monotonic() > deadline:
                raise MachineError(f"another process has been making a catalog in {folder} for {LOCK_WAIT_S:.0f} s")
            time.sleep(LOCK_POLL_S)
        yield
    finally:
        os.close(lock)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _build(path: Path, market: Market, start_ns: int, steps: int) -> bool:
    if _is_taken(path):  # someone else made it while we waited for the lock
        return False
    unfinished = path.parent / f"{UNFINISHED}{path.name}"
    for leftover in {unfinished, *path.parent.glob(f"{UNFINISHED}{SYNTHETIC}*")}:
        if leftover.exists():  # we hold the lock, so its maker was killed
            shutil.rmtree(leftover)
    unfinished.mkdir()
    _write(ParquetDataCatalog(str(unfinished)), market, start_ns, steps)
    os.rename(unfinished, path)  # noqa: PTH104 - the one atomic step of this module, by its plain name
    return True


def _write(catalog: ParquetDataCatalog, market: Market, start_ns: int, steps: int) -> None:
    instruments = {each.instrument_id: to_instrument(each) for each in market.listings}
    catalog.write_data(list(instruments.values()))
    makers = {name: TickMaker(instrument) for name, instrument in instruments.items()}
    steps_left = islice(tape(market), steps)
    while chunk := list(islice(steps_left, STEPS_PER_FILE)):
        for index, maker in enumerate(makers.values()):
            first_ns = start_ns + index * LISTING_OFFSET_NS
            for ticks in _ticks(chunk, maker, first_ns, market.interval_ms * 1_000_000):
                if ticks:
                    catalog.write_data(ticks)


def _ticks(
    chunk: list[Step], maker: TickMaker, first_ns: int, interval_ns: int
) -> tuple[list[QuoteTick], list[TradeTick]]:
    """One listing's part of a chunk. While its venue is stale or halted it has none."""
    name = maker.instrument_id.value
    quotes = [
        maker.quote(quote, first_ns + step.number * interval_ns)
        for step in chunk
        for quote in step.quotes
        if quote.instrument_id == name
    ]
    trades = [
        maker.trade(trade, step.number, first_ns + step.number * interval_ns + TRADE_OFFSET_NS)
        for step in chunk
        for trade in step.trades
        if trade.instrument_id == name
    ]
    return quotes, trades
