"""What must hold after every command, whatever came before: every feature at once, on all kinds of listings.

A ledger that knows the events only is kept beside the venue: quantity and cash are counted from it, and venues are
restored from it. The seed is printed and set by EXCHANGE_SEED.
"""

from __future__ import annotations

import os
import random
from collections import defaultdict
from decimal import Decimal, localcontext
from fractions import Fraction
from itertools import pairwise

import pytest
from venue_script import INVERSE, PERP, SPOT, a_listing, an_order, terms

from nautilus_ext.simulation.exchange.orders import OPEN, AccountChanged, Filled
from nautilus_ext.simulation.exchange.venue import Venue
from nautilus_ext.simulation.market import Quote, Step, Trade

SEED = int(os.environ.get("EXCHANGE_SEED", "30"))
RUNS, COMMANDS = 12, 200
OWNERS = "abc"
LISTINGS = (
    a_listing(PERP, multiplier=Decimal("0.1")),
    a_listing(SPOT, tick=Decimal("0.5"), lot=Decimal("0.001")),
    a_listing(INVERSE, tick=Decimal("0.5"), lot=Decimal(10), maker_fee=Decimal("-0.0001")),
)
BY_ID = {listing.instrument_id: listing for listing in LISTINGS}
FUNDS = {"USDT": Decimal(5), "BTC": Decimal("0.5"), "USD": Decimal(0)}  # soon too little: refusals are part of it
VERBS = ((0.2, "cancel"), (0.4, "modify"), (0.41, "cancel_all"), (0.42, "halt"))
POOR = {"b": {"USDT": Decimal(40), "BTC": Decimal(2), "USD": Decimal(0)}}


def by_chance(rng: random.Random, number: int, venue: Venue, *, strangers: bool) -> tuple:
    """A command as plain data, so that two venues can carry it out; mostly about an order that is open."""
    dice = rng.random()
    if venue.halted and dice < 0.3:
        return ("halt", False)
    instrument_id = rng.choice(list(BY_ID))
    if strangers and dice < 0.15:
        return ("step", tuple(quote(rng, each) for each in BY_ID), tuple(trade(rng, each) for each in BY_ID))
    who = rng.choice(OWNERS)
    mine = [each.client_order_id for each in venue.open_orders(who)]
    other = rng.choice(mine) if mine and rng.random() < 0.9 else str(number - 1)
    verb = next((verb for limit, verb in VERBS if dice < limit), "place")
    more = {
        "cancel": (who, other),
        "modify": (who, other, *changes(rng)),
        "cancel_all": (who,),
        "halt": (True,),
        "place": (who, *some_orders(rng, number, instrument_id)),
    }
    return (verb, *more[verb])


def some_orders(rng: random.Random, number: int, instrument_id: str) -> tuple:
    if rng.random() < 0.3:
        return family(rng, number, instrument_id)
    return (single(rng, str(number), instrument_id, number),)


def size(rng: random.Random, instrument_id: str) -> Decimal:
    return rng.choice((1, 2, 3, 5, 8)) * BY_ID[instrument_id].lot


def level(rng: random.Random, instrument_id: str) -> Decimal:
    return rng.randrange(95, 106) * BY_ID[instrument_id].tick


def single(rng, own_id, instrument_id, number):
    kind = rng.choice(("LIMIT", "LIMIT", "LIMIT", "MARKET", "STOP_MARKET", "STOP_LIMIT", "LIMIT_IF_TOUCHED"))
    lots = size(rng, instrument_id)
    price = f"@{level(rng, instrument_id)}" if "LIMIT" in kind else ""
    trigger = f" t={level(rng, instrument_id)}" if kind not in ("LIMIT", "MARKET") else ""
    options = ["", "reduce", "FOK"]
    if price:
        options += [
            "post",
            "IOC",
            f"GTD until={number + 1 + rng.randrange(30)}",
            f"show={min(lots, 3 * BY_ID[instrument_id].lot)}",
        ]
    side = rng.choice(("BUY", "SELL"))
    return an_order(f"{own_id} {side} {kind} {lots}{price}{trigger} {rng.choice(options)}", instrument_id)


def family(rng, number, instrument_id):
    """A bracket, or two linked orders."""
    lots, link = size(rng, instrument_id), rng.choice(("OCO", "OUO"))
    side, other = rng.choice((("BUY", "SELL"), ("SELL", "BUY")))
    low, high = sorted(level(rng, instrument_id) for _ in range(2))
    first, second, third = (f"{number}{letter}" for letter in "xyz")
    target, stop = (high, low) if other == "SELL" else (low, high)
    legs = [
        f"{second} {other} LIMIT {lots}@{target} {link}={third}",
        f"{third} {other} STOP_MARKET {lots} t={stop} {link}={second}",
    ]
    if rng.random() < 0.7:
        kind = rng.choice((f"LIMIT {lots}@{level(rng, instrument_id)}", f"MARKET {lots}"))
        legs = [f"{first} {side} {kind} OTO", *(f"{leg} parent={first} {rng.choice(('', 'reduce'))}" for leg in legs)]
    return tuple(an_order(leg, instrument_id) for leg in legs)


def changes(rng):
    listing = rng.choice(LISTINGS)
    tick, lot = listing.tick, listing.lot
    return (
        rng.choice((None, rng.randrange(1, 9) * lot)),
        rng.choice((None, rng.randrange(95, 106) * tick)),
        rng.choice((None, None, rng.randrange(95, 106) * tick)),
    )


def quote(rng, instrument_id):
    bid = rng.randrange(95, 103)
    return Quote(instrument_id, bid, bid + rng.randrange(1, 4), rng.randrange(1, 9), rng.randrange(1, 9))


def trade(rng, instrument_id):
    return Trade(instrument_id, 1, rng.randrange(1, 9), rng.random() < 0.5)


def carry_out(venue: Venue, command: tuple, ts_ns: int):
    verb, *rest = command
    if verb == "place":
        return venue.place(rest[0], rest[1:], ts_ns)
    if verb == "cancel":
        return venue.cancel(rest[0], rest[1], None, ts_ns)
    if verb == "modify":
        who, own_id, quantity, price, trigger_price = rest
        return venue.modify(who, own_id, None, quantity=quantity, price=price, trigger_price=trigger_price, ts_ns=ts_ns)
    if verb == "cancel_all":
        return venue.cancel_all(rest[0], None, None, ts_ns)
    if verb == "halt":
        return venue.set_halted(rest[0], ts_ns)
    return venue.step(Step(0, rest[0], rest[1], {}), ts_ns)


def a_new_venue() -> Venue:
    return Venue("T", LISTINGS, levels=2, seed=3)


def an_open_venue() -> Venue:
    venue = a_new_venue()
    for name in OWNERS:
        venue.open_account(terms(name, POOR.get(name, FUNDS)), 0)
    return venue


class Ledger:
    """What can be known from events alone."""

    def __init__(self) -> None:
        self.orders: dict[tuple[str, str], object] = {}
        self.fills: list = []
        self.accounts: dict[str, object] = {}
        self.positions: dict[tuple[str, str], object] = {}

    def take(self, events) -> None:
        said = [who for who, event in events if isinstance(event, AccountChanged)]
        assert len(set(said)) == len(said), "an account speaks once per command"
        for who, event in events:
            if isinstance(event, AccountChanged):
                assert event.state.account == who
                self.accounts[who] = event.state
                self.positions.update({(who, each.instrument_id): each for each in event.positions})
            else:
                self._order(who, event)

    def _order(self, who, event) -> None:
        now = event.order
        key = (who, now.client_order_id)
        before = self.orders.get(key)
        assert now.account == who
        assert (before is None) == (type(event).__name__ in ("Accepted", "Rejected")), f"{before} then {event}"
        assert before is None or before.status in OPEN, f"{key} was closed: {before} then {event}"
        filled = Decimal(0) if before is None else before.filled
        if isinstance(event, Filled):
            self.fills.append(event.fill)
            filled += event.fill.quantity
        assert filled == now.filled <= now.quantity <= now.size
        assert (now.filled == now.size) == (now.status == "FILLED")
        self.orders[key] = now

    def open(self) -> list:
        return [state for state in self.orders.values() if state.status in OPEN]

    def restored(self, counters) -> Venue:
        venue = a_new_venue()
        accounts = []
        for name in OWNERS:
            positions = [each for (who, _), each in self.positions.items() if who == name]
            accounts.append((terms(name, POOR.get(name, FUNDS)), self.accounts[name], positions))
        venue.restore(counters=counters, accounts=accounts, orders=self.open())
        return venue


def check_books(venue: Venue) -> None:
    """Never crossed; each level adds up; nobody stands before one who came earlier."""
    for matching in venue._matchings.values():
        bids, asks = matching.book.bids, matching.book.asks
        assert bids.best_ticks is None or asks.best_ticks is None or bids.best_ticks < asks.best_ticks
        for side in (bids, asks):
            for at in side.best_first():
                queue = list(at.queue)
                assert at.lots == sum(each.shown for each in queue)
                assert all(each.shown > 0 for each in queue)
                assert at.strangers == [each for each in queue if each.stranger]
                priorities = [each.priority for each in queue if not each.stranger]
                assert priorities == sorted(set(priorities))
                assert all(each.shown <= each.open and each.stands for each in queue if not each.stranger)


def check_ledger(venue: Venue, ledger: Ledger) -> None:
    """The last word of each order and account is what the venue has."""
    for name in OWNERS:
        found = venue.open_orders(name)
        assert sorted(each.client_order_id for each in found) == sorted(
            each.client_order_id for each in ledger.open() if each.account == name
        )
        for state in found:
            assert ledger.orders[name, state.client_order_id] == state
        assert (ledger.accounts[name].balances, ledger.accounts[name].margins) == (
            venue.account_state(name, 0).balances,
            venue.account_state(name, 0).margins,
        )


def check_matches(ledger: Ledger, prints) -> None:
    """Each print has one fill, or two on opposite sides that say the same; no fill is without its print."""
    by_match = defaultdict(list)
    for fill in ledger.fills:
        by_match[fill.match_id].append(fill)
    seen = {each.match_id: each for each in prints}
    assert by_match.keys() <= seen.keys()
    for match_id, fills in by_match.items():
        listing, print_ = BY_ID[fills[0].instrument_id], seen[match_id]
        assert {(print_.ticks * listing.tick, print_.lots * listing.lot)} == {
            (each.price, each.quantity) for each in fills
        }
        assert len({each.side for each in fills}) == len(fills) == len({each.account for each in fills}) <= 2
        assert len({each.maker for each in fills}) == len(fills)
        takers = [each for each in fills if not each.maker]
        assert all((each.side == "BUY") == print_.buyer_is_aggressor for each in takers)
    ids = [each.trade_id for each in ledger.fills]
    assert len(set(ids)) == len(ids)


def value(fill) -> Fraction:
    """Signed, in the settlement currency: what a buyer pays of it, or owes of an inverse contract."""
    listing = BY_ID[fill.instrument_id]
    amount = Fraction(fill.quantity) * Fraction(listing.multiplier)
    worth = amount * Fraction(fill.price) if listing.kind != "inverse" else amount / Fraction(fill.price)
    rounded = Fraction(round(worth * 10**27), 10**27)  # an inverse contract's value has no end
    return rounded if fill.side == "BUY" else -rounded


def check_cash(venue: Venue, ledger: Ledger) -> None:
    """Counted from the fills alone, each account has what it began with, and what one gains another loses."""
    everybody = defaultdict(Fraction)
    for name in OWNERS:
        funds = defaultdict(Fraction, {key: Fraction(cash) for key, cash in POOR.get(name, FUNDS).items()})
        own = [fill for fill in ledger.fills if fill.account == name]
        for fill in own:
            funds[fill.fee_currency] -= Fraction(fill.fee)
            everybody[fill.match_id, "value"] += value(fill)
            if BY_ID[fill.instrument_id].kind == "spot":
                bought = Fraction(fill.quantity) if fill.side == "BUY" else -Fraction(fill.quantity)
                funds["BTC"] += bought
                funds["USDT"] -= value(fill)
        for position in venue.positions(name):
            listing = BY_ID[position.instrument_id]
            paid = sum(value(fill) for fill in own if fill.instrument_id == position.instrument_id)
            profit = Fraction(position.cost) - paid  # what was paid beyond the cost of what is left
            assert profit * (-1 if listing.kind == "inverse" else 1) == Fraction(position.realized)
            currency = "BTC" if listing.kind == "inverse" else "USDT"
            with localcontext() as context:
                context.prec = 60
                funds[currency] += Fraction(position.realized.quantize(Decimal("1E-8")))
        for balance in venue.account_state(name, 0).balances:
            assert Fraction(balance.total) == funds[balance.currency], f"{name}: {balance}"
    pairs = defaultdict(int)
    for fill in ledger.fills:
        pairs[fill.match_id] += 1
    assert all(everybody[match_id, "value"] == 0 for match_id, count in pairs.items() if count == 2)


@pytest.mark.parametrize("run", range(RUNS))
def test_what_must_hold_holds_after_every_command(run):
    """Books, ledger, quantity and cash, with strangers; and when all is canceled nothing is held any more."""
    print(f"EXCHANGE_SEED={SEED} run={run}")
    rng = random.Random(f"{SEED}:{run}")
    venue, ledger, prints = an_open_venue(), Ledger(), []
    ledger.take(venue.take_events())
    for number in range(COMMANDS):
        carry_out(venue, by_chance(rng, number, venue, strangers=True), number + 1)
        ledger.take(venue.take_events())
        prints += venue.take_market().prints
        check_books(venue)
        check_ledger(venue, ledger)
    check_matches(ledger, prints)
    check_cash(venue, ledger)
    assert ledger.fills
    for name in OWNERS:
        venue.cancel_all(name, None, None, COMMANDS + 1)
        ledger.take(venue.take_events())
    assert not ledger.open()
    for name in OWNERS:
        assert not any(each.quantity == 0 and locked(venue, name, each) for each in venue.positions(name))
    flat = [name for name in OWNERS if not any(each.quantity for each in venue.positions(name))]
    assert all(balance.locked == 0 for name in flat for balance in venue.account_state(name, 0).balances)


def locked(venue, name, position) -> bool:
    margins = venue.account_state(name, 0).margins
    return any(each.initial for each in margins if each.instrument_id == position.instrument_id)


def test_the_same_commands_give_the_same_events():
    """Nothing but commands, steps and their moments decides: no clock, no address, no hash."""
    told = []
    for _ in range(2):
        rng, venue = random.Random(f"{SEED}:same"), an_open_venue()
        for number in range(COMMANDS):
            carry_out(venue, by_chance(rng, number, venue, strangers=True), number + 1)
        told.append((venue.take_events(), venue.take_market(), venue.counters))
    assert told[0] == told[1]


@pytest.mark.parametrize("run", range(RUNS))
def test_a_restored_venue_goes_on_as_the_original(run):
    """Restored from events alone, again and again: the same answers, events, prints and books as one that never was."""
    print(f"EXCHANGE_SEED={SEED} run={run}")
    rng = random.Random(f"{SEED}:restore:{run}")
    original, ledger = an_open_venue(), Ledger()
    ledger.take(original.take_events())
    other = ledger.restored(original.counters)
    halted = False
    for number in range(COMMANDS):
        command = by_chance(rng, number, original, strangers=False)
        halted = command[1] if command[0] == "halt" else halted
        assert carry_out(original, command, number + 1) == carry_out(other, command, number + 1)
        events = original.take_events()
        assert events == other.take_events(), f"after {command}"
        assert original.take_market().prints == other.take_market().prints
        assert [original.levels(each) for each in BY_ID] == [other.levels(each) for each in BY_ID]
        ledger.take(events)
        if rng.random() < 0.2:
            other = ledger.restored(original.counters)
            other.set_halted(halted, number + 1)
            other.take_market()
    assert ledger.fills
    for before, after in pairwise([original.counters, other.counters]):
        assert before == after
