"""What a running node tells beyond its log: the alert desk's thread, started and ended with the run."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from nautilus_ext.risk import AlertDesk
from nautilus_ext.schema.alerts import Teller

if TYPE_CHECKING:
    from nautilus_ext.app.book import BookHold
    from nautilus_ext.app.database import Tables
    from nautilus_ext.config import Config

_logger = logging.getLogger(__name__)


class AlertsOut:
    """Opened once the node is built, closed once it is disposed of."""

    def __init__(self, config: Config, tables: Tables, actors: list[Any], hold: BookHold) -> None:
        self._desk = next((actor for actor in actors if isinstance(actor, AlertDesk)), None)
        if self._desk is not None:
            self._desk.open(
                lambda: tables.app_url,
                Teller(hold.book_id, hold.run, hold.epoch),
                webhook=config.suite.alerts.webhook,
                connect_timeout_s=config.suite.database.connect_timeout_s,
            )

    def close(self) -> None:
        untold = self._desk.close() if self._desk is not None else 0
        if untold:
            _logger.error("%s alerts did not reach the table or the webhook: they are in the log", f"{untold:,}")
