"""What the desk's tables show: for each verb its columns, by their worth, and the line below. Pure."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from nautilus_ext.app.text_tables import NS_PER_S, Column, amount, decimals_of, iso_ns, moment, number, rounded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from nautilus_ext.app.text_tables import Row

WORKING_STYLES = {"FILLED": "", "CANCELED": "dim", "EXPIRED": "dim", "DENIED": "bad", "REJECTED": "bad"}
AVERAGE_DECIMALS = 6
REASON_WIDTH = 16
VENUES_WIDTH = 12


class Standing(NamedTuple):
    """How far the tables of a book are."""

    book_id: str
    run: int
    last_seq: int
    durable_seq: int = 0
    behind_s: float | None = None  # None where it means nothing: a run that ended, simulated time

    @property
    def behind(self) -> int:
        return self.last_seq - self.durable_seq

    @property
    def text(self) -> str:
        if not self.behind:
            return "tables up to date"
        since = f" ({max(self.behind_s, 0.0):,.1f} s)" if self.behind_s is not None else ""
        return f"tables {self.behind:,} events{since} behind"


class View(NamedTuple):
    """How a verb shows its rows."""

    noun: str
    columns: tuple[Column, ...]
    summary: Callable[[Sequence[Row]], str]


def today() -> str:
    return f"{datetime.now(UTC):%Y-%m-%d}"


def orders_view(*, followed: bool = False) -> View:
    day = today()
    return View(
        "order",
        (
            _time("changed UTC", "updated_ns", day, worth=7)
            if followed
            else _time("time UTC", "created_ns", day, worth=7),
            _text("order", "client_order_id", worth=1),
            _text("strategy", "strategy_id", worth=11, least=10),
            _text("instrument", "instrument_id", worth=5, least=12),
            Column("side", _of("side"), 3, style=_side_style),
            _text("type", "order_type", worth=10),
            _number("quantity", "quantity", worth=4),
            _number("filled", "filled_quantity", worth=7),
            _number("price", "price", worth=6),
            _number("trigger", "trigger_price", worth=9, optional=True),
            Column("average", _average("average_price", "price"), 8, right=True, optional=True),
            Column("status", _of("status"), 2, style=_status_style),
            Column("fees", _fees, 13, right=True, optional=True),
            Column("reason", _reason, 12, least=REASON_WIDTH, optional=True, style=lambda _: "bad"),
            _text("venue's id", "venue_order_id", worth=14, least=10, optional=True),
            Column("operation", _operation, 15, least=10, optional=True),
        ),
        _orders_summary,
    )


def fills_view(*, followed: bool = False) -> View:
    del followed  # a fill happens once
    day = today()
    return View(
        "fill",
        (
            _time("time UTC", "event_ns", day, worth=1),
            _text("instrument", "instrument_id", worth=4, least=12),
            Column("side", _of("side"), 2, style=_side_style),
            _number("quantity", "quantity", worth=3),
            _number("price", "price", worth=5),
            Column("fee", _fee, 7, right=True),
            Column("liquidity", lambda row: row["liquidity_side"].removesuffix("_LIQUIDITY_SIDE"), 9),
            _text("order", "client_order_id", worth=6),
            _text("strategy", "strategy_id", worth=8, least=10),
            _text("trade", "trade_id", worth=10, least=8),
            _text("account", "account_id", worth=11, least=10),
        ),
        _fills_summary,
    )


def positions_view(*, followed: bool = False) -> View:
    day = today()
    changed = _time("changed UTC", "updated_ns", day, worth=1)
    return View(
        "position",
        (
            *([changed] if followed else []),
            _text("instrument", "instrument_id", worth=1, least=12),
            _text("strategy", "strategy_id", worth=7, least=10),
            Column("side", _of("side"), 2, style=_position_style),
            _number("quantity", "quantity", worth=3),
            Column("peak", _peak, 10, right=True, optional=True),
            Column("entry", _average("average_entry_price", "last_price"), 6, right=True),
            Column("exit", _average("average_exit_price", "last_price"), 8, right=True, optional=True),
            Column("price now", _price_now, 8, right=True, optional=True),
            _profit("unrealized", "unrealized_pnl", worth=4, optional=True),
            _profit("realized", "realized_pnl", worth=5),
            Column("in", _of("currency"), 9),
            _time("opened UTC", "opened_ns", day, worth=11),
            _time("closed UTC", "closed_ns", day, worth=12, optional=True),
            _text("account", "account_id", worth=13, least=10),
            _text("position", "position_id", worth=14, least=12),
            _time("price of UTC", "marked_ns", day, worth=15, optional=True),
        ),
        _positions_summary,
    )


def exposure_view(*, followed: bool = False) -> View:
    del followed  # its sums have no time of their own
    return View(
        "asset",
        (
            Column("asset", _asset, 1, least=9),
            Column("net", _base("net"), 2, right=True, style=_sign("net")),
            Column("long", _base("long"), 7, right=True),
            Column("short", _base("short"), 8, right=True),
            Column("net value", _value("net_value"), 3, right=True),
            Column("gross value", _value("gross_value"), 4, right=True),
            Column("unrealized", _by_currency("unrealized_pnl"), 5, right=True),
            Column("realized", _by_currency("realized_pnl"), 6, right=True),
            Column("positions", lambda row: str(row["positions"]), 10, right=True),
            Column("venues", lambda row: ", ".join(row["venues"]), 9, least=VENUES_WIDTH),
        ),
        _exposure_summary,
    )


def as_json(row: Row) -> dict[str, Any]:
    """Exact: numbers as text, and each time both as ISO 8601 and as ns since 1970."""
    found: dict[str, Any] = {}
    for key, value in row.items():
        if key.endswith("_ns"):
            found[f"{key.removesuffix('_ns')}_at"] = None if value is None else iso_ns(value)
            found[key] = None if value is None else str(value)
        else:
            found[key] = f"{value:f}" if isinstance(value, Decimal) else value
    return found


def counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def sums(pairs: Iterable[tuple[str | None, Decimal | None]]) -> str:
    """Money by currency: two currencies are never added up."""
    found: dict[str, Decimal] = {}
    for currency, value in pairs:
        if currency is not None and value is not None:
            found[currency] = found.get(currency, Decimal(0)) + value
    return ", ".join(f"{amount(value)} {currency}" for currency, value in sorted(found.items()))


def _orders_summary(rows: Sequence[Row]) -> str:
    by_status = Counter(row["status"] for row in rows)
    working = sum(count for status, count in by_status.items() if status not in WORKING_STYLES)
    refused = by_status["DENIED"] + by_status["REJECTED"]
    return f", {working:,} working" + (f", {refused:,} denied or rejected" if refused else "")


def _fills_summary(rows: Sequence[Row]) -> str:
    fees = sums((row["commission_currency"], row["commission"]) for row in rows)
    return f", fees {fees}" if fees else ""


def _positions_summary(rows: Sequence[Row]) -> str:
    parts = {
        "unrealized": sums((row["currency"], row["unrealized_pnl"]) for row in rows),
        "realized": sums((row["currency"], row["realized_pnl"]) for row in rows),
    }
    still = sum(row["side"] != "FLAT" for row in rows)
    closed = f", {still:,} open" if still != len(rows) else ""
    unpriced = sum(row["side"] != "FLAT" and row["current_price"] is None for row in rows)
    return closed + "".join(f", {name} {text}" for name, text in parts.items() if text) + _without_price(unpriced)


def _exposure_summary(rows: Sequence[Row]) -> str:
    gross = sums((row["quote_currency"], row["gross_value"]) for row in rows)
    unpriced = sum(row["unpriced"] for row in rows)
    return (f", gross value {gross}" if gross else "") + _without_price(unpriced)


def _without_price(count: int) -> str:
    return f"; * {counted(count, 'position')} without a price, not in the values" if count else ""


def _of(key: str) -> Callable[[Row], str]:
    return lambda row: row[key] or ""


def _text(title: str, key: str, *, worth: int, least: int = 48, optional: bool = False) -> Column:
    return Column(title, _of(key), worth, least=least, optional=optional)


def _number(title: str, key: str, *, worth: int, optional: bool = False) -> Column:
    return Column(title, lambda row: number(row[key]), worth, right=True, optional=optional)


def _time(title: str, key: str, day: str, *, worth: int, optional: bool = False) -> Column:
    return Column(title, lambda row: moment(row[key], day), worth, optional=optional)


def _profit(title: str, key: str, *, worth: int, optional: bool = False) -> Column:
    return Column(title, lambda row: amount(row[key]), worth, right=True, optional=optional, style=_sign(key))


def _average(key: str, like: str) -> Callable[[Row], str]:
    """An average has no precision of its own: it is shown with that of a price beside it."""

    def cell(row: Row) -> str:
        return rounded(row[key], AVERAGE_DECIMALS if row[like] is None else decimals_of(row[like]))

    return cell


def _peak(row: Row) -> str:
    """How large a position was that is closed."""
    return number(row["peak_quantity"]) if row["side"] == "FLAT" else ""


def _price_now(row: Row) -> str:
    if row["side"] == "FLAT":
        return ""
    return "*" if row["current_price"] is None else number(row["current_price"])


def _reason(row: Row) -> str:
    return row["rejection_reason"] or row["error_message"] or ""


def _operation(row: Row) -> str:
    """Only what an operation tag named: else it is the order's own id again."""
    return "" if row["operation_id"] == row["client_order_id"] else row["operation_id"]


def _fee(row: Row) -> str:
    return f"{amount(row['commission'])} {row['commission_currency'] or ''}".rstrip()


def _fees(row: Row) -> str:
    return sums((currency, Decimal(value)) for currency, value in (row["commissions"] or {}).items())


def _asset(row: Row) -> str:
    return f"{row['base_asset']}/{row['quote_currency']}"


def _base(key: str) -> Callable[[Row], str]:
    return lambda row: rounded(row[key], 8)


def _value(key: str) -> Callable[[Row], str]:
    def cell(row: Row) -> str:
        mark = "*" if row["unpriced"] else ""
        return f"{rounded(row[key], 2)}{mark}" if row[key] is not None else mark

    return cell


def _by_currency(key: str) -> Callable[[Row], str]:
    def cell(row: Row) -> str:
        return sums((currency, Decimal(value)) for currency, value in row[key].items() if value is not None)

    return cell


def _side_style(row: Row) -> str:
    return {"BUY": "good", "SELL": "bad"}.get(row["side"], "")


def _position_style(row: Row) -> str:
    return {"LONG": "good", "SHORT": "bad", "FLAT": "dim"}.get(row["side"], "")


def _status_style(row: Row) -> str:
    return WORKING_STYLES.get(row["status"], "live")


def _sign(key: str) -> Callable[[Row], str]:
    return lambda row: "" if not row[key] else "good" if row[key] > 0 else "bad"


def seconds_behind(newest_ns: int, now_ns: int) -> float:
    return (now_ns - newest_ns) / NS_PER_S
