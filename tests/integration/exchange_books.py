"""The one judge of a node at the exchange: the same account as the ledger has it on disk, and as the cache has it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from exchange_ledger import Ledger, at
from nautilus_trader.model.enums import LiquiditySide, OrderSide, OrderStatus, OrderType, TimeInForce
from nautilus_trader.model.events import OrderFilled
from nautilus_trader.model.identifiers import Venue
from nautilus_trader.model.instruments import CurrencyPair

if TYPE_CHECKING:
    from pathlib import Path

    from exchange_ledger import Row
    from nautilus_trader.cache.cache import Cache
    from nautilus_trader.model.orders import Order

NOTHING_YET = (OrderStatus.INITIALIZED, OrderStatus.DENIED, OrderStatus.EMULATED)  # the exchange never heard of these


@dataclass
class Books:
    """What one account has at one venue; two of them are the same or they are not."""

    orders: dict[str, dict[str, Any]] = field(default_factory=dict)  # by client order id
    fills: dict[str, dict[str, Any]] = field(default_factory=dict)  # by trade id
    positions: dict[str, tuple[Decimal, Decimal | None]] = field(default_factory=dict)  # signed, average price
    cash: dict[str, tuple[Decimal, Decimal, Decimal]] = field(default_factory=dict)  # total, locked, free


def written(folder: Path, venue: str, account: str) -> Books:
    """As the exchange wrote it."""
    ledger = Ledger(folder, account)
    return Books(
        orders={row["client_order_id"]: _order_written(row) for row in at(ledger.orders, venue, account)},
        fills={row["trade_id"]: _fill_written(row) for row in at(ledger.fills, venue, account)},
        positions={
            row["instrument_id"]: (Decimal(row["quantity"]), _decimal(row["average_price"]))
            for row in at(ledger.positions, venue, account)
            if Decimal(row["quantity"])
        },
        cash={
            row["currency"]: _cash(Decimal(row["total"]), Decimal(row["locked"]))
            for row in at(ledger.balances, venue, account)
        },
    )


def _order_written(row: Row) -> dict[str, Any]:
    return {
        "venue_order_id": None if row["status"] == "REJECTED" else row["venue_order_id"],
        "instrument_id": row["instrument_id"],
        "side": row["side"],
        "type": row["type"],
        "time_in_force": row["time_in_force"],
        "quantity": Decimal(row["quantity"]),
        "filled": Decimal(row["filled"]),
        "status": row["status"],
        "price": _decimal(row["price"]),
        "trigger_price": _decimal(row["trigger_price"]),
        "expire_ns": row["expire_ns"] if row["time_in_force"] == "GTD" else 0,
        "post_only": bool(row["post_only"]),
        "reduce_only": bool(row["reduce_only"]),
        "display_quantity": _decimal(row["display_quantity"]),
    }


def _fill_written(row: Row) -> dict[str, Any]:
    return {
        "client_order_id": row["client_order_id"],
        "venue_order_id": row["venue_order_id"],
        "side": row["side"],
        "quantity": Decimal(row["quantity"]),
        "price": Decimal(row["price"]),
        "fee": (Decimal(row["fee"]), row["fee_currency"]),
        "liquidity": "MAKER" if row["maker"] else "TAKER",
        "ts_ns": row["ts_ns"],
    }


def cached(cache: Cache, venue: str, *, known: Books) -> Books:
    """As a node has it. An order that was refused before it was recorded is in no ledger, so it is left out."""
    orders = [
        order
        for order in cache.orders(venue=Venue(venue))
        if order.status not in NOTHING_YET
        and not (order.status == OrderStatus.REJECTED and order.client_order_id.value not in known.orders)
    ]
    return Books(
        orders={order.client_order_id.value: _order_cached(order) for order in orders},
        fills={
            event.trade_id.value: _fill_cached(event)
            for order in orders
            for event in order.events
            if isinstance(event, OrderFilled)
        },
        positions=_positions_cached(cache, venue),
        cash=_cash_cached(cache, venue),
    )


def _order_cached(order: Order) -> dict[str, Any]:
    tif = TimeInForce(order.time_in_force)
    display = getattr(order, "display_qty", None)
    return {
        "venue_order_id": None if order.venue_order_id is None else order.venue_order_id.value,
        "instrument_id": order.instrument_id.value,
        "side": OrderSide(order.side).name,
        "type": OrderType(order.order_type).name,
        "time_in_force": tif.name,
        "quantity": order.quantity.as_decimal(),
        "filled": order.filled_qty.as_decimal(),
        "status": OrderStatus(order.status).name,
        "price": order.price.as_decimal() if order.has_price else None,
        "trigger_price": order.trigger_price.as_decimal() if order.has_trigger_price else None,
        "expire_ns": order.expire_time_ns if tif == TimeInForce.GTD else 0,
        "post_only": bool(order.is_post_only),
        "reduce_only": bool(order.is_reduce_only),
        "display_quantity": None if display is None else display.as_decimal(),
    }


def _fill_cached(event: OrderFilled) -> dict[str, Any]:
    return {
        "client_order_id": event.client_order_id.value,
        "venue_order_id": event.venue_order_id.value,
        "side": OrderSide(event.order_side).name,
        "quantity": event.last_qty.as_decimal(),
        "price": event.last_px.as_decimal(),
        "fee": (event.commission.as_decimal(), event.commission.currency.code),
        "liquidity": LiquiditySide(event.liquidity_side).name,
        "ts_ns": event.ts_event,
    }


def _positions_cached(cache: Cache, venue: str) -> dict[str, tuple[Decimal, Decimal | None]]:
    """Spot is left out: at the exchange it is a balance, and no position."""
    found: dict[str, tuple[Decimal, Decimal | None]] = {}
    for position in cache.positions_open(venue=Venue(venue)):
        if isinstance(cache.instrument(position.instrument_id), CurrencyPair):
            continue
        name, quantity = position.instrument_id.value, position.signed_decimal_qty()
        if name in found:  # of two strategies: together they have no average price
            found[name] = (found[name][0] + quantity, None)
        else:
            found[name] = (quantity, Decimal(str(position.avg_px_open)))
    return {name: held for name, held in found.items() if held[0]}


def _cash_cached(cache: Cache, venue: str) -> dict[str, tuple[Decimal, Decimal, Decimal]]:
    account = cache.account_for_venue(Venue(venue))
    if account is None:
        return {}
    return {
        currency.code: (each.total.as_decimal(), each.locked.as_decimal(), each.free.as_decimal())
        for currency, each in account.balances().items()
    }


def _cash(total: Decimal, locked: Decimal) -> tuple[Decimal, Decimal, Decimal]:
    return total, locked, total - locked


def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def leave_averages_out(*both: Books, of: set[str] | None = None) -> None:
    """Where Nautilus reckons average prices otherwise: in these instruments, or in all."""
    for books in both:
        books.positions |= {name: (held[0], None) for name, held in books.positions.items() if not of or name in of}


def counted_twice(cache: Cache, venue: str) -> list[str]:
    """Fills that an order has had more than once."""
    trades = Counter(
        (order.client_order_id.value, event.trade_id.value)
        for order in cache.orders(venue=Venue(venue))
        for event in order.events
        if isinstance(event, OrderFilled)
    )
    return [f"fill {name} twice" for name, times in trades.items() if times > 1]


# -- what is not the same ---------------------------------------------------------------------------

AVERAGE_PRICE_ERROR_MAX = Decimal("1e-9")  # of the price: Nautilus averages in floats


def differences(at_exchange: Books, in_cache: Books) -> list[str]:
    """Name each field in which the two differ."""
    found = []
    for what in ("orders", "fills", "positions", "cash"):
        there, here = getattr(at_exchange, what), getattr(in_cache, what)
        for key in sorted(there.keys() | here.keys()):
            found += _differences_of(f"{what} {key}", there.get(key), here.get(key))
    return found


def _differences_of(name: str, there: Any, here: Any) -> list[str]:
    if isinstance(there, dict) and isinstance(here, dict):
        return [
            f"{name}: {each} is {there[each]} at the exchange and {here[each]} in the cache"
            for each in there
            if there[each] != here[each]
        ]
    if there == here or (name.startswith("positions") and _same_position(there, here)):
        return []
    return [f"{name}: {there} at the exchange and {here} in the cache"]


def _same_position(there: Any, here: Any) -> bool:
    if there is None or here is None or there[0] != here[0] or None in (there[1], here[1]):
        return False
    return abs(there[1] - here[1]) <= AVERAGE_PRICE_ERROR_MAX * there[1]
