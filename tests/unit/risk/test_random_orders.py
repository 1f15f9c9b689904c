"""Whatever happens in whatever order: no limit is passed, who gets out gets out, the ledger is what a recount says."""

from __future__ import annotations

import os
import random
from collections import Counter
from decimal import Decimal
from typing import Any

import msgspec
from recount import CLOSE, Recount, owner
from risk_desk import LISTINGS, Desk, past_of, state

from nautilus_ext.risk.facts import Order, Sight
from nautilus_ext.risk.judge import Judge
from nautilus_ext.risk.ledger import Key
from nautilus_ext.risk.steps import QUANTITY_STEP, up
from nautilus_ext.risk.verdicts import Refused

SEED = int(os.environ.get("SEED", "0")) or random.randrange(1, 10**9)
ROUNDS = int(os.environ.get("ROUNDS", "30"))
STEPS = 120
LOOKS = 0.3  # how often the sums are brought up to be looked at
ACCOUNTS = {
    "AAA.SIM": ("SIM-1", "SIM-2"),
    "AAAF.SIM": ("SIM-2",),
    "AAAUSD.INV": ("INV-1",),
    "BBB.SIM": ("SIM-1", "SIM-2"),
}
ZERO = Decimal(0)
BARRED = {"MAX_POSITION", "MAX_EXPOSURE", "NO_LIMIT", "NO_CONVERSION"}  # none of them holds back who only gets out


def limits(dice: random.Random) -> dict[str, dict[str, Any]]:
    """Some scopes, with numbers that are reached now and then."""
    found: dict[str, dict[str, Any]] = {}
    for scope in ("global", "venue=SIM", "account=*", "strategy=*", "asset=AAA", "instrument=*"):
        each = {}
        if dice.random() < 0.4:
            each["max_position"] = str(dice.choice([5, 12, 30]))
        if dice.random() < 0.4:
            each["max_exposure"] = str(dice.choice([900, 2500, 7000]))
        if each:
            found[scope] = each
    if dice.random() < 0.8:
        found.setdefault("global", {})["check_balance"] = True
    return found


class Market:
    """A judge, what it is told, and beside it what really happened."""

    def __init__(self, seed: str) -> None:
        self.dice = random.Random(seed)
        self.limits = limits(self.dice)
        self.desk = Desk(self.limits)
        self.desk.margin_accounts = {"SIM-2", "INV-1"}
        coins = self.dice.choice([1, 3, 9])
        self.desk.free = {"USDT": self.dice.choice([150, 500, 1500]), "AAA": coins, "BBB": coins}
        self.truth = Recount(LISTINGS, {"USDT": Decimal(1), "USD": Decimal(2)}, self.desk.prices)
        self.as_it_was: dict[str, Order] = {}  # orders whose change the venue has not answered, as they stand there
        self.asked: dict[str, Order] = {}  # and as they would be
        self.log: list[str] = []
        self.codes: Counter[str] = Counter()
        self.number = 0

    @property
    def judge(self) -> Judge:
        return self.desk.judge

    # -- what can happen ----------------------------------------------------------------------------

    def submit(self) -> None:
        self.judged([self.new_order()])

    def submit_list(self) -> None:
        self.number += 1
        orders = [self.new_order() for _ in range(self.dice.randint(2, 4))]
        orders = [msgspec.structs.replace(each, list_id=f"L-{self.number}") for each in orders]
        self.judged(orders)

    def get_out(self) -> None:
        """Close some of a position."""
        open_ = [(key, amount) for key, amount in self.truth.held.values() if amount]
        if open_:
            key, amount = self.dice.choice(open_)
            part = (abs(amount) * self.dice.choice([1, 1, Decimal("0.5")])).quantize(Decimal("0.01"))
            facts = {"instrument_id": key[0], "strategy_id": key[1], "account_id": key[2]}
            if part:
                self.judged([self.new_order(side=-1 if amount > 0 else 1, quantity=part, **facts)])

    def reserve(self) -> None:
        name = self.dice.choice([*self.truth.parents, "new"])
        again = self.truth.parents.get(name)
        if again is not None:
            order = msgspec.structs.replace(again.order, quantity=self.amount())
        else:
            order = self.new_order(parent_id="")
        before, measured = self.before(), self.measures()
        verdict = self.judge.reserve(order, self.sight(order))
        self.note(f"reserve {order.client_order_id} {order.side * order.quantity} {order.instrument_id}", verdict)
        if isinstance(verdict, Refused):
            self.as_before(before)
            return
        self.truth.reserve(order)
        self.within(measured)

    def release(self) -> None:
        name = self.any_of(self.truth.parents)
        if name:
            assert self.judge.release(name)
            del self.truth.parents[name]

    def fill(self) -> None:
        name = self.any_of({k: v for k, v in self.truth.orders.items() if v.quantity > 0})
        if not name:
            return
        order = self.truth.orders[name].order
        most = self.at_venue(name)
        position_id = f"{order.instrument_id}/{order.strategy_id}/{order.account_id}"
        held = self.truth.held.get(position_id, (None, ZERO))[1]
        if order.is_reduce_only:
            most = min(most, max(-held * order.side, ZERO))
        amount = (most * self.dice.choice([1, 1, Decimal("0.3")])).quantize(Decimal("0.01"))
        if not 0 < amount <= most:
            return
        self.truth.fill(name, amount, position_id)
        key, now = self.truth.held[position_id]
        left = self.truth.orders[name].quantity
        self.judge.ledger.fill(name, left)
        self.judge.ledger.hold(position_id, Key(*key), now)
        for orders in (self.as_it_was, self.asked):
            if name in orders:
                changed = orders[name]
                orders[name] = msgspec.structs.replace(
                    changed, quantity=changed.quantity - amount, filled=changed.filled + amount
                )
        if not left or self.at_venue(name) <= 0:
            self.over(name)

    def at_venue(self, name: str) -> Decimal:
        """What the venue would still fill: of a change it has not answered the smaller."""
        return self.as_it_was[name].quantity if name in self.as_it_was else self.truth.orders[name].quantity

    def cancel(self) -> None:
        name = self.any_of(self.truth.orders)
        if name:
            order = self.truth.orders[name].order
            assert self.judge.cancel(order, self.sight(order)) is None
            self.over(name)

    def over(self, name: str) -> None:
        self.judge.ledger.remove(name)
        self.truth.end(name)
        self.as_it_was.pop(name, None)
        self.asked.pop(name, None)

    def accept(self) -> None:
        name = self.any_of(self.truth.orders)
        if name:
            self.judge.ledger.accept(name)
            self.truth.settle(name)

    def tell_account(self) -> None:
        account_id = self.dice.choice(["SIM-1", "SIM-2", "INV-1"])
        self.judge.ledger.needs.told(account_id)
        self.truth.told(account_id)

    def modify(self) -> None:
        name = self.any_of({k: v for k, v in self.truth.orders.items() if k not in self.asked})
        if not name:
            return
        open_ = self.truth.orders[name]
        former = msgspec.structs.replace(open_.order, quantity=open_.quantity)
        price = former.price if former.price is None or self.dice.random() < 0.5 else self.price()
        order = msgspec.structs.replace(former, quantity=self.amount(), price=price)
        before, measured = self.before(), self.measures()
        worst = self.truth.worst(order.instrument_id, owner("account", order.account_id))
        verdict = self.judge.modify(order, self.sight(order))
        self.note(f"modify {name} {former.quantity}@{former.price} to {order.quantity}@{order.price}", verdict)
        if isinstance(verdict, Refused):
            self.as_before(before)
            return
        self.truth.place(msgspec.structs.replace(order, quantity=max(order.quantity, former.quantity)))
        self.count_need(order, worst, former)
        self.as_it_was[name], self.asked[name] = former, order
        self.within(measured)

    def answer_change(self) -> None:
        """The venue takes a change, or does not."""
        name = self.any_of(self.asked)
        if name:
            orders = self.asked if self.dice.random() < 0.6 else self.as_it_was
            order = orders[name]
            self.as_it_was.pop(name)
            self.asked.pop(name)
            if order.quantity <= 0:
                self.over(name)
                return
            self.judge.ledger.place(order)
            self.truth.place(order)

    def move_price(self) -> None:
        name = self.dice.choice(list(LISTINGS))
        price = self.dice.choice([*(Decimal(self.dice.randint(30, 300)) / 3 for _ in range(8)), None, Decimal(-7)])
        self.desk.prices[name] = price
        if self.judge.ledger.knows(name):
            self.judge.ledger.mark(name, price, self.desk.rate(LISTINGS[name].quote))

    def restart(self) -> None:
        """A new judge is told what a gate finds in the book; a change that is not answered is not known any more."""
        for name, order in self.as_it_was.items():
            self.truth.orders[name].order, self.truth.orders[name].quantity = order, order.quantity
        self.as_it_was.clear()
        self.asked.clear()
        self.desk.judge = Judge(self.judge.book)
        ledger = self.judge.ledger
        for name, listing in LISTINGS.items():
            ledger.know(listing)
            ledger.mark(name, self.desk.prices[name], self.desk.rate(listing.quote))
        for each in self.truth.orders.values():
            each.taken = ZERO
            ledger.place(msgspec.structs.replace(each.order, quantity=each.quantity))
            past = past_of(each.order, self.desk.now_ns)
            self.judge.remember(past, each.order, LISTINGS[each.order.instrument_id])
        for position_id, (key, amount) in self.truth.held.items():
            ledger.hold(position_id, Key(*key), amount)
        for each in self.truth.parents.values():
            each.quantity = up(each.quantity, QUANTITY_STEP)  # as the book has it
            each.order = msgspec.structs.replace(each.order, quantity=each.quantity)
            ledger.reserve(each.order)
        self.truth.needs.clear()

    def before(self) -> dict[str, Any] | None:
        """What the ledger has; mostly it is not asked, which would bring up the sums that are behind."""
        return state(self.judge.ledger) if self.dice.random() < LOOKS else None

    def as_before(self, before: dict[str, Any] | None) -> None:
        assert before is None or before == state(self.judge.ledger)

    def sums_that_grew(self) -> list[str]:
        """Sums that are more, when they are brought up, than the ledger had said they could be."""
        ledger = self.judge.ledger
        could_be = {name: total.value + ledger.ahead for name, total in ledger._totals.items()}
        longest = {name: coins.longest + coins.ahead for name, coins in ledger._coins.items()}
        shortest = {name: coins.shortest - coins.ahead for name, coins in ledger._coins.items()}
        ledger.settle()
        coins = ledger._coins.items()
        return [
            *(str(name) for name, total in ledger._totals.items() if total.value > could_be[name]),
            *(f"longest {name}" for name, each in coins if each.longest > longest[name]),
            *(f"shortest {name}" for name, each in coins if each.shortest < shortest[name]),
        ]

    # -- how it is judged ---------------------------------------------------------------------------

    def judged(self, orders: list[Order]) -> None:
        """All or none; none of them may reach past a limit, and who only gets out is let out."""
        before, measured = self.before(), self.measures()
        is_out = len(orders) == 1 and self.gets_out(orders[0])
        verdict = self.judge.submit(orders, [self.sight(each) for each in orders])
        self.note(
            "submit "
            + ", ".join(f"{o.client_order_id} {o.side * o.quantity} {o.instrument_id} {o.strategy_id}" for o in orders),
            verdict,
        )
        if isinstance(verdict, Refused):
            assert not (is_out and verdict.code in BARRED), verdict
            self.as_before(before)
            return
        for order in orders:
            worst = self.truth.worst(order.instrument_id, owner("account", order.account_id))
            self.truth.place(order)
            self.count_need(order, worst, None)
        self.within(measured, is_out=is_out)

    def gets_out(self, order: Order) -> bool:
        """With all that works on its side, it goes to zero at most, wherever it is counted."""
        self.truth.place(order)
        whose = (("global", ""), ("strategy", order.strategy_id), ("account", order.account_id))
        nets = [self.truth.net(order.instrument_id, owner(*each)) for each in whose]
        asset = LISTINGS[order.instrument_id].asset
        longest, shortest, unvalued = self.truth.coins(asset)
        self.truth.take_out(order.client_order_id)
        reaches = [longest if order.is_buy else -shortest] + [net[1] if order.is_buy else -net[2] for net in nets]
        return max(reaches) <= 0 and not unvalued

    def within(self, before: dict[str, tuple[Decimal | None, Decimal]], *, is_out: bool = False) -> None:
        """No limit was passed, unless prices had passed it: then it was not made worse.

        Who only gets out may, where nobody could say before how far it was.
        """
        for name, (after, limit) in self.measures().items():
            had = before[name][0]
            if after is not None and after > limit + CLOSE:
                assert had is not None or is_out, name
                assert had is None or after <= had + CLOSE, (name, limit, had, after)

    def measures(self) -> dict[str, tuple[Decimal | None, Decimal]]:
        """All that is limited, as the recount sees it."""
        found: dict[str, tuple[Decimal | None, Decimal]] = {}
        for scope, each in self.limits.items():
            kind, _, pattern = scope.partition("=")
            for member in self.members(kind, pattern):
                if "max_position" in each:
                    for name, net in self.nets(kind, member):
                        found[f"position {kind} {member} {name}"] = net, Decimal(each["max_position"])
                if "max_exposure" in each:
                    value, unvalued = self.truth.exposure(kind, member)
                    found[f"exposure {kind} {member}"] = None if unvalued else value, Decimal(each["max_exposure"])
        return found

    def members(self, kind: str, pattern: str) -> list[str]:
        names = {"strategy": ["S", "T"], "account": ["SIM-1", "SIM-2", "INV-1"], "instrument": list(LISTINGS)}
        return names[kind] if pattern == "*" else [pattern]

    def nets(self, kind: str, member: str) -> list[tuple[str, Decimal | None]]:
        if kind == "asset":
            longest, shortest, unvalued = self.truth.coins(member)
            sides = (("long", longest), ("short", -shortest))
            return [(name, None if unvalued else amount) for name, amount in sides]
        listings = LISTINGS.values()
        if kind == "venue":
            listings = [each for each in listings if each.venue == member]
        if kind == "instrument":
            listings = [LISTINGS[member]]
        found: list[tuple[str, Decimal | None]] = []
        for each in listings:
            _, longest, shortest = self.truth.net(each.instrument_id, owner(kind, member))
            found += [(f"{each.instrument_id} long", longest), (f"{each.instrument_id} short", -shortest)]
        return found

    def count_need(self, order: Order, worst: Decimal, former: Order | None) -> None:
        """What the order takes from its account, as the rules of cash and of margin are."""
        if not self.limits.get("global", {}).get("check_balance"):
            return
        listing = LISTINGS[order.instrument_id]
        growth = self.truth.worst(order.instrument_id, owner("account", order.account_id)) - worst
        if order.account_id in self.desk.margin_accounts:
            price = self.paid(order)
            if growth > 0 and listing.margin_init and price and (price > 0 or not listing.is_inverse):
                value = growth * listing.multiplier * (1 / price if listing.is_inverse else abs(price))
                self.truth.need(order.client_order_id, order.account_id, listing.margin, value * listing.margin_init)
            return
        if order.is_reduce_only or (not order.is_buy and not listing.base and growth <= 0):
            return
        amounts = []
        for each in (order, former):
            price = ZERO if each is None else self.paid(each) or ZERO
            in_coins = not order.is_buy and listing.base
            amounts.append(ZERO if each is None else each.quantity * (1 if in_coins else abs(price)))
        currency = listing.base if not order.is_buy and listing.base else listing.quote
        self.truth.need(order.client_order_id, order.account_id, currency, amounts[0] - amounts[1])

    def paid(self, order: Order) -> Decimal | None:
        market = self.desk.prices[order.instrument_id]
        if order.price is None:
            return market
        return order.price if order.is_buy or market is None else max(order.price, market)

    # -- dice ---------------------------------------------------------------------------------------

    def new_order(self, **facts: Any) -> Order:
        self.number += 1
        name = facts.pop("instrument_id", None) or self.dice.choice(list(LISTINGS))
        parent = self.any_of(self.truth.parents) if self.dice.random() < 0.3 and not facts else ""
        of_parent = {}
        if parent:
            order = self.truth.parents[parent].order
            of_parent = {"strategy_id": order.strategy_id, "side": order.side, "parent_id": parent}
            name = order.instrument_id if self.dice.random() < 0.7 else name
            of_parent["account_id"] = self.dice.choice(ACCOUNTS[name])
        made = {
            "client_order_id": f"O-{self.number}",
            "instrument_id": name,
            "strategy_id": self.dice.choice("ST"),
            "account_id": self.dice.choice(ACCOUNTS[name]),
            "side": self.dice.choice([1, -1]),
            "quantity": self.amount(),
            "is_reduce_only": self.dice.random() < 0.2,
            "type": "LIMIT",
        }
        order = Order(**{**made, **of_parent, **facts})
        return order if self.dice.random() < 0.5 else msgspec.structs.replace(order, price=self.price())

    def price(self) -> Decimal:
        return Decimal(self.dice.randint(3000, 12000)) / 100

    def amount(self) -> Decimal:
        return Decimal(self.dice.choice([1, 7, 50, 333, 1000, self.dice.randint(1, 3000)])) / 100

    def any_of(self, names: Any) -> str:
        return self.dice.choice(list(names)) if names else ""

    def sight(self, order: Order) -> Sight:
        return self.desk.sight(order)

    def note(self, text: str, verdict: Any) -> None:
        self.codes[verdict.code if isinstance(verdict, Refused) else "approved"] += 1
        self.log.append(f"{text}: {verdict if isinstance(verdict, Refused) else 'approved'}")


WEIGHTS = {
    Market.submit: 10,
    Market.submit_list: 3,
    Market.get_out: 4,
    Market.reserve: 3,
    Market.release: 1,
    Market.fill: 8,
    Market.cancel: 4,
    Market.accept: 3,
    Market.tell_account: 2,
    Market.modify: 4,
    Market.answer_change: 4,
    Market.move_price: 3,
    Market.restart: 0.4,
}


def played(seed: str) -> Market:
    """One market, looked at after every step."""
    market = Market(seed)
    for step in range(STEPS):
        action = market.dice.choices(list(WEIGHTS), WEIGHTS.values())[0]
        market.log.append(action.__name__)
        try:
            action(market)
            if market.dice.random() < LOOKS:
                assert [] == market.sums_that_grew()
                assert [] == market.truth.differences(market.judge.ledger)
        except BaseException:
            print(f"SEED={seed} limits={market.limits} step={step}", *market.log[-30:], sep="\n  ")
            raise
    return market


def test_no_order_reaches_past_a_limit_and_the_ledger_is_what_a_recount_says() -> None:
    """Orders, lists, fills, cancels, changes, parents and children, prices that move, restarts: by dice."""
    print(f"SEED={SEED} ROUNDS={ROUNDS}")
    codes: Counter[str] = Counter()
    for number in range(ROUNDS):
        market = played(f"{SEED}/{number}")
        codes += market.codes
        for name in list(market.truth.orders):
            market.over(name)
        for name in list(market.truth.parents):
            market.judge.release(name)
        for position_id, (key, _) in market.truth.held.items():
            market.judge.ledger.hold(position_id, Key(*key), ZERO)
        for account_id in ("SIM-1", "SIM-2", "INV-1"):
            market.judge.ledger.needs.told(account_id)
        assert {} == state(market.judge.ledger), "when nothing is left nothing is left, to the last digit"
    print(codes)
    assert {"approved", "MAX_POSITION", "MAX_EXPOSURE", "INSUFFICIENT_BALANCE", "NO_PRICE"} <= set(codes)
