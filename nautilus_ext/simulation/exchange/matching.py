"""One listing's matching: judges orders, trades them by price and time, rests and triggers them. Pure.

An order that takes is matched to its end before anything that hangs on it begins: triggered orders and legs wait for
their turn in the venue.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from nautilus_ext.simulation.exchange import holds, legs
from nautilus_ext.simulation.exchange.agenda import Triggers
from nautilus_ext.simulation.exchange.book import Book
from nautilus_ext.simulation.exchange.orders import Fill, Triggered, Updated
from nautilus_ext.simulation.exchange.reach import Reach
from nautilus_ext.simulation.exchange.register import Print
from nautilus_ext.simulation.exchange.working import Order, Stage

if TYPE_CHECKING:
    from nautilus_ext.simulation.exchange.book import BookSide, Resting
    from nautilus_ext.simulation.exchange.grid import Grid
    from nautilus_ext.simulation.exchange.orders import Status
    from nautilus_ext.simulation.exchange.register import Register


class Matching:
    """Owns the listing's book and triggers; the register is the venue's."""

    def __init__(self, grid: Grid, register: Register) -> None:
        self.grid = grid
        self.register = register
        self.book = Book()
        self.triggers = Triggers()

    # -- judging ------------------------------------------------------------------------------------

    def judge(self, order: Order) -> str | None:
        """Why it cannot wait or work now: a code with its numbers."""
        if order.reduce_only and not self.room(order):
            position = self.grid.quantity(0)
            return f"REDUCE_ONLY_NO_POSITION: nothing that a {order.new.side} would reduce, position={position}"
        if order.stage == Stage.WAITING:
            return self._trigger_in_market(order)
        against = self.book.against(buy=order.buy)
        if order.new.post_only and against.reaches(order.ticks):
            best = self.grid.price(against.best_ticks or 0)
            return f"POST_ONLY_WOULD_TAKE: price={self.grid.price(order.ticks)} best={best}"
        if not against.reaches(order.ticks or None):
            no_liquidity = order.any_price and "NO_LIQUIDITY: the other side of the book is empty"
            return no_liquidity or holds.refuse(order, order.open, order.ticks)
        return self._judge_taker(order, against.best_ticks or 0)

    def _judge_taker(self, order: Order, best_ticks: int) -> str | None:
        """At the price at which it ties up most: of a linear sale and an inverse purchase that is not the limit."""
        reach = Reach(order)
        lots, ticks = order.open, order.ticks
        if order.any_price:
            lots, ticks = reach.lots, reach.worst_ticks
            if not lots:
                return "NO_LIQUIDITY: nobody on the other side of the book can trade with it"
        if order.buy == self.grid.inverse:
            ticks = min(ticks, best_ticks) if order.buy else max(ticks, best_ticks)
        return holds.refuse(order, lots, ticks, taken=reach.lots)

    def _trigger_in_market(self, order: Order) -> str | None:
        market = self.book.against(buy=order.buy).best_ticks
        if market is None or (market < order.trigger_ticks if order.rises else market > order.trigger_ticks):
            return None
        price, trigger = self.grid.price(market), self.grid.price(order.trigger_ticks)
        return f"TRIGGER_IN_MARKET: trigger={trigger} {'ask' if order.buy else 'bid'}={price}"

    def room(self, order: Order) -> int:
        """Lots by which it could reduce the position."""
        position = order.account.position_lots(self.grid.instrument_id)
        return max(0, -position if order.buy else position)

    # -- the life of an order -----------------------------------------------------------------------

    def start(self, order: Order, *, judged: bool = False) -> None:
        """From its stage on: among the triggers, or to work."""
        if order.stage == Stage.WORKING:
            self._work(order, judged=judged)
            return
        order.stands = True
        self.triggers.add(order.number, order.trigger_ticks, buy=order.buy, rises=order.rises)
        self.register.moved[self] = None

    def due(self) -> Order | None:
        """A conditional order whose trigger is reached."""
        number = self.triggers.due(self.book.bids.best_ticks, self.book.asks.best_ticks)
        return None if number is None else self.register.open[number]

    def fire(self, order: Order) -> None:
        self.leave(order)
        order.triggered = True
        order.begin_stage()
        order.queue_up(self.register.next_priority())
        if not order.any_price:
            self.register.say(Triggered, order)
        self._work(order, judged=False)

    def _work(self, order: Order, *, judged: bool) -> None:
        reason = None if judged else self.judge(order)
        if reason is None and order.new.time_in_force == "FOK":
            reason = self._not_whole(order)
        if reason is not None:
            self.close(order, "CANCELED", reason)
            return
        self._take(order)
        if order.stage != Stage.WORKING:
            return
        if order.any_price:
            self.close(order, "CANCELED", "NO_LIQUIDITY: the other side of the book was used up")
        elif order.new.time_in_force == "IOC":
            self.close(order, "CANCELED", "IOC: the rest could not be filled at once")
        elif order.new.time_in_force == "FOK":
            self.close(order, "CANCELED", "FOK: the rest could not be filled at once")
        else:
            self._rest(order)

    def _not_whole(self, order: Order) -> str | None:
        reach = Reach(order)
        found = reach.lots
        if order.reduce_only:
            found = min(found, self.room(order))
        if found >= order.open:
            payable = order.account.affords(self.grid, order.new.side, 0, 1, spent=reach.cost)
            return None if payable else "INSUFFICIENT_BALANCE: its fees, each rounded, are more than is left"
        return f"FOK: wanted={self.grid.quantity(order.open)} available={self.grid.quantity(found)}"

    def _rest(self, order: Order) -> None:
        order.stands = True
        self.book.side(buy=order.buy).add(order)
        holds.hold(order)
        self.register.moved[self] = None

    def put_back(self, order: Order) -> None:
        """Where it stood before the venue was restored."""
        order.stands = order.stage != Stage.HELD
        if order.stage == Stage.WAITING:
            self.triggers.add(order.number, order.trigger_ticks, buy=order.buy, rises=order.rises)
        elif order.stage == Stage.WORKING:
            self.book.side(buy=order.buy).add(order)
            holds.hold(order)

    def leave(self, order: Order) -> None:
        """Out of the book or the triggers; no effect when it stands in neither."""
        if not order.stands:
            return
        if order.stage == Stage.WAITING:
            self.triggers.remove(order.number, order.trigger_ticks, buy=order.buy, rises=order.rises)
        else:
            self.book.side(buy=order.buy).remove(order)
            holds.release(order)
            self.register.moved[self] = None
        order.stands = False

    def close(self, order: Order, status: Status, reason: str, *, alone: bool = False) -> None:
        """Its end without a fill, and what that does to others; to its linked ones nothing if `alone`."""
        self.leave(order)
        self.register.leave(order)
        self.register.say_closed(order, status, reason)
        legs.after_close(order, self.register, alone=alone)

    # -- changes ------------------------------------------------------------------------------------

    def shrink(self, order: Order, lots: int) -> None:
        """Smaller, in its old place."""
        order.change(lots=lots)
        shown = min(order.shown, order.open)
        if order.stands and order.stage == Stage.WORKING:
            self.book.side(buy=order.buy).resize(order, shown)
            holds.hold(order)
        order.shown = shown
        self.register.say(Updated, order)

    def modify(self, order: Order, *, lots: int, ticks: int, trigger_ticks: int) -> str | None:
        """Why not, or None: it is done. A new price or a larger quantity goes to the back of the queue.

        Of a leg that has begun `lots` is the most that it may become.
        """
        ordered = lots
        if order.parent is not None and order.parent.filled:
            lots = min(lots, order.lots)
        if ordered < order.ordered and (ticks, trigger_ticks) == (order.ticks, order.trigger_ticks):
            order.ordered = ordered
            self.shrink(order, lots)
            return None
        reason = self._judge_change(order, lots=lots, ticks=ticks, trigger_ticks=trigger_ticks)
        if reason is not None:
            return reason
        self.leave(order)
        order.ordered = ordered
        order.change(lots=lots, ticks=ticks, trigger_ticks=trigger_ticks)
        order.queue_up(self.register.next_priority())
        self.register.say(Updated, order)
        if order.stage != Stage.HELD:
            self.start(order, judged=True)
        return None

    def _judge_change(self, order: Order, *, lots: int, ticks: int, trigger_ticks: int) -> str | None:
        """Judged as it would be, while it still stands as it is."""
        if order.stage == Stage.HELD:
            return None
        before = (order.lots, order.ticks, order.trigger_ticks)
        order.lots, order.ticks, order.trigger_ticks = lots, ticks, trigger_ticks
        reason = self.judge(order)
        order.lots, order.ticks, order.trigger_ticks = before
        if order.stands and order.stage == Stage.WORKING:
            holds.hold(order)  # judging has held for what it would be
        return reason

    # -- trading ------------------------------------------------------------------------------------

    def _take(self, order: Order) -> None:
        side, limit = self.book.against(buy=order.buy), order.ticks or None
        room = self.room(order) if order.reduce_only else order.open
        while order.stage == Stage.WORKING and room and side.reaches(limit):
            maker = side.next_to_trade()
            if not maker.stranger and cast("Order", maker).owner == order.owner:
                self.close(cast("Order", maker), "CANCELED", f"SELF_TRADE: {order.new.client_order_id} came against it")
                continue
            lots = self._offered(side, maker, min(order.open, room))
            if not lots:
                continue
            if not order.account.affords(self.grid, order.new.side, lots, maker.ticks):
                price = self.grid.price(maker.ticks)
                self.close(order, "CANCELED", f"INSUFFICIENT_BALANCE: the next fill, at price={price}, cannot be paid")
                return
            room -= lots
            self._trade(order, maker, lots)
        if order.stage == Stage.WORKING and not room:
            self.close(order, "CANCELED", "REDUCE_ONLY: the position is closed")

    def take_for_stranger(self, *, buy: bool, lots: int, limit: int | None) -> int:
        """A stranger's order comes; returns what it did not get."""
        side, register = self.book.against(buy=buy), self.register
        while lots and side.reaches(limit):
            maker = side.next_to_trade()
            part = self._offered(side, maker, lots)
            if not part:
                continue
            lots -= part
            match_id = self._print(maker.ticks, part, buy=buy)
            if maker.stranger:
                self._cut(side, maker, part)
            else:
                self._fill_resting(cast("Order", maker), match_id, part)
                legs.after_fill(cast("Order", maker), part, register)
        return lots

    def _offered(self, side: BookSide, maker: Resting, lots: int) -> int:
        """What the first in the queue gives of so many lots; when it can give nothing it is canceled."""
        lots = min(lots, maker.shown)
        if maker.stranger:
            return lots
        order = cast("Order", maker)
        assert order.buy == side.buy
        if order.reduce_only:
            lots = min(lots, self.room(order))
            if not lots:
                self.close(order, "CANCELED", "REDUCE_ONLY: the position is closed")
        if lots and not order.account.affords(self.grid, order.new.side, lots, order.ticks):
            self.close(order, "CANCELED", "INSUFFICIENT_BALANCE: a loss has taken what it held")
            return 0
        return lots

    def _trade(self, taker: Order, maker: Resting, lots: int) -> None:
        ticks = maker.ticks
        match_id = self._print(ticks, lots, buy=taker.buy)
        if maker.stranger:
            self._cut(self.book.side(buy=maker.buy), maker, lots)
        else:
            self._fill_resting(cast("Order", maker), match_id, lots)
        self._fill(taker, ticks, lots, match_id, maker=False)
        if not maker.stranger:
            legs.after_fill(cast("Order", maker), lots, self.register)
        legs.after_fill(taker, lots, self.register)

    def _print(self, ticks: int, lots: int, *, buy: bool) -> int:
        register = self.register
        match_id = register.next_match()
        register.prints.append(Print(self.grid.instrument_id, match_id, ticks, lots, buy, register.ts_ns))
        register.moved[self] = None
        self.triggers.traded(ticks)
        return match_id

    @staticmethod
    def _cut(side: BookSide, stranger: Resting, lots: int) -> None:
        if stranger.shown == lots:
            side.remove(stranger)
        else:
            side.resize(stranger, stranger.shown - lots)

    def _fill_resting(self, order: Order, match_id: int, lots: int) -> None:
        side = self.book.side(buy=order.buy)
        if order.open == lots:
            side.remove(order)
            order.stands, order.shown = False, 0
        elif order.shown > lots:
            side.resize(order, order.shown - lots)
        else:
            order.priority = self.register.next_priority()
            side.requeue(order, min(order.display, order.open - lots))
        self._fill(order, order.ticks, lots, match_id, maker=True)
        if order.stands:
            holds.hold(order)
        else:
            holds.release(order)

    def _fill(self, order: Order, ticks: int, lots: int, match_id: int, *, maker: bool) -> None:
        register, new = self.register, order.new
        order.filled += lots
        order.traded += ticks * lots
        if not maker:
            order.shown = order.next_shown()
        fee = order.account.settle(self.grid, new.side, lots, ticks, maker=maker, ts_ns=register.ts_ns)
        register.touch(order.owner, new.instrument_id)
        if order.waits:
            order.stage = Stage.HELD
        elif not order.open:
            order.stage, order.status = Stage.CLOSED, "FILLED"
            register.leave(order)
        fill = Fill(
            trade_id=register.next_trade_id(),
            match_id=match_id,
            venue_order_id=order.venue_order_id,
            client_order_id=new.client_order_id,
            account=order.owner,
            instrument_id=new.instrument_id,
            side=new.side,
            quantity=self.grid.quantity(lots),
            price=self.grid.price(ticks),
            fee=fee,
            fee_currency=self.grid.fee_currency,
            maker=maker,
            ts_ns=register.ts_ns,
        )
        register.say_filled(order, fill)
