"""The verdict on an order, a list, a change, a cancel or a parent. It counts what it approves at once. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from nautilus_ext.risk import controls as c
from nautilus_ext.risk.compiling import Compiling, Controls, Counted
from nautilus_ext.risk.halts import Halts, Place
from nautilus_ext.risk.ledger import Key, Ledger, Reserved, Working
from nautilus_ext.risk.limits import moment_ns
from nautilus_ext.risk.verdicts import Approved, Lifted, Refused, Right
from nautilus_ext.risk.windows import Duplicates, Operations, Windows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nautilus_ext.config.risk import Ramp
    from nautilus_ext.messages import PastOrder
    from nautilus_ext.risk.facts import Listing, Order, Sight
    from nautilus_ext.risk.limits import Rulebook

KEYS_MAX = 100_000  # combinations of instrument, strategy and account whose controls are remembered
ZERO = Decimal(0)
NS_PER_MS = 1_000_000


class Due(NamedTuple):
    """What an order under judgement will need of its account."""

    account_id: str
    currency: str
    amount: Decimal


@dataclass(slots=True)
class _Question:
    """An order under judgement: it counts in the ledger already, as `counted`."""

    order: Order
    counted: Order
    sight: Sight
    controls: Controls
    former: Working | Reserved | None  # what it replaces
    worst_before: Decimal  # of its account
    is_reducing: bool
    is_parent: bool = False
    found: list[Refused] = field(default_factory=list)
    cancels: tuple[str, ...] = ()
    due: Due | None = None


class Judge:
    """Rules over one ledger. Not for several threads."""

    def __init__(self, book: Rulebook) -> None:
        self.book = book
        self.halts = Halts()
        self.ordered: dict[str, Right] = {}  # orders that somebody has ordered
        self.ledger = Ledger()
        self._controls: dict[Key, Controls] = {}
        self._windows = Windows()
        self._duplicates = Duplicates()
        self._operations = Operations()
        self._sent: Counter[str] = Counter()

    # -- verdicts -----------------------------------------------------------------------------------

    def submit(self, orders: Sequence[Order], sights: Sequence[Sight]) -> list[Approved] | Refused:
        """All of them or none. Each counts for those that come after it."""
        asked: list[_Question] = []
        now_ns = sights[0].now_ns
        self._duplicates.begin()
        try:
            verdict = self._submitted(orders, sights, asked)
        except Exception:
            self._take_back(asked)
            raise
        if isinstance(verdict, Refused):
            self._take_back(asked)
            return verdict
        for ask in asked:
            for counted in ask.controls.counted["submit"]:
                counted.window.add(now_ns)
            self._remember(ask.order, ask.controls, now_ns)
            self._sent[ask.order.strategy_id] += 1
        return verdict

    def _submitted(
        self, orders: Sequence[Order], sights: Sequence[Sight], asked: list[_Question]
    ) -> list[Approved] | Refused:
        approved: list[Approved] = []
        for order, sight in zip(orders, sights, strict=True):
            verdict = self._submitted_one(order, sight, asked)
            if isinstance(verdict, Refused):
                return verdict
            approved.append(verdict)
        windows = [counted for each in asked for counted in each.controls.counted["submit"]]
        return self._too_many(windows, sights[0].now_ns, several=len(asked) > 1) or approved

    def _take_back(self, asked: list[_Question]) -> None:
        for ask in reversed(asked):
            self._uncount(ask)
            self.ledger.needs.drop(ask.order.client_order_id)

    def modify(self, order: Order, sight: Sight) -> Approved | Refused:
        """`order` as it would be; until the venue says so the larger of both counts."""
        former = self.ledger.working(order.client_order_id)
        counted = order
        if former is not None and not order.quantity.is_nan() and former.quantity > order.quantity:
            counted = msgspec.structs.replace(order, quantity=former.quantity)
        ask = self._ask(order, sight, counted)
        if isinstance(ask, Refused):
            return ask
        verdict = self._answer(ask, self._judge_change)
        windows = ask.controls.counted["modify"]
        refused = verdict if isinstance(verdict, Refused) else self._too_many(windows, sight.now_ns)
        if refused is not None:
            self._uncount(ask)
            return refused
        for each in windows:
            each.window.add(sight.now_ns)
        self._need(ask)
        return verdict

    def cancel(self, order: Order, sight: Sight) -> Refused | None:
        """Counted; refused only where the venue itself demands it."""
        if sight.listing is None:
            return None
        self.ledger.know(sight.listing)
        windows = self._controls_of(order).counted["cancel"]
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
        controls = self._prepared(order, sight)
        worst = controls.places.account.worst
        former = self.ledger.reserve(order)
        is_reducing = controls.places.whole.reach(order.side) <= 0
        ask = _Question(order, order, sight, controls, former, worst, is_reducing, is_parent=True)
        self._duplicates.begin()
        verdict = self._answer(ask, self._judge_parent)
        if isinstance(verdict, Refused):
            self._uncount(ask)
        else:
            self._operations.own(order)
            if controls.duplicates:
                self._duplicates.add(order, sight.now_ns)
        return verdict

    def _answer(self, ask: _Question, judge: Callable[[_Question], None]) -> Approved | Refused:
        """What cannot be judged does not count."""
        try:
            judge(ask)
            return self._verdict(ask)
        except Exception:
            self._uncount(ask)
            raise

    def release(self, client_order_id: str) -> bool:
        return self.ledger.release(client_order_id)

    def adopt(self, book: Rulebook) -> None:
        """From the next order on its limits hold, and `halts` as they are now. All that was counted still counts."""
        self.book = book
        self._controls.clear()
        self._windows.renew()

    # -- what was before ----------------------------------------------------------------------------

    def remember(self, past: PastOrder, order: Order, listing: Listing | None) -> None:
        """An order that was sent before a restart, the oldest first."""
        if listing is None:
            self._operations.add(order)  # no order of it passes before it is known
            return
        self.ledger.know(listing)
        controls = self._controls_of(order)
        self._remember(order, controls, past.ts_ns)
        for counted in controls.counted["submit"]:
            counted.window.add(past.ts_ns)

    def count_sent(self, strategy_id: str, count: int) -> None:
        """How many orders a strategy had sent before a restart."""
        self._sent[strategy_id] = count

    def _remember(self, order: Order, controls: Controls, now_ns: int) -> None:
        self._operations.add(order)
        if controls.duplicates and not order.parent_id:
            self._duplicates.add(order, now_ns)

    # -- one order ----------------------------------------------------------------------------------

    def _submitted_one(self, order: Order, sight: Sight, asked: list[_Question]) -> Approved | Refused:
        name = order.client_order_id
        if self._operations.was_sent(name) or self.ledger.working(name) is not None:
            return Refused(code="DUPLICATE_ORDER", text=f"client_order_id {name} was sent before")
        ask = self._ask(order, sight, order)
        if isinstance(ask, Refused):
            return ask
        asked.append(ask)
        self._judge_order(ask)
        verdict = self._verdict(ask)
        if isinstance(verdict, Approved):
            self._need(ask)
        return verdict

    def _need(self, ask: _Question) -> None:
        if ask.due is not None:
            self.ledger.needs.add(ask.order.client_order_id, *ask.due)

    def _ask(self, order: Order, sight: Sight, counted: Order) -> _Question | Refused:
        """Count the order, unless nobody can say what it is."""
        refused = self._unknown(order, sight, needs_account=True)
        if refused is not None:
            return refused
        controls = self._prepared(order, sight)
        places = controls.places
        worst = places.account.worst
        former = self.ledger.place(counted)
        return _Question(order, counted, sight, controls, former, worst, places.whole.reach(order.side) <= 0)

    def _count(self, ask: _Question) -> None:
        if ask.is_parent:
            self.ledger.reserve(ask.counted)
        else:
            self.ledger.place(ask.counted)

    def _uncount(self, ask: _Question) -> None:
        """As if it had never been asked."""
        name, former = ask.order.client_order_id, ask.former
        if not ask.is_parent:
            self.ledger.put_back(name, former if isinstance(former, Working) else None)
            return
        self.ledger.put_reserved_back(name, former if isinstance(former, Reserved) else None)

    def _prepared(self, order: Order, sight: Sight) -> Controls:
        listing = sight.listing
        assert listing is not None, "looked for before"
        self.ledger.know(listing)
        self.ledger.mark(listing.instrument_id, sight.price, sight.rate)
        return self._controls_of(order)

    @staticmethod
    def _unknown(order: Order, sight: Sight, *, needs_account: bool) -> Refused | None:
        if sight.listing is None:
            return Refused(code="NO_INSTRUMENT", text=f"instrument={order.instrument_id} is not in the cache")
        if needs_account and not order.account_id:
            return Refused(code="NO_ACCOUNT", scope=f"venue={sight.listing.venue}", text="no account is known there")
        quantity, price, trigger = order.quantity, order.price, order.trigger_price
        if quantity.is_nan():
            text = "its quantity is in money: without a price nobody knows how much that is"
            return Refused(code="NO_PRICE", scope=f"instrument={order.instrument_id}", text=text)
        is_odd = (price is not None and not price.is_finite()) or (trigger is not None and not trigger.is_finite())
        if is_odd or not quantity.is_finite() or quantity <= 0 or order.filled < 0:
            return Refused(code="BAD_VALUE", text=f"quantity={quantity} price={price} trigger_price={trigger}")
        return None

    def _verdict(self, ask: _Question) -> Approved | Refused:
        """The first refusal that no override lifts."""
        if not ask.found:
            return Approved(order=ask.order, cancels_first=ask.cancels)
        lifted: list[Lifted] = []
        for refused in ask.found:
            override = self.book.lifting(refused.code, refused.scope, ask.sight.now_ns)
            override = override or self.ordered.get(ask.order.client_order_id)
            if override is None:
                return refused
            lifted.append(Lifted(refused=refused, by=override.by, why=override.why, until=override.until))
        return Approved(order=ask.order, lifted=tuple(lifted), cancels_first=ask.cancels)

    # -- which controls are asked -------------------------------------------------------------------

    def _judge_order(self, ask: _Question) -> None:
        self._general(ask)
        self._sizes(ask)
        self._collared(ask)
        self._repeated(ask)
        self._reaching(ask)
        self._self_matched(ask)
        self._unpaid(ask)

    def _judge_parent(self, ask: _Question) -> None:
        self._general(ask)
        self._repeated(ask)
        self._reaching(ask)

    def _judge_change(self, ask: _Question) -> None:
        """Of a change only what it changes is judged: a smaller order passes limits that were lowered meanwhile."""
        order, former = ask.order, ask.former.order if ask.former is not None else None
        is_larger = former is None or order.quantity + order.filled > former.quantity + former.filled
        is_repriced = former is None or (former.price, former.trigger_price) != (order.price, order.trigger_price)
        self._general(ask)
        if is_larger:
            self._sizes(ask)
        elif is_repriced:
            self._valued(ask)
        if is_repriced:
            self._collared(ask)
        self._reaching(ask)
        if is_repriced:
            self._self_matched(ask)
        self._unpaid(ask)

    # -- the controls -------------------------------------------------------------------------------

    def _general(self, ask: _Question) -> None:
        """May it be traded at all, and is known what its limits need? Who only gets out is not held up by that."""
        order, sight, controls = ask.order, ask.sight, ask.controls
        for permission in controls.permissions:
            _note(ask, permission.refusal(order, sight))
        for mode in controls.reduce_only:
            _note(ask, mode.refusal(order, controls.places))
        if ask.is_reducing:
            return
        if sight.account is None and not ask.is_parent:
            scope, text = f"account={order.account_id}", "its balances are not known"
            ask.found.append(Refused(code="NO_ACCOUNT", scope=scope, text=text))
        if controls.unset is not None:
            ask.found.append(controls.unset)
        if controls.needs_price:
            self._priced(ask)
        if controls.needs_rate and (sight.rate is None or sight.rate <= 0):
            currency = sight.listing.quote if sight.listing is not None else ""
            text = f"risk.conversions has no price of {currency} in {self.book.base_currency}"
            ask.found.append(Refused(code="NO_CONVERSION", text=text))

    def _priced(self, ask: _Question) -> None:
        sight, scope = ask.sight, f"instrument={ask.order.instrument_id}"
        age_ns = sight.now_ns - sight.price_ns
        is_inverse = sight.listing is not None and sight.listing.is_inverse
        if not sight.price or (is_inverse and sight.price < 0):  # what nobody can divide by, or is worth nothing
            ask.found.append(Refused(code="NO_PRICE", scope=scope, text="no reference price"))
        elif age_ns > self.book.price_age_ns_max:
            limit, age = (Decimal(each // NS_PER_MS) for each in (self.book.price_age_ns_max, age_ns))
            ask.found.append(Refused(code="STALE_PRICE", scope=scope, unit="ms", limit=limit, would_be=age))

    def _sizes(self, ask: _Question) -> None:
        for control, ramp in ask.controls.sizes:
            refused = control.refusal(ask.order, ask.sight)
            if refused is None or (ask.is_reducing and isinstance(control, c.SmallestQuantity)):
                continue
            if self._holds(ramp, ask):
                ask.found.append(refused)
        self._valued(ask)

    def _valued(self, ask: _Question) -> None:
        for control, ramp in ask.controls.notionals:
            refused = control.refusal(ask.order, ask.sight)
            if refused is not None and self._holds(ramp, ask):
                ask.found.append(refused)

    def _collared(self, ask: _Question) -> None:
        """An old price is none: it holds nobody who gets out, and anybody else is refused for it."""
        sight = ask.sight
        if ask.is_reducing and sight.now_ns - sight.price_ns > self.book.price_age_ns_max:
            sight = msgspec.structs.replace(sight, price=None)
        for control in ask.controls.collars:
            _note(ask, control.refusal(ask.order, sight))

    def _repeated(self, ask: _Question) -> None:
        order = ask.order
        if self._operations.is_taken(order):
            _note(ask, Refused(code="OPERATION_REPEATED", text=f"operation_id={order.operation_id} is another order's"))
        if (order.parent_id and not ask.is_parent) or not ask.controls.duplicates:
            return
        age_ms = self._duplicates.age_ms(order, ask.sight.now_ns)
        for window_ms, scope in ask.controls.duplicates:
            if age_ms is not None and age_ms < window_ms:
                limit, age = Decimal(window_ms), Decimal(age_ms)
                ask.found.append(Refused(code="DUPLICATE_ORDER", scope=scope, unit="ms", limit=limit, would_be=age))

    def _reaching(self, ask: _Question) -> None:
        """Who is past a limit has to show that it is not worse than before."""
        side = ask.order.side
        self.ledger.settle()
        for control, ramp in ask.controls.reaches:
            after = control.measure(side)
            if after is not None and after <= control.limit:
                continue
            before = self._before(ask, control)
            if ask.is_reducing and (before is None or after is None):
                continue
            refused = c.overstep(control, before, after)
            if refused is not None and self._holds(ramp, ask):
                ask.found.append(refused)

    def _before(self, ask: _Question, control: c.Position | c.Exposure) -> Decimal | None:
        """What a control measures without the order."""
        self._uncount(ask)
        self.ledger.settle()
        before = control.measure(ask.order.side)
        self._count(ask)
        self.ledger.settle()
        return before

    def _self_matched(self, ask: _Question) -> None:
        order, sight = ask.order, ask.sight
        if ask.controls.self_match is None or order.is_post_only or order.trigger_price is not None:
            return
        if order.type.startswith("TRAILING_"):  # where it will trigger nobody knows
            return
        action, scope = ask.controls.self_match
        reach = order.price if order.price is not None else (sight.ask if order.is_buy else sight.bid) or sight.price
        met = self.ledger.resting.met_by(order, reach)
        if not met:
            return
        if action == "cancel_oldest":
            ask.cancels = tuple(met)
        else:
            best = self.ledger.resting.best(order.instrument_id, -order.side)
            numbers: dict[str, Any] = {"limit": best, "would_be": reach}
            ask.found.append(Refused(code="SELF_MATCH", scope=scope, unit="price", text=f"order={met[0]}", **numbers))

    def _unpaid(self, ask: _Question) -> None:
        """Only what is more than before has to be paid."""
        scope, account, order = ask.controls.balance, ask.sight.account, ask.order
        if scope is None or account is None:  # an unknown account is refused before; a reducing order needs none
            return
        growth = ask.controls.places.account.worst - ask.worst_before
        if account.is_margin:
            currency, need = c.margin_need(growth, order, ask.sight, account.leverage)
        else:
            currency, need = c.cash_need(growth, order, ask.sight)
            if isinstance(ask.former, Working) and need is not None:
                open_still = msgspec.structs.replace(ask.former.order, quantity=ask.former.quantity)
                _, paid = c.cash_need(growth, open_still, ask.sight)
                need = max(need - (paid or ZERO), ZERO)
        if need is None:
            text = "what the order needs cannot be reckoned without a price"
            ask.found.append(Refused(code="NO_PRICE", scope=scope, text=text))
            return
        if not need:
            return
        if account.is_single and currency not in account.free:
            text = f"account={order.account_id} nobody can say what its money is in {currency}: risk.conversions"
            ask.found.append(Refused(code="NO_CONVERSION", text=text))
            return
        free, on_way = account.free.get(currency, ZERO), self.ledger.needs.of(order.account_id, currency)
        if on_way + need > free:
            numbers: dict[str, Any] = {"limit": free, "value": on_way, "would_be": on_way + need}
            ask.found.append(Refused(code="INSUFFICIENT_BALANCE", scope=scope, unit=currency, **numbers))
        ask.due = Due(order.account_id, currency, need)

    # -- windows and ramps --------------------------------------------------------------------------

    @staticmethod
    def _too_many(windows: list[Counted], now_ns: int, *, several: bool = False) -> Refused | None:
        """The first window that does not hold them all; the same one stands there once for each message."""
        counts = Counter(id(each.window) for each in windows) if several else {}
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

    def _controls_of(self, order: Order) -> Controls:
        key = Key(order.instrument_id, order.strategy_id, order.account_id)
        found = self._controls.get(key)
        if found is None:
            if len(self._controls) >= KEYS_MAX:
                self._controls.clear()
            places = self.ledger.places(key)
            limits = self.book.effective(places.mark.listing, order.strategy_id, order.account_id)
            compiling = Compiling(self.book, places, self._windows.of, self.ledger)
            found = self._controls[key] = compiling.compile(limits, self.halts.narrowing(Place(*key)))
        return found


def _note(ask: _Question, refused: Refused | None) -> None:
    if refused is not None:
        ask.found.append(refused)
