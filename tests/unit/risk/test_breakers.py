"""Each breaker trips above its limit and not at it, once until it is armed, and a restart changes nothing of that."""

from __future__ import annotations

import os
import random
from decimal import Decimal
from statistics import median

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from risk_desk import MS, NOW_NS, S

from nautilus_ext.risk.breakers import ARMED_MAX, TRAITS, Breakers, Rule, State
from nautilus_ext.risk.halts import Halt, Place

SEED = int(os.environ.get("SEED", "0")) or random.SystemRandom().randrange(1, 10**9)
PLACE = Place("BTCUSDT.SIM1", "Trend-001", "SIM1-001")
OTHER = Place("ETHUSDT.SIM2", "Quoter-001", "SIM2-001")
DAY = 86_400 * S
MIDNIGHT = NOW_NS - NOW_NS % DAY


def rule(kind, limit, scope="node", action="halt", **what):
    return Rule(kind=kind, scope=scope, limit=Decimal(str(limit)), action=action, **what)


def said(trips):
    """By kind, scope and the value that was found."""
    return [(trip.kind, trip.scope, trip.value) for trip in trips]


def reborn(breakers, *rules):
    """What a restart makes of them: only text outlives a process."""
    return Breakers(rules, msgspec.json.decode(msgspec.json.encode(breakers.states()), type=list[State]))


class Feed:
    """One breaker and the facts of one kind, a second apart unless told."""

    def __init__(self, breakers, kind):
        self.breakers, self.kind, self.now_ns = breakers, kind, MIDNIGHT

    def __call__(self, *facts, after_s=1):
        trips = []
        for fact in facts:
            self.now_ns += round(after_s * S)
            trips += self._feed(fact)
        return [trip.value for trip in trips]

    def _feed(self, fact):
        if self.kind in ("loss", "drawdown"):
            return self.breakers.came_to("node", Decimal(str(fact)), self.now_ns)
        if self.kind in ("reject_streak", "rejection_rate"):
            return self.breakers.answered(PLACE, self.now_ns, is_rejected=bool(fact))
        if self.kind == "latency":
            return self.breakers.answered(PLACE, self.now_ns, is_rejected=False, latency_ms=Decimal(str(fact)))
        if self.kind == "executions":
            return self.breakers.executed(PLACE, self.now_ns)
        return self.breakers.measured(self.kind, "node", Decimal(str(fact)), self.now_ns)


def feed(kind, limit, **what):
    return Feed(Breakers([rule(kind, limit, **what)]), kind)


# -- one kind after the other -------------------------------------------------------------------------


def test_a_loss_counts_from_the_beginning_of_its_period():
    """Not from the highest; at the limit nothing happens; a new day begins where the last one ended."""
    told = feed("loss", 100, window_s=86_400)
    assert [] == told(0, 500, -100)
    assert [Decimal("100.01")] == told("-100.01")
    assert [] == told(-300)
    told = feed("loss", 100, window_s=86_400)
    assert [] == told(1000, 950)
    assert [] == told(850, after_s=86_400)
    assert [Decimal(101)] == told(849)


def test_a_drawdown_counts_from_the_highest():
    """Also when all in all nothing was lost; without a window from the highest ever."""
    told = feed("drawdown", 100, window_s=86_400)
    assert [] == told(0, 500, 400)
    assert [Decimal(101)] == told(399)
    told = feed("drawdown", 100)
    assert [] == told(0, 500)
    assert [Decimal(101)] == told(399, after_s=5 * 86_400)


def test_a_streak_of_rejections_ends_with_an_order_that_is_taken():
    """Or with a pause as long as the window."""
    told = feed("reject_streak", 2, window_s=10)
    assert [] == told(1, 1, 0, 1, 1)
    assert [] == told(1, after_s=10)
    assert [] == told(1)
    assert [Decimal(3)] == told(1, 1)


def test_a_rejection_rate_needs_enough_answers():
    """One rejection of one order is no rate; what is older than the window is forgotten."""
    told = feed("rejection_rate", "0.5", window_s=60, least=4)
    assert [] == told(1, 1, 1)
    assert [Decimal(1)] == told(1)
    told = feed("rejection_rate", "0.5", window_s=60, least=4)
    assert [] == told(1, 1, 0, 0)
    assert [Decimal("0.6")] == told(1)
    told = feed("rejection_rate", "0.5", window_s=60, least=4)
    assert [] == told(1, 1, 1)
    assert [] == told(0, after_s=63)
    assert [] == told(0, 1, 1)
    assert [Decimal("0.6")] == told(1)


def test_executions_within_a_window():
    """As many as the limit may be filled in it, one more disables; the window slides."""
    told = feed("executions", 3, window_s=10)
    assert [] == told(1, 1, 1)
    assert [Decimal(4)] == told(1)
    told = feed("executions", 3, window_s=10)
    assert [] == told(1, 1, 1, 1, 1, 1, after_s=3.4)
    assert [Decimal(4)] == told(1, after_s=0)


def test_each_strategy_has_a_throttle_of_its_own():
    """What one does disables no other, and the trip latches a halt of that one."""
    breakers = Breakers([rule("executions", 2, "strategy=*", window_s=10)])
    trips = []
    for number in range(3):
        trips += breakers.executed(PLACE, NOW_NS + number)
        if number:
            trips += breakers.executed(OTHER, NOW_NS + number)
    assert [("executions", "strategy=Trend-001", Decimal(3))] == said(trips)
    assert (
        Halt(
            scope="strategy=Trend-001",
            mode="halt",
            by="breaker executions",
            why=str(trips[0]),
            since_ns=NOW_NS + 2,
        )
        == trips[0].halt()
    )
    numbers = "limit=2 scope=strategy=Trend-001 would_be=3 unit=executions window_s=10 action=halt"
    assert f"BREAKER_EXECUTIONS: {numbers}" == str(trips[0])


def test_one_slow_answer_is_not_unusual():
    """The median of the last ones is; answers from before the window say nothing of now."""
    told = feed("latency", 100, window_s=60, least=3)
    assert [] == told(900, 50, 60, 900, 100)
    assert [Decimal(300)] == told(300)
    told = feed("latency", 100, window_s=60, least=3)
    assert [] == told(900, 900, 900, after_s=30)


@pytest.mark.parametrize("kind", ["shipper_lag", "sync_failure", "drop_copy"])
def test_what_is_measured_has_to_last(kind):
    """As long as the window, without one at once; a moment in between in which all is well begins it anew."""
    told = feed(kind, 5, window_s=2)
    assert [] == told(6, 6, 5, 6, 6)
    assert [Decimal(7)] == told(7)
    assert [Decimal(6)] == feed(kind, 5)(5, 6)


def test_data_and_venues_are_looked_at_by_their_names():
    """A stale feed is one of an instrument; of another kind of scope nothing is known."""
    breakers = Breakers([rule("stale_data", 5, "instrument=*.SIM1", "alert"), rule("venue_down", 5, "venue=SIM1")])
    assert [] == breakers.measured("stale_data", "instrument=BTCUSDT.SIM2", Decimal(9), NOW_NS)
    assert [] == breakers.measured("stale_data", "venue=SIM1", Decimal(9), NOW_NS)
    trips = breakers.measured("stale_data", "instrument=BTCUSDT.SIM1", Decimal(9), NOW_NS)
    trips += breakers.measured("venue_down", "venue=SIM1", Decimal(6), NOW_NS)
    assert [("stale_data", "instrument=BTCUSDT.SIM1", Decimal(9)), ("venue_down", "venue=SIM1", Decimal(6))] == said(
        trips
    )
    assert trips[0].halt() is None
    assert "venue=SIM1" == trips[1].halt().scope


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_what_is_no_number_says_nothing(number):
    """A price that is missing makes a result nobody knows: it neither trips nor disturbs."""
    told = feed("loss", 100, window_s=86_400)
    assert [] == told(0, number, -100)
    assert [Decimal(101)] == told(-101)


def test_a_clock_that_goes_back_begins_nothing_anew():
    """A machine's time is set right at midnight: the day's loss stays, and so do the answers of the minute."""
    told = feed("loss", 100, window_s=86_400)
    assert [] == told(0, -90)
    assert [] == told(-95, after_s=-3_600)
    assert [Decimal(101)] == told(-101, after_s=3_600)
    told = feed("rejection_rate", "0.5", window_s=60, least=3)
    assert [] == told(1, 1)
    assert [Decimal(1)] == told(1, after_s=-5)


def test_an_answer_as_old_as_the_window_counts_no_more():
    """To the step in which it leaves it."""
    told = feed("rejection_rate", "0.5", window_s=60, least=2)
    assert [] == told(1)
    assert [] == told(1, after_s=60)
    assert [Decimal(1)] == told(1, after_s=59)
    told = feed("rejection_rate", "0.5", window_s=60, least=3)
    assert [] == told(1)
    assert [] == told(1, after_s=30)
    assert [] == told(1, after_s=31)
    assert [Decimal(1)] == told(1)


def test_every_answer_of_one_step_counts():
    """However many there are: a window has sixty steps, not sixty answers."""
    told = feed("rejection_rate", "0.5", window_s=60, least=100)
    assert [] == told(*[1] * 99, after_s=0)
    assert [Decimal(1)] == told(1, after_s=0)


# -- once, and again ----------------------------------------------------------------------------------


def test_an_alert_arms_itself_when_it_is_over():
    """It says so once for each time."""
    told = feed("shipper_lag", 5, action="alert")
    assert [Decimal(6)] == told(6, 7, 8)
    assert [Decimal(9)] == told(1, 9, 9)


@pytest.mark.parametrize("action", ["reduce_only", "halt"])
def test_what_stops_trading_is_armed_by_a_person(action):
    """However often its limit is passed meanwhile; nobody arms it at another scope."""
    told = feed("shipper_lag", 5, action=action)
    assert [Decimal(6)] == told(6, 1, 8)
    assert [] == told.breakers.arm("venue=SIM1")
    assert [] == told(1, 8)
    assert [f"shipper_lag node {action}"] == told.breakers.arm("node")
    assert [Decimal(8)] == told(1, 8)


def test_armed_again_it_counts_from_there():
    """Whoever resumes has seen what was lost: it would trip at once and for ever otherwise."""
    told = feed("loss", 100, window_s=86_400)
    assert [Decimal(150)] == told(0, -150)
    assert ["loss node halt"] == told.breakers.arm("node")
    assert [] == told(-160, -250)
    assert [Decimal(101)] == told(-251)
    told = feed("reject_streak", 2, window_s=10)
    assert [Decimal(3)] == told(1, 1, 1)
    told.breakers.arm("node")
    assert [] == told(1, 1)
    assert [Decimal(3)] == told(1)


@pytest.mark.parametrize(
    ("kind", "limit", "what", "fact"),
    [
        ("reject_streak", 2, {"window_s": 10}, 1),
        ("rejection_rate", "0.5", {"window_s": 60, "least": 3}, 1),
        ("executions", 2, {"window_s": 10}, 1),
        ("latency", 100, {"window_s": 60, "least": 3}, 900),
        ("shipper_lag", 5, {"window_s": 2}, 6),
    ],
)
def test_armed_again_it_takes_as_many_as_the_first_time(kind, limit, what, fact):
    """Of what made it trip nothing counts again: the very next order would halt what was just resumed."""
    told = feed(kind, limit, **what)
    for _ in range(3):
        assert [] == told(fact, fact)
        assert 1 == len(told(fact))
        assert 1 == len(told.breakers.arm("node"))


def test_arming_leaves_alone_what_has_not_tripped():
    """A halt that somebody else latched is lifted: what the breakers have counted stays."""
    told = feed("reject_streak", 2, window_s=10)
    assert [] == told(1, 1)
    assert [] == told.breakers.arm("node")
    assert [Decimal(3)] == told(1)


def test_two_steps_of_one_limit():
    """Told of the first, halted at the second."""
    breakers = Breakers([rule("loss", 50, action="alert"), rule("loss", 100)])
    told = Feed(breakers, "loss")
    assert [[], [Decimal(60)], [Decimal(110)], []] == [told(result) for result in (0, -60, -110, -120)]


# -- a restart ----------------------------------------------------------------------------------------


def test_a_restart_forgets_neither_a_loss_nor_that_it_has_tripped():
    """A crash is no way around a limit; a limit that was changed goes on from what was counted."""
    loss = rule("loss", 100, window_s=86_400)
    told = Feed(Breakers([loss]), "loss")
    told(0, -90)
    told.breakers = reborn(told.breakers, msgspec.structs.replace(loss, limit=Decimal(120)))
    assert [] == told(-120)
    told.breakers = reborn(told.breakers, loss)
    assert [Decimal(121)] == told(-121)
    told.breakers = reborn(told.breakers, loss)
    assert [] == told(-200)
    assert ["loss node halt"] == told.breakers.arm("node")


KEPT = {"loss": -9, "drawdown": -9, "reject_streak": 1, "executions": 1}


@pytest.mark.parametrize(("kind", "fact"), KEPT.items())
def test_what_has_tripped_stays_so_over_a_restart(kind, fact):
    """It neither says it again nor is it armed by anyone but a person."""
    tripping = rule(kind, 1, window_s=60)
    told = Feed(Breakers([tripping]), kind)
    assert 1 == len(told(0, fact, fact))
    told.breakers = reborn(told.breakers, tripping)
    assert [] == told(fact, fact)
    assert [f"{kind} node halt"] == told.breakers.arm("node")


def test_what_a_former_version_has_written_is_read_the_same():
    """A file outlives the version that wrote it; what it leaves out has not happened."""
    written = b'{"rule":"loss node halt","scope":"node"}'
    state = msgspec.json.decode(written, type=State)
    assert written == msgspec.json.encode(state)
    assert not state.is_tripped
    assert (0, None, None, 0) == msgspec.structs.astuple(state.memory)
    assert b"{}" == msgspec.json.encode(state.memory)


def test_what_only_this_process_saw_is_not_kept():
    """How old its data is, how slow its answers are: a new process sees for itself."""
    rules = [rule(kind, 1, window_s=60, action="alert") for kind in TRAITS if kind not in KEPT]
    breakers = Breakers(rules)
    for each in rules:
        breakers.measured(each.kind, "node", Decimal(9), NOW_NS)
    assert [] == breakers.states()


def test_a_rule_that_is_gone_leaves_nothing():
    """Nor does a member that its scope meant in a former run."""
    told = feed("loss", 100, window_s=86_400)
    told(0, -150)
    assert [] == reborn(told.breakers).states()


RULES = [
    rule("loss", 20, window_s=60),
    rule("loss", 10, window_s=60, action="alert"),
    rule("drawdown", 25),
    rule("drawdown", 25, "strategy=*", "reduce_only", window_s=90),
    rule("reject_streak", 3, "strategy=*", window_s=20),
    rule("reject_streak", 4, "venue=SIM1", "alert", window_s=20),
]


def test_a_restart_at_any_moment_changes_no_answer():
    """The same facts, with and without restarts in between: the same trips, by dice."""
    print("SEED", SEED)
    dice = random.Random(SEED)
    steady, restarted, now_ns, found = Breakers(RULES), Breakers(RULES), NOW_NS, 0
    results = {"node": 0, "strategy=Trend-001": 0, "strategy=Quoter-001": 0}
    for _ in range(3_000):
        now_ns += dice.randrange(8 * S)
        if dice.random() < 0.2:
            restarted = reborn(restarted, *RULES)
        act = dice.random()
        if act < 0.5:
            scope = dice.choice([*results])
            results[scope] += dice.randint(-6, 6)
            trips = [each.came_to(scope, Decimal(results[scope]), now_ns) for each in (steady, restarted)]
        elif act < 0.95:
            place, is_rejected = dice.choice([PLACE, OTHER]), dice.random() < 0.6
            trips = [each.answered(place, now_ns, is_rejected=is_rejected) for each in (steady, restarted)]
        else:
            scope = dice.choice([*results])
            trips = [each.arm(scope) for each in (steady, restarted)]
        assert trips[0] == trips[1]
        found += len(trips[0])
    assert found > 50


# -- held against a slow reference --------------------------------------------------------------------


@given(st.lists(st.integers(0, 4_000), max_size=80), st.integers(0, 6))
def test_executions_are_those_of_a_recount(gaps_ms, limit):
    """It trips with the first execution that makes more than the limit within the window."""
    breakers, stamps, expected = Breakers([rule("executions", limit, window_s=10)]), [], None
    now_ns, found = NOW_NS, None
    for number, gap_ms in enumerate(gaps_ms):
        now_ns += gap_ms * MS
        stamps.append(now_ns)
        if expected is None and sum(stamp > now_ns - 10 * S for stamp in stamps) > limit:
            expected = number
        if breakers.executed(PLACE, now_ns):
            found = number
    assert expected == found


@given(st.lists(st.tuples(st.integers(0, 90), st.integers(-50, 50)), max_size=60), st.booleans())
def test_falls_are_those_of_a_recount(steps, is_from_peak):
    """Each period held against where it began, or its highest; looked at whenever it is deeper than before."""
    kind, now_s, seen = "drawdown" if is_from_peak else "loss", 0, []
    told = Feed(Breakers([rule(kind, 40, window_s=100, action="alert")]), kind)
    start, was_over = told.now_ns, False
    for gap_s, result in steps:
        now_s += gap_s
        seen.append((now_s, result))
        period = now_s + start // S
        of_period = [each for at, each in seen if (at + start // S) // 100 == period // 100]
        former = [each for at, each in seen if (at + start // S) // 100 < period // 100]
        began = former[-1] if former else seen[0][1]
        depth = (max(began, *of_period) if is_from_peak else began) - result
        expected = [Decimal(depth)] if depth > 40 and not was_over else []
        assert expected == told(result, after_s=gap_s)
        was_over = depth > 40


@given(st.lists(st.tuples(st.integers(0, 3_000), st.booleans()), max_size=120))
def test_a_rejection_rate_is_that_of_a_recount(steps):
    """Up to a sixtieth of the window, which leaves it as a whole."""
    told, now_ms, seen = feed("rejection_rate", "0.5", window_s=60, least=3, action="alert"), 0, []
    was_over = False
    for gap_ms, is_rejected in steps:
        now_ms += gap_ms
        seen.append((now_ms, is_rejected))
        within = [rejected for at, rejected in seen if at // 1_000 > now_ms // 1_000 - 60]
        share = Decimal(sum(within)) / len(within)
        is_over = len(within) >= 3 and share > Decimal("0.5")
        expected = [share] if is_over and not was_over else []
        assert expected == told(is_rejected, after_s=gap_ms / 1_000)
        was_over = is_over


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 300)), max_size=60))
def test_slow_answers_are_those_of_a_recount(steps):
    """The median of the last five, when the oldest of them is within the window."""
    told, now_s, seen, was_over = feed("latency", 100, window_s=60, least=5, action="alert"), 0, [], False
    for gap_s, latency in steps:
        now_s += gap_s
        seen.append((now_s, latency))
        last = seen[-5:]
        is_over = len(last) == 5 and now_s - last[0][0] < 60 and median(each for _, each in last) > 100
        expected = [Decimal(median(each for _, each in last))] if is_over and not was_over else []
        assert expected == told(latency, after_s=gap_s)
        was_over = is_over


def test_there_is_a_bound_on_breakers():
    """The one that was fed longest ago is forgotten first."""
    breakers = Breakers([rule("loss", 100, "strategy=*")])
    for number in range(ARMED_MAX + 1):
        breakers.came_to(f"strategy=S-{number}", Decimal(0), NOW_NS)
        breakers.came_to("strategy=S-0", Decimal(0), NOW_NS)
    scopes = {state.scope for state in breakers.states()}
    assert ARMED_MAX == len(scopes)
    assert {"strategy=S-1"} == {f"strategy=S-{number}" for number in range(ARMED_MAX + 1)} - scopes
