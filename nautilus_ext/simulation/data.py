"""The data client that plays the synthetic market into a live node."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from nautilus_trader.common.providers import InstrumentProvider
from nautilus_trader.live.data_client import LiveMarketDataClient
from nautilus_trader.live.factories import LiveDataClientFactory
from nautilus_trader.model.identifiers import ClientId

from nautilus_ext.simulation.instruments import TickMaker, to_instrument
from nautilus_ext.simulation.market import tape

if TYPE_CHECKING:
    from nautilus_trader.cache.cache import Cache
    from nautilus_trader.common.component import LiveClock, MessageBus
    from nautilus_trader.model.identifiers import InstrumentId

    from nautilus_ext.simulation.config import SimulatedDataClientConfig
    from nautilus_ext.simulation.market import Step

BEHIND_STEPS_MAX = 10  # after a longer pause (a suspended machine) the market goes on from now instead of catching up


class SimulatedDataClient(LiveMarketDataClient):
    """One task plays the whole market; what nobody subscribed to is not sent."""

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
        self._market = config.to_market()
        provider = InstrumentProvider()
        provider.add_bulk([to_instrument(listing) for listing in self._market.listings])
        super().__init__(
            loop=loop,
            client_id=client_id,
            venue=None,
            msgbus=msgbus,
            cache=cache,
            clock=clock,
            instrument_provider=provider,
            config=config,
        )
        self._makers = {each.id.value: TickMaker(each) for each in provider.list_all()}
        self._quotes_wanted: set[str] = set()
        self._trades_wanted: set[str] = set()
        self._player: asyncio.Task | None = None

    async def _connect(self) -> None:
        for instrument in self._instrument_provider.list_all():
            self._cache.add_instrument(instrument)  # at once: a strategy may start before the queue is worked off
            self._handle_data(instrument)  # the sandbox's exchanges learn of it from the bus
        self._player = self.create_task(self._play_until_cancelled(), log_msg="play the simulated market")

    async def _disconnect(self) -> None:
        if self._player is not None:
            self._player.cancel()
            await self._player
            self._player = None

    async def _play_until_cancelled(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):  # the way to stop it: nothing to warn about
            await self._play()

    async def _play(self) -> None:
        """Each step has its own due time, so that delays do not add up."""
        interval_s = self._market.interval_ms / 1_000
        due_s = self._loop.time()
        for step in tape(self._market):
            self._send(step)
            due_s += interval_s
            behind_s = self._loop.time() - due_s
            if behind_s > BEHIND_STEPS_MAX * interval_s:
                self._log.warning(f"The market paused for {behind_s:.1f} s and goes on from now")
                due_s = self._loop.time()
            await asyncio.sleep(max(0.0, due_s - self._loop.time()))

    def _send(self, step: Step) -> None:
        ts_ns = self._clock.timestamp_ns()
        for quote in step.quotes:
            if quote.instrument_id in self._quotes_wanted:
                self._handle_data(self._makers[quote.instrument_id].quote(quote, ts_ns))
        for trade in step.trades:
            if trade.instrument_id in self._trades_wanted:
                self._handle_data(self._makers[trade.instrument_id].trade(trade, step.number, ts_ns))

    # -- subscriptions ------------------------------------------------------------------------------

    async def _subscribe_quote_ticks(self, command: Any) -> None:
        self._want(self._quotes_wanted, command.instrument_id)

    async def _unsubscribe_quote_ticks(self, command: Any) -> None:
        self._quotes_wanted.discard(command.instrument_id.value)

    async def _subscribe_trade_ticks(self, command: Any) -> None:
        self._want(self._trades_wanted, command.instrument_id)

    async def _unsubscribe_trade_ticks(self, command: Any) -> None:
        self._trades_wanted.discard(command.instrument_id.value)

    def _want(self, wanted: set[str], instrument_id: InstrumentId) -> None:
        if self._is_listed(instrument_id):
            wanted.add(instrument_id.value)

    def _is_listed(self, instrument_id: InstrumentId) -> bool:
        listed = instrument_id.value in self._makers
        if not listed:
            self._log.warning(f"{instrument_id} is not on the simulated market; listed: {', '.join(self._makers)}")
        return listed

    async def _subscribe_instrument(self, command: Any) -> None:
        self._is_listed(command.instrument_id)

    async def _nothing_to_do(self, command: Any) -> None:
        """Instruments of this market never change, and what was never sent needs no end."""

    async def _not_offered(self, command: Any) -> None:
        self._log.warning(f"{type(command).__name__}: the simulated market sends quotes and trades only")

    _subscribe_instruments = _unsubscribe_instruments = _unsubscribe_instrument = _nothing_to_do
    _subscribe = _subscribe_bars = _subscribe_order_book_deltas = _subscribe_order_book_depth = _not_offered
    _subscribe_mark_prices = _subscribe_index_prices = _subscribe_funding_rates = _not_offered
    _subscribe_instrument_status = _subscribe_instrument_close = _subscribe_option_greeks = _not_offered
    _unsubscribe = _unsubscribe_bars = _unsubscribe_order_book_deltas = _unsubscribe_order_book_depth = _nothing_to_do
    _unsubscribe_mark_prices = _unsubscribe_index_prices = _unsubscribe_funding_rates = _nothing_to_do
    _unsubscribe_instrument_status = _unsubscribe_instrument_close = _unsubscribe_option_greeks = _nothing_to_do

    # -- requests -----------------------------------------------------------------------------------

    async def _request_instrument(self, request: Any) -> None:
        if self._is_listed(request.instrument_id):
            found = self._instrument_provider.find(request.instrument_id)
            self._handle_instrument(found, request.id, request.start, request.end, request.params)

    async def _request_instruments(self, request: Any) -> None:
        found = [each for each in self._instrument_provider.list_all() if request.venue in (None, each.venue)]
        self._handle_instruments(request.venue, found, request.id, request.start, request.end, request.params)

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
