"""A verdict of the risk gate in plain words: what each code means, with its numbers, and what can be done. Pure."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from nautilus_ext.app.text_tables import iso_ns, number

if TYPE_CHECKING:
    from nautilus_ext.app.text_tables import Row

WITHOUT_UNIT = ("", "quantity", "price")
SAID_APART = ("action", "text")  # of the details: the rest is the state that was seen
ACTIONS = {
    "submit": "the order",
    "modify": "a change of the order",
    "cancel": "a cancel of the order",
    "reserve": "the reservation of its whole size",
    "release": "the release of what was reserved",
}


class Words(NamedTuple):
    """`says` has the verdict's numbers in it; a verdict without any is said by its `text` alone."""

    says: str
    cure: str


_REACH = "if all that works were filled {what} would be {would_be}; at most {limit} is allowed (before it: {value})"
CODES = {
    "NOT_PERMITTED": Words(
        "{text}", "send what the scope allows, or allow this one in the lists of that scope under risk.limits"
    ),
    "MAX_ORDER_QUANTITY": Words(
        "the order would be for {would_be}; at most {limit} is allowed", "send less, or raise max_order_quantity"
    ),
    "MIN_ORDER_QUANTITY": Words(
        "the order would be for {would_be}; at least {limit} is asked for", "send more, or lower min_order_quantity"
    ),
    "MAX_ORDER_NOTIONAL": Words(
        "the order would be worth {would_be}; at most {limit} is allowed", "send less, or raise max_order_notional"
    ),
    "PRICE_COLLAR": Words(
        "its price is {would_be} on the wrong side of the reference; at most {limit} is allowed ({text})",
        "is the price meant, and the reference right? Then widen price_collar_bps",
    ),
    "MAX_POSITION": Words(
        _REACH.replace("{what}", "the position"),
        "cancel what works on that side, reduce the position (such orders pass), or raise max_position",
    ),
    "MAX_EXPOSURE": Words(
        _REACH.replace("{what}", "the exposure"),
        "cancel what works, reduce positions of that scope (such orders pass), or raise max_exposure",
    ),
    "HALTED": Words("its scope is halted: {text}", "cancels still pass; for the rest an operator has to lift it"),
    "REDUCE_ONLY": Words(
        "only what reduces is allowed; it would have made {would_be} of {value}",
        "send no more than what is open less what already works against it, or end reduce_only in that scope",
    ),
    "MESSAGE_RATE": Words(
        "it would be {would_be} {unit}; at most {limit} are allowed ({text})",
        "wait until the window has room, send less often, or raise the limit under messages",
    ),
    "DUPLICATE_ORDER": Words(
        "the same order was sent {would_be} before; within {limit} it counts as a mistake",
        "was it meant? Then wait, or shorten duplicate_window_ms; a client order id is used once",
    ),
    "OPERATION_REPEATED": Words("{text}", "an operation has one id: tag a new one op:<a new id>"),
    "SELF_MATCH": Words(
        "it reaches {would_be} and would trade with our own order at {limit} ({text})",
        "cancel that order first, price this one away from it, or set self_match to cancel_oldest",
    ),
    "INSUFFICIENT_BALANCE": Words(
        "with what is on its way it needs {would_be} ({value} is on its way); {limit} is free",
        "send less, cancel what ties money up, fund the account, or see whether check_balance fits the account",
    ),
    "NO_LIMIT": Words(
        "limits that this file demands are not set for the instrument: {text}",
        "set them under risk.limits, or risk.needs_limits to false",
    ),
    "NO_PRICE": Words(
        "no price was known: {text}",
        "subscribe to what risk.reference names before the first order; is the feed alive?",
    ),
    "STALE_PRICE": Words(
        "the newest price was {would_be} old; at most {limit} is allowed",
        "is the feed alive? For a quiet instrument raise risk.price_age_ms_max",
    ),
    "NO_CONVERSION": Words("its value could not be reckoned: {text}", "name that currency in risk.conversions"),
    "NO_INSTRUMENT": Words(
        "{text}", "let a data or execution client load the instrument (instrument_provider.load_ids, or load_all)"
    ),
    "NO_ACCOUNT": Words("{text}", "is an execution client for that venue in the file, and did it connect?"),
    "BAD_VALUE": Words("a number of the order is none: {text}", "look at what the strategy reckoned"),
    "GATE_ERROR": Words(
        "the gate itself failed, and what it cannot judge is refused: {text}",
        "a defect of the gate: its traceback is in the book's log; report it with this answer",
    ),
    "LIST_DENIED": Words(
        "{text}: Nautilus would have forgotten the rest of it",
        "ask why of the order that was denied first",
    ),
    "NOT_NEW": Words("{text}", "an order is sent once: make a new one with an id of its own"),
    "NO_ORDER": Words("{text}", "a change needs an order that a venue has: wait for its acceptance, or send a new one"),
    "NOT_JUDGED": Words(
        "{text}", "find out what sends to the execution engine or the venue past the suite, and end it"
    ),
    "CANCELED_BEFORE_SUBMIT": Words("a cancel overtook the order: it was never sent", "nothing is to be done"),
}
UNKNOWN = Words("{text}", "this version has no words for the code: the numbers say it")


def reason(decision: Row) -> str:
    """What a refusal means, its numbers in the sentence."""
    says = CODES.get(decision["code"], UNKNOWN).says
    is_without = decision["limit"] is None and decision["would_be"] is None
    return ("{text}" if is_without and "{limit}" in says else says).format_map(_values(decision))


def cure(decision: Row) -> str:
    return CODES.get(decision["code"], UNKNOWN).cure


def action(decision: Row) -> str:
    """What was judged: submit where an older record does not say it."""
    return str(_details(decision).get("action") or "submit")


def title(decision: Row) -> str:
    """What was judged and how it went: `the order: refused, MAX_POSITION`."""
    what = ACTIONS.get(action(decision), action(decision))
    return f"{what}: {decision['verdict']}{', ' if decision['code'] else ''}{decision['code']}"


def numbers(decision: Row) -> str:
    """The numbers of a verdict in one line: limit, scope, what it was and would be."""
    pairs = [
        ("limit", _amount(decision["limit"], decision["unit"])),
        ("scope", decision["scope"]),
        ("was", _amount(decision["value"], decision["unit"])),
        ("would be", _amount(decision["would_be"], decision["unit"])),
        ("unit", decision["unit"]),
    ]
    return ", ".join(f"{name} {text}" for name, text in pairs if text)


def state(decision: Row) -> list[tuple[str, str]]:
    """What the gate saw, by name."""
    return [(name, str(value)) for name, value in _details(decision).items() if name not in SAID_APART]


def as_json(decision: Row) -> dict[str, Any]:
    """Exact, numbers as text, with the words beside them."""
    exact = {key: f"{value:f}" if isinstance(value, Decimal) else value for key, value in decision.items()}
    is_refused = decision["verdict"] == "refused"
    return {
        "at": iso_ns(decision["ts_ns"]),
        **exact,
        "ts_ns": str(decision["ts_ns"]),
        "action": action(decision),
        "reason": reason(decision) if is_refused else None,
        "cure": cure(decision) if is_refused else None,
    }


def _values(decision: Row) -> dict[str, str]:
    unit = decision["unit"]
    amounts = {key: _amount(decision[key], unit) or "unknown" for key in ("limit", "value", "would_be")}
    text = _details(decision).get("text") or "nothing more was said"
    return {**amounts, "unit": unit, "scope": decision["scope"], "text": str(text)}


def _amount(value: Decimal | None, unit: str) -> str:
    if value is None:
        return ""
    return number(value) if unit in WITHOUT_UNIT or "/" in unit else f"{number(value)} {unit}"


def _details(decision: Row) -> dict[str, Any]:
    details = decision["details"]
    return details if isinstance(details, dict) else {}
