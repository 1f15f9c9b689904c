"""A rule of a breaker that means nothing is refused before the node starts, with what to write instead."""

from __future__ import annotations

from decimal import Decimal

import pytest

from nautilus_ext.risk.breakers import COUNT_MAX, TRAITS, WINDOW_S_MAX, Rule, rule_problems

AT = {"stale_data": "instrument=*", "venue_down": "venue=SIM1"}


def rule(kind, limit, scope=None, action="halt", **what):
    scope = AT.get(kind, "node") if scope is None else scope
    return Rule(kind=kind, scope=scope, limit=Decimal(str(limit)), action=action, **what)


def test_rules_that_are_right():
    """One of each kind, at a scope that it takes."""
    rules = [rule(kind, "0.5" if kind == "rejection_rate" else 5, window_s=60) for kind in TRAITS]
    assert [] == list(rule_problems(rules))


def test_the_least_and_the_most_are_right():
    """Nothing at all is a limit, and so is all that can be counted."""
    counted = [
        rule("executions", limit, "node", action, window_s=WINDOW_S_MAX)
        for limit, action in [(0, "halt"), (COUNT_MAX, "alert")]
    ]
    waiting = [rule("latency", 0, window_s=1, least=100), rule("rejection_rate", 0, window_s=1, least=100_000)]
    assert [] == list(rule_problems([rule("loss", 0), *counted, *waiting]))


def test_what_is_measured_needs_no_window_and_what_is_counted_does():
    """At once, or over the whole time; answers and executions are always those of a window."""
    rules = [rule(kind, "0.5" if kind == "rejection_rate" else 5) for kind in TRAITS]
    counted = {"reject_streak", "rejection_rate", "executions", "latency"}
    expected = [f"[{number}].window_s" for number, each in enumerate(rules) if each.kind in counted]
    assert expected == [path for path, _ in rule_problems(rules)]


@pytest.mark.parametrize(
    ("wrong", "at", "says"),
    [
        (rule("loss", -1), "limit", "-1 is no limit: it is 0 or more, in base currency"),
        (rule("loss", "NaN"), "limit", "NaN is no limit"),
        (rule("reject_streak", "2.5", window_s=1), "limit", "2.5 is no number of rejections: it is whole"),
        (rule("executions", 10_001, window_s=1), "limit", "10000 at most"),
        (rule("rejection_rate", 1, window_s=1), "limit", "1 is never passed: it is a share of all answers, below 1"),
        (rule("executions", 1), "window_s", "0 is no window: it is above 0, and 2678400 s at most"),
        (rule("loss", 1, window_s=-1), "window_s", "-1 is no window: it is 0 or more"),
        (rule("loss", 1, window_s=float("nan")), "window_s", "nan is no window"),
        (rule("loss", 1, window_s=3e6), "window_s", "2678400 s at most"),
        (rule("loss", 1, least=2), "least", "2 does not fit: loss takes from 1 to 1"),
        (rule("rejection_rate", 0, window_s=1, least=100_001), "least", "rejection_rate takes from 1 to 100000"),
        (rule("latency", 1, window_s=1, least=101), "least", "101 does not fit: latency takes from 1 to 100"),
        (rule("venue_down", 1, "node"), "scope", '"node" is no scope of venue_down: write one of venue=NAME'),
        (rule("loss", 1, "node=x"), "scope", '"node=x" is no scope of loss: write one of node, venue=NAME'),
        (rule("loss", 1, "venue="), "scope", '"venue=" is no scope of loss'),
        (rule("loss", 1, "venue=sim1"), "scope", 'is written in capitals: "venue=SIM1"'),
    ],
)
def test_a_wrong_rule_is_told_what_to_write(wrong, at, says):
    """Where, which value, what instead."""
    ((path, message),) = rule_problems([wrong])
    assert f"[0].{at}" == path
    assert says in message


def test_a_rule_that_is_there_twice():
    """A restart could not tell the two apart."""
    ((path, message),) = rule_problems([rule("loss", 1), rule("loss", 2, action="alert"), rule("loss", 3)])
    assert ("[2]", "the same kind, scope and action as [0]: keep one of them") == (path, message)
