"""An exchange whose market stands still until a test moves it, orders to send there, and what tests look at."""

from __future__ import annotations

from decimal import Decimal

from nautilus_ext.simulation import default_market, wire
from nautilus_ext.simulation.exchange.orders import NewOrder
from nautilus_ext.simulation.server import launch
from nautilus_ext.simulation.world import World

SPOT, PERPETUAL = "BTCUSDT.SIM1", "BTCUSDT-PERP.SIM2"
START_S = 15.0
SOON_S = 5.0
FAR = Decimal(30_000)


def quiet_world(**given) -> World:
    """Its market makes the first step at the start, and the next ones when a test asks for them."""
    return World(market=default_market(seed=3, interval_ms=60_000), **({"linger_s": 20.0} | given))


def limit(name: str, price: Decimal = FAR, **given) -> NewOrder:
    fields = {"instrument_id": SPOT, "side": "BUY", "type": "LIMIT", "quantity": Decimal("0.1"), "price": price}
    return NewOrder(client_order_id=name, **(fields | given))


def market_order(name: str, **given) -> NewOrder:
    return limit(name, type="MARKET", **({"price": None} | given))


def welcomed(answer) -> wire.Welcome:
    assert isinstance(answer, wire.Welcome), answer
    return answer


def refused(answer) -> str:
    assert isinstance(answer, wire.Refused), answer
    return answer.code


def log_of(folder) -> str:
    return (folder / "server.log").read_text()


def is_dead(address) -> bool:
    return not launch._lives(address)
