"""Why an order is what it is: one sentence from its row and the gate's verdicts, and what can be done. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from nautilus_ext.app import risk_words
from nautilus_ext.app.text_tables import iso_ns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nautilus_ext.app.text_tables import Row

EXTERNAL = "EXTERNAL"
AROUND = "NOT_JUDGED"
TOLD = frozenset({"OrderDenied", "OrderRejected", "OrderModifyRejected", "OrderCancelRejected"})
# What the suite itself says in a denial, besides the gate.
OURS = {
    "HALTED": "the journal takes no new orders (persistence.on_unshipped): cure what the reason names",
    "INTENT_TIMEOUT": "the disk did not take the order's intent in time: is it full or slow? The order was not sent",
    "NOT_SENT": "nothing is to be done: the strategy may send a new order",
}


class Gate(NamedTuple):
    """What the file says of the gate now."""

    is_on: bool
    recorded_every: int


class Answer(NamedTuple):
    """`kind` is for programs: refused, denied, rejected, approved, around, sent, worked, waits, unjudged, external."""

    kind: str
    text: str
    cure: str = ""


def answer(order: Row, decisions: Sequence[Row], gate: Gate) -> Answer:
    """The first of these that is true explains the order."""
    is_sent = order["account_id"] is not None or order["status"] == "RELEASED"
    verdict = _newest(decisions, "submit")
    if verdict is not None and verdict["verdict"] == "refused" and not is_sent:
        return _refused(verdict)
    if order["status"] == "DENIED":
        return _denied(order["rejection_reason"] or "no reason was given", in_list=order["order_list_id"] is not None)
    if order["status"] == "REJECTED":
        reason = order["rejection_reason"] or "without a reason"
        return Answer("rejected", f"it was sent, and the venue rejected it: {reason}", _VENUES_WORDS)
    if is_sent or order["strategy_id"] == EXTERNAL or verdict is not None:
        return _let_through(order, decisions, gate)
    return _unsent(order, decisions)


def of_decisions(decisions: Sequence[Row]) -> Answer:
    """Of an id that the tables know from verdicts alone: its order is still on the way there, or was refused a row."""
    last = decisions[-1]
    found = _refused(last) if last["verdict"] == "refused" else Answer("approved", risk_words.title(last))
    return found._replace(text=f"{found.text}; the order itself is not in the tables (yet: see status and audit)")


def asides(order: Row, decisions: Sequence[Row]) -> list[tuple[str, str]]:
    """What else was refused of an order that lives: changes, cancels, and to send it once more."""
    refused = [each for each in decisions if each["verdict"] == "refused" and each["code"] != AROUND]
    beside = ("modify", "cancel") if order["account_id"] is None else ("modify", "cancel", "submit")
    told = [
        (each["code"], f"{risk_words.title(each)}: {risk_words.reason(each)}; {risk_words.cure(each)}")
        for each in refused
        if risk_words.action(each) in beside
    ]
    said = order["error_message"]
    if said and said.partition(":")[0] not in {code for code, _ in told}:
        told.append(("", f"its last change or cancel was refused: {said}"))
    return [("also", text) for _, text in told[-3:]]


def reservation(decisions: Sequence[Row]) -> str:
    """How the size of a parent stands; empty when nobody asked for it."""
    last = _newest(decisions, "reserve", "release")
    if last is None:
        return ""
    when = iso_ns(last["ts_ns"])
    if last["verdict"] == "refused":
        return f"refused on {when}, {last['code']}"
    return f"approved on {when}" if risk_words.action(last) == "reserve" else f"released on {when}"


def _newest(decisions: Sequence[Row], *actions: str) -> Row | None:
    return next((each for each in reversed(decisions) if risk_words.action(each) in actions), None)


def _refused(verdict: Row) -> Answer:
    text = f"the risk gate refused {risk_words.ACTIONS.get(risk_words.action(verdict), 'it')}"
    scope = f", {verdict['scope']}" if verdict["scope"] else ""
    return Answer(
        "refused", f"{text} ({verdict['code']}{scope}): {risk_words.reason(verdict)}", risk_words.cure(verdict)
    )


_VENUES_WORDS = "the words are the venue's own: its documentation says what they ask for"
_NAUTILUS = "the words are Nautilus's: `doctor CONFIG` says which of its own checks are at work"


def _denied(reason: str, *, in_list: bool) -> Answer:
    code = reason.partition(":")[0]
    if code in risk_words.CODES:
        other = "a list goes as a whole or not at all: the verdict may be another member's"
        missing = other if in_list else "the verdict itself is not in the tables: see status and audit"
        return Answer("refused", f"the risk gate refused it: {reason} ({missing})", risk_words.CODES[code].cure)
    if code in OURS:
        return Answer("denied", f"it was denied before it left the node: {reason}", OURS[code])
    return Answer("denied", f"Nautilus denied it before it reached the risk gate or the venue: {reason}", _NAUTILUS)


def _let_through(order: Row, decisions: Sequence[Row], gate: Gate) -> Answer:
    now = f"it is {order['status']}"
    verdict = _newest([each for each in decisions if each["verdict"] == "approved"], "submit")
    if verdict is not None:
        return Answer("approved", f"the risk gate approved it on {iso_ns(verdict['ts_ns'])}; {now}")
    around = next((each for each in decisions if each["code"] == AROUND), None)
    if around is not None:
        return Answer("around", f"it went around the gate: {risk_words.reason(around)}; {now}", risk_words.cure(around))
    if order["strategy_id"] == EXTERNAL:
        text = "it was found at the venue: no strategy of this book sent it, so the gate never judged it"
        return Answer("external", text)
    return Answer("sent", f"it was sent, and no decision is recorded: {_unrecorded(gate)}; {now}")


def _unrecorded(gate: Gate) -> str:
    if not gate.is_on:
        return "the gate is off in this file (risk.enabled)"
    every = gate.recorded_every
    if every == 1:
        return "this file records every approval, so the order was sent under another one, or before the gate stood"
    return (
        f"every refusal is recorded, of approvals only each {every:,}th (risk.approvals_recorded_every), "
        "so it was approved, unless it was sent before the gate stood"
    )


def _unsent(order: Row, decisions: Sequence[Row]) -> Answer:
    status = order["status"]
    if order["exec_algorithm"] != "NORMAL" and not order["parent_client_order_id"]:
        asked = _newest(decisions, "reserve")
        if asked is not None and asked["verdict"] == "refused":
            return _refused(asked)
        text = f"{order['exec_algorithm']} works it: it is not sent itself, each of its children is judged"
        return Answer("worked", f"{text}; it is {status}")
    if status == "EMULATED":
        return Answer("waits", "the node watches for its trigger and has not sent it: it is judged when it is released")
    if status == "INITIALIZED":
        text = "it was made and not sent, and no verdict is recorded: it waits in the node, or never reached the gate"
        return Answer("waits", text, "a leg waits for its entry; else `order` and the book's log say what came next")
    return Answer("unjudged", f"it is {status} and was never sent; no verdict is recorded: it ended before one was due")
