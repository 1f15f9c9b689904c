"""What differs between a backtest and a replay because Nautilus does it so: each line of the parity report is real."""

from __future__ import annotations

import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
from nautilus_trader.model.data import BarType
from nautilus_trader.model.enums import OrderSide, TimeInForce
from nautilus_trader.persistence.catalog import ParquetDataCatalog
from nautilus_trader.trading.config import StrategyConfig
from nautilus_trader.trading.strategy import Strategy
from two_worlds import BTC, BTC_ID, ETH, ETH_ID, backtest, in_child, quote, replay, report, trade, write

from nautilus_ext.simulation.replay import client as replays

STEP_MS = 200
FLAT = [quote(ETH, STEP_MS * number, 300_000) for number in range(8)]


class Noter(Strategy):
    """Base: what happens, in words that hold no time."""

    instrument_id = ETH_ID

    def __init__(self) -> None:
        super().__init__(StrategyConfig(order_id_tag="001"))
        self.notes: list[str] = []
        self.seen = 0

    def on_start(self) -> None:
        self.instrument = self.cache.instrument(self.instrument_id)
        self.subscribe_quote_ticks(self.instrument_id)

    def on_quote_tick(self, _tick: Any) -> None:
        self.seen += 1
        self.act()

    def act(self) -> None: ...

    def on_order_event(self, event: Any) -> None:
        self.notes.append(f"{type(event).__name__} at quote {self.seen}")

    def on_stop(self) -> None:
        self.notes.append("stop")

    def limit(self, price: str, **more: Any) -> Any:
        make = self.instrument
        return self.order_factory.limit(ETH_ID, OrderSide.BUY, make.make_qty(1), make.make_price(price), **more)


class CancelsAtOnce(Noter):
    """An order and its cancel in one callback."""

    DATA: ClassVar = FLAT

    def act(self) -> None:
        if self.seen == 2:
            order = self.limit("2000.00")
            self.submit_order(order)
            self.cancel_order(order)


class Expires(Noter):
    """An order that is good for exactly two quotes more."""

    DATA: ClassVar = FLAT

    def act(self) -> None:
        if self.seen == 2:
            until = self.clock.utc_now() + timedelta(milliseconds=2 * STEP_MS)
            self.submit_order(self.limit("2000.00", time_in_force=TimeInForce.GTD, expire_time=until))


class BarsAndQuotes(Noter):
    """Bars that the node makes of quotes, beside the quotes."""

    DATA: ClassVar = FLAT

    def on_start(self) -> None:
        super().on_start()
        self.subscribe_bars(BarType.from_str(f"{ETH_ID}-2-TICK-MID-INTERNAL"))

    def act(self) -> None:
        self.notes.append(f"quote {self.seen}")

    def on_bar(self, _bar: Any) -> None:
        self.notes.append("bar")


class Timed(Noter):
    """A timer that is due at the moment of a quote, right before a trade at another price."""

    DATA: ClassVar = [*FLAT, *(trade(ETH, STEP_MS * number + 0.0005, 300_004, number=number) for number in range(2, 8))]

    def act(self) -> None:
        if self.seen == 2:
            self.clock.set_timer("t", timedelta(milliseconds=2 * STEP_MS), callback=self.on_due)

    def on_due(self, _event: Any) -> None:
        self.clock.cancel_timer("t")
        self.submit_order(self.order_factory.market(ETH_ID, OrderSide.BUY, self.instrument.make_qty(1)))

    def on_order_filled(self, event: Any) -> None:
        self.notes.append(str(event.last_px))


class TwoVenues(Noter):
    """Orders to two venues in one callback, in the other order than the venues stand in the config."""

    DATA: ClassVar = [*FLAT, *(quote(BTC, STEP_MS * number - 50, 600_000) for number in range(1, 8))]

    def act(self) -> None:
        if self.seen == 3:
            for instrument_id in (BTC_ID, ETH_ID):
                quantity = self.cache.instrument(instrument_id).make_qty(1)
                self.submit_order(self.order_factory.market(instrument_id, OrderSide.BUY, quantity))

    def on_order_event(self, event: Any) -> None:
        if type(event).__name__ == "OrderFilled":
            self.notes.append(event.instrument_id.value)


class Bracketed(Noter):
    """An entry with a target that is reached, and a stop that is not."""

    DATA: ClassVar = [quote(ETH, STEP_MS * number, bid) for number, bid in enumerate([300_000] * 3 + [300_300] * 5)]

    def act(self) -> None:
        if self.seen == 2:
            price = self.instrument.make_price
            self.submit_order_list(
                self.order_factory.bracket(
                    ETH_ID,
                    OrderSide.BUY,
                    self.instrument.make_qty(1),
                    sl_trigger_price=price("2990"),
                    tp_price=price("3002"),
                )
            )


class FilledByAQuote(Noter):
    """A resting order that a quote fills."""

    DATA: ClassVar = [quote(ETH, STEP_MS * number, bid) for number, bid in enumerate([300_000] * 3 + [299_000] * 5)]

    def act(self) -> None:
        self.notes.append(f"quote {self.seen}")
        if self.seen == 2:
            self.submit_order(self.limit("2995"))


class Hedged(Noter):
    """A resting order of more than a quote shows, and an order back for each part of it that fills."""

    DATA: ClassVar = [
        quote(ETH, STEP_MS * number, bid, lots=300) for number, bid in enumerate([300_000] * 3 + [299_992] * 5)
    ]

    def act(self) -> None:
        self.notes.append(f"quote {self.seen}, net {self.portfolio.net_position(ETH_ID)}")
        if self.seen == 1:
            self.resting = self.limit("3000.00")
            self.submit_order(self.resting)

    def on_order_event(self, event: Any) -> None: ...

    def on_order_filled(self, event: Any) -> None:
        self.notes.append(f"{event.last_qty} @ {event.last_px}")
        if event.client_order_id == self.resting.client_order_id:
            self.submit_order(self.order_factory.market(ETH_ID, OrderSide.SELL, event.last_qty))


SAME = (Bracketed, FilledByAQuote, Hedged)
DIFFERENT = (CancelsAtOnce, Expires, BarsAndQuotes, Timed, TwoVenues)
BY_THE_CLOCK = (Expires, Timed)
AS_FAST_AS_IT_GOES = 1e6


class LeftAlone:
    """Instead of BacktestVenues: the sandbox as Nautilus runs it with any other data client."""

    def __init__(self, msgbus: Any) -> None: ...

    def show(self, datum: Any) -> None: ...

    def match_again(self) -> bool:
        return False


def notes_of_both(kind: type[Any], folder: Path, **venue: Any) -> dict[str, list[str]]:
    catalog = folder / f"{kind.__name__}-{len(list(folder.iterdir()))}"
    listings = {ETH: [each for each in kind.DATA if each.instrument_id == ETH_ID], BTC: []}
    listings[BTC] = [each for each in kind.DATA if each.instrument_id == BTC_ID]
    write(catalog, [])
    for data in listings.values():
        if data:
            ParquetDataCatalog(str(catalog)).write_data(data)
    worlds = {"backtest": kind(), "replay": kind()}
    backtest(catalog, [worlds["backtest"]], **venue)
    replay(catalog, [worlds["replay"]], venue=venue, speed=1.0 if kind in BY_THE_CLOCK else AS_FAST_AS_IT_GOES)
    return {name: strategy.notes for name, strategy in worlds.items()}


def scenarios(folder: Path) -> dict[str, Any]:
    seen = {kind.__name__: notes_of_both(kind, folder) for kind in (*SAME, *DIFFERENT)}
    replays.BacktestVenues = LeftAlone
    seen["FilledByAQuote, left alone"] = notes_of_both(FilledByAQuote, folder)
    seen["Bracketed, left alone"] = notes_of_both(Bracketed, folder)
    seen["Bracketed, left alone, no reduce-only"] = notes_of_both(Bracketed, folder, use_reduce_only=False)
    return seen


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        report(scenarios(Path(scratch)))


@pytest.fixture(scope="module")
def seen() -> dict[str, dict[str, list[str]]]:
    return in_child(__file__)[0]


def at(notes: list[str], event: str) -> list[int]:
    return [number for number, note in enumerate(notes) if event in note]


@pytest.mark.parametrize("kind", SAME, ids=lambda kind: kind.__name__)
def test_a_replay_works_as_a_backtest_does(seen, kind):
    """Brackets, fills before the quote that caused them, orders larger than the quote: nothing to name there."""
    worlds = seen[kind.__name__]
    assert worlds["backtest"] == worlds["replay"]


def test_a_cancel_in_the_same_callback_overtakes_its_order_live(seen):
    """It works in a backtest; live it is rejected, and the order rests at the venue."""
    worlds = seen["CancelsAtOnce"]
    assert at(worlds["backtest"], "OrderCanceled")
    assert not at(worlds["replay"], "OrderCanceled")
    assert at(worlds["replay"], "OrderCancelRejected")


def test_an_order_good_till_a_date_lives_a_moment_longer_live(seen):
    """The clock that it counts from has gone on since the datum: here until the next datum."""
    worlds = seen["Expires"]
    expired = {name: [note for note in notes if "Expired" in note] for name, notes in worlds.items()}
    assert {"backtest": ["OrderExpired at quote 3"], "replay": ["OrderExpired at quote 4"]} == expired


def test_a_bar_that_the_node_makes_comes_after_its_last_tick_live(seen):
    """In a backtest before it: a strategy on the same instrument's ticks acts first in one world, last in the other."""
    worlds = seen["BarsAndQuotes"]
    assert ["quote 1", "bar", "quote 2"] == worlds["backtest"][:3]
    assert ["quote 1", "quote 2", "bar"] == worlds["replay"][:3]


def test_a_timer_fires_a_moment_late_live(seen):
    """Here after the trade that follows its moment: the market order meets another book."""
    worlds = seen["Timed"]
    fills = {name: [note for note in notes if note.startswith("3000")] for name, notes in worlds.items()}
    assert fills["backtest"] != fills["replay"]


def test_orders_of_one_moment_go_venue_by_venue_in_a_backtest(seen):
    """In the order of the venues in the file; live in the order in which they were sent."""
    worlds = seen["TwoVenues"]
    eth, btc = str(ETH_ID), str(BTC_ID)
    assert {"backtest": [eth, btc, "stop"], "replay": [btc, eth, "stop"]} == worlds


def test_without_a_replay_the_sandbox_fills_after_the_quote_that_fills(seen):
    """A strategy acts on the quote before it knows; in a backtest it knows first."""
    worlds = seen["FilledByAQuote, left alone"]
    filled = {name: notes.index("quote 4") - at(notes, "OrderFilled")[0] for name, notes in worlds.items()}
    assert filled["backtest"] > 0 > filled["replay"]


def test_without_a_replay_a_bracket_does_not_work_on_the_sandbox(seen):
    """Its exits are rejected with use_reduce_only; without it the other leg stays open when one is filled."""
    worlds = seen["Bracketed, left alone"]
    assert (0, 2) == tuple(len(at(worlds[name], "OrderRejected")) for name in ("backtest", "replay"))
    worlds = seen["Bracketed, left alone, no reduce-only"]
    assert (2, 2) == tuple(len(at(worlds[name], "OrderFilled")) for name in ("backtest", "replay"))
    assert (1, 0) == tuple(len(at(worlds[name], "OrderCanceled")) for name in ("backtest", "replay"))
