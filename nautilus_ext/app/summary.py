"""The account of a run, at its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nautilus_ext.app.picture import money

if TYPE_CHECKING:
    from nautilus_ext.app.node import Ended
    from nautilus_ext.app.screen import Screen
    from nautilus_ext.app.view import View

POSITIONS_SHOWN = 20


def show_summary(screen: Screen, view: View, ended: Ended, journal: str, log_file: str) -> None:
    screen.say("")
    screen.say(f"  {view.book}, run {view.run}: {ended.ran_s:,.1f} s, ended because {ended.failure or ended.reason}")
    show_account(screen, view)
    screen.say(f"  journal    {journal}")
    screen.say(f"  log        {log_file}")


def show_account(screen: Screen, view: View) -> None:
    """Orders, fills, positions and profit: the same lines after a live run and after a backtest."""
    counts = ", ".join(f"{count:,} {name}" for name, count in view.counts.items() if count)
    screen.say(f"  orders     {counts or 'none'}{f', {view.working:,} still working' if view.working else ''}")
    for row in view.positions[:POSITIONS_SHOWN]:
        screen.say(
            f"  position   {row.instrument} {row.side} {row.quantity} @ {row.average}, unrealized {row.unrealized}"
            f"  ({row.strategy})"
        )
    more = view.positions_open - min(len(view.positions), POSITIONS_SHOWN)
    if more > 0:
        screen.say(f"  position   and {more:,} more")
    if not view.positions_open:
        screen.say("  position   none open")
    screen.say(f"  PnL        {money(view)}")
