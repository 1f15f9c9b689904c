"""A trading event as a flat record of texts, and that record as one calm line for a reader."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nautilus_ext.logs.lines import Captured

NS_PER_S = 1_000_000_000

CLOCK_DIFFERENCE_S = 60.0

_REPEATED_EVENT = "<--[EVT]"  # Nautilus repeats each event per strategy: the EventLog shows it once
_RENAMED = {"order_side": "side", "order_type": "type"}
_LEFT_OUT = frozenset({"type", "trader_id", "ts_init", "ts_event", "info", "options", "signed_qty", "event_id"})
_RESIDUAL = "Residual "  # what stays open at a stop on purpose: the summary says it, without alarm
_OFF = frozenset({"NO_TRIGGER", "NO_CONTINGENCY", "None"})
STATE = ("quantity", "filled_qty", "price", "trigger_price")
_FROM_ORDER = (
    "order_side",
    "order_type",
    "time_in_force",
    "post_only",
    "reduce_only",
    "quote_quantity",
    "emulation_trigger",
    "contingency_type",
    "order_list_id",
    "parent_order_id",
    "exec_algorithm_id",
    "exec_spawn_id",
    "tags",
)
_NO_CONTROL = dict.fromkeys([*range(32), *range(127, 160)], " ")  # a venue's text must not steer the terminal
_WORDS = re.compile(r"(?<=[a-z])(?=[A-Z])")


def iso_ns(ts_ns: int) -> str:
    seconds, ns = divmod(ts_ns, NS_PER_S)
    return f"{datetime.fromtimestamp(seconds, UTC).isoformat()[:19]}.{ns:09d}Z"


def event_record(event: Any, init: Any = None, state: tuple[Any, ...] = ()) -> dict[str, Any]:
    """The record of an order, position or account event.

    Most order events name only ids: `init` (the order's OrderInitialized) adds what the order is, `state` its quantity,
    filled quantity, price and trigger price at the moment of the event, since they change.
    """
    own = type(event).to_dict(event)
    record: dict[str, Any] = {"event": type(event).__name__}
    record |= _plain(own)
    if init is not None and init is not event:
        order = type(init).to_dict(init)
        record |= _plain({key: order[key] for key in _FROM_ORDER if key in order and key not in own})
    for key, value in zip(STATE, state, strict=False):
        if value is not None:
            record.setdefault(key, str(value))
    if "options" in own:
        record |= _plain({key: own["options"].get(key) for key in ("price", "trigger_price", "expire_time_ns")})
    if "balances" in own:
        record["balances"] = [_plain(balance) for balance in own["balances"]]
    record["ts_event"] = iso_ns(own.get("ts_event", own["ts_init"]))
    record["event_id"] = own["event_id"]
    return record


def captured_record(captured: Captured, now_ns: int) -> tuple[dict[str, Any], bool]:
    """The record of a captured message, and whether the terminal shows it: Nautilus's everyday chatter it does not."""
    record: dict[str, Any] = {
        "ts": iso_ns(now_ns),
        "level": captured.level,
        "component": captured.component,
        "message": captured.message,
    }
    if captured.ts is None:
        return record | {"stream": captured.component}, True
    record["trader_id"] = captured.trader_id
    logged = datetime.fromisoformat(f"{captured.ts[:26]}+00:00")
    # A backtest's clock shows another time; `ts` must order the file.
    real = abs(logged.timestamp() - now_ns / NS_PER_S) < CLOCK_DIFFERENCE_S
    record["ts" if real else "ts_event"] = captured.ts
    is_residual = captured.component == "Cache" and captured.message.startswith(_RESIDUAL)
    is_repeated = captured.message.startswith(_REPEATED_EVENT)
    shown = captured.level in ("WARNING", "ERROR") and not is_repeated and not is_residual
    return record, shown


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """What is on and told by no other field; what is off, empty or nought says nothing."""
    plain: dict[str, Any] = {}
    for key, value in values.items():
        if not value or key in _LEFT_OUT or (type(value) is str and value in _OFF):
            continue
        plain[_RENAMED.get(key, key)] = _exact(value)
    return plain


def _exact(value: Any) -> Any:
    """A number of an event is a text: JSON readers round."""
    return str(value) if isinstance(value, float) else value


def terminal_line(record: dict[str, Any]) -> str:
    """One line for a reader; the time is UTC, as in the file."""
    level = "" if record["level"] == "INFO" else f"{record['level']:<9}"
    return f"{record['ts'][11:19]}  {level}{summary(record)}"


def summary(record: dict[str, Any]) -> str:
    if "message" not in record:
        return event_line(record)
    head, *more = [*str(record["message"]).splitlines(), *str(record.get("exception", "")).splitlines()] or [""]
    text = head if record["level"] == "INFO" else f"{record['component']}: {head}"
    if "exception" in record and more:
        text = f"{text}: {more[-1]}"
    return (text + (f"  (+{len(more)} lines in the log file)" if more else "")).translate(_NO_CONTROL)


def event_line(record: dict[str, Any]) -> str:
    """`order filled   BUY 0.50 BTCUSDT.SIM1 @ 50,000.10  O-2026…  TrendFollower-001`."""
    name = record["event"]
    phrase = _WORDS.sub(" ", name).lower()
    if name == "AccountState":
        return f"{phrase:<22}{record['account_id']}  {_balances(record)}".translate(_NO_CONTROL)
    parts = _position_parts(record) if name.startswith("Position") else _order_parts(record)
    return (f"{phrase:<22}" + "  ".join(part for part in parts if part)).translate(_NO_CONTROL)


def _order_parts(record: dict[str, Any]) -> tuple[str, ...]:
    quantity = grouped(record.get("last_qty") or record.get("quantity", ""))
    price = grouped(record.get("last_px") or record.get("price", ""))
    what = " ".join(part for part in (record.get("side", ""), quantity, record["instrument_id"]) if part)
    is_fill = "last_px" in record
    kind = "" if is_fill or price else record.get("type", "").lower()
    trigger = "" if is_fill else grouped(record.get("trigger_price", ""))
    terms = (f"@ {price}" if price else "", kind, f"trigger {trigger}" if trigger else "")
    return (
        " ".join(part for part in (what, *terms) if part),
        record.get("reason", ""),
        record["client_order_id"],
        record["strategy_id"],
    )


def _position_parts(record: dict[str, Any]) -> tuple[str, ...]:
    instrument = record["instrument_id"]
    open_now = record.get("side") not in (None, "FLAT")
    what = f"{record['side']} {grouped(record['quantity'])} {instrument}" if open_now else instrument
    price = record.get("avg_px_open") if open_now else record.get("avg_px_close")
    return (
        # An average is a binary fraction: ten digits are what it is worth.
        what + (f" @ {grouped(f'{float(price):.10g}')}" if price else ""),
        f"realized {grouped(record['realized_pnl'])}" if "realized_pnl" in record else "",
        record["strategy_id"],
    )


def _balances(record: dict[str, Any]) -> str:
    return ", ".join(f"{grouped(b['total'])} {b['currency']}" for b in record.get("balances", ()))


def grouped(number: str) -> str:
    """`50000.10` → `50,000.10`; a unit behind the number stays."""
    amount, space, unit = number.partition(" ")
    try:
        return f"{Decimal(amount.replace('_', '')):,f}{space}{unit}"
    except (InvalidOperation, ValueError):
        return number
