"""What a halt refuses, that it stands until it is lifted, and that nothing else lifts it."""

from __future__ import annotations

from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from risk_desk import NOW_NS

from nautilus_ext.config.risk import Liftable
from nautilus_ext.risk.facts import Order
from nautilus_ext.risk.halts import HALTS_MAX, MEMBER_KINDS, Halt, Halts, Place, halt_scope_fault, is_within, place_of

PLACE = Place("BTCUSDT.SIM1", "Trend-001", "SIM1-001")
OTHER = Place("ETHUSDT.SIM2", "Quoter-001", "SIM2-001")
SCOPES = [
    "node",
    "venue=SIM1",
    "account=SIM1-001",
    "strategy=Trend-001",
    "instrument=BTCUSDT.SIM1",
]


def halt(scope="node", mode="halt", **what):
    return Halt(**{"scope": scope, "mode": mode, "by": "ann", "why": "a test", "since_ns": NOW_NS, **what})


@pytest.mark.parametrize("scope", SCOPES)
def test_a_halt_stops_what_is_in_its_scope(scope):
    """And nothing that is outside, except where it holds for all."""
    halts = Halts([halt(scope)])
    assert scope == halts.stopping(PLACE).scope
    assert (scope == "node") == (halts.stopping(OTHER) is not None)
    assert halts.narrowing(PLACE) is None


def test_names_are_met_whole():
    """SIM1 is not SIM10, and a member of one kind is none of another."""
    halts = Halts([halt("venue=SIM1"), halt("strategy=SIM10"), halt("instrument=BTCUSDT")])
    assert halts.stopping(Place("BTCUSDT.SIM10", "Trend-001", "SIM10-001")) is None


def test_what_is_not_known_is_in_no_scope_of_its_own():
    """An order without an account is stopped by its venue, not by the halt of an account without a name."""
    halts = Halts([halt("account=")])
    assert halts.stopping(Place("BTCUSDT.SIM1", "Trend-001")) is None


def test_an_order_is_placed_by_its_own_words():
    """Its venue stands in its instrument's name, also where that holds dots."""
    order = Order(
        client_order_id="O-1", strategy_id="S-1", instrument_id="BRK.B.NYSE", side=1, quantity=1, type="LIMIT"
    )
    assert "NYSE" == place_of(order).venue
    assert is_within(place_of(order), "venue=NYSE")
    assert not is_within(place_of(order), "account=")


def test_a_refusal_says_who_why_and_since_when():
    """In the way of all refusals: a code, then key=value."""
    one = halt("venue=SIM1", why="the fat finger")
    origin = "since=2023-11-14T22:13:20Z by=ann why=the fat finger"
    assert f"HALTED: scope=venue=SIM1 mode=halt {origin}" == str(one.refusal())
    assert f"halt scope=venue=SIM1 {origin}" == str(one)


@pytest.mark.parametrize("mode", ["halt", "reduce_only"])
def test_no_override_lifts_a_halt(mode):
    """A halt is lifted where it was latched, never block by block."""
    assert halt(mode=mode).refusal().code not in get_args(Liftable)


def test_the_first_stays():
    """Who halts again learns who did it first; the mode of a scope is a halt of its own."""
    halts = Halts()
    first = halts.latch(halt("venue=SIM1"))
    assert first is halts.latch(halt("venue=SIM1", by="ben"))
    assert "ben" == halts.latch(halt("venue=SIM1", "reduce_only", by="ben")).by
    assert [first, halt("venue=SIM1", "reduce_only", by="ben")] == list(halts.standing())


def test_only_the_same_scope_lifts():
    """The node resumed leaves a strategy halted that was halted by itself."""
    halts = Halts([halt("node"), halt("strategy=Trend-001")])
    assert [halt("node")] == halts.lift("node")
    assert [] == halts.lift("node")
    assert "strategy=Trend-001" == halts.stopping(PLACE).scope
    assert halts.stopping(OTHER) is None


def test_one_mode_is_lifted_alone():
    """From halted to reduce-only without a moment in which everything passes."""
    halts = Halts([halt("node")])
    halts.latch(halt("node", "reduce_only"))
    assert ["halt"] == [each.mode for each in halts.lift("node", "halt")]
    assert halts.stopping(PLACE) is None
    assert halts.narrowing(PLACE) is not None
    halts.latch(halt("node"))
    assert 2 == len(halts.lift("node"))
    assert 0 == len(halts)


def test_the_widest_is_named():
    """Who lifts the halt of an instrument should not find only then that its venue is halted too."""
    halts = Halts([halt("instrument=BTCUSDT.SIM1"), halt("venue=SIM1")])
    assert "venue=SIM1" == halts.stopping(PLACE).scope


@pytest.mark.parametrize("mode", ["halt", "reduce_only"])
def test_one_halt_too_many_holds_for_all(mode):
    """A halt is never forgotten for want of room."""
    halts = Halts(halt(f"instrument=I{number}.SIM1") for number in range(HALTS_MAX))
    assert halts.stopping(OTHER) is None
    latched = halts.latch(halt("venue=SIM2", mode))
    assert ("node", mode) == (latched.scope, latched.mode)
    assert f"{HALTS_MAX} halts stand already, so this one holds for all instead of venue=SIM2: a test" == latched.why
    assert latched in (halts.stopping(OTHER), halts.narrowing(OTHER))
    assert "instrument=I0.SIM1" == halts.latch(halt("instrument=I0.SIM1")).scope
    for each in ("halt", "reduce_only"):
        assert "a test" == Halts([*halts.standing()][:HALTS_MAX]).latch(halt("node", each)).why


@given(
    st.lists(
        st.tuples(st.sampled_from(["latch", "lift"]), st.sampled_from(SCOPES), st.sampled_from(["halt", "reduce_only"]))
    )
)
def test_what_stands_is_what_was_latched_and_not_lifted(steps):
    """Whatever is latched and lifted in whatever order; a restart knows the same."""
    halts, expected = Halts(), set()
    for step, scope, mode in steps:
        if step == "latch":
            halts.latch(halt(scope, mode))
            expected.add((scope, mode))
        else:
            halts.lift(scope, mode)
            expected.discard((scope, mode))
    told = msgspec.json.decode(msgspec.json.encode(halts.standing()), type=tuple[Halt, ...])
    for each in (halts, Halts(told)):
        assert expected == {(one.scope, one.mode) for one in each.standing()}
        assert any(mode == "halt" for _, mode in expected) == (each.stopping(PLACE) is not None)
        assert (("node", "halt") in expected) == (each.stopping(OTHER) is not None)


@pytest.mark.parametrize("scope", SCOPES)
def test_scopes_that_are_none_the_worse(scope):
    """One for each kind."""
    assert halt_scope_fault(scope) is None


@pytest.mark.parametrize(
    ("scope", "says"),
    [
        ("", '"" is no scope; write "node", or one of venue, account, strategy, instrument with "=" and a name'),
        ("global", 'did you mean "node"?'),
        ("Node", 'did you mean "node"?'),
        ("node=x", "is no scope"),
        ("venue", '"venue" is no scope; write "node"'),
        ("venue=", '"venue=" is no scope; write "node"'),
        ("strateg=T-1", 'did you mean "strategy=T-1"?'),
        ("asset=BTC", '"asset=BTC" is no scope'),
        ("instrument=*", '"instrument=*" stands for many: name one instrument, or "node" for all'),
        ("venue=sim1", 'is written in capitals: "venue=SIM1"'),
        ("strategy=Trend", "is no StrategyId"),
        ("instrument=BTCUSDT", "is no InstrumentId"),
        ("instrument=SIM1:SPOT_PAIR:BTC-USDT", "is a canonical id: name the InstrumentId"),
        ("venue=SIM 1", "is no name: plain ASCII without spaces"),
    ],
)
def test_a_wrong_scope_is_told_what_to_write(scope, says):
    """One message: the value, and the cure."""
    assert says in str(halt_scope_fault(scope))


def test_all_kinds_of_members_are_asked_about():
    """A kind that a halt can name and no order is held against would stop nothing."""
    assert [*MEMBER_KINDS] == list(dict.fromkeys(scope.partition("=")[0] for scope in PLACE.scopes()))[1:]
