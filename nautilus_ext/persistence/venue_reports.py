"""What the venues say of orders, fills, positions and balances, asked in the loop of a running node for an audit.

The venue speaks of a moment between question and answer, the cache hears of it a little later: so each net position and
each balance is told with all that the cache held of it meanwhile. Orders and fills are settled by asking again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import contextmanager
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Self

import pandas as pd
from nautilus_trader.core.uuid import UUID4  # pyright: ignore[reportAttributeAccessIssue] - compiled, without a stub
from nautilus_trader.execution.messages import (
    GenerateFillReports,
    GenerateOrderStatusReports,
    GeneratePositionStatusReports,
    QueryAccount,
)
from nautilus_trader.model.enums import InstrumentClass

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

log = logging.getLogger(__name__)

CLIENT_S_MAX = 15.0  # of one client, all of its questions together
LOOKBACK_S_MAX = 3_600.0  # what was closed earlier is not asked for
REPORTS_MAX = 20_000  # of one kind, from one client
SETTLE_S_MAX = 1.0  # how long the cache may take to hear what a venue has told
SETTLE_POLL_S = 0.05

type Key = tuple[Any, Any]  # account id and instrument id


async def ask_venues(clients: Sequence[Any], cache: Any, msgbus: Any, began_ns: int) -> list[dict[str, Any]]:
    """Ask all clients at once; one that cannot answer says why in `problem`."""
    since_ns = max(began_ns, time.time_ns() - round(LOOKBACK_S_MAX * 1e9))
    with _HeldMeanwhile(cache, msgbus) as meanwhile:
        asked = (_ask(client, cache, msgbus, meanwhile, since_ns) for client in clients)
        return list(await asyncio.gather(*asked))


class _HeldMeanwhile:
    """Every net quantity that the cache had while the venues were asked, by account and instrument."""

    def __init__(self, cache: Any, msgbus: Any) -> None:
        self._cache = cache
        self._msgbus = msgbus
        self.seen: dict[Key, set[Decimal]] = {}

    def __enter__(self) -> Self:
        for position in self._cache.positions_open():
            self._look((position.account_id, position.instrument_id))
        self._msgbus.subscribe(topic="events.position.*", handler=self._on_position)
        return self

    def __exit__(self, *_error: object) -> None:
        self._msgbus.unsubscribe(topic="events.position.*", handler=self._on_position)

    def _on_position(self, event: Any) -> None:
        try:
            self._look((event.account_id, event.instrument_id))
        except Exception as error:  # noqa: BLE001 - an exception in a subscriber would end the node
            log.warning("a position could not be followed while the venues are asked: %r", error)

    def _look(self, key: Key) -> None:
        held = self._cache.positions_open(instrument_id=key[1], account_id=key[0])
        self.seen.setdefault(key, set()).add(sum((each.signed_decimal_qty() for each in held), Decimal(0)))

    async def settle(self, key: Key, told: Decimal) -> list[str]:
        """What was held, once that is what the venue says, or patience is over."""
        until_s = time.monotonic() + SETTLE_S_MAX
        self._look(key)
        while told not in self.seen[key] and time.monotonic() < until_s:
            await asyncio.sleep(SETTLE_POLL_S)
            self._look(key)
        return [str(each) for each in self.seen[key]]


async def _ask(client: Any, cache: Any, msgbus: Any, meanwhile: _HeldMeanwhile, since_ns: int) -> dict[str, Any]:
    told: dict[str, Any] = {"client": client.id.value, "problem": "", "since_ns": since_ns}
    told["account_id"] = client.account_id.value if client.account_id is not None else ""
    if not client.is_connected:
        return told | {"problem": "it is not connected"}
    try:
        async with asyncio.timeout(CLIENT_S_MAX):
            told["orders"] = await _orders(client, since_ns)
            told["fills"] = await _fills(client, since_ns)
            told["positions"] = await _positions(client, cache, meanwhile)
            told["balances"] = await _balances(client, cache, msgbus)
    except TimeoutError:
        told["problem"] = f"no answer within {CLIENT_S_MAX:g} s"
    except NotImplementedError:
        told["problem"] = "its client has no such report"
    except _NotAsked as reason:
        told["problem"] = str(reason)
    except Exception as error:
        # An adapter's error may quote what it sent, keys included: the log masks them, an answer does not.
        log.exception("%s could not be asked for an audit", client.id)
        told["problem"] = f"its client failed ({type(error).__name__}): see the node's log"
    return told


class _NotAsked(Exception):
    """Why an answer of a client proves nothing."""


async def _orders(client: Any, since_ns: int) -> list[list[Any]]:
    """All that work, and what changed since: a venue may know of closed ones for a while only."""
    found: dict[str, Any] = {}
    for start_ns, open_only in ((since_ns, False), (None, True)):
        command = GenerateOrderStatusReports(
            instrument_id=None, start=_moment(start_ns), end=None, open_only=open_only, **_formal()
        )
        for report in _bounded("orders", await client.generate_order_status_reports(command)):
            found[report.venue_order_id.value] = report
    return [
        [
            report.client_order_id.value if report.client_order_id else None,
            report.venue_order_id.value,
            report.order_status.name,
            str(report.quantity),
            str(report.filled_qty),
            str(report.avg_px) if report.avg_px is not None and report.filled_qty else None,
        ]
        for report in found.values()
    ]


async def _fills(client: Any, since_ns: int) -> list[list[Any]]:
    command = GenerateFillReports(
        instrument_id=None, venue_order_id=None, start=_moment(since_ns), end=None, **_formal()
    )
    reports = _bounded("fills", await client.generate_fill_reports(command))
    return [
        [each.venue_order_id.value, each.trade_id.value, str(each.last_qty), str(each.last_px), each.ts_event]
        for each in reports
    ]


async def _positions(client: Any, cache: Any, meanwhile: _HeldMeanwhile) -> list[list[Any]]:
    """Net per instrument. What no report speaks of is flat, except spot: that is a balance at most venues."""
    command = GeneratePositionStatusReports(instrument_id=None, start=None, end=None, **_formal())
    net: dict[Any, Decimal] = {}
    for report in _bounded("positions", await client.generate_position_status_reports(command)):
        net[report.instrument_id] = net.get(report.instrument_id, Decimal(0)) + report.signed_decimal_qty
    for position in cache.positions_open(account_id=client.account_id):
        instrument = cache.instrument(position.instrument_id)
        if instrument is not None and instrument.instrument_class != InstrumentClass.SPOT:
            net.setdefault(position.instrument_id, Decimal(0))
    return [
        [instrument_id.value, str(told), await meanwhile.settle((client.account_id, instrument_id), told)]
        for instrument_id, told in net.items()
    ]


async def _balances(client: Any, cache: Any, msgbus: Any) -> list[list[Any]] | None:
    """Totals per currency; what the answer does not speak of is nothing. None when the client cannot be asked.

    There is no report of balances: the client makes an account state of the answer, which puts the cache right before
    it could be compared. So what counts is what the cache had beside that answer.
    """
    query = getattr(client, "_query_account", None)  # the public command leaves open when it is answered
    if query is None:
        return None
    account = cache.account(client.account_id)
    held: dict[str, set[Decimal]] = {}
    _add(held, account.balances().values() if account is not None else ())
    with _account_states(client.account_id, msgbus) as heard:
        await query(QueryAccount(trader_id=msgbus.trader_id, account_id=client.account_id, **_formal()))
        while not any(state.is_reported for state in heard):  # noqa: ASYNC110 - within the client's time
            await asyncio.sleep(SETTLE_POLL_S)
        answer = [state for state in heard if state.is_reported][-1]
        told = dict.fromkeys(held, Decimal(0)) | {each.currency.code: _total(each) for each in answer.balances}
        until_s = time.monotonic() + SETTLE_S_MAX
        while True:
            for state in heard:
                _add(held, () if state is answer else state.balances)
            if time.monotonic() > until_s or all(told[each] in held.get(each, {Decimal(0)}) for each in told):
                break
            await asyncio.sleep(SETTLE_POLL_S)
    return [[each, str(told[each]), [str(one) for one in held.get(each, {Decimal(0)})]] for each in told]


@contextmanager
def _account_states(account_id: Any, msgbus: Any) -> Iterator[list[Any]]:
    """All that the node hears of an account."""
    heard: list[Any] = []
    msgbus.subscribe(topic=f"events.account.{account_id}", handler=heard.append)
    try:
        yield heard
    finally:
        msgbus.unsubscribe(topic=f"events.account.{account_id}", handler=heard.append)


def _add(held: dict[str, set[Decimal]], balances: Iterable[Any]) -> None:
    for each in balances:
        held.setdefault(each.currency.code, set()).add(_total(each))


def _total(balance: Any) -> Decimal:
    return balance.total.as_decimal()


def _bounded(what: str, reports: list[Any]) -> list[Any]:
    if len(reports) > REPORTS_MAX:
        raise _NotAsked(f"it has {len(reports):,} {what} to tell, more than {REPORTS_MAX:,}")
    return reports


def _moment(ns: int | None) -> Any:
    return None if ns is None else pd.Timestamp(ns, unit="ns", tz="UTC")


def _formal() -> dict[str, Any]:
    """What the engine's own commands carry."""
    return {"command_id": UUID4(), "ts_init": time.time_ns()}
