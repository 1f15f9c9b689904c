"""Limits that change while orders come: each order is judged by one book, and what was counted before still counts."""

from __future__ import annotations

import os
import random
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from risk_desk import COIN, LISTINGS, MS, Desk, S, past_of

from nautilus_ext.config.risk import MessageLimit, Risk
from nautilus_ext.risk.halts import Halt, Halts
from nautilus_ext.risk.judge import Judge
from nautilus_ext.risk.ledger import Key
from nautilus_ext.risk.limits import Rulebook
from nautilus_ext.risk.past import order_of
from nautilus_ext.risk.verdicts import Refused
from nautilus_ext.risk.windows import Windows

SEED = int(os.environ.get("SEED", "0")) or random.randrange(1, 10**9)
STEPS = 150
NOW = 1_000 * S


def book(limits: dict[str, Any]) -> Rulebook:
    section = {"preset": "none", "conversions": {"USD": "2"}, "limits": limits}
    return Rulebook(msgspec.convert(section, Risk))


# -- no order is judged by a mix --------------------------------------------------------------------


class Crowd:
    """A judge whose limits change; beside it the list of what was sent, from which a new judge is made each time."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.desk = Desk()
        self.books = [self.some_book(most=8)]
        self.desk.judge = Judge(self.books[0])
        self.sent: list[tuple[int, Any]] = []
        self.working: dict[str, Any] = {}
        self.held: dict[Key, Decimal] = {}

    def some_book(self, most: int | None = None) -> Rulebook:
        dice = self.dice
        messages = [{"max": most or dice.randint(1, 8), "window_s": dice.choice([1, 2, 5]), "types": ["submit"]}]
        limits = {
            "messages": messages,
            "max_order_quantity": str(dice.choice([4, 6, 9])),
            "max_position": str(dice.choice([8, 15, 25])),
            "max_exposure": str(dice.choice([1_000, 2_000])),
        }
        own = {"max_position": str(dice.choice([6, 12]))} if dice.random() < 0.5 else {"min_order_quantity": "2"}
        return book({"global": limits, "strategy=S": own, "instrument=*": {"max_exposure": "900"}})

    def as_new(self, rules: Rulebook) -> Judge:
        """As a restart would make it: from what is there and what was sent, with these limits from the beginning."""
        judge = Judge(rules)
        for listing in LISTINGS.values():
            judge.ledger.know(listing)
            judge.ledger.mark(
                listing.instrument_id, self.desk.prices[listing.instrument_id], self.desk.rate(listing.quote)
            )
        for when_ns, order in self.sent:
            past = past_of(order, when_ns)
            judge.remember(past, order_of(past), LISTINGS[order.instrument_id])
        for order in self.working.values():
            judge.ledger.place(order)
        for key, amount in self.held.items():
            judge.ledger.hold("/".join(key), key, amount)
        return judge

    def step(self) -> tuple[str, list[str]]:
        """What was said of an order, and what each book alone would say, the present one last."""
        dice, desk = self.dice, self.desk
        desk.now_ns += dice.choice([0, 100, 400]) * MS
        if dice.random() < 0.25:
            self.books = [self.books[-1], self.some_book()]
            desk.judge.adopt(self.books[-1])
        if self.working and dice.random() < 0.5:
            self.end(dice.choice(list(self.working)))
        order = desk.order(dice.choice([1, -1]), dice.randint(1, 10), strategy_id=dice.choice("ST"))
        verdicts = [self.as_new(each).submit([order], [desk.sight(order)]) for each in self.books]
        said = desk.judge.submit([order], [desk.sight(order)])
        if not isinstance(said, Refused):
            self.sent.append((desk.now_ns, order))
            self.working[order.client_order_id] = order
        return text(said), [text(each) for each in verdicts]

    def end(self, name: str) -> None:
        """Filled or canceled."""
        order = self.working.pop(name)
        self.desk.ledger.remove(name)
        if self.dice.random() < 0.4:
            key = Key(order.instrument_id, order.strategy_id, order.account_id)
            self.held[key] = self.held.get(key, Decimal(0)) + order.side * order.quantity
            self.desk.ledger.hold("/".join(key), key, self.held[key])


def text(verdict: Any) -> str:
    """Without how far a window is over: a new judge keeps no more than fills it."""
    if not isinstance(verdict, Refused):
        return "approved"
    is_rate = verdict.code == "MESSAGE_RATE"
    return str(msgspec.structs.replace(verdict, value=None, would_be=None) if is_rate else verdict)


@pytest.mark.parametrize("seed", range(SEED, SEED + 6))
@pytest.mark.row(8, "one tick over")
@pytest.mark.row(12, "one tick over")
@pytest.mark.row(4, "one tick over")
def test_each_verdict_is_that_of_a_new_judge_with_the_limits_of_that_moment(seed):
    """Position, exposure, size and message windows; that the other book would often have said something else shows
    that a mix would be seen.
    """
    crowd, others = Crowd(seed), 0
    for number in range(STEPS):
        said, alone = crowd.step()
        assert alone[-1] == said, f"SEED={seed} step {number}: {alone}"
        others += alone[0] != said
    assert others > STEPS / 20


# -- windows --------------------------------------------------------------------------------------


def test_a_smaller_window_begins_with_what_was_sent_and_a_larger_one_does_not_forget_it():
    desk = Desk({"global": {"messages": [{"max": 5, "window_s": 10}]}})
    assert ["", "", ""] == [desk.buy(each) for each in (1, 2, 3)]
    desk.judge.adopt(book({"global": {"messages": [{"max": 3, "window_s": 10}]}}))
    refused = "MESSAGE_RATE: limit={} scope=global value={} would_be={} unit=messages/{}s types=submit+modify"
    assert refused.format(3, 3, 4, 10) == desk.buy(4)
    desk.judge.adopt(book({"global": {"messages": [{"max": 4, "window_s": 20}]}}))
    assert "" == desk.buy(5)
    desk.now_ns += 15 * S
    assert refused.format(4, 4, 5, 20) == desk.buy(6)


def test_a_limit_that_is_raised_knows_what_was_sent_before():
    """Also what the smaller one had no need to remember."""
    desk = Desk({"global": {"messages": [{"max": 2, "window_s": 1}]}})
    for number in range(6):
        assert not desk.buy(number + 1)
        desk.now_ns += S // 2
    desk.judge.adopt(book({"global": {"messages": [{"max": 5, "window_s": 10}]}}))
    assert desk.buy(9).startswith("MESSAGE_RATE: limit=5 scope=global value=6 would_be=7")


def test_a_limit_that_is_given_back_counts_what_came_meanwhile():
    """It is not the former window, which knows nothing of them."""
    limit = {"global": {"messages": [{"max": 2, "window_s": 10}]}}
    desk = Desk(limit)
    desk.buy(1)
    desk.judge.adopt(book({"global": {"messages": [{"max": 9, "window_s": 10}]}}))
    assert ["", "", ""] == [desk.buy(each) for each in (2, 3, 4)]
    desk.judge.adopt(book(limit))
    assert desk.buy(5).startswith("MESSAGE_RATE: limit=2 scope=global value=4 ")


@pytest.mark.parametrize("turned", [False, True])
def test_of_two_windows_of_a_scope_the_one_that_keeps_more_is_remembered(turned):
    messages = [{"max": 1, "window_s": 1}, {"max": 9, "window_s": 100}]
    desk = Desk({"global": {"messages": messages[::-1] if turned else messages}})
    for quantity in range(1, 5):
        assert desk.buy(quantity) == ""
        desk.now_ns += 2 * S
    desk.judge.adopt(book({"global": {"messages": [{"max": 4, "window_s": 100}]}}))
    assert desk.buy(5).startswith("MESSAGE_RATE: limit=4 scope=global value=4 ")


def test_windows_of_other_kinds_of_messages_say_nothing_of_each_other():
    desk = Desk({"global": {"messages": [{"max": 2, "window_s": 10, "types": ["cancel"]}]}})
    desk.buy(1)
    desk.cancel("O-1")
    desk.judge.adopt(book({"global": {"messages": [{"max": 1, "window_s": 10, "types": ["submit"]}]}}))
    assert "" == desk.buy(2)


@pytest.mark.parametrize("seed", range(SEED, SEED + 20))
def test_however_often_limits_change_a_window_holds_the_last_of_what_was_sent(seed):
    """As long as none of them is larger than the first."""
    dice, windows, sent, now_ns = random.Random(seed), Windows(), [], NOW
    limits = [MessageLimit(max=10, window_s=100.0)]
    windows.of("global", limits[0])
    for _ in range(200):
        if dice.random() < 0.3:
            windows.renew()
            limits = [
                MessageLimit(max=dice.randint(1, 10), window_s=float(dice.randint(1, 5)))
                for _ in range(dice.randint(1, 2))
            ]
        for limit in limits:
            young = sum(1 for each in sent if each > now_ns - limit.window_s * S)
            window = windows.of("global", limit)
            assert min(young, 10) == min(window.count(now_ns), 10), f"SEED={seed}"
            for count in (1, 2, 3):
                assert (young + count <= limit.max) == window.fits(now_ns, count), f"SEED={seed}"
        for window in {id(each): each for each in (windows.of("global", limit) for limit in limits)}.values():
            window.add(now_ns)
        sent.append(now_ns)
        now_ns += dice.choice([0, 0, S // 3, S])


# -- halts ------------------------------------------------------------------------------------------


def test_a_halt_that_lets_out_only_what_reduces_is_asked_with_every_order_of_its_scope():
    halt = Halt(scope="strategy=S", mode="reduce_only", by="ann", why="w", since_ns=0)
    desk = Desk()
    desk.hold(5)
    desk.judge.halts = Halts([halt])
    desk.judge.adopt(desk.judge.book)
    of = (
        "HALTED: limit=0 scope=strategy=S value=5 would_be={} unit=quantity mode=reduce_only since=1970-01-01T00:00:00Z"
    )
    assert of.format(6) + " by=ann why=w" == desk.buy(1)
    assert ["", of.format(-1) + " by=ann why=w"] == [desk.sell(3), desk.sell(3)]
    assert "" == desk.sell(2, client_order_id="last")
    assert desk.modify("last", quantity=3).startswith("HALTED: limit=0")
    assert "" == desk.buy(1, strategy_id="T", instrument_id=COIN.instrument_id)
    assert desk.reserve(1, 1).startswith("HALTED: limit=0")
    desk.judge.halts.lift("strategy=S")
    desk.judge.adopt(desk.judge.book)
    assert "" == desk.buy(1)
