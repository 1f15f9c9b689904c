"""Nautilus's sandboxes in a live node, made to work as the venues of a backtest.

Left alone a sandbox hears of a quote together with the strategies, which then act on it before they know what it
filled. And it reads an order's state from the node, which applies the sandbox's own events a moment later: the other
leg of a bracket then stays open when one is filled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nautilus_trader.adapters.sandbox.execution import SandboxExecutionClient
from nautilus_trader.model.data import Bar

from nautilus_ext.seam import PROCESS, take_over

if TYPE_CHECKING:
    from collections.abc import Callable

    from nautilus_trader.common.component import MessageBus
    from nautilus_trader.model.identifiers import AccountId, Venue


class BacktestVenues:
    """Stands between the bus and the sandboxes that listen to it now. Other venues' clients are left as they are."""

    def __init__(self, msgbus: MessageBus) -> None:
        self._sandboxes: dict[Venue, SandboxExecutionClient] = {}
        self._accounts: set[AccountId] = set()
        self._shown: Any = None
        for subscription in msgbus.subscriptions():
            sandbox = getattr(subscription.handler, "__self__", None)
            if isinstance(sandbox, SandboxExecutionClient) and subscription.handler == sandbox.on_data:
                self._sandboxes[sandbox.venue] = sandbox
                self._accounts.add(sandbox.account_id)
                msgbus.unsubscribe(subscription.topic, subscription.handler)
                msgbus.subscribe(subscription.topic, self._unless_shown(sandbox.on_data))
        if self._sandboxes:
            self._queued = take_over(msgbus, PROCESS, self._on_event)
            self._engine: Any = self._queued.__self__  # type: ignore[attr-defined] # a bound method
            self._commands = self._engine.command_count

    def show(self, datum: Any) -> None:
        """What the datum fills is known everywhere when this returns."""
        self._shown = datum
        instrument_id = datum.bar_type.instrument_id if isinstance(datum, Bar) else datum.instrument_id
        sandbox = self._sandboxes.get(instrument_id.venue)
        if sandbox is not None:
            sandbox.on_data(datum)

    def match_again(self) -> bool:
        """After commands a backtest matches all that rests once more: whether there was anything to do."""
        if not self._sandboxes or self._commands == self._engine.command_count:
            return False
        self._commands = self._engine.command_count
        for sandbox in self._sandboxes.values():
            for matching in sandbox.exchange.get_matching_engines().values():
                matching.iterate(sandbox.test_clock.timestamp_ns())
        return True

    def _unless_shown(self, on_data: Callable[[Any], None]) -> Callable[[Any], None]:
        def hear(data: Any) -> None:
            if data is not self._shown:
                on_data(data)

        return hear

    def _on_event(self, event: Any) -> None:
        if event.account_id not in self._accounts:
            self._queued(event)
            return
        try:
            self._engine._handle_event_with_tracking(event)  # noqa: SLF001 - what its queue hands an event to
        except Exception as error:  # noqa: BLE001 - as in its queue: it logs, and shuts the node down
            self._engine._handle_queue_exception(error, "event")  # noqa: SLF001 - as above
