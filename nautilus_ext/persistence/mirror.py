"""The actor that writes every order, position and account event, and every decision, to the local log."""

import asyncio
import logging
import re
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
from nautilus_trader.common.actor import Actor
from nautilus_trader.common.config import ActorConfig, PositiveInt
from nautilus_trader.model.events import OrderInitialized
from nautilus_trader.model.identifiers import InstrumentId

from nautilus_ext.errors import ConfigError, Problem, SuiteError
from nautilus_ext.instruments.nautilus import describe
from nautilus_ext.messages import MIRROR_STATE, RISK_DECISIONS, ROUTING_DECISIONS, MirrorState
from nautilus_ext.persistence.answering import Answering
from nautilus_ext.persistence.bounds import Bounds, Policy, Waiting
from nautilus_ext.persistence.intents import Gate, PowerGate
from nautilus_ext.persistence.run_log import PENDING_BYTES_MAX, RunLog
from nautilus_ext.persistence.segments import (
    RECORD_BYTES_MAX,
    SEGMENT_BYTES_MAX,
    SegmentWriter,
    run_folder,
    unread_bytes,
)
from nautilus_ext.persistence.shipper.state import ShipperState, read_state
from nautilus_ext.persistence.sights import held, marks

STATE_INTERVAL_S = 1.0
FIRST = 100  # the engine's own subscribers have 10: an event is in the log before what it causes
KNOWN_ORDERS_MAX = 20_000  # closed orders past it are forgotten, the oldest first
ALGORITHM_ORDERS_MAX = 10_000  # live orders of execution algorithms whose silent changes are looked for
UNSHIPPED_BYTES_MAX = 1_000_000_000
HELD_FRAME_BYTES_MAX = 1_000  # what stands around the body of a record

QUIET_S_MIN, QUIET_S_MAX = 1.0, 60.0  # between two lines about the state of the journal

_FIGURES = re.compile(r"[\d,]+")

log = logging.getLogger(__name__)


class MirrorConfig(ActorConfig, frozen=True):
    """Configuration of `Mirror`. The suite fills in book, run and epoch at each start.

    Parameters
    ----------
    folder : str
        Folder of the book's logs; the run gets a folder below it.
    book_id : str
        The trading history that the events belong to.
    run : int
        Number of this start of the book.
    epoch : int
        Token of this start: the database refuses the rows of an older one.
    flush : {"batch", "event", "power"}, default "event"
        `event`: in the file before the event's handler returns. `batch`: after 512 events, and at the end.
        `power`: as `event`, and no command goes on before its intent is on the disk.
    intent_timeout_ms : int, default 2000
        With `power`: how long a command waits for the disk before it is denied, `INTENT_TIMEOUT`.
    mark_interval_ms : int, default 1000
        How often the prices of open positions are written when they have changed; live only.
    segment_bytes_max : int, default 16000000
        Size from which the log goes on in another file.
    unshipped_bytes_max : int, default 1000000000
        What may wait for the database before it is reported as an error.
    on_unshipped : {"continue", "halt"}, default "continue"
        What follows then: nothing else, or no new orders until it is less; cancels and reducing orders go on.
    external_venues : tuple[str, ...], default ()
        Venues whose adapters use the venue's own kit: `EXTERNAL_SDK` in the tables.

    """

    folder: str = ""
    book_id: str = ""
    run: int = 0
    epoch: int = 0
    flush: Literal["batch", "event", "power"] = "event"
    intent_timeout_ms: PositiveInt = 2_000
    mark_interval_ms: PositiveInt = 1_000
    segment_bytes_max: PositiveInt = SEGMENT_BYTES_MAX
    unshipped_bytes_max: PositiveInt = UNSHIPPED_BYTES_MAX
    on_unshipped: Policy = "continue"
    external_venues: tuple[str, ...] = ()


@dataclass(slots=True)
class _Told:
    """How many events of an algorithm's live order are in the log, and the order that it is a part of."""

    primary_id: Any
    count: int = 0


class Mirror(Actor):
    """Numbers each event and appends it to the log, from registration to `finish`.

    Any thread may publish: numbers and file have one order. No exception leaves a handler, it would end the node.
    """

    def __init__(self, config: MirrorConfig | None = None) -> None:
        config = config or MirrorConfig()
        super().__init__(config)
        self._config = config
        self._lock = threading.RLock()
        self._known_orders: dict[Any, None] = {}
        self._algorithm_orders: dict[Any, _Told] = {}
        self._described: set[InstrumentId] = set()
        self._marked: dict[str, str] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._shipped = ShipperState()
        self._bounds = Bounds(config.unshipped_bytes_max, PENDING_BYTES_MAX, config.on_unshipped)
        self._waiting = Waiting(0, 0)
        self._gate: Gate | None = None
        self._troubles: dict[str, str] = {}
        self._warned = ("", 0)
        self._quiet_s, self._quiet_until_s = QUIET_S_MIN, 0.0

    def register_base(self, portfolio: Any, msgbus: Any, cache: Any, clock: Any) -> None:
        """Subscribe here, before reconciliation and the first account state; events after our stop are real, too."""
        super().register_base(portfolio, msgbus, cache, clock)
        config = self._config
        if not config.folder or not config.book_id:
            problem = Problem("", "has no folder and no book: start the file with `python -m nautilus_ext run`")
            raise ConfigError("nautilus_ext.persistence:Mirror", [problem])
        self._folder = run_folder(config.folder, config.run)
        writer = SegmentWriter(
            self._folder,
            book_id=config.book_id,
            run=config.run,
            epoch=config.epoch,
            segment_bytes_max=config.segment_bytes_max,
            is_synced=config.flush == "power",
        )
        self._run_log = RunLog(writer, is_batch=config.flush == "batch")
        self._answering = Answering(
            self._folder, cache, msgbus, clock.timestamp_ns(), lambda: (self.seq, reversed(self._known_orders))
        )
        for topic, handler in (
            ("events.order.*", self._on_order),
            ("events.position.*", self._on_position),
            ("events.account.*", self._on_account),
            (RISK_DECISIONS, self._on_decision),
            (ROUTING_DECISIONS, self._on_decision),
        ):
            msgbus.subscribe(topic=topic, handler=handler, priority=FIRST)
        self._gate = self._make_gate(msgbus, cache, clock)

    def _make_gate(self, msgbus: Any, cache: Any, clock: Any) -> Gate | None:
        """Only who asked for it pays for a gate in front of the engine."""
        if self._config.flush == "power":
            timeout_s = self._config.intent_timeout_ms / 1_000
            log_and_lock = {"run_log": self._run_log, "lock": self._lock}
            return PowerGate(msgbus, cache, clock, halt=self._halted, timeout_s=timeout_s, **log_and_lock)
        return Gate(msgbus, cache, clock, halt=self._halted) if self._bounds.policy == "halt" else None

    def _halted(self) -> str:
        """Why no new order is taken, as of the last look around."""
        return self._bounds.excess(self._waiting) if self._bounds.policy == "halt" else ""

    @property
    def parked(self) -> int:
        """How many commands wait for the disk: they count as working."""
        return self._gate.parked if isinstance(self._gate, PowerGate) else 0

    def give_up_parked(self) -> None:
        """Deny the orders among them, on the node's loop: see `PowerGate.give_up`."""
        if isinstance(self._gate, PowerGate):
            self._gate.give_up()

    @property
    def seq(self) -> int:
        """The number of the last record."""
        return self._run_log.seq

    @property
    def mirror_state(self) -> MirrorState:
        """Say how far the log and the tables are; cheap, from any thread."""
        return MirrorState(
            book_id=self._config.book_id,
            run=self._config.run,
            seq=self.seq,
            shipped_seq=self._shipped.shipped_seq,
            unshipped_bytes=self._waiting.bytes,
            last_error=self._last_error(),
        )

    def know_venues(self, clients: Sequence[Any]) -> None:
        """Name the execution clients that an audit may have asked."""
        self._answering.clients = clients

    def finish(self, *, clean: bool) -> int:
        """Write the end of the run and give the log back, after the node was disposed of; once.

        Returns how many records never reached the log: 0 when it is whole.
        """
        self._cancel_timers()
        if isinstance(self._gate, PowerGate):
            self._gate.close()
        with self._lock:
            return self._run_log.end(self.clock.timestamp_ns(), clean=clean)

    # -- life ---------------------------------------------------------------------------------------

    def on_start(self) -> None:
        """Begin the live work when there is a loop; Nautilus's timers would call on a foreign thread."""
        if self._config.flush == "batch":
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        if isinstance(self._gate, PowerGate):
            self._gate.start(loop)
        self._guarded(self._write_held)
        self._cancel_timers()
        self._repeat(loop, self._config.mark_interval_ms / 1_000, self._write_marks)
        self._repeat(loop, STATE_INTERVAL_S, self._look_around)

    def on_stop(self) -> None:
        """What the strategies' stop causes comes later and is written, too; so the live work goes on."""
        if not self._timers:
            self._guarded(self._write_marks)
        self._guarded(self._flush)

    def on_dispose(self) -> None:
        """Leave nothing in memory; the end of the run is said by `finish`."""
        self._cancel_timers()
        self._guarded(self._flush)

    def _repeat(self, loop: asyncio.AbstractEventLoop, interval_s: float, work: Callable[[], None]) -> None:
        def once() -> None:
            self._guarded(work)
            self._repeat(loop, interval_s, work)

        self._timers[work.__name__] = loop.call_later(interval_s, once)

    def _cancel_timers(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._answering.close()

    # -- events -------------------------------------------------------------------------------------

    def _on_order(self, event: Any) -> None:
        try:
            with self._lock:
                client_order_id = event.client_order_id
                if client_order_id not in self._known_orders:
                    self._meet(client_order_id, event)
                if event.instrument_id not in self._described:
                    self._name_instrument(event.instrument_id)
                if client_order_id in self._algorithm_orders:
                    self._tell(client_order_id, event)
                else:
                    self._run_log.event(event)
        except Exception as e:  # noqa: BLE001  an exception in a subscriber would end the node
            self._run_log.fail(e)

    def _on_position(self, event: Any) -> None:
        try:
            with self._lock:
                if event.instrument_id not in self._described:
                    self._name_instrument(event.instrument_id)
                self._run_log.event(event)
        except Exception as e:  # noqa: BLE001  as above
            self._run_log.fail(e)

    def _on_account(self, event: Any) -> None:
        try:
            with self._lock:
                self._run_log.event(event)
        except Exception as e:  # noqa: BLE001  as above
            self._run_log.fail(e)

    def _on_decision(self, decision: Any) -> None:
        try:
            with self._lock:
                with suppress(ValueError):  # no instrument has such a name
                    self._name_instrument(InstrumentId.from_str(decision.instrument_id))
                self._run_log.record(type(decision).__name__, decision.ts_ns, decision)
        except Exception as e:  # noqa: BLE001  as above
            self._run_log.fail(e)

    def _meet(self, client_order_id: Any, event: Any) -> None:
        """Write how an order began when nobody published it: an external, reconciled or restored one."""
        order = None if type(event) is OrderInitialized else self.cache.order(client_order_id)
        if order is not None:
            self._name_instrument(order.instrument_id)
        init = event if order is None else order
        if getattr(init, "exec_spawn_id", None) is not None:
            self._algorithm_orders[client_order_id] = _Told(init.exec_spawn_id)
            if len(self._algorithm_orders) > ALGORITHM_ORDERS_MAX:
                self._forget_ended()
            if len(self._algorithm_orders) > ALGORITHM_ORDERS_MAX:
                del self._algorithm_orders[next(iter(self._algorithm_orders))]
        elif order is not None:
            self._run_log.event(order.init_event)
        self._known_orders[client_order_id] = None
        for _ in range(2):  # two for each new one: after many open orders it shrinks again
            if len(self._known_orders) > KNOWN_ORDERS_MAX:
                oldest = next(iter(self._known_orders))
                del self._known_orders[oldest]
                if not self.cache.is_order_closed(oldest) and self.cache.order_exists(oldest):
                    self._known_orders[oldest] = None

    def _tell(self, client_order_id: Any, event: Any) -> None:
        """Write an event of an algorithm's order, and before it what the algorithm changed without a word.

        Nautilus takes what a child gets from its primary's quantity (and may give it back) with an event that it
        applies and never publishes.
        """
        told = self._algorithm_orders[client_order_id]
        if told.primary_id != client_order_id:
            self._catch_up(told.primary_id)
        events = self._catch_up(client_order_id)
        if event not in events:  # refused by the order, or published before the order was in the cache
            self._run_log.event(event)
            told.count += 0 if events else 1

    def _catch_up(self, client_order_id: Any) -> list[Any]:
        """Write what an algorithm's order has taken in since the last look; return all its events."""
        told = self._algorithm_orders.get(client_order_id)
        order = None if told is None else self.cache.order(client_order_id)
        if told is None or order is None:
            return []
        events = order.events
        for event in events[told.count :]:
            self._run_log.event(event)
        told.count = len(events)
        return events

    def _catch_up_all(self) -> None:
        with self._lock:
            for client_order_id in list(self._algorithm_orders):
                self._catch_up(client_order_id)
            self._forget_ended()

    def _forget_ended(self) -> None:
        """Let go of what is closed, at the next look and not at once: an algorithm's thread may still speak of it.

        A primary goes after its children: one that is refused late gives its part back to it.
        """
        told = self._algorithm_orders
        closed = {each for each in told if self.cache.is_order_closed(each)}
        awaited = {one.primary_id for each, one in told.items() if each not in closed}
        for client_order_id in closed - awaited:
            self._catch_up(client_order_id)
            del told[client_order_id]

    def _name_instrument(self, instrument_id: InstrumentId) -> None:
        if instrument_id in self._described:
            return
        instrument = self.cache.instrument(instrument_id)
        if instrument is None:
            return
        self._described.add(instrument_id)
        try:
            body = describe(instrument, self._config.external_venues)
        except Exception as e:  # noqa: BLE001  the event itself must not be lost for it
            self._run_log.fail(e)
            body = {"unencodable": ascii(instrument_id.value), "error": ascii(e)}
        self._run_log.record("Instrument", self.clock.timestamp_ns(), body)

    # -- live work ----------------------------------------------------------------------------------

    def _write_held(self) -> None:
        """Say what the book holds at the start: what is missing here was closed while nobody looked."""
        with self._lock:
            body = held(self.cache)
            size, most = len(msgspec.json.encode(body)), RECORD_BYTES_MAX - HELD_FRAME_BYTES_MAX
            if size > most:
                raise SuiteError(
                    f"{len(body['positions']):,} open positions and {len(body['orders']):,} working orders make a "
                    f"record of {size:,} bytes, at most {most:,} fit: the tables may show positions that are gone"
                )
            for position in self.cache.positions_open():
                self._name_instrument(position.instrument_id)
            self._run_log.record("Held", self.clock.timestamp_ns(), body)

    def _write_marks(self) -> None:
        with self._lock:
            now = marks(self.cache)
            changed = [[name, price, ts] for name, (price, ts) in now.items() if self._marked.get(name) != price]
            self._marked = {name: price for name, (price, _) in now.items()}
            if changed:
                self._run_log.note("Marks", self.clock.timestamp_ns(), {"marks": changed})

    def _look_around(self) -> None:
        """Each second: write what waits, answer an audit, read how far the shipper is, and say so."""
        with self._lock:
            if self._run_log.renew():
                log.error("%s: the newest segment was deleted: what the tables lack of it is lost", self._folder)
            self._catch_up_all()
            self._run_log.retry()
            self._answering.look()
        self._read_shipper()
        self._warn()
        self.msgbus.publish(topic=MIRROR_STATE, msg=self.mirror_state)

    def _read_shipper(self) -> None:
        shipped = read_state(self._folder)
        if shipped.run == self._config.run:
            self._shipped = shipped
        on_disk = unread_bytes(self._folder, self._shipped.segment, self._shipped.offset)
        self._waiting = Waiting(on_disk, self._run_log.waiting_bytes)

    def _last_error(self) -> str:
        parts = (
            self._run_log.error,
            self._gate.trouble if isinstance(self._gate, PowerGate) else "",
            self._bounds.excess(self._waiting),
            *self._troubles.values(),
            self._shipped.last_error,
            self._shipped.silence,
        )
        return "; ".join(part for part in parts if part)

    def _warn(self) -> None:
        """Tell the book's log what is wrong, once, and when it is well again; less often the more there is to tell."""
        error, rejected = self._last_error(), self._shipped.rejected
        now = (_FIGURES.sub("", error), rejected)  # figures grow each second
        now_s = time.monotonic()
        if now == self._warned or now_s < self._quiet_until_s:
            return
        if now_s > self._quiet_until_s + QUIET_S_MAX:
            self._quiet_s = QUIET_S_MIN
        self._quiet_until_s = now_s + self._quiet_s
        self._quiet_s = min(2 * self._quiet_s, QUIET_S_MAX)
        if rejected > self._warned[1]:
            said = f"; {error}" if error else ""
            log.warning("journal: the tables refused %s records so far, see rejected_events%s", f"{rejected:,}", said)
        elif error:
            log.warning("journal: %s", error)
        else:
            log.warning("journal: all is well again")
        self._warned = now

    def _flush(self) -> None:
        with self._lock:
            self._catch_up_all()
            self._run_log.flush()

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as e:
            if work.__name__ not in self._troubles:
                log.exception("the mirror goes on without: %s", work.__name__.strip("_").replace("_", " "))
            self._troubles[work.__name__] = f"{type(e).__name__}: {e}"
        else:
            self._troubles.pop(work.__name__, None)
