"""A venue whose client hears less than the exchange says, as long as a file tells it so, and orders in silence."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

from nautilus_trader.model.identifiers import ClientId

from nautilus_ext.simulation import SimulatedExecClientFactory, SimulatedExecutionClient, wire
from nautilus_ext.simulation.exchange.orders import AccountChanged, Filled, NewOrder

WISH = "DEAF_WISH"  # names the file that holds one of these words
STRANGER, POOR, MAKER = "stranger", "poor", "maker"
STRANGER_ID = "BEHIND-YOUR-BACK"
POLL_S = 0.05


class DeafClient(SimulatedExecutionClient):
    """Loses one fill of a resting order, or what becomes of its money, or sends an order that it never hears of."""

    _hears_all = True
    _is_poor = False

    async def _connect(self) -> None:
        await super()._connect()
        self.create_task(self._order_in_silence())

    @property
    def _wish(self) -> str:
        with suppress(FileNotFoundError):
            return Path(os.environ[WISH]).read_text()
        return ""

    async def _order_in_silence(self) -> None:
        while self._wish != STRANGER:  # noqa: ASYNC110 - another process writes the file
            await asyncio.sleep(POLL_S)
        order = NewOrder(
            client_order_id=STRANGER_ID, instrument_id="BTCUSDT-PERP.SIM3", side="BUY", type="LIMIT",
            quantity=Decimal("0.01"), price=Decimal(30_000),
        )  # fmt: skip
        print("silent order:", await self._link.ask(wire.Place, orders=(order,)), flush=True)

    def _apply(self, item: wire.StreamItem) -> None:
        event: Any = item.event
        if getattr(event, "order", None) is not None and event.order.client_order_id == STRANGER_ID:
            return
        if isinstance(event, AccountChanged) and self._wish == POOR:
            if not self._is_poor and self._state is not None and _totals(event.state) != _totals(self._state):
                self._is_poor = True
                print("money not heard of", flush=True)
            return
        if isinstance(event, Filled) and event.fill.maker and self._wish == MAKER and self._hears_all:
            self._hears_all = False  # a second one might bring the position back to what the node takes it for
            print(f"not heard: {event.fill.trade_id}", flush=True)
            return
        super()._apply(item)


def _totals(state: Any) -> dict[str, Decimal]:
    return {each.currency: each.total for each in state.balances}


class DeafFactory(SimulatedExecClientFactory):
    @staticmethod
    def create(loop, name, config, msgbus, cache, clock):  # noqa: PLR0917 - the engine's own signature
        return DeafClient(loop=loop, client_id=ClientId(name), msgbus=msgbus, cache=cache, clock=clock, config=config)
