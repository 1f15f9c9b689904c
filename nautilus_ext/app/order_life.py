"""The life of one order in plain words: what it is, and what happened to it, event by event. Pure."""

from __future__ import annotations

from collections import deque
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from nautilus_ext.app.desk_views import sums
from nautilus_ext.app.text_tables import NS_PER_MS, amount, iso_ns, number, rounded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nautilus_ext.app.text_tables import Row

    Body = dict[str, Any]

AVERAGE_DECIMALS = 6
OTHERS_SHOWN = 12
STEPS_MAX = 10_000


class Step(NamedTuple):
    """One event in words; `after_ms` since the event before it, by the events' own clocks."""

    row: Row
    after_ms: Decimal | None
    words: str

    def as_json(self) -> Row:
        row = self.row
        return {
            "at": iso_ns(row["event_ns"]),
            "event_ns": str(row["event_ns"]),
            "init_ns": str(row["init_ns"]),
            "after_ms": None if self.after_ms is None else f"{self.after_ms:f}",
            "type": row["type"],
            "what": self.words,
            "run": row["run"],
            "seq": row["seq"],
            "event": row["payload"],
        }


class Life:
    """What happened, in the order of the journal: the newest steps. The words of each know all that was before it."""

    def __init__(self, steps_max: int = STEPS_MAX) -> None:
        self.steps: deque[Step] = deque(maxlen=steps_max)
        self.events = 0
        self._told = _Teller()

    @property
    def older(self) -> int:
        """How many steps came before those that are kept."""
        return self.events - len(self.steps)

    def add(self, events: Sequence[Row]) -> None:
        for row in events:
            before = self.steps[-1].row["event_ns"] if self.steps else None
            after_ms = None if before is None else Decimal(row["event_ns"] - before) / NS_PER_MS
            self.steps.append(Step(row, after_ms, self._told.words(row["type"], row["payload"])))
            self.events += 1


def what(order: Row) -> str:
    """What was ordered, in one line: SELL 0.666 ETHUSDT-PERP.SIM2 limit @ 2,998.66, GTC, reduce only."""
    terms = [order["time_in_force"]]
    terms += [name for name, flag in (("post only", "post_only"), ("reduce only", "reduce_only")) if order[flag]]
    if order["operation"] != "trade":
        terms.append(f"operation {order['operation']}")
    if order["exec_algorithm"] != "NORMAL":
        terms.append(f"worked by {order['exec_algorithm']}")
    kind = order["order_type"].lower().replace("_", " ")
    return " ".join(
        [order["side"], number(order["quantity"]), order["instrument_id"], kind, *_prices(order)]
    ) + "".join(f", {term}" for term in terms)


def facts(order: Row, children: Sequence[Row], legs: Sequence[Row]) -> list[tuple[str, str]]:
    """The head of the life: a name and what it says; nothing that is empty."""
    known = {row["client_order_id"]: row for row in legs}
    parent = order["parent_client_order_id"]
    others = [each for each in order["linked_order_ids"] or [] if each != order["client_order_id"]]
    operation = "" if order["operation_id"] == order["client_order_id"] else order["operation_id"]
    pairs = [
        ("order", what(order)),
        ("filled", _filled(order)),
        ("fees", sums((name, Decimal(value)) for name, value in (order["commissions"] or {}).items())),
        ("reason", order["rejection_reason"] or order["error_message"]),
        ("strategy", order["strategy_id"]),
        ("account", order["account_id"]),
        ("venue's id", order["venue_order_id"]),
        ("canonical id", order["canonical_id"]),
        ("operation", operation),
        ("list", order["order_list_id"]),
        ("tags", ", ".join(order["tags"] or [])),
        ("parent", _other(parent, known) if parent else ""),
        *(("child", _brief(row)) for row in children[:OTHERS_SHOWN]),
        ("child", _more(children)),
        *((f"linked {order['contingency'] or ''}".rstrip(), _other(each, known)) for each in others[:OTHERS_SHOWN]),
        ("linked", _more(others)),
        ("found", "by a comparison with the venue" if order["is_reconciled"] else ""),
    ]
    return [(name, text) for name, text in pairs if text]


def _filled(order: Row) -> str:
    if not order["filled_quantity"]:
        return f"nothing of {number(order['quantity'])}"
    text = f"{number(order['filled_quantity'])} of {number(order['quantity'])}"
    if order["average_price"] is not None:
        text += f" @ {rounded(order['average_price'], AVERAGE_DECIMALS)}"
    return f"{text} in {order['fill_count']:,} fill{'' if order['fill_count'] == 1 else 's'}"


def _prices(order: Row) -> list[str]:
    names = {"price": "@", "trigger_price": "trigger"}
    return [f"{name} {number(order[key])}" for key, name in names.items() if order[key] is not None]


def _other(order_id: str, known: dict[str, Row]) -> str:
    return _brief(known[order_id]) if order_id in known else order_id


def _brief(order: Row) -> str:
    kind = order["order_type"].lower().replace("_", " ")
    parts = [order["client_order_id"], "", order["side"], number(order["quantity"]), kind, *_prices(order)]
    return f"{' '.join(parts)}  {order['status']}"


def _more(others: Sequence[Any]) -> str:
    return f"and {len(others) - OTHERS_SHOWN:,} more" if len(others) > OTHERS_SHOWN else ""


class _Teller:
    """Remembers what the order was before an event, to say what the event changed."""

    def __init__(self) -> None:
        self._was: dict[str, Decimal] = {}
        self._filled = Decimal(0)

    def words(self, kind: str, body: Any) -> str:
        if not isinstance(body, dict):
            return f"{kind}: its payload is no object, see audit"
        tell = _TELLERS.get(kind)
        try:
            text = tell(self, body) if tell else _simple(kind, body)
        except (ArithmeticError, ValueError, TypeError, KeyError):  # a body that no one could encode or decode
            text = f"{kind}: {body.get('unencodable') or 'see --json'}"
        return f"{text} (found by a comparison with the venue)" if body.get("reconciliation") else text

    def made(self, body: Body) -> str:
        options = body.get("options") or {}
        self._was = _numbers({**options, "quantity": body["quantity"]})
        words = [body["order_side"], number(self._was["quantity"]), body["order_type"].lower().replace("_", " ")]
        words += [f"{sign} {number(self._was[key])}" for key, sign in _PRICE_SIGNS.items() if key in self._was]
        return f"made: {' '.join(words)}"

    def updated(self, body: Body) -> str:
        changes = []
        for key, value in _numbers(body).items():
            before = self._was.get(key)
            if before != value:
                changes.append(f"{key.replace('_', ' ')} {number(before) or 'none'} → {number(value)}")
            self._was[key] = value
        return f"changed: {', '.join(changes)}" if changes else "changed: nothing, the same again"

    def filled(self, body: Body) -> str:
        quantity, price = Decimal(body["last_qty"]), Decimal(body["last_px"])
        self._filled += quantity
        ordered = self._was.get("quantity")
        whole = f" ({number(self._filled)} of {number(ordered)})" if ordered not in (None, quantity) else ""
        fee, _, currency = (body.get("commission") or "0").partition(" ")
        side = (body.get("liquidity_side") or "").lower()
        liquidity = f" as {side}" if side in ("maker", "taker") else ""
        return (
            f"filled {number(quantity)} @ {number(price)}{whole}{liquidity}, fee {amount(Decimal(fee))} {currency}, "
            f"trade {body['trade_id']}"
        )


_TELLERS = {"OrderInitialized": _Teller.made, "OrderUpdated": _Teller.updated, "OrderFilled": _Teller.filled}
_PRICE_SIGNS = {"price": "@", "trigger_price": "trigger", "limit_offset": "limit offset", "trailing_offset": "trailing"}
_WORDS = {
    "OrderDenied": "denied before it left: {reason}",
    "OrderEmulated": "held here: the node watches for its trigger",
    "OrderReleased": "released by the emulator at {released_price}",
    "OrderSubmitted": "sent to the venue",
    "OrderAccepted": "accepted as {venue_order_id}",
    "OrderRejected": "rejected by the venue: {reason}",
    "OrderCanceled": "canceled",
    "OrderExpired": "expired",
    "OrderTriggered": "triggered",
    "OrderPendingUpdate": "asked the venue to change it",
    "OrderPendingCancel": "asked the venue to cancel it",
    "OrderModifyRejected": "the venue refuses the change: {reason}",
    "OrderCancelRejected": "the venue refuses to cancel: {reason}",
    "Intent": "about to ask the venue: {command}",
    "RiskDecision": "risk: {verdict} {code}",
    "RoutingDecision": "placed by the router, slice {slice}: {reason}",
}


def _simple(kind: str, body: Body) -> str:
    pattern = _WORDS.get(kind)
    if pattern is None:
        return kind
    known = {key: "not said" if value in (None, "") else value for key, value in body.items()}
    return pattern.format_map(known).strip()


def _numbers(body: Body) -> dict[str, Decimal]:
    keys = ("price", "trigger_price", "quantity", "limit_offset", "trailing_offset")
    return {key: Decimal(str(body[key])) for key in keys if body.get(key) is not None}
