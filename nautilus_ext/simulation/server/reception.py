"""Who may come in: the Hello of each connection, and the account that it then trades for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nautilus_ext.simulation import wire
from nautilus_ext.simulation.exchange.orders import Refusal
from nautilus_ext.simulation.server import requests

if TYPE_CHECKING:
    from collections.abc import Callable

    from nautilus_ext.simulation.exchange.orders import AccountTerms
    from nautilus_ext.simulation.server.floor import Floor
    from nautilus_ext.simulation.server.ledger import Ledger, OpenAccount
    from nautilus_ext.simulation.server.sessions import Session

EXCHANGE = "simulated"
ACCOUNTS_MAX = 1_000


class Reception:
    """Of one server. `step_aside` ends it if it has no client, and tells whether it does; `is_full`: of clients."""

    def __init__(self, floor: Floor, step_aside: Callable[[], bool], is_full: Callable[[], bool]) -> None:
        self._floor = floor
        self._ledger = floor.ledger
        self._step_aside = step_aside
        self._is_full = is_full

    def greet(self, session: Session, request: wire.AnyRequest) -> wire.Welcome | Refusal:
        if not isinstance(request, wire.Hello):
            return Refusal("HELLO_FIRST", "a connection begins with Hello")
        refusal = self._hello_refused(session, request)
        if refusal is not None:
            return refusal
        if request.venue is not None and request.terms is not None:
            refusal = self._opened(request.venue, request.terms)
            if refusal is not None:
                return refusal
        session.session = request.session
        session.name = f"{request.session} ({session.name})"
        if request.venue is not None:
            session.venue = request.venue
            session.delay_s = self._floor.delays_s[request.venue]
        if request.terms is not None:
            self._join(session, request.terms, request.resume_after)
        session.is_greeted = True
        seq = 0 if session.account is None else session.account.seq
        return wire.Welcome(
            request=request.request, exchange=EXCHANGE, run=self._ledger.run, seq=seq, world=self._floor.world.digest
        )

    def _hello_refused(self, session: Session, hello: wire.Hello) -> Refusal | None:
        if session.is_greeted:
            return Refusal("HELLO_TWICE", "this connection has said Hello; open another one")
        if hello.protocol != wire.PROTOCOL:
            return Refusal("OTHER_PROTOCOL", f"this server speaks {wire.PROTOCOL}, you speak {hello.protocol}")
        return self._place_refused(hello) or self._terms_refused(hello) or self._full()

    def _full(self) -> Refusal | None:
        if not self._is_full():
            return None
        return Refusal("TOO_MANY_CLIENTS", "the server has all the connections that it takes: stop a node, then retry")

    def _place_refused(self, hello: wire.Hello) -> Refusal | None:
        if hello.world not in (None, self._floor.world.digest):
            return self._other_world()
        if hello.venue is not None and hello.venue not in self._floor.venues:
            return Refusal("UNKNOWN_VENUE", f"{hello.venue[:40]!r}; there are {', '.join(self._floor.venues)}")
        if not requests.is_id(hello.session) or (hello.terms is not None and hello.venue is None):
            return Refusal("BAD_REQUEST", "a Hello needs a session's name, and with terms a venue")
        return None

    def _terms_refused(self, hello: wire.Hello) -> Refusal | None:
        if hello.venue is None or hello.terms is None:
            return None
        return requests.bad_terms(hello.terms) or self._account_refused(hello.venue, hello.terms.account, hello)

    def _other_world(self) -> Refusal:
        if self._step_aside():
            return Refusal("WORLD_ENDS", "it has no client and ends: start the server again with your world")
        cure = "stop the nodes that use it, make their market and venues alike, or choose another exchange name"
        return Refusal("OTHER_WORLD", f"the server was started with another market or other venues: {cure}")

    def _account_refused(self, venue: str, name: str, hello: wire.Hello) -> Refusal | None:
        former = self._floor.trading.get((venue, name))
        if former is not None and not former.is_closed and former.session != hello.session:
            return Refusal("ACCOUNT_IN_USE", f"session {former.session} trades for it: stop that one first")
        account = self._ledger.accounts.get((venue, name))
        if account is None and len(self._ledger.accounts) >= ACCOUNTS_MAX:
            return Refusal(
                "TOO_MANY_ACCOUNTS", f"there are {ACCOUNTS_MAX:,}: use one of them, or another exchange name"
            )
        if hello.resume_after is None:
            return None
        if account is None:
            return Refusal("STREAM_AHEAD", "the account has no stream yet: begin anew")
        return not_kept(self._ledger, account, hello.resume_after)

    def _opened(self, venue: str, terms: AccountTerms) -> Refusal | None:
        """Open the account if it is a new one. Nothing is booked before the venue has taken it."""
        if (venue, terms.account) in self._ledger.accounts:
            return None
        now_ns = self._floor.now_ns()
        try:
            self._floor.venues[venue].open_account(terms, now_ns)
        except ValueError as error:
            return Refusal("BAD_TERMS", f"{error}")
        self._ledger.open_account(venue, terms, now_ns)
        self._floor.drain(venue)
        return None

    def _join(self, session: Session, terms: AccountTerms, resume_after: int | None) -> None:
        """Make it the one session that trades for the account; the same client's former connection can act no more."""
        key = (session.venue, terms.account)
        former = self._floor.trading.get(key)
        if former is not None:
            former.drop("the same client connected again")
        account = self._ledger.accounts[key]
        session.account = account
        self._floor.trading[key] = session
        self._floor.replay(session, account.seq if resume_after is None else resume_after)


def not_kept(ledger: Ledger, account: OpenAccount, after: int) -> Refusal | None:
    """Say why a stream cannot be gone on with after this number."""
    if not 0 <= after <= account.seq:
        return Refusal("STREAM_AHEAD", f"{after} was never given: the last is {account.seq}; begin anew")
    if after < account.seq and after + 1 < (first := ledger.first_kept(account)):
        return Refusal("STREAM_GONE", f"{first} is the oldest that is kept: begin anew, and ask for orders and fills")
    return None
