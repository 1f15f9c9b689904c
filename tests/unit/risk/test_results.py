"""What a scope has come to: what positions have realized, over all their lives, and what is open now."""

from __future__ import annotations

from decimal import Decimal

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from nautilus_ext.risk import results as module
from nautilus_ext.risk.halts import Place
from nautilus_ext.risk.results import UNKNOWN, Open, Results, Seen, Sum

PLACE = Place("BTCUSDT.SIM1", "Trend-001", "SIM1-001")
OTHER = Place("ETHUSDT.SIM2", "Quoter-001", "SIM2-001")
RATES = {"USDT": Decimal(1), "EUR": Decimal(2)}


def take(results, realized, kind="PositionChanged", place=PLACE, *, position_id="P-1", currency="USDT"):
    return results.take(place, position_id, currency, Decimal(realized), kind=kind)


def node(results, *held):
    return results.by_scope(held, RATES.get).get("node")


def reborn(results):
    """What a restart makes of it: only text outlives a process."""
    told = msgspec.json.encode((results.sums(), results.seen()))
    return Results(*msgspec.json.decode(told, type=tuple[list[Sum], list[Seen]]))


def test_what_a_position_has_realized_is_counted_once():
    """Each word of it says all it has come to; the same again changes nothing."""
    results = Results()
    assert [True, True, False, True] == [take(results, realized) for realized in (-1, 4, 4, 3)]
    assert [Sum(*PLACE, "USDT", Decimal(3))] == results.sums()
    assert [Seen("P-1", Decimal(3))] == results.seen()


def test_another_life_under_the_same_id_begins_at_nothing():
    """A netting venue has one id for ever; what was closed stays won, and of it nothing else is remembered."""
    results = Results()
    take(results, 5)
    assert take(results, 7, "PositionClosed")
    assert [] == results.seen()
    assert take(results, -1, "PositionOpened")
    assert Decimal(6) == node(results)
    assert take(results, -1, "PositionOpened")  # that it was closed was not heard
    assert Decimal(5) == node(results)


def test_what_was_open_before_the_watch_belongs_to_no_period():
    """Only what it realizes from then on; what is known of it already is not forgotten."""
    results = Results()
    results.begin("P-1", Decimal(100))
    results.begin("P-1", Decimal(300))
    assert not take(results, 100)
    assert take(results, 98)
    assert Decimal(-2) == node(results)


def test_each_scope_has_its_own_result():
    """In the base currency, sums and open positions together."""
    results = Results()
    take(results, 3)
    take(results, 10, place=OTHER, position_id="P-2", currency="EUR")
    assert {
        "node": Decimal(27),
        "venue=SIM1": Decimal(7),
        "account=SIM1-001": Decimal(7),
        "strategy=Trend-001": Decimal(7),
        "instrument=BTCUSDT.SIM1": Decimal(7),
        "venue=SIM2": Decimal(20),
        "account=SIM2-001": Decimal(20),
        "strategy=Quoter-001": Decimal(20),
        "instrument=ETHUSDT.SIM2": Decimal(20),
    } == results.by_scope([Open(PLACE, "EUR", Decimal(2))], RATES.get)


def test_half_a_result_is_none():
    """A price or a rate is missing: the scopes that it is part of are not known; 0 needs no rate."""
    results = Results()
    take(results, 3)
    for unknown in (Open(OTHER, "USDT", None), Open(OTHER, "XYZ", Decimal(1))):
        found = results.by_scope([unknown], RATES.get)
        assert all(str(UNKNOWN) == str(found[scope]) for scope in ("node", "venue=SIM2", "strategy=Quoter-001"))
        assert Decimal(3) == found["venue=SIM1"]
    assert Decimal(3) == node(results, Open(OTHER, "XYZ", Decimal(0)))


def test_a_rate_is_asked_for_once():
    """Every part of a result is valued at the same one."""
    results, asked = Results(), []
    take(results, 3)
    results.by_scope([Open(PLACE, "USDT", Decimal(1))], asked.append)
    assert ["USDT"] == asked


def test_there_is_a_bound_on_sums(monkeypatch):
    """What is beyond counts for the node only; a place that is known goes on."""
    monkeypatch.setattr(module, "SUMS_MAX", 1)
    results = Results()
    for number, place in enumerate([PLACE, OTHER, PLACE, OTHER], 1):
        take(results, number, place=place, position_id=f"P-{number}")
    assert [Sum(*PLACE, "USDT", Decimal(4)), Sum("", "", "", "USDT", Decimal(6))] == results.sums()
    assert [Decimal(10), Decimal(4)] == [results.by_scope([], RATES.get)[scope] for scope in ("node", "venue=SIM1")]
    assert "venue=SIM2" not in results.by_scope([], RATES.get)


def test_what_a_former_version_has_written_is_read_the_same():
    """A file outlives the version that wrote it."""
    written = b'[[["BTCUSDT.SIM1","Trend-001","SIM1-001","USDT","3"]],[["P-1","3"]]]'
    results = Results(*msgspec.json.decode(written, type=tuple[list[Sum], list[Seen]]))
    assert written == msgspec.json.encode((results.sums(), results.seen()))
    assert (Decimal(3), False) == (node(results), take(results, 3))


STEP = st.tuples(st.sampled_from(["P-1", "P-2"]), st.integers(-5, 5), st.booleans(), st.booleans())


@given(st.lists(STEP, max_size=60))
def test_results_are_those_of_a_recount(steps):
    """Positions that open, change and close, with restarts in between: what each has come to, of all its lives."""
    results, lives = Results(), {"P-1": [], "P-2": []}
    was_open = dict.fromkeys(lives, False)
    for position_id, realized, closes, is_restart in steps:
        kind = "PositionClosed" if closes else "PositionChanged"
        if not was_open[position_id]:
            kind = "PositionOpened"
            lives[position_id].append(0)
        was_open[position_id] = kind != "PositionClosed"
        lives[position_id][-1] = realized
        take(results, realized, kind, PLACE if position_id == "P-1" else OTHER, position_id=position_id)
        results = reborn(results) if is_restart else results
    found = results.by_scope([], RATES.get)
    assert sum(lives["P-1"]) == found.get("venue=SIM1", 0)
    assert sum(lives["P-2"]) == found.get("venue=SIM2", 0)
    assert sum(lives["P-1"] + lives["P-2"]) == found.get("node", 0)
