"""An alert is told at once, the same again is counted, and a flood stays within its bounds without losing anything."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from risk_desk import NOW_NS, S

from nautilus_ext.risk.alerts import FLOOD, OPEN_MAX, TEXT_MAX, TOLD_MAX, TOLD_WINDOW_NS, Alerts, alert

QUIET_S = 30


def stale(scope="instrument=BTCUSDT.SIM1", after_s=0.0, severity="warning", code="STALE_DATA"):
    return alert(code, scope, severity, f"at {after_s:g}", NOW_NS + round(after_s * S))


def told(alerts):
    return [(each.code, each.scope, each.severity, each.text, each.count) for each in alerts]


def test_the_first_is_told_at_once_and_the_same_only_counted():
    """The same is code and scope, whatever its text says."""
    alerts = Alerts(QUIET_S * S)
    assert ["at 0"] == [each.text for each in alerts.take(stale())]
    assert [] == alerts.take(stale(after_s=1))
    assert ["at 2"] == [each.text for each in alerts.take(stale("instrument=ETHUSDT.SIM1", 2))]
    assert ["at 3"] == [each.text for each in alerts.take(stale(after_s=3, code="LATENCY"))]


def test_what_comes_again_is_told_with_its_count():
    """Once in each quiet time, the newest of them; when it was quiet the next is a new one."""
    alerts = Alerts(QUIET_S * S)
    for after_s in (0, 1, 2):
        alerts.take(stale(after_s=after_s))
    assert [] == alerts.due(NOW_NS + 29 * S)
    ((_, _, _, text, count),) = told(alerts.due(NOW_NS + 30 * S))
    assert ("at 2", 2) == (text, count)
    assert [] == alerts.take(stale(after_s=40))
    assert [] == alerts.due(NOW_NS + 59 * S)
    assert [1] == [each.count for each in alerts.due(NOW_NS + 60 * S)]
    assert [] == alerts.due(NOW_NS + 90 * S)
    assert ["at 91"] == [each.text for each in alerts.take(stale(after_s=91))]


def test_worse_is_told_at_once():
    """From a warning to critical without a wait; back again it is only counted."""
    alerts = Alerts(QUIET_S * S)
    alerts.take(stale())
    alerts.take(stale(after_s=1))
    ((*_, severity, text, count),) = told(alerts.take(stale(after_s=2, severity="critical")))
    assert ("critical", "at 2", 2) == (severity, text, count)
    assert [] == alerts.take(stale(after_s=3))
    assert [] == alerts.take(stale(after_s=4, severity="critical"))


def test_worse_than_what_was_told_last_is_told_at_once():
    """Critical, then for a while only a warning, and critical again: that is news."""
    alerts = Alerts(QUIET_S * S)
    alerts.take(stale(severity="critical"))
    assert [] == alerts.take(stale(after_s=1))
    assert ["warning"] == [each.severity for each in alerts.due(NOW_NS + 30 * S)]
    assert ["critical"] == [each.severity for each in alerts.take(stale(after_s=31, severity="critical"))]


def test_an_alert_reads_like_a_line():
    """Severity, code, scope, text, and how often."""
    alerts = Alerts(QUIET_S * S)
    assert "WARNING STALE_DATA node: at 0" == str(stale("node"))
    assert ["WARNING STALE_DATA node: at 0"] == [str(each) for each in alerts.take(stale("node"))]
    alerts.take(stale("node", 1))
    alerts.take(stale("node", 2))
    assert ["WARNING STALE_DATA node: at 2 (2 times)"] == [str(each) for each in alerts.due(NOW_NS + 30 * S)]


def test_a_flood_is_told_in_one_message_and_then_bit_by_bit():
    """No more than the bound in a minute, each of them in the end; what is critical has room of its own."""
    alerts, heard = Alerts(QUIET_S * S), []
    for number in range(TOLD_MAX + 5):
        heard += alerts.take(stale(f"instrument=I{number}.SIM1"))
    flood = f"CRITICAL {FLOOD} node: more than {TOLD_MAX} alerts in 60 s: those held back come later"
    assert [flood] == [str(each) for each in heard if each.code == FLOOD]
    assert TOLD_MAX == len(heard) - 1
    assert ["critical"] == [each.severity for each in alerts.take(stale("venue=SIM1", severity="critical"))]
    later = alerts.due(NOW_NS + TOLD_WINDOW_NS)
    assert [f"instrument=I{number}.SIM1" for number in range(TOLD_MAX, TOLD_MAX + 5)] == [
        each.scope for each in later if each.code != FLOOD
    ]
    assert 5 == sum(each.count for each in [*heard, *later] if each.code == FLOOD)


def test_what_is_held_back_is_counted_once_and_told_as_the_worst_it_was():
    """However often it is looked at meanwhile, and whatever milder comes after it."""
    alerts, heard = Alerts(S), []
    for number in range(TOLD_MAX):
        heard += alerts.take(stale(f"instrument=I{number}.SIM1", severity="critical"))
    heard += alerts.take(stale("venue=SIM1", severity="critical"))
    heard += alerts.take(stale("venue=SIM2", severity="critical", after_s=1))
    for after_s in range(2, 59):
        assert [] == alerts.due(NOW_NS + after_s * S)
    assert [] == alerts.take(stale("venue=SIM1", 59))
    later = alerts.due(NOW_NS + TOLD_WINDOW_NS)
    assert [
        ("STALE_DATA", "venue=SIM1", "critical", "at 0", 2),
        ("STALE_DATA", "venue=SIM2", "critical", "at 1", 1),
    ] == [each for each in told(later) if each[0] != FLOOD]
    assert [1, 1] == [each.count for each in [*heard, *later] if each.code == FLOOD]


def test_there_is_a_bound_on_what_is_remembered():
    """What is forgotten is that which began longest ago; that it was held back has been told."""
    alerts, heard = Alerts(QUIET_S * S), []
    for number in range(OPEN_MAX + TOLD_MAX + 3):
        heard += alerts.take(stale(f"instrument=I{number}.SIM1"))
    heard += alerts.due(NOW_NS + TOLD_WINDOW_NS)
    counts = [each.count for each in heard if each.code == FLOOD]
    assert OPEN_MAX + 3 == sum(counts)
    scopes = [each.scope for each in heard if each.code != FLOOD]
    kept = range(TOLD_MAX + 3, 2 * TOLD_MAX + 3)
    assert [f"instrument=I{number}.SIM1" for number in (*range(TOLD_MAX), *kept)] == scopes


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("two\nlines\tand a tab", "two lines and a tab"),
        ("\x1b[2Jcle\x7fared\x00\x9b", "[2Jcle ared"),
        ("half of a pair \ud800", "half of a pair ?"),
        ("x" * (TEXT_MAX + 1), "x" * (TEXT_MAX - 1) + "…"),
        ("x" * TEXT_MAX, "x" * TEXT_MAX),
    ],
)
def test_a_venues_text_is_made_harmless(text, shown):
    """It goes to a terminal, a table and somebody's chat."""
    assert shown == alert("VENUE_DOWN", "venue=SIM1", "critical", text, NOW_NS).text


STEP = st.tuples(st.integers(0, 12), st.sampled_from("abc"), st.sampled_from(["warning", "critical"]))


@given(st.lists(STEP, max_size=150))
def test_no_alert_is_lost_and_none_is_told_twice(steps):
    """The counts of what is told add up to what happened; of the same one no two are told within the quiet time,
    but for one that is worse.
    """
    alerts, now_s, heard, happened = Alerts(QUIET_S * S), 0, [], {}
    for gap_s, scope, severity in steps:
        for _ in range(gap_s):
            now_s += 1
            heard += [(now_s, each) for each in alerts.due(NOW_NS + now_s * S)]
        heard += [(now_s, each) for each in alerts.take(stale(scope, now_s, severity))]
        happened[scope] = happened.get(scope, 0) + 1
    for _ in range(QUIET_S + 61):
        now_s += 1
        heard += [(now_s, each) for each in alerts.due(NOW_NS + now_s * S)]
    mine = [(at, each) for at, each in heard if each.code != FLOOD]
    for scope, count in happened.items():
        of_it = [(at, each) for at, each in mine if each.scope == scope]
        assert count == sum(each.count for _, each in of_it)
        for (before_s, before), (at_s, each) in pairwise(of_it):
            assert at_s - before_s >= QUIET_S or (before.severity, each.severity) == ("warning", "critical")
