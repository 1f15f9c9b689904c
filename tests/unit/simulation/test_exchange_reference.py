"""The matching beside a naive one: a plain list that is searched from end to end for each trade.

Both carry out the same commands, written as text; what they say must be the same, line by line. The seed of the long
runs is printed and set by EXCHANGE_SEED.
"""

from __future__ import annotations

import os
import random
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st
from venue_script import Script, a_step, an_order

SEED = int(os.environ.get("EXCHANGE_SEED", "20"))
RUNS, COMMANDS = 30, 150
OWNERS = "abc"


@dataclass
class Entry:
    """An order of the naive exchange; strangers have the owner ""."""

    owner: str
    id: str
    buy: bool
    open: int
    price: int | None
    filled: int = 0
    kind: str = "LIMIT"
    tif: str = "GTC"
    post: bool = False
    display: int = 0
    trigger: int | None = None
    shown: int = 0
    time: int = 0
    number: int = 0

    def accepts(self, price: int) -> bool:
        return self.price is None or (price <= self.price if self.buy else price >= self.price)

    def next_shown(self) -> int:
        return min(self.display, self.open) if self.display else self.open


class Naive:
    """As short as it can be; it knows nothing about how the real one works."""

    def __init__(self) -> None:
        self.book: list[Entry] = []
        self.stops: list[Entry] = []
        self.trades: list[int] = []
        self.time = 0
        self.lines: list[str] = []

    def run(self, command: str) -> list[str]:
        self.lines = []
        who, _, rest = command.partition(" ")
        verb, _, what = rest.partition(" ")
        if who == "step":
            self.step(a_step(rest))
        elif verb == "place":
            self.place(who, what)
        elif verb == "modify":
            self.modify(who, *what.split())
        else:
            self.cancel(who, what)
        while self.fire():
            pass
        return self.lines

    def say(self, entry: Entry, text: str, more: str = "") -> None:
        if entry.owner:
            self.lines.append(f"{entry.owner} {text} {entry.id}{more}")

    def tick(self) -> int:
        self.time += 1
        return self.time

    # -- commands -----------------------------------------------------------------------------------

    def place(self, owner: str, text: str) -> None:
        new = an_order(text)
        price = None if new.price is None else int(new.price)
        entry = Entry(owner, new.client_order_id, new.side == "BUY", int(new.quantity), price)
        entry.kind, entry.tif, entry.post, entry.number = new.type, new.time_in_force, new.post_only, self.tick()
        entry.display = int(new.display_quantity or 0)
        entry.trigger = None if new.trigger_price is None else int(new.trigger_price)
        wrong = self.wrong(entry)
        if wrong:
            return self.say(entry, "rejected", f" {wrong}")
        self.say(entry, "accepted")
        if entry.trigger is not None:
            return self.stops.append(entry)
        return self.work(entry)

    def wrong(self, entry: Entry) -> str:
        if entry.trigger is not None:
            return "TRIGGER_IN_MARKET" if self.reached(entry, []) else ""
        return self.wrong_now(entry)

    def wrong_now(self, entry: Entry) -> str:
        if entry.post and self.across(entry):
            return "POST_ONLY_WOULD_TAKE"
        if entry.price is None and not any(other.owner != entry.owner for other in self.across(entry)):
            return "NO_LIQUIDITY"
        return ""

    def find(self, owner: str, own_id: str) -> Entry | None:
        return next((each for each in self.book + self.stops if (each.owner, each.id) == (owner, own_id)), None)

    def cancel(self, owner: str, own_id: str) -> None:
        entry = self.find(owner, own_id)
        if entry is None:
            self.lines.append("refused UNKNOWN_ORDER")
        else:
            self.end(entry, "")

    def end(self, entry: Entry, reason: str) -> None:
        for where in (self.book, self.stops):
            if entry in where:
                where.remove(entry)
        self.say(entry, "canceled", f" {reason}".rstrip())

    def modify(self, owner: str, own_id: str, *changes: str) -> None:
        entry = self.find(owner, own_id)
        if entry is None:
            return self.lines.append("refused UNKNOWN_ORDER")
        asked = {key: int(value) for key, value in (change.split("=") for change in changes)}
        before = (entry.open, entry.price, entry.trigger)
        quantity = asked.get("q", entry.open + entry.filled)
        after = (quantity - entry.filled, asked.get("p", entry.price), entry.trigger)
        if ("p" in asked and entry.price is None) or after[0] <= 0 or ("q" in asked and entry.display > quantity):
            return self.lines.append("refused BAD_ORDER")
        if before == after:
            return self.lines.append("refused NO_CHANGE")
        entry.open, entry.price, entry.trigger = after
        if after[0] < before[0] and after[1:] == before[1:]:
            entry.shown = min(entry.shown, entry.open)
            return self.say_updated(entry)
        wrong = self.wrong(entry) if entry in self.stops else self.wrong_now(entry)
        if wrong:
            entry.open, entry.price, entry.trigger = before
            return self.lines.append(f"refused {wrong}")
        self.say_updated(entry)
        if entry in self.book:
            self.book.remove(entry)
            self.work(entry)
        return None

    def say_updated(self, entry: Entry) -> None:
        shape = f" q={entry.open + entry.filled}{'' if entry.price is None else f' p={entry.price}'}"
        waiting = entry in self.stops or entry.kind not in ("LIMIT", "MARKET")
        self.say(entry, "updated", shape + (f" t={entry.trigger}" if waiting else ""))

    # -- matching -----------------------------------------------------------------------------------

    def across(self, taker: Entry) -> list[Entry]:
        """All that it could trade with, the first one first."""
        found = [each for each in self.book if each.buy != taker.buy and taker.accepts(each.price)]
        return sorted(found, key=lambda each: (each.price if taker.buy else -each.price, each.time))

    def work(self, taker: Entry) -> None:
        if taker.tif == "FOK":
            others = [each.open for each in self.across(taker) if each.owner != taker.owner or not taker.owner]
            if sum(others) < taker.open:
                return self.end(taker, "FOK")
        while taker.open and self.across(taker):
            self.trade(taker, self.across(taker)[0])
        if not taker.open:
            return None
        if taker.price is None:
            return self.end(taker, "NO_LIQUIDITY")
        if taker.tif == "IOC":
            return self.end(taker, "IOC")
        return self.rest(taker)

    def trade(self, taker: Entry, maker: Entry) -> None:
        if taker.owner and taker.owner == maker.owner:
            return self.end(maker, "SELF_TRADE")
        lots = min(taker.open, maker.shown)
        self.trades.append(maker.price)
        for entry, role in ((maker, "maker"), (taker, "taker")):
            entry.open -= lots
            entry.filled += lots
            self.say(entry, "filled", f" {lots}@{maker.price} {role}")
        maker.shown -= lots
        if not maker.open:
            self.book.remove(maker)
        elif not maker.shown:
            maker.shown, maker.time = maker.next_shown(), self.tick()
        return None

    def rest(self, entry: Entry) -> None:
        entry.shown, entry.time = entry.next_shown(), self.tick()
        self.book.append(entry)

    # -- triggers -----------------------------------------------------------------------------------

    @staticmethod
    def rises(entry: Entry) -> bool:
        return entry.buy == (entry.kind in ("STOP_MARKET", "STOP_LIMIT"))

    def reached(self, entry: Entry, trades: list[int]) -> bool:
        market = [each.price for each in self.book if each.buy != entry.buy]
        prices = [*([min(market) if entry.buy else max(market)] if market else []), *trades]
        if self.rises(entry):
            return any(price >= entry.trigger for price in prices)
        return any(price <= entry.trigger for price in prices)

    def fire(self) -> bool:
        """Buys before sells, rising before falling, the nearest trigger first, then who came first."""
        due = [each for each in self.stops if self.reached(each, self.trades)]
        if not due:
            self.trades = []
            return False
        first = min(due, key=lambda each: (not each.buy, not self.rises(each), self.distance(each), each.number))
        self.stops.remove(first)
        if first.price is not None:
            self.say(first, "triggered")
        wrong = self.wrong_now(first)
        if wrong:
            self.end(first, wrong)
        else:
            self.work(first)
        return True

    def distance(self, entry: Entry) -> int:
        return entry.trigger if self.rises(entry) else -entry.trigger

    # -- strangers ----------------------------------------------------------------------------------

    def step(self, step) -> None:
        quote = step.quotes[0]
        wanted = ((True, quote.bid_ticks, quote.bid_lots), (False, quote.ask_ticks, quote.ask_lots))
        for buy, price, lots in wanted:
            self.withdraw(buy, price, lots)
        for buy, price, lots in wanted:
            self.come(buy, price, lots, crossing=True)
        for trade in step.trades:
            buy = trade.buyer_is_aggressor
            taker = Entry("", "", buy, trade.lots, None)
            while taker.open and self.across(taker):
                self.trade(taker, self.across(taker)[0])
            for side, price, lots in wanted:
                if side != buy:
                    self.come(side, price, lots, crossing=False)

    def strangers(self, buy: bool) -> list[Entry]:  # noqa: FBT001 - a side, as everywhere here
        return sorted((each for each in self.book if not each.owner and each.buy == buy), key=lambda each: -each.time)

    def withdraw(self, buy: bool, price: int, lots: int) -> None:  # noqa: FBT001 - as above
        left = sum(each.open for each in self.strangers(buy) if each.price == price) - lots
        for each in self.strangers(buy):
            cut = each.open if each.price != price else max(0, min(each.open, left))
            left -= cut if each.price == price else 0
            each.open -= cut
            each.shown = each.open
            if not each.open:
                self.book.remove(each)

    def come(self, buy: bool, price: int, lots: int, *, crossing: bool) -> None:  # noqa: FBT001 - as above
        missing = lots - sum(each.open for each in self.strangers(buy) if each.price == price)
        comer = Entry("", "", buy, missing, price)
        while crossing and comer.open > 0 and self.across(comer):
            self.trade(comer, self.across(comer)[0])
        if comer.open <= 0 or self.across(comer):
            return
        queue = [each for each in self.book if each.buy == buy and each.price == price]
        last = max(queue, key=lambda each: each.time, default=None)
        if last is not None and not last.owner:
            last.open += comer.open
            last.shown = last.open
        else:
            self.rest(comer)

    def levels(self) -> str:
        text = ["bids", *self.side(buy=True), "asks", *self.side(buy=False)]
        return " ".join(text)

    def side(self, *, buy: bool) -> list[str]:
        prices = sorted({each.price for each in self.book if each.buy == buy}, reverse=buy)
        lots = [sum(each.shown for each in self.book if (each.buy, each.price) == (buy, price)) for price in prices]
        return [f"{size}@{price}" for size, price in zip(lots, prices, strict=True)]


# -- commands by chance -----------------------------------------------------------------------------

LIMITS = ("LIMIT", "LIMIT", "LIMIT", "STOP_LIMIT", "LIMIT_IF_TOUCHED")
OTHERS = ("MARKET", "STOP_MARKET", "MARKET_IF_TOUCHED")
PRICES = tuple(range(95, 106))
LOTS = (1, 2, 3, 4, 7)


def command(pick, number: int) -> str:
    """`pick` takes one of a sequence."""
    verb = pick(("limit", "limit", "limit", "other", "cancel", "modify", "modify", "step"))
    who, own_id = pick(OWNERS), pick(range(max(1, number)))
    if verb == "step":
        bid = pick(PRICES[:-1])
        trade = pick(("", "", f" BUY*{pick(LOTS)}", f" SELL*{pick(LOTS)}"))
        return f"step {bid}*{pick(LOTS)} {bid + pick((1, 2, 3))}*{pick(LOTS)}{trade}"
    if verb == "cancel":
        return f"{who} cancel {own_id}"
    if verb == "modify":
        quantity, price = f"q={pick(LOTS)}", f"p={pick(PRICES)}"
        return f"{who} modify {own_id} {pick((quantity, price, f'{quantity} {price}'))}"
    kind = pick(LIMITS if verb == "limit" else OTHERS)
    price = f"@{pick(PRICES)}" if verb == "limit" else ""
    trigger = f" t={pick(PRICES)}" if kind not in ("LIMIT", "MARKET") else ""
    flag = pick(("", "", "IOC", "FOK", "post", "show=1", "show=2") if verb == "limit" else ("", "", "FOK"))
    lots = pick(LOTS[1:]) if "show" in flag else pick(LOTS)
    return f"{who} place {number} {pick(('BUY', 'SELL'))} {kind} {lots}{price}{trigger} {flag}"


def compare(commands: list[str]) -> None:
    script, naive = Script(), Naive()
    for number, text in enumerate(commands):
        expected, found = naive.run(text), script.run(text)
        story = "\n".join(commands[: number + 1])
        assert expected == found, story
        assert naive.levels() == script.book(), story


@settings(max_examples=80)
@given(st.data())
def test_short_runs_are_as_in_the_naive_exchange(data):
    """Whatever the commands: the same events and the same book; a failure is made as short as it can be."""
    count = data.draw(st.integers(1, 25))
    compare([command(lambda of: data.draw(st.sampled_from(of)), number) for number in range(count)])


def test_long_runs_are_as_in_the_naive_exchange():
    """Deep books, long queues, many stops at once."""
    print(f"EXCHANGE_SEED={SEED}")
    for run in range(RUNS):
        rng = random.Random(f"{SEED}:{run}")
        compare([command(rng.choice, number) for number in range(COMMANDS)])
