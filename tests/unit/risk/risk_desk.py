"""A judge with instruments, prices and accounts around it, and cases as rows of a table."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from nautilus_ext.config.risk import Risk
from nautilus_ext.messages import PastOrder
from nautilus_ext.risk.facts import Account, Listing, Order, Sight
from nautilus_ext.risk.judge import Judge
from nautilus_ext.risk.ledger import Key
from nautilus_ext.risk.limits import Rulebook
from nautilus_ext.risk.past import order_of
from nautilus_ext.risk.verdicts import Approved, Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from nautilus_ext.risk.ledger import Ledger

NOW_NS = 1_700_000_000_000_000_000
MS = 1_000_000
S = 1_000 * MS
COIN = Listing(instrument_id="AAA.SIM", venue="SIM", asset="AAA", quote="USDT", base="AAA", canonical_id="SIM:AAA")
FUTURE = Listing(
    instrument_id="AAAF.SIM",
    venue="SIM",
    asset="AAA",
    quote="USDT",
    margin="USDT",
    multiplier=Decimal(5),
    margin_init=Decimal("0.1"),
)
INVERSE = Listing(
    instrument_id="AAAUSD.INV",
    venue="INV",
    asset="AAA",
    quote="USD",
    margin="AAA",
    is_inverse=True,
    multiplier=Decimal(10),
    margin_init=Decimal("0.1"),
)
SHARE = Listing(instrument_id="BBB.SIM", venue="SIM", asset="BBB", quote="USDT")
LISTINGS = {each.instrument_id: each for each in (COIN, FUTURE, INVERSE, SHARE)}


class Desk:
    """Its verbs answer with the text of a refusal, or with an empty one."""

    def __init__(self, limits: dict[str, dict[str, Any]] | None = None, **risk: Any) -> None:
        section = {"preset": "none", "conversions": {"USD": "2"}, "limits": limits or {}, **risk}
        self.judge = Judge(Rulebook(msgspec.convert(msgspec.to_builtins(section), Risk)))
        self.now_ns = NOW_NS
        self.prices: dict[str, Decimal | None] = dict.fromkeys(LISTINGS, Decimal(100))
        self.quotes: dict[str, tuple[int, int]] = {}
        self.price_ns: int | None = None
        self.listings = dict(LISTINGS)
        self.accounts: dict[str, Account] = {}
        self.is_margin = False
        self.is_single = False
        self.margin_accounts: set[str] = set()
        self.free: dict[str, Any] = {}
        self.leverage = Decimal(1)
        self.has_accounts = True
        self.past: dict[str, PastOrder] = {}
        self.sent: dict[str, int] = {}
        self.filled: dict[str, Decimal] = {}
        self._count = 0

    @property
    def ledger(self) -> Ledger:
        return self.judge.ledger

    # -- facts --------------------------------------------------------------------------------------

    def order(self, side: int, quantity: Any, **facts: Any) -> Order:
        self._count += 1
        price, trigger = facts.pop("price", None), facts.pop("trigger_price", None)
        type_ = facts.pop("type", "MARKET" if price is None else "LIMIT")
        return Order(
            **{
                "client_order_id": f"O-{self._count}",
                "strategy_id": "S",
                "instrument_id": COIN.instrument_id,
                "account_id": "SIM-1",
                **facts,
            },
            side=side,
            quantity=Decimal(str(quantity)),
            type=type_,
            price=None if price is None else Decimal(str(price)),
            trigger_price=None if trigger is None else Decimal(str(trigger)),
        )

    def sight(self, order: Order) -> Sight:
        listing = self.listings.get(order.instrument_id)
        if listing is None:
            return Sight(now_ns=self.now_ns)
        bid, ask = (Decimal(each) for each in self.quotes[order.instrument_id]) if self.quotes else (None, None)
        account = Account(
            account_id=order.account_id,
            is_margin=self.is_margin or order.account_id in self.margin_accounts,
            is_single=self.is_single,
            free={name: Decimal(str(each)) for name, each in self.free.items()},
            leverage=self.leverage,
        )
        return Sight(
            now_ns=self.now_ns,
            listing=listing,
            price=self.prices[order.instrument_id],
            bid=bid,
            ask=ask,
            price_ns=self.now_ns if self.price_ns is None else self.price_ns,
            rate=self.rate(listing.quote),
            account=account if self.has_accounts else None,
        )

    def rate(self, currency: str) -> Decimal | None:
        if currency == self.judge.book.base_currency:
            return Decimal(1)
        rate = self.judge.book.conversions.get(currency)
        return None if rate is None else Decimal(rate)

    # -- orders -------------------------------------------------------------------------------------

    def buy(self, quantity: Any, **facts: Any) -> str:
        return self.send(self.order(1, quantity, **facts))

    def sell(self, quantity: Any, **facts: Any) -> str:
        return self.send(self.order(-1, quantity, **facts))

    def list(self, *orders: tuple[int, Any] | tuple[int, Any, dict[str, Any]], list_id: str = "L-1") -> str:
        """Each is a side, a quantity and perhaps more."""
        made = [self.order(side, quantity, list_id=list_id, **dict(*more)) for side, quantity, *more in orders]
        return self.send(*made)

    def send(self, *orders: Order) -> str:
        verdict = self.judge.submit(orders, [self.sight(each) for each in orders])
        if isinstance(verdict, Refused):
            return str(verdict)
        for order in orders:
            self.sent[order.strategy_id] = self.sent.get(order.strategy_id, 0) + 1
            self.past[order.client_order_id] = past_of(order, self.now_ns)
        self.approved = verdict
        return ""

    def modify(self, name: str, **changes: Any) -> str:
        working = self.ledger.working(name)
        assert working is not None, name
        facts = {"quantity": working.quantity, "filled": self.filled.get(name, Decimal(0))} | {
            key: Decimal(str(value)) for key, value in changes.items()
        }
        order = msgspec.structs.replace(working.order, **facts)
        return told(self.judge.modify(order, self.sight(order)))

    def cancel(self, name: str) -> str:
        working = self.ledger.working(name)
        assert working is not None, name
        refused = self.judge.cancel(working.order, self.sight(working.order))
        return "" if refused is None else told(refused)

    def reserve(self, side: int, quantity: Any, **facts: Any) -> str:
        facts = {"client_order_id": "P-1", **facts}
        return self.ask(self.order(side, quantity, **facts))

    def ask(self, parent: Order) -> str:
        return told(self.judge.reserve(parent, self.sight(parent)))

    # -- events -------------------------------------------------------------------------------------

    def hold(self, quantity: Any, **facts: Any) -> str:
        order = self.order(1, 1, **facts)
        key = Key(order.instrument_id, order.strategy_id, order.account_id)
        listing = self.listings[order.instrument_id]
        self.ledger.know(listing)
        self.ledger.mark(listing.instrument_id, self.prices[listing.instrument_id], self.rate(listing.quote))
        self.ledger.hold("/".join(key), key, Decimal(str(quantity)))
        return ""

    def fill(self, name: str, quantity: Any) -> str:
        """So much of an order is filled."""
        working = self.ledger.working(name)
        assert working is not None, name
        order, amount = working.order, Decimal(str(quantity))
        self.filled[name] = self.filled.get(name, Decimal(0)) + amount
        held = {each[1]: each[2] for each in self.ledger.positions()}
        key = Key(order.instrument_id, order.strategy_id, order.account_id)
        self.ledger.fill(name, working.quantity - amount)
        self.ledger.hold("/".join(key), key, held.get(key, Decimal(0)) + amount * order.side)
        if not working.quantity:
            self.ledger.remove(name)
        return ""

    def over(self, name: str) -> str:
        self.ledger.remove(name)
        return ""

    def release(self, name: str = "P-1") -> str:
        return "" if self.judge.release(name) else "it was not reserved"

    def later(self, **changes: Any) -> str:
        """Something else is known from now on: a price, the time."""
        for name, value in changes.items():
            setattr(self, name, value)
        return ""

    def priced(self, price: Any, instrument_id: str = COIN.instrument_id) -> str:
        self.prices[instrument_id] = value = None if price is None else Decimal(str(price))
        if self.ledger.knows(instrument_id):
            self.ledger.mark(instrument_id, value, self.rate(self.listings[instrument_id].quote))
        return ""

    def restart(self, parents: Iterable[Order] = ()) -> str:
        """A new judge hears what a gate tells it: what works and is held, what was sent, what is reserved."""
        before, book = self.ledger, self.judge.book
        self.judge = Judge(book)
        for name, key, quantity in before.positions():
            self.judge.ledger.know(self.listings[key.instrument_id])
            self.judge.ledger.hold(name, key, quantity)
        for working in before.all_working():
            if working.order.instrument_id not in self.listings:
                continue
            self.judge.ledger.know(self.listings[working.order.instrument_id])
            self.judge.ledger.place(msgspec.structs.replace(working.order, quantity=working.quantity))
        for listing in self.listings.values():
            if self.judge.ledger.knows(listing.instrument_id):
                self.judge.ledger.mark(
                    listing.instrument_id, self.prices[listing.instrument_id], self.rate(listing.quote)
                )
        for past in self.past.values():
            self.judge.remember(past, order_of(past), self.listings.get(past.instrument_id))
        for strategy_id, count in self.sent.items():
            self.judge.count_sent(strategy_id, count)
        for parent in parents:
            self.judge.ledger.know(self.listings[parent.instrument_id])
            self.judge.ledger.reserve(parent)
        return ""


def told(verdict: Approved | Refused) -> str:
    assert isinstance(verdict, Approved | Refused)
    return str(verdict) if isinstance(verdict, Refused) else ""


def past_of(order: Order, ts_ns: int) -> PastOrder:
    return PastOrder(
        ts_ns=ts_ns,
        client_order_id=order.client_order_id,
        strategy_id=order.strategy_id,
        instrument_id=order.instrument_id,
        side="BUY" if order.is_buy else "SELL",
        quantity=str(order.quantity),
        price=None if order.price is None else str(order.price),
        operation_id=order.operation_id,
        parent_id=order.parent_id,
        type=order.type,
        trigger_price=None if order.trigger_price is None else str(order.trigger_price),
        account_id=order.account_id,
        list_id=order.list_id,
    )


def state(ledger: Ledger) -> dict[str, Any]:
    """All that counts in a ledger, as far as it is not zero."""
    ledger.settle()
    ledger.settle()
    cells = {"own": ledger._own, "account": ledger._accounts}
    found: dict[str, Any] = {
        f"{kind}/{'/'.join(name)}": (cell.held, cell.longest, cell.shortest)
        for kind, each in cells.items()
        for name, cell in each.items()
    }
    found |= {f"whole/{name}": (m.whole.held, m.whole.longest, m.whole.shortest) for name, m in ledger._marks.items()}
    found |= {f"total/{'/'.join(name)}": (each.value, *sorted(each.unvalued)) for name, each in ledger._totals.items()}
    found |= {
        f"coins/{name}": (each.longest, each.shortest, *sorted(each.unvalued)) for name, each in ledger._coins.items()
    }
    found |= {f"order/{name}": (each.quantity, each.taken) for name, each in ledger._working.items()}
    found |= {f"parent/{name}": (each.left,) for name, each in ledger._parents.items()}
    found |= {f"needs/{'/'.join(place)}": (each,) for place, each in ledger.needs._sums.items()}
    for (instrument_id, side), prices in ledger.resting._prices.items():
        found |= {f"resting/{instrument_id}/{side}/{name}": (price,) for name, price in prices.items()}
    return {name: values for name, values in found.items() if any(values)}


@dataclass(frozen=True)
class Case:
    """A row of the table of controls, one of its cases, and what is refused by it, if anything."""

    row: int
    case: str
    limits: dict[str, dict[str, Any]]
    steps: Callable[[Desk], Any]
    refusal: str = ""
    about: str = ""
    settings: dict[str, Any] | None = None

    def answers(self) -> list[str]:
        """What each step was answered."""
        answers = self.steps(Desk(self.limits, **(self.settings or {})))
        return list(answers) if isinstance(answers, tuple) else [answers]

    def expected(self, answers: list[str]) -> list[str]:
        """All steps but the last pass."""
        return [""] * (len(answers) - 1) + [self.refusal]


def table(cases: list[Case]) -> pytest.MarkDecorator:
    """Each case of a table is a test with its row's mark."""
    names = [f"row {each.row}, {each.case}" + (f": {each.about}" if each.about else "") for each in cases]
    assert len(set(names)) == len(names), sorted(name for name in names if names.count(name) > 1)
    parameters = [
        pytest.param(each, marks=pytest.mark.row(each.row, each.case), id=name)
        for each, name in zip(cases, names, strict=True)
    ]
    return pytest.mark.parametrize("case", parameters)


def refused_leaves_nothing(case: Case) -> bool:
    """Run a case up to its refusal with the ledger looked at around the last step."""
    seen: list[tuple[dict[str, Any], str, dict[str, Any]]] = []
    desk = Desk(case.limits, **(case.settings or {}))

    def watch(verb: Callable[..., str]) -> Callable[..., str]:
        def watched(*args: Any, **kwargs: Any) -> str:
            before = state(desk.ledger)
            answer = verb(*args, **kwargs)
            seen.append((before, answer, state(desk.ledger)))
            return answer

        return watched

    for name in ("send", "modify", "cancel", "ask"):
        setattr(desk, name, watch(getattr(desk, name)))
    case.steps(desk)
    before, answer, after = seen[-1]
    return answer == case.refusal and _unpriced(before) == _unpriced(after)


def _unpriced(found: dict[str, Any]) -> dict[str, Any]:
    """A judgement looks at the price of its instrument anew, whatever it says: sums in money move by that."""
    return {name: values for name, values in found.items() if not name.startswith(("total/", "coins/"))}


__all__ = ["Case", "Desk", "past_of", "refused_leaves_nothing", "state", "table", "told"]


def an_order(side: int = 1, quantity: Any = 1, **facts: Any) -> Order:
    return Desk().order(side, quantity, **facts)


def a_sight(of: Order, **changes: Any) -> Sight:
    return msgspec.structs.replace(Desk().sight(of), **changes)


@contextmanager
def bound(module: Any, name: str, value: int) -> Iterator[None]:
    """A bound that is small enough to be reached."""
    former = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, former)
