"""A catalog as a live data source: all of it, in order, as if it was now, each datum worked off before the next."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from nautilus_trader.model.data import Bar, BarType, BookOrder, OrderBookDelta
from nautilus_trader.model.enums import BookAction, OrderSide
from nautilus_trader.model.identifiers import InstrumentId
from nautilus_trader.model.objects import Price, Quantity
from nautilus_trader.persistence.catalog import ParquetDataCatalog
from nautilus_trader.trading.config import StrategyConfig
from nautilus_trader.trading.strategy import Strategy
from two_worlds import BTC, BTC_ID, ETH, ETH_ID, START_NS, backtest, in_child, quote, replay, report, trade, write

from nautilus_ext.simulation import CatalogReplayDataClientConfig, default_market, ensure_catalog
from nautilus_ext.simulation.replay.recorded import Recording, Unplayable

STEP_MS = 50
STEPS = 40
BARS = BarType.from_str(f"{ETH_ID}-1-SECOND-LAST-EXTERNAL")
AS_FAST_AS_IT_GOES = 1e6


def delta(ms: float) -> OrderBookDelta:
    order = BookOrder(OrderSide.BUY, Price.from_str("2999.00"), Quantity.from_str("1.000"), 7)
    return OrderBookDelta(ETH_ID, BookAction.ADD, order, 0, 1, START_NS + int(ms * 1e6), START_NS + int(ms * 1e6))


def bar(ms: float) -> Bar:
    prices = (Price.from_str(text) for text in ("3000.00", "3001.00", "2999.00", "3000.50"))
    return Bar(BARS, *prices, Quantity.from_str("5.000"), START_NS + int(ms * 1e6), START_NS + int(ms * 1e6))


def whole_catalog(folder: Path) -> Path:
    """All kinds, two instruments, several data at the same nanosecond, and `ts_event` before `ts_init`."""
    steps = range(STEPS)
    write(folder, [quote(ETH, STEP_MS * step, 300_000 + step) for step in steps])
    catalog = ParquetDataCatalog(str(folder))
    catalog.write_data([quote(BTC, STEP_MS * step, 600_000 - step) for step in steps])
    catalog.write_data([trade(ETH, STEP_MS * step, 300_000, number=step) for step in steps if step % 3 == 0])
    catalog.write_data([trade(BTC, STEP_MS * step, 600_000, number=step) for step in steps if step % 5 == 0])
    catalog.write_data([delta(STEP_MS * step) for step in steps if step % 4 == 0])
    catalog.write_data([bar(STEP_MS * step) for step in steps if step % 20 == 0])
    return folder


class Listener(Strategy):
    """Writes down what it gets, and when."""

    def __init__(self) -> None:
        super().__init__(StrategyConfig(order_id_tag="001"))
        self.got: list[list[Any]] = []
        self.instruments_at_start = 0

    def on_start(self) -> None:
        time.sleep(0.2)  # whatever a strategy does here: nothing may come before it is done
        self.instruments_at_start = len(self.cache.instruments())
        for instrument_id in (ETH_ID, BTC_ID):
            self.subscribe_quote_ticks(instrument_id)
            self.subscribe_trade_ticks(instrument_id)
        self.subscribe_order_book_deltas(ETH_ID)
        self.subscribe_bars(BARS)

    def note(self, kind: str, name: Any, datum: Any, content: Any) -> None:
        self.got.append([kind, str(name), str(content), datum.ts_event, datum.ts_init, self.clock.timestamp_ns()])

    def on_quote_tick(self, tick: Any) -> None:
        self.note("quote", tick.instrument_id, tick, f"{tick.bid_price} {tick.ask_size}")

    def on_trade_tick(self, tick: Any) -> None:
        self.note("trade", tick.instrument_id, tick, f"{tick.price} {tick.trade_id}")

    def on_order_book_deltas(self, deltas: Any) -> None:
        self.note("deltas", deltas.instrument_id, deltas, [each.order for each in deltas.deltas])

    def on_bar(self, bar: Any) -> None:
        self.note("bar", bar.bar_type, bar, bar.close)


class OneOrderPerQuote(Strategy):
    """A market order at each quote; notes what has come by the next one."""

    def __init__(self) -> None:
        super().__init__(StrategyConfig(order_id_tag="001"))
        self.filled = 0
        self.sent = 0
        self.missing: list[int] = []

    def on_start(self) -> None:
        self.subscribe_quote_ticks(ETH_ID)
        self.subscribe_quote_ticks(BTC_ID)

    def on_quote_tick(self, tick: Any) -> None:
        if self.filled != self.sent:
            self.missing.append(self.sent - self.filled)
        self.sent += 2
        instrument = self.cache.instrument(tick.instrument_id)
        self.submit_order(self.order_factory.market(instrument.id, OrderSide.BUY, instrument.make_qty(1)))

    def on_order_filled(self, event: Any) -> None:
        self.filled += 1
        if event.order_side == OrderSide.BUY:  # an answer to the fill belongs to the same datum
            order = self.order_factory.market(event.instrument_id, OrderSide.SELL, event.last_qty)
            self.submit_order(order)


def played(catalog: Path, **config: Any) -> dict[str, Any]:
    listener = Listener()
    began_s = time.monotonic()
    replay(catalog, [listener], **config)
    return {
        "got": listener.got,
        "instruments": listener.instruments_at_start,
        "took_s": time.monotonic() - began_s,
    }


def scenarios(folder: Path) -> dict[str, Any]:
    catalog = whole_catalog(folder / "whole")
    in_backtest = Listener()
    backtest(catalog, [in_backtest])
    worker = OneOrderPerQuote()
    replay(catalog, [worker], speed=AS_FAST_AS_IT_GOES)
    began_ns = time.time_ns()
    return {
        "backtest": in_backtest.got,
        "live": played(catalog),
        "began_ns": began_ns,
        "fast": played(catalog, speed=4.0),
        "part": played(
            catalog,
            instrument_ids=[ETH_ID],
            start="2026-01-05T00:00:00.500",
            end="2026-01-05T00:00:01Z",
            speed=AS_FAST_AS_IT_GOES,
        ),
        "idle": played(catalog, speed=AS_FAST_AS_IT_GOES, seconds=1.5),
        "worker": [worker.sent, worker.filled, worker.missing],
    }


def memory(folder: str) -> dict[str, float]:
    process, early_mb, count = psutil.Process(), 0.0, 0
    for _ in Recording(Path(folder), None, None, None).data():
        count += 1
        if count == 100_000:
            early_mb = process.memory_info().rss / 1e6
    return {"count": count, "grown_mb": process.memory_info().rss / 1e6 - early_mb}


if __name__ == "__main__":
    if sys.argv[1] == "memory":
        report(memory(sys.argv[2]))
    else:
        with tempfile.TemporaryDirectory() as scratch:
            report(scenarios(Path(scratch)))


@pytest.fixture(scope="module")
def child() -> tuple[dict[str, Any], str]:
    return in_child(__file__, "scenarios")


def without_times(got: list[list[Any]]) -> list[list[Any]]:
    return [each[:3] for each in got]


def test_a_strategy_gets_what_a_backtest_gives_it_from_the_first_datum_on(child):
    """Kind, instrument, content and order, also of data at the same nanosecond; nothing twice, nothing lost."""
    seen, _ = child
    expected = without_times(seen["backtest"])
    assert expected == without_times(seen["live"]["got"])
    assert {"quote", "trade", "deltas", "bar"} == {each[0] for each in expected}
    assert 2 * STEPS + 14 + 8 + 10 + 2 == len(expected)


def test_the_first_datum_is_now_and_all_others_keep_their_distance_to_it(child):
    """To the nanosecond in the data, and never before its time at the strategy."""
    seen, _ = child
    recorded, live = seen["backtest"], seen["live"]["got"]
    shift_ns = live[0][4] - recorded[0][4]
    assert shift_ns > seen["began_ns"] - recorded[0][4]
    assert [each[4] + shift_ns for each in recorded] == [each[4] for each in live]
    assert [each[3] + shift_ns for each in recorded] == [each[3] for each in live]
    late_ms = [(received - ts_init) / 1e6 for *_, ts_init, received in live]
    print(f"late by {max(late_ms):.1f} ms at most")
    assert min(late_ms) >= -2.0  # the loop's timers count in whole milliseconds
    assert max(late_ms) < 500


def test_the_catalogs_instruments_are_there_when_strategies_start(child):
    """In the cache, before their on_start."""
    assert 2 == child[0]["live"]["instruments"]


def test_an_order_is_worked_off_before_the_next_datum(child):
    """As fast as it goes: the order, its fill, the order that answers the fill and that one's fill, at each datum."""
    sent, filled, missing = child[0]["worker"]
    assert (4 * STEPS, 4 * STEPS, []) == (sent, filled, missing)


def test_speed_scales_time_and_timestamps(child):
    """Four times as fast, the data stay as old as they are in the node's clock."""
    seen, _ = child
    fast, live = seen["fast"]["got"], seen["live"]["got"]
    assert without_times(live) == without_times(fast)
    span_ns, fast_span_ns = (got[-1][4] - got[0][4] for got in (live, fast))
    assert span_ns // 4 == pytest.approx(fast_span_ns, abs=1)
    assert seen["fast"]["took_s"] < seen["live"]["took_s"] - 1.0


def test_a_part_of_the_catalog(child):
    """Only the instruments and the range that were asked for; their first datum is now."""
    seen, _ = child
    part = seen["part"]
    assert 1 == part["instruments"]
    first, last = 500 // STEP_MS, 1_000 // STEP_MS
    assert last - first + 1 == sum(each[0] == "quote" for each in part["got"])
    assert {str(ETH_ID), str(BARS)} >= {each[1] for each in part["got"]}


def test_at_the_end_the_node_runs_on_and_says_so_unless_told_to_stop(child):
    """With `stop_at_end` it ends by itself, in order."""
    seen, log = child
    total = len(seen["backtest"])
    assert total == len(seen["idle"]["got"])
    assert f"the catalog is at its end after {total} data: the node runs on without data" in log
    assert 1.5 < seen["idle"]["took_s"]
    assert total == len(seen["live"]["got"]), "this one came back by itself"


def test_what_is_not_in_the_catalog_is_a_warning(child):
    """Subscribed to, but not recorded in that range, or of another instrument."""
    _, log = child
    assert f"has no quotes of {BTC_ID} in that range" in log
    assert "/nautilus_ext/" not in log, "a traceback through our code; a cancelled executor of Nautilus logs one"


def test_a_large_catalog_takes_no_more_memory_than_a_part_of_it(tmp_path):
    """It is read a bounded part at a time."""
    made = ensure_catalog(tmp_path, default_market(interval_ms=100), "2026-01-05", 80)
    figures, _ = in_child(__file__, "memory", str(made.path))
    print(f"{figures['count']:,} data, {figures['grown_mb']:+.0f} MB after the first 100,000")
    assert figures["count"] > 450_000
    assert figures["grown_mb"] < 60


def test_a_catalog_that_cannot_be_played_is_named(tmp_path):
    """Missing, empty, without the instrument, without data in the range: said before anything starts."""
    with pytest.raises(Unplayable, match=f"there is no Parquet catalog at {tmp_path}/nowhere: .* makes one"):
        Recording(tmp_path / "nowhere", None, None, None)
    (tmp_path / "empty" / "data").mkdir(parents=True)
    with pytest.raises(Unplayable, match="holds no instrument"):
        Recording(tmp_path / "empty", None, None, None)
    catalog = whole_catalog(tmp_path / "whole")
    with pytest.raises(Unplayable, match=r"has no BTCUSDT\.NIX; it has BTCUSDT-PERP\.SIM3, ETHUSDT-PERP\.SIM2"):
        Recording(catalog, [InstrumentId.from_str("BTCUSDT.NIX")], None, None)
    with pytest.raises(Unplayable, match="holds no quotes, trades, order book deltas, bars of its instruments"):
        Recording(catalog, None, START_NS + 10**12, None)


def test_a_file_that_breaks_off_is_an_error_and_no_silence(tmp_path):
    """What was read comes, then the error."""
    catalog = whole_catalog(tmp_path / "whole")
    (file,) = (catalog / "data" / "quote_tick" / str(ETH_ID)).iterdir()
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(Exception, match=r"(?i)parquet|footer|corrupt|magic"):
        list(Recording(catalog, None, None, None).data())


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"speed": 0.0}, "speed 0.0 must be above 0"),
        ({"speed": float("nan")}, "speed nan must be above 0"),
        ({"catalog_path": " "}, "catalog_path ' ' is no folder"),
        ({"instrument_ids": []}, "instrument_ids is empty"),
        ({"start": "soon"}, "start 'soon' is no time: write ISO 8601"),
        ({"end": "1900-01-01"}, "end 1900-01-01 must be between 1970 and 2200"),
        ({"start": "2026-01-02", "end": "2026-01-01"}, "end 2026-01-01 is before start 2026-01-02"),
    ],
)
def test_a_wrong_setting_is_refused_with_its_cure(config, expected):
    """When the file is read, so `check` names it."""
    with pytest.raises(ValueError, match=expected):
        CatalogReplayDataClientConfig(**{"catalog_path": "somewhere", **config})
