"""Where things happen: the venues, the market that moves them, the ledger that keeps what they say, the streams."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

from nautilus_ext.simulation import wire
from nautilus_ext.simulation.exchange.register import Counters
from nautilus_ext.simulation.exchange.venue import Venue
from nautilus_ext.simulation.faults import FaultPlan, Faults
from nautilus_ext.simulation.market import Begin, Quote, Step, tape, venue_of
from nautilus_ext.simulation.server.feed import Feed
from nautilus_ext.simulation.server.ledger import LedgerError
from nautilus_ext.simulation.world import World, broken_promises, from_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from nautilus_ext.simulation.server.ledger import Ledger
    from nautilus_ext.simulation.server.sessions import Session

REPLAY_ITEMS = 500  # sent again in one turn of the server


class Floor:
    """All venues of one server. Nothing here waits; `commit` ends a turn and lets the answers go."""

    def __init__(self, world: World, ledger: Ledger, log: Callable[[str], None]) -> None:
        self.world = world
        self.ledger = ledger
        self.log = log
        self.trading: dict[tuple[str, str], Session] = {}  # by venue and account
        self.stale: set[str] = set()  # venues, as Control wants it
        self.halted: set[str] = set()  # the same
        self.is_paused = False
        self.plans = {terms.name: FaultPlan(terms.faults or Faults(), ledger.run) for terms in world.terms()}
        self.delays_s = {terms.name: terms.latency_ms / 1_000 for terms in world.terms()}
        listings = world.listings()
        self.venues = {
            terms.name: Venue(terms.name, listings[terms.name], levels=terms.levels, seed=world.market.seed)
            for terms in world.terms()
        }
        self.feed = Feed(self.venues)
        self._counters: dict[str, Counters] = {}
        self._replaying: set[Session] = set()
        self._last_ns = 0
        self._restore()

    def now_ns(self) -> int:
        """Never before a moment that was already said."""
        self._last_ns = max(self._last_ns, time.time_ns())
        return self._last_ns

    # -- what was before ----------------------------------------------------------------------------

    def _restore(self) -> None:
        with self.ledger.understood():
            begin = self._restore_venues()
        self._tape = tape(self.world.market, begin)
        self.step()  # the books hold our orders only: strangers come before the first client does
        self.commit()

    def _restore_venues(self) -> Begin | None:
        """Give where the market goes on."""
        meta = self.ledger.meta
        if "world" in meta:
            self._check_promises(self._former_world(meta["world"]))
        self.ledger.put_meta("world", self.world.to_json().decode())
        begin = None
        if "step" in meta:
            last = msgspec.json.decode(meta["step"], type=Begin)
            begin = Begin(last.number + 1, last.prices)
        # A venue that is stale or halted in the first step has strangers all the same: those from before.
        everywhere = next(tape(msgspec.structs.replace(self.world.market, regimes=()), begin)).quotes
        for name, venue in self.venues.items():
            if f"counters.{name}" in meta:
                self._counters[name] = msgspec.json.decode(meta[f"counters.{name}"], type=Counters)
                self._restore_venue(name, venue, [each for each in everywhere if venue_of(each.instrument_id) == name])
            self._restore_staff(name, venue, meta.get(f"staff.{name}", ""))
        return begin

    def _restore_staff(self, name: str, venue: Venue, words: str) -> None:
        if "stale" in words.split():
            self.stale.add(name)
        if "halted" in words.split():
            self.halted.add(name)
            venue.set_halted(True, self.now_ns())

    def keep_staff(self, name: str) -> None:
        """What Control made of a venue lasts over restarts, until Control ends it."""
        words = [word for word, venues in (("halted", self.halted), ("stale", self.stale)) if name in venues]
        self.ledger.put_meta(f"staff.{name}", " ".join(words))

    def _former_world(self, text: str) -> World:
        try:
            return from_json(text.encode())
        except msgspec.MsgspecError as error:
            raise LedgerError(
                f"{self.ledger.path} was written with a world that this version cannot read ({error}): "
                "move the folder away, or choose another exchange name"
            ) from error

    def _check_promises(self, old: World) -> None:
        problems = broken_promises(old, self.world, self.ledger.listings_in_use())
        if problems:
            raise LedgerError(
                f"{self.ledger.path} has orders or positions in listings that changed: {'; '.join(problems)}: "
                "give them back what they had, or choose another exchange name"
            )

    def _restore_venue(self, name: str, venue: Venue, quotes: list[Quote]) -> None:
        terms = [account.terms for (where, _), account in self.ledger.accounts.items() if where == name]
        accounts = [
            (each, self.ledger.account_state(name, each), self.ledger.positions(name, each.account, venue.grids))
            for each in terms
        ]
        orders = self.ledger.open_orders(name)
        venue.restore(counters=self._counters[name], accounts=accounts, orders=orders, quotes=quotes)

    # -- what happens -------------------------------------------------------------------------------

    def step(self) -> None:
        """Let the market go on by one step."""
        step, ts_ns = next(self._tape), self.now_ns()
        for name, venue in self.venues.items():
            part = _part(step, name, is_silent=name in self.stale)
            venue.step(part, ts_ns)
            self.drain(name)
            quoted = () if venue.halted else [quote.instrument_id for quote in part.quotes]
            self.feed.publish(venue, ts_ns, quoted)
        self.ledger.put_meta("step", msgspec.json.encode(Begin(step.number, step.prices)).decode())

    def expire(self) -> None:
        """Orders end by time also while the market is paused."""
        for name, venue in self.venues.items():
            venue.expire(self.now_ns())
            self.drain(name)

    def drain(self, name: str) -> None:
        """Number what happened at a venue, keep it, and send it to whom it concerns."""
        for account_name, event in self.venues[name].take_events():
            account = self.ledger.accounts[name, account_name]
            account.seq += 1
            body = wire.encoded(wire.StreamItem(seq=account.seq, event=event))
            self.ledger.append(account, name, event, self._last_ns, body)
            session = self.trading.get((name, account_name))
            if session is not None and session.replay_at is None and not session.is_closed:
                self._send_item(session, type(event).__name__, body)

    def _send_item(self, session: Session, event: str, body: bytes) -> None:
        plan = self.plans[session.venue]
        fault = plan.item(event)
        if fault is not None:
            self.log(f"fault {plan.number} at {session.venue}: {fault} for {session.name}: {event}")
        session.item(wire.framed(body), fault, plan.late_s)

    # -- the streams --------------------------------------------------------------------------------

    def replay(self, session: Session, after: int) -> None:
        """Send again what came after this number, a part at a time; until then nothing new goes to this session."""
        session.replay_at = after
        self._replaying.add(session)

    def _go_on_replaying(self) -> None:
        for session in [each for each in self._replaying if each.is_closed or not each.is_stuck]:
            account = session.account
            if session.is_closed or account is None or session.replay_at is None:
                self._replaying.discard(session)
                continue
            for seq, event, body in self.ledger.items_after(account, session.replay_at, REPLAY_ITEMS):
                session.replay_at = seq
                self._send_item(session, event, body)
            if session.replay_at >= account.seq:
                session.replay_at = None
                self._replaying.discard(session)

    @property
    def has_more(self) -> bool:
        """Somebody who reads still waits for a part of a stream."""
        return any(not session.is_stuck for session in self._replaying)

    def commit(self) -> None:
        """End the turn: what was booked is written before anybody is told."""
        self._go_on_replaying()
        for name, venue in self.venues.items():
            self.feed.publish(venue, self._last_ns)
            counters = venue.counters
            if self._counters.get(name) != counters:
                self._counters[name] = counters
                self.ledger.put_meta(f"counters.{name}", msgspec.json.encode(counters).decode())
        self.ledger.commit()


def _part(step: Step, venue: str, *, is_silent: bool) -> Step:
    """What one venue sees of a step."""
    if is_silent:
        return Step(step.number, (), (), step.prices, step.stale, step.halted)
    quotes = tuple(quote for quote in step.quotes if venue_of(quote.instrument_id) == venue)
    trades = tuple(trade for trade in step.trades if venue_of(trade.instrument_id) == venue)
    return Step(step.number, quotes, trades, step.prices, step.stale, step.halted)
