"""The commands that a run has in hand: each is begun once, whichever way it comes again, and written until it is.

A command has its number from the moment at which it goes to the node's loop: what they add up to is read in that order.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from nautilus_ext.risk.inbox import KINDS as HARMLESS_TWICE
from nautilus_ext.risk.standing import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from nautilus_ext.risk.commands import Command

OPEN_MAX = 1_000  # that are begun or not written yet; then no more are taken
OWN_MAX = 10_000  # of the node itself that are not written yet
REMEMBERED_MAX = 10_000  # that are over: one that comes again finds its answer
ANSWER_S_MAX = 30.0  # the gate's own bounds are far below

Kept = tuple[str, str, dict[str, Any], str]  # id, kind, arguments, who: what a row keeps of it


class Ticket:
    """One command on its way through the node. Made and written by the channel, applied and answered on the loop."""

    def __init__(self, number: int, kept: Kept, command: Command | None, answered: Callable[[], None]) -> None:
        self.number = number
        self.kept = kept
        self.command = command
        self.is_own = False  # the node has given it itself
        self.has_row = False  # it stands in the table as taken
        self.file = ""  # the file of the inbox that asks for it
        self.is_told = False  # in the inbox
        self.is_written = False
        self.outcome: Outcome | None = None
        self.since_s = time.monotonic()
        self._answered = answered
        self._lock = threading.Lock()
        self._is_begun = False

    @property
    def command_id(self) -> str:
        return self.kept[0]

    @property
    def is_begun(self) -> bool:
        return self._is_begun

    @property
    def is_harmless_twice(self) -> bool:
        return self.kept[1] in HARMLESS_TWICE

    def begin(self) -> bool:
        """On the loop, before it is applied: False when it was given up meanwhile."""
        with self._lock:
            self._is_begun = self.outcome is None
            return self._is_begun

    def answer(self, applied: bool, text: str) -> None:  # noqa: FBT001 - as messages.CommandAsked says
        """What came of it; the first answer counts. From any thread."""
        with self._lock:
            if self.outcome is not None:
                return
            self.outcome = Outcome(applied, text)
        self._answered()

    def give_up(self, text: str) -> bool:
        """Refuse what the loop has not begun, which then never begins it; False when it has."""
        with self._lock:
            if self._is_begun or self.outcome is not None:
                return False
            self.outcome = Outcome(applied=False, text=text)
        return True

    def overdue(self, now_s: float) -> bool:
        return self.outcome is None and now_s - self.since_s > ANSWER_S_MAX


class Docket:
    """All tickets of a run. For the channel's thread alone; `answered` is called by whichever thread answers."""

    def __init__(self, answered: Callable[[], None]) -> None:
        self._answered = answered
        self._numbers = 0
        self._open: dict[str, Ticket] = {}
        self._over: OrderedDict[str, Ticket] = OrderedDict()
        self._own = 0

    @property
    def has_room(self) -> bool:
        return len(self._open) - self._own < OPEN_MAX

    @property
    def own_has_room(self) -> bool:
        return self._own < OWN_MAX

    def known(self, command_id: str) -> Ticket | None:
        return self._open.get(command_id) or self._over.get(command_id)

    def add(self, kept: Kept, command: Command | None, outcome: Outcome | None = None, *, own: bool = False) -> Ticket:
        """A new one; with an outcome it is over already, and only wants to be written."""
        self._numbers += 1
        ticket = self._open[kept[0]] = Ticket(self._numbers, kept, command, self._answered)
        ticket.outcome, ticket.is_own = outcome, own
        self._own += own
        return ticket

    def again(self, ticket: Ticket) -> None:
        """It has come another way: its answer is to be written there as well."""
        ticket.is_written = False
        if self._over.pop(ticket.command_id, None) is not None:
            self._open[ticket.command_id] = ticket
            self._own += ticket.is_own

    def written(self, ticket: Ticket) -> None:
        ticket.is_written = True
        if self._open.pop(ticket.command_id, None) is None:
            return
        self._own -= ticket.is_own
        command_id, kind, _, by = ticket.kept
        ticket.kept = (command_id, kind, {}, by)  # its row has the rest
        self._over[ticket.command_id] = ticket
        while len(self._over) > REMEMBERED_MAX:
            self._over.popitem(last=False)

    def to_write(self) -> list[Ticket]:
        return [ticket for ticket in self._open.values() if ticket.outcome is not None and not ticket.is_written]

    def unanswered(self) -> list[Ticket]:
        return [ticket for ticket in self._open.values() if ticket.outcome is None]
