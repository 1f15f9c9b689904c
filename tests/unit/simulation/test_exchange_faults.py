"""The plan of faults: seeded, scripted, counted."""

from __future__ import annotations

import msgspec
import pytest

from nautilus_ext.simulation.faults import ACTS, ITEM_FAULTS, REQUEST_FAULTS, FaultPlan, Faults, Scripted

MESSAGES = 20_000


def decisions(faults: Faults, run: int = 1) -> list[str | None]:
    plan = FaultPlan(faults, run)
    return [plan.request("Place") if number % 3 else plan.item("Filled") for number in range(300)]


def test_the_same_seed_gives_the_same_faults():
    """And another seed, or another run of the server, gives others."""
    rates = {"lost_answer": 0.2, "late_item": 0.2}
    once = decisions(Faults(seed=5, rates=rates))
    assert once == decisions(Faults(seed=5, rates=rates))
    assert once != decisions(Faults(seed=6, rates=rates))
    assert once != decisions(Faults(seed=5, rates=rates), run=2)


@pytest.mark.parametrize(("kinds", "is_item"), [(REQUEST_FAULTS, False), (ITEM_FAULTS, True)])
def test_each_kind_comes_as_often_as_its_rate_says(kinds, is_item):
    """Requests and stream items have rates of their own, and every fault is counted."""
    plan = FaultPlan(Faults(seed=1, rates=dict.fromkeys(kinds, 0.05)))
    decide, other = (plan.item, plan.request) if is_item else (plan.request, plan.item)
    for _ in range(MESSAGES):
        decide("Place")
    assert [other("Place") for _ in range(100)] == [None] * 100
    assert set(plan.counts) == set(kinds)
    assert all(0.04 < count / MESSAGES < 0.06 for count in plan.counts.values()), plan.counts
    assert plan.number == sum(plan.counts.values())


def test_a_script_names_the_message_and_its_number():
    """Messages of other names do not count, and chance has no say where the script has spoken."""
    plan = FaultPlan(Faults(script=(Scripted("Place", "drop_after", 2), Scripted("Filled", "lost_item", 1))))
    assert [plan.request(name) for name in ("Place", "Cancel", "Place", "Place")] == [None, None, "drop_after", None]
    assert [plan.item(name) for name in ("Accepted", "Filled", "Filled")] == [None, "lost_item", None]
    assert plan.counts == {"drop_after": 1, "lost_item": 1}


def test_a_script_cannot_do_to_an_item_what_only_a_request_can_suffer():
    """Such a line does nothing."""
    plan = FaultPlan(Faults(script=(Scripted("Filled", "drop_after"), Scripted("Place", "lost_item"))))
    assert (plan.item("Filled"), plan.request("Place")) == (None, None)


def test_only_what_acts_is_rejected():
    """A question is never refused as if it were an order."""
    plan = FaultPlan(Faults(rates={"rejected": 1.0}))
    assert {name: plan.request(name) for name in (*ACTS, "GetOrders", "Subscribe")} == {
        **dict.fromkeys(ACTS, "rejected"),
        "GetOrders": None,
        "Subscribe": None,
    }


@pytest.mark.parametrize(
    "text",
    [
        '{"rates": {"lost_answer": 1.1}}',
        '{"rates": {"lost_answer": -0.1}}',
        '{"rates": {"lost_answer": 0.6, "late_answer": 0.6}}',
        '{"rates": {"no_such_fault": 0.1}}',
        '{"script": [{"on": "Place", "fault": "lost_answer", "nth": 0}]}',
        '{"script": [{"on": "Place", "fault": "nothing"}]}',
        '{"late_ms": 0}',
        '{"unknown": 1}',
    ],
)
def test_wrong_faults_are_refused_when_they_are_read(text):
    """With a message, and not when they would happen."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(text, type=Faults)
