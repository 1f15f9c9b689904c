"""One account at one venue: balances, what its orders hold, positions, margins, fees. Pure.

Spot trades swap balances, and no balance that pays for one goes below zero. A derivative moves its settlement currency
by realized profit and fee alone. A position's cost and realized profit are whole atoms and never rounded to money: only
the balance is, and always to what the sum comes to, so that closing a position leaves nothing behind.
A loss of a derivative can take a balance below zero: nobody liquidates here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nautilus_ext.simulation.exchange.grid import (
    MARGIN_INIT,
    MARGIN_MAINT,
    plain,
    rounded,
    to_atoms,
    to_decimal,
    to_money,
)
from nautilus_ext.simulation.exchange.orders import AccountState, Balance, Margin, PositionState
from nautilus_ext.simulation.market import SIZE_MAX

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from decimal import Decimal

    from nautilus_ext.simulation.exchange.grid import Grid
    from nautilus_ext.simulation.exchange.orders import AccountTerms, Side

LEVERAGE_MAX = 1_000


@dataclass(slots=True)
class _Purse:
    """One currency, in atoms."""

    total: int = 0
    held: int = 0  # by spot orders
    margin: int = 0  # initial margins of what is settled in it


@dataclass(slots=True)
class _Line:
    """One derivative: position, working orders, margin. Values in atoms; lots and cost are signed alike."""

    grid: Grid
    purse: _Purse
    lots: int = 0
    cost: int = 0
    realized: int = 0
    buying: int = 0  # value of the orders that could add to it
    selling: int = 0
    initial: int = 0
    mark_ticks: int | None = None
    ts_last_ns: int = 0
    traded: bool = False

    def exposure(self, buying: int, selling: int) -> int:
        """The larger of what all buys and what all sells would leave; a position itself at what it cost."""
        return max(self.cost + buying, selling - self.cost)

    def unrealized(self) -> int:
        if not self.lots or self.mark_ticks is None:
            return 0
        worth = self.grid.cost_atoms(self.mark_ticks, self.lots)
        return self.cost - worth if self.grid.inverse else worth - self.cost


class Account:
    """Called by its venue, in the order in which things happen."""

    def __init__(self, terms: AccountTerms, grids: Mapping[str, Grid]) -> None:
        self.terms = terms
        self._grids = grids
        self._purses = {currency: _Purse(total) for currency, total in _checked(terms).items()}
        self._lines: dict[str, _Line] = {}
        self._spot_holds: dict[int, tuple[_Purse, int]] = {}  # by order number
        self._working: dict[int, tuple[_Line, int, int]] = {}  # its value as a buy, as a sell
        self._init_rate = (MARGIN_INIT / terms.leverage).as_integer_ratio()
        self._maint_rate = (MARGIN_MAINT / terms.leverage).as_integer_ratio()

    @classmethod
    def restored(
        cls,
        terms: AccountTerms,
        grids: Mapping[str, Grid],
        state: AccountState,
        positions: Sequence[PositionState],
    ) -> Account:
        """As it was stored; holds are put back by the venue, order by order."""
        account = cls(terms, grids)
        account._purses = {balance.currency: _Purse(to_atoms(balance.total)) for balance in state.balances}
        for stored in positions:
            account._restore_position(stored)
        return account

    def _restore_position(self, stored: PositionState) -> None:
        grid = self._grids.get(stored.instrument_id)
        if grid is None and not stored.quantity:  # delisted when nobody held it any more
            return
        lots = 0 if grid is None or not stored.quantity else grid.lots(abs(stored.quantity))
        if grid is None or lots is None:
            raise ValueError(f"a position of {stored.quantity} {stored.instrument_id}: no such listing, or another lot")
        line = self._line(grid)
        line.lots = lots if stored.quantity > 0 else -lots
        line.cost, line.realized = to_atoms(stored.cost), to_atoms(stored.realized)
        line.ts_last_ns, line.traded = stored.ts_last_ns, True
        self._update_margin(line)

    # -- what an order needs ------------------------------------------------------------------------

    def refuse(self, grid: Grid, side: Side, lots: int, ticks: int, *, reduce_only: bool) -> str | None:
        """Why an order of that size could not be carried, with the numbers; None if it could."""
        if grid.spot:
            needed, unit = self._spot_need(grid, side, lots, ticks)
            free = self._free(unit)
            return None if needed <= free else _insufficient("BALANCE", needed, free, unit)
        if reduce_only:
            return None
        if self.terms.kind != "MARGIN":
            return f"INSUFFICIENT_MARGIN: {grid.instrument_id} needs a MARGIN account, this one is {self.terms.kind}"
        needed = self._margin_need(grid, side, lots, ticks)
        free = self._free(grid.currency)
        return None if needed <= max(0, free) else _insufficient("MARGIN", needed, free, grid.currency)

    def affords(self, grid: Grid, side: Side, lots: int, ticks: int, *, spent: int = 0) -> bool:
        """Whether a spot fill could be paid: a derivative's loss may have taken what an order held.

        `spent`: what fills before it will have cost, in atoms.
        """
        if not grid.spot:
            return True
        needed, unit = self._spot_need(grid, side, lots, ticks, with_fee=False)
        return needed + spent <= self._total(unit)

    def cost(self, grid: Grid, side: Side, lots: int, ticks: int) -> int:
        """What a spot fill would take from the balance that pays for it, in atoms, with the larger fee."""
        return self._spot_need(grid, side, lots, ticks)[0] if grid.spot else 0

    def hold(self, order_number: int, grid: Grid, side: Side, lots: int, ticks: int, *, reduce_only: bool) -> None:
        """Ties up what the order may need; replaces what it held before."""
        self.release(order_number)
        if grid.spot:
            needed, unit = self._spot_need(grid, side, lots, ticks)
            purse = self._purse(unit)
            purse.held += needed
            self._spot_holds[order_number] = (purse, needed)
        elif not reduce_only:
            line, value = self._line(grid), grid.value_atoms(ticks, lots)
            buying, selling = (value, 0) if side == "BUY" else (0, value)
            self._working[order_number] = (line, buying, selling)
            self._add_working(line, buying, selling)

    def release(self, order_number: int) -> None:
        """No effect when it holds nothing."""
        if order_number in self._spot_holds:
            purse, needed = self._spot_holds.pop(order_number)
            purse.held -= needed
        elif order_number in self._working:
            line, buying, selling = self._working.pop(order_number)
            self._add_working(line, -buying, -selling)

    def _add_working(self, line: _Line, buying: int, selling: int) -> None:
        line.buying += buying
        line.selling += selling
        self._update_margin(line)

    def _margin_need(self, grid: Grid, side: Side, lots: int, ticks: int) -> int:
        """0: it can only reduce what stands behind it already."""
        value = grid.value_atoms(ticks, lots)
        buying, selling = (value, 0) if side == "BUY" else (0, value)
        line = self._lines.get(grid.instrument_id)
        if line is None:
            more = self._margin(value)
        else:
            more = self._margin(line.exposure(line.buying + buying, line.selling + selling)) - line.initial
        return more + max(0, grid.fee_atoms(value, maker=False)) if more > 0 else 0

    def _spot_need(self, grid: Grid, side: Side, lots: int, ticks: int, *, with_fee: bool = True) -> tuple[int, str]:
        """A seller's fee comes out of what is received."""
        if side == "SELL":
            return lots * grid.lot_atoms, grid.base
        value = grid.value_atoms(ticks, lots)
        if with_fee:
            value += max(0, grid.fee_atoms(value, maker=True), grid.fee_atoms(value, maker=False))
        return value, grid.currency

    def _free(self, currency: str) -> int:
        """What nothing ties up. A loss not yet realized is gone already, a profit is not there yet."""
        purse = self._purses.get(currency)
        if purse is None:
            return 0
        open_profit = sum(line.unrealized() for line in self._lines.values() if line.purse is purse and line.lots)
        return purse.total - purse.held - purse.margin + min(0, open_profit)

    def _total(self, currency: str) -> int:
        purse = self._purses.get(currency)
        return 0 if purse is None else purse.total

    # -- fills --------------------------------------------------------------------------------------

    def settle(self, grid: Grid, side: Side, lots: int, ticks: int, *, maker: bool, ts_ns: int) -> Decimal:
        """Books one fill; the fee is in the grid's `fee_currency`, and below zero if the venue pays it."""
        fee = grid.fee_atoms(grid.value_atoms(ticks, lots), maker=maker)
        if grid.spot:
            fee = self._swap(grid, side, lots, ticks, fee)
        else:
            line = self._line(grid)
            before = to_money(line.realized)
            _fill(line, lots if side == "BUY" else -lots, ticks)
            line.ts_last_ns, line.traded = ts_ns, True
            line.purse.total += to_money(line.realized) - before - fee
            self._update_margin(line)
        return to_decimal(fee)

    def _swap(self, grid: Grid, side: Side, lots: int, ticks: int, fee: int) -> int:
        base, quote = self._purse(grid.base), self._purse(grid.currency)
        value, size = grid.value_atoms(ticks, lots), lots * grid.lot_atoms
        if side == "BUY":
            assert quote.total >= value, f"{self.terms.account}: {grid.currency} does not cover the fill"
            fee = min(fee, quote.total - value)  # many small fees round up to more than the one that was held
            quote.total -= value + fee
            base.total += size
        else:
            assert base.total >= size, f"{self.terms.account}: {grid.base} does not cover the fill"
            base.total -= size
            quote.total += value - fee
        return fee

    def mark(self, instrument_id: str, ticks: int) -> None:
        """What a position is worth now; no effect without one."""
        line = self._lines.get(instrument_id)
        if line is not None:
            line.mark_ticks = ticks

    # -- what there is ------------------------------------------------------------------------------

    def position_lots(self, instrument_id: str) -> int:
        """Signed; of a spot listing what the base balance allows to sell, held or not."""
        grid = self._grids[instrument_id]
        if grid.spot:
            return self._total(grid.base) // grid.lot_atoms
        line = self._lines.get(instrument_id)
        return 0 if line is None else line.lots

    def state(self, ts_ns: int) -> AccountState:
        return AccountState(
            account=self.terms.account,
            kind=self.terms.kind,
            balances=tuple(
                Balance(currency, to_decimal(purse.total), to_decimal(purse.held + purse.margin))
                for currency, purse in sorted(self._purses.items())
            ),
            margins=tuple(
                Margin(
                    instrument_id,
                    line.grid.currency,
                    to_decimal(line.initial),
                    to_decimal(self._margin(abs(line.cost), self._maint_rate)),
                )
                for instrument_id, line in sorted(self._lines.items())
                if line.traded or line.initial
            ),
            ts_ns=ts_ns,
        )

    def position(self, instrument_id: str) -> PositionState | None:
        """None: never traded. A position that was closed stays, with quantity 0."""
        line = self._lines.get(instrument_id)
        if line is None or not line.traded:
            return None
        return PositionState(
            account=self.terms.account,
            instrument_id=instrument_id,
            quantity=line.grid.quantity(line.lots),
            average_price=line.grid.average_price(line.cost, line.lots),
            cost=to_decimal(line.cost),
            realized=to_decimal(line.realized),
            ts_last_ns=line.ts_last_ns,
        )

    def positions(self) -> tuple[PositionState, ...]:
        found = (self.position(instrument_id) for instrument_id in sorted(self._lines))
        return tuple(position for position in found if position is not None)

    # -- inside -------------------------------------------------------------------------------------

    def _purse(self, currency: str) -> _Purse:
        return self._purses.setdefault(currency, _Purse())

    def _line(self, grid: Grid) -> _Line:
        line = self._lines.get(grid.instrument_id)
        if line is None:
            line = self._lines[grid.instrument_id] = _Line(grid, self._purse(grid.currency))
        return line

    def _update_margin(self, line: _Line) -> None:
        initial = self._margin(line.exposure(line.buying, line.selling))
        line.purse.margin += initial - line.initial
        line.initial = initial

    def _margin(self, exposure: int, rate: tuple[int, int] | None = None) -> int:
        part, whole = self._init_rate if rate is None else rate
        return to_money(exposure * part, whole)


def _fill(line: _Line, signed_lots: int, ticks: int) -> None:
    """Adds to a position, reduces it, or closes it and opens the other way round."""
    grid = line.grid
    value = grid.cost_atoms(ticks, abs(signed_lots))
    if line.lots * signed_lots < 0:
        closing = min(abs(line.lots), abs(signed_lots))
        received = grid.cost_atoms(ticks, closing)
        paid = rounded(line.cost * closing, abs(line.lots))  # all of it when all is closed
        profit = (received if line.lots > 0 else -received) - paid
        line.realized += -profit if grid.inverse else profit
        line.cost -= paid
        value -= received  # what is left of it opens the other way round
        line.lots += closing if signed_lots > 0 else -closing
        signed_lots -= closing if signed_lots > 0 else -closing
    line.lots += signed_lots
    line.cost += value if signed_lots > 0 else -value


def _checked(terms: AccountTerms) -> dict[str, int]:
    """Starting balances in atoms."""
    if terms.kind not in {"CASH", "MARGIN"}:
        raise ValueError(f"account {terms.account!r}: kind is {terms.kind!r}; it must be CASH or MARGIN")
    if not terms.leverage.is_finite() or not 1 <= terms.leverage <= LEVERAGE_MAX:
        raise ValueError(f"account {terms.account!r}: leverage is {terms.leverage}; it must be 1 to {LEVERAGE_MAX}")
    for currency, amount in terms.starting_balances.items():
        if not amount.is_finite() or not 0 <= amount <= SIZE_MAX:
            raise ValueError(
                f"account {terms.account!r}: starting balance {amount} {currency}; it must be 0 to {SIZE_MAX:,}"
            )
    return {currency: to_atoms(amount) for currency, amount in terms.starting_balances.items()}


def _insufficient(what: str, needed: int, free: int, unit: str) -> str:
    return f"INSUFFICIENT_{what}: need={plain(to_decimal(needed)):f} free={plain(to_decimal(free)):f} unit={unit}"
