"""Breakers and the gate together: what trips is refused and canceled from then on, until a person resumes it."""

from __future__ import annotations

import pytest
from breaker_stage import breakers, rule
from risk_stage import BUY, PERP, SELL, SPOT, Stage

from nautilus_ext.messages import ALERT, COMMAND, COMMANDED, CommandAsked
from nautilus_ext.risk.commands import Command, Resume

HAND = "strategy=HAND-001"
LIMITS = {"preset": "none", "needs_limits": False}


class Both:
    """A market, the gate, breakers behind it, and a person."""

    def __init__(self, *rules, path=None, **how):
        actor = breakers(*rules, path=path)
        self.stage = Stage(LIMITS, actors=[actor], **how)
        self.alerts, self.commanded, self.answers = [], [], []
        self.stage.bus.subscribe(ALERT, self.alerts.append)
        self.stage.bus.subscribe(COMMANDED, self.commanded.append)
        self.stage.start()

    @property
    def told(self):
        return [each.code for each in self.alerts]

    def resume(self, scope):
        command = Command(command_id=f"r-{len(self.answers)}", issued_by="ann", what=Resume(scope=scope, why="seen"))
        answer = lambda applied, text: self.answers.append((applied, text))  # noqa: E731 - as a caller writes it
        self.stage.bus.send(COMMAND, CommandAsked(command=command, answer=answer))


def test_a_trip_refuses_and_cancels_until_it_is_resumed_and_then_counts_anew():
    """Executions, which disable one strategy: its resting order is gone, the next one refused."""
    both = Both(rule("executions", "strategy=*", 1, window_s=600))
    stage = both.stage
    resting = stage.hand.send(BUY, 1, 50)
    stage.tick()
    stage.hand.send(BUY, 1)
    stage.hand.send(BUY, 1)
    stage.tick().tick()
    assert ["BREAKER_EXECUTIONS"] == both.told
    assert "CANCELED" == resting.status_string()
    refused = stage.hand.send(BUY, 1, 51)
    stage.tick()
    assert "DENIED" == refused.status_string()
    assert ["HALTED"] == stage.refused()
    (commanded,) = both.commanded
    assert (True, "breaker executions", "halt", HAND) == (
        commanded.applied,
        commanded.command.issued_by,
        commanded.command.kind,
        commanded.command.what.scope,
    )
    both.resume(HAND)
    assert [True] == [applied for applied, _ in both.answers]
    for _ in range(2):
        stage.hand.send(BUY, 1)
        stage.tick()
    assert ["BREAKER_EXECUTIONS"] * 2 == both.told  # one was allowed, and the second is one too many


@pytest.mark.parametrize("scope", ["node", "venue=SIM2", f"instrument={PERP}"])
def test_reduce_only_lets_a_loss_be_cut_and_nothing_opened(scope):
    both = Both(rule("loss", scope.partition("=")[0] + ("=*" if "=" in scope else ""), 10, "reduce_only"))
    stage = both.stage
    stage.hand.send(BUY, 1)
    stage.tick().tick(bid=80).tick(bid=80)
    assert {"BREAKER_LOSS"} == set(both.told)
    assert scope in {each.scope for each in both.alerts}
    more = stage.hand.send(BUY, 1)
    out = stage.hand.send(SELL, 1)
    stage.tick(bid=80)
    assert ("DENIED", "FILLED") == (more.status_string(), out.status_string())


def test_a_halt_of_one_venue_leaves_the_others_alone():
    both = Both(rule("reject_streak", "venue=*", 0, window_s=60))
    stage = both.stage
    stage.hand.send(BUY, 1, 150, post_only=True)  # the venue rejects what would take
    stage.tick()
    there = stage.hand.send(BUY, 1, 50)
    elsewhere = stage.hand.send(BUY, 1, 50, of=SPOT)
    stage.tick()
    assert ("DENIED", "ACCEPTED") == (there.status_string(), elsewhere.status_string())


def test_a_node_that_starts_again_is_stopped_before_its_first_order(tmp_path):
    """By the file alone: the table knows nothing of it yet."""
    path = tmp_path / "breakers.json"
    rules = (rule("executions", "strategy=*", 0, window_s=600),)
    before = Both(*rules, path=path)
    before.stage.hand.send(BUY, 1)
    before.stage.tick()
    again = Both(*rules, path=path)
    refused = again.stage.hand.send(BUY, 1)
    again.stage.tick()
    assert "DENIED" == refused.status_string()
    assert [True] == [each.applied for each in again.commanded]
    assert before.commanded[0].command == again.commanded[0].command
