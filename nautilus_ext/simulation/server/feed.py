"""What everybody may see of the market, sent to whom subscribed it. Each message is made once, whoever reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nautilus_ext.simulation import wire
from nautilus_ext.simulation.market import venue_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from nautilus_ext.simulation.exchange.venue import MarketChanges, Venue
    from nautilus_ext.simulation.market import Quote
    from nautilus_ext.simulation.server.sessions import Session


class Feed:
    """Of one server. A session that is forgotten gets nothing more."""

    def __init__(self, venues: Mapping[str, Venue]) -> None:
        self._venues = venues
        self._listed = {name: venue for venue in venues.values() for name in venue.grids}
        self._readers: dict[tuple[str, str], dict[Session, None]] = {}
        self._numbers = dict.fromkeys(self._listed, 0)  # of the last change of each book
        self._last_quotes: dict[str, Quote] = {}

    def lists(self, instrument_id: str, venue: str) -> bool:
        """Tell whether it is traded here, and at this venue unless that is empty."""
        return instrument_id in self._listed and venue in ("", venue_of(instrument_id))

    def levels(self, instrument_id: str, depth: int, ts_ns: int) -> wire.BookLevels:
        self.publish(self._listed[instrument_id], ts_ns)  # first: the number must be that of what is shown
        bids, asks = self._listed[instrument_id].levels(instrument_id, depth)
        number = self._numbers[instrument_id]
        return wire.BookLevels(instrument_id=instrument_id, bids=bids, asks=asks, number=number, ts_ns=ts_ns)

    # -- who reads what -----------------------------------------------------------------------------

    def subscribe(self, session: Session, channel: wire.Channel, instrument_id: str, ts_ns: int) -> None:
        """Begin with what is now, where there is such a thing: nobody waits for a change to know the market."""
        if channel == "book":
            snapshot = wire.BookSnapshotMessage(book=self.levels(instrument_id, 0, ts_ns))
            session.send(wire.frame(snapshot))
        elif channel == "quotes":
            self.publish(self._listed[instrument_id], ts_ns)  # first: then all readers have seen the same
            quote = self._last_quotes[instrument_id] = self._listed[instrument_id].quote(instrument_id)
            session.send(_quote_frame(quote, ts_ns))
        elif channel == "status":
            halted = self._listed[instrument_id].halted
            session.send(wire.frame(_status(instrument_id, ts_ns, halted=halted)))
        self._readers.setdefault((channel, instrument_id), {})[session] = None

    def unsubscribe(self, session: Session, channel: wire.Channel, instrument_id: str) -> None:
        self._readers.get((channel, instrument_id), {}).pop(session, None)

    def forget(self, session: Session) -> None:
        for readers in self._readers.values():
            readers.pop(session, None)

    def _send(self, channel: wire.Channel, instrument_id: str, message: wire.Message) -> None:
        readers = self._readers.get((channel, instrument_id))
        if readers:
            data = wire.frame(message)
            for session in readers:
                session.send(data)

    # -- what happened ------------------------------------------------------------------------------

    def publish(self, venue: Venue, ts_ns: int, quoted: Iterable[str] = ()) -> None:
        """Tell what changed at a venue; `quoted` have a new quote of the market model, even when it is the old one."""
        changes = venue.take_market()
        for instrument_id in dict.fromkeys((*quoted, *changes.levels)):
            self._publish_quote(venue, instrument_id, ts_ns, is_new=instrument_id in quoted)
        for trade in changes.prints:
            message = wire.TradeMessage(
                instrument_id=trade.instrument_id,
                trade_id=str(trade.match_id),
                price_ticks=trade.ticks,
                lots=trade.lots,
                buyer_is_aggressor=trade.buyer_is_aggressor,
                ts_ns=ts_ns,
            )
            self._send("trades", trade.instrument_id, message)
        self._publish_books(changes, ts_ns)
        if changes.halted is not None:
            for instrument_id in venue.grids:
                self._send("status", instrument_id, _status(instrument_id, ts_ns, halted=changes.halted))

    def _publish_quote(self, venue: Venue, instrument_id: str, ts_ns: int, *, is_new: bool) -> None:
        readers = self._readers.get(("quotes", instrument_id))
        if not readers:
            return
        quote = venue.quote(instrument_id)
        if not is_new and self._last_quotes.get(instrument_id) == quote:
            return
        self._last_quotes[instrument_id] = quote
        data = _quote_frame(quote, ts_ns)
        for session in readers:
            session.send(data)

    def _publish_books(self, changes: MarketChanges, ts_ns: int) -> None:
        for instrument_id, (bids, asks) in changes.levels.items():
            self._numbers[instrument_id] += 1
            if not self._readers.get(("book", instrument_id)):
                continue
            number = self._numbers[instrument_id]
            message = wire.BookChange(
                instrument_id=instrument_id,
                number=number,
                bids=tuple(bids.items()),
                asks=tuple(asks.items()),
                ts_ns=ts_ns,
            )
            self._send("book", instrument_id, message)


def _status(instrument_id: str, ts_ns: int, *, halted: bool) -> wire.StatusMessage:
    return wire.StatusMessage(instrument_id=instrument_id, status="HALT" if halted else "TRADING", ts_ns=ts_ns)


def _quote_frame(quote: Quote, ts_ns: int) -> bytes:
    return wire.frame(
        wire.QuoteMessage(
            instrument_id=quote.instrument_id,
            bid_ticks=quote.bid_ticks,
            ask_ticks=quote.ask_ticks,
            bid_lots=quote.bid_lots,
            ask_lots=quote.ask_lots,
            ts_ns=ts_ns,
        )
    )
