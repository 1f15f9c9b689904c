"""An actor that leaks, to see that a soak notices."""

from __future__ import annotations

from typing import Any

from nautilus_trader.common.actor import Actor
from nautilus_trader.common.config import ActorConfig

from nautilus_ext.messages import MIRROR_STATE

LEAK_BYTES = 2_000_000  # each second


class Leak(Actor):
    """Keeps what it needs no more."""

    def __init__(self, config: ActorConfig | None = None) -> None:
        super().__init__(config or ActorConfig())
        self._kept: list[bytes] = []

    def on_start(self) -> None:
        self.msgbus.subscribe(topic=MIRROR_STATE, handler=self._keep)

    def on_stop(self) -> None:
        self.msgbus.unsubscribe(topic=MIRROR_STATE, handler=self._keep)

    def _keep(self, _: Any) -> None:
        self._kept.append(b"x" * LEAK_BYTES)
