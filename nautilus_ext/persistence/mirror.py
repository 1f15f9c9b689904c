"""The actor that writes every order, position and account event, and every decision, to the local log."""

import asyncio
import logging
import re
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import msgspec
from nautilus_trader.common.actor import Actor
from nautilus_trader.common.config import ActorConfig, PositiveInt
from nautilus_trader.model.events import OrderInitialized
from nautilus_trader.model.identifiers import InstrumentId

from nautilus_ext.errors import ConfigError, Problem
from nautilus_ext.instruments.nautilus import describe
from nautilus_ext.messages import MIRROR_STATE, RISK_DECISIONS, ROUTING_DECISIONS, MirrorState
from nautilus_ext.persistence.run_log import RunLog
from nautilus_ext.persistence.segments import (
    SEGMENT_BYTES_MAX,
    SHIPPER_STATE,
    SegmentWriter,
    run_folder,
    segments,
)
from nautilus_ext.persistence.sights import audit_answer, marks

STATE_INTERVAL_S = 1.0
SHIPPER_AGE_S_MAX = 10.0  # an older word of the shipper says nothing of the disk
FIRST = 100  # the engine's own subscribers have 10: an event is in the log before what it causes
KNOWN_ORDERS_MAX = 20_000  # closed orders past it are forgotten, the oldest first
UNSHIPPED_BYTES_MAX = 2_000_000_000
AUDIT_REQUEST = "audit.request"
AUDIT_REQUEST_BYTES_MAX = 1_000

_AUDIT_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")

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
    flush : {"batch", "event"}, default "event"
        `event`: in the file before the event's handler returns. `batch`: after 512 events, and at the end.
    mark_interval_ms : int, default 1000
        How often the prices of open positions are written when they have changed; live only.
    segment_bytes_max : int, default 16000000
        Size from which the log goes on in another file.
    unshipped_bytes_max : int, default 2000000000
        What may wait for the database on disk before it is reported as an error.
    external_venues : tuple[str, ...], default ()
        Venues whose adapters use the venue's own kit: `EXTERNAL_SDK` in the tables.

    """

    folder: str = ""
    book_id: str = ""
    run: int = 0
    epoch: int = 0
    flush: Literal["batch", "event"] = "event"
    mark_interval_ms: PositiveInt = 1_000
    segment_bytes_max: PositiveInt = SEGMENT_BYTES_MAX
    unshipped_bytes_max: PositiveInt = UNSHIPPED_BYTES_MAX
    external_venues: tuple[str, ...] = ()


class _Shipped(msgspec.Struct, frozen=True):
    """What the mirror reads of the shipper's state file."""

    run: int = 0
    shipped_seq: int = 0
    unshipped_bytes: int = 0
    at_ns: int = 0
    last_error: str = ""


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
        self._described: set[InstrumentId] = set()
        self._marked: dict[str, str] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._shipped = _Shipped()
        self._unshipped_bytes = 0
        self._troubles: dict[str, str] = {}

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
        )
        self._run_log = RunLog(writer, is_batch=config.flush == "batch")
        for topic, handler in (
            ("events.order.*", self._on_order),
            ("events.position.*", self._on_position),
            ("events.account.*", self._on_account),
            (RISK_DECISIONS, self._on_decision),
            (ROUTING_DECISIONS, self._on_decision),
        ):
            msgbus.subscribe(topic=topic, handler=handler, priority=FIRST)

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
            unshipped_bytes=self._unshipped_bytes,
            last_error=self._last_error(),
        )

    def finish(self, *, clean: bool) -> None:
        """Write the end of the run and give the log back, after the node was disposed of; once."""
        self._cancel_timers()
        with self._lock:
            self._run_log.end(self.clock.timestamp_ns(), clean=clean)

    # -- life ---------------------------------------------------------------------------------------

    def on_start(self) -> None:
        """Begin the live work when there is a loop; Nautilus's timers would call on a foreign thread."""
        if self._config.flush == "batch":
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
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

    # -- events -------------------------------------------------------------------------------------

    def _on_order(self, event: Any) -> None:
        try:
            with self._lock:
                client_order_id = event.client_order_id
                if client_order_id not in self._known_orders:
                    self._meet(client_order_id, event)
                if event.instrument_id not in self._described:
                    self._name_instrument(event.instrument_id)
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
                self._run_log.event_at_once(event)
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
            self._run_log.event(order.init_event)
        self._known_orders[client_order_id] = None
        for _ in range(2):  # two for each new one: after many open orders it shrinks again
            if len(self._known_orders) > KNOWN_ORDERS_MAX:
                oldest = next(iter(self._known_orders))
                del self._known_orders[oldest]
                if not self.cache.is_order_closed(oldest) and self.cache.order_exists(oldest):
                    self._known_orders[oldest] = None

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
            self._run_log.retry()
            self._answer_audit()
        self._read_shipper()
        self.msgbus.publish(topic=MIRROR_STATE, msg=self.mirror_state)

    def _answer_audit(self) -> None:
        request = self._folder / AUDIT_REQUEST
        try:
            with request.open("rb") as file:
                asked = msgspec.json.decode(file.read(AUDIT_REQUEST_BYTES_MAX)).get("id")
        except FileNotFoundError:
            return
        except (OSError, AttributeError, msgspec.MsgspecError):
            asked = None
        request.unlink(missing_ok=True)
        if not isinstance(asked, str) or not _AUDIT_ID.fullmatch(asked):
            log.warning("%s held no request for an audit and was removed", request)
            return
        answer = audit_answer(self.cache, asked, self.seq, reversed(self._known_orders))
        _replace(self._folder / f"audit-{asked}.json", msgspec.json.encode(answer))

    def _read_shipper(self) -> None:
        try:
            shipped = msgspec.json.decode((self._folder / SHIPPER_STATE).read_bytes(), type=_Shipped)
        except (OSError, msgspec.MsgspecError):
            shipped = None
        if shipped is not None and shipped.run == self._config.run:
            self._shipped = shipped
        is_fresh = time.time_ns() - self._shipped.at_ns < SHIPPER_AGE_S_MAX * 1e9
        self._unshipped_bytes = self._shipped.unshipped_bytes if is_fresh else self._bytes_on_disk()

    def _bytes_on_disk(self) -> int:
        sizes = 0
        for path in segments(self._folder):
            try:
                sizes += path.stat().st_size
            except FileNotFoundError:  # shipped meanwhile
                continue
        return sizes

    def _last_error(self) -> str:
        bound = self._config.unshipped_bytes_max
        unshipped = f"{self._unshipped_bytes:,} bytes wait for the database, more than {bound:,}"
        parts = (
            self._run_log.error,
            unshipped if self._unshipped_bytes > bound else "",
            *self._troubles.values(),
            self._shipped.last_error,
        )
        return "; ".join(part for part in parts if part)

    def _flush(self) -> None:
        with self._lock:
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


def _replace(path: Path, content: bytes) -> None:
    unnamed = path.with_suffix(".new")
    unnamed.write_bytes(content)
    unnamed.rename(path)
