"""The actor that puts back what the book held before anything else is in the node; Nautilus reconciles afterwards."""

from __future__ import annotations

import logging
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

import msgspec
from nautilus_trader.accounting.factory import AccountFactory
from nautilus_trader.common.actor import Actor
from nautilus_trader.common.config import ActorConfig
from nautilus_trader.core.fsm import InvalidStateTrigger
from nautilus_trader.model import events, instruments
from nautilus_trader.model.enums import ContingencyType, OmsType
from nautilus_trader.model.events import AccountState, OrderFilled, OrderInitialized, OrderSubmitted
from nautilus_trader.model.identifiers import InstrumentId
from nautilus_trader.model.objects import Money
from nautilus_trader.model.orders import OrderUnpacker
from nautilus_trader.model.position import Position

from nautilus_ext.errors import MachineError
from nautilus_ext.messages import RECENT, STANDING
from nautilus_ext.persistence.holdings import Holdings
from nautilus_ext.persistence.unsent import ends_of_unsent, sent_by_the_emulator
from nautilus_ext.persistence.untold import apply_untold

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nautilus_ext.persistence.holdings import HeldAccount, HeldInstrument, HeldOrder, HeldPosition, UntoldFill
    from nautilus_ext.persistence.untold import PositionEvent

TROUBLES_NAMED_MAX = 10
BEFORE_THE_MIRROR = 101

log = logging.getLogger(__name__)


class RestoreConfig(ActorConfig, frozen=True):
    """Configuration of `Restore`. The suite writes the file and fills in its path at each start.

    Parameters
    ----------
    path : str, default ""
        File that holds the `Holdings` of the book; empty: there is nothing to put back.

    """

    path: str = ""


class Restored(NamedTuple):
    """What was put back, and what could not be: that comes back by reconciliation, as nobody's."""

    orders: int
    positions: int
    accounts: int
    troubles: list[str]


class Restore(Actor):
    """First of all actors: it fills the cache while it is registered; once started it ends what was never sent."""

    def __init__(self, config: RestoreConfig | None = None) -> None:
        config = config or RestoreConfig()
        super().__init__(config)
        self._config = config
        self.restored = Restored(0, 0, 0, [])
        self._unsaid: list[PositionEvent | OrderSubmitted] = []

    def register_base(self, portfolio: Any, msgbus: Any, cache: Any, clock: Any) -> None:
        super().register_base(portfolio, msgbus, cache, clock)
        if not self._config.path:
            return
        holdings = _read(Path(self._config.path))
        filling = _Filling(cache, clock.timestamp_ns())
        self.restored = filling.fill(holdings)
        cache.add(RECENT, msgspec.json.encode(holdings.recent))
        cache.add(STANDING, msgspec.json.encode(holdings.standing))
        self._unsaid = filling.unsaid
        if self._unsaid:
            for topic in ("events.order.*", "events.position.*"):
                msgbus.subscribe(topic=topic, handler=self._say, priority=BEFORE_THE_MIRROR)
        for trouble in self.restored.troubles[:TROUBLES_NAMED_MAX]:
            log.warning("not restored, the venue's word counts: %s", trouble)
        unnamed = len(self.restored.troubles) - TROUBLES_NAMED_MAX
        if unnamed > 0:
            log.warning("not restored: %s more", f"{unnamed:,}")

    def on_start(self) -> None:
        """Reconciliation is over: what was never sent ends before a strategy looks for its orders."""
        if not self.restored.orders:
            return
        self._say(None)
        ends = ends_of_unsent(self.cache, self.clock.timestamp_ns())
        for event in ends:
            self.msgbus.send(endpoint="ExecEngine.process", msg=event)
        if ends:
            log.warning("orders that the last node made and did not send are ended: %s", f"{len(ends):,}")

    def _say(self, _: Any) -> None:
        """Say what the last node did not come to say, before the first event that reconciliation makes."""
        unsaid, self._unsaid = self._unsaid, []
        for event in unsaid:
            kind = "order" if isinstance(event, OrderSubmitted) else "position"
            self.msgbus.publish(topic=f"events.{kind}.{event.strategy_id}", msg=event)

    def on_stop(self) -> None:
        """Nothing to do; without this Nautilus warns of it at each stop."""


def _read(path: Path) -> Holdings:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Holdings)
    except (OSError, msgspec.MsgspecError) as error:
        raise MachineError(f"{path}: what the book holds cannot be read ({error}): start the node again") from None


class _Filling:
    """Fills one empty cache."""

    def __init__(self, cache: Any, now_ns: int) -> None:
        self._cache = cache
        self._now_ns = now_ns
        self.unsaid: list[PositionEvent | OrderSubmitted] = []
        self._lost: set[str] = set()  # positions that could not be put back
        self._troubles: list[str] = []

    def fill(self, holdings: Holdings) -> Restored:
        for each in holdings.instruments:
            self._try(f"instrument {each.instrument_id}", self._instrument, each)
        accounts = sum(self._try(f"account {each.account_id}", self._account, each) for each in holdings.accounts)
        orders = sum(self._try(f"order {each.client_order_id}", self._order, each) for each in holdings.orders)
        positions = sum(self._try(f"position {each.position_id}", self._position, each) for each in holdings.positions)
        back = {position.id.value for position in self._cache.positions_open()}
        self._lost = {each.position_id for each in holdings.positions} - back
        for each in holdings.untold:
            self._try("a fill that its position lacks", self._untold, each)
        self._try("the legs of brackets", self._bind_legs, None)
        self.unsaid += sent_by_the_emulator(self._cache, self._now_ns)
        return Restored(orders, positions, accounts, self._troubles)

    def _try(self, what: str, work: Any, held: Any) -> bool:
        try:
            work(held)
        except Exception as error:  # noqa: BLE001 - one that cannot be put back costs no other
            self._troubles.append(f"{what}: {type(error).__name__}: {error}")
            return False
        return True

    def _instrument(self, held: HeldInstrument) -> None:
        definition = msgspec.json.decode(held.definition, type=dict[str, Any])
        kind = getattr(instruments, str(definition.get("type")), None)
        if kind is None:
            raise ValueError(f"no kind {definition.get('type')!r} is known")
        self._cache.add_instrument(kind.from_dict(definition))

    def _account(self, held: HeldAccount) -> None:
        state = {
            "type": "AccountState",
            "account_id": held.account_id,
            "account_type": held.account_type,
            "base_currency": held.base_currency,
            "balances": msgspec.json.decode(held.balances),
            "margins": msgspec.json.decode(held.margins),
            "reported": held.reported,
            "info": {},
            "event_id": str(uuid4()),
            "ts_event": held.ts_event,
            "ts_init": held.ts_event,
        }
        self._cache.add_account(AccountFactory.create(AccountState.from_dict(state)))

    def _order(self, held: HeldOrder) -> None:
        order = _order_of(_events_of(held))
        if (order.status_string(), order.filled_qty.as_decimal()) != (held.status, Decimal(held.filled)):
            seen = f"{order.status_string()}, {order.filled_qty} filled"
            raise ValueError(f"its events make it {seen}; the tables say {held.status}, {held.filled} filled")
        self._cache.add_order(order, order.position_id)
        self._cache.update_order(order)

    def _position(self, held: HeldPosition) -> None:
        instrument = self._cache.instrument(InstrumentId.from_str(held.instrument_id))
        if instrument is None:
            raise ValueError(f"its instrument {held.instrument_id} is not known")
        fills = [OrderFilled.from_dict(msgspec.json.decode(body)) for body in held.fills]
        self._require_orders(fills)
        position = _position_of(instrument, held, fills)
        is_netting = held.position_id == f"{held.instrument_id}-{held.strategy_id}"
        self._cache.add_position(position, OmsType.NETTING if is_netting else OmsType.HEDGING)
        for fill in fills:
            self._cache.add_position_id(position.id, instrument.id.venue, fill.client_order_id, position.strategy_id)

    def _untold(self, untold: UntoldFill) -> None:
        fill = OrderFilled.from_dict(msgspec.json.decode(untold.body))
        self._require_orders([fill])
        if fill.position_id.value in self._lost:
            raise ValueError(f"its position {fill.position_id} is not back")
        self.unsaid += apply_untold(self._cache, fill, untold.closed, self._now_ns)

    def _require_orders(self, fills: list[OrderFilled]) -> None:
        """A venue would tell the fills of an order that is not back once more: they would count twice."""
        for fill in fills:
            if not self._cache.order_exists(fill.client_order_id):
                raise ValueError(f"its order {fill.client_order_id} is not back")

    def _bind_legs(self, _held: None) -> None:
        """What an entry opened is what its stop and target close: Nautilus says so to the legs and not in an event."""
        for entry in self._cache.orders():
            if entry.contingency_type != ContingencyType.OTO or entry.position_id is None:
                continue
            for leg in filter(None, map(self._cache.order, entry.linked_order_ids or ())):
                if self._cache.position_id(leg.client_order_id) is None:
                    place = (leg.instrument_id.venue, leg.client_order_id, leg.strategy_id)
                    self._cache.add_position_id(entry.position_id, *place)


def _events_of(held: HeldOrder) -> Iterable[Any]:
    """Return each event once: a later run writes again how an order began."""
    told: set[str] = set()
    for event in held.events:
        body = msgspec.json.decode(event.body)
        if body["event_id"] not in told:
            told.add(body["event_id"])
            yield getattr(events, event.type).from_dict(body)


def _order_of(told: Iterable[Any]) -> Any:
    """Apply the events as the engine did; what it refused, it refuses again."""
    order = None
    for event in told:
        if isinstance(event, OrderInitialized):
            # a released emulated order begins again; what reconciliation says of an order of ours does not
            if order is None or not event.reconciliation:
                order = OrderUnpacker.from_init(event)
        elif order is not None:
            with suppress(InvalidStateTrigger, ValueError, KeyError):
                order.apply(event)
    if order is None:
        raise ValueError("no event says how it began")
    return order


def _position_of(instrument: Any, held: HeldPosition, fills: list[OrderFilled]) -> Position:
    """Add up the fills of a life; the order that turned a position opened this one with what its fill left over."""
    if not fills:
        raise ValueError("the journal does not say which fill opened it")
    opened = instrument.make_qty(held.opened_quantity)
    if opened < fills[0].last_qty:
        fills = [_rest_of(fills[0], opened, held.position_id), *fills[1:]]
    position = Position(instrument, fills[0])
    for fill in fills[1:]:
        position.apply(fill)
    if position.signed_decimal_qty() != Decimal(held.signed_quantity):
        raise ValueError(f"its fills add up to {position.signed_decimal_qty()}, the tables say {held.signed_quantity}")
    return position


def _rest_of(fill: OrderFilled, opened: Any, position_id: str) -> OrderFilled:
    """Split a fill as Nautilus does when it turns a position: to the same digit of the commission."""
    closed = Money(fill.commission * ((fill.last_qty - opened) / fill.last_qty), fill.commission.currency)
    return OrderFilled.from_dict(
        OrderFilled.to_dict(fill)
        | {"last_qty": str(opened), "commission": str(fill.commission - closed), "position_id": position_id}
    )
