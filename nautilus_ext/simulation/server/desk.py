"""Takes the requests of the sessions, one after the other, and answers each: carried out, or refused and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nautilus_ext.simulation import wire
from nautilus_ext.simulation.exchange.orders import Refusal
from nautilus_ext.simulation.server import requests, staff
from nautilus_ext.simulation.server.reception import Reception, not_kept

if TYPE_CHECKING:
    from collections.abc import Callable

    from nautilus_ext.simulation.exchange.venue import Venue
    from nautilus_ext.simulation.faults import RequestFault
    from nautilus_ext.simulation.server.floor import Floor
    from nautilus_ext.simulation.server.ledger import OpenAccount
    from nautilus_ext.simulation.server.sessions import Session

REFUSAL_CHARS_MAX = 1_000  # whatever a refusal repeats of a request
RETRY_AFTER_MS = 100  # what a rate-limited client is told
LIMIT = wire.REPORTS_PER_ANSWER_MAX

type Reply = wire.Answer | Refusal


class Desk:
    """Of one server, which makes way for another world with `step_aside`, and begins anew after `restart`."""

    def __init__(
        self,
        floor: Floor,
        *,
        step_aside: Callable[[], bool],
        is_full: Callable[[], bool],
        restart: Callable[[], None],
    ) -> None:
        self._floor = floor
        self._ledger = floor.ledger
        self._reception = Reception(floor, step_aside, is_full)
        self._restart = restart
        self._handlers: dict[type, Callable[..., Reply]] = {
            wire.Bye: self._bye,
            wire.ListInstruments: self._list_instruments,
            wire.Subscribe: self._subscribe,
            wire.Unsubscribe: self._unsubscribe,
            wire.GetBook: self._get_book,
            wire.Control: self._control,
        }
        self._trading: dict[type, Callable[..., Reply]] = {
            wire.Place: self._place,
            wire.Modify: self._modify,
            wire.Cancel: self._cancel,
            wire.CancelMany: self._cancel_many,
            wire.CancelAll: self._cancel_all,
            wire.GetOrders: self._get_orders,
            wire.GetFills: self._get_fills,
            wire.GetAccount: self._get_account,
            wire.Resume: self._resume,
        }

    def handle(self, session: Session, request: wire.AnyRequest) -> None:
        """Answer one request, or do to it what the venue's faults want."""
        if not session.is_greeted or isinstance(request, wire.Hello):
            session.answer(_answer(request, self._reception.greet(session, request)))
            return
        fault = self._fault(session, request)
        if fault == "drop_before":
            session.drop("by a fault, before it was carried out")
            return
        if fault in ("rejected", "rate_limited"):
            session.answer(self._refused_by_fault(session, request, fault))
            return
        answer = _answer(request, self._carry_out(session, request))
        if fault == "drop_after":
            session.drop("by a fault, after it was carried out")
        elif fault == "restart":
            self._restart()
        else:
            session.answer(answer, fault, self._late_s(session))
        self._follow_up(session, request, answer)

    def _fault(self, session: Session, request: wire.AnyRequest) -> RequestFault | None:
        plan = self._floor.plans.get(session.venue)
        if plan is None or isinstance(request, wire.Bye | wire.Control):
            return None
        name = type(request).__name__
        fault = plan.request(name)
        if fault is not None:
            what = f"{fault} for {session.name}: {name} {request.request}"
            self._floor.log(f"fault {plan.number} at {session.venue}: {what}")
        return fault

    def _refused_by_fault(self, session: Session, request: wire.AnyRequest, fault: RequestFault) -> wire.Refused:
        after_ms = RETRY_AFTER_MS if fault == "rate_limited" else 0
        text = f"fault {self._floor.plans[session.venue].number} of the venue"
        return wire.Refused(request=request.request, code=fault.upper(), text=text, retry_after_ms=after_ms)

    def _late_s(self, session: Session) -> float:
        plan = self._floor.plans.get(session.venue)
        return 0.0 if plan is None else plan.late_s

    def _carry_out(self, session: Session, request: wire.AnyRequest) -> Reply:
        kind = type(request)
        if kind in self._handlers:
            return self._handlers[kind](session, request)
        if session.account is None:
            return Refusal("NOT_TRADING", "this connection said Hello without a venue and terms")
        return self._trading[kind](session.venue, session.account, request)

    def _follow_up(self, session: Session, request: wire.AnyRequest, answer: wire.Answer) -> None:
        """What comes after the answer: the stream, or a subscription's first datum."""
        if isinstance(answer, wire.Refused):
            return
        if isinstance(request, wire.Resume):
            self._floor.replay(session, request.after)
        elif isinstance(request, wire.Subscribe):
            self._floor.feed.subscribe(session, request.channel, request.instrument_id, self._floor.now_ns())
        elif session.account is not None:
            self._floor.drain(session.venue)

    def _bye(self, session: Session, request: wire.Bye) -> Reply:
        session.said_bye = True
        return wire.Done(request=request.request)

    def _control(self, _session: Session, request: wire.Control) -> Reply:
        return staff.carry_out(self._floor, request)

    # -- the market ---------------------------------------------------------------------------------

    def _list_instruments(self, session: Session, request: wire.ListInstruments) -> Reply:
        wanted = request.venue or session.venue
        listings = self._floor.world.listings()
        if wanted and wanted not in listings:
            return Refusal("UNKNOWN_VENUE", f"{wanted[:40]!r}; there are {', '.join(listings)}")
        names = (wanted,) if wanted else tuple(listings)
        found = tuple(listing for name in names for listing in listings[name])
        return wire.Instruments(request=request.request, listings=found)

    def _subscribe(self, session: Session, request: wire.Subscribe) -> Reply:
        return self._unlisted(session, request.instrument_id) or wire.Done(request=request.request)

    def _unsubscribe(self, session: Session, request: wire.Unsubscribe) -> Reply:
        self._floor.feed.unsubscribe(session, request.channel, request.instrument_id)
        return wire.Done(request=request.request)

    def _get_book(self, session: Session, request: wire.GetBook) -> Reply:
        refusal = self._unlisted(session, request.instrument_id)
        if refusal is not None:
            return refusal
        book = self._floor.feed.levels(request.instrument_id, max(0, request.depth), self._floor.now_ns())
        return wire.BookSnapshot(request=request.request, book=book)

    def _unlisted(self, session: Session, instrument_id: str) -> Refusal | None:
        if self._floor.feed.lists(instrument_id, session.venue):
            return None
        return Refusal("UNKNOWN_INSTRUMENT", f"{instrument_id[:80]!r} is not listed here; see ListInstruments")

    # -- orders -------------------------------------------------------------------------------------

    def _place(self, venue: str, account: OpenAccount, request: wire.Place) -> Reply:
        name = account.terms.account
        refusal = requests.bad_list(request.orders)
        if refusal is not None:
            return refusal
        for order in request.orders:
            if self._ledger.is_known(venue, name, order.client_order_id):
                return Refusal("DUPLICATE_ID", f"{order.client_order_id} was used before: ids are unique for ever")
        refusal = self._floor.venues[venue].place(name, request.orders, self._floor.now_ns())
        return refusal or wire.Done(request=request.request)

    def _modify(self, venue: str, account: OpenAccount, request: wire.Modify) -> Reply:
        numbers = requests.numbers_from((request.quantity, request.price, request.trigger_price))
        if isinstance(numbers, Refusal):
            return numbers
        quantity, price, trigger_price = numbers
        refusal = _bad_ids(request) or self._floor.venues[venue].modify(
            account.terms.account,
            request.client_order_id,
            request.venue_order_id,
            quantity=quantity,
            price=price,
            trigger_price=trigger_price,
            ts_ns=self._floor.now_ns(),
        )
        return self._closed(venue, account, request, refusal) or wire.Done(request=request.request)

    def _cancel(self, venue: str, account: OpenAccount, request: wire.Cancel) -> Reply:
        refusal = _bad_ids(request) or self._floor.venues[venue].cancel(
            account.terms.account, request.client_order_id, request.venue_order_id, self._floor.now_ns()
        )
        return self._closed(venue, account, request, refusal) or wire.Done(request=request.request)

    def _closed(
        self, venue: str, account: OpenAccount, request: wire.Modify | wire.Cancel, refusal: Refusal | None
    ) -> Refusal | None:
        """A venue forgets an order that is closed; the ledger does not."""
        if refusal is None or refusal.code != "UNKNOWN_ORDER":
            return refusal
        ask = wire.GetOrders(
            request=0,
            client_order_id=None if request.venue_order_id else request.client_order_id,
            venue_order_id=request.venue_order_id or None,
        )
        self._floor.drain(venue)
        found = self._ledger.orders(venue, account.terms.account, ask, 1)
        return Refusal("ORDER_CLOSED", f"it is {found[0].status}") if found else refusal

    def _cancel_many(self, venue: str, account: OpenAccount, request: wire.CancelMany) -> Reply:
        ids = request.client_order_ids
        if not 1 <= len(ids) <= wire.ORDERS_PER_LIST_MAX:
            return Refusal("BAD_REQUEST", f"{len(ids)} orders; 1 to {wire.ORDERS_PER_LIST_MAX} are taken")
        answers = (self._cancel(venue, account, wire.Cancel(request=0, client_order_id=each)) for each in ids)
        refused = tuple(each.code if isinstance(each, Refusal) else "" for each in answers)
        return wire.Done(request=request.request, refused=refused)

    def _cancel_all(self, venue: str, account: OpenAccount, request: wire.CancelAll) -> Reply:
        if request.instrument_id is not None and not self._floor.feed.lists(request.instrument_id, venue):
            return Refusal("UNKNOWN_INSTRUMENT", f"{request.instrument_id[:80]!r} is not listed here")
        self._floor.venues[venue].cancel_all(
            account.terms.account, request.instrument_id, request.side, self._floor.now_ns()
        )
        return wire.Done(request=request.request)

    # -- what is known ------------------------------------------------------------------------------

    def _get_orders(self, venue: str, account: OpenAccount, request: wire.GetOrders) -> Reply:
        refusal = requests.bad_moments((request.since_ns, request.until_ns))
        if refusal is not None:
            return refusal
        found = self._ledger.orders(venue, account.terms.account, request, LIMIT + 1)
        return wire.Orders(
            request=request.request, orders=tuple(found[:LIMIT]), seq=account.seq, more=len(found) > LIMIT
        )

    def _get_fills(self, venue: str, account: OpenAccount, request: wire.GetFills) -> Reply:
        refusal = requests.bad_moments((request.since_ns, request.until_ns))
        if refusal is not None:
            return refusal
        found = self._ledger.fills(venue, account.terms.account, request, LIMIT + 1)
        return wire.Fills(request=request.request, fills=tuple(found[:LIMIT]), seq=account.seq, more=len(found) > LIMIT)

    def _get_account(self, venue: str, account: OpenAccount, request: wire.GetAccount) -> Reply:
        at: Venue = self._floor.venues[venue]
        name = account.terms.account
        state = at.account_state(name, self._floor.now_ns())
        return wire.Account(request=request.request, state=state, positions=at.positions(name), seq=account.seq)

    def _resume(self, _venue: str, account: OpenAccount, request: wire.Resume) -> Reply:
        return not_kept(self._ledger, account, request.after) or wire.Done(request=request.request)


def _answer(request: wire.AnyRequest, reply: Reply) -> wire.Answer:
    if isinstance(reply, Refusal):
        return wire.Refused(request=request.request, code=reply.code, text=reply.text[:REFUSAL_CHARS_MAX])
    return reply


def _bad_ids(request: wire.Modify | wire.Cancel) -> Refusal | None:
    """A venue may count on ids of a sane length."""
    ids = [each for each in (request.client_order_id, request.venue_order_id) if each]
    if all(map(requests.is_id, ids)) and ids:
        return None
    return Refusal("BAD_REQUEST", f"an id has 1 to {requests.ID_CHARS_MAX} printable characters")
