"""Accounts: what holds for any life of one, whatever the seed (`SEEDS=1,2,3`)."""

from __future__ import annotations

import os
import random
from decimal import Decimal
from fractions import Fraction

import msgspec
import pytest

from nautilus_ext.simulation.exchange.accounts import Account
from nautilus_ext.simulation.exchange.grid import Grid
from nautilus_ext.simulation.exchange.orders import AccountState, AccountTerms, PositionState
from nautilus_ext.simulation.listings import listing

SEEDS = [int(text) for text in os.environ.get("SEEDS", "1,2,3,4,5,6,7,8").split(",")]
SPOT, LINEAR, INVERSE = "BTCUSDT.X", "BTCUSDT-PERP.X", "BTCUSD-PERP.X"
GRIDS = {
    SPOT: Grid(listing(SPOT, "spot")),
    LINEAR: Grid(listing(LINEAR, "linear")),
    INVERSE: Grid(listing(INVERSE, "inverse", multiplier=Decimal(10), maker_fee=Decimal("-0.00025"))),
}


def account(kind: str = "MARGIN", leverage: int = 1, **starting_balances: str | int) -> Account:
    starting = {currency: Decimal(amount) for currency, amount in starting_balances.items()}
    terms = AccountTerms(account="A", kind=kind, starting_balances=starting, leverage=Decimal(leverage))
    return Account(terms, GRIDS)


def balances(of: Account) -> dict[str, tuple[Decimal, Decimal]]:
    return {each.currency: (each.total, each.locked) for each in of.state(0).balances}


class Naive:
    """A position as a school book has it: fractions, nothing rounded."""

    def __init__(self, *, inverse: bool) -> None:
        self.inverse, self.lots, self.cost, self.realized = inverse, 0, Fraction(0), Fraction(0)

    def fill(self, lots: int, value_of_lot: Fraction) -> None:
        while lots:
            step = 1 if lots > 0 else -1
            if self.lots * step < 0:
                cost_of_lot = self.cost / abs(self.lots)
                profit = (value_of_lot if step < 0 else -value_of_lot) - cost_of_lot
                self.realized += -profit if self.inverse else profit
                self.cost -= cost_of_lot
            else:
                self.cost += step * value_of_lot
            self.lots += step
            lots -= step


def value_of_lot(grid: Grid, ticks: int) -> Fraction:
    made = grid.listing
    size, price = Fraction(made.lot) * Fraction(made.multiplier), Fraction(made.tick) * ticks
    return size / price if grid.inverse else size * price


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("instrument_id", [LINEAR, INVERSE])
def test_positions_are_what_a_naive_reference_says(instrument_id, seed):
    """Random fills, lot by lot in fractions: cost and profit to 10^-20, the balance to its last digit."""
    print(f"SEEDS={seed}")
    rng, grid = random.Random(seed), GRIDS[instrument_id]
    of, reference, fees = account(USDT=10**6, BTC=1_000), Naive(inverse=grid.inverse), Decimal(0)
    start = balances(of)[grid.currency][0]
    for _ in range(150):
        side, lots, ticks = rng.choice(["BUY", "SELL"]), rng.randint(1, 40), rng.randint(50_000, 150_000)
        fees += of.settle(grid, side, lots, ticks, maker=rng.random() < 0.5, ts_ns=1)
        reference.fill(lots if side == "BUY" else -lots, value_of_lot(grid, ticks))
        position = of.position(instrument_id)
        assert reference.lots == of.position_lots(instrument_id)
        assert abs(reference.cost - Fraction(position.cost)) < Fraction(1, 10**20)
        assert abs(reference.realized - Fraction(position.realized)) < Fraction(1, 10**20)
        assert round(start + position.realized, 8) - fees == balances(of)[grid.currency][0]


@pytest.mark.parametrize("seed", SEEDS)
def test_what_one_side_gains_the_other_loses(seed):
    """Two accounts and the strangers trade with each other: fees apart nothing appears and nothing vanishes."""
    print(f"SEEDS={seed}")
    rng = random.Random(seed)
    parties = [account(USDT=10**9, BTC=10**6) for _ in range(3)]
    grids = list(GRIDS.values())
    fees: dict[str, Decimal] = {"USDT": Decimal(0), "BTC": Decimal(0)}

    def trade(grid: Grid, buyer: Account, seller: Account, lots: int, ticks: int) -> None:
        for side, party in (("BUY", buyer), ("SELL", seller)):
            fees[grid.fee_currency] += party.settle(grid, side, lots, ticks, maker=rng.random() < 0.5, ts_ns=1)

    for _ in range(400):
        buyer, seller = rng.sample(parties, 2)
        trade(rng.choice(grids), buyer, seller, rng.randint(1, 500), rng.randint(50_000, 150_000))
    for grid in grids[1:]:
        assert sum(party.position_lots(grid.instrument_id) for party in parties) == 0
        assert sum_of_profits(parties, grid, ticks=77_777) < Decimal("1E-20")
    flatten(parties, grids[1:], trade)
    for grid in grids[1:]:
        positions = [party.position(grid.instrument_id) for party in parties]
        assert all((0, 0) == (position.quantity, position.cost) for position in positions)
        assert abs(sum(position.realized for position in positions)) < Decimal("1E-20")
    totals = {name: sum(balances(party)[name][0] for party in parties) for name in fees}
    assert totals["USDT"] + fees["USDT"] == 3 * 10**9
    assert abs(totals["BTC"] + fees["BTC"] - 3 * 10**6) <= Decimal("1E-8")  # three profits, each rounded to its balance


def sum_of_profits(parties: list[Account], grid: Grid, ticks: int) -> Decimal:
    """Realized, and not realized at these ticks."""
    total = Fraction(0)
    for party in parties:
        position = party.position(grid.instrument_id)
        worth = party.position_lots(grid.instrument_id) * value_of_lot(grid, ticks)
        open_profit = worth - Fraction(position.cost)
        total += Fraction(position.realized) + (-open_profit if grid.inverse else open_profit)
    return abs(Decimal(total.numerator) / Decimal(total.denominator))


def flatten(parties: list[Account], grids: list[Grid], trade) -> None:
    for grid in grids:
        while any(party.position_lots(grid.instrument_id) for party in parties):
            longest = max(parties, key=lambda party: party.position_lots(grid.instrument_id))
            shortest = min(parties, key=lambda party: party.position_lots(grid.instrument_id))
            lots = min(longest.position_lots(grid.instrument_id), -shortest.position_lots(grid.instrument_id))
            trade(grid, shortest, longest, lots, 88_888)


@pytest.mark.parametrize("seed", SEEDS)
def test_spot_balances_never_go_below_zero(seed):
    """Orders as large as what is free, filled in crumbs at their own price: never below zero, never held beyond it."""
    print(f"SEEDS={seed}")
    rng, grid = random.Random(seed), GRIDS[SPOT]
    of, working = account("CASH", USDT=f"{rng.randint(1, 10**6)}E-4", BTC=f"{rng.randint(1, 10**6)}E-5"), {}
    for number in range(600):
        if rng.random() < 0.5:
            side, lots, ticks = rng.choice(["BUY", "SELL"]), rng.randint(1, 3_000), rng.randint(1, 3_000)
            while lots and of.refuse(grid, side, lots, ticks, reduce_only=False) is not None:
                lots //= 2
            if lots:
                of.hold(number, grid, side, lots, ticks, reduce_only=False)
                working[number] = (side, lots, ticks)
        elif working:
            number = rng.choice(list(working))  # noqa: PLW2901 - an order that works
            side, lots, ticks = working.pop(number)
            part = rng.randint(1, min(lots, 50))
            assert of.affords(grid, side, part, ticks)
            of.settle(grid, side, part, ticks, maker=rng.random() < 0.5, ts_ns=number)
            of.release(number)
            if lots > part:
                of.hold(number, grid, side, lots - part, ticks, reduce_only=False)
                working[number] = (side, lots - part, ticks)
        assert all(total >= 0 and locked >= 0 for total, locked in balances(of).values())
    for number in working:
        of.release(number)
    assert all(locked == 0 for _, locked in balances(of).values())


@pytest.mark.parametrize("seed", SEEDS)
def test_what_was_held_is_released(seed):
    """Any holds, replaced and released in any order: at the end the account is what it was."""
    print(f"SEEDS={seed}")
    rng = random.Random(seed)
    of = account(leverage=7, USDT=10**6, BTC=100)
    for grid in GRIDS.values():
        of.settle(grid, "BUY", 13, 77_777, maker=True, ts_ns=1)
    before = of.state(0)
    for _ in range(300):
        grid, side = rng.choice(list(GRIDS.values())), rng.choice(["BUY", "SELL"])
        of.hold(rng.randint(1, 30), grid, side, rng.randint(1, 99), rng.randint(50_000, 99_999), reduce_only=False)
        of.release(rng.randint(1, 30))
    assert before != of.state(0)
    for number in rng.sample(range(31), 31):
        of.release(number)
    assert before == of.state(0)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_restored_account_is_the_same_account(seed):
    """Stored as text in the middle of its life: state, positions, refusals and all that follows are the same."""
    print(f"SEEDS={seed}")
    rng = random.Random(seed)
    of, holds = account(leverage=3, USDT=10**5, BTC=10), {}

    def live(who: Account, life: random.Random, held: dict) -> None:
        for number in range(100):
            grid, side = life.choice(list(GRIDS.values())), life.choice(["BUY", "SELL"])
            lots, ticks = life.randint(1, 40), life.randint(50_000, 99_999)
            if life.random() < 0.5:
                who.hold(number, grid, side, lots, ticks, reduce_only=False)
                held[number] = (grid, side, lots, ticks)
            elif grid.instrument_id != SPOT or side == "BUY":
                who.settle(grid, side, lots, ticks, maker=life.random() < 0.5, ts_ns=number)
            who.mark(grid.instrument_id, ticks)

    live(of, rng, holds)
    state = msgspec.json.decode(msgspec.json.encode(of.state(5)), type=AccountState)
    positions = msgspec.json.decode(msgspec.json.encode(of.positions()), type=tuple[PositionState, ...])
    again = Account.restored(of.terms, GRIDS, state, positions)
    for number in holds:
        of.release(number)
    assert (of.state(5), of.positions()) == (again.state(5), again.positions())
    for number, numbers_held in holds.items():
        of.hold(number, *numbers_held, reduce_only=False)
        again.hold(number, *numbers_held, reduce_only=False)
    assert (of.state(5), of.positions()) == (again.state(5), again.positions())
    for grid in GRIDS.values():
        for who in (of, again):
            who.mark(grid.instrument_id, 66_666)
        asked = (grid, "BUY", 10**6, 99_999)
        assert of.refuse(*asked, reduce_only=False) == again.refuse(*asked, reduce_only=False)
    for who in (of, again):
        live(who, random.Random(seed), {})
    assert (of.state(9), of.positions()) == (again.state(9), again.positions())
