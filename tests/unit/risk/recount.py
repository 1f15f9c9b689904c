"""What a ledger must say, counted from scratch: slow, and with nothing of it shared.

It keeps what happened as plain lists, and adds it up anew whenever it is asked.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal, localcontext
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from nautilus_ext.risk.facts import Listing, Order
    from nautilus_ext.risk.ledger import Ledger

DIGITS = 80
CLOSE = Decimal("1E-9")
ZERO = Decimal(0)


@dataclass
class Open:
    """An order at a venue, or a parent: what of it can still be filled, what it took from a reservation."""

    order: Order
    quantity: Decimal
    taken: Decimal = ZERO


@dataclass
class Need:
    account_id: str
    currency: str
    amount: Decimal
    is_settled: bool = False
    is_filled: bool = False


@dataclass
class Recount:
    listings: dict[str, Listing]
    rates: dict[str, Decimal | None]
    prices: dict[str, Decimal | None]
    orders: dict[str, Open] = field(default_factory=dict)
    parents: dict[str, Open] = field(default_factory=dict)
    held: dict[str, tuple[tuple[str, str, str], Decimal]] = field(default_factory=dict)
    needs: dict[str, Need] = field(default_factory=dict)

    # -- what happens -------------------------------------------------------------------------------

    def place(self, order: Order) -> None:
        self.take_out(order.client_order_id)
        placed = self.orders[order.client_order_id] = Open(order, order.quantity)
        parent = self.parents.get(order.parent_id)
        if parent is not None:
            placed.taken = min(parent.quantity, self.converted(order, parent.order))
            parent.quantity -= placed.taken

    def take_out(self, name: str) -> None:
        gone = self.orders.pop(name, None)
        if gone is not None and gone.order.parent_id in self.parents:
            self.parents[gone.order.parent_id].quantity += gone.taken

    def fill(self, name: str, amount: Decimal, position_id: str) -> None:
        found = self.orders[name]
        left = found.quantity - amount
        found.taken = found.taken * left / found.quantity
        found.quantity = left
        order = found.order
        key = (order.instrument_id, order.strategy_id, order.account_id)
        self.held[position_id] = (key, self.held.get(position_id, (key, ZERO))[1] + amount * order.side)
        self.settle(name, is_filled=True)

    def reserve(self, order: Order) -> None:
        taken = sum(
            (each.taken for each in self.orders.values() if each.order.parent_id == order.client_order_id), ZERO
        )
        self.parents[order.client_order_id] = Open(order, max(order.quantity - taken, ZERO))

    def converted(self, child: Order, parent: Order) -> Decimal:
        if child.instrument_id == parent.instrument_id:
            return child.quantity
        ours, theirs = self.in_coins(child.instrument_id), self.in_coins(parent.instrument_id)
        return child.quantity if ours is None or theirs is None else child.quantity * ours / theirs

    def need(self, name: str, account_id: str, currency: str, amount: Decimal) -> None:
        if amount > 0:
            found = self.needs.setdefault(name, Need(account_id, currency, ZERO))
            found.amount += amount

    def settle(self, name: str, *, is_filled: bool = False) -> None:
        if name in self.needs:
            self.needs[name].is_settled = True
            self.needs[name].is_filled |= is_filled

    def end(self, name: str) -> None:
        self.take_out(name)
        if name in self.needs and not self.needs[name].is_filled:
            del self.needs[name]

    def told(self, account_id: str) -> None:
        self.needs = {k: v for k, v in self.needs.items() if v.account_id != account_id or not v.is_settled}

    # -- what it comes to ---------------------------------------------------------------------------

    def in_coins(self, instrument_id: str) -> Decimal | None:
        listing, price = self.listings[instrument_id], self.prices[instrument_id]
        if not listing.is_inverse:
            return listing.multiplier
        return listing.multiplier / price if price and price > 0 else None

    def value(self, instrument_id: str) -> Decimal | None:
        listing, price = self.listings[instrument_id], self.prices[instrument_id]
        rate = self.rates[listing.quote]
        if rate is None or (not listing.is_inverse and not price):
            return None
        return listing.multiplier * rate * (1 if listing.is_inverse else abs(price))

    def net(self, instrument_id: str, owns: Callable[[str, str], bool]) -> tuple[Decimal, Decimal, Decimal]:
        """Held, the longest it can become, the shortest."""
        held = [
            amount
            for (name, strategy_id, account_id), amount in self.held.values()
            if name == instrument_id and owns(strategy_id, account_id)
        ]
        longs, shorts = sum(max(each, ZERO) for each in held), sum(max(-each, ZERO) for each in held)
        plain, closing = {1: ZERO, -1: ZERO}, {1: ZERO, -1: ZERO}
        for each in (*self.orders.values(), *self.parents.values()):
            order = each.order
            if order.instrument_id == instrument_id and owns(order.strategy_id, order.account_id):
                kind = closing if order.is_reduce_only else plain
                kind[order.side] += each.quantity
        net = longs - shorts
        return net, net + plain[1] + min(closing[1], shorts), net - plain[-1] - min(closing[-1], longs)

    def worst(self, instrument_id: str, owns: Callable[[str, str], bool]) -> Decimal:
        _, longest, shortest = self.net(instrument_id, owns)
        return max(longest, -shortest)

    def exposure(self, kind: str, member: str) -> tuple[Decimal, list[str]]:
        """The sum of a scope, and which instruments of it have no value."""
        total, unvalued = ZERO, []
        for name, listing in self.listings.items():
            if kind == kind_of_listing(kind) and member_of(listing, kind) != member:
                continue
            worst = self.worst(name, owner(kind, member))
            value = self.value(name)
            if value is not None:
                total += worst * value
            elif worst:
                unvalued.append(name)
        return total, unvalued

    def coins(self, asset: str) -> tuple[Decimal, Decimal, list[str]]:
        longest, shortest, unvalued = ZERO, ZERO, []
        for name, listing in self.listings.items():
            if listing.asset == asset:
                _, most, least = self.net(name, owner("asset", asset))
                each = self.in_coins(name)
                if each is not None:
                    longest, shortest = longest + most * each, shortest + least * each
                elif most or least:
                    unvalued.append(name)
        return longest, shortest, unvalued

    # -- what a ledger says -------------------------------------------------------------------------

    def differences(self, ledger: Ledger) -> list[str]:
        ledger.settle()  # with its own digits
        ledger.settle()
        with localcontext() as context:
            context.prec = DIGITS
            return [
                f"{name}: {said} and not {counted}"
                for name, said, counted in (*self._nets(ledger), *self._sums(ledger), *self._open(ledger))
                if far(said, counted)
            ]

    def _nets(self, ledger: Ledger) -> Iterable[tuple[str, Any, Any]]:
        for name in self.listings:
            if ledger.knows(name):
                cell = ledger._marks[name].whole
                yield f"whole {name}", (cell.held, cell.longest, cell.shortest), self.net(name, owner("global", ""))
        for kind, cells in (("strategy", ledger._own), ("account", ledger._accounts)):
            for (member, name), cell in cells.items():
                said = (cell.held, cell.longest, cell.shortest, cell.worst)
                net = self.net(name, owner(kind, member))
                yield f"{kind} {member} {name}", said, (*net, max(net[1], -net[2]))

    def _sums(self, ledger: Ledger) -> Iterable[tuple[str, Any, Any]]:
        for (kind, member), total in ledger._totals.items():
            counted, unvalued = self.exposure(kind, member)
            yield f"total {kind} {member}", total.value, counted
            yield f"unvalued {kind} {member}", sorted(total.unvalued), sorted(unvalued)
        for asset, coins in ledger._coins.items():
            longest, shortest, unvalued = self.coins(asset)
            yield f"coins {asset}", (coins.longest, coins.shortest), (longest, shortest)
            yield f"coins {asset} unvalued", sorted(coins.unvalued), sorted(unvalued)

    def _open(self, ledger: Ledger) -> Iterable[tuple[str, Any, Any]]:
        yield "orders", sorted(ledger._working), sorted(self.orders)
        for name, each in self.orders.items():
            working = ledger._working[name]
            yield f"order {name}", (working.quantity, working.taken), (each.quantity, each.taken)
        yield "parents", sorted(ledger._parents), sorted(self.parents)
        for name, each in self.parents.items():
            yield f"parent {name}", ledger.reserved(name), each.quantity
        places = {(each.account_id, each.currency) for each in self.needs.values()} | set(ledger.needs._sums)
        for account_id, currency in places:
            due = [n.amount for n in self.needs.values() if (n.account_id, n.currency) == (account_id, currency)]
            yield f"needs {account_id} {currency}", ledger.needs.of(account_id, currency), sum(due, ZERO)
        for name in self.listings:
            for side in (1, -1):
                yield f"resting {name} {side}", ledger.resting.best(name, side), self.best(name, side)

    def best(self, instrument_id: str, side: int) -> Decimal | None:
        """The price of ours that would be met first."""
        prices = [
            each.order.price
            for each in self.orders.values()
            if (each.order.instrument_id, each.order.side) == (instrument_id, side)
            and each.order.price is not None
            and each.order.trigger_price is None
        ]
        return (max(prices) if side > 0 else min(prices)) if prices else None


def owner(kind: str, member: str) -> Callable[[str, str], bool]:
    """Whose orders and positions a scope counts."""
    if kind == "strategy":
        return lambda strategy_id, _: strategy_id == member
    if kind == "account":
        return lambda _, account_id: account_id == member
    return lambda *_: True


def kind_of_listing(kind: str) -> str:
    return kind if kind in {"venue", "asset", "instrument"} else ""


def member_of(listing: Listing, kind: str) -> str:
    return {"venue": listing.venue, "asset": listing.asset, "instrument": listing.instrument_id}[kind]


def far(said: Any, counted: Any) -> bool:
    if isinstance(said, tuple):
        return any(far(*pair) for pair in zip(said, counted, strict=True))
    if isinstance(said, Decimal) and isinstance(counted, Decimal):
        return abs(said - counted) > CLOSE
    return said != counted
