"""The actor that takes alerts from everybody and tells them: in the log, on the bus, in a table, to a webhook."""

from __future__ import annotations

import asyncio
import logging
import re
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from nautilus_trader.common.actor import Actor
from nautilus_trader.common.component import TestClock
from nautilus_trader.common.config import ActorConfig, PositiveFloat

from nautilus_ext.messages import ALERT, ALERTS, MIRROR_STATE, RISK_DECISIONS
from nautilus_ext.risk.alerts import Alerts, alert
from nautilus_ext.risk.telling import Telling
from nautilus_ext.schema.alerts import Teller, Told

if TYPE_CHECKING:
    from collections.abc import Callable

    from nautilus_ext.config.alerts import Webhook
    from nautilus_ext.messages import MirrorState, RiskDecision
    from nautilus_ext.risk.alerts import Alert, Severity

LOOK_EVERY_S = 1.0
JOURNAL = "JOURNAL"
LEVELS: dict[Severity, int] = {"warning": logging.WARNING, "critical": logging.CRITICAL}
SUITE_LOGGER = "nautilus_ext"
_FIGURES = re.compile(r"[\d,.]+")

log = logging.getLogger(__name__)


class AlertDeskConfig(ActorConfig, frozen=True):
    """Configuration of `AlertDesk`. The webhook is no part of it: configs are published.

    Parameters
    ----------
    quiet_s : float, default 300.0
        The same alert is told again after this time at the earliest.

    """

    quiet_s: PositiveFloat = 300.0


class AlertDesk(Actor):
    """Takes `messages.ALERT`, refusals, trouble of the journal, and critical lines of the suite's log.

    No exception leaves it. Whoever builds the node calls `open` and `close`; without it alerts are told in the log and
    on the bus only, as in a backtest.
    """

    def __init__(self, config: AlertDeskConfig | None = None) -> None:
        config = config or AlertDeskConfig()
        super().__init__(config)
        self._quiet_ns = round(config.quiet_s * 1e9)
        self._alerts = Alerts(self._quiet_ns)
        self._number = 0
        self._telling: Telling | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._trouble = ""
        self._due_ns = 0
        self._mask: Callable[[str], str] = str
        self._has_failed = False
        self._lock = threading.RLock()  # a timer of a live node calls on a thread of its own
        self._lines = _CriticalLines(self._on_line)

    def register_base(self, portfolio: Any, msgbus: Any, cache: Any, clock: Any) -> None:
        """Hear of it from the first moment: reconciliation comes before any start, and has something to tell."""
        super().register_base(portfolio, msgbus, cache, clock)
        for topic, handler in (
            (ALERT, self._on_alert),
            (MIRROR_STATE, self._on_mirror),
            (RISK_DECISIONS, self._on_decision),
        ):
            msgbus.subscribe(topic=topic, handler=handler)

    def open(
        self,
        url: Callable[[], str],
        teller: Teller,
        *,
        webhook: Webhook | None,
        connect_timeout_s: float,
        mask: Callable[[str], str] = str,
    ) -> None:
        """Start the thread that writes the table and posts; `url` is called in it, and again after an outage.

        `mask` hides secrets: a critical line of the log is masked there, and not before.
        """
        self._mask = mask
        self._telling = Telling(url, teller, webhook=webhook, connect_timeout_s=connect_timeout_s)
        self._telling.start()

    def end(self) -> None:
        """After the node's end: nothing comes any more, tell what waits. Returns at once."""
        logging.getLogger(SUITE_LOGGER).removeHandler(self._lines)
        if self._telling is not None:
            self._telling.end()

    def close(self) -> int:
        """Wait until it is told, for a moment; count what was not told in every way."""
        self.end()
        return self._telling.close() if self._telling is not None else 0

    # -- life ---------------------------------------------------------------------------------------

    def on_start(self) -> None:
        """Begin the live work; a backtest tells what comes again when the next alert comes."""
        if isinstance(self.clock, TestClock):
            return
        self._loop = asyncio.get_running_loop()
        logging.getLogger(SUITE_LOGGER).addHandler(self._lines)
        self._look()

    def on_stop(self) -> None:
        """Nothing: strategies stop later, and what goes wrong then is told as well."""

    def on_reset(self) -> None:
        """A backtest that runs again begins with nothing."""
        self._alerts, self._number, self._trouble, self._due_ns = Alerts(self._quiet_ns), 0, "", 0

    def on_dispose(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        logging.getLogger(SUITE_LOGGER).removeHandler(self._lines)

    def _look(self) -> None:
        """Each second: what came again, and how often."""
        assert self._loop is not None, "it is started"
        self._timer = self._loop.call_later(LOOK_EVERY_S, self._look)
        self._guarded(lambda: self._alerts.due(self.clock.timestamp_ns()))

    # -- what comes in ------------------------------------------------------------------------------

    def _on_alert(self, new: Alert) -> None:
        self._guarded(lambda: self._take(new))

    def _take(self, new: Alert) -> list[Alert]:
        """Whoever made it: from here on it is fit to be shown."""
        plain = alert(new.code, new.scope, new.severity, new.text, new.ts_ns)
        due: list[Alert] = []
        if self._loop is None and plain.ts_ns - self._due_ns >= LOOK_EVERY_S * 1e9:  # a backtest has no other moment
            self._due_ns, due = plain.ts_ns, self._alerts.due(plain.ts_ns)
        return [*due, *self._alerts.take(plain)]

    def _on_mirror(self, state: MirrorState) -> None:
        """Once per trouble, however long it lasts: its figures grow each second."""
        trouble = _FIGURES.sub("", state.last_error)
        if trouble and trouble != self._trouble:
            self._raise(JOURNAL, "node", "warning", state.last_error)
        self._trouble = trouble

    def _on_decision(self, decision: RiskDecision) -> None:
        """A limit was met: what was refused did not reach a venue, and somebody tried."""
        if decision.verdict == "refused":
            about = f"{decision.client_order_id} of {decision.strategy_id} in {decision.instrument_id}"
            text = f"order {about} refused: limit {decision.limit}, it would be {decision.would_be} {decision.unit}"
            plain = decision.details.get("text") or f"order {about} refused"
            scope = decision.scope or f"strategy={decision.strategy_id}"
            self._raise(decision.code, scope, "warning", plain if decision.limit is None else text)

    def _on_line(self, record: logging.LogRecord) -> None:
        """A critical line of the suite's log, from any thread."""
        code = "_".join(("CRITICAL", *record.name.split(".")[1:])).upper()
        text = record.getMessage()
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed: the line stands in the log
                self._loop.call_soon_threadsafe(self._raise, code, "node", "critical", text)

    def _raise(self, code: str, scope: str, severity: Severity, text: str) -> None:
        self._on_alert(alert(code, scope, severity, text, self.clock.timestamp_ns()))

    # -- telling ------------------------------------------------------------------------------------

    def _guarded(self, work: Callable[[], list[Alert]]) -> None:
        """Whoever hears of it may have locks of his own: nothing is said while ours is held."""
        try:
            with self._lock:
                told = work()
                first, self._number = self._number + 1, self._number + len(told)
            for number, each in enumerate(told, first):
                self._tell(number, each)
        except Exception:
            if not self._has_failed:
                log.exception("an alert could not be told")
            self._has_failed = True

    def _tell(self, number: int, told: Alert) -> None:
        log.log(LEVELS[told.severity], "%s", told)
        if self._telling is not None:
            row = (told.code, self._mask(told.scope), told.severity, self._mask(told.text), told.count, told.ts_ns)
            self._telling.tell(Told(number, *row))
        try:
            self.msgbus.publish(topic=ALERTS, msg=told)
        except Exception:
            log.exception("a subscriber of %s failed", ALERTS)


class _CriticalLines(logging.Handler):
    """Hands on what is critical, except what the desk itself says."""

    def __init__(self, hear: Callable[[logging.LogRecord], None]) -> None:
        super().__init__(logging.CRITICAL)
        self._hear = hear

    def emit(self, record: logging.LogRecord) -> None:
        if record.name != __name__:
            self._hear(record)
