"""The actor that asks the venues again and again, and compares what they tell with the tables: the drop copy.

It is the comparison of `audit --live`, of orders, fills, positions and balances. What differs is asked again before it
counts; where the tables are not as far as the node, nothing is said.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from nautilus_trader.common.actor import Actor
from nautilus_trader.common.config import ActorConfig, PositiveFloat, PositiveInt

from nautilus_ext.errors import SuiteError
from nautilus_ext.messages import MIRROR_STATE, VENUE_CHECKED, MirrorState, VenueChecked
from nautilus_ext.persistence import audit_runs
from nautilus_ext.persistence.audit import opened
from nautilus_ext.persistence.audit_venues import (
    ROUND_PAUSE_S,
    ROUNDS_MAX,
    Differences,
    VenueAnswer,
    differences,
    is_decided,
    lasting,
)
from nautilus_ext.persistence.venue_reports import ask_venues
from nautilus_ext.schema.connect import CONNECTION_ERRORS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

EXAMPLES_MAX = 3

log = logging.getLogger(__name__)


class VenueWatchConfig(ActorConfig, frozen=True):
    """Configuration of `VenueWatch`. The suite fills in folder, book and run at each start.

    Parameters
    ----------
    folder : str
        Folder of the book's logs.
    book_id : str
        The trading history whose tables are compared.
    run : int
        Number of this start of the book.
    interval_s : float, default 60.0
        The pause between two checks.

    """

    folder: str = ""
    book_id: str = ""
    run: PositiveInt = 1
    interval_s: PositiveFloat = 60.0


class VenueWatch(Actor):
    """Publishes a `VenueChecked` per client. Whoever builds the node calls `open`; until then nobody is asked."""

    def __init__(self, config: VenueWatchConfig | None = None) -> None:
        config = config or VenueWatchConfig()
        super().__init__(config)
        self._config = config
        self._clients: Sequence[Any] = ()
        self._url: Callable[[], str] | None = None
        self._timeout_s = 0.0
        self._task: asyncio.Task[None] | None = None
        self._began_ns = 0
        self._seq = 0
        self._failures: dict[str, int] = {}

    def register_base(self, portfolio: Any, msgbus: Any, cache: Any, clock: Any) -> None:
        super().register_base(portfolio, msgbus, cache, clock)
        self._began_ns = clock.timestamp_ns()
        msgbus.subscribe(topic=MIRROR_STATE, handler=self._on_mirror)

    def open(self, url: Callable[[], str], clients: Sequence[Any], *, connect_timeout_s: float) -> None:
        """`url` is called in a thread, at each check: an embedded server may have moved."""
        self._url, self._clients, self._timeout_s = url, clients, connect_timeout_s

    def on_start(self) -> None:
        if self._url is not None and self._clients:
            self._task = asyncio.get_running_loop().create_task(self._watch())

    def on_stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _on_mirror(self, state: MirrorState) -> None:
        self._seq = state.seq

    # -- checks -------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        while True:  # until it is canceled
            await asyncio.sleep(self._config.interval_s)
            for client in self._clients:
                try:
                    await self._check(client)
                except Exception:
                    log.exception("the venue of %s could not be compared with the tables", client.id)

    async def _check(self, client: Any) -> None:
        told, found = None, None
        for number in range(ROUNDS_MAX):
            if number:
                await asyncio.sleep(ROUND_PAUSE_S)
            told = await self._ask(client)
            if told.problem:
                break
            now = await asyncio.to_thread(self._compare, told)
            if now is None:  # nobody can say
                found = None
                break
            found = now if found is None else lasting(found, now)
            if is_decided(found):
                break
        assert told is not None, "it is asked once at least"
        self._publish(client, told, found)

    async def _ask(self, client: Any) -> VenueAnswer:
        (raw,) = await ask_venues([client], self.cache, self.msgbus, self._began_ns)
        return msgspec.json.decode(msgspec.json.encode(raw), type=VenueAnswer)

    def _compare(self, told: VenueAnswer) -> Differences | None:
        """In a thread; None when the tables are away, or not as far as the venue's word."""
        try:
            return asyncio.run(self._compared(told))
        except (*CONNECTION_ERRORS, TimeoutError, SuiteError) as error:
            log.warning(
                "the venue of %s could not be compared: the tables are away (%s)", told.client, type(error).__name__
            )
            return None

    async def _compared(self, told: VenueAnswer) -> Differences | None:
        assert self._url is not None, "it is open"
        config = self._config
        async with opened(self._url(), self._timeout_s, "exec-suite venues") as connection:
            until = (config.run, self._seq)
            if not await audit_runs.wait_durable(connection, config.book_id, Path(config.folder), until):
                return None
            found, _ = await differences(connection, config.book_id, told)
            return found

    def _publish(self, client: Any, told: VenueAnswer, found: Differences | None) -> None:
        failures = self._failures[told.client] = self._failures.get(told.client, 0) + 1 if told.problem else 0
        examples = [
            f"{place.table} {place.key} {place.field}: ours {ours}, the venue's {theirs}"
            for place, (ours, theirs) in sorted((found or {}).items())[:EXAMPLES_MAX]
        ]
        checked = VenueChecked(
            client=told.client,
            venue=(client.venue or client.id).value,
            account_id=told.account_id,
            failures=failures,
            problem=told.problem,
            differences=None if found is None else len(found),
            examples="; ".join(examples),
        )
        self.msgbus.publish(topic=VENUE_CHECKED, msg=checked)
