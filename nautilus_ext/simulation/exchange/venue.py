"""One venue: listings, accounts, strangers and the matching of them all. Pure: no clock, no I/O.

A command is refused before anything has happened (a Refusal), or carried out: what came of it is in the events.
Within a command everything happens in one order, which only the commands, the steps and their moments determine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from nautilus_ext.simulation.exchange import checks, intake, legs
from nautilus_ext.simulation.exchange.accounts import Account
from nautilus_ext.simulation.exchange.crowd import Crowd
from nautilus_ext.simulation.exchange.grid import Grid
from nautilus_ext.simulation.exchange.matching import Matching
from nautilus_ext.simulation.exchange.orders import Accepted, AccountChanged, Refusal
from nautilus_ext.simulation.exchange.register import Print, Register
from nautilus_ext.simulation.exchange.strangers import Strangers
from nautilus_ext.simulation.exchange.working import Stage, restored
from nautilus_ext.simulation.market import Quote

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from decimal import Decimal

    from nautilus_ext.simulation.exchange.book import Levels
    from nautilus_ext.simulation.exchange.orders import (
        AccountState,
        AccountTerms,
        Event,
        NewOrder,
        OrderState,
        PositionState,
        Side,
    )
    from nautilus_ext.simulation.exchange.register import Counters
    from nautilus_ext.simulation.exchange.working import Order
    from nautilus_ext.simulation.market import Listing, Step

LEVELS = 5


class MarketChanges(msgspec.Struct, frozen=True):
    """What everybody sees, since it was asked for the last time."""

    levels: dict[str, tuple[dict[int, int], dict[int, int]]]  # by instrument: bids, asks: lots that are now at a price
    prints: tuple[Print, ...]
    halted: bool | None  # None: as before


class Venue:
    """What the server talks to."""

    def __init__(self, name: str, listings: Sequence[Listing], *, levels: int = LEVELS, seed: int = 0) -> None:
        self.name = name
        self._register = Register(name)
        self._matchings = {each.instrument_id: Matching(Grid(each), self._register) for each in listings}
        self.grids: Mapping[str, Grid] = {name: matching.grid for name, matching in self._matchings.items()}
        self._crowds = {
            each.instrument_id: Crowd(Strangers(each, levels=levels, seed=seed), self._matchings[each.instrument_id])
            for each in listings
        }
        self._accounts: dict[str, Account] = {}
        self._halted_by_staff = self._halted_by_market = self._halted_said = False

    # -- commands -----------------------------------------------------------------------------------

    def open_account(self, terms: AccountTerms, ts_ns: int) -> None:
        """No effect on an account that is open."""
        if terms.account in self._accounts:
            return
        account = self._accounts[terms.account] = Account(terms, self.grids)
        self._register.events.append((terms.account, AccountChanged(account.state(ts_ns))))

    def place(self, account: str, orders: Sequence[NewOrder], ts_ns: int) -> Refusal | None:
        """A list is taken whole or not at all: all are accepted or rejected before the first of them works."""
        self._begin(ts_ns)
        refusal = self._place(account, orders)
        self._finish()
        return refusal

    def modify(
        self,
        account: str,
        client_order_id: str,
        venue_order_id: str | None,
        *,
        quantity: Decimal | None,
        price: Decimal | None,
        trigger_price: Decimal | None,
        ts_ns: int,
    ) -> Refusal | None:
        """What is None stays as it is."""
        self._begin(ts_ns)
        order = self._register.find(account, client_order_id, venue_order_id)
        if order is None:
            refusal = _unknown(client_order_id, venue_order_id)
        elif self.halted:
            refusal = self._refuse_halted()
        else:
            refusal = _modify(order, quantity=quantity, price=price, trigger_price=trigger_price)
        self._finish()
        return refusal

    def cancel(self, account: str, client_order_id: str, venue_order_id: str | None, ts_ns: int) -> Refusal | None:
        self._begin(ts_ns)
        order = self._register.find(account, client_order_id, venue_order_id)
        if order is not None:
            order.matching.close(order, "CANCELED", "")
        self._finish()
        return _unknown(client_order_id, venue_order_id) if order is None else None

    def cancel_all(self, account: str, instrument_id: str | None, side: Side | None, ts_ns: int) -> None:
        self._begin(ts_ns)
        for order in list(self._register.open.values()):
            fits = instrument_id in (None, order.new.instrument_id) and side in (None, order.new.side)
            if order.owner == account and fits and order.stage != Stage.CLOSED:
                order.matching.close(order, "CANCELED", "")
        self._finish()

    # -- time and market ----------------------------------------------------------------------------

    def step(self, step: Step, ts_ns: int) -> None:
        """Strangers move and trade, triggers fire, orders expire. A listing without a quote stays as it is."""
        self._halted_by_market = self.name in step.halted
        self._begin(ts_ns)
        trades = {trade.instrument_id: trade for trade in step.trades}
        for quote in () if self.halted else step.quotes:
            crowd = self._crowds.get(quote.instrument_id)
            if crowd is not None:
                crowd.step(quote, trades.get(quote.instrument_id))
                self._mark(quote)
        self._finish()

    def _mark(self, quote: Quote) -> None:
        middle = (quote.bid_ticks + quote.ask_ticks) // 2
        for account in self._accounts.values():
            account.mark(quote.instrument_id, middle)

    def expire(self, ts_ns: int) -> None:
        """Also while nothing else happens."""
        self._begin(ts_ns)
        self._finish()

    def set_halted(self, halted: bool, ts_ns: int) -> None:  # noqa: FBT001 - the flag is the value that it sets
        """Opened again, triggers that were reached meanwhile fire."""
        self._begin(ts_ns)
        self._halted_by_staff = halted
        if not self.halted:
            self._register.moved.update(dict.fromkeys(self._matchings.values()))
        self._finish()

    @property
    def halted(self) -> bool:
        return self._halted_by_staff or self._halted_by_market

    # -- what there is ------------------------------------------------------------------------------

    def take_events(self) -> list[tuple[str, Event]]:
        events, self._register.events = self._register.events, []
        return events

    def take_market(self) -> MarketChanges:
        levels = {}
        for instrument_id, matching in self._matchings.items():
            bids, asks = matching.book.bids, matching.book.asks
            if bids.changed or asks.changed:
                levels[instrument_id] = (bids.take_changes(), asks.take_changes())
        prints, self._register.prints = tuple(self._register.prints), []
        halted = self.halted if self.halted != self._halted_said else None
        self._halted_said = self.halted
        return MarketChanges(levels, prints, halted)

    def quote(self, instrument_id: str) -> Quote:
        """0 ticks and 0 lots: that side is empty."""
        bids, asks = self.levels(instrument_id, 1)
        (bid_ticks, bid_lots), (ask_ticks, ask_lots) = bids[0] if bids else (0, 0), asks[0] if asks else (0, 0)
        return Quote(instrument_id, bid_ticks, ask_ticks, bid_lots, ask_lots)

    def levels(self, instrument_id: str, depth: int = 0) -> tuple[Levels, Levels]:
        book = self._matchings[instrument_id].book
        return book.bids.shown(depth), book.asks.shown(depth)

    def order(self, account: str, client_order_id: str) -> OrderState | None:
        order = self._register.find(account, client_order_id)
        return None if order is None else order.state()

    def open_orders(self, account: str) -> tuple[OrderState, ...]:
        return tuple(order.state() for order in self._register.open.values() if order.owner == account)

    def account_state(self, account: str, ts_ns: int) -> AccountState:
        return self._accounts[account].state(ts_ns)

    def positions(self, account: str) -> tuple[PositionState, ...]:
        return self._accounts[account].positions()

    @property
    def counters(self) -> Counters:
        return self._register.counters

    def restore(
        self,
        *,
        counters: Counters,
        accounts: Sequence[tuple[AccountTerms, AccountState, Sequence[PositionState]]],
        orders: Sequence[OrderState],
        quotes: Sequence[Quote] = (),
    ) -> None:
        """Into a venue that is new. `quotes`: the last of each listing; its strangers come back behind our orders."""
        assert not self._accounts, "only a new venue is restored"
        register = self._register
        register.counters = counters
        for terms, state, positions in accounts:
            self._accounts[terms.account] = Account.restored(terms, self.grids, state, positions)
        found = [
            restored(state, self._accounts[state.account], self._matchings[state.instrument_id]) for state in orders
        ]
        for order in sorted(found, key=lambda order: order.number):
            register.put(order)
        for order in register.open.values():
            parent = register.find(order.owner, order.new.parent_id) if order.new.parent_id else None
            if parent is not None:
                legs.attach(order, parent)
            elif order.new.parent_id:
                order.ordered = order.lots  # its parent fills no more
        for order in sorted(found, key=lambda order: order.priority):
            order.matching.put_back(order)
        for quote in quotes:
            if quote.instrument_id in self._crowds:
                self._crowds[quote.instrument_id].put_back(quote)
                self._mark(quote)
        register.touched.clear()
        register.moved.clear()

    # -- inside -------------------------------------------------------------------------------------

    def _begin(self, ts_ns: int) -> None:
        """At this moment; what has expired by then takes no part in it."""
        register = self._register
        register.ts_ns = ts_ns
        while (order := register.expired(ts_ns)) is not None:
            order.matching.close(order, "EXPIRED", "")

    def _place(self, account: str, orders: Sequence[NewOrder]) -> Refusal | None:
        if self.halted:
            return self._refuse_halted()
        read = intake.read(orders, account, self._accounts[account], self._matchings, self._register)
        if isinstance(read, Refusal):
            return read
        for order in read:
            self._admit(order)
        for order in read:
            if order.status == "REJECTED":  # what was accepted after it, but hangs on it, ends too
                legs.after_close(order, self._register)
        for order in read:
            if order.stage in (Stage.WAITING, Stage.WORKING):
                order.matching.start(order, judged=len(read) == 1)
        return None

    def _refuse_halted(self) -> Refusal:
        return Refusal("HALTED", f"{self.name} is halted; cancels are taken")

    def _admit(self, order: Order) -> None:
        """Numbered, judged, and accepted or rejected."""
        register = self._register
        register.enter(order)
        order.queue_up(register.next_priority())
        reason = None
        if order.stage == Stage.HELD:
            parent = register.find(order.owner, order.new.parent_id or "")
            if parent is None:
                reason = f"PARENT: {order.new.parent_id} was rejected"
            else:
                legs.attach(order, parent)
        else:
            reason = order.matching.judge(order)
        if reason is None:
            register.say(Accepted, order)
        else:
            order.matching.close(order, "REJECTED", reason)

    def _finish(self) -> None:
        """Legs and triggers, until there is nothing more to do. It ends: each turn uses up a fill or a trigger."""
        register = self._register
        while register.fed or (register.moved and not self.halted):
            if register.fed:
                legs.feed(register.fed.popleft())
                continue
            matching = next(iter(register.moved))
            due = matching.due()
            if due is None:
                del register.moved[matching]
            else:
                matching.fire(due)
        self._say_accounts()

    def _say_accounts(self) -> None:
        register = self._register
        if not register.touched:
            return
        for name, instruments in register.touched.items():
            account = self._accounts[name]
            found = (account.position(instrument_id) for instrument_id in sorted(instruments))
            positions = tuple(position for position in found if position is not None)
            register.events.append((name, AccountChanged(account.state(register.ts_ns), positions)))
        register.touched.clear()


def _unknown(client_order_id: str, venue_order_id: str | None) -> Refusal:
    return Refusal("UNKNOWN_ORDER", f"{client_order_id} ({venue_order_id or 'no venue order id'}) is no open order")


def _modify(
    order: Order, *, quantity: Decimal | None, price: Decimal | None, trigger_price: Decimal | None
) -> Refusal | None:
    refusal = checks.of_change(order, quantity=quantity, price=price, trigger_price=trigger_price)
    if refusal is not None:
        return refusal
    own_id, grid = order.new.client_order_id, order.matching.grid
    lots = order.ordered if quantity is None else grid.lots(quantity) or 0
    ticks = order.ticks if price is None else grid.ticks(price) or 0
    trigger_ticks = order.trigger_ticks if trigger_price is None else grid.ticks(trigger_price) or 0
    if (lots, ticks, trigger_ticks) == (order.ordered, order.ticks, order.trigger_ticks):
        return Refusal("NO_CHANGE", f"{own_id}: it is like that already")
    reason = order.matching.modify(order, lots=lots, ticks=ticks, trigger_ticks=trigger_ticks)
    if reason is None:
        return None
    code, _, numbers = reason.partition(": ")
    return Refusal(code, f"{own_id}: {numbers}")
