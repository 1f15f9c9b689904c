"""What is held, what works, what parents have reserved, and what all of it comes to when it is filled. Pure.

A sent order counts at once. Three nets are kept per instrument: of all together, of each strategy, of each account.
Over them run the sums of venues, assets, strategies, accounts and the whole, so that a judgement costs the same however
much works. Nothing here refuses anything.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from nautilus_ext.risk.needs import Needs
from nautilus_ext.risk.resting import Resting

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from nautilus_ext.risk.facts import Listing, Order

ZERO = Decimal(0)


class Key(NamedTuple):
    """Whose order or position it is."""

    instrument_id: str
    strategy_id: str
    account_id: str


class Cell:
    """One net position and what works on both sides of it.

    Orders marked reduce-only take a position to zero at most; `closing` counts them.
    """

    __slots__ = ("buys", "closing_buys", "closing_sells", "held", "longest", "sells", "shortest", "worst")

    def __init__(self) -> None:
        self.held = self.buys = self.sells = self.closing_buys = self.closing_sells = ZERO
        self.longest = self.shortest = self.worst = ZERO

    def work(self, side: int, amount: Decimal, *, closes: bool) -> None:
        """Add to what works; a negative amount takes away."""
        if closes:
            if side > 0:
                self.closing_buys += amount
            else:
                self.closing_sells += amount
            self._settle()
            return
        if side > 0:
            self.buys += amount
            self.longest += amount
        else:
            self.sells += amount
            self.shortest -= amount
        self.worst = max(self.longest, -self.shortest)

    def hold(self, change: Decimal) -> None:
        self.held += change
        self._settle()

    def _settle(self) -> None:
        """All buys filled and no sale is the longest it can become; the other way round, the shortest."""
        held = self.held
        longest = shortest = held
        if held < 0 and self.closing_buys:
            longest = min(held + self.closing_buys, ZERO)
        elif held > 0 and self.closing_sells:
            shortest = max(held - self.closing_sells, ZERO)
        self.longest = longest + self.buys
        self.shortest = shortest - self.sells
        self.worst = max(self.longest, -self.shortest)

    def reach(self, side: int) -> Decimal:
        """How far the position can go to the side of an order, seen from there."""
        return self.longest if side > 0 else -self.shortest


class Total:
    """A sum of worst cases in the base currency; which instruments of it have no value."""

    __slots__ = ("unvalued", "value")

    def __init__(self) -> None:
        self.value = ZERO
        self.unvalued: set[str] = set()

    @property
    def known(self) -> Decimal | None:
        return None if self.unvalued else self.value


class Coins:
    """The longest and the shortest that an asset can become over all its instruments, in coins."""

    __slots__ = ("longest", "shortest", "unvalued")

    def __init__(self) -> None:
        self.longest = self.shortest = ZERO
        self.unvalued: set[str] = set()

    def reach(self, side: int) -> Decimal | None:
        if self.unvalued:
            return None
        return self.longest if side > 0 else -self.shortest


@dataclass(slots=True)
class Mark:
    """What one unit of an instrument is worth, in the base currency and in coins."""

    listing: Listing
    coins: Coins
    value: Decimal | None = None
    in_coins: Decimal | None = None
    cells: list[tuple[Cell, tuple[Total, ...]]] = field(default_factory=list)
    whole: Cell = field(default_factory=Cell)
    seen: tuple[Decimal | None, Decimal | None] = (None, None)  # the price and the rate that made the values

    @property
    def known(self) -> Decimal | None:
        """The worst case of the instrument alone."""
        return None if self.value is None else self.whole.worst * self.value


@dataclass(slots=True)
class Places:
    """Where an order of a key counts."""

    mark: Mark
    whole: Cell
    own: Cell
    account: Cell
    cells: tuple[tuple[Cell, tuple[Total, ...]], ...]


@dataclass(slots=True)
class Working:
    """An order that works, or that an algorithm works: what of it can still be filled."""

    order: Order
    places: Places
    quantity: Decimal
    taken: Decimal = ZERO  # from the parent's reservation, in the parent's unit


@dataclass(slots=True)
class Reserved:
    """What a parent has asked for and its children have not taken."""

    order: Order
    left: Decimal


class Ledger:
    """Fed by the gate, and by every event of orders and positions."""

    def __init__(self) -> None:
        self._marks: dict[str, Mark] = {}
        self._places: dict[Key, Places] = {}
        self._own: dict[tuple[str, str], Cell] = {}
        self._accounts: dict[tuple[str, str], Cell] = {}
        self._totals: dict[tuple[str, str], Total] = {}
        self._coins: dict[str, Coins] = {}
        self._working: dict[str, Working] = {}
        self._parents: dict[str, Reserved] = {}
        self._positions: dict[str, tuple[Key, Decimal]] = {}
        self.resting = Resting()
        self.needs = Needs()

    # -- what is known ------------------------------------------------------------------------------

    def know(self, listing: Listing) -> None:
        """Once per instrument, before anything of it counts."""
        if listing.instrument_id not in self._marks:
            coins = self._coins.setdefault(listing.asset, Coins())
            mark = self._marks[listing.instrument_id] = Mark(listing, coins)
            self._add_cell(mark, mark.whole, (("global", ""), ("venue", listing.venue), ("asset", listing.asset)))
            self.mark(listing.instrument_id, None, None)

    def knows(self, instrument_id: str) -> bool:
        return instrument_id in self._marks

    def instruments(self) -> Iterator[Listing]:
        """Those of which something is held or works: their prices matter."""
        return (mark.listing for mark in self._marks.values() if mark.whole.worst)

    def working(self, client_order_id: str) -> Working | None:
        return self._working.get(client_order_id)

    def all_working(self) -> Iterable[Working]:
        return self._working.values()

    def reserved(self, client_order_id: str) -> Decimal:
        parent = self._parents.get(client_order_id)
        return ZERO if parent is None else parent.left

    def places(self, key: Key) -> Places:
        """Where it counts; ValueError for an instrument that is not known."""
        found = self._places.get(key)
        if found is None:
            found = self._places[key] = self._make_places(key)
        return found

    def total(self, kind: str, member: str) -> Total:
        return self._totals.setdefault((kind, member), Total())

    def coins(self, asset: str) -> Coins:
        return self._coins.setdefault(asset, Coins())

    def unit_value(self, instrument_id: str) -> Decimal | None:
        return self._marks[instrument_id].value

    # -- prices -------------------------------------------------------------------------------------

    def mark(self, instrument_id: str, price: Decimal | None, rate: Decimal | None) -> None:
        """Value an instrument anew: its price, and what its quote currency is in the base currency."""
        mark = self._marks[instrument_id]
        if mark.seen == (price, rate) and mark.in_coins is not None:
            return
        mark.seen = (price, rate)
        listing, value, in_coins = mark.listing, None, None
        if listing.is_inverse:
            value = None if rate is None else listing.multiplier * rate
            in_coins = listing.multiplier / price if price else None
        else:
            value = None if rate is None or price is None else abs(price) * listing.multiplier * rate
            in_coins = listing.multiplier
        if value != mark.value:
            for cell, totals in mark.cells:
                for total in totals:
                    self._revalue(total, mark, cell.worst, value)
            mark.value = value
        if in_coins != mark.in_coins:
            self._count_coins(mark, -1)
            mark.in_coins = in_coins
            self._count_coins(mark, 1)

    @staticmethod
    def _revalue(total: Total, mark: Mark, worst: Decimal, value: Decimal | None) -> None:
        if mark.value is not None:
            total.value -= worst * mark.value
        if value is not None:
            total.value += worst * value
            total.unvalued.discard(mark.listing.instrument_id)
        elif worst:
            total.unvalued.add(mark.listing.instrument_id)

    @staticmethod
    def _count_coins(mark: Mark, sign: int) -> None:
        coins, whole = mark.coins, mark.whole
        if mark.in_coins is None:
            if sign > 0 and whole.worst:
                coins.unvalued.add(mark.listing.instrument_id)
            else:
                coins.unvalued.discard(mark.listing.instrument_id)
            return
        factor = mark.in_coins * sign
        coins.longest += whole.longest * factor
        coins.shortest += whole.shortest * factor

    # -- orders -------------------------------------------------------------------------------------

    def place(self, order: Order) -> Working | None:
        """Count an order from now on, in the place of one of the same id, which is returned for `put_back`."""
        former = self._take_out(order.client_order_id)
        places = self.places(Key(order.instrument_id, order.strategy_id, order.account_id))
        working = Working(order, places, order.quantity)
        parent = self._parents.get(order.parent_id) if order.parent_id else None
        if parent is not None:
            working.taken = min(parent.left, self._in_unit_of(parent.order, order))
            self._reserve_less(parent, working.taken)
        self._put_in(working)
        return former

    def put_back(self, client_order_id: str, former: Working | None) -> None:
        """Undo `place`: what was taken from a reservation goes back as well."""
        self._take_out(client_order_id)
        if former is not None:
            parent = self._parents.get(former.order.parent_id) if former.order.parent_id else None
            if parent is not None:
                self._reserve_less(parent, min(parent.left, former.taken))
            self._put_in(former)

    def leave(self, client_order_id: str, quantity: Decimal) -> None:
        """So much of it can still be filled."""
        working = self._working.get(client_order_id)
        if working is None or working.quantity == quantity:
            return
        order = working.order
        if quantity < working.quantity and working.taken:  # filled: it does not go back to the reservation
            share = working.taken * quantity / working.quantity
            working.taken = share
        self._change(working.places, order.side, quantity - working.quantity, closes=order.is_reduce_only)
        working.quantity = quantity

    def accept(self, client_order_id: str) -> None:
        """The venue has it."""
        self.needs.settle(client_order_id)

    def fill(self, client_order_id: str, quantity: Decimal) -> None:
        """Some of it was filled, and so much still can be."""
        self.needs.settle(client_order_id, filled=True)
        self.leave(client_order_id, quantity)

    def remove(self, client_order_id: str) -> None:
        """It is over; what of a child was not filled goes back to its parent's reservation."""
        self._take_out(client_order_id)
        self.needs.end(client_order_id)

    def _put_in(self, working: Working) -> None:
        self._working[working.order.client_order_id] = working
        order = working.order
        self._change(working.places, order.side, working.quantity, closes=order.is_reduce_only)
        self.resting.add(order)

    def _take_out(self, client_order_id: str) -> Working | None:
        working = self._working.pop(client_order_id, None)
        if working is None:
            return None
        order = working.order
        self._change(working.places, order.side, -working.quantity, closes=order.is_reduce_only)
        self.resting.remove(order)
        parent = self._parents.get(working.order.parent_id) if working.order.parent_id else None
        if parent is not None and working.taken:
            self._reserve_less(parent, -working.taken)
        return working

    def _work(self, order: Order, amount: Decimal) -> None:
        places = self.places(Key(order.instrument_id, order.strategy_id, order.account_id))
        self._change(places, order.side, amount, closes=order.is_reduce_only)

    # -- parents ------------------------------------------------------------------------------------

    def reserve(self, order: Order) -> Reserved | None:
        """Count a parent's whole size; one that asks again gets what it asks for now."""
        former = self._parents.pop(order.client_order_id, None)
        if former is not None:
            self._reserve_less(former, former.left)
        taken = sum(
            (each.taken for each in self._working.values() if each.order.parent_id == order.client_order_id), ZERO
        )
        parent = self._parents[order.client_order_id] = Reserved(order, ZERO)
        self._reserve_less(parent, -max(order.quantity - taken, ZERO))
        return former

    def release(self, client_order_id: str) -> bool:
        parent = self._parents.pop(client_order_id, None)
        if parent is not None:
            self._reserve_less(parent, parent.left)
        return parent is not None

    def _reserve_less(self, parent: Reserved, amount: Decimal) -> None:
        parent.left -= amount
        self._work(parent.order, -amount)

    def _in_unit_of(self, parent: Order, child: Order) -> Decimal:
        """How much of the parent's own unit a child is, which may be of another listing."""
        if parent.instrument_id == child.instrument_id:
            return child.quantity
        ours, theirs = self._marks[child.instrument_id].in_coins, self._marks[parent.instrument_id].in_coins
        return child.quantity * ours / theirs if ours and theirs else child.quantity

    # -- positions ----------------------------------------------------------------------------------

    def hold(self, position_id: str, key: Key, quantity: Decimal) -> None:
        """A position is so large now, signed; zero ends it."""
        former_key, former = self._positions.get(position_id, (key, ZERO))
        if former_key != key:
            self._change_held(former_key, -former)
            former = ZERO
        if quantity:
            self._positions[position_id] = (key, quantity)
        else:
            self._positions.pop(position_id, None)
        self._change_held(key, quantity - former)

    def positions(self) -> Iterable[tuple[str, Key, Decimal]]:
        return ((name, key, quantity) for name, (key, quantity) in self._positions.items())

    def _change_held(self, key: Key, change: Decimal) -> None:
        if change:
            self._change(self.places(key), 0, change, closes=False)

    # -- sums ---------------------------------------------------------------------------------------

    def _change(self, places: Places, side: int, amount: Decimal, *, closes: bool) -> None:
        """Of what works on a side, or of what is held when there is none."""
        mark = places.mark
        whole, coins, in_coins = places.whole, mark.coins, mark.in_coins
        longest, shortest = whole.longest, whole.shortest
        for cell, totals in places.cells:
            before = cell.worst
            if side:
                cell.work(side, amount, closes=closes)
            else:
                cell.hold(amount)
            if mark.value is None:
                self._name_unvalued(mark, cell, totals)
            elif cell.worst != before:
                grown = (cell.worst - before) * mark.value
                for total in totals:
                    total.value += grown
        if in_coins is None:
            self._count_coins(mark, 1)
        else:
            if whole.longest != longest:
                coins.longest += (whole.longest - longest) * in_coins
            if whole.shortest != shortest:
                coins.shortest += (whole.shortest - shortest) * in_coins

    @staticmethod
    def _name_unvalued(mark: Mark, cell: Cell, totals: tuple[Total, ...]) -> None:
        for total in totals:
            if cell.worst:
                total.unvalued.add(mark.listing.instrument_id)
            else:
                total.unvalued.discard(mark.listing.instrument_id)

    def _make_places(self, key: Key) -> Places:
        mark = self._marks.get(key.instrument_id)
        if mark is None:
            raise ValueError(f"the instrument {key.instrument_id} is not known")
        own = self._cell(self._own, (key.strategy_id, key.instrument_id), mark, "strategy")
        account = self._cell(self._accounts, (key.account_id, key.instrument_id), mark, "account")
        cells = tuple((cell, totals) for cell, totals in mark.cells if cell in (mark.whole, own, account))
        return Places(mark, mark.whole, own, account, cells)

    def _cell(self, cells: dict[tuple[str, str], Cell], name: tuple[str, str], mark: Mark, kind: str) -> Cell:
        cell = cells.get(name)
        if cell is None:
            cell = cells[name] = Cell()
            self._add_cell(mark, cell, ((kind, name[0]),))
        return cell

    def _add_cell(self, mark: Mark, cell: Cell, sums: tuple[tuple[str, str], ...]) -> None:
        mark.cells.append((cell, tuple(self.total(kind, member) for kind, member in sums)))
