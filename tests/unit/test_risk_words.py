"""Each code of the risk gate has words and a cure, and no other has; the sentences of why that no table needs."""

from __future__ import annotations

import ast
from decimal import Decimal
from pathlib import Path

import pytest

from nautilus_ext.app import reasons, risk_words
from nautilus_ext.app.reasons import Gate

RISK = Path(__file__).resolve().parents[2] / "nautilus_ext" / "risk"
OF_THE_GATE = {"GATE_ERROR", "CANCELED_BEFORE_SUBMIT", "NOT_NEW", "NO_ORDER", "NOT_JUDGED"}
ORDER = {
    "status": "ACCEPTED",
    "strategy_id": "S-1",
    "account_id": "A",
    "exec_algorithm": "NORMAL",
    "parent_client_order_id": None,
    "order_list_id": None,
    "rejection_reason": None,
    "error_message": None,
}


def codes_in(*sources: str) -> set[str]:
    """What `code=…` and `code = …` name: texts, and constants of any of the modules."""
    nodes = [node for source in sources for node in ast.walk(ast.parse(source))]
    assigned = [
        (target.id, node.value)
        for node in nodes
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    ]
    texts = {name: value.value for name, value in assigned if isinstance(value, ast.Constant)}
    calls = [node for node in nodes if isinstance(node, ast.Call)]
    given = [each.value for node in calls for each in node.keywords if each.arg == "code"]
    given += [value for name, value in assigned if name == "code"]
    found = {each.value if isinstance(each, ast.Constant) else texts.get(getattr(each, "id", "")) for each in given}
    return {each for each in found if each}


def decision(**told):
    known = {"client_order_id": "O", "strategy_id": "S-1", "instrument_id": "I.V", "verdict": "refused", "ts_ns": 0}
    numbers = {"code": "", "scope": "", "unit": "", "limit": None, "value": None, "would_be": None, "details": {}}
    return {**known, **numbers, **told}


def test_every_code_of_the_gate_has_words_and_no_other():
    """A new control comes with what it means and what to do; a control that goes takes its words along."""
    found = codes_in(*(path.read_text() for path in RISK.glob("*.py")))
    assert "MAX_POSITION" in found
    assert found | OF_THE_GATE == risk_words.CODES.keys()


def test_a_code_is_found_however_it_is_given():
    """The check itself can fail."""
    source = 'Refused(code=NAME)\nRefused(code="B", x=1)\nclass C:\n    code = "C"\n'
    assert {"A", "B", "C"} == codes_in('NAME = "A"', source)


@pytest.mark.parametrize("code", [*risk_words.CODES, "OF_THE_FUTURE"])
@pytest.mark.parametrize(
    "numbers", [{}, {"limit": Decimal(1)}, {"limit": Decimal(1), "would_be": Decimal(2), "unit": "ms"}]
)
def test_every_sentence_is_whole(code, numbers):
    """With all numbers, with one, with none; braces in a text are no pattern."""
    refused = decision(code=code, **numbers, details={"text": "says {this}"})
    assert risk_words.cure(refused)
    for made in (refused, refused | {"details": None}):
        text = risk_words.reason(made)
        assert text.strip()
        assert not {"{limit}", "{would_be}", "{value}", "{text}", "{unit}"} & set(text.split())
        assert "None" not in text


@pytest.mark.parametrize(
    ("gate", "part"),
    [
        (Gate(is_on=True, recorded_every=1), "records every approval, so the order was sent under another one"),
        (Gate(is_on=True, recorded_every=1_000), "of approvals only each 1,000th"),
        (Gate(is_on=False, recorded_every=1), "the gate is off in this file"),
    ],
)
def test_an_order_without_a_decision_is_no_order_without_a_gate(gate, part):
    """What the file says of the gate now is all that can be known."""
    said = reasons.answer(ORDER, [], gate)
    assert ("sent", True) == (said.kind, part in said.text)


def test_the_verdict_on_the_order_counts_and_not_that_on_a_change():
    """The newest one: an emulated order may be judged again when it is released."""
    gate = Gate(is_on=True, recorded_every=1)
    first, change = decision(code="NO_PRICE"), decision(code="MESSAGE_RATE", details={"action": "modify"})
    second = decision(verdict="approved", details={"action": "submit"})
    assert "refused" == reasons.answer(ORDER | {"account_id": None, "status": "DENIED"}, [first], gate).kind
    assert "approved" == reasons.answer(ORDER, [first, second, change], gate).kind
    assert ["a change of the order: refused, MESSAGE_RATE"] == [
        text.partition(": nothing")[0] for _, text in reasons.asides(ORDER, [second, change])
    ]


def test_a_refusal_of_the_venue_is_no_refusal_of_the_gate():
    """Said once, in whose words it is; what the gate said already is not said twice."""
    of_venue = ORDER | {"error_message": "too late"}
    assert [("also", "its last change or cancel was refused: too late")] == reasons.asides(of_venue, [])
    of_gate = ORDER | {"error_message": "MESSAGE_RATE: limit=1"}
    change = decision(code="MESSAGE_RATE", details={"action": "modify"})
    assert 1 == len(reasons.asides(of_gate, [change]))


def test_an_order_that_is_sent_once_more_was_not_refused():
    """The second attempt was; and what went around the gate was judged by nobody."""
    gate = Gate(is_on=True, recorded_every=100)
    again = decision(code="NOT_NEW", details={"text": "it was sent before"})
    assert "sent" == reasons.answer(ORDER, [again], gate).kind
    ((_, text),) = reasons.asides(ORDER, [again])
    assert text.startswith("the order: refused, NOT_NEW: it was sent before")
    around = decision(code="NOT_JUDGED", details={"text": "sent past the gate"})
    assert "around" == reasons.answer(ORDER, [around], gate).kind
    assert [] == reasons.asides(ORDER, [around])
