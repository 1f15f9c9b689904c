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
from nautilus_ext.risk.steps import QUANTITY_STEP, down, up

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

    Orders marked reduce-only buy back at most what somebody is short of, and sell what somebody is long: of two
    strategies that hold against each other each can be closed alone. `closing` counts such orders.
    """

    __slots__ = (
        "buys",
        "closing_buys",
        "closing_sells",
        "held",
        "longest",
        "longs",
        "sells",
        "share",
        "shortest",
        "shorts",
        "worst",
    )

    def __init__(self) -> None:
        self.held = self.longs = self.shorts = ZERO
        self.buys = self.sells = self.closing_buys = self.closing_sells = ZERO
        self.longest = self.shortest = self.worst = ZERO
        self.share = ZERO  # what of its sums is its own, in the base currency

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

    def hold(self, former: Decimal, quantity: Decimal) -> None:
        """A position that was so large is so large now."""
        for amount, sign in ((former, -1), (quantity, 1)):
            if amount > 0:
                self.longs += amount * sign
            else:
                self.shorts -= amount * sign
        self.held = self.longs - self.shorts
        self._settle()

    def _settle(self) -> None:
        """All buys filled and no sale is the longest it can become; the other way round, the shortest."""
        longest, shortest = self.held + self.buys, self.held - self.sells
        if self.closing_buys:
            longest += min(self.closing_buys, self.shorts)
        if self.closing_sells:
            shortest -= min(self.closing_sells, self.longs)
        self.longest, self.shortest = longest, shortest
        self.worst = max(longest, -shortest)

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
    longest: Decimal = ZERO  # what of the asset's coins is its own
    shortest: Decimal = ZERO
    seen: tuple[Listing | None, Decimal | None, Decimal | None] = (None, None, None)  # what made the values

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
        self._unsettled: dict[int, Places] = {}  # whose sums are behind
        self.resting = Resting()
        self.needs = Needs()

    # -- what is known ------------------------------------------------------------------------------

    def know(self, listing: Listing) -> None:
        """Before anything of it counts; a contract that was changed is valued as it is now from its next price on."""
        mark = self._marks.get(listing.instrument_id)
        if mark is None:
            mark = self._marks[listing.instrument_id] = Mark(listing, self.coins(listing.asset))
            self._add_cell(mark, mark.whole, (("global", ""), ("venue", listing.venue), ("asset", listing.asset)))
            self.mark(listing.instrument_id, None, None)
        mark.listing = listing

    def knows(self, instrument_id: str) -> bool:
        return instrument_id in self._marks

    def instruments(self) -> Iterator[Listing]:
        """Those of which something is held or works: their prices matter."""
        return (mark.listing for mark in self._marks.values() if any(cell.worst for cell, _ in mark.cells))

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
        """A sum as it is now; whoever keeps it calls `settle` before he looks again."""
        self.settle()
        return self._totals.setdefault((kind, member), Total())

    def coins(self, asset: str) -> Coins:
        """As `total`."""
        self.settle()
        return self._coins.setdefault(asset, Coins())

    # -- prices -------------------------------------------------------------------------------------

    def mark(self, instrument_id: str, price: Decimal | None, rate: Decimal | None) -> None:
        """Value an instrument anew: its price, and what its quote currency is in the base currency."""
        mark = self._marks[instrument_id]
        seen = (mark.listing, price, rate)
        if mark.seen == seen:
            return
        mark.seen = seen
        listing, value, in_coins = mark.listing, None, None
        price = price if price and price.is_finite() else None
        rate = rate if rate is not None and rate > 0 else None
        if listing.is_inverse:
            value = None if rate is None else listing.multiplier * rate
            in_coins = listing.multiplier / price if price and price > 0 else None
        else:
            value = None if rate is None or price is None else abs(price) * listing.multiplier * rate
            in_coins = listing.multiplier
        if value != mark.value:
            mark.value = value
            for cell, totals in mark.cells:
                self._value(mark, cell, totals)
        if in_coins != mark.in_coins:
            mark.in_coins = in_coins
            self._count_coins(mark)

    # -- orders -------------------------------------------------------------------------------------

    def place(self, order: Order) -> Working | None:
        """Count an order from now on, in the place of one of the same id, which is returned for `put_back`."""
        former = self._take_out(order.client_order_id)
        working = Working(order, self._places_of(order), order.quantity)
        parent = self._parents.get(order.parent_id) if order.parent_id else None
        if parent is not None:
            self._take(parent, working, self._in_unit_of(parent.order, order))
        self._put_in(working)
        return former

    def put_back(self, client_order_id: str, former: Working | None) -> None:
        """Undo `place`: what was taken from a reservation goes back as well."""
        self._take_out(client_order_id)
        if former is not None:
            parent = self._parents.get(former.order.parent_id) if former.order.parent_id else None
            if parent is not None:
                self._take(parent, former, former.taken)
            self._put_in(former)

    def leave(self, client_order_id: str, quantity: Decimal) -> None:
        """So much of it can still be filled."""
        working = self._working.get(client_order_id)
        if working is None or working.quantity == quantity:
            return
        if quantity < working.quantity and working.taken:  # filled: it does not go back to the reservation
            working.taken = up(working.taken * quantity / working.quantity, QUANTITY_STEP)
        self._work(working.places, working.order, quantity - working.quantity)
        working.quantity = quantity

    def accept(self, client_order_id: str) -> None:
        """The venue has it."""
        self.needs.settle(client_order_id)

    def fill(self, client_order_id: str, quantity: Decimal) -> None:
        """Some of it was filled, and so much still can be."""
        self.needs.settle(client_order_id, filled=True)
        self.leave(client_order_id, quantity)

    def finish(self, client_order_id: str) -> None:
        """All of it was filled: nothing goes back to a reservation."""
        self.needs.settle(client_order_id, filled=True)
        working = self._working.get(client_order_id)
        if working is not None:
            working.taken = ZERO
        self.remove(client_order_id)

    def remove(self, client_order_id: str) -> None:
        """It is over; what of a child was not filled goes back to its parent's reservation."""
        self._take_out(client_order_id)
        self.needs.end(client_order_id)

    def _put_in(self, working: Working) -> None:
        self._working[working.order.client_order_id] = working
        self._work(working.places, working.order, working.quantity)
        self.resting.add(working.order)

    def _take_out(self, client_order_id: str) -> Working | None:
        working = self._working.pop(client_order_id, None)
        if working is None:
            return None
        self._work(working.places, working.order, -working.quantity)
        self.resting.remove(working.order)
        parent = self._parents.get(working.order.parent_id) if working.order.parent_id else None
        if parent is not None and working.taken:
            self._leave_reserved(parent, parent.left + working.taken)
        return working

    # -- parents ------------------------------------------------------------------------------------

    def reserve(self, order: Order) -> Reserved | None:
        """Count a parent's whole size; one that asks again gets what it asks for now. What it had is returned."""
        former = self._unreserve(order.client_order_id)
        taken = sum(
            (each.taken for each in self._working.values() if each.order.parent_id == order.client_order_id), ZERO
        )
        self._put_reserved(Reserved(order, max(order.quantity - taken, ZERO)))
        return former

    def put_reserved_back(self, client_order_id: str, former: Reserved | None) -> None:
        """Undo `reserve`."""
        self._unreserve(client_order_id)
        if former is not None:
            self._put_reserved(former)

    def release(self, client_order_id: str) -> bool:
        return self._unreserve(client_order_id) is not None

    def _put_reserved(self, parent: Reserved) -> None:
        self._parents[parent.order.client_order_id] = parent
        self._work(self._places_of(parent.order), parent.order, parent.left)

    def _unreserve(self, client_order_id: str) -> Reserved | None:
        parent = self._parents.pop(client_order_id, None)
        if parent is not None:
            self._work(self._places_of(parent.order), parent.order, -parent.left)
        return parent

    def _take(self, parent: Reserved, child: Working, wanted: Decimal) -> None:
        child.taken = min(parent.left, wanted)
        self._leave_reserved(parent, parent.left - child.taken)

    def _leave_reserved(self, parent: Reserved, left: Decimal) -> None:
        self._work(self._places_of(parent.order), parent.order, left - parent.left)
        parent.left = left

    def _in_unit_of(self, parent: Order, child: Order) -> Decimal:
        """How much of the parent's own unit a child is, which may be of another listing."""
        if parent.instrument_id == child.instrument_id:
            return child.quantity
        ours, theirs = self._marks[child.instrument_id].in_coins, self._marks[parent.instrument_id].in_coins
        return down(child.quantity * ours / theirs, QUANTITY_STEP) if ours and theirs else child.quantity

    # -- positions ----------------------------------------------------------------------------------

    def hold(self, position_id: str, key: Key, quantity: Decimal) -> None:
        """A position is so large now, signed; zero ends it."""
        if self._positions.get(position_id) == (key, quantity):
            return
        former_key, former = self._positions.get(position_id, (key, ZERO))
        if former_key != key:
            self._change_held(former_key, former, ZERO)
            former = ZERO
        if quantity:
            self._positions[position_id] = (key, quantity)
        else:
            self._positions.pop(position_id, None)
        self._change_held(key, former, quantity)

    def held(self, position_id: str) -> Decimal:
        found = self._positions.get(position_id)
        return ZERO if found is None else found[1]

    def positions(self) -> Iterable[tuple[str, Key, Decimal]]:
        return ((name, key, quantity) for name, (key, quantity) in self._positions.items())

    # -- sums ---------------------------------------------------------------------------------------

    def _work(self, places: Places, order: Order, amount: Decimal) -> None:
        """So much more of an order works."""
        for cell, _ in places.cells:
            cell.work(order.side, amount, closes=order.is_reduce_only)
        self._unsettled[id(places)] = places

    def _change_held(self, key: Key, former: Decimal, quantity: Decimal) -> None:
        if quantity == former:
            return
        places = self.places(key)
        for cell, _ in places.cells:
            cell.hold(former, quantity)
        self._unsettled[id(places)] = places

    def settle(self) -> None:
        """Bring the sums up to all that has changed: most changes come in pairs that leave nothing to do."""
        while self._unsettled:
            _, places = self._unsettled.popitem()
            for cell, totals in places.cells:
                self._value(places.mark, cell, totals)
            self._count_coins(places.mark)

    @staticmethod
    def _value(mark: Mark, cell: Cell, totals: tuple[Total, ...]) -> None:
        """Count the worst case of a cell in its sums, at what it is worth now."""
        name, is_unvalued = mark.listing.instrument_id, mark.value is None and bool(cell.worst)
        share = ZERO if mark.value is None else up(cell.worst * mark.value)
        change = share - cell.share
        cell.share = share
        for total in totals:
            if change:
                total.value += change
            if is_unvalued:
                total.unvalued.add(name)
            elif total.unvalued:
                total.unvalued.discard(name)

    @staticmethod
    def _count_coins(mark: Mark) -> None:
        """As above; longest up and shortest down: what is rounded is never less than it is."""
        coins, whole = mark.coins, mark.whole
        longest = shortest = ZERO
        if mark.in_coins is not None:
            longest, shortest = up(whole.longest * mark.in_coins), down(whole.shortest * mark.in_coins)
            coins.unvalued.discard(mark.listing.instrument_id)
        elif whole.worst:
            coins.unvalued.add(mark.listing.instrument_id)
        else:
            coins.unvalued.discard(mark.listing.instrument_id)
        coins.longest += longest - mark.longest
        coins.shortest += shortest - mark.shortest
        mark.longest, mark.shortest = longest, shortest

    def _places_of(self, order: Order) -> Places:
        return self.places(Key(order.instrument_id, order.strategy_id, order.account_id))

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
