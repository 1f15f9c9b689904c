"""Each finding of `doctor`, found and not found."""

import pytest
from msgspec.structs import replace

from nautilus_ext.app.doctor_rules import (
    NS_PER_DAY,
    WANTED,
    Account,
    Expiry,
    File,
    Market,
    Place,
    dangers,
    inert,
    unset,
    unwatched,
)

ALL = frozenset(limit for each in WANTED for limit in each)
PERPETUAL = Market(
    path="strategies[0]",
    strategy_id="Quoter-001",
    instrument_id="BTCUSDT-LINEAR.BYBIT",
    venue="BYBIT",
    quote="USDT",
    limited=ALL,
)
SOUND = {
    "open_check_open_only": False,
    "open_check_interval_secs": 10.0,
    "reconciliation_lookback_mins": 1440,
    "purge_closed_orders_interval_mins": 15,
    "purge_closed_positions_interval_mins": 15,
    "purge_account_events_interval_mins": 15,
}
DESK = File(
    world="live",
    preset="strict",
    base_currency="USDT",
    needs_limits=True,
    now_ns=100 * NS_PER_DAY,
    venues=(Account(path="exec_clients.BYBIT", venue="BYBIT", kind="MARGIN"),),
    markets=(PERPETUAL,),
    exec_engine=SOUND,
    on_unshipped="halt",
)


def test_nothing_is_dangerous_in_a_sound_file():
    """The ground on which each of the others changes one thing."""
    assert [] == dangers(DESK)
    assert [] == unset(DESK)


def override(days):
    until_ns = int((100 + days) * NS_PER_DAY)
    return {"overrides": (Expiry(path="risk.overrides[0]", code="MAX_POSITION", until="then", until_ns=until_ns),)}


def scope(*, is_met):
    return {"scopes": (Place(path="risk.limits.venue=BYBT", scope="venue=BYBT", is_met=is_met),)}


def market(**changes):
    return {"markets": (replace(PERPETUAL, **changes),)}


def engine(**changes):
    return {"exec_engine": {**SOUND, **changes}}


DANGERS = [
    ({"is_gated": False}, "risk.enabled", "the gate is off"),
    ({"preset": "none"}, "risk.preset", "none"),
    ({"needs_limits": False}, "risk.needs_limits", "without limits"),
    (override(8), "risk.overrides[0].until", "another 8 days"),
    (override(-1), "risk.overrides[0].until", "expired"),
    (scope(is_met=False), "risk.limits.venue=BYBT", "nothing that this file trades is in venue=BYBT"),
    (market(quote="USD"), "risk.conversions", "no rate of USD"),
    (market(quote="USD", limited=ALL - {"max_exposure"}), "risk.conversions", "no rate of USD"),
    (
        {"venues": (replace(DESK.venues[0], ignores_reduce_only=True),)},
        "exec_clients.BYBIT.use_reduce_only",
        "does not look at reduce-only",
    ),
    ({"risk_engine": {"bypass": True}}, "risk_engine.bypass", "not checked"),
    (engine(reconciliation=False), "exec_engine.reconciliation", "unknown"),
    (engine(reconciliation_lookback_mins=59), "exec_engine.reconciliation_lookback_mins", "59 minutes"),
    (engine(open_check_open_only=True), "exec_engine.open_check_open_only", "vanished"),
    (engine(open_check_interval_secs=None), "exec_engine.open_check_interval_secs", "never compared"),
    (engine(purge_closed_orders_interval_mins=None), "exec_engine.purge_closed_orders_interval_mins", "memory"),
    (engine(purge_closed_positions_interval_mins=None), "exec_engine.purge_closed_positions_interval_mins", "memory"),
    (engine(purge_account_events_interval_mins=None), "exec_engine.purge_account_events_interval_mins", "memory"),
    ({"is_mirrored": False}, "persistence.enabled", "no event is kept"),
    ({"flush": "batch"}, "persistence.flush", "killed node"),
    ({"on_unshipped": "continue"}, "persistence.on_unshipped", "trades on"),
    (market(venue="OKX"), "strategies[0]", "trades at OKX"),
    (market(is_claimed=False), "strategies[0].config.external_order_claims", "Quoter-001"),
]


@pytest.mark.parametrize(("changes", "path", "part"), DANGERS, ids=[f"{path}-{part}" for _, path, part in DANGERS])
def test_each_danger_is_found_alone_with_its_path_and_a_cure(changes, path, part):
    """One change of the sound file is one finding."""
    (found,) = dangers(replace(DESK, **changes))
    assert path == found.path
    assert part in found.what
    assert found.cure


@pytest.mark.parametrize(
    "changes",
    [
        override(7),
        scope(is_met=True),
        {"world": "backtest", "venues": (replace(DESK.venues[0], ignores_reduce_only=True),)},
        market(quote="USD") | {"converted": frozenset({"USD"})},
        market(quote=""),
        market(quote="USD", limited=ALL - {"max_exposure", "max_order_notional"}),
        {"trusts_reduce_only": False, "venues": (replace(DESK.venues[0], ignores_reduce_only=True),)},
        engine(reconciliation_lookback_mins=60),
        engine(reconciliation_lookback_mins=None),
        {"flush": "power"},
        {"preset": "paper", "on_unshipped": "continue"},
        {"world": "paper", "preset": "none", "needs_limits": False, "flush": "batch", "exec_engine": {}},
        {"world": "backtest", **market(is_claimed=False), "exec_engine": {"reconciliation": False}},
    ],
)
def test_what_is_just_within_bounds_or_of_another_world_is_no_danger(changes):
    """The other side of each rule that has one."""
    assert [] == dangers(replace(DESK, **changes))


@pytest.mark.parametrize(
    ("changes", "paths"),
    [
        ({}, ["risk.breakers", "alerts.webhook"]),
        ({"stops_itself": True}, ["alerts.webhook"]),
        ({"calls_somebody": True}, ["risk.breakers"]),
        ({"stops_itself": True, "calls_somebody": True}, []),
        ({"world": "backtest"}, []),
    ],
)
def test_a_desk_that_nothing_stops_and_nobody_hears_of_is_told_so(changes, paths):
    """No danger, for a desk may want it so; each with its cure."""
    found = unwatched(replace(DESK, **changes))
    assert paths == [each.path for each in found]
    assert all(each.cure for each in found)


def found_in(file, path):
    return [each for each in inert(file) if each.path == path]


@pytest.mark.parametrize(("kind", "is_inert"), [("MARGIN", True), ("", True), ("CASH", False), ("BETTING", False)])
def test_money_checks_are_inert_on_margin_accounts_and_maybe_where_nobody_knows(kind, is_inert):
    """Nautilus checks balances of cash accounts."""
    file = replace(DESK, venues=(replace(DESK.venues[0], kind=kind),))
    found = found_in(file, "exec_clients.BYBIT")
    assert is_inert == bool(found)
    assert all(("maybe" in each.what) == (kind == "") for each in found)
    assert all(() == each.gaps and (2, 7, 12) == each.rows for each in found)


def test_what_stands_in_for_a_check_names_where_it_is_not_set():
    """By limit, strategy and instrument; markets of other venues do not count for an account."""
    bare = replace(PERPETUAL, limited=ALL - {"max_position"})
    elsewhere = replace(bare, venue="OKX", instrument_id="BTC-USDT-SWAP.OKX")
    file = replace(DESK, markets=(bare, elsewhere))
    (found,) = found_in(file, "exec_clients.BYBIT")
    assert ("max_position: Quoter-001 in BTCUSDT-LINEAR.BYBIT",) == found.gaps
    uncounted = next(each for each in inert(file) if "sent already" in each.what)
    assert 2 == len(uncounted.gaps)


@pytest.mark.parametrize("limit", ["max_order_notional", "max_order_quantity"])
def test_one_of_two_limits_that_serve_alike_stands_in_for_a_check(limit):
    """The size of an order is limited by its value or by its quantity."""
    sizes = {"max_order_notional", "max_order_quantity"}
    file = replace(DESK, markets=(replace(PERPETUAL, limited=ALL - sizes | {limit}),))
    assert [()] == [each.gaps for each in inert(file) if "max_notional_per_order" in each.path]
    bare = replace(DESK, markets=(replace(PERPETUAL, limited=ALL - sizes),))
    (found,) = found_in(bare, "risk_engine.max_notional_per_order")
    assert ("max_order_notional or max_order_quantity: Quoter-001 in BTCUSDT-LINEAR.BYBIT",) == found.gaps


def test_a_venue_without_an_account_is_covered_by_the_gate_alone():
    """NO_ACCOUNT refuses; without the gate nothing does."""
    file = replace(DESK, **market(venue="OKX"))
    assert [()] == [each.gaps for each in inert(file) if "trades at OKX" in each.what]
    (found,) = (each for each in inert(replace(file, is_gated=False)) if "trades at OKX" in each.what)
    assert ("the gate is off",) == found.gaps
    assert [] == [each for each in inert(DESK) if "no account" in each.what]


def test_bypass_makes_all_of_them_inert_at_once():
    """Then there is one thing to say."""
    (found,) = inert(replace(DESK, risk_engine={"bypass": True}))
    assert "risk_engine.bypass" == found.path


def test_without_the_gate_nothing_is_covered():
    """Whatever the limits say."""
    assert all(each.gaps for each in inert(replace(DESK, is_gated=False)))


@pytest.mark.parametrize(
    ("limited", "missing", "is_refused"),
    [
        (ALL - {"max_order_quantity"}, (), False),
        (ALL - {"max_order_quantity", "max_order_notional"}, ("max_order_quantity or max_order_notional",), True),
        (ALL - {"max_position"}, ("max_position",), True),
        (ALL - {"messages"}, ("messages",), False),
    ],
)
def test_limits_that_are_not_set_are_named_with_what_the_gate_makes_of_it(limited, missing, is_refused):
    """One size is enough; without a size or a position the strict desk refuses."""
    found = unset(replace(DESK, markets=(replace(PERPETUAL, limited=limited),)))
    assert [missing] * bool(missing) == [each.limits for each in found]
    assert all(is_refused == each.is_refused for each in found)
    relaxed = unset(replace(DESK, needs_limits=False, markets=(replace(PERPETUAL, limited=limited),)))
    assert not any(each.is_refused for each in relaxed)
