"""The synthetic catalog: the same bytes for the same market, complete or absent, whoever dies meanwhile."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from nautilus_trader.persistence.catalog import ParquetDataCatalog

from nautilus_ext.errors import ConfigError, MachineError
from nautilus_ext.simulation import default_market, ensure_catalog

START = "2026-01-05T00:00:00Z"
WAIT_S = 30.0

# A process that makes a catalog; with an argument "slow" it stays in the middle of writing until it is killed.
CHILD = """
import sys, time
from pathlib import Path
from nautilus_ext.simulation import catalog, default_market
if "slow" in sys.argv:
    def stay(*arguments):
        (Path(sys.argv[1]) / "in-the-middle").touch()
        time.sleep(600)
    catalog._ticks = stay
made = catalog.ensure_catalog(Path(sys.argv[1]), default_market(interval_ms=1_000), "2026-01-05T00:00:00Z", 2)
print(made.path)
"""


def child(folder: Path, *arguments: str) -> subprocess.Popen:
    command = [sys.executable, "-c", CHILD, str(folder), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def content(path: Path) -> dict[str, str]:
    files = (each for each in path.rglob("*") if each.is_file())
    return {str(each.relative_to(path)): hashlib.sha256(each.read_bytes()).hexdigest() for each in files}


def test_it_holds_what_the_market_quotes(tmp_path):
    """Every instrument, a quote of each per second, trades, all within the range that it reports."""
    made = ensure_catalog(tmp_path, default_market(interval_ms=1_000), START, 2)
    stored = ParquetDataCatalog(str(made.path))
    assert {each.id.value for each in stored.instruments()} == set(made.instrument_ids)
    assert len(stored.quote_ticks()) == 120 * len(made.instrument_ids)
    times = [tick.ts_init for tick in [*stored.quote_ticks(), *stored.trade_ticks()]]
    assert stored.trade_ticks()
    assert made.start_ns <= min(times)
    assert max(times) < made.end_ns
    assert made.end_ns - made.start_ns == 120 * 1_000_000_000


def test_it_is_the_same_to_the_byte_every_time(tmp_path):
    """Made twice in two folders, nothing differs: a backtest can be repeated anywhere."""
    first, second = (
        ensure_catalog(tmp_path / name, default_market(interval_ms=1_000), START, 2) for name in ("one", "two")
    )
    assert content(first.path) == content(second.path)


def test_it_is_made_once_and_another_market_gets_its_own(tmp_path):
    """The folder's name holds a digest of everything that changes the content."""
    first = ensure_catalog(tmp_path, default_market(interval_ms=1_000), START, 1)
    untouched = {each: each.stat().st_mtime_ns for each in first.path.rglob("*")}
    assert ensure_catalog(tmp_path, default_market(interval_ms=1_000), START, 1) == first
    assert {each: each.stat().st_mtime_ns for each in first.path.rglob("*")} == untouched
    others = {
        ensure_catalog(tmp_path, default_market(seed=8, interval_ms=1_000), START, 1).path,
        ensure_catalog(tmp_path, default_market(interval_ms=500), START, 1).path,
        ensure_catalog(tmp_path, default_market(interval_ms=1_000), START, 2).path,
        ensure_catalog(tmp_path, default_market(interval_ms=1_000), "2026-01-06", 1).path,
    }
    assert len(others | {first.path}) == 5


def test_an_iso_time_and_nanoseconds_name_the_same_range(tmp_path):
    """A time without a zone is UTC."""
    by_text = ensure_catalog(tmp_path, default_market(interval_ms=1_000), "2026-01-05T00:00:00", 1)
    assert ensure_catalog(tmp_path, default_market(interval_ms=1_000), by_text.start_ns, 1) == by_text


def test_a_kill_in_the_middle_leaves_no_half_catalog(tmp_path):
    """After kill -9 of the maker nothing of that name exists, and the next one makes all of it and clears the rest."""
    maker = child(tmp_path, "slow")
    deadline = time.monotonic() + WAIT_S
    while not (tmp_path / "in-the-middle").exists():
        assert time.monotonic() < deadline, maker.poll()
        time.sleep(0.01)
    maker.send_signal(signal.SIGKILL)
    maker.communicate(timeout=WAIT_S)
    assert list(tmp_path.glob("synthetic-*")) == []
    assert len(list(tmp_path.glob(".making-*"))) == 1
    made = ensure_catalog(tmp_path, default_market(interval_ms=1_000), START, 2)
    assert len(ParquetDataCatalog(str(made.path)).quote_ticks()) == 120 * len(made.instrument_ids)
    assert list(tmp_path.glob(".making-*")) == []


def test_two_processes_at_once_get_one_catalog(tmp_path):
    """Both name the same complete folder, and nobody overwrote the other."""
    answers = [maker.communicate(timeout=WAIT_S) for maker in [child(tmp_path), child(tmp_path)]]
    assert len({out for out, _ in answers}) == 1, answers
    path = Path(answers[0][0].strip())
    assert content(path) == content(
        ensure_catalog(tmp_path / "alone", default_market(interval_ms=1_000), START, 2).path
    )
    assert list(tmp_path.glob(".making-*")) == []


def test_an_hour_of_the_default_market_takes_little_time(tmp_path):
    """Nobody waits for data before the first backtest: 8 instruments, 3600 quotes each."""
    began = time.perf_counter()
    ensure_catalog(tmp_path, default_market(interval_ms=1_000), START, 60)
    assert time.perf_counter() - began < 5.0  # 0.3 s on an idle machine


@pytest.mark.parametrize(
    ("start", "minutes", "expected"),
    [("yesterday", 1, "'yesterday' is no time"), (START, 0, "0 minutes"), (START, 10**7, "between 1 and 20,000,000")],
)
def test_a_wrong_range_is_refused_with_its_cure(tmp_path, start, minutes, expected):
    """The operator's mistake is named before anything is written."""
    with pytest.raises(ConfigError, match=expected):
        ensure_catalog(tmp_path, default_market(interval_ms=1_000), start, minutes)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    """Where a file stands in the way of the folder, the message says which path."""
    (tmp_path / "taken").touch()
    with pytest.raises(MachineError, match=f"{tmp_path}{os.sep}taken"):
        ensure_catalog(tmp_path / "taken", default_market(interval_ms=1_000), START, 1)
