"""Before a node is built: the tables get what former starts left in their logs, then the node what its book holds."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from nautilus_ext.app.commanded import operator, standing_commands
from nautilus_ext.app.journal import shipper_order
from nautilus_ext.errors import BookIncomplete, MachineError, SuiteError
from nautilus_ext.persistence.audit import opened
from nautilus_ext.persistence.holdings import Holdings, read_holdings
from nautilus_ext.persistence.segments import run_folder, runs
from nautilus_ext.persistence.shipper.process import Shipper
from nautilus_ext.persistence.shipper.state import make_private
from nautilus_ext.persistence.shipper.status import Status
from nautilus_ext.schema import books
from nautilus_ext.schema.connect import CONNECTION_ERRORS, database_error

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from pathlib import Path

    from nautilus_ext.app.book import BookHold
    from nautilus_ext.app.database import Tables
    from nautilus_ext.config import Config
    from nautilus_ext.persistence.shipper.state import ShipperOrder

HOLDINGS = "holdings.json"
PATIENCE_S = 10.0  # with a shipper that is still at a former run
RECENT_S = 86_400.0  # when the file does not say how far back venues are asked
NEXT_SECOND_S_MAX = 1.0
RUNS_NAMED_MAX = 5

log = logging.getLogger(__name__)


class Prepared(NamedTuple):
    """Where the file of the holdings is, and what is in it, in words."""

    path: Path
    text: str


def prepare(config: Config, tables: Tables, hold: BookHold, *, accepts_loss: bool) -> Prepared:
    """Drain what is left of former runs, refuse when some of it is out of reach, and write down what the book holds."""
    order = shipper_order(config, tables, hold)
    folder = run_folder(order.journal_folder, order.run)
    make_private(folder)
    _in_thread(_drain(order, Status(folder, order.run, log.info)))
    holdings = _in_thread(_read(config, tables.app_url, hold, accepts_loss=accepts_loss))
    path = folder / HOLDINGS
    try:
        path.write_bytes(msgspec.json.encode(holdings))
    except OSError as error:
        raise MachineError(f"{path}: cannot be written ({error.strerror}): free space") from None
    _await_next_second(holdings.newest_order_s)
    counts = (("order", len(holdings.orders)), ("open position", len(holdings.positions)))
    return Prepared(path, ", ".join(f"{count:,} {noun}{'' if count == 1 else 's'}" for noun, count in counts))


async def _drain(order: ShipperOrder, status: Status) -> None:
    if all(run >= order.run for run, _ in runs(order.journal_folder)):
        return
    shipper = Shipper(order, status)
    try:
        await shipper.drain(PATIENCE_S)
    except SuiteError:
        raise
    except CONNECTION_ERRORS as error:
        raise database_error(error, order.url or "") from None
    finally:
        shipper.close()


async def _read(config: Config, url: str, hold: BookHold, *, accepts_loss: bool) -> Holdings:
    async with opened(url, config.suite.database.connect_timeout_s, "exec-suite restore") as connection:
        await _refuse_incomplete(connection, config, hold, accepts_loss=accepts_loss)
        recent_s = time.time() - _lookback_s(config)
        holdings = await read_holdings(
            connection,
            hold.book_id,
            recent_s=recent_s,
            counted_max=_ramp_orders(config),
            fills_s=_executions_s(config),
        )
        return msgspec.structs.replace(holdings, standing=await standing_commands(connection, hold.book_id))


async def _refuse_incomplete(connection: Any, config: Config, hold: BookHold, *, accepts_loss: bool) -> None:
    here, folders = socket.gethostname(), {run for run, _ in runs(config.journal_folder(hold.book_id))}
    # A run of this machine that wrote nothing has no folder either.
    lost = [
        each
        for each in await books.undrained(connection, hold.book_id, hold.run)
        if each.host != here or each.run in folders or each.last_seq > each.durable_seq
    ]
    if not lost:
        return
    if accepts_loss:
        await books.accept_loss(connection, hold.book_id, hold.run, [each.run for each in lost], by=operator())
        return
    named = ", ".join(f"{each.run} on {each.host}" for each in lost[:RUNS_NAMED_MAX])
    folder = config.journal_folder(hold.book_id)
    raise BookIncomplete(
        f"book {hold.book_id}: the log of run {named} may hold events that the tables lack: start the node there, "
        f"or bring its folder to {folder}; --accept-loss starts without them, and records it"
    )


def _lookback_s(config: Config) -> float:
    minutes = (config.tree.get("exec_engine") or {}).get("reconciliation_lookback_mins")
    return minutes * 60.0 if minutes else RECENT_S


def _ramp_orders(config: Config) -> int:
    """Up to how many orders a strategy counts as new: no more of them are counted."""
    ramps = (limits.ramp for limits in config.suite.risk.limits.values())
    return max((ramp.orders for ramp in ramps if ramp is not None and ramp.orders is not None), default=0)


def _executions_s(config: Config) -> float:
    """How far back a breaker counts fills."""
    return max((rule.window_s for rule in config.suite.risk.breakers if rule.kind == "executions"), default=0.0)


def _await_next_second(newest_order_s: float) -> None:
    """A client order id holds the second and a count that begins anew: the same second must not have two starts."""
    wait_s = int(newest_order_s) + 1 - time.time()
    if 0 < wait_s <= NEXT_SECOND_S_MAX:
        time.sleep(wait_s)


def _in_thread(work: Coroutine[Any, Any, Any]) -> Any:
    """Run to the end beside the caller, whose loop may be running."""
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="restore") as pool:
        return pool.submit(asyncio.run, work).result()
