"""Takes the commands that a gate takes, and does what one of them says: cancels what works in its scope."""

from __future__ import annotations

from typing import Any

from nautilus_trader.common.actor import Actor
from nautilus_trader.core.uuid import UUID4
from nautilus_trader.execution.messages import CancelOrder

from nautilus_ext.messages import COMMAND, COMMANDED
from nautilus_ext.risk.halts import Place, is_within
from nautilus_ext.seam import EXECUTE


class CommandTaker(Actor):
    """`taken` are the kinds and scopes that came, `recorded` whether what was commanded was applied."""

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        self.taken: list[tuple[str, str]] = []
        self.recorded: list[bool] = []

    def register_base(self, portfolio: Any, msgbus: Any, cache: Any, clock: Any) -> None:
        super().register_base(portfolio, msgbus, cache, clock)
        msgbus.register(COMMAND, self._take)
        msgbus.subscribe(COMMANDED, lambda commanded: self.recorded.append(commanded.applied))

    def on_start(self) -> None:
        """Nothing."""

    def _take(self, asked: Any) -> None:
        scope = asked.command.what.scope
        self.taken.append((asked.command.kind, scope))
        for order in self.cache.orders_open():
            account = "" if order.account_id is None else order.account_id.value
            if is_within(Place(order.instrument_id.value, order.strategy_id.value, account), scope):
                words = {
                    "trader_id": order.trader_id,
                    "strategy_id": order.strategy_id,
                    "instrument_id": order.instrument_id,
                    "client_order_id": order.client_order_id,
                    "venue_order_id": order.venue_order_id,
                }
                self.msgbus.send(EXECUTE, CancelOrder(**words, command_id=UUID4(), ts_init=self.clock.timestamp_ns()))
        asked.answer(True, "asked to cancel")
