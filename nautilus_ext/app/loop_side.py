"""The end of the command channel that lives on the node's loop: it hands commands to the gate and hears of its own."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from nautilus_ext.messages import ALERT, COMMAND, COMMANDED, CommandAsked
from nautilus_ext.risk.alerts import alert

if TYPE_CHECKING:
    from collections.abc import Callable

    from nautilus_ext.app.docket import Ticket
    from nautilus_ext.messages import Commanded
    from nautilus_ext.risk.alerts import Severity

NO_GATE = "nothing in this node takes commands: risk.enabled is false, so there is no gate that could apply it"

log = logging.getLogger(__name__)


class LoopSide:
    """`call` has the node's loop do something, from any thread; what is called never raises there."""

    def __init__(self, msgbus: Any, call: Callable[..., None]) -> None:
        self._msgbus = msgbus
        self._call = call

    def apply(self, ticket: Ticket) -> None:
        self._call(self._apply, ticket)

    def tell(self, code: str, scope: str, severity: Severity, text: str) -> None:
        """Raise an alert, from any thread."""
        self._call(self._publish, alert(code, scope, severity, text, time.time_ns()))

    def hear(self, commanded: Callable[[Commanded], None]) -> None:
        """Be told of each command that the node gives itself; before the loop runs."""
        self._msgbus.subscribe(topic=COMMANDED, handler=commanded)

    def _apply(self, ticket: Ticket) -> None:
        if not ticket.begin():
            return
        if COMMAND not in self._msgbus.endpoints():
            ticket.answer(False, NO_GATE)
            return
        try:
            self._msgbus.send(endpoint=COMMAND, msg=CommandAsked(command=ticket.command, answer=ticket.answer))
        except Exception as error:
            log.exception("command %s failed", ticket.command_id)
            ticket.answer(False, f"it failed in the node ({type(error).__name__}): see its log")

    def _publish(self, message: Any) -> None:
        try:
            self._msgbus.publish(topic=ALERT, msg=message)
        except Exception:
            log.exception("an alert failed: %s", message)
