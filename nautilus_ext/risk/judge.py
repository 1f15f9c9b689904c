"""The verdict on an order, a list, a change, a cancel or a parent. It counts what it approves at once. Pure."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from nautilus_ext.risk import controls as c
from nautilus_ext.risk.compiling import CANCELS_FIRST, Compiling, Controls, Counted
from nautilus_ext.risk.ledger import Key, Ledger
from nautilus_ext.risk.limits import moment_ns
from nautilus_ext.risk.verdicts import Approved, Lifted, Refused
from nautilus_ext.risk.windows import Duplicates, Operations, Window

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from nautilus_ext.config.risk import MessageLimit, Ramp
    from nautilus_ext.messages import PastOrder
    from nautilus_ext.risk.facts import Listing, Order, Sight
    from nautilus_ext.risk.ledger import Places, Working
    from nautilus_ext.risk.limits import Rulebook

KEYS_MAX = 100_000  # combinations of instrument, strategy and account whose controls are remembered
ZERO = Decimal(0)
NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000


class Due(NamedTuple):
    """What an order under judgement will need of its account."""

    account_id: str
    currency: str
    amount: Decimal


class _Question(NamedTuple):
    """An order under judgement: it counts in the ledger already."""

    order: Order
    sight: Sight
    controls: Controls
    places: Places
    former: Working | None  # what it replaces
    befores: list[Decimal | None]
    worst_before: Decimal
    is_reducing: bool
    is_parent: bool = False


class Judge:
    """Rules over one ledger. Not for several threads."""

    def __init__(self, book: Rulebook) -> None:
        self.book = book
        self.ledger = Ledger()
        self._controls: dict[Key, Controls] = {}
        self._windows: dict[tuple[str, str], Window] = {}
        self._due: Due | None = None
        self._duplicates = Duplicates()
        self._operations = Operations()
        self._sent: Counter[str] = Counter()

    # -- verdicts -----------------------------------------------------------------------------------

    def submit(self, orders: Sequence[Order], sights: Sequence[Sight]) -> list[Approved] | Refused:
        """All of them or none. Each counts for those that come after it."""
        approved: list[Approved] = []
        placed: list[tuple[Order, Working | None, Controls]] = []
        refused: Refused | None = None
        for order, sight in zip(orders, sights, strict=True):
            verdict = self._submitted(order, sight, placed)
            if isinstance(verdict, Refused):
                refused = verdict
                break
            approved.append(verdict)
        now_ns = sights[0].now_ns
        windows = [counted for _, _, each in placed for counted in each.counted if "submit" in counted.limit.types]
        refused = refused or self._too_many(windows, now_ns)
        if refused is not None:
            for order, former, _ in reversed(placed):
                self.ledger.put_back(order.client_order_id, former)
                self.ledger.needs.drop(order.client_order_id)
            return refused
        for counted in windows:
            counted.window.add(now_ns)
        for order in orders:
            self._remember(order, now_ns)
        return approved

    def modify(self, order: Order, sight: Sight) -> Approved | Refused:
        """`order` as it would be; until the venue says so the larger of both counts."""
        former = self.ledger.working(order.client_order_id)
        if former is not None and former.quantity > order.quantity:
            counts = msgspec.structs.replace(order, quantity=former.quantity)
        else:
            counts = order
        question = self._ask(counts, sight)
        if isinstance(question, Refused):
            return question
        windows = [each for each in question.controls.counted if "modify" in each.limit.types]
        verdict = self._verdict(question._replace(order=order), self._change_refusals)
        refused = verdict if isinstance(verdict, Refused) else self._too_many(windows, sight.now_ns)
        if refused is not None:
            self.ledger.put_back(order.client_order_id, question.former)
            return refused
        for counted in windows:
            counted.window.add(sight.now_ns)
        self._need(order)
        return verdict

    def cancel(self, order: Order, sight: Sight) -> Refused | None:
        """Counted; refused only where the venue itself demands it."""
        if sight.listing is None:
            return None
        controls = self._controls_of(sight.listing, order)
        windows = [each for each in controls.counted if "cancel" in each.limit.types]
        refused = self._too_many([each for each in windows if each.limit.refuses_cancels], sight.now_ns)
        if refused is None:
            for counted in windows:
                counted.window.add(sight.now_ns)
        return refused

    def reserve(self, order: Order, sight: Sight) -> Approved | Refused:
        """A parent's whole size, before it plans. It pays nothing and sends nothing: its children do."""
        refused = self._unknown(order, sight, needs_account=False)
        if refused is not None:
            return refused
        controls, places = self._places(order, sight)
        befores = [control.measure(places, order.side) for control, _ in controls.reaches]
        worst = places.account.worst
        former = self.ledger.reserve(order)
        reducing = places.whole.reach(order.side) <= 0
        question = _Question(order, sight, controls, places, None, befores, worst, reducing, is_parent=True)
        verdict = self._verdict(question, self._parent_refusals)
        if isinstance(verdict, Refused):
            self.ledger.release(order.client_order_id)
            if former is not None:
                self.ledger.reserve(former.order)
        else:
            self._operations.own(order)
        return verdict

    def release(self, client_order_id: str) -> bool:
        return self.ledger.release(client_order_id)

    # -- what was before ----------------------------------------------------------------------------

    def remember(self, past: PastOrder, order: Order, listing: Listing | None) -> None:
        """An order that was sent before a restart, the oldest first."""
        self._duplicates.add(order, past.ts_ns)
        self._operations.add(order)
        if listing is not None:
            for counted in self._controls_of(listing, order).counted:
                if "submit" in counted.limit.types:
                    counted.window.add(past.ts_ns)

    def count_sent(self, strategy_id: str, count: int) -> None:
        """How many orders a strategy had sent before a restart."""
        self._sent[strategy_id] = count

    def _remember(self, order: Order, now_ns: int) -> None:
        self._operations.add(order)
        if not order.parent_id:
            self._duplicates.add(order, now_ns)
        self._sent[order.strategy_id] += 1

    # -- one order ----------------------------------------------------------------------------------

    def _submitted(
        self, order: Order, sight: Sight, placed: list[tuple[Order, Working | None, Controls]]
    ) -> Approved | Refused:
        if self._operations.was_sent(order.client_order_id):
            return Refused(code="DUPLICATE_ORDER", text=f"client_order_id {order.client_order_id} was sent before")
        question = self._ask(order, sight)
        if isinstance(question, Refused):
            return question
        placed.append((order, question.former, question.controls))
        verdict = self._verdict(question, self._order_refusals)
        if isinstance(verdict, Approved):
            self._need(order)
        return verdict

    def _need(self, order: Order) -> None:
        if self._due is not None:
            self.ledger.needs.add(order.client_order_id, *self._due)

    def _ask(self, order: Order, sight: Sight) -> _Question | Refused:
        """Count the order, unless nobody can say what it is."""
        refused = self._unknown(order, sight, needs_account=True)
        if refused is not None:
            return refused
        controls, places = self._places(order, sight)
        befores = [control.measure(places, order.side) for control, _ in controls.reaches]
        worst = places.account.worst
        former = self.ledger.place(order)
        reducing = places.whole.reach(order.side) <= 0
        return _Question(order, sight, controls, places, former, befores, worst, reducing)

    def _places(self, order: Order, sight: Sight) -> tuple[Controls, Places]:
        listing = sight.listing
        assert listing is not None, "looked for before"
        self.ledger.know(listing)
        self.ledger.mark(listing.instrument_id, sight.price, sight.rate)
        places = self.ledger.places(Key(order.instrument_id, order.strategy_id, order.account_id))
        return self._controls_of(listing, order), places

    @staticmethod
    def _unknown(order: Order, sight: Sight, *, needs_account: bool) -> Refused | None:
        if sight.listing is None:
            return Refused(code="NO_INSTRUMENT", text=f"instrument={order.instrument_id} is not in the cache")
        if needs_account and not order.account_id:
            return Refused(code="NO_ACCOUNT", scope=f"venue={sight.listing.venue}", text="no account is known there")
        if order.quantity.is_nan():
            text = "its quantity is in money: without a price nobody knows how much that is"
            return Refused(code="NO_PRICE", scope=f"instrument={order.instrument_id}", text=text)
        numbers = [each for each in (order.quantity, order.price, order.trigger_price) if each is not None]
        if not all(each.is_finite() for each in numbers) or order.quantity <= 0 or order.filled < 0:
            return Refused(code="BAD_VALUE", text=f"quantity={order.quantity} price={order.price}")
        return None

    def _verdict(self, question: _Question, refusals: Callable[[_Question], Iterator[Refused]]) -> Approved | Refused:
        """The first refusal that no override lifts."""
        lifted: list[Lifted] = []
        cancels: tuple[str, ...] = ()
        for refused in refusals(question):
            if refused.code == CANCELS_FIRST:
                cancels = tuple(refused.text.split())
                continue
            override = self.book.lifting(refused.code, refused.scope, question.sight.now_ns)
            if override is None:
                return refused
            lifted.append(Lifted(refused=refused, by=override.by, why=override.why, until=override.until))
        return Approved(order=question.order, lifted=tuple(lifted), cancels_first=cancels)

    def _order_refusals(self, ask: _Question) -> Iterator[Refused]:
        yield from self._general(ask)
        yield from self._sizes(ask)
        yield from self._collared(ask)
        yield from self._repeated(ask)
        yield from self._reaching(ask)
        yield from self._self_matched(ask)
        yield from self._unpaid(ask)

    def _parent_refusals(self, ask: _Question) -> Iterator[Refused]:
        yield from self._general(ask)
        yield from self._repeated(ask)
        yield from self._reaching(ask)

    def _change_refusals(self, ask: _Question) -> Iterator[Refused]:
        """Of a change only what it changes is judged: a smaller order passes limits that were lowered meanwhile."""
        former = ask.former.order if ask.former is not None else None
        is_larger = former is None or ask.order.quantity + ask.order.filled > former.quantity + former.filled
        is_repriced = former is None or (former.price, former.trigger_price) != (
            ask.order.price,
            ask.order.trigger_price,
        )
        yield from self._general(ask)
        if is_larger:
            yield from self._sizes(ask)
        elif is_repriced:
            yield from self._valued(ask)
        if is_repriced:
            yield from self._collared(ask)
        yield from self._reaching(ask)
        if is_repriced:
            yield from self._self_matched(ask)
        yield from self._unpaid(ask)

    def _general(self, ask: _Question) -> Iterator[Refused]:
        """May it be traded at all, and is known what its limits need? Who only gets out is not held up by that."""
        order, sight, controls = ask.order, ask.sight, ask.controls
        for permission in controls.permissions:
            refused = permission.refusal(order, sight)
            if refused is not None:
                yield refused
        for mode in controls.reduce_only:
            refused = mode.refusal(order, ask.places)
            if refused is not None:
                yield refused
        if ask.is_reducing:
            return
        if sight.account is None and not ask.is_parent:
            yield Refused(code="NO_ACCOUNT", scope=f"account={order.account_id}", text="its balances are not known")
        if controls.unset is not None:
            yield controls.unset
        if controls.needs_price:
            yield from self._priced(order, sight)
        if controls.needs_rate and sight.rate is None:
            currency = sight.listing.quote if sight.listing is not None else ""
            text = f"risk.conversions has no price of {currency} in {self.book.base_currency}"
            yield Refused(code="NO_CONVERSION", text=text)

    def _priced(self, order: Order, sight: Sight) -> Iterator[Refused]:
        if sight.price is None:
            yield Refused(code="NO_PRICE", scope=f"instrument={order.instrument_id}", text="no reference price")
            return
        age_ns = sight.now_ns - sight.price_ns
        if age_ns > self.book.price_age_ns_max:
            ages: dict[str, Any] = {"limit": _ms(self.book.price_age_ns_max), "would_be": _ms(age_ns)}
            yield Refused(code="STALE_PRICE", scope=f"instrument={order.instrument_id}", unit="ms", **ages)

    def _sizes(self, ask: _Question) -> Iterator[Refused]:
        for control, ramp in ask.controls.sizes:
            if isinstance(control, c.SmallestQuantity) and ask.is_reducing:
                continue
            refused = control.refusal(ask.order, ask.sight)
            if refused is not None and self._holds(ramp, ask):
                yield refused
        yield from self._valued(ask)

    def _valued(self, ask: _Question) -> Iterator[Refused]:
        for control, ramp in ask.controls.notionals:
            refused = control.refusal(ask.order, ask.sight)
            if refused is not None and self._holds(ramp, ask):
                yield refused

    @staticmethod
    def _collared(ask: _Question) -> Iterator[Refused]:
        for control in ask.controls.collars:
            refused = control.refusal(ask.order, ask.sight)
            if refused is not None:
                yield refused

    def _repeated(self, ask: _Question) -> Iterator[Refused]:
        order = ask.order
        if self._operations.is_taken(order):
            yield Refused(code="OPERATION_REPEATED", text=f"operation_id={order.operation_id} is another order's")
        if order.parent_id or not ask.controls.duplicates:
            return
        age_ms = self._duplicates.age_ms(order, ask.sight.now_ns)
        for window_ms, scope in ask.controls.duplicates:
            if age_ms is not None and age_ms < window_ms:
                ages: dict[str, Any] = {"limit": Decimal(window_ms), "would_be": Decimal(age_ms)}
                yield Refused(code="DUPLICATE_ORDER", scope=scope, unit="ms", **ages)

    def _reaching(self, ask: _Question) -> Iterator[Refused]:
        for (control, ramp), before in zip(ask.controls.reaches, ask.befores, strict=True):
            after = control.measure(ask.places, ask.order.side)
            if after is not None and after <= control.limit:
                continue
            if after is None and ask.is_reducing:
                continue
            refused = c.overstep(control, before, after)
            if refused is not None and self._holds(ramp, ask):
                yield refused

    def _self_matched(self, ask: _Question) -> Iterator[Refused]:
        order, sight = ask.order, ask.sight
        if ask.controls.self_match is None or order.is_post_only or order.trigger_price is not None:
            return
        action, scope = ask.controls.self_match
        reach = order.price if order.price is not None else (sight.ask if order.is_buy else sight.bid) or sight.price
        met = self.ledger.resting.met_by(order, reach) if reach is not None else []
        if not met:
            return
        if action == "cancel_oldest":
            yield Refused(code=CANCELS_FIRST, text=" ".join(met))
        else:
            best = self.ledger.resting.best(order.instrument_id, -order.side)
            numbers: dict[str, Any] = {"limit": best, "would_be": reach}
            yield Refused(code="SELF_MATCH", scope=scope, unit="price", text=f"order={met[0]}", **numbers)

    def _unpaid(self, ask: _Question) -> Iterator[Refused]:
        """Only what is more than before has to be paid."""
        self._due = None
        scope, account, order = ask.controls.balance, ask.sight.account, ask.order
        if scope is None or account is None:  # an unknown account is refused before; a reducing order needs none
            return
        if account.is_margin:
            growth = ask.places.account.worst - ask.worst_before
            currency, need = c.margin_need(growth, order, ask.sight, account.leverage)
        else:
            growth = ask.places.account.worst - ask.worst_before
            currency, need = c.cash_need(growth, order, ask.sight)
            former = ask.former
            if former is not None and need is not None:
                _, paid = c.cash_need(growth, former.order, ask.sight)
                need = max(need - (paid or ZERO), ZERO)
        if need is None:
            yield Refused(code="NO_PRICE", scope=scope, text="what the order needs cannot be reckoned without a price")
            return
        needs = self.ledger.needs
        free, on_way = account.free.get(currency, ZERO), needs.of(order.account_id, currency)
        if need and on_way + need > free:
            numbers: dict[str, Any] = {"limit": free, "value": on_way, "would_be": on_way + need}
            yield Refused(code="INSUFFICIENT_BALANCE", scope=scope, unit=currency, **numbers)
        self._due = Due(order.account_id, currency, need)

    # -- windows and ramps --------------------------------------------------------------------------

    @staticmethod
    def _too_many(windows: list[Counted], now_ns: int) -> Refused | None:
        """The first window that does not hold them all; the same one stands there once for each message."""
        counts = Counter(id(each.window) for each in windows) if len(windows) > 1 else {}
        for each in windows:
            count = counts.get(id(each.window), 1)
            if not each.window.fits(now_ns, count):
                had = each.window.count(now_ns)
                numbers: dict[str, Any] = {
                    "limit": Decimal(each.limit.max),
                    "value": Decimal(had),
                    "would_be": Decimal(had + count),
                }
                unit = f"messages/{each.limit.window_s:g}s"
                text = f"types={'+'.join(each.limit.types)}"
                return Refused(code="MESSAGE_RATE", scope=each.scope, unit=unit, text=text, **numbers)
        return None

    def _holds(self, ramp: Ramp | None, ask: _Question) -> bool:
        """A ramp holds until both of its ends are reached."""
        if ramp is None:
            return True
        is_young = ramp.orders is not None and self._sent[ask.order.strategy_id] < ramp.orders
        return is_young or (ramp.until is not None and ask.sight.now_ns < moment_ns(ramp.until))

    # -- controls -----------------------------------------------------------------------------------

    def _controls_of(self, listing: Listing, order: Order) -> Controls:
        key = Key(order.instrument_id, order.strategy_id, order.account_id)
        found = self._controls.get(key)
        if found is None:
            if len(self._controls) >= KEYS_MAX:
                self._controls.clear()
            limits = self.book.effective(listing, order.strategy_id, order.account_id)
            found = self._controls[key] = Compiling(self.book, listing, self._window, self.ledger).compile(limits)
        return found

    def _window(self, scope: str, limit: MessageLimit) -> Window:
        place = (scope, f"{limit.max}/{limit.window_s}/{limit.types}/{limit.refuses_cancels}")
        if place not in self._windows:
            self._windows[place] = Window(limit.max, round(limit.window_s * NS_PER_S))
        return self._windows[place]


def _ms(length_ns: int) -> Decimal:
    return Decimal(length_ns // NS_PER_MS)
