"""What watches over a running node: the alert desk's thread, the clients for the breakers, the drop copy."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from nautilus_ext.app.database import secrets_in
from nautilus_ext.logs import Masker
from nautilus_ext.persistence import VenueWatch
from nautilus_ext.risk import AlertDesk, CircuitBreakers
from nautilus_ext.schema.alerts import Teller

if TYPE_CHECKING:
    from nautilus_ext.app.book import BookHold
    from nautilus_ext.app.database import Tables
    from nautilus_ext.app.node import Node
    from nautilus_ext.config import Config

_logger = logging.getLogger(__name__)


class Watching:
    """Opened once the node is built, closed once it is disposed of."""

    def __init__(self, config: Config, tables: Tables, node: Node, hold: BookHold) -> None:
        self._desks: list[AlertDesk] = []
        timeout_s = config.suite.database.connect_timeout_s
        for actor in node.actors:
            if isinstance(actor, AlertDesk):
                teller, webhook = Teller(hold.book_id, hold.run, hold.epoch), config.suite.alerts.webhook
                mask = Masker(config.secrets.masked | secrets_in(tables)).text
                actor.open(lambda: tables.app_url, teller, webhook=webhook, connect_timeout_s=timeout_s, mask=mask)
                self._desks.append(actor)
            elif isinstance(actor, CircuitBreakers):
                actor.venues.clients = node.exec_clients
            elif isinstance(actor, VenueWatch):
                actor.open(lambda: tables.app_url, node.exec_clients, connect_timeout_s=timeout_s)

    def end(self) -> None:
        """The node is gone: the desk tells what waits while the journal is finished."""
        for desk in self._desks:
            desk.end()

    def close(self) -> None:
        untold = sum(desk.close() for desk in self._desks)
        if untold:
            _logger.error("%s alerts did not reach the table or the webhook: they are in the log", f"{untold:,}")
