"""Orders and verdicts of a book, written by hand into a log as events; a real shipper brings them into the tables."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import msgspec
from shipper_log import INSTRUMENT, Trader, payload

from nautilus_ext.messages import RiskDecision

if TYPE_CHECKING:
    from shipper_stage import Stage

ACCOUNT = "BINANCE-001"
NOW_NS = time.time_ns()
SECOND_NS = 10**9
SUBMITTED = ("OrderInitialized", "OrderSubmitted")
WITHOUT_ACCOUNT = ("OrderInitialized", "OrderDenied", "OrderEmulated", "OrderReleased", "OrderCanceled")


class OrderBook:
    """A run of a book; what is written is in the tables after `ship`."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self._start = stage.start_run()
        self._trader = Trader()
        self._frames = [self._trader.instrument()]

    def order(self, order_id: str, *events: str, age_s: float = 60.0, strategy: str = "S-000", **terms: Any) -> None:
        """Write its life; `age_s` is how long ago it was made."""
        ts_ns = NOW_NS - round(age_s * SECOND_NS)
        made = msgspec.json.decode(next(Trader().order()))[4]
        ids = {"client_order_id": order_id, "strategy_id": strategy, "instrument_id": INSTRUMENT}
        for kind in events or SUBMITTED:
            body = {**made, "reason": "no", **terms, **ids, "event_id": f"{order_id}-{kind}"}
            account = {} if kind in WITHOUT_ACCOUNT else {"account_id": ACCOUNT, "venue_order_id": f"V-{order_id}"}
            body |= {"type": kind, "ts_event": ts_ns, "ts_init": ts_ns, **account}
            self._frames.append(self._trader.record(kind, body, ts_ns))

    def decide(self, order_id: str, verdict: Any, action: str, **told: Any) -> None:
        details = {"action": action, **told.pop("details", {})}
        ids = {"client_order_id": order_id, "strategy_id": "S-000", "instrument_id": INSTRUMENT}
        decision = RiskDecision(**ids, ts_ns=NOW_NS, verdict=verdict, details=details, **told)
        self._frames.append(self._trader.record("RiskDecision", msgspec.to_builtins(decision), NOW_NS))

    def ship(self) -> None:
        log = self.stage.begin_log(self._start)
        log.append_many([*self._frames, payload(0, "End", {"last_seq": self._trader.seq, "clean": True})])
        log.close()
        assert self.stage.run_to_end(self._start) == 0
        assert self.stage.rejected() == []
