"""A trading node with remembering sandboxes, driven line by line: its market moves and its orders come from the test.

A command is one line of JSON on stdin, `[name, arguments]`; the answer is one line of JSON on stdout.
"""

from __future__ import annotations

import json
import sys
import threading
from datetime import timedelta
from decimal import Decimal
from typing import ClassVar

import msgspec
from nautilus_trader.adapters.sandbox import factory as plain
from nautilus_trader.adapters.sandbox.config import SandboxExecutionClientConfig
from nautilus_trader.common.providers import InstrumentProvider
from nautilus_trader.config import LiveDataClientConfig, LoggingConfig, RoutingConfig, TradingNodeConfig
from nautilus_trader.live.config import LiveExecEngineConfig
from nautilus_trader.live.data_client import LiveMarketDataClient
from nautilus_trader.live.factories import LiveDataClientFactory
from nautilus_trader.live.node import TradingNode
from nautilus_trader.model.data import QuoteTick
from nautilus_trader.model.enums import ContingencyType, OrderSide, OrderType, TimeInForce
from nautilus_trader.model.identifiers import ClientId, ClientOrderId, InstrumentId, TraderId
from nautilus_trader.trading.config import StrategyConfig
from nautilus_trader.trading.strategy import Strategy

from nautilus_ext.errors import SuiteError
from nautilus_ext.simulation import (
    RememberingSandboxClient,
    RememberingSandboxConfig,
    SandboxLiveExecClientFactory,
    default_listings,
)
from nautilus_ext.simulation.instruments import to_instrument

ANSWER = "answer "


class Feed(LiveMarketDataClient):
    """Knows the default market's instruments; a quote comes when the test says so."""

    def __init__(self, loop, name, config, msgbus, cache, clock) -> None:  # noqa: PLR0917 - as the factory gets it
        super().__init__(
            loop=loop,
            client_id=ClientId(name),
            venue=None,
            msgbus=msgbus,
            cache=cache,
            clock=clock,
            instrument_provider=InstrumentProvider(),
            config=config,
        )

    async def _connect(self) -> None:
        for listing in default_listings():
            instrument = to_instrument(listing)
            self._cache.add_instrument(instrument)
            self._handle_data(instrument)

    async def _disconnect(self) -> None:
        pass

    async def _subscribe_quote_ticks(self, command) -> None:
        pass

    async def _unsubscribe_quote_ticks(self, command) -> None:
        pass

    def quote(self, instrument: str, bid: str, ask: str, size: str) -> None:
        of = self._cache.instrument(InstrumentId.from_str(instrument))
        now = self._clock.timestamp_ns()
        quantity = of.make_qty(Decimal(size))
        prices = of.make_price(Decimal(bid)), of.make_price(Decimal(ask))
        self._handle_data(QuoteTick(of.id, *prices, quantity, quantity, now, now))


class FeedFactory(LiveDataClientFactory):
    feeds: ClassVar[list[Feed]] = []

    @staticmethod
    def create(loop, name, config, msgbus, cache, clock) -> Feed:  # noqa: PLR0917 - the engine's own signature
        FeedFactory.feeds.append(Feed(loop, name, config, msgbus, cache, clock))
        return FeedFactory.feeds[-1]


class Driven(Strategy):
    """Does what the test says."""

    def on_start(self) -> None:
        self.seen: list[str] = []
        for instrument in self.cache.instruments():
            self.subscribe_quote_ticks(instrument.id)

    def on_stop(self) -> None:
        """Orders and positions stay."""

    def on_order_event(self, event) -> None:
        self.seen.append(type(event).__name__)

    def order(self, kind: str, instrument: str, side: str, quantity: str, **more) -> str:
        of = self.cache.instrument(InstrumentId.from_str(instrument))
        for key in ("price", "trigger_price", "activation_price"):
            if key in more:
                more[key] = of.make_price(Decimal(more[key]))
        for key in ("trailing_offset", "limit_offset"):
            if key in more:
                more[key] = Decimal(more[key])
        if seconds := more.pop("expires_in_s", None):
            more |= {"time_in_force": TimeInForce.GTD, "expire_time": self.clock.utc_now() + timedelta(seconds=seconds)}
        make = getattr(self.order_factory, kind)
        order = make(of.id, OrderSide[side], of.make_qty(Decimal(quantity)), **more)
        self.submit_order(order)
        return order.client_order_id.value

    def bracket(
        self, *, instrument: str, side: str, quantity: str, entry: str | None, stop: str, target: str
    ) -> list[str]:
        of = self.cache.instrument(InstrumentId.from_str(instrument))
        orders = self.order_factory.bracket(
            of.id,
            OrderSide[side],
            of.make_qty(Decimal(quantity)),
            entry_order_type=OrderType.MARKET if entry is None else OrderType.LIMIT,
            entry_price=None if entry is None else of.make_price(Decimal(entry)),
            sl_trigger_price=of.make_price(Decimal(stop)),
            tp_price=of.make_price(Decimal(target)),
            contingency_type=ContingencyType.OCO,
        )
        self.submit_order_list(orders)
        return [order.client_order_id.value for order in orders.orders]

    def modify(self, client_order_id: str, price: str) -> None:
        order = self.cache.order(ClientOrderId(client_order_id))
        self.modify_order(order, price=self.cache.instrument(order.instrument_id).make_price(Decimal(price)))

    def cancel(self, client_order_id: str) -> None:
        self.cancel_order(self.cache.order(ClientOrderId(client_order_id)))

    def close(self, instrument: str) -> None:
        self.close_all_positions(InstrumentId.from_str(instrument))

    def state(self) -> dict:
        accounts = sorted(self.cache.accounts(), key=lambda each: each.id.value)
        return {
            "balances": {
                account.id.value: {
                    str(currency): [str(balance.total), str(balance.locked)]
                    for currency, balance in sorted(account.balances().items(), key=lambda item: str(item[0]))
                }
                for account in accounts
            },
            "margins": {
                account.id.value: sorted(str(each) for each in account.margins().values())
                for account in accounts
                if account.is_margin_account
            },
            "positions": {
                each.id.value: {
                    "strategy": each.strategy_id.value,
                    "quantity": str(each.signed_decimal_qty()),
                    "average_price": each.avg_px_open,
                    "realized_pnl": str(each.realized_pnl),
                    "opening_order_id": each.opening_order_id.value,
                    "ts_opened": each.ts_opened,
                }
                for each in self.cache.positions_open()
            },
            "working": {each.client_order_id.value: self.shown(each) for each in self.cache.orders_open()},
            "waiting": sorted(each.client_order_id.value for each in self.cache.orders_inflight()),
            "net": {
                each.id.value: str(self.portfolio.net_position(each.id))
                for each in self.cache.instruments()
                if not self.portfolio.is_flat(each.id)
            },
        }

    def shown(self, order) -> dict:
        return {
            "strategy": order.strategy_id.value,
            "kind": order.type_string(),
            "side": order.side_string(),
            "status": order.status_string(),
            "quantity": str(order.quantity),
            "filled": str(order.filled_qty),
            "average_price": order.avg_px,
            "price": str(order.price) if order.has_price else None,
            "trigger_price": str(order.trigger_price) if order.has_trigger_price else None,
            "venue_order_id": order.venue_order_id.value,
            "parent": str(order.parent_order_id),
            "linked": sorted(str(each) for each in order.linked_order_ids or []),
        }

    def status(self, client_order_id: str) -> list:
        order = self.cache.order(ClientOrderId(client_order_id))
        reason = getattr(order.last_event, "reason", "")
        return [order.status_string(), str(order.filled_qty), order.avg_px, reason]

    def events(self) -> list[str]:
        seen, self.seen = self.seen, []
        return seen


class Busy(Strategy):
    """Trades on spot as quickly as quotes come, at the market and with limits that rest, move and fill."""

    def on_start(self) -> None:
        self.instrument = self.cache.instrument(InstrumentId.from_str("BTCUSDT.SIM1"))
        self.turn = 0
        self.subscribe_quote_ticks(self.instrument.id)
        self.clock.set_timer("market", timedelta(milliseconds=2), callback=self.move)

    def move(self, _event) -> None:
        self.turn += 1
        bid = Decimal(60_000) + self.turn % 7
        feed = FeedFactory.feeds[0]
        feed._loop.call_soon_threadsafe(feed.quote, self.instrument.id.value, str(bid), str(bid + 1), "5")

    def on_quote_tick(self, tick) -> None:
        for order in self.cache.orders_open(strategy_id=self.id):
            self.cancel_order(order)
        side = OrderSide.BUY if self.turn % 2 else OrderSide.SELL
        quantity = self.instrument.make_qty(Decimal("0.001") * (1 + self.turn % 3))
        self.submit_order(self.order_factory.market(self.instrument.id, side, quantity))
        price = tick.bid_price if side == OrderSide.BUY else tick.ask_price
        self.submit_order(self.order_factory.limit(self.instrument.id, side, quantity, price))


def build(asked: dict) -> tuple[TradingNode, dict[str, Driven]]:
    is_plain = asked.get("plain", False)  # Nautilus's own
    kind = SandboxExecutionClientConfig if is_plain else RememberingSandboxConfig
    factory = plain.SandboxLiveExecClientFactory if is_plain else SandboxLiveExecClientFactory
    config = TradingNodeConfig(
        trader_id=TraderId(asked["trader_id"]),
        logging=LoggingConfig(log_level="INFO", log_colors=False),
        exec_engine=LiveExecEngineConfig(graceful_shutdown_on_exception=True, **asked.get("exec_engine", {})),
        data_clients={"FEED": LiveDataClientConfig(routing=RoutingConfig(default=True))},
        exec_clients={venue: kind.parse(json.dumps({"venue": venue, **of})) for venue, of in asked["venues"].items()},
        timeout_portfolio=3.0,
        timeout_post_stop=0.2,
        timeout_disconnection=2.0,
    )
    node = TradingNode(config=config)
    strategies = {tag: Driven(StrategyConfig(order_id_tag=tag)) for tag in asked.get("tags", ["001"])}
    for strategy in strategies.values():
        node.trader.add_strategy(strategy)
    if asked.get("busy"):
        node.trader.add_strategy(Busy(StrategyConfig(order_id_tag="BUSY")))
    node.add_data_client_factory("FEED", FeedFactory)
    for venue in asked["venues"]:
        node.add_exec_client_factory(venue, factory)
    node.build()
    return node, strategies


def sandboxes(node: TradingNode) -> set[RememberingSandboxClient]:
    owners = {getattr(each.handler, "__self__", None) for each in node.kernel.msgbus.subscriptions()}
    return {each for each in owners if isinstance(each, RememberingSandboxClient)}


def answer(value) -> None:
    sys.stdout.write(ANSWER + msgspec.json.encode(value).decode() + "\n")
    sys.stdout.flush()


def listen(node: TradingNode, strategies: dict[str, Driven], loop) -> None:
    """On a thread: each line is worked off on the loop, and answered when the events that it caused are through."""

    def act(name: str, arguments: dict) -> None:
        value = None
        if name == "quotes":
            for quote in arguments["quotes"]:
                FeedFactory.feeds[0].quote(**quote)
        elif name == "database":
            for sandbox in sandboxes(node):
                sandbox._memory._database.execute(arguments["statement"])
        else:
            tag = arguments.pop("tag", next(iter(strategies)))
            value = getattr(strategies[tag], name)(**arguments)
        settle(20, value)

    def settle(turns: int, value) -> None:
        if turns:
            loop.call_later(0.001, settle, turns - 1, value)
        else:
            answer(value)

    for line in sys.stdin:
        name, arguments = json.loads(line)
        if name == "stop":
            break
        loop.call_soon_threadsafe(act, name, arguments)
    loop.call_soon_threadsafe(node.stop)


def main() -> int:
    asked = json.loads(sys.argv[1])
    try:
        node, strategies = build(asked)
    except SuiteError as error:
        answer({"error": type(error).__name__, "message": str(error)})
        return error.exit_code
    loop = node.get_event_loop()
    assert loop is not None

    def when_running() -> None:
        if all(each.is_running for each in strategies.values()):
            answer("running")
            threading.Thread(target=listen, args=(node, strategies, loop), daemon=True).start()
        else:
            loop.call_later(0.01, when_running)

    loop.call_soon(when_running)
    node.run()
    node.dispose()
    return 0


if __name__ == "__main__":
    sys.exit(main())
