"""An actor that sees a soak from inside its node: how far the log is, and what Nautilus's cache keeps."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgspec
from nautilus_trader.common.actor import Actor
from nautilus_trader.common.config import ActorConfig

from nautilus_ext.messages import MIRROR_STATE, MirrorState

COUNT_EVERY = 5  # looks: counting goes over what is counted


class WitnessConfig(ActorConfig, frozen=True):
    """Configuration of `Witness`: the file that gets a JSON line each second."""

    path: str = ""


class Inside(msgspec.Struct, frozen=True, kw_only=True):
    """One look; counts are of what the cache keeps."""

    at_s: float
    seq: int
    shipped_seq: int
    orders: int
    positions: int
    position_events: int
    account_events: int


class Witness(Actor):
    """Looks whenever the mirror says how far it is: on the node's loop, once a second."""

    def __init__(self, config: WitnessConfig | None = None) -> None:
        config = config or WitnessConfig()
        super().__init__(config)
        self._path = config.path
        self._looks = 0
        self._counts: dict[str, int] = {}

    def on_start(self) -> None:
        self._file = Path(self._path).open("ab", buffering=0)  # noqa: SIM115 - open for as long as the actor runs
        self.msgbus.subscribe(topic=MIRROR_STATE, handler=self._look)

    def on_stop(self) -> None:
        self.msgbus.unsubscribe(topic=MIRROR_STATE, handler=self._look)
        self._file.close()

    def _look(self, state: MirrorState) -> None:
        if self._looks % COUNT_EVERY == 0:
            self._counts = self._count()
        self._looks += 1
        look = Inside(at_s=time.time(), seq=state.seq, shipped_seq=state.shipped_seq, **self._counts)
        self._file.write(msgspec.json.encode(look) + b"\n")

    def _count(self) -> dict[str, Any]:
        positions = self.cache.positions()
        return {
            "orders": self.cache.orders_total_count(),
            "positions": len(positions),
            "position_events": sum(position.event_count for position in positions),
            "account_events": sum(account.event_count for account in self.cache.accounts()),
        }
