"""The way of a run's events into the tables: the Mirror inside the node, and the shipper beside it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, NamedTuple

from nautilus_ext.app.view import Part
from nautilus_ext.persistence import Mirror, PortfolioStore
from nautilus_ext.persistence.shipper.launch import Shipping
from nautilus_ext.persistence.shipper.state import ShipperOrder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nautilus_ext.app.book import BacktestBook, BookHold
    from nautilus_ext.app.database import Tables
    from nautilus_ext.config import Config

BEHIND_SHOWN = 1000  # fewer events on their way are no news
_logger = logging.getLogger(__name__)


class Account(NamedTuple):
    """What became of a run's events: in words, and whether none is missing from where it should be."""

    text: str
    whole: bool


class Journal:
    """Started once the node is built, finished once it is disposed of; without a Mirror in the node it does nothing."""

    def __init__(
        self,
        config: Config,
        tables: Tables,
        actors: list[Any],
        book: BookHold | BacktestBook,
        exec_clients: Sequence[Any] = (),
    ) -> None:
        self._mirror = next((actor for actor in actors if isinstance(actor, Mirror)), None)
        self._store = next((actor for actor in actors if isinstance(actor, PortfolioStore)), None)
        self._shipping: Shipping | None = None
        settings = config.suite.database
        if self._store is not None:
            self._store.open(
                lambda: tables.app_url,
                book_id=book.book_id,
                epoch=book.epoch,
                pool_size=settings.pool_size,
                connect_timeout_s=settings.connect_timeout_s,
                statement_timeout_s=settings.statement_timeout_s,
            )
        if self._mirror is None:
            return
        self._mirror.know_venues(exec_clients)
        self._shipping = Shipping.start(shipper_order(config, tables, book))

    @property
    def seq(self) -> int:
        """The number of the run's last event so far."""
        return self._mirror.seq if self._mirror is not None else 0

    @property
    def part(self) -> Part:
        """One word for the live view: how far the tables are behind."""
        if self._mirror is None or self._shipping is None:
            return Part("journal", "off", well=True)
        mirror, shipper = self._mirror.mirror_state, self._shipping.state
        trouble = mirror.last_error or shipper.last_error
        if trouble:
            return Part("journal", trouble, well=False)
        behind = max(mirror.seq - shipper.shipped_seq, 0)
        return Part("journal", f"{behind:,} behind" if behind > BEHIND_SHOWN else "written", well=True)

    def finish(self, *, clean: bool, timeout_s: float) -> Account:
        """End the log, wait for the tables for a while, and say how far they are."""
        unwritten = self._store.close() if self._store is not None else 0
        if unwritten:
            _logger.error("%s rows of the portfolio's state could not be written: see the log", f"{unwritten:,}")
        if self._mirror is None or self._shipping is None:
            return Account("off: persistence.enabled is false", whole=True)
        lost = self._mirror.finish(clean=clean)
        seq = self._mirror.seq
        drained = self._shipping.drain(timeout_s)
        shipped = self._shipping.state
        self._shipping.close()
        if lost:
            _logger.critical("%s events never reached the local log: see the log for why", f"{lost:,}")
            return Account(f"{seq:,} events, {lost:,} of them LOST before the local log: see the log", whole=False)
        behind = max(seq - shipped.shipped_seq, 0)
        if shipped.phase == "ended" and (behind or shipped.missing):
            missing = behind + shipped.missing
            _logger.critical("%s events are not in the tables: %s", f"{missing:,}", shipped.last_error)
            return Account(f"{seq:,} events, {missing:,} of them NOT in the tables: run `audit`", whole=False)
        if drained:
            rejected = f", but {shipped.rejected:,} that they refused: see rejected_events" if shipped.rejected else ""
            return Account(f"{seq:,} events, all in the tables{rejected}", whole=True)
        _logger.warning("%s events are in the local log and not in the tables yet: the shipper goes on", f"{behind:,}")
        still = f"{behind:,} of them still on their way to the tables: the shipper goes on"
        return Account(f"{seq:,} events, {still}", whole=True)


def shipper_order(config: Config, tables: Tables, book: BookHold | BacktestBook) -> ShipperOrder:
    server, settings = tables.server, config.suite.database
    return ShipperOrder(
        journal_folder=str(config.journal_folder(book.book_id)),
        book_id=book.book_id,
        run=book.run,
        epoch=book.epoch,
        embedded_folder=str(server.folder) if server is not None else None,
        embedded_port=settings.embedded_port,
        url=None if server is not None else tables.app_url,
        connect_timeout_s=settings.connect_timeout_s,
        statement_timeout_s=settings.statement_timeout_s,
    )
