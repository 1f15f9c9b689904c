"""Which limits hold for an order, at what value, and where each comes from."""

from decimal import Decimal

import msgspec
import pytest

from nautilus_ext.config.risk import KINDS, Limits, Override, Ramp, Risk
from nautilus_ext.risk.facts import Listing
from nautilus_ext.risk.limits import Rulebook, expression, moment_ns
from nautilus_ext.risk.presets import PRESETS
from nautilus_ext.risk.section import section_problems

PERPETUAL = Listing(
    instrument_id="BTCUSDT-PERP.SIM3",
    venue="SIM3",
    asset="BTC",
    quote="USDT",
    canonical_id="SIM3:PERPETUAL:BTC-USDT",
)
SPOT = Listing(
    instrument_id="BTCUSDT.BINANCE_SPOT",
    venue="BINANCE_SPOT",
    asset="BTC",
    quote="USDT",
    canonical_id="BINANCE-SPOT:SPOT_PAIR:BTC-USDT",
)


def book(*, preset="none", **section):
    return Rulebook(msgspec.convert({"preset": preset, **section}, Risk, strict=False))


def positions(scopes, listing=PERPETUAL, strategy="Quoter-001", account="SIM3-001", **section):
    """Value, scope and source of each limit of a position."""
    limits = {scope: {"max_position": value} for scope, value in scopes.items()}
    found = book(limits=limits, **section).effective(listing, strategy, account)
    return [(str(each.value), each.scope, each.source) for each in found if each.key == "max_position"]


ONE_EACH = {
    "instrument=BTCUSDT-PERP.SIM3": 1,
    "asset=BTC": 2,
    "strategy=Quoter-001": 3,
    "account=SIM3-001": 4,
    "venue=SIM3": 5,
    "global": 6,
}


def test_limits_of_every_kind_of_scope_hold_together_from_the_widest_to_the_narrowest():
    """None replaces another."""
    found = positions(ONE_EACH)
    assert [(str(value), scope, f"risk.limits.{scope}") for scope, value in reversed(ONE_EACH.items())] == found
    assert set(KINDS) == {scope.partition("=")[0] for _, scope, _ in found}


@pytest.mark.parametrize("changed", [{"account": "SIM3-002"}, {"strategy": "Quoter-002"}, {"listing": SPOT}])
def test_limits_of_others_do_not_hold(changed):
    """An account's, a strategy's, an instrument's own."""
    scopes = {scope for _, scope, _ in positions(ONE_EACH, **changed)}
    assert set(ONE_EACH) > scopes >= {"global", "asset=BTC"}


@pytest.mark.parametrize(
    ("scopes", "value"),
    [
        ({"instrument=*": 1, "instrument=BTC*": 2, "instrument=BTCUSDT-PERP.SIM3": 3}, "3"),
        ({"instrument=BTCUSDT-PERP.SIM3": 3, "instrument=BTCUSDT-PERP.SIM*": 2, "instrument=*": 1}, "3"),
        ({"instrument=*.SIM3": 1, "instrument=BTC*": 2}, "1"),
        ({"instrument=BTC*": 2, "instrument=*": 1}, "2"),
        ({"instrument=SIM3:PERPETUAL:BTC-USDT": 7, "instrument=BTC*": 2}, "7"),
        ({"instrument=SIM3:*": 7}, "7"),
    ],
)
def test_within_a_kind_the_most_exact_pattern_counts(scopes, value):
    """Whatever the order in the file; the scope is the instrument, not the pattern."""
    ((found, scope, _),) = positions(scopes)
    assert (value, "instrument=BTCUSDT-PERP.SIM3") == (found, scope)


def test_the_most_exact_pattern_that_says_nothing_of_a_limit_leaves_it_to_the_next():
    """Limit by limit."""
    limits = {"instrument=BTC*": {"max_position": 2}, "instrument=BTCUSDT-PERP.SIM3": {"max_order_quantity": 1}}
    found = {each.key: str(each.value) for each in book(limits=limits).effective(PERPETUAL, "Q-1", "S-1")}
    assert {"max_position": "2", "max_order_quantity": "1"} == found


@pytest.mark.parametrize(
    "name",
    [
        "BTCUSDT.BINANCE_SPOT",
        "BINANCE-SPOT:SPOT_PAIR:BTC-USDT",
        "CRYPTO:BINANCE-SPOT:SPOT_PAIR:BTC-USDT",
        "BINANCE-SPOT:SPOT_PAIR:*",
        "CRYPTO:BINANCE-SPOT:*:BTC-USDT",
    ],
)
def test_an_instrument_is_met_by_each_of_its_names(name):
    """The asset class of a canonical id may be there or not; in a scope and in the short key."""
    assert ["1"] == [value for value, _, _ in positions({f"instrument={name}": 1}, SPOT)]
    assert ["1"] == [value for value, _, _ in positions({}, SPOT, max_position_per_instrument={name: 1})]
    assert expression(name).fullmatch("CRYPTO:BINANCE-SPOT:SPOT_PAIR:BTC-USDT") or "." in name


def test_a_pattern_is_text_but_for_its_star():
    """A dot is a dot."""
    assert [] == positions({"instrument=BTCUSDT-PERPxSIM3": 1, "instrument=BTCUSDT-PERP.SIM": 1, "venue=SIM": 1})


@pytest.mark.parametrize("kind", ["account", "strategy", "asset"])
def test_what_is_not_known_is_in_no_scope_of_its_kind(kind):
    """An order without an account is no order of an account named ""."""
    bare = msgspec.structs.replace(PERPETUAL, asset="")
    assert [] == positions({f"{kind}=*": 1}, bare, strategy="", account="")


def test_the_file_stands_over_its_preset():
    """Limit by limit; what the file does not say is the preset's."""
    found = book(preset="strict", limits={"global": {"price_collar_bps": 50}}).effective(PERPETUAL, "Q-1", "S-1")
    sources = {each.key: (each.value, each.source) for each in found if each.key != "messages"}
    assert (Decimal(50), "risk.limits.global") == sources["price_collar_bps"]
    assert ("refuse", "preset strict") == sources["self_match"]


def windows(**section):
    found = book(**section).effective(PERPETUAL, "Q-1", "S-1")
    return [(each.value.max, each.value.window_s, each.source) for each in found if each.key == "messages"]


def test_windows_of_messages_in_the_file_replace_those_of_the_preset():
    """An empty list is none at all."""
    assert [(10, 1.0, "preset strict"), (100, 60.0, "preset strict")] == windows(preset="strict")
    given = {"global": {"messages": [{"max": 3}]}}
    assert [(3, 1.0, "risk.limits.global")] == windows(preset="strict", limits=given)
    assert [] == windows(preset="strict", limits={"global": {"messages": []}})


def test_short_keys_replace_the_windows_of_their_length_in_the_preset_and_come_beside_those_of_the_file():
    """As the requirements write them."""
    assert [(100, 60.0, "preset strict"), (7, 1.0, "risk.max_orders_per_second")] == windows(
        preset="strict", max_orders_per_second=7
    )
    given = {"global": {"messages": [{"max": 3}]}}
    assert [(3, 1.0, "risk.limits.global"), (7, 1.0, "risk.max_orders_per_second")] == windows(
        preset="strict", max_orders_per_second=7, limits=given
    )


def test_the_short_key_of_exposure_is_the_limit_of_all_together():
    """`max_total_notional`."""
    (found,) = book(max_total_notional="1e7").effective(PERPETUAL, "Q-1", "S-1")
    assert ("max_exposure", Decimal(10_000_000), "global", "risk.max_total_notional") == found[:4]


def test_a_rulebook_names_all_that_is_set_and_how_often_it_was_changed():
    """Scope by scope, with the source; the preset's own among them."""
    risk = Risk(
        preset="none", limits={"global": Limits(max_position=Decimal(5)), "venue=SIM": Limits(reduce_only=True)}
    )
    changed = [*Rulebook(risk, 3).settings()]
    assert [
        ("global", "max_position", Decimal(5), "risk.limits.global"),
        ("venue=SIM", "reduce_only", True, "risk.limits.venue=SIM"),
    ] == changed
    assert (0, 3) == (Rulebook(risk).version, Rulebook(risk, 3).version)


def test_a_ramp_is_a_limit_that_knows_its_end():
    """It comes beside the limit that stays."""
    limits = {"strategy=Q*": {"max_position": 5, "ramp": {"orders": 20, "max_position": 1}}}
    found = book(limits=limits).effective(PERPETUAL, "Q-1", "S-1")
    assert [("5", None), ("1", 20)] == [(str(each.value), each.ramp and each.ramp.orders) for each in found]
    assert "risk.limits.strategy=Q*.ramp" == found[1].source


def test_an_override_lifts_one_code_of_one_scope_until_its_moment():
    """To the nanosecond."""
    until = "2026-01-31T12:00:00Z"
    override = Override(code="MAX_POSITION", scope="venue=SIM3", by="ann", why="move", until=until)
    lifting = Rulebook(Risk(overrides=[override])).lifting
    assert override == lifting("MAX_POSITION", "venue=SIM3", moment_ns(until) - 1)
    assert lifting("MAX_POSITION", "venue=SIM3", moment_ns(until)) is None
    assert lifting("MAX_POSITION", "venue=SIM1", 0) is None
    assert lifting("MAX_EXPOSURE", "venue=SIM3", 0) is None


def test_moments_keep_their_zone():
    """Noon in Zurich is eleven in Greenwich."""
    assert moment_ns("2026-01-31T12:00:00+01:00") == moment_ns("2026-01-31T11:00:00Z")
    with pytest.raises(ValueError, match="time zone"):
        moment_ns("2026-01-31T12:00:00")


def test_settings_come_from_the_file_or_the_preset_or_the_default_preset():
    """Strict refuses what nobody has limited; without a preset it is `paper`."""
    assert (True, 5_000_000_000, 1) == tuple(
        getattr(book(preset="strict"), name)
        for name in ("needs_limits", "price_age_ns_max", "approvals_recorded_every")
    )
    assert ("paper", False, "USDT") == tuple(
        getattr(Rulebook(Risk()), name) for name in ("preset", "needs_limits", "base_currency")
    )
    chosen = book(preset="strict", needs_limits=False, price_age_ms_max=1, base_currency="EUR", conversions={"USD": 2})
    assert (False, 1_000_000, "EUR", {"USD": "2"}) == (
        chosen.needs_limits,
        chosen.price_age_ns_max,
        chosen.base_currency,
        chosen.conversions,
    )


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_a_preset_is_a_section_without_a_mistake(name):
    """Each says all settings that have no default of their own, and limits nothing but in `global`."""
    preset = PRESETS[name]
    assert [] == list(section_problems(preset))
    assert {"global"} >= set(preset.limits)
    for key in ("reference", "price_age_ms_max", "needs_limits", "approvals_recorded_every"):
        assert getattr(preset, key) is not None


def test_a_ramp_may_hold_what_a_limit_of_its_name_holds():
    """Else it could not be named alike."""
    for name in Ramp.__struct_fields__:
        assert name in ("orders", "until") or name in Limits.__struct_fields__
