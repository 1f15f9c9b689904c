"""The cards TC-D01 to TC-D75: what Nautilus's data tester gets from the exchange's data client."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from exchange_card import DataCard
from exchange_cards_stage import INVERSE, LINEAR, SPOT
from nautilus_trader.model.data import BarType, OrderBookDeltas
from nautilus_trader.model.enums import AggressorSide, BookAction, MarketStatusAction
from nautilus_trader.model.identifiers import InstrumentId
from nautilus_trader.test_kit.strategies.tester_data import DataTester, DataTesterConfig

if TYPE_CHECKING:
    from exchange_cards_stage import Stage

PIT = InstrumentId.from_str(LINEAR)
ENOUGH = 5
DEPTH = 3
DEPTH_LEVELS_MAX = 10
BOOK_INTERVAL_MS = 100
NS_PER_S = 1_000_000_000
CLOCK_ERROR_NS_MAX = 10 * NS_PER_S


class Recording(DataTester):
    """Nautilus's own tester, which only logs; this one also keeps what it got."""

    def __init__(self, config: DataTesterConfig) -> None:
        super().__init__(config)
        self.got: dict[str, list[Any]] = defaultdict(list)

    def book(self) -> Any:
        return self._books[PIT]

    def on_instrument(self, instrument) -> None:
        self.got["instrument"].append(instrument)

    def on_historical_data(self, data) -> None:
        self.got["historical"].append(data)

    def on_order_book_deltas(self, deltas) -> None:
        super().on_order_book_deltas(deltas)
        self.got["deltas"].append(deltas)

    def on_order_book_depth(self, depth) -> None:
        self.got["depth"].append(depth)

    def on_order_book(self, order_book) -> None:
        self.got["book"].append((self.clock.timestamp_ns(), order_book.best_bid_price(), order_book.best_ask_price()))

    def on_quote_tick(self, quote) -> None:
        self.got["quote"].append(quote)

    def on_trade_tick(self, trade) -> None:
        self.got["trade"].append(trade)

    def on_instrument_status(self, data) -> None:
        self.got["status"].append(data)


def recording(name: str, **config: Any) -> Recording:
    settings: dict[str, Any] = {"component_id": name, "instrument_ids": [PIT], "log_data": False, "log_events": False}
    settings |= {"log_commands": False} | config
    return Recording(DataTesterConfig(**settings))


async def got(stage: Stage, tester: Recording, what: str, number: int = 1) -> list[Any]:
    await stage.until(lambda: len(tester.got[what]) >= number, f"{number} of {what}")
    return tester.got[what]


def check_clock(stage: Stage, *data: Any) -> None:
    """Nanoseconds, and of today."""
    now_ns = stage.node.kernel.clock.timestamp_ns()
    for each in data:
        assert abs(now_ns - each.ts_event) < CLOCK_ERROR_NS_MAX, each
        assert abs(now_ns - each.ts_init) < CLOCK_ERROR_NS_MAX, each


# -- instruments ------------------------------------------------------------------------------------


async def all_instruments(stage: Stage, tester: Recording) -> None:
    listed = await got(stage, tester, "instrument", 3)
    assert {each.id.value for each in listed} == {LINEAR, SPOT, INVERSE}
    for each in listed:
        assert each.price_precision == each.price_increment.precision
        assert each.size_increment > 0


async def one_instrument(stage: Stage, tester: Recording) -> None:
    (instrument, *_) = await got(stage, tester, "instrument")
    assert instrument.id == PIT


async def one_instrument_of_the_provider(stage: Stage, _: Recording) -> None:
    """The trading rules are the listing's."""
    instrument = stage.instrument()
    assert instrument.price_increment.as_decimal() == Decimal("0.1")
    assert instrument.size_increment.as_decimal() == Decimal("0.001")
    assert (instrument.maker_fee, instrument.taker_fee) == (Decimal("0.0002"), Decimal("0.0005"))


# -- books ------------------------------------------------------------------------------------------


def check_snapshot(deltas: OrderBookDeltas) -> None:
    first, *others = deltas.deltas
    assert first.action == BookAction.CLEAR, first
    assert others
    assert all(delta.action == BookAction.ADD and delta.order.size > 0 for delta in others), others


async def deltas_flow(stage: Stage, tester: Recording) -> None:
    """First the whole book, then changes with rising numbers."""
    batches = await got(stage, tester, "deltas", ENOUGH)
    assert all(each.instrument_id == PIT for each in batches)
    check_snapshot(batches[0])
    assert not any(delta.action == BookAction.CLEAR for each in batches[1:] for delta in each.deltas)
    numbers = [each.sequence for each in batches]
    assert numbers == sorted(set(numbers)), numbers
    check_clock(stage, *batches)


async def books_come_at_an_interval(stage: Stage, tester: Recording) -> None:
    books = await got(stage, tester, "book", ENOUGH)
    assert all(bid < ask for _, bid, ask in books), books
    gaps_ns = [after - before for (before, *_), (after, *_) in pairwise(books)]
    mean_ms = sum(gaps_ns) / len(gaps_ns) / 1_000_000
    assert 0.5 * BOOK_INTERVAL_MS < mean_ms < 2 * BOOK_INTERVAL_MS, gaps_ns


async def depth_flows(stage: Stage, tester: Recording) -> None:
    """Levels from the best to the worst, never more than ten."""
    for depth in await got(stage, tester, "depth", ENOUGH):
        bids = [each.price for each in depth.bids if each.size > 0]
        asks = [each.price for each in depth.asks if each.size > 0]
        assert bids == sorted(bids, reverse=True)
        assert asks == sorted(asks)
        assert 0 < len(bids) <= DEPTH_LEVELS_MAX
        assert 0 < len(asks) <= DEPTH_LEVELS_MAX
        assert bids[0] < asks[0]


async def snapshot_comes(stage: Stage, tester: Recording) -> None:
    (deltas, *_) = await got(stage, tester, "historical")
    check_snapshot(deltas)
    assert len(deltas.deltas) == 1 + 2 * DEPTH, deltas


async def local_book_is_the_exchange_s(stage: Stage, tester: Recording) -> None:
    """Built from the deltas alone; once the market stands still it is what the exchange has, level by level."""
    await got(stage, tester, "deltas", ENOUGH)
    stage.staff.control("pause")
    wanted = stage.levels()
    book = tester.book()

    def side(levels: list[Any]) -> list[tuple[Decimal, Decimal]]:
        return [(level.price.as_decimal(), Decimal(str(level.size()))) for level in levels]

    def levels() -> tuple[list, list]:
        return side(book.bids()), side(book.asks())

    await stage.until(lambda: levels() == wanted, f"the local book is {wanted}; it is {levels()}")
    bids, asks = levels()
    assert bids == sorted(bids, reverse=True)
    assert asks == sorted(asks)
    stage.staff.control("play")


# -- quotes and trades ------------------------------------------------------------------------------


async def quotes_flow(stage: Stage, tester: Recording) -> None:
    quotes = await got(stage, tester, "quote", ENOUGH)
    assert all(each.bid_price < each.ask_price for each in quotes), quotes
    assert all(each.bid_size > 0 and each.ask_size > 0 for each in quotes), quotes
    check_clock(stage, *quotes)


async def trades_flow(stage: Stage, tester: Recording) -> None:
    trades = await got(stage, tester, "trade", ENOUGH)
    assert all(each.aggressor_side in {AggressorSide.BUYER, AggressorSide.SELLER} for each in trades), trades
    assert len({each.trade_id for each in trades}) == len(trades)
    assert all(each.size > 0 and each.price > 0 for each in trades), trades
    check_clock(stage, *trades)


async def history_is_answered_empty(stage: Stage, tester: Recording) -> None:
    """Whoever waits for it goes on, and live quotes flow."""
    await got(stage, tester, "quote", ENOUGH)
    assert tester.got["historical"] == []
    await stage.until(lambda: not tester.has_pending_requests(), "each is answered")  # pyright: ignore[reportAttributeAccessIssue] - compiled


# -- status, lifecycle ------------------------------------------------------------------------------


async def status_follows_the_halt(stage: Stage, tester: Recording) -> None:
    (now, *_) = await got(stage, tester, "status")
    assert now.action == MarketStatusAction.TRADING
    stage.staff.control("halt")
    statuses = await got(stage, tester, "status", 2)
    assert statuses[1].action == MarketStatusAction.HALT
    stage.staff.control("open")
    statuses = await got(stage, tester, "status", 3)
    assert [each.action for each in statuses[2:]] == [MarketStatusAction.TRADING]


async def the_rest_is_a_warning(stage: Stage, tester: Recording) -> None:
    """What the exchange has not is said once each, and what it has flows on."""
    await got(stage, tester, "quote", ENOUGH)


def counts(stage: Stage, *testers: Recording) -> list[int]:
    """What the testers got, and what came as far as the cache."""
    arrived = [stage.cache.quote_tick_count(PIT), stage.cache.trade_tick_count(PIT), stage.cache.book_update_count(PIT)]
    return arrived + [len(data) for tester in testers for data in tester.got.values()]


async def flow_ends(stage: Stage, tester: Recording) -> None:
    for what in ("quote", "trade", "deltas", "status"):
        await got(stage, tester, what)
    tester.stop()
    await stage.flow_stops(lambda: counts(stage, tester))


async def flow_ends_with_the_last(stage: Stage, first: Recording) -> None:
    """Two actors share what they subscribed to; the last one to be removed ends it."""
    second = stage.actors[1]
    await got(stage, first, "quote", ENOUGH)
    await got(stage, second, "quote", ENOUGH)
    stage.node.trader.remove_actor(first.id)
    number = len(second.got["quote"])
    await got(stage, second, "quote", number + ENOUGH)
    stage.node.trader.remove_actor(second.id)
    await stage.flow_stops(lambda: counts(stage, first, second))


BAR = BarType.from_str(f"{LINEAR}-1-MINUTE-LAST-EXTERNAL")
NOT_OFFERED = {
    "subscribe_bars": True,
    "bar_types": [BAR],
    "subscribe_mark_prices": True,
    "subscribe_index_prices": True,
    "subscribe_funding_rates": True,
    "subscribe_instrument_close": True,
}
HISTORY = {"request_quotes": True, "request_trades": True, "request_bars": True, "bar_types": [BAR]}

CARDS = (
    DataCard("TC-D01", "all instruments of the venue come", all_instruments, {"request_instruments": True}),
    DataCard("TC-D02", "a subscribed instrument comes", one_instrument, {"subscribe_instrument": True}),
    DataCard("TC-D03", "an instrument is in the cache with its rules", one_instrument_of_the_provider, {}),
    DataCard("TC-D10", "a book begins whole and goes on in changes", deltas_flow, {"subscribe_book_deltas": True}),
    DataCard(
        "TC-D11",
        "books come at an interval",
        books_come_at_an_interval,
        {"subscribe_book_at_interval": True, "book_interval_ms": BOOK_INTERVAL_MS},
    ),
    DataCard("TC-D12", "a book's depth comes in order", depth_flows, {"subscribe_book_depth": True}),
    DataCard(
        "TC-D13",
        "a snapshot has the wanted depth",
        snapshot_comes,
        {"request_book_snapshot": True, "book_depth": DEPTH},
    ),
    DataCard(
        "TC-D14",
        "a book kept from deltas is the exchange's",
        local_book_is_the_exchange_s,
        {"subscribe_book_deltas": True, "manage_book": True},
    ),
    DataCard("TC-D20", "quotes flow", quotes_flow, {"subscribe_quotes": True}),
    DataCard("TC-D30", "trades flow", trades_flow, {"subscribe_trades": True}),
    DataCard("TC-D60", "a halt and its end are told", status_follows_the_halt, {"subscribe_instrument_status": True}),
    DataCard(
        "TC-D70",
        "after the stop no datum arrives",
        flow_ends,
        {
            "subscribe_quotes": True,
            "subscribe_trades": True,
            "subscribe_book_deltas": True,
            "subscribe_instrument_status": True,
        },
    ),
    DataCard(
        "TC-D73",
        "a feed ends with the last actor that wanted it",
        flow_ends_with_the_last,
        {"subscribe_quotes": True},
        actors=2,
    ),
)

NO_HISTORY = "the exchange keeps no history; a request is answered empty, with a warning"
NO_OPTIONS = "no options are listed"
NOT_APPLICABLE = {
    "TC-D21": NO_HISTORY,
    "TC-D31": NO_HISTORY,
    "TC-D40": "the exchange sends no bars; Nautilus builds them from its quotes and trades (INTERNAL)",
    "TC-D41": NO_HISTORY,
    "TC-D50": "the exchange has no mark prices",
    "TC-D51": "the exchange has no index prices",
    "TC-D52": "the exchange has no funding",
    "TC-D53": "the exchange has no funding",
    "TC-D61": "the exchange never closes",
    "TC-D62": NO_OPTIONS,
    "TC-D63": NO_OPTIONS,
    "TC-D71": "a subscription has no parameters of the exchange's own",
    "TC-D72": "a request has no parameters of the exchange's own",
    "TC-D74": "no DeFi pools",
    "TC-D75": "no DeFi pools",
}

# What no card covers: that the rest does no harm.
UNOFFERED = ("SubscribeBars", "SubscribeMarkPrices", "SubscribeIndexPrices", "SubscribeFundingRates")
EMPTY = ("Received <QuoteTick[]>", "Received <TradeTick[]>", "Received <Bar[]>")

EXTRA = (
    DataCard(
        "not-offered",
        "what is not offered is a warning",
        the_rest_is_a_warning,
        {"subscribe_quotes": True} | NOT_OFFERED,
        log=(*UNOFFERED, "SubscribeInstrumentClose"),
    ),
    DataCard(
        "history",
        "history is answered empty",
        history_is_answered_empty,
        {"subscribe_quotes": True} | HISTORY,
        log=(*EMPTY, "RequestQuoteTicks", "RequestTradeTicks", "RequestBars"),
    ),
)
