"""The execution client: one account at one venue of the simulated exchange.

What happened to an order is told by the exchange's stream alone; an answer only refuses. A command that was not
answered is neither taken for carried out nor for refused: the connection is made anew, which ends whatever was still
on its way, and then the stream and the exchange's records say what became of it.
"""

from __future__ import annotations

import asyncio
from itertools import batched
from typing import TYPE_CHECKING, Any

from nautilus_trader.common.enums import ComponentState
from nautilus_trader.core.uuid import UUID4  # pyright: ignore[reportAttributeAccessIssue] - compiled
from nautilus_trader.execution.reports import ExecutionMassStatus
from nautilus_trader.live.execution_client import LiveExecutionClient
from nautilus_trader.live.factories import LiveExecClientFactory
from nautilus_trader.model.enums import AccountType, OmsType, OrderSide
from nautilus_trader.model.identifiers import (
    AccountId,
    ClientId,
    ClientOrderId,
    Venue,
)

from nautilus_ext.simulation import wire
from nautilus_ext.simulation.client import parsing
from nautilus_ext.simulation.client.connection import Link, LinkError, NotSent, Unanswered, wait_s
from nautilus_ext.simulation.client.events import Events
from nautilus_ext.simulation.client.gate import HELD_ITEMS_MAX, Gate
from nautilus_ext.simulation.client.paging import read_all
from nautilus_ext.simulation.client.provider import SimulatedInstrumentProvider
from nautilus_ext.simulation.client.reports import Reports
from nautilus_ext.simulation.client.shared import ExchangeClient
from nautilus_ext.simulation.client.stream import Picture, before, has_changed, is_like
from nautilus_ext.simulation.exchange import orders as told
from nautilus_ext.simulation.server import launch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nautilus_trader.cache.cache import Cache
    from nautilus_trader.common.component import LiveClock, MessageBus
    from nautilus_trader.execution.reports import FillReport, OrderStatusReport, PositionStatusReport
    from nautilus_trader.model.orders import Order

    from nautilus_ext.simulation.client.config import SimulatedExecClientConfig
    from nautilus_ext.simulation.client.connection import LinkState
    from nautilus_ext.simulation.market import Listing

ATTEMPTS_MAX = 20  # of one command, with a new connection in between
SETTLE_TURNS = 6  # of the loop, until the engine has applied what it was sent
HOLD_TURNS_MAX = 10_000


class SimulatedExecutionClient(ExchangeClient, LiveExecutionClient):
    """See docs/guides/write-an-adapter.md, which follows this file from top to bottom."""

    def __init__(
        self,
        *,
        loop: asyncio.AbstractEventLoop,
        client_id: ClientId,
        msgbus: MessageBus,
        cache: Cache,
        clock: LiveClock,
        config: SimulatedExecClientConfig,
    ) -> None:
        super().__init__(
            loop=loop,
            client_id=client_id,
            venue=Venue(config.venue),
            oms_type=OmsType.NETTING,
            account_type=AccountType[config.account_type],
            base_currency=None,
            instrument_provider=SimulatedInstrumentProvider(self._listings, config.instrument_provider),
            msgbus=msgbus,
            cache=cache,
            clock=clock,
            config=config,
        )
        self._config = config
        self._terms = config.terms(msgbus.trader_id.value)
        self._set_account_id(AccountId(f"{client_id.value}-{self._terms.account}"))
        self._link: Link = None  # type: ignore[assignment]  # there is one from `_connect` on
        self._events = Events(self, cache, self._log)
        self._reports = Reports(self.account_id, self._instrument_provider, cache, clock)
        self._gate = Gate(self._apply, self._on_full)
        self._gate.hold()  # until the first reconciliation is over
        self._is_reconciling = True
        self._unspoken: set[str] = set()  # client order ids that were sent and of which the stream has not spoken yet
        self._open: dict[str, told.OrderState] = {}  # open orders by venue order id, as the stream told last
        self._state: told.AccountState | None = None  # as the engine was told last
        self._topics = {  # what tells that a reconciliation is over
            f"reports.execution.{self.venue}": self._on_mass_status,
            f"events.system.{self.trader_id}": self._on_trader,
        }

    # -- connect and disconnect ---------------------------------------------------------------------

    async def _connect(self) -> None:
        """Instruments into the cache, the account's state, the account registered; orders come with the mass status."""
        for topic, handler in self._topics.items():
            self._msgbus.subscribe(topic, handler)
        self._link = Link(
            self._find_server,
            venue=self._config.venue,
            terms=self._terms,
            answer_timeout_s=self._config.answer_timeout_s,
            on_item=self._on_item,
            on_change=self._on_link,
        )
        await self._link.open(self._config.connect_timeout_s)
        await self._instrument_provider.load_all_async()
        for instrument in self._instrument_provider.list_all():
            if self._cache.instrument(instrument.id) is None:
                self._cache.add_instrument(instrument)
        account = await self._link.read(wire.GetAccount)
        self._send_state(account.state)
        await self._await_account_registered(timeout_secs=self._config.connect_timeout_s)
        if self._terms.kind == "MARGIN":
            self._cache.account(self.account_id).set_default_leverage(self._terms.leverage)
        self._open = {each.venue_order_id: each for each in await self._all(wire.GetOrders, open_only=True)}

    async def _disconnect(self) -> None:
        for topic, handler in self._topics.items():
            if self._msgbus.is_subscribed(topic, handler):
                self._msgbus.unsubscribe(topic, handler)
        if self._link is not None:
            await self._link.close()

    async def _find_server(self) -> tuple[str, int] | None:
        """The data client starts it; here it is only looked for."""
        address = await asyncio.to_thread(launch.find, self._config.folder())
        if address is None:
            raise LinkError(f"no exchange {self._config.exchange!r} runs in {self._config.folder()}")
        return address.host, address.port

    async def _listings(self) -> tuple[Listing, ...]:
        return (await self._link.read(wire.ListInstruments, venue=self._config.venue)).listings

    def _is_up(self) -> bool:
        return self._link is not None and self._link.state == "up"

    def _on_link(self, state: LinkState, reason: str) -> None:
        self._on_change(f"{self._config.venue}, account {self._terms.account}", state, reason)
        if state == "up" and reason:
            self._log.error(f"what happened meanwhile cannot be sent again ({reason}): the exchange's word counts now")
            self.create_task(self._reconcile(), log_msg="reconcile")

    async def _reconcile(self) -> None:
        status = await self.generate_mass_status()
        if status is not None:
            self._send_mass_status_report(status)
            self._end_reconciling()

    # -- the stream ---------------------------------------------------------------------------------

    def _on_item(self, item: wire.StreamItem) -> None:
        """Each item once and in order: the link sees to that."""
        self._gate.take(item)

    def _on_full(self) -> None:
        self._log.error(f"{HELD_ITEMS_MAX:,} events wait for a reconciliation that does not end: going on")

    def _let_go_in(self, turns: int) -> None:
        if turns:
            self._loop.call_soon(self._let_go_in, turns - 1)
        else:
            self._gate.let_go()

    def _apply(self, item: wire.StreamItem) -> None:
        try:
            event = item.event
            if isinstance(event, told.AccountChanged):
                self._send_state(event.state)
            else:
                self._apply_order_event(event)
        except Exception as error:  # noqa: BLE001 - a defect in one event must not end the connection for all others
            self._log.exception(f"stream item {item.seq} could not be applied", error)

    def _apply_order_event(self, event: told.OrderEvent) -> None:
        state = event.order
        self._note(state)
        instrument = self._reports.instrument(state.instrument_id)
        if instrument is None:
            self._log.warning(f"an event of {state.instrument_id}, which is not in the cache")
            return
        order = self._reports.known(state)
        if order is None:
            self._report_unknown(event)
        else:
            self._events.tell(order, event, instrument)

    def _note(self, state: told.OrderState) -> None:
        self._unspoken.discard(state.client_order_id)
        if state.status in told.OPEN:
            self._open[state.venue_order_id] = state
        else:
            self._open.pop(state.venue_order_id, None)

    def _report_unknown(self, event: told.OrderEvent) -> None:
        """An order that is not from here: first as it was before the event, so that a fill is counted once."""
        if isinstance(event, told.Rejected):
            return
        is_fill = isinstance(event, told.Filled)
        self._report_order(before(event.order, event.fill) if is_fill else event.order)
        if is_fill and (report := self._reports.of_fill(event.fill)) is not None:
            self._send_fill_report(report)

    def _report_order(self, state: told.OrderState) -> None:
        if (report := self._reports.of_order(state)) is not None:
            self._send_order_status_report(report)

    def _send_state(self, state: told.AccountState) -> None:
        self._state = state
        balances, margins = parsing.to_balances(state)
        self.generate_account_state(balances=balances, margins=margins, reported=True, ts_event=state.ts_ns)

    # -- submit -------------------------------------------------------------------------------------

    async def _submit_order(self, command: Any) -> None:
        await self._submit((command.order,))

    async def _submit_order_list(self, command: Any) -> None:
        await self._submit(tuple(command.order_list.orders))

    async def _submit(self, orders: Sequence[Order]) -> None:
        """Nothing is awaited before it is sent, so that commands leave in the order in which they were given."""
        refusal, new_orders = self._prepared(orders)
        if refusal:
            for order in orders:
                if not order.is_closed:
                    self._deny(order, refusal)
            return
        now_ns = self._clock.timestamp_ns()
        for order in orders:
            self._unspoken.add(order.client_order_id.value)
            self.generate_order_submitted(order.strategy_id, order.instrument_id, order.client_order_id, now_ns)
        try:
            answer = await self._link.ask(wire.Place, orders=new_orders)
        except NotSent as error:
            self._reject_unspoken(orders, f"NOT_SENT: {error}")
        except Unanswered as error:
            await self._find_out_placed(orders, error)
        else:
            if isinstance(answer, wire.Refused):
                self._reject_unspoken(orders, f"{answer.code}: {answer.text}")

    def _prepared(self, orders: Sequence[Order]) -> tuple[str, tuple[told.NewOrder, ...]]:
        """What speaks against sending them at all, or what to send."""
        if any(order.is_closed for order in orders):
            return "CLOSED: one of them was closed before it was sent", ()
        if not self._is_up():
            return f"NOT_CONNECTED: {self._config.venue} is out of reach, nothing was sent", ()
        if len(orders) > wire.ORDERS_PER_LIST_MAX:
            return f"UNSUPPORTED: a list of {len(orders)} orders; {wire.ORDERS_PER_LIST_MAX} are taken at most", ()
        unlisted = [each.instrument_id for each in orders if self._instrument_provider.find(each.instrument_id) is None]
        if unlisted:
            return f"UNKNOWN_INSTRUMENT: {unlisted[0]} is not listed at {self._config.venue}", ()
        try:
            return "", tuple(map(parsing.to_new_order, orders))
        except parsing.Unsupported as error:
            return f"UNSUPPORTED: {error}", ()

    async def _find_out_placed(self, orders: Sequence[Order], unanswered: Unanswered) -> None:
        """Whether they arrived: the stream says it, and what it does not know the exchange's records deny."""
        for _ in range(ATTEMPTS_MAX):
            missing = [order for order in orders if order.client_order_id.value in self._unspoken]
            if not missing:
                return
            self._link.renew(unanswered)
            await self._link.up()
            try:
                for order in missing:
                    await self._find_out_order(order)
            except (NotSent, Unanswered) as error:
                self._log.warning(f"{missing[0].client_order_id}: still unknown whether it was placed: {error}")
        self._log.error(
            f"{orders[0].client_order_id}: nobody could tell in {ATTEMPTS_MAX} attempts whether it was placed"
        )

    async def _find_out_order(self, order: Order) -> None:
        own_id = order.client_order_id.value
        answer = await self._link.read(wire.GetOrders, client_order_id=own_id)
        await self._link.reached(answer.seq)
        if own_id not in self._unspoken:
            return
        if answer.orders:
            self._apply_state(answer.orders[0])
        else:
            evidence = f"the exchange has no such order up to its event {answer.seq}"
            self._reject_unspoken((order,), f"UNANSWERED: it never arrived: {evidence}")

    def _apply_state(self, state: told.OrderState) -> None:
        """The exchange has an order of which the stream does not tell (any more)."""
        self._note(state)
        self._report_order(state)

    def _deny(self, order: Order, reason: str) -> None:
        self.generate_order_denied(
            order.strategy_id, order.instrument_id, order.client_order_id, reason, self._clock.timestamp_ns()
        )

    def _reject_unspoken(self, orders: Sequence[Order], reason: str) -> None:
        for order in orders:
            if order.client_order_id.value in self._unspoken:
                self._unspoken.discard(order.client_order_id.value)
                self._events.reject(order, reason, self._clock.timestamp_ns())

    # -- modify -------------------------------------------------------------------------------------

    async def _modify_order(self, command: Any) -> None:
        wanted = {"quantity": command.quantity, "price": command.price, "trigger_price": command.trigger_price}
        given = {name: number.as_decimal() for name, number in wanted.items() if number is not None}
        fields: dict[str, Any] = {name: f"{number:f}" for name, number in given.items()}
        own_id, venue_id = self._ids_of(command)
        with self._gate.recording() as items:
            try:
                answer = await self._link.ask(wire.Modify, client_order_id=own_id, venue_order_id=venue_id, **fields)
            except NotSent as error:
                self._refuse_modify(command, f"NOT_SENT: {error}")
            except Unanswered as error:
                self._link.renew(error)
                await self._link.up()
                if not has_changed(items, own_id, given):
                    self._refuse_modify(command, "UNANSWERED: it never arrived: the exchange has not changed the order")
            else:
                if isinstance(answer, wire.Refused):
                    self._refuse_modify(command, f"{answer.code}: {answer.text}")

    def _refuse_modify(self, command: Any, reason: str) -> None:
        self.generate_order_modify_rejected(
            command.strategy_id,
            command.instrument_id,
            command.client_order_id,
            self._cache.venue_order_id(command.client_order_id),
            reason,
            self._clock.timestamp_ns(),
        )

    # -- cancel -------------------------------------------------------------------------------------

    async def _cancel_order(self, command: Any) -> None:
        own_id, venue_id = self._ids_of(command)
        answer = await self._insist(
            wire.Cancel,
            lambda: self._is_open(command.client_order_id),
            client_order_id=own_id,
            venue_order_id=venue_id,
        )
        if isinstance(answer, wire.Refused):
            self._refuse_cancel(command, f"{answer.code}: {answer.text}")

    async def _batch_cancel_orders(self, command: Any) -> None:
        await self._cancel_each(command.cancels)

    async def _cancel_each(self, cancels: Sequence[Any]) -> None:
        """Of commands, or of the orders themselves."""
        await asyncio.gather(*(self._cancel_page(page) for page in batched(cancels, wire.ORDERS_PER_LIST_MAX)))

    async def _cancel_page(self, cancels: Sequence[Any]) -> None:
        """The second time it names orders that the first one has canceled: refused as closed, which they are."""
        answer = await self._insist(
            wire.CancelMany,
            lambda: any(self._is_open(each.client_order_id) for each in cancels),
            client_order_ids=tuple(self._ids_of(each)[0] for each in cancels),
        )
        codes = [f"{answer.code}: {answer.text}"] * len(cancels) if isinstance(answer, wire.Refused) else answer.refused
        for each, code in zip(cancels, codes, strict=False):
            if code and (code != "ORDER_CLOSED" or self._is_open(each.client_order_id)):
                self._refuse_cancel(each, code)

    async def _cancel_all_orders(self, command: Any) -> None:
        """Of this strategy: others may work the same instrument on the same account."""
        side = command.order_side
        filters = {"instrument_id": command.instrument_id, "side": side}
        known = {*self._cache.orders_open(**filters), *self._cache.orders_inflight(**filters)}
        working = [each for each in known if each.account_id in (None, self.account_id)]
        own = [each for each in working if each.strategy_id == command.strategy_id]
        if len(own) < len(working):
            await self._cancel_each(own)
            return
        answer = await self._insist(
            wire.CancelAll,
            lambda: any(self._is_open(each.client_order_id) for each in own),
            instrument_id=command.instrument_id.value,
            side=None if side == OrderSide.NO_ORDER_SIDE else OrderSide(side).name,
        )
        if isinstance(answer, wire.Refused):
            for each in own:
                self._refuse_cancel(each, f"{answer.code}: {answer.text}")

    async def _insist(self, kind: type[wire.Request], needed: Callable[[], bool], **fields: Any) -> Any:
        """A cancel may be sent again without harm, and must get through: until it is answered or of no more use."""
        reason = ""
        for _ in range(ATTEMPTS_MAX):
            try:
                answer = await self._link.ask(kind, **fields)
            except (NotSent, Unanswered) as error:
                reason = str(error)
                if isinstance(error, Unanswered):
                    if not needed():
                        return wire.Done(request=0)
                    self._link.renew(error)
                if not await self._link.up_in_time():
                    break
                if isinstance(error, Unanswered) and not needed():
                    return wire.Done(request=0)
                continue
            if not (isinstance(answer, wire.Refused) and answer.code == "RATE_LIMITED"):
                return answer
            reason = f"{answer.code}: {answer.text}"
            await asyncio.sleep(wait_s(answer))
        return wire.Refused(request=0, code="UNANSWERED", text=f"the order may still be working: {reason}")

    def _refuse_cancel(self, about: Any, reason: str) -> None:
        """`about`: the command, or the order itself."""
        self.generate_order_cancel_rejected(
            about.strategy_id,
            about.instrument_id,
            about.client_order_id,
            self._cache.venue_order_id(about.client_order_id),
            reason,
            self._clock.timestamp_ns(),
        )

    def _ids_of(self, about: Any) -> tuple[str, str | None]:
        """The exchange's own names of an order: an order that came back as a new one has another name here."""
        venue_id = self._cache.venue_order_id(about.client_order_id)
        if venue_id is None:
            return about.client_order_id.value, None
        state = self._open.get(venue_id.value)
        return (about.client_order_id.value if state is None else state.client_order_id), venue_id.value

    def _is_open(self, client_order_id: ClientOrderId) -> bool:
        """As far as the stream has told, which is ahead of the engine's queue."""
        if client_order_id.value in self._unspoken:
            return True
        venue_id = self._cache.venue_order_id(client_order_id)
        return venue_id is not None and venue_id.value in self._open

    # -- questions ----------------------------------------------------------------------------------

    async def _query_account(self, _command: Any) -> None:
        with self._gate.recording() as items:
            answer = await self._link.read(wire.GetAccount)
            picture = Picture(answer.state)
            await self._settled(items, answer.seq)
            picture.follow(items)
        self._send_state(picture.state)

    async def _settled(self, items: list[wire.StreamItem], seq: int) -> None:
        """No report may overtake an event: wait until the engine has applied all that was told up to now.

        What comes from here on is held until the engine has had time to apply the report; `items` end here, too.
        """
        await self._link.reached(seq)
        for _ in range(HOLD_TURNS_MAX):
            if self._gate.is_open:
                break
            await asyncio.sleep(0)
        self._gate.stop_recording(items)
        self._gate.hold()
        self._let_go_in(2 * SETTLE_TURNS)
        for _ in range(SETTLE_TURNS):
            await asyncio.sleep(0)

    # -- reports ------------------------------------------------------------------------------------

    async def generate_order_status_report(self, command: Any) -> OrderStatusReport | None:
        """By the venue's id where it is known, else by ours."""
        client_id, venue_id = command.client_order_id, command.venue_order_id
        if venue_id is None and client_id is not None:
            venue_id = self._cache.venue_order_id(client_id)
        if venue_id is not None:
            ask = {"venue_order_id": venue_id.value}
        elif client_id is not None:
            ask = {"client_order_id": client_id.value}
        else:
            raise ValueError("a report of an order needs one of its ids")
        with self._gate.recording() as items:
            try:
                states = await self._all(wire.GetOrders, **ask)
            except Unanswered as error:
                known = self._open.get(venue_id.value) if venue_id is not None else None
                if known is None:
                    self._log.warning(f"nobody can tell what became of {client_id}: {error}")
                    return None
                states = [known]  # as the stream told last: there is no newer truth
            picture = Picture.of_orders(states)
            await self._settled(items, self._link.position)
            picture.follow(items)
        found = [state for state in picture.orders.values() if is_like(state, ask)]
        return self._reports.of_order(found[0]) if found else None

    async def generate_order_status_reports(self, command: Any) -> list[OrderStatusReport]:
        filters = _filters(command)
        with self._gate.recording() as items:
            try:
                states = await self._all(wire.GetOrders, open_only=command.open_only, **filters)
            except Unanswered:
                self._log.warning("reporting orders as they were known last: the exchange is out of reach")
                states = list(self._open.values())  # an empty list would say that there are none
            picture = Picture.of_orders(states)
            await self._settled(items, self._link.position)
            picture.follow(items)
        wanted = [
            each for each in picture.orders.values() if filters.get("instrument_id") in (None, each.instrument_id)
        ]
        reports = self._reports.of_orders(wanted)
        self._log_report_receipt(len(reports), "OrderStatusReport", command.log_receipt_level)
        return reports

    async def generate_fill_reports(self, command: Any) -> list[FillReport]:
        filters = _filters(command)
        if command.venue_order_id is not None:
            filters["venue_order_id"] = command.venue_order_id.value
        with self._gate.recording() as items:
            fills = {each.trade_id: each for each in await self._all(wire.GetFills, **filters)}
            await self._settled(items, self._link.position)
        return self._reports.of_fills(fills.values())

    async def generate_position_status_reports(self, command: Any) -> list[PositionStatusReport]:
        with self._gate.recording() as items:
            answer = await self._link.read(wire.GetAccount)
            picture = Picture.of_account(answer)
            await self._settled(items, answer.seq)
            picture.follow(items)
        reports = self._reports.of_positions(picture, command.instrument_id)
        self._log_report_receipt(len(reports), "PositionStatusReport", command.log_receipt_level)
        return reports

    async def generate_mass_status(self, lookback_mins: int | None = None) -> ExecutionMassStatus | None:
        """Orders, fills and positions of one moment; the stream waits until the engine has taken them over.

        An order that fills meanwhile is either in the reports or in an event after them, never in both or neither.
        """
        self._log.info("Generating ExecutionMassStatus...")
        self.reconciliation_active = True
        if not self._is_reconciling:
            self._is_reconciling = True
            self._gate.hold()
        now_ns = self._clock.timestamp_ns()
        since_ns = now_ns - lookback_mins * 60_000_000_000 if lookback_mins is not None else 0
        try:
            picture = await self._whole_picture(since_ns)
        except Unanswered as error:
            self._log.error(f"cannot reconcile: {error}")
            self._end_reconciling()
            return None
        finally:
            self.reconciliation_active = False
        self._gate.forget()  # all of it is in the picture
        self._open = {each.venue_order_id: each for each in picture.orders.values() if each.status in told.OPEN}
        self._unspoken -= {each.client_order_id for each in picture.orders.values()}
        self._send_state(picture.state)
        return self._mass_status(picture, now_ns)

    def _mass_status(self, picture: Picture, now_ns: int) -> ExecutionMassStatus:
        status = ExecutionMassStatus(
            client_id=self.id, account_id=self.account_id, venue=self.venue, report_id=UUID4(), ts_init=now_ns
        )
        self._reports.fill_in(status, picture, self._reports.not_in(picture, self._unspoken))
        return status

    async def _whole_picture(self, since_ns: int) -> Picture:
        with self._gate.recording() as items:
            orders = await self._all(wire.GetOrders, since_ns=since_ns)
            fills = await self._all(wire.GetFills, since_ns=since_ns)
            account = await self._link.read(wire.GetAccount)
            await self._link.reached(account.seq)
            picture = Picture.of_account(account)
            picture.add(orders, fills)
            picture.follow(items)
            # closed so long ago that it was not asked for, or unknown there
            for order in self._reports.not_in(picture, self._unspoken):
                ids = {"client_order_id": order.client_order_id.value}
                picture.add(await self._all(wire.GetOrders, **ids), await self._all(wire.GetFills, **ids))
            picture.follow(items)
        return picture

    async def _all(self, kind: type[wire.GetOrders | wire.GetFills], **filters: Any) -> list[Any]:
        return await read_all(self._link, kind, self._log.warning, **filters)

    # -- the end of a reconciliation ----------------------------------------------------------------

    def _on_mass_status(self, message: Any) -> None:
        """The engine publishes it when it has applied it."""
        if isinstance(message, ExecutionMassStatus) and message.client_id == self.id:
            self._report_again()
            self._end_reconciling()

    def _report_again(self) -> None:
        """Where fills and a position's average price do not agree, the engine replaces all that was reported.

        One made-up fill then stands for everything of that instrument, and its open orders are forgotten with the rest.
        """
        forgotten = [each for each in self._open.values() if self._reports.known(each) is None]
        if not forgotten:
            return
        self._log.warning(f"{len(forgotten)} open orders were lost in Nautilus's reconciliation: reporting them again")
        for report in self._reports.of_orders(forgotten):
            self._send_order_status_report(report)
        if any(each.filled for each in forgotten):  # the engine made fills up for what they had filled before
            self.create_task(self._report_positions(), log_msg="report positions")

    async def _report_positions(self) -> None:
        picture = Picture.of_account(await self._link.read(wire.GetAccount))
        for report in self._reports.of_positions(picture, None):
            self._send_position_status_report(report)

    def _on_trader(self, event: Any) -> None:
        """The strategies start: with reconciliation switched off nobody asks for a mass status.

        And the portfolio has just reckoned margins of its own out of the orders and positions: the exchange's count.
        """
        if event.state != ComponentState.STARTING or self.reconciliation_active:
            return
        self._end_reconciling()
        if self._state is not None:
            self._send_state(self._state)

    def _end_reconciling(self) -> None:
        if self._is_reconciling:
            self._is_reconciling = False
            self._gate.let_go()


def _filters(command: Any) -> dict[str, Any]:
    filters: dict[str, Any] = {}
    if command.instrument_id is not None:
        filters["instrument_id"] = command.instrument_id.value
    if command.start is not None:
        filters["since_ns"] = command.start.value
    if command.end is not None:
        filters["until_ns"] = command.end.value
    return filters


class SimulatedExecClientFactory(LiveExecClientFactory):
    """Made by name from a config file."""

    @staticmethod
    def create(  # noqa: PLR0917 - the engine's own signature # pyright: ignore[reportIncompatibleMethodOverride] - its own config
        loop: asyncio.AbstractEventLoop,
        name: str,
        config: SimulatedExecClientConfig,
        msgbus: MessageBus,
        cache: Cache,
        clock: LiveClock,
    ) -> SimulatedExecutionClient:
        return SimulatedExecutionClient(
            loop=loop, client_id=ClientId(name), msgbus=msgbus, cache=cache, clock=clock, config=config
        )
