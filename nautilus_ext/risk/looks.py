"""What breakers look at each second: how old data is, which venues are away, how far the tables are behind."""

from __future__ import annotations

from collections import deque
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from nautilus_ext.risk.halts import Place
from nautilus_ext.risk.results import Open

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nautilus_ext.messages import MirrorState
    from nautilus_ext.risk.sights import Sights

NS_PER_S = Decimal(1_000_000_000)
DATA_TOPICS = ("data.quotes.", "data.trades.", "data.book.")
MARKS_MAX = 4_000  # of how far the log was, a second apart
TOPICS_MAX = 100_000


class Markets:
    """Instruments that somebody has subscribed to, or that are traded: how long nothing was heard of each."""

    def __init__(self, cache: Any, bus: Any) -> None:
        self._cache = cache
        self._bus = bus
        self._known: dict[str, Any] = {}  # by the end of a topic
        self._learned: tuple[int, set[str]] = (0, set())
        self._since: dict[Any, int] = {}

    def ages_s(self, now_ns: int) -> dict[Any, Decimal]:
        watched = {*self._subscribed(), *self._traded()}
        self._since = {each: self._since.get(each, now_ns) for each in watched}
        return {each: (now_ns - max(self._heard_ns(each), since)) / NS_PER_S for each, since in self._since.items()}

    def _subscribed(self) -> list[Any]:
        topics = {
            topic[len(front) :] for topic in self._bus.topics() for front in DATA_TOPICS if topic.startswith(front)
        }
        count = len(self._cache.instrument_ids())
        if not topics <= self._known.keys() and (count, topics) != self._learned:
            self._learned = (count, topics)
            self._learn()
        return [self._known[each] for each in topics if each in self._known]

    def _learn(self) -> None:
        """An order book's topic names a kind before the venue, and an interval behind the symbol maybe."""
        for each in self._cache.instrument_ids()[:TOPICS_MAX]:
            name = f"{each.venue}.{each.symbol}"
            self._known[name] = each
            self._known |= {f"{kind}.{name}": each for kind in ("deltas", "depth")}

    def _traded(self) -> list[Any]:
        orders = (*self._cache.orders_open(), *self._cache.orders_inflight())
        return [each.instrument_id for each in (*orders, *self._cache.positions_open())]

    def _heard_ns(self, instrument_id: Any) -> int:
        """When the newest of quotes, trades and book arrived."""
        quote, trade = self._cache.quote_tick(instrument_id), self._cache.trade_tick(instrument_id)
        book = self._cache.order_book(instrument_id)
        return max(
            quote.ts_init if quote is not None else 0,
            trade.ts_init if trade is not None else 0,
            book.ts_last if book is not None else 0,
        )


class Away(NamedTuple):
    """How long the connections to venues have been lost, and which have just come back."""

    down_s: dict[str, Decimal]
    back: list[str]


class Venues:
    """By what the execution clients say of themselves."""

    def __init__(self) -> None:
        self.clients: Iterable[Any] = ()
        self._down_ns: dict[str, int] = {}
        self._was_up: set[str] = set()

    def look(self, now_ns: int) -> Away:
        up: dict[str, bool] = {}
        for client in self.clients:
            name = (client.venue or client.id).value
            up[name] = up.get(name, True) and client.is_connected
        back = [name for name, is_up in up.items() if is_up and name in self._down_ns and name in self._was_up]
        for name, is_up in up.items():
            if is_up:
                self._down_ns.pop(name, None)
                self._was_up.add(name)
            else:
                self._down_ns.setdefault(name, now_ns)
        down_s = {name: (now_ns - self._down_ns.get(name, now_ns)) / NS_PER_S for name in up}
        return Away(down_s, back)


class Lag:
    """How long ago the oldest event was written that the tables have not got."""

    def __init__(self) -> None:
        self._marks: deque[tuple[int, int]] = deque(maxlen=MARKS_MAX)  # when, and the number of the last event then

    def take(self, state: MirrorState, now_ns: int) -> Decimal:
        if not self._marks or state.seq > self._marks[-1][1]:
            self._marks.append((now_ns, state.seq))
        while self._marks and self._marks[0][1] <= state.shipped_seq:
            self._marks.popleft()
        return (now_ns - self._marks[0][0]) / NS_PER_S if self._marks else Decimal(0)


def open_results(cache: Any, sights: Sights) -> list[Open]:
    """What the open positions would bring at the reference price; without one it is not known."""
    return [_open_result(position, cache, sights) for position in cache.positions_open()]


def _open_result(position: Any, cache: Any, sights: Sights) -> Open:
    place = Place(position.instrument_id.value, position.strategy_id.value, position.account_id.value)
    price = sights.price(position.instrument_id).price
    instrument = cache.instrument(position.instrument_id)
    currency = position.settlement_currency.code
    if price is None or instrument is None:
        return Open(place, currency, None)
    money = position.unrealized_pnl(instrument.make_price(price))
    return Open(place, money.currency.code, money.as_decimal())
