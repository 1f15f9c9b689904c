"""Stands in front of `ExecEngine.execute`: a halt refuses what is new, `power` syncs an intent before it goes on.

With `power` every command waits in one queue. A thread syncs the log, many intents at a time; the node's loop then
lets go of those that are on the disk, in their order: nothing overtakes, whatever client it is for.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from contextlib import suppress
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from nautilus_trader.execution.messages import (
    BatchCancelOrders,
    CancelOrder,
    ModifyOrder,
    SubmitOrder,
    SubmitOrderList,
)
from nautilus_trader.model.enums import OrderSide

from nautilus_ext.messages import RECHECK, Recheck
from nautilus_ext.persistence.bounds import HALTED, Exposure, reduces
from nautilus_ext.seam import EXECUTE, can_be_denied, deny, submitted, take_over

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from nautilus_ext.persistence.run_log import RunLog

INTENT = "Intent"
TIMED_OUT = "INTENT_TIMEOUT"
PARKED_MAX = 10_000
SYNC_AGAIN_S = 0.1  # after a disk that would not sync
JOIN_S_MAX = 1.0

log = logging.getLogger(__name__)

sync = os.fdatasync


class Parked(NamedTuple):
    """A command whose intent is record `seq` of the log, and when it has waited long enough."""

    command: Any
    seq: int
    until_s: float


class Gate:
    """Takes over the endpoint when it is made, for good: actors stop before strategies, and their orders are real.

    `halt` answers why no new order is taken at this moment, empty when they are.
    """

    def __init__(self, msgbus: Any, cache: Any, clock: Any, *, halt: Callable[[], str]) -> None:
        self._msgbus = msgbus
        self._cache = cache
        self._clock = clock
        self._halt = halt
        self.pass_on = take_over(msgbus, EXECUTE, self.execute)

    def execute(self, command: Any) -> None:
        """From any thread."""
        reason = self.judge(command)
        if reason:
            self.deny(command, reason)
        else:
            self.pass_on(command)

    def judge(self, command: Any, parked: tuple[Parked, ...] = ()) -> str:
        """Why a command is refused, empty when it passes. A defect here refuses: an exception would end the node."""
        try:
            return self.refusal(command, parked)
        except Exception as error:
            log.exception("a command could not be judged: %s", command)
            return f"{HALTED}: it could not be judged ({type(error).__name__})" if can_be_denied(command) else ""

    def refusal(self, command: Any, parked: tuple[Parked, ...] = ()) -> str:
        """Why a halt refuses a command, empty when it passes: cancels do, and whatever reduces a position."""
        why = self._halt()
        if not why:
            return ""
        if isinstance(command, SubmitOrder):
            passes = self._reduces([command.order], parked)
        elif isinstance(command, SubmitOrderList):
            passes = self._reduces(command.order_list.orders, parked)
        elif isinstance(command, ModifyOrder):
            order = self._cache.order(command.client_order_id)
            passes = command.quantity is None or (order is not None and command.quantity <= order.quantity)
        else:
            passes = True
        return "" if passes else f"{HALTED}: {why}"

    def _reduces(self, orders: list[Any], parked: tuple[Parked, ...]) -> bool:
        """Each order of a list must, beside those of the list that come before it."""
        before: list[Any] = [order for each in parked for order in submitted(each.command)]
        for order in orders:
            if order.is_quote_quantity or not reduces(
                is_buy=order.side == OrderSide.BUY,
                quantity=order.quantity.as_decimal(),
                reduce_only=order.is_reduce_only,
                exposure=self._exposure(order, before),
            ):
                return False
            before.append(order)
        return True

    def _exposure(self, order: Any, before: list[Any]) -> Exposure:
        """Of the order's strategy: netted with another's, a position could grow where its own strategy has none."""
        of = {"instrument_id": order.instrument_id, "strategy_id": order.strategy_id}
        held = sum((each.signed_decimal_qty() for each in self._cache.positions_open(**of)), Decimal(0))
        working = {each.client_order_id: each for each in self._cache.orders_open(side=order.side, **of)}
        working |= {each.client_order_id: each for each in self._cache.orders_inflight(side=order.side, **of)}
        same = (order.instrument_id, order.strategy_id, order.side)
        working |= {
            each.client_order_id: each for each in before if (each.instrument_id, each.strategy_id, each.side) == same
        }
        working.pop(order.client_order_id, None)
        return Exposure(held, sum((each.leaves_qty.as_decimal() for each in working.values()), Decimal(0)))

    def deny(self, command: Any, reason: str) -> None:
        deny(self._msgbus, self._cache, command, reason, self._clock.timestamp_ns())


class PowerGate(Gate):
    """Parks every command until its intent is on the disk, or its time is over. `start` and `close` belong together.

    Before the loop runs, and without one, the caller itself waits for the disk.
    """

    def __init__(
        self,
        msgbus: Any,
        cache: Any,
        clock: Any,
        *,
        halt: Callable[[], str],
        run_log: RunLog,
        lock: threading.RLock,
        timeout_s: float,
    ) -> None:
        self._run_log = run_log
        self._lock = lock  # of the log: an intent has its place there and in the queue at once
        self._timeout_s = timeout_s
        self._parked: deque[Parked] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._wanted = threading.Event()
        self._is_closed = False
        self._trouble = ""
        self._synced_seq = 0
        self._doubtful_seq = 0  # up to here a sync has failed: a later one that succeeds proves nothing of it
        self._thread = threading.Thread(target=self._sync_always, name="intents", daemon=True)
        super().__init__(msgbus, cache, clock, halt=halt)

    @property
    def parked(self) -> int:
        """How many commands wait for the disk: they count as working."""
        return len(self._parked)

    @property
    def trouble(self) -> str:
        """What keeps intents from the disk."""
        return self._trouble

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        if not self._thread.is_alive():
            self._thread.start()

    def close(self) -> None:
        """End the thread, if the disk lets it; what is parked is not sent."""
        self._is_closed = True
        self._wanted.set()
        if self._thread.is_alive():
            self._thread.join(JOIN_S_MAX)

    def execute(self, command: Any) -> None:
        """From any thread. A query needs no intent; behind parked commands it waits its turn like any other."""
        try:
            with self._lock:
                reason = self.judge(command, tuple(self._parked)) or self._park(command)
        except Exception as error:
            log.exception("a command could not be parked and is refused: %s", command)
            reason = f"{TIMED_OUT}: its intent could not be written ({type(error).__name__})"
            if not can_be_denied(command):
                self.pass_on(command)
        if reason:
            self.deny(command, reason)

    def _park(self, command: Any) -> str:
        """Write the intent and queue the command; say why it cannot be. A cancel is queued whatever became of it."""
        body = intent(command)
        if body is None and not self._parked:
            self.pass_on(command)
            return ""
        if len(self._parked) >= PARKED_MAX and can_be_denied(command):
            return f"{TIMED_OUT}: {PARKED_MAX:,} commands wait for the disk already"
        dropped = self._run_log.dropped
        if body is not None:
            self._run_log.record(INTENT, self._clock.timestamp_ns(), body)
        if self._run_log.dropped != dropped and can_be_denied(command):
            return f"{TIMED_OUT}: its intent is lost, the disk refuses the log and memory is full: free space"
        self._parked.append(Parked(command, self._run_log.seq, time.monotonic() + self._timeout_s))
        if self._loop is None:
            self._sync_now()
            return ""
        if len(self._parked) == 1:
            self._loop.call_soon_threadsafe(self._watch)
        self._wanted.set()
        return ""

    # -- the disk -----------------------------------------------------------------------------------

    def _sync_now(self) -> None:
        try:
            self._let_go(self._sync_once())
        except OSError as error:
            self._trouble = _text(error)
            self._give_up(float("inf"), "at once")

    def _sync_always(self) -> None:
        loop = self._loop
        assert loop is not None, "started with it"
        while True:  # until it is closed
            self._wanted.wait()
            self._wanted.clear()
            if self._is_closed:
                return
            try:
                seq = self._sync_once()
            except OSError as error:
                self._trouble = _text(error)
                time.sleep(SYNC_AGAIN_S)
                self._wanted.set()
                continue
            self._trouble = ""
            with suppress(RuntimeError):  # the loop is closed: nothing more is sent
                loop.call_soon_threadsafe(self._let_go, seq)

    def _sync_once(self) -> int:
        """Return the number up to which all is on the disk; of a sync that fails nobody knows what is."""
        with self._lock:
            seq, descriptors = self._run_log.written_seq, self._run_log.take_unsynced()
        try:
            for descriptor in descriptors:
                sync(descriptor)
        except OSError:
            self._doubtful_seq = seq
            raise
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        return seq

    # -- on the node's loop -------------------------------------------------------------------------

    def _let_go(self, seq: int) -> None:
        """Send what is on the disk; halts may have come meanwhile."""
        self._synced_seq = seq
        while (ready := self._next(lambda first: self._doubtful_seq < first.seq <= self._synced_seq)) is not None:
            self._send(ready.command)
        self._watch()

    def _send(self, command: Any) -> None:
        reason = self.judge(command, tuple(self._parked)) or self._recheck(command)
        if reason:
            self._refuse(command, reason)
        else:
            self.pass_on(command)

    def _recheck(self, command: Any) -> str:
        """Why the gate that has let it through would not any more."""
        reasons: list[str] = []
        if can_be_denied(command) and RECHECK in self._msgbus.endpoints():
            self._msgbus.send(RECHECK, Recheck(command=command, answer=reasons.append))
        return reasons[0] if reasons else ""

    def give_up(self) -> None:
        """Deny all that waits, on the node's loop: strategies stop, and nobody would look after a late order."""
        self._give_up(float("inf"), "before the stop")

    def _give_up(self, now_s: float, when: str) -> None:
        """Deny what has waited too long, and send the cancels among it."""
        said, unsynced = self._trouble or "the disk has not confirmed its intent", 0
        while (late := self._next(lambda first: first.until_s <= now_s)) is not None:
            if can_be_denied(late.command):
                self._refuse(late.command, f"{TIMED_OUT}: {said} {when}: it was not sent")
            else:
                unsynced += 1
                self.pass_on(late.command)
        if unsynced:
            log.warning("%s cancels were sent whose intents are not on the disk: %s", f"{unsynced:,}", said)
        self._let_go(self._synced_seq)  # what stood behind them may be on the disk

    def _time_out(self) -> None:
        self._give_up(time.monotonic(), f"within {self._timeout_s:g} s")

    def _refuse(self, command: Any, reason: str) -> None:
        """Deny; what is parked behind for the same orders has lost its object."""
        gone = {order.client_order_id for order in submitted(command)}
        if gone:
            with self._lock:
                kept = [each for each in self._parked if getattr(each.command, "client_order_id", None) not in gone]
                self._parked.clear()
                self._parked.extend(kept)
        self.deny(command, reason)

    def _next(self, is_due: Callable[[Parked], bool]) -> Parked | None:
        with self._lock:
            return self._parked.popleft() if self._parked and is_due(self._parked[0]) else None

    def _watch(self) -> None:
        """One timer, for the first in the queue."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        with self._lock:
            first = self._parked[0] if self._parked else None
        if first is not None and self._loop is not None:
            delay_s = first.until_s - time.monotonic()
            self._timer = self._loop.call_later(delay_s, self._time_out)


def intent(command: Any) -> dict[str, Any] | None:
    """What is about to be asked of a venue; an order itself is in the log since it was made. None for a query."""
    orders = [order.client_order_id.value for order in submitted(command)]
    if isinstance(command, BatchCancelOrders):
        orders = [cancel.client_order_id.value for cancel in command.cancels]
    is_one = isinstance(command, (SubmitOrder, ModifyOrder, CancelOrder))
    kind = type(command).__name__
    if not (orders or is_one or kind == "CancelAllOrders"):
        return None
    body: dict[str, Any] = {
        "command": kind,
        "event_id": command.id.value,
        "strategy_id": command.strategy_id.value,
        "instrument_id": command.instrument_id.value,
    }
    if is_one:
        body["client_order_id"] = (command.order if isinstance(command, SubmitOrder) else command).client_order_id.value
    elif orders:
        body["client_order_ids"] = orders
    else:
        body["side"] = OrderSide(command.order_side).name
    if isinstance(command, ModifyOrder):
        changes = {name: getattr(command, name) for name in ("quantity", "price", "trigger_price")}
        body |= {name: str(value) for name, value in changes.items() if value is not None}
    return body


def _text(error: OSError) -> str:
    return f"the log cannot be synced ({error.strerror or error})"
