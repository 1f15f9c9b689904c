"""From Nautilus's objects to the facts that the rules are told: an order, its instrument, prices, its account."""

from __future__ import annotations

from decimal import Decimal
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from nautilus_trader.model.enums import OrderSide, OrderType, order_type_to_str
from nautilus_trader.model.identifiers import InstrumentId
from nautilus_trader.model.objects import Currency

from nautilus_ext.instruments.nautilus import describe
from nautilus_ext.messages import operation_of
from nautilus_ext.risk.facts import Account, Listing, Order, Sight
from nautilus_ext.risk.steps import QUANTITY_STEP, up

if TYPE_CHECKING:
    from nautilus_ext.risk.limits import Rulebook

LISTINGS_MAX = 100_000  # instruments that are remembered, and clients' accounts
ONE = Decimal(1)

# Types whose limit or trigger is not what they will be filled at most: what the market makes of it is not known.
_MOVING = {OrderType.TRAILING_STOP_MARKET, OrderType.TRAILING_STOP_LIMIT}


class Price(NamedTuple):
    """A reference price, the quotes behind it and the time of it."""

    price: Decimal | None = None
    bid: Decimal | None = None
    ask: Decimal | None = None
    ts_ns: int = 0


NO_PRICE = Price()


class Sights:
    """Looks into the cache at the moment it is asked; what an instrument is it remembers."""

    def __init__(self, cache: Any, clock: Any, engine: Any, book: Rulebook) -> None:
        self._cache = cache
        self._clock = clock
        self._engine = engine
        self._book = book
        self._listings: dict[Any, tuple[Any, Listing]] = {}
        self._money: dict[Any, list[tuple[str, Currency]]] = {}  # in which an instrument is paid
        self._routes: dict[tuple[Any, Any], str] = {}
        self._account_ids: dict[str, Any] = {}
        self._of_asset: tuple[int, dict[str, list[Any]]] = (0, {})

    # -- an order -----------------------------------------------------------------------------------

    def order(self, order: Any, *, account_id: str, quantity: Decimal | None = None, **changes: Any) -> Order:
        """The order as it stands, or with other numbers; `quantity` is what can still be filled."""
        price = order.price if order.has_price else None
        trigger = order.trigger_price if order.has_trigger_price else None
        if order.order_type in _MOVING:
            price = trigger = None
        elif trigger is not None and order.has_price and order.is_triggered:
            trigger = None  # it rests in the book now
        facts = Order(
            client_order_id=order.client_order_id.value,
            strategy_id=order.strategy_id.value,
            instrument_id=order.instrument_id.value,
            side=1 if order.side == OrderSide.BUY else -1,
            quantity=self.leaves(order) if quantity is None else quantity,
            type=order_type_to_str(order.order_type),
            filled=order.filled_qty.as_decimal(),
            account_id=account_id,
            price=None if price is None else price.as_decimal(),
            trigger_price=None if trigger is None else trigger.as_decimal(),
            is_reduce_only=order.is_reduce_only and self._book.trusts_reduce_only,
            is_post_only=order.is_post_only,
            parent_id=parent_of(order),
            operation_id=operation_of(order.tags) or "",
            list_id="" if order.order_list_id is None else order.order_list_id.value,
        )
        return _changed(facts, changes) if changes else facts

    def leaves(self, order: Any) -> Decimal:
        """What can still be filled, in the instrument's own unit also where the order says it in money."""
        leaves = order.leaves_qty.as_decimal()
        if not order.is_quote_quantity or order.is_closed:
            return leaves
        listing = self.listing(order.instrument_id)
        seen = NO_PRICE if listing is None or listing.is_inverse else self.price(order.instrument_id)
        if not seen.price or listing is None:
            return Decimal("NaN")  # nobody can say how much that is: it is refused
        own = (order.price if order.has_price else None, order.trigger_price if order.has_trigger_price else None)
        prices = (seen.price, seen.bid, *(each.as_decimal() for each in own if each is not None))
        return up(leaves / min(abs(each) for each in prices if each) / listing.multiplier, QUANTITY_STEP)

    def account_of(self, order: Any, client_id: Any = None) -> str:
        """Of the order itself, else of the client that it will be sent to; empty when there is none."""
        if order.account_id is not None:
            return self._account_name(order.account_id)
        place = (order.instrument_id.venue, client_id)
        found = self._routes.get(place)
        if found is not None:
            return found
        account_ids = [each.account_id for each in self._clients_of(order, client_id)]
        if not account_ids or account_ids[0] is None:
            return ""  # there is no client, or the venue has not said yet who we are there
        found = self._routes[place] = self._account_name(account_ids[0])
        return found

    def is_reachable(self, order: Any) -> bool:
        """Tell whether its venue can be asked anything now."""
        return any(client.is_connected for client in self._clients_of(order, None))

    def _clients_of(self, order: Any, client_id: Any) -> list[Any]:
        """Those that the engine would send it to: the client that a command names, else the venue's."""
        try:
            clients = self._engine.get_clients_for_orders([order])
        except KeyError:  # the client that the order was made for is not there
            return []
        if client_id is not None:
            return [each for each in clients if each.id == client_id]
        named = self._cache.client_id(order.client_order_id)
        return [each for each in clients if each.id != named] or list(clients)

    def _account_name(self, account_id: Any) -> str:
        name = account_id.value
        self._account_ids.setdefault(name, account_id)
        return name

    # -- the moment ---------------------------------------------------------------------------------

    def sight(self, instrument_id: Any, account_id: str) -> Sight:
        """All that the rules look at besides the order."""
        now_ns = self._clock.timestamp_ns()
        listing = self.listing(instrument_id)
        if listing is None:
            return Sight(now_ns=now_ns)
        price = self.price(instrument_id)
        return Sight(
            now_ns=now_ns,
            listing=listing,
            price=price.price,
            bid=price.bid,
            ask=price.ask,
            price_ns=price.ts_ns,
            rate=self.rate(listing.quote),
            account=self._account(account_id, instrument_id, listing),
        )

    def listing(self, instrument_id: Any) -> Listing | None:
        """What the instrument is; it is looked at again when the cache has another object of it."""
        instrument = self._cache.instrument(instrument_id)
        if instrument is None:
            return None
        known = self._listings.get(instrument_id)
        if known is not None and known[0] is instrument:
            return known[1]
        listing = listing_of(instrument)
        if len(self._listings) >= LISTINGS_MAX:
            self._listings.clear()
        self._listings[instrument_id] = (instrument, listing)
        names = dict.fromkeys(filter(None, (listing.quote, listing.base, listing.margin)))
        self._money[instrument_id] = [(name, Currency.from_str(name)) for name in names]
        return listing

    def price(self, instrument_id: Any) -> Price:
        """The reference price as the config wants it."""
        if self._book.reference == "cross_mid":
            return self._cross_mid(instrument_id)
        quoted = self._quoted(instrument_id)
        if self._book.reference == "last":
            last = self._last(instrument_id)
            if last is not None:
                return Price(last[0], quoted.bid, quoted.ask, last[1])
        if quoted.price is not None:
            return quoted
        last = self._last(instrument_id) or self._closed(instrument_id)
        return NO_PRICE if last is None else Price(last[0], quoted.bid, quoted.ask, last[1])

    def known_price(self, instrument_id: Any) -> Decimal | None:
        """What values a position: without a price yet, as in the first moments after a restart, its last fill."""
        price = self.price(instrument_id).price
        if price is None:
            fills = [position.last_event for position in self._cache.positions_open(instrument_id=instrument_id)]
            newest = max(fills, key=lambda fill: fill.ts_event, default=None)
            price = None if newest is None else newest.last_px.as_decimal()
        return price

    def rate(self, currency: str) -> Decimal | None:
        """What one unit of a currency is in the base currency: None when nobody can say it, or not lately."""
        if currency == self._book.base_currency:
            return ONE
        source = self._book.conversions.get(currency)
        if source is None:
            return None
        try:
            return Decimal(source)
        except ArithmeticError:
            pass
        found = self._quoted(InstrumentId.from_str(source))
        price, ts_ns = found.price, found.ts_ns
        if price is None:
            instrument_id = InstrumentId.from_str(source)
            price, ts_ns = self._last(instrument_id) or self._closed(instrument_id) or (None, 0)
        is_old = self._clock.timestamp_ns() - ts_ns > self._book.price_age_ns_max
        return None if is_old else price

    # -- prices -------------------------------------------------------------------------------------

    def _quoted(self, instrument_id: Any) -> Price:
        """The best bid and ask of the newer of quotes and order book."""
        quote, book = self._cache.quote_tick(instrument_id), self._cache.order_book(instrument_id)
        if quote is not None and (book is None or book.ts_last <= quote.ts_event):
            bid, ask = quote.bid_price.as_decimal(), quote.ask_price.as_decimal()
            ts_ns = min(quote.ts_event, quote.ts_init)  # a venue whose clock is ahead makes nothing younger
        elif book is not None:
            best = book.best_bid_price(), book.best_ask_price()
            bid, ask = (Decimal(0) if each is None else each.as_decimal() for each in best)
            ts_ns = book.ts_last
        else:
            return NO_PRICE
        has_both = bool(bid and ask)  # zero: this side of the book is empty
        return Price((bid + ask) / 2 if has_both else None, bid or None, ask or None, ts_ns)

    def _last(self, instrument_id: Any) -> tuple[Decimal, int] | None:
        trade = self._cache.trade_tick(instrument_id)
        return None if trade is None else (trade.price.as_decimal(), min(trade.ts_event, trade.ts_init))

    def _closed(self, instrument_id: Any) -> tuple[Decimal, int] | None:
        """The close of the newest bar."""
        kinds = self._cache.bar_types(instrument_id=instrument_id)
        bars = [bar for kind in kinds if (bar := self._cache.bar(kind)) is not None]
        newest = max(bars, key=lambda bar: bar.ts_event, default=None)
        return None if newest is None else (newest.close.as_decimal(), min(newest.ts_event, newest.ts_init))

    def _cross_mid(self, instrument_id: Any) -> Price:
        """The median of the venues' mids of the same thing, those that are not too old."""
        own = self._quoted(instrument_id)
        listing = self.listing(instrument_id)
        if listing is None:
            return own
        oldest_ns = self._clock.timestamp_ns() - self._book.price_age_ns_max
        others = [self._quoted(each) for each in self._same(listing, instrument_id)]
        found = [each for each in others if each.price is not None and each.ts_ns >= oldest_ns]
        if not found:
            return own
        price = median(each.price for each in found if each.price is not None)
        return Price(price, own.bid, own.ask, max(each.ts_ns for each in found))

    def _same(self, listing: Listing, instrument_id: Any) -> list[Any]:
        """Instruments of the same kind, asset and currency at all venues."""
        ids = self._cache.instrument_ids()
        if len(ids) != self._of_asset[0]:
            same: dict[str, list[Any]] = {}
            for each in ids:
                other = self.listing(each)
                if other is not None:
                    same.setdefault(other.asset_key, []).append(each)
            self._of_asset = (len(ids), same)
        return self._of_asset[1].get(listing.asset_key, [instrument_id]) if listing.asset_key else [instrument_id]

    # -- accounts -----------------------------------------------------------------------------------

    def _account(self, account_id: str, instrument_id: Any, listing: Listing) -> Account | None:
        account = self._account_object(account_id)
        if account is None:
            return None
        is_single = account.base_currency is not None
        if is_single:
            free = self._converted(account, {name for name, _ in self._money[instrument_id]})
        else:
            balances = [(name, account.balance_free(currency)) for name, currency in self._money[instrument_id]]
            free = {name: each.as_decimal() for name, each in balances if each is not None}
        is_margin = account.is_margin_account
        leverage = ONE
        if is_margin and listing.margin_init:  # of the instrument, else the account's own
            leverage = account.leverage(instrument_id) or account.default_leverage or ONE
        return Account(account_id=account_id, is_margin=is_margin, is_single=is_single, free=free, leverage=leverage)

    def _account_object(self, account_id: str) -> Any:
        if not account_id:
            return None
        key = self._account_ids.get(account_id)
        return None if key is None else self._cache.account(key)

    def _converted(self, account: Any, wanted: set[str]) -> dict[str, Decimal]:
        """An account of one currency pays everything with it."""
        own = account.base_currency.code
        balance = account.balance_free(account.base_currency)
        amount, rate = Decimal(0) if balance is None else balance.as_decimal(), self.rate(own)
        free = {own: amount}
        for name in wanted - {own}:
            other = self.rate(name)
            if rate is not None and other:
                free[name] = amount * rate / other
        return free


def _changed(facts: Order, changes: dict[str, Any]) -> Order:
    """A change gives no order a trigger that it does not wait for, and none of a moving order a price that stands."""
    if facts.trigger_price is None:
        changes.pop("trigger_price", None)
    if facts.type.startswith("TRAILING_"):
        changes.pop("price", None)
    return msgspec.structs.replace(facts, **changes)


def listing_of(instrument: Any) -> Listing:
    """What the rules need to know of an instrument."""
    told = describe(instrument, ())
    base, is_spot = instrument.get_base_currency(), told["instrument_type"] == "CurrencyPair"
    return Listing(
        instrument_id=told["instrument_id"],
        venue=told["venue"],
        asset=told["base_asset"] or told["instrument_id"].rpartition(".")[0],
        quote=(instrument.quote_currency if instrument.is_inverse else instrument.get_cost_currency()).code,
        canonical_id=told["canonical_id"] or "",
        asset_key=told["asset_key"] or "",
        base=base.code if is_spot and base is not None else "",
        margin=told["settlement_currency"] or "",
        is_inverse=instrument.is_inverse,
        multiplier=instrument.multiplier.as_decimal(),
        margin_init=instrument.margin_init,
    )


def parent_of(order: Any) -> str:
    """The order that an algorithm works with this one; of a primary that it sends itself, the primary."""
    return "" if order.exec_spawn_id is None else order.exec_spawn_id.value
