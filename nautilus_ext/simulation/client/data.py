"""The data client of the simulated exchange: it starts the exchange when it does not run, and listens to its venues."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from nautilus_trader.live.data_client import LiveMarketDataClient
from nautilus_trader.live.factories import LiveDataClientFactory
from nautilus_trader.model.data import DataType, InstrumentStatus, OrderBookDeltas
from nautilus_trader.model.enums import MarketStatusAction
from nautilus_trader.model.identifiers import ClientId

from nautilus_ext.simulation import wire
from nautilus_ext.simulation.client.books import BookReader
from nautilus_ext.simulation.client.connection import Link, NotSent, Unanswered
from nautilus_ext.simulation.client.provider import SimulatedInstrumentProvider
from nautilus_ext.simulation.client.shared import ExchangeClient
from nautilus_ext.simulation.instruments import TickMaker
from nautilus_ext.simulation.server import launch

if TYPE_CHECKING:
    from nautilus_trader.cache.cache import Cache
    from nautilus_trader.common.component import LiveClock, MessageBus
    from nautilus_trader.model.identifiers import InstrumentId

    from nautilus_ext.simulation.client.config import SimulatedDataClientConfig
    from nautilus_ext.simulation.client.connection import LinkState
    from nautilus_ext.simulation.market import Listing

REFRESH_EVERY_S = 0.5  # how often a book is asked for again while it has a gap
STATUS = {"TRADING": MarketStatusAction.TRADING, "HALT": MarketStatusAction.HALT}


class SimulatedDataClient(ExchangeClient, LiveMarketDataClient):
    """One connection per venue. What was subscribed is subscribed again after each reconnect."""

    def __init__(
        self,
        *,
        loop: asyncio.AbstractEventLoop,
        client_id: ClientId,
        msgbus: MessageBus,
        cache: Cache,
        clock: LiveClock,
        config: SimulatedDataClientConfig,
    ) -> None:
        super().__init__(
            loop=loop,
            client_id=client_id,
            venue=None,
            msgbus=msgbus,
            cache=cache,
            clock=clock,
            instrument_provider=SimulatedInstrumentProvider(self._listings, config.instrument_provider),
            config=config,
        )
        self._config = config
        self._world = config.to_world()
        self._links: dict[str, Link] = {}
        self._wanted: set[tuple[wire.Channel, str]] = set()  # what is subscribed
        self._makers: dict[str, TickMaker] = {}
        self._books: dict[str, BookReader] = {}
        self._refreshed_s: dict[str, float] = {}
        self._deltas_wanted: set[str] = set()
        self._depth_wanted: set[str] = set()

    # -- connect and disconnect ---------------------------------------------------------------------

    async def _connect(self) -> None:
        """Start the exchange, or find it; one connection per venue; the instruments into the cache."""
        for terms in self._world.terms():
            link = self._links[terms.name] = Link(
                self._launch,
                venue=terms.name,
                world=self._world.digest,
                answer_timeout_s=self._config.answer_timeout_s,
                on_market=self._on_market,
                on_change=partial(self._on_link, terms.name),
            )
            await link.open(self._config.connect_timeout_s)
        await self._instrument_provider.load_all_async()
        for instrument in self._instrument_provider.list_all():
            self._makers[instrument.id.value] = TickMaker(instrument)
            self._cache.add_instrument(instrument)  # at once: a strategy may start before the queue is worked off
            self._handle_data(instrument)  # others learn of it from the bus

    async def _disconnect(self) -> None:
        await asyncio.gather(*(link.close() for link in self._links.values()))

    async def _launch(self) -> tuple[str, int]:
        """A dead exchange is started again; its ledger brings back what was there."""
        timeout_s = self._config.connect_timeout_s
        address = await asyncio.to_thread(launch.ensure, self._config.folder(), self._world, timeout_s)
        return address.host, address.port

    async def _listings(self) -> tuple[Listing, ...]:
        answers = await asyncio.gather(
            *(link.read(wire.ListInstruments, venue=name) for name, link in self._links.items())
        )
        return tuple(listing for answer in answers for listing in answer.listings)

    def _is_up(self) -> bool:
        return all(link.state == "up" for link in self._links.values())

    def _on_link(self, venue: str, state: LinkState, reason: str) -> None:
        self._on_change(venue, state, reason)
        if state == "up":
            self.create_task(self._subscribe_again(venue), log_msg=f"subscribe again at {venue}")

    async def _subscribe_again(self, venue: str) -> None:
        for channel, name in sorted(key for key in self._wanted if _venue_of(key[1]) == venue):
            if channel == "book":
                self._books[name].number = None  # what comes next is a snapshot
            await self._ask_for(channel, name)

    # -- what comes ---------------------------------------------------------------------------------

    def _on_market(self, message: wire.Unasked) -> None:
        try:
            self._pass_on(message)
        except Exception as error:  # noqa: BLE001 - a defect in one datum must not end the connection for all others
            self._log.exception(f"{type(message).__name__} could not be passed on", error)

    def _pass_on(self, message: wire.Unasked) -> None:
        ts_ns = self._clock.timestamp_ns()
        if isinstance(message, wire.QuoteMessage):
            has_both_sides = message.bid_lots and message.ask_lots
            if has_both_sides and ("quotes", message.instrument_id) in self._wanted:
                self._handle_data(self._makers[message.instrument_id].quote(message, message.ts_ns, ts_ns))
        elif isinstance(message, wire.TradeMessage):
            if ("trades", message.instrument_id) in self._wanted:
                maker = self._makers[message.instrument_id]
                self._handle_data(maker.trade(message, message.trade_id, message.ts_ns, ts_ns))
        elif isinstance(message, wire.BookChange):
            self._on_book_change(message, ts_ns)
        elif isinstance(message, wire.BookSnapshotMessage):
            if (reader := self._books.get(message.book.instrument_id)) is not None:
                self._send_book(reader, reader.begin(message.book, ts_ns), message.book.ts_ns, ts_ns)
        elif isinstance(message, wire.StatusMessage) and ("status", message.instrument_id) in self._wanted:
            instrument_id = self._makers[message.instrument_id].instrument_id
            self._handle_data(InstrumentStatus(instrument_id, STATUS[message.status], message.ts_ns, ts_ns))

    def _on_book_change(self, message: wire.BookChange, ts_ns: int) -> None:
        reader = self._books.get(message.instrument_id)
        if reader is None:
            return
        deltas = reader.change(message, ts_ns)
        if deltas is not None:
            self._send_book(reader, deltas, message.ts_ns, ts_ns)
        elif reader.number is None:
            self._refresh(message.instrument_id)

    def _send_book(self, reader: BookReader, deltas: OrderBookDeltas, ts_event_ns: int, ts_ns: int) -> None:
        if reader.instrument_id.value in self._deltas_wanted:
            self._handle_data(deltas)
        if reader.instrument_id.value in self._depth_wanted:
            self._handle_data(reader.depth(ts_event_ns, ts_ns))

    def _refresh(self, name: str) -> None:
        """A change is missing: begin with a snapshot again, and not more often than one can come."""
        now_s = self._loop.time()
        if now_s - self._refreshed_s.get(name, 0.0) < REFRESH_EVERY_S:
            return
        self._refreshed_s[name] = now_s
        self._log.warning(f"{name}: a change of the book is missing: asking for a new snapshot")
        self.create_task(self._ask_for("book", name), log_msg=f"subscribe again to the book of {name}")

    # -- subscriptions ------------------------------------------------------------------------------

    async def _subscribe_quote_ticks(self, command: Any) -> None:
        await self._want("quotes", command.instrument_id)

    async def _unsubscribe_quote_ticks(self, command: Any) -> None:
        await self._forget("quotes", command.instrument_id)

    async def _subscribe_trade_ticks(self, command: Any) -> None:
        await self._want("trades", command.instrument_id)

    async def _unsubscribe_trade_ticks(self, command: Any) -> None:
        await self._forget("trades", command.instrument_id)

    async def _subscribe_order_book_deltas(self, command: Any) -> None:
        await self._want_book(self._deltas_wanted, command.instrument_id)

    async def _unsubscribe_order_book_deltas(self, command: Any) -> None:
        await self._forget_book(self._deltas_wanted, command.instrument_id)

    async def _subscribe_order_book_depth(self, command: Any) -> None:
        await self._want_book(self._depth_wanted, command.instrument_id)

    async def _unsubscribe_order_book_depth(self, command: Any) -> None:
        await self._forget_book(self._depth_wanted, command.instrument_id)

    async def _subscribe_instrument_status(self, command: Any) -> None:
        await self._want("status", command.instrument_id)

    async def _unsubscribe_instrument_status(self, command: Any) -> None:
        await self._forget("status", command.instrument_id)

    async def _subscribe_instrument(self, command: Any) -> None:
        """Instruments of this market never change: the one that there is, once."""
        if self._is_listed(command.instrument_id):
            self._handle_data(self._instrument_provider.find(command.instrument_id))

    async def _want_book(self, readers: set[str], instrument_id: InstrumentId) -> None:
        """Deltas and depth come from one subscription; a second one begins both with a snapshot anew."""
        if self._is_listed(instrument_id):
            instrument = self._instrument_provider.find(instrument_id)
            readers.add(instrument_id.value)
            self._books.setdefault(instrument_id.value, BookReader(instrument))
            await self._want("book", instrument_id)

    async def _forget_book(self, readers: set[str], instrument_id: InstrumentId) -> None:
        readers.discard(instrument_id.value)
        if instrument_id.value not in self._deltas_wanted | self._depth_wanted:
            self._books.pop(instrument_id.value, None)
            await self._forget("book", instrument_id)

    async def _want(self, channel: wire.Channel, instrument_id: InstrumentId) -> None:
        if self._is_listed(instrument_id):
            self._wanted.add((channel, instrument_id.value))
            await self._ask_for(channel, instrument_id.value)

    async def _forget(self, channel: wire.Channel, instrument_id: InstrumentId) -> None:
        if (channel, instrument_id.value) in self._wanted:
            self._wanted.remove((channel, instrument_id.value))
            try:
                await self._link_of(instrument_id.value).ask(
                    wire.Unsubscribe, channel=channel, instrument_id=instrument_id.value
                )
            except (NotSent, Unanswered):
                return  # what still comes is not passed on, and a new connection begins without it

    async def _ask_for(self, channel: wire.Channel, name: str) -> None:
        """What is wanted is asked for at each new connection again: here it is enough to say why it is not there."""
        try:
            await self._link_of(name).read(wire.Subscribe, channel=channel, instrument_id=name)
        except Unanswered as error:
            self._log.warning(f"{channel} of {name}: {error}")

    def _link_of(self, name: str) -> Link:
        return self._links[_venue_of(name)]

    def _is_listed(self, instrument_id: InstrumentId) -> bool:
        listed = instrument_id.value in self._makers
        if not listed:
            self._log.warning(f"{instrument_id} is not on the simulated market; listed: {', '.join(self._makers)}")
        return listed

    async def _nothing_to_do(self, _command: Any, /) -> None:
        """Instruments of this market never change, and what was never sent needs no end."""

    async def _not_offered(self, command: Any, /) -> None:
        offered = "quotes, trades, order books and instrument status"
        self._log.warning(f"{type(command).__name__}: the simulated market sends {offered}")

    _subscribe_instruments = _unsubscribe_instruments = _unsubscribe_instrument = _nothing_to_do  # pyright: ignore[reportAssignmentType] - the engine calls them by position
    _subscribe = _subscribe_bars = _not_offered  # pyright: ignore[reportAssignmentType] - as above
    _subscribe_mark_prices = _subscribe_index_prices = _subscribe_funding_rates = _not_offered  # pyright: ignore[reportAssignmentType] - as above
    _subscribe_instrument_close = _subscribe_option_greeks = _not_offered  # pyright: ignore[reportAssignmentType] - as above
    _unsubscribe = _unsubscribe_bars = _nothing_to_do  # pyright: ignore[reportAssignmentType] - as above
    _unsubscribe_mark_prices = _unsubscribe_index_prices = _unsubscribe_funding_rates = _nothing_to_do  # pyright: ignore[reportAssignmentType] - as above
    _unsubscribe_instrument_close = _unsubscribe_option_greeks = _nothing_to_do  # pyright: ignore[reportAssignmentType] - as above
    _request = _request_funding_rates = _request_forward_prices = _not_offered  # pyright: ignore[reportAssignmentType] - as above
    _request_order_book_deltas = _request_order_book_depth = _not_offered  # pyright: ignore[reportAssignmentType] - as above

    # -- requests -----------------------------------------------------------------------------------

    async def _request_instrument(self, request: Any) -> None:
        if self._is_listed(request.instrument_id):
            found = self._instrument_provider.find(request.instrument_id)
            self._handle_instrument(found, request.id, request.start, request.end, request.params)

    async def _request_instruments(self, request: Any) -> None:
        found = [each for each in self._instrument_provider.list_all() if request.venue in (None, each.venue)]
        self._handle_instruments(request.venue, found, request.id, request.start, request.end, request.params)

    async def _request_order_book_snapshot(self, request: Any) -> None:
        if not self._is_listed(request.instrument_id):
            return
        name = request.instrument_id.value
        try:
            answer = await self._link_of(name).read(wire.GetBook, instrument_id=name, depth=request.limit)
        except Unanswered as error:
            self._log.warning(f"no order book of {name}: {error}")
            return
        reader = BookReader(self._instrument_provider.find(request.instrument_id))
        deltas = reader.snapshot(answer.book, self._clock.timestamp_ns())
        kind = DataType(OrderBookDeltas, metadata={"instrument_id": request.instrument_id})
        self._handle_data_response(kind, [deltas], request.id, request.start, request.end, request.params)

    # An empty answer lets the one who asked go on: the market has no past.
    async def _request_quote_ticks(self, request: Any) -> None:
        self._warn_no_history(request)
        self._handle_quote_ticks(request.instrument_id, [], request.id, request.start, request.end, request.params)

    async def _request_trade_ticks(self, request: Any) -> None:
        self._warn_no_history(request)
        self._handle_trade_ticks(request.instrument_id, [], request.id, request.start, request.end, request.params)

    async def _request_bars(self, request: Any) -> None:
        self._warn_no_history(request)
        self._handle_bars(request.bar_type, [], request.id, request.start, request.end, request.params)

    def _warn_no_history(self, request: Any) -> None:
        self._log.warning(f"{type(request).__name__}: the simulated market keeps no history")


def _venue_of(name: str) -> str:
    return name.rpartition(".")[2]


class SimulatedDataClientFactory(LiveDataClientFactory):
    """Made by name from a config file."""

    @staticmethod
    def create(  # noqa: PLR0917 - the engine's own signature # pyright: ignore[reportIncompatibleMethodOverride] - its own config
        loop: asyncio.AbstractEventLoop,
        name: str,
        config: SimulatedDataClientConfig,
        msgbus: MessageBus,
        cache: Cache,
        clock: LiveClock,
    ) -> SimulatedDataClient:
        return SimulatedDataClient(
            loop=loop, client_id=ClientId(name), msgbus=msgbus, cache=cache, clock=clock, config=config
        )
