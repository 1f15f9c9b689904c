"""The data client that plays a Parquet catalog into a live node as if it happened now.

What a strategy gets is what a backtest of the same catalog gives it, from the first datum on: the replay begins when
all strategies run, the venue sees each datum before they do, and each is worked off, with the orders that it causes,
before the next one comes.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from nautilus_trader.common.enums import ComponentState
from nautilus_trader.common.messages import ShutdownSystem  # pyright: ignore[reportAttributeAccessIssue] - compiled
from nautilus_trader.common.providers import InstrumentProvider
from nautilus_trader.core.uuid import UUID4  # pyright: ignore[reportAttributeAccessIssue] - compiled
from nautilus_trader.live.data_client import LiveMarketDataClient
from nautilus_trader.live.factories import LiveDataClientFactory
from nautilus_trader.model.identifiers import ClientId, ComponentId

from nautilus_ext.simulation.replay.recorded import KINDS, Recording, Unplayable, moved
from nautilus_ext.simulation.replay.venues import BacktestVenues

if TYPE_CHECKING:
    from collections.abc import Callable

    from nautilus_trader.cache.cache import Cache
    from nautilus_trader.common.component import LiveClock, MessageBus

    from nautilus_ext.simulation.replay.config import CatalogReplayDataClientConfig

STATES_TOPIC = "events.system.*"
SHUTDOWN_TOPIC = "commands.system.shutdown"
QUIET_TURNS = 10  # of the loop; a message takes up to three from the queue of one engine to its handling
SETTLE_S_MAX = 1.0  # a strategy that answers itself for ever, or another client's data, holds nothing up for longer
ROUNDS_MAX = 100  # of commands that the fills of commands cause, within one datum
LATE_S = 1.0  # what is worth a line in the log
NS_PER_S = 1_000_000_000


class CatalogReplayDataClient(LiveMarketDataClient):
    """One task plays everything that was asked for; as in a backtest also what nobody subscribed to."""

    def __init__(
        self,
        *,
        loop: asyncio.AbstractEventLoop,
        client_id: ClientId,
        msgbus: MessageBus,
        cache: Cache,
        clock: LiveClock,
        config: CatalogReplayDataClientConfig,
    ) -> None:
        try:
            self._recording = Recording(config.folder(), config.instrument_ids, *config.range_ns())
        except Unplayable as problem:
            raise Unplayable(f"data_clients.{client_id}: {problem}") from None
        provider = InstrumentProvider()
        provider.add_bulk(self._recording.instruments)
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
        self._speed = config.speed
        self._stop_at_end = config.stop_at_end
        self._strategies_run = asyncio.Event()
        self._player: asyncio.Task | None = None
        self._overdue_told = False

    async def _connect(self) -> None:
        for instrument in self._instrument_provider.list_all():
            self._cache.add_instrument(instrument)  # at once: a strategy may start before the queue is worked off
            self._handle_data(instrument)  # the sandbox's exchanges learn of it from the bus
        self._msgbus.subscribe(STATES_TOPIC, self._on_state)
        self._player = self.create_task(self._play_until_cancelled(), log_msg="replay the catalog")

    async def _disconnect(self) -> None:
        self._msgbus.unsubscribe(STATES_TOPIC, self._on_state)
        if self._player is not None:
            self._player.cancel()
            await self._player
            self._player = None

    def _on_state(self, event: Any) -> None:
        """The trader runs when the last strategy and algorithm has started, and so has subscribed."""
        if event.component_type == "Trader" and event.state == ComponentState.RUNNING:
            self._strategies_run.set()

    async def _play_until_cancelled(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):  # the way to stop it: nothing to warn about
            await self._strategies_run.wait()
            await self._settle()  # their subscriptions and first orders
            try:
                played = await self._play()
            except Exception as error:  # noqa: BLE001 - whatever is wrong with the file, the node must not idle on
                self._fail(f"{self._recording.folder} cannot be read further: {type(error).__name__}: {error}")
            else:
                self._end(played)

    async def _play(self) -> int:
        """Each datum has its own due time, so that delays do not add up."""
        venues = BacktestVenues(self._msgbus)
        origin_ns, origin_s = self._clock.timestamp_ns(), self._loop.time()
        first_ns: int | None = None
        played = 0
        for datum in self._recording.data():
            if first_ns is None:
                first_ns = datum.ts_init
            passed_ns = self._scaled(datum.ts_init - first_ns)
            await self._wait_until(origin_s + passed_ns / NS_PER_S)
            before_ns = self._scaled(datum.ts_init - datum.ts_event)
            now = moved(datum, origin_ns + passed_ns - before_ns, origin_ns + passed_ns)
            self._handle_data(now)  # into the engine's queue: before what the venue's fills cause
            venues.show(now)
            await self._settle()
            for _ in range(ROUNDS_MAX):
                if not venues.match_again():
                    break
                await self._settle()
            played += 1
        return played

    def _scaled(self, span_ns: int) -> int:
        return span_ns if self._speed == 1.0 else int(span_ns / self._speed)

    async def _wait_until(self, due_s: float) -> None:
        wait_s = due_s - self._loop.time()
        if wait_s > 0:
            await asyncio.sleep(wait_s)
            self._overdue_told = False
        elif wait_s < -LATE_S and not self._overdue_told:
            self._log.warning(f"The replay is {-wait_s:.1f} s late: this machine is too slow or was held up")
            self._overdue_told = True  # until it has caught up

    async def _settle(self) -> None:
        """Wait until nobody has sent anything for some turns of the loop: the last datum is then worked off."""
        bus = self._msgbus
        deadline_s = self._loop.time() + SETTLE_S_MAX
        sent, quiet_turns = -1, 0
        while quiet_turns < QUIET_TURNS and self._loop.time() < deadline_s:
            await asyncio.sleep(0)
            before, sent = sent, bus.sent_count + bus.pub_count + bus.req_count + bus.res_count
            quiet_turns = quiet_turns + 1 if sent == before else 0

    def _fail(self, problem: str) -> None:
        """An end that nobody asked for is told in the name of an engine: the runner then ends with a failure."""
        self._log.error(problem)
        command = ShutdownSystem(
            trader_id=self.trader_id,
            component_id=ComponentId("DataEngine"),
            command_id=UUID4(),
            ts_init=self._clock.timestamp_ns(),
            reason=problem,
        )
        self._msgbus.publish(SHUTDOWN_TOPIC, command)

    def _end(self, played: int) -> None:
        end = f"the catalog is at its end after {played:,} data"
        if self._stop_at_end:
            self._log.info(end)
            self.shutdown_system(f"{end}, as asked (stop_at_end)")
        else:
            self._log.warning(f"{end}: the node runs on without data")

    # -- subscriptions ------------------------------------------------------------------------------

    async def _nothing_to_do(self, command: Any) -> None:
        """Everything is played, and the bus knows who wants it."""

    async def _subscribe_quote_ticks(self, command: Any) -> None:
        self._warn_if_absent("quotes", command.instrument_id)

    async def _subscribe_trade_ticks(self, command: Any) -> None:
        self._warn_if_absent("trades", command.instrument_id)

    async def _subscribe_order_book_deltas(self, command: Any) -> None:
        self._warn_if_absent("order book deltas", command.instrument_id)

    async def _subscribe_bars(self, command: Any) -> None:
        self._warn_if_absent("bars", command.bar_type)

    async def _subscribe_instrument(self, command: Any) -> None:
        if self._instrument_provider.find(command.instrument_id) is None:
            self._log.warning(f"{command.instrument_id} is not in the catalog {self._recording.folder}")

    def _warn_if_absent(self, kind: str, name: Any) -> None:
        if not self._recording.holds(kind, str(name)):
            self._log.warning(f"the catalog {self._recording.folder} has no {kind} of {name} in that range")

    async def _not_offered(self, command: Any) -> None:
        self._log.warning(f"{type(command).__name__}: a catalog is replayed for {', '.join(KINDS)} only")

    _subscribe_instruments = _unsubscribe_instruments = _unsubscribe_instrument = _nothing_to_do
    _unsubscribe_quote_ticks = _unsubscribe_trade_ticks = _unsubscribe_order_book_deltas = _nothing_to_do
    _subscribe = _subscribe_order_book_depth = _subscribe_option_greeks = _not_offered
    _subscribe_mark_prices = _subscribe_index_prices = _subscribe_funding_rates = _not_offered
    _subscribe_instrument_status = _subscribe_instrument_close = _not_offered
    _unsubscribe = _unsubscribe_bars = _unsubscribe_order_book_depth = _unsubscribe_option_greeks = _nothing_to_do
    _unsubscribe_mark_prices = _unsubscribe_index_prices = _unsubscribe_funding_rates = _nothing_to_do
    _unsubscribe_instrument_status = _unsubscribe_instrument_close = _nothing_to_do

    # -- requests -----------------------------------------------------------------------------------

    async def _request_instrument(self, request: Any) -> None:
        found = self._instrument_provider.find(request.instrument_id)
        if found is None:
            self._log.warning(f"{request.instrument_id} is not in the catalog {self._recording.folder}")
        else:
            self._handle_instrument(found, request.id, request.start, request.end, request.params)

    async def _request_instruments(self, request: Any) -> None:
        found = [each for each in self._instrument_provider.list_all() if request.venue in (None, each.venue)]
        self._handle_instruments(request.venue, found, request.id, request.start, request.end, request.params)

    # An empty answer lets the one who asked go on: before its first datum a replay has no past.
    async def _request_quote_ticks(self, request: Any) -> None:
        self._answer_nothing(request, request.instrument_id, self._handle_quote_ticks)

    async def _request_trade_ticks(self, request: Any) -> None:
        self._answer_nothing(request, request.instrument_id, self._handle_trade_ticks)

    async def _request_bars(self, request: Any) -> None:
        self._answer_nothing(request, request.bar_type, self._handle_bars)

    def _answer_nothing(self, request: Any, name: Any, answer: Callable[..., None]) -> None:
        self._log.warning(f"{type(request).__name__}: a replay has no history before its first datum")
        answer(name, [], request.id, request.start, request.end, request.params)


class CatalogReplayDataClientFactory(LiveDataClientFactory):
    """Made by name from a config file."""

    @staticmethod
    def create(  # noqa: PLR0917 - the engine's own signature # pyright: ignore[reportIncompatibleMethodOverride] - its own config
        loop: asyncio.AbstractEventLoop,
        name: str,
        config: CatalogReplayDataClientConfig,
        msgbus: MessageBus,
        cache: Cache,
        clock: LiveClock,
    ) -> CatalogReplayDataClient:
        return CatalogReplayDataClient(
            loop=loop, client_id=ClientId(name), msgbus=msgbus, cache=cache, clock=clock, config=config
        )
