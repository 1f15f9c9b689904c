"""The venue's instruments, as the exchange lists them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nautilus_trader.common.providers import InstrumentProvider

from nautilus_ext.simulation.instruments import to_instrument

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from nautilus_trader.config import InstrumentProviderConfig
    from nautilus_trader.model.identifiers import InstrumentId

    from nautilus_ext.simulation.market import Listing


class SimulatedInstrumentProvider(InstrumentProvider):
    """There are few of them, so all are loaded, whatever is asked for; `listings` asks the exchange."""

    def __init__(
        self, listings: Callable[[], Awaitable[tuple[Listing, ...]]], config: InstrumentProviderConfig | None = None
    ) -> None:
        super().__init__(config)
        self._listings = listings

    async def load_all_async(self, filters: dict | None = None) -> None:  # noqa: ARG002 - the base class's signature
        for listing in await self._listings():
            self.add(to_instrument(listing))

    async def load_ids_async(self, instrument_ids: list[InstrumentId], filters: dict | None = None) -> None:  # noqa: ARG002 - as above
        await self.load_all_async()

    async def load_async(self, instrument_id: InstrumentId, filters: dict | None = None) -> None:  # noqa: ARG002 - as above
        await self.load_all_async()
