"""The venue as the server talks to it: the model's tape, accounts, what everybody sees, restore, refusals."""

from __future__ import annotations

import time
from collections import defaultdict
from decimal import Decimal
from itertools import islice

import msgspec
import pytest
from venue_script import INVERSE, PERP, SPOT, Script, a_listing, a_step, a_venue, an_order, terms

from nautilus_ext.simulation.exchange.orders import Accepted, AccountChanged, AccountTerms, Balance, Canceled, Filled
from nautilus_ext.simulation.exchange.register import Counters
from nautilus_ext.simulation.exchange.venue import Venue
from nautilus_ext.simulation.listings import default_market
from nautilus_ext.simulation.market import Quote, Step, tape
from nautilus_ext.simulation.regimes import Regime

STEPS = 300


def the_venues(market, **given) -> list[Venue]:
    by_name = defaultdict(list)
    for listing in market.listings:
        by_name[listing.instrument_id.rpartition(".")[2]].append(listing)
    return [Venue(name, listings, **given) for name, listings in by_name.items()]


@pytest.mark.parametrize("levels", [1, 5])
def test_without_our_orders_a_venue_is_the_models_tape(levels):
    """Every quote and every trade, number for number: what is recorded from the model is what the exchange shows."""
    market = default_market(seed=5)
    venues = the_venues(market, levels=levels)
    for moment, step in enumerate(islice(tape(market), STEPS)):
        quotes, trades = {}, {}
        for venue in venues:
            venue.step(step, moment)
            changes = venue.take_market()
            quotes.update({instrument_id: venue.quote(instrument_id) for instrument_id in changes.levels})
            for each in changes.prints:
                assert each.instrument_id not in trades
                trades[each.instrument_id] = (each.ticks, each.lots, each.buyer_is_aggressor)
            assert not venue.take_events()
        assert {quote.instrument_id: quote for quote in step.quotes} == quotes
        assert {
            each.instrument_id: (each.price_ticks, each.lots, each.buyer_is_aggressor) for each in step.trades
        } == trades


def test_a_stale_venue_stands_still_and_a_halted_one_says_so():
    """Its book stays as it is; orders still trade at a stale venue and are refused at a halted one."""
    regimes = (
        Regime(kind="stale", start_s=1, seconds=1, venue="SIM1"),
        Regime(kind="halted", start_s=3, seconds=1, venue="SIM1"),
    )
    market = msgspec.structs.replace(default_market(), regimes=regimes)
    venue = the_venues(market)[0]
    instrument_id = market.listings[0].instrument_id
    venue.open_account(terms("a"), 0)
    order = an_order("1 BUY MARKET 0.001", instrument_id)
    seen, said = [], []
    for moment, step in enumerate(islice(tape(market), 50)):
        venue.step(step, moment)
        seen.append(venue.quote(instrument_id))
        said.append(venue.take_market().halted)
        if moment in (15, 35):
            refusal = venue.place("a", [msgspec.structs.replace(order, client_order_id=str(moment))], moment)
            assert (refusal.code if refusal else None) == (None if moment == 15 else "HALTED")
    assert len(set(seen[9:15])) == len(set(seen[29:40])) == 1
    assert len(set(seen[20:29])) > 1
    assert [(30, True), (40, False)] == [(at, each) for at, each in enumerate(said) if each is not None]


def test_an_account_is_opened_once_and_says_what_it_has():
    """Later terms change nothing."""
    venue = Venue("T", [a_listing()])
    venue.open_account(AccountTerms(account="a", kind="CASH", starting_balances={"USDT": Decimal(5)}), 7)
    venue.open_account(AccountTerms(account="a", kind="MARGIN", starting_balances={"USDT": Decimal(9)}), 8)
    ((who, event),) = venue.take_events()
    assert "a" == who
    assert isinstance(event, AccountChanged)
    assert (Balance("USDT", Decimal(5), Decimal(0)),) == event.state.balances
    assert event.state == venue.account_state("a", 7)


def test_an_account_speaks_once_per_command_after_everything_else():
    """What it has then: balances, and the positions that changed."""
    venue = a_venue()
    venue.place("b", [an_order("1 SELL LIMIT 2@100"), an_order("2 SELL LIMIT 2@101")], 1)
    venue.take_events()
    venue.place("a", [an_order("3 BUY MARKET 4")], 2)
    events = venue.take_events()
    assert ["AccountChanged"] * 2 == [type(event).__name__ for _, event in events[-2:]]
    assert {"a", "b"} == {who for who, event in events if isinstance(event, AccountChanged)}
    changed = {who: event for who, event in events if isinstance(event, AccountChanged)}
    (position,) = changed["a"].positions
    assert (PERP, Decimal(4), Decimal("100.5")) == (
        position.instrument_id,
        position.quantity,
        position.average_price,
    )
    assert (position,) == venue.positions("a")
    assert changed["b"].positions[0].quantity == -4


def test_a_fill_says_price_fee_and_both_sides_the_same_match():
    """Maker and taker pay their own fee; ids of trades are never the same, the match is."""
    venue = a_venue()
    venue.place("b", [an_order("1 SELL LIMIT 2@100")], 1)
    venue.place("a", [an_order("2 BUY MARKET 2")], 2)
    sold, bought = (event.fill for _, event in venue.take_events() if isinstance(event, Filled))
    assert (Decimal("0.04"), Decimal("0.1")) == (sold.fee, bought.fee)
    assert (True, False) == (sold.maker, bought.maker)
    assert sold.match_id == bought.match_id
    assert sold.trade_id != bought.trade_id
    assert ("USDT", 2) == (bought.fee_currency, bought.ts_ns)


def test_orders_that_cannot_be_paid_are_rejected_with_the_numbers():
    """Spot by balance, derivatives by margin; what stands in the book counts."""
    venue = a_venue(a_listing(SPOT), a_listing(PERP), funds={"USDT": Decimal(1_000)})
    venue.step(Step(0, (Quote(PERP, 99, 101, 99, 99), Quote(SPOT, 99, 101, 99, 99)), (), {}), 1)
    venue.place("a", [an_order("1 BUY LIMIT 5@90", SPOT)], 2)
    venue.place("a", [an_order("2 BUY LIMIT 7@90", SPOT)], 3)
    venue.place("a", [an_order("3 SELL MARKET 1", SPOT)], 4)
    venue.place("a", [an_order("4 BUY MARKET 5000", PERP)], 5)
    venue.place("a", [an_order("5 SELL LIMIT 2000@101", PERP)], 5)
    reasons = {
        event.order.client_order_id: event.order.reason for _, event in venue.take_events() if hasattr(event, "order")
    }
    assert "" == reasons["1"]
    assert reasons["2"] == "INSUFFICIENT_BALANCE: need=630.315 free=549.775 unit=USDT"
    assert reasons["4"].startswith("NO_LIQUIDITY: ")
    assert reasons["3"] == "INSUFFICIENT_BALANCE: need=1 free=0 unit=BTC"
    assert reasons["5"].startswith("INSUFFICIENT_MARGIN: need=")


def test_a_bracket_needs_what_its_larger_leg_needs():
    """Of target and stop only one can fill: who owns 5 can have both for 5, and either of them fills."""
    for last, filled in (("step 120*9 121*9", "2"), ("step 80*9 81*9", "3")):
        script = Script(a_venue(a_listing(SPOT), accounts="a", funds={"USDT": Decimal(600)}), SPOT)
        script.run("step 99*9 100*9")
        legs = "2 SELL LIMIT 5@110 parent=1 OUO=3 reduce; 3 SELL STOP_MARKET 5 t=90 parent=1 OUO=2 reduce"
        script.run(f"a place 1 BUY MARKET 5; {legs}")
        assert (Balance("BTC", Decimal(5), Decimal(5)),) == script.venue.account_state("a", 9).balances[:1]
        assert any(line.startswith(f"a filled {filled} 5@") for line in script.run(last))
        assert not script.venue.open_orders("a")
        assert (Balance("BTC", Decimal(0), Decimal(0)),) == script.venue.account_state("a", 9).balances[:1]


def test_linked_orders_hold_what_the_largest_of_them_needs():
    """And when that one goes, what the next one needs."""
    script = Script(a_venue(a_listing(SPOT), accounts="a", funds={"BTC": Decimal(10)}), SPOT)
    script.run("a place 1 SELL LIMIT 3@100 OUO=2; 2 SELL LIMIT 7@90 OUO=1")
    assert Decimal(7) == script.venue.account_state("a", 9).balances[0].locked
    script.run("a modify 2 q=1")
    assert Decimal(3) == script.venue.account_state("a", 9).balances[0].locked
    script.run("a modify 1 q=9")
    assert Decimal(9) == script.venue.account_state("a", 9).balances[0].locked
    assert ["refused INSUFFICIENT_BALANCE"] == script.run("a modify 1 q=11")
    assert Decimal(9) == script.venue.account_state("a", 9).balances[0].locked
    script.run("a cancel 1")
    assert Decimal(0) == script.venue.account_state("a", 9).balances[0].locked


def test_an_order_whose_trigger_is_reached_without_funds_is_canceled():
    """Conditional orders hold nothing: they are judged when they begin to work."""
    script = Script(a_venue(a_listing(SPOT), accounts="a", funds={"USDT": Decimal(600)}), SPOT)
    script.run("step 99*9 100*9")
    assert ["a accepted 1"] == script.run("a place 1 SELL STOP_MARKET 5 t=90")
    assert Decimal(0) == script.venue.account_state("a", 9).balances[0].locked
    assert ["a canceled 1 INSUFFICIENT_BALANCE"] == script.run("step 80*9 81*9")


def test_an_order_that_a_loss_has_made_unpayable_is_canceled_when_its_turn_comes():
    """A derivative's loss may take what a spot order held: no balance that pays goes below zero."""
    venue = a_venue(a_listing(SPOT), a_listing(PERP), funds={"USDT": Decimal(1_000), "BTC": Decimal(9)})
    spot, perp = Script(venue, SPOT), Script(venue, PERP)
    perp.run("step 99*9 100*9")
    perp.run("a place 1 BUY MARKET 9")
    spot.run("a place 2 BUY LIMIT 9@90")
    spot.run("c place 3 BUY LIMIT 9@80")
    perp.run("step 50*9 51*9")
    perp.run("a place 4 SELL MARKET 9")
    assert [
        "b accepted 5",
        "a canceled 2 INSUFFICIENT_BALANCE",
        "c filled 3 9@80 maker",
        "b filled 5 9@80 taker",
    ] == spot.run("b place 5 SELL MARKET 9")


def test_what_everybody_sees_is_what_changed_since_it_was_asked_for():
    """Changed levels with the lots that are there now, 0 for gone; prints; the hidden part is in none of them."""
    script = Script()
    script.run("step 99*5 101*7")
    assert {PERP: ({99: 5}, {101: 7})} == script.venue.take_market().levels
    assert {} == script.venue.take_market().levels
    script.run("a place 1 SELL LIMIT 9@100 show=2")
    script.run("b place 2 BUY LIMIT 3@100")
    changes = script.venue.take_market()
    assert {PERP: ({}, {100: 1})} == changes.levels
    assert [(100, 2, True), (100, 1, True)] == [
        (each.ticks, each.lots, each.buyer_is_aggressor) for each in changes.prints
    ]
    assert "bids 5@99 asks 1@100 7@101" == script.book()
    script.run("a cancel 1")
    assert {PERP: ({}, {100: 0})} == script.venue.take_market().levels
    assert Quote(PERP, 99, 101, 5, 7) == script.venue.quote(PERP)
    assert (((99, 5),), ((101, 7),)) == script.venue.levels(PERP, 1)


def test_an_empty_side_is_quoted_with_nothing():
    """0 lots say that nobody is there."""
    assert Quote(PERP, 0, 0, 0, 0) == a_venue().quote(PERP)


def test_orders_are_found_by_venue_order_id_first():
    """A venue order id decides; one of somebody else, or one that is none, finds nothing."""
    venue = a_venue()
    venue.place("a", [an_order("1 BUY LIMIT 5@90")], 1)
    state = venue.order("a", "1")
    assert state is not None
    assert (state,) == venue.open_orders("a")
    assert () == venue.open_orders("b")
    for wrong in ("T-99", "X-1", "", "T-", "-1", "T-1x"):
        refusal = venue.cancel("a", "1", wrong, 2)
        assert "UNKNOWN_ORDER" == (refusal and refusal.code)
    assert "UNKNOWN_ORDER" == venue.cancel("b", "1", state.venue_order_id, 2).code
    assert venue.cancel("a", "whatever", state.venue_order_id, 2) is None
    assert venue.order("a", "1") is None


def test_an_unknown_instrument_is_refused():
    """By name."""
    refusal = a_venue().place("a", [an_order("1 BUY LIMIT 5@90", SPOT)], 1)
    assert ("UNKNOWN_INSTRUMENT", "BTCUSDT.T is not listed at T") == (refusal.code, refusal.text)


def test_an_inverse_contract_is_bought_for_an_amount_of_its_quote_currency():
    """One contract of 10 US dollars: 95 of them are 9."""
    script = Script(a_venue(a_listing(INVERSE, multiplier=Decimal(10))), INVERSE)
    script.run("step 99*50 101*50")
    assert "a filled 1 9@101 taker" in script.run("a place 1 BUY MARKET 95 quote")


def test_a_restored_venue_has_its_orders_in_their_queue_with_what_they_show():
    """Places, hidden parts, legs, triggers, holds, numbers: then it goes on as before."""
    script = Script()
    script.run("a place 1 SELL LIMIT 9@100 show=2")
    script.run("b place 2 SELL LIMIT 3@100")
    script.run("c place 3 BUY LIMIT 1@100")
    script.run("b place 4 BUY LIMIT 5@90; 5 SELL LIMIT 5@110 parent=4 OCO=6; 6 SELL STOP_MARKET 5 t=80 parent=4 OCO=5")
    script.run("a place 7 BUY STOP_LIMIT 5@110 t=105")
    old = script.venue
    new = restored(old, "abc")
    other = Script(new)
    assert [old.open_orders(name) for name in "abc"] == [new.open_orders(name) for name in "abc"]
    assert [old.account_state(name, 5) for name in "abc"] == [new.account_state(name, 5) for name in "abc"]
    for command in ("c place 8 BUY MARKET 5", "c place 9 SELL LIMIT 5@90", "c place 10 BUY LIMIT 50@110"):
        assert script.run(command) == other.run(command)
    assert old.counters == new.counters != Counters()


def test_a_restored_venue_gets_its_strangers_back_from_the_last_quotes():
    """Its market is there at once: a stop does not take our own orders for the market, and nothing trades by itself."""
    script = Script()
    script.run("step 99*5 101*5")
    script.run("a place 1 BUY STOP_MARKET 2 t=105")
    script.run("b place 2 SELL LIMIT 2@106; 3 BUY LIMIT 2@100")
    new = Script(restored(script.venue, "abc", [Quote(PERP, 99, 101, 5, 5)]))
    assert "bids 2@100 5@99 asks 5@101 2@106" == new.book()
    assert ["b canceled 3"] == new.run("b cancel 3")
    assert ["a filled 1 2@105 taker"] == new.run("step 103*5 105*5")


def test_a_restored_venue_without_quotes_waits_for_the_market_before_a_trigger_fires():
    """An order that expired while nobody was there changes a book in which only our own orders stand yet."""
    script = Script(a_venue(a_listing(), a_listing(SPOT)))
    script.run("step 99*5 101*5")
    script.run("a place 1 BUY STOP_MARKET 2 t=105")
    script.run("b place 2 SELL LIMIT 2@106; 3 SELL LIMIT 2@106 GTD until=50")
    new = Script(restored(script.venue, "abc", listings=(a_listing(SPOT), a_listing())))
    new.ts_ns = 60
    both = (Quote(SPOT, 99, 101, 5, 5), Quote(PERP, 99, 101, 5, 5))
    new.venue.step(Step(0, both, (), {}), 61)
    assert ["b expired 3"] == new.run("c cancel_all")


def test_a_venue_restored_while_halted_fires_what_was_reached_meanwhile_when_it_opens():
    """As the one that was never down."""
    script = Script()
    for command in ("b place 1 BUY LIMIT 1@99; 2 BUY LIMIT 1@90", "a place 3 SELL STOP_MARKET 1 t=95", "halt"):
        script.run(command)
    assert ["b canceled 1"] == script.run("b cancel 1")
    new = Script(restored(script.venue, "abc"))
    assert [] == new.run("halt")
    assert ["b filled 2 1@90 maker", "a filled 3 1@90 taker"] == new.run("open") == script.run("open")[:2]


def restored(old: Venue, accounts: str, quotes=(), listings=()) -> Venue:
    new = Venue("T", listings or [a_listing()], levels=1)
    known = [(terms(name), old.account_state(name, 0), old.positions(name)) for name in accounts]
    orders = [order for name in accounts for order in old.open_orders(name)]
    new.restore(counters=old.counters, accounts=known, orders=orders, quotes=quotes)
    return new


def test_what_has_expired_takes_no_part_in_the_command_of_that_moment():
    """Also when nothing else happened since; and the account says so once."""
    venue = a_venue()
    venue.place("a", [an_order("1 BUY LIMIT 5@90 GTD until=50"), an_order("2 BUY LIMIT 5@90 GTD until=40")], 1)
    venue.take_events()
    venue.expire(39)
    assert [] == venue.take_events()
    assert "UNKNOWN_ORDER" == venue.cancel("a", "1", None, 60).code
    kinds = [(type(event).__name__, getattr(event, "order", None)) for _, event in venue.take_events()]
    assert ["2", "1", None] == [order and order.client_order_id for _, order in kinds]
    assert ["Expired", "Expired", "AccountChanged"] == [kind for kind, _ in kinds]


def test_a_thousand_waiting_stops_cost_a_step_nothing_that_counts():
    """They are looked up, not walked through: 5,000 of them make a step less than 5 times as long."""

    def seconds(stops: int) -> float:
        venue = a_venue(accounts="a")
        venue.step(a_step("990*5 1010*5"), 1)
        for number in range(stops):
            venue.place("a", [an_order(f"{number} BUY STOP_MARKET 1 t={5000 + number}")], 2)
        begin = time.process_time()
        for number in range(200):
            venue.step(a_step(f"{990 + number % 5}*5 {1010 + number % 5}*5"), 3)
        return time.process_time() - begin

    assert seconds(5_000) < 5 * seconds(1)


def test_events_carry_the_moment_of_their_command():
    """Accepted then, last changed now."""
    venue = a_venue()
    venue.place("a", [an_order("1 BUY LIMIT 5@90")], 11)
    venue.cancel("a", "1", None, 22)
    accepted, canceled = (event.order for _, event in venue.take_events() if isinstance(event, Accepted | Canceled))
    assert (11, 11) == (accepted.ts_accepted_ns, accepted.ts_last_ns)
    assert (11, 22) == (canceled.ts_accepted_ns, canceled.ts_last_ns)
    assert ("", "CANCELED") == (canceled.reason, canceled.status)


def test_a_poor_account_cannot_spend_what_its_orders_hold():
    """Over a long day of buying and selling at spot, nothing is ever below zero or held twice."""
    script = Script(a_venue(a_listing(SPOT), accounts="ab", funds={"USDT": Decimal(300), "BTC": Decimal(3)}), SPOT)
    for number in range(300):
        who, side = "ab"[number % 2], ("BUY", "SELL")[number % 3 == 0]
        kind = "MARKET 2" if number % 5 == 0 else f"LIMIT 2@{95 + number * 7 % 11}"
        script.run(f"{who} place {number} {side} {kind}")
        if number % 4 == 0:
            script.run(f"step {96 + number % 7}*3 {98 + number % 7}*3")
        for name in "ab":
            assert all(0 <= each.locked <= each.total for each in script.venue.account_state(name, 0).balances)
