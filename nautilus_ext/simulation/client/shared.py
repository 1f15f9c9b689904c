"""What the two clients have in common: how they connect, and what they say about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nautilus_trader.common.enums import LogColor

from nautilus_ext.errors import SuiteError
from nautilus_ext.simulation.client.connection import BACKOFF_MAX_S, LinkError, Unanswered

if TYPE_CHECKING:
    from nautilus_ext.simulation.client.connection import LinkState


class ExchangeClient:
    """Before one of the engine's client classes: its `connect` says in one line why it failed.

    Until it is connected, `connect_trouble` tells whoever waits why that takes so long.
    """

    connect_trouble = ""

    _log: Any
    create_task: Any
    _connect: Any
    _disconnect: Any
    _set_connected: Any
    _is_ready = False

    def connect(self) -> None:
        self._log.info("Connecting...")
        self.create_task(self._connect_or_say_why(), log_msg="connect")

    async def _connect_or_say_why(self) -> None:
        try:
            await self._connect()
        except (SuiteError, LinkError, Unanswered) as error:
            self._log.error(f"cannot connect: {error}")
            await self._disconnect()
            return
        self._is_ready = True
        self._set_connected(self._is_up())
        self._log.info("Connected", LogColor.GREEN)

    def _is_up(self) -> bool:
        """Whether every connection stands."""
        raise NotImplementedError

    def _on_change(self, name: str, state: LinkState, reason: str) -> None:
        """One line per change; until the client has connected once, `connect` says all there is to say."""
        if not self._is_ready:
            self.connect_trouble = f"{name}: {reason}" if reason else ""
            return
        self._set_connected(self._is_up())
        if state == "lost":
            self._log.warning(f"{name}: connection lost: {reason}")
        elif state == "away":
            every = f"tried again every {BACKOFF_MAX_S:g} s"
            self._log.error(f"{name}: still away, {every}; orders there are out of reach: {reason}")
        elif state == "up":
            self._log.info(f"{name}: connected again", LogColor.GREEN)
