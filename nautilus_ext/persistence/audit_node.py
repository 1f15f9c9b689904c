"""Is the cache of a running node what the journal says? The node of this machine is asked through its log's folder."""

from __future__ import annotations

import asyncio
import time
from decimal import Decimal  # noqa: TC003 - the decoder reads the annotation
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import msgspec

from nautilus_ext.persistence.audit_venues import VenueAnswer  # noqa: TC001 - as above
from nautilus_ext.persistence.reading import WORKING
from nautilus_ext.persistence.segments import AUDIT_REQUEST, NODE_LOCK, is_locked, run_folder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from nautilus_ext.persistence.ledger import Changes
    from nautilus_ext.persistence.matching import Findings

ANSWER_S_MAX = 10.0
ANSWER_POLL_S = 0.05
VENUES_S_MAX = 20.0  # more than the node grants its clients
# An order that was made and not sent yet is in no list of the cache.
_SHOWN = frozenset(WORKING) - {"INITIALIZED", "RELEASED"}


class Answer(msgspec.Struct, frozen=True):
    """What the node says: orders (id, status, quantity, filled, venue's id), positions (five ids, side, quantity)."""

    id: str
    seq: int
    orders: list[tuple[str, str, Decimal, Decimal, str | None]]
    positions: list[tuple[str, str, str, str, str, str, Decimal]]
    venues: list[VenueAnswer] | None = None  # only when it was asked to ask them


def is_running(journal_folder: Path, run: int) -> bool:
    return is_locked(run_folder(journal_folder, run) / NODE_LOCK)


async def ask(journal_folder: Path, run: int, *, live: bool = False) -> Answer | None:
    """Ask the node of a run, and with `live` its venues through it; None when it does not answer in time."""
    folder = run_folder(journal_folder, run)
    asked = uuid4().hex
    answer, request = folder / f"audit-{asked}.json", folder / AUDIT_REQUEST
    unfinished = folder / f"{AUDIT_REQUEST}.{asked}"
    until_s = time.monotonic() + ANSWER_S_MAX + (VENUES_S_MAX if live else 0.0)
    try:
        await _while(request.exists, until_s)  # another audit's question is answered first
        unfinished.write_bytes(msgspec.json.encode({"id": asked, "live": live}))
        unfinished.rename(request)
        await _while(lambda: not answer.exists() and is_running(journal_folder, run), until_s)
        return msgspec.json.decode(answer.read_bytes(), type=Answer)
    except (FileNotFoundError, msgspec.MsgspecError):  # no answer, or the node ended and its folder is deleted
        return None
    finally:
        for path in (answer, unfinished):
            path.unlink(missing_ok=True)


async def _while(condition: Callable[[], bool], until_s: float) -> None:
    while condition() and time.monotonic() < until_s:  # noqa: ASYNC110 - another process makes the files
        await asyncio.sleep(ANSWER_POLL_S)


class Sight:
    """The fold of the journal as it stood when the node was asked, beside the node's answer."""

    def __init__(self, run: int, answer: Answer) -> None:
        self.run = run
        self.seq = answer.seq
        self.was_judged = False
        self._told: dict[Any, tuple[Any, ...]] = {row[0]: row[1:] for row in answer.orders}
        self._held: dict[Any, tuple[Any, ...]] = {row[:5]: row[5:] for row in answer.positions}
        self._orders: dict[Any, tuple[Any, ...]] = {}
        self._positions: dict[Any, tuple[Any, ...]] = {}

    @property
    def orders(self) -> int:
        return len(self._told)

    @property
    def positions(self) -> int:
        return len(self._held)

    def see(self, changes: Changes) -> None:
        """Follow the fold until the moment of the answer: what is open, and what the node spoke of."""
        if self.was_judged:
            return
        for order in changes.orders:
            if order.status in _SHOWN or order.client_order_id in self._told:
                state = (order.status, order.quantity, order.filled_quantity, order.venue_order_id)
                self._orders[order.client_order_id] = state
            else:
                self._orders.pop(order.client_order_id, None)
        for row in changes.positions:
            key = (row.account_id, row.instrument_id, row.strategy_id, row.position_id, row.opening_order_id)
            if row.side == "FLAT":
                self._positions.pop(key, None)
            else:
                self._positions[key] = (row.side, row.quantity)

    def judge(self, findings: Findings) -> None:
        self.was_judged = True
        kinds = (
            ("cache order", ("status", "quantity", "filled_quantity", "venue_order_id"), self._orders, self._told),
            ("cache position", ("side", "quantity"), self._positions, self._held),
        )
        for table, fields, folded, told in kinds:
            for key in sorted(folded.keys() | told.keys()):
                _judge_one(findings, table, key, fields, (folded.get(key), told.get(key)))


def _judge_one(findings: Findings, table: str, key: Any, fields: tuple[str, ...], both: tuple[Any, Any]) -> None:
    journal, cache = both
    if journal is None or cache is None:
        findings.add(table, key, "row", journal and journal[0], cache and cache[0])
        return
    for field, expected, found in zip(fields, journal, cache, strict=True):
        if expected != found:
            findings.add(table, key, field, expected, found)
