"""The test node's process: a trading node on the simulated exchange that evaluates what it is sent.

The expressions are Python, evaluated on its loop between the engine's own work, with the names `hand` (a strategy that
does what it is told and remembers what it hears), `clients`, `cache`, `node` and `differences`.
"""

from __future__ import annotations

import inspect
import json
import socket
import sys
from datetime import timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exchange_books import Books, cached, counted_twice, differences, leave_averages_out, written
from exchange_client import PERP
from exchange_node import exchange_folder
from nautilus_trader.config import TradingNodeConfig
from nautilus_trader.core.uuid import UUID4
from nautilus_trader.execution import messages
from nautilus_trader.live.node import TradingNode
from nautilus_trader.model.enums import ContingencyType, OrderSide, OrderStatus, OrderType, TimeInForce, TriggerType
from nautilus_trader.model.identifiers import ClientId, ClientOrderId, InstrumentId, StrategyId, VenueOrderId
from nautilus_trader.model.objects import Price, Quantity
from nautilus_trader.model.orders import LimitOrder
from nautilus_trader.trading.config import StrategyConfig
from nautilus_trader.trading.strategy import Strategy

from nautilus_ext.simulation import SimulatedExecClientFactory

if TYPE_CHECKING:
    import asyncio

    from nautilus_trader.cache.cache import Cache


def main() -> None:
    control = socket.socket(fileno=int(sys.argv[1]))
    config = json.loads(sys.argv[2])
    node = TradingNode(config=TradingNodeConfig.parse(json.dumps(config)))
    hand = Hand()
    node.trader.add_strategy(hand)
    for name in config["exec_clients"]:
        node.add_exec_client_factory(name, SimulatedExecClientFactory)
    node.build()
    hand.listen(node)
    loop = node.get_event_loop()
    clients = {str(each.id): each for each in node.kernel.exec_engine._clients.values()}
    names = {"hand": hand, "clients": clients, "cache": node.cache, "node": node}
    names["differences"] = partial(differences_at, config, node.cache)
    begin_listening(control, loop, names)
    node.run()
    node.dispose()


def differences_at(config: dict[str, Any], cache: Cache) -> list[str]:
    """Between the exchange's ledger and the cache, at all venues."""
    found = []
    for venue, client in config["exec_clients"].items():
        folder, account = exchange_folder(Path(client["config"]["data_dir"])), config["trader_id"]
        there = written(folder, venue, client["config"].get("account", account))
        here = cached(cache, venue, known=there)
        name_given_up(cache, there, here)
        leave_averages_out(there, here)  # several strategies and whole histories: Nautilus splits what is one position
        found += differences(there, here) + counted_twice(cache, venue)
    return found


def name_given_up(cache: Cache, there: Books, here: Books) -> None:
    """What the engine has given up comes back under a name of Nautilus's own: known by the venue's id."""
    for order in cache.orders():
        name = order.client_order_id.value
        if order.status == OrderStatus.REJECTED and order.last_event.reason == "UNKNOWN" and name in there.orders:
            venue_id = there.orders[name]["venue_order_id"]
            (other,) = (each for each, known in here.orders.items() if known["venue_order_id"] == venue_id)
            here.orders[name] = here.orders.pop(other)
            for fill in here.fills.values():
                if fill["client_order_id"] == other:
                    fill["client_order_id"] = name


def begin_listening(control: socket.socket, loop: asyncio.AbstractEventLoop, names: dict[str, Any]) -> None:
    buffer = bytearray()
    tasks = set()

    def readable() -> None:
        data = control.recv(65_536)
        if not data:
            loop.remove_reader(control)
            return
        buffer.extend(data)
        while b"\n" in buffer:
            line, _, rest = bytes(buffer).partition(b"\n")
            buffer[:] = rest
            task = loop.create_task(evaluate(line.decode(), names, control))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    loop.add_reader(control, readable)


async def evaluate(expression: str, names: dict[str, Any], control: socket.socket) -> None:
    try:
        result = eval(expression, names)
        if inspect.isawaitable(result):
            result = await result
        answer = {"result": result}
    except Exception as error:  # noqa: BLE001 - it is told to the test
        answer = {"error": f"{type(error).__name__}: {error}"}
    control.setblocking(True)  # the loop has made it otherwise, and an answer may be long
    control.sendall(json.dumps(answer, default=str).encode() + b"\n")


class Hand(Strategy):
    def __init__(self) -> None:
        super().__init__(StrategyConfig(order_id_tag="001", manage_contingent_orders=False))
        self.heard: list[Any] = []
        self.data: list[Any] = []
        self.started = False

    def listen(self, node: Any) -> None:
        node.kernel.msgbus.subscribe("events.order.*", self.heard.append)
        node.kernel.msgbus.subscribe("events.account.*", self.heard.append)

    def on_start(self) -> None:
        self.started = True

    def on_data_seen(self, data: Any) -> None:
        self.data.append(data)

    on_quote_tick = on_trade_tick = on_order_book_deltas = on_order_book_depth = on_data_seen
    on_instrument = on_instrument_status = on_historical_data = on_data_seen

    # orders

    def make(self, kind: str, side: str, quantity: str, instrument: str = PERP, **more: Any) -> Any:
        given = {
            name: (Price if name in {"price", "trigger_price"} else Quantity).from_str(more.pop(name))
            for name in ("price", "trigger_price", "display_qty")
            if name in more
        }
        if "trailing_offset" in more:
            given["trailing_offset"] = Decimal(more.pop("trailing_offset"))
        if "time_in_force" in more:
            given["time_in_force"] = TimeInForce[more.pop("time_in_force")]
        if "trigger_type" in more:
            given["trigger_type"] = TriggerType[more.pop("trigger_type")]
        if "expire_s" in more:
            given["expire_time"] = self.clock.utc_now() + timedelta(seconds=more.pop("expire_s"))
        make = getattr(self.order_factory, kind)
        where = InstrumentId.from_str(instrument)
        return make(where, OrderSide[side], Quantity.from_str(quantity), **given, **more)

    def send(self, *args: Any, client: str | None = None, **more: Any) -> str:
        order = self.make(*args, **more)
        self.submit_order(order, client_id=None if client is None else ClientId(client))
        return order.client_order_id.value

    def send_list(self, *orders: Any) -> list[str]:
        self.submit_order_list(self.order_factory.create_list(list(orders)))
        return [each.client_order_id.value for each in orders]

    def send_bracket(self, side: str, quantity: str, contingency: str = "OUO", **prices: str) -> list[str]:
        given = {name: Price.from_str(text) for name, text in prices.items()}
        orders = self.order_factory.bracket(
            InstrumentId.from_str(PERP),
            OrderSide[side],
            Quantity.from_str(quantity),
            contingency_type=ContingencyType[contingency],
            tp_post_only=False,
            entry_order_type=OrderType.LIMIT if "entry_price" in given else OrderType.MARKET,
            **given,
        )
        self.submit_order_list(orders)
        return [each.client_order_id.value for each in orders.orders]

    def order(self, client_order_id: str) -> Any:
        return self.cache.order(ClientOrderId(client_order_id))

    def change(self, client_order_id: str, **more: str) -> None:
        kinds = {"quantity": Quantity, "price": Price, "trigger_price": Price}
        fields = {name: kinds[name].from_str(text) for name, text in more.items()}
        self.modify_order(self.order(client_order_id), **fields)

    def end(self, client_order_id: str) -> None:
        self.cancel_order(self.order(client_order_id))

    def end_some(self, *client_order_ids: str) -> None:
        self.cancel_orders([self.order(each) for each in client_order_ids])

    def end_all(self, instrument: str = PERP, side: str = "NO_ORDER_SIDE") -> None:
        self.cancel_all_orders(InstrumentId.from_str(instrument), OrderSide[side])

    def ask(self, client_order_id: str) -> None:
        self.query_order(self.order(client_order_id))

    # past the strategy

    def late_cancel(self, client: Any, client_order_id: str) -> None:
        """The strategy itself would not cancel what is closed."""
        order = self.order(client_order_id)
        client.cancel_order(
            messages.CancelOrder(
                self.trader_id, order.strategy_id, order.instrument_id, order.client_order_id, None, UUID4(), 0
            )
        )

    async def send_as(self, strategy: str, client: Any, like: str, client_order_id: str) -> None:
        """An order of another strategy."""
        pattern = self.order(like)
        order = LimitOrder(
            self.trader_id,
            StrategyId(strategy),
            pattern.instrument_id,
            ClientOrderId(client_order_id),
            pattern.side,
            pattern.quantity,
            pattern.price,
            UUID4(),
            0,
        )
        self.cache.add_order(order)
        await client._submit((order,))

    async def report(self, client: Any, client_order_id: str | None = None, venue_order_id: str | None = None) -> Any:
        command = messages.GenerateOrderStatusReport(
            None,
            None if client_order_id is None else ClientOrderId(client_order_id),
            None if venue_order_id is None else VenueOrderId(venue_order_id),
            UUID4(),
            0,
        )
        found = await client.generate_order_status_report(command)
        return None if found is None else _plain(found)

    async def order_reports(self, client: Any, *, open_only: bool) -> list[dict[str, Any]]:
        command = messages.GenerateOrderStatusReports(None, None, None, open_only, UUID4(), 0)
        return [_plain(each) for each in await client.generate_order_status_reports(command)]

    async def fill_reports(self, client: Any, start: Any = None) -> list[dict[str, Any]]:
        command = messages.GenerateFillReports(None, None, start, None, UUID4(), 0)
        return [each.to_dict() for each in await client.generate_fill_reports(command)]

    async def position_reports(self, client: Any, instrument: str) -> list[str]:
        command = messages.GeneratePositionStatusReports(InstrumentId.from_str(instrument), None, None, UUID4(), 0)
        reports = await client.generate_position_status_reports(command)
        return [str(each.signed_decimal_qty) for each in reports]

    def book(self, instrument: str) -> list[list[str]]:
        book = self.cache.order_book(InstrumentId.from_str(instrument))
        return [[str(level.price) for level in side] for side in (book.bids(), book.asks())]

    # what is known

    def events(self, client_order_id: str) -> list[str]:
        return [
            type(each).__name__
            for each in self.heard
            if getattr(each, "client_order_id", None) == ClientOrderId(client_order_id)
        ]

    def reasons(self, client_order_id: str) -> list[str]:
        own = ClientOrderId(client_order_id)
        mine = [each for each in self.heard if getattr(each, "client_order_id", None) == own]
        return [each.reason for each in mine if hasattr(each, "reason")]

    def status(self, client_order_id: str) -> str:
        return self.order(client_order_id).status_string()

    def data_kinds(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for each in self.data:
            found[type(each).__name__] = found.get(type(each).__name__, 0) + 1
        return found

    def id(self, text: str) -> InstrumentId:
        return InstrumentId.from_str(text)


def _plain(report: Any) -> dict[str, Any]:
    return report.to_dict() | {"order_status": OrderStatus(report.order_status).name}


if __name__ == "__main__":
    main()
