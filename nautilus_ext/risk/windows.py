"""Sliding windows over messages, and what was sent before. By the clock's time, never by timers. Pure."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal

    from nautilus_ext.config.risk import MessageLimit
    from nautilus_ext.risk.facts import Order

DUPLICATES_MAX = 10_000  # orders whose like is looked for; the oldest are forgotten
OPERATIONS_MAX = 100_000  # operation ids that are remembered
KEPT_MIN = 1_000  # messages of a window, however small: a limit that is raised knows what was sent before
NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000


class Window:
    """The last messages, `most` at least; full while the oldest of the last `most` is younger than it is long."""

    __slots__ = ("_stamps", "length_ns", "most")

    def __init__(self, most: int, length_ns: int, sent: Sequence[int] = (), kept: int = 0) -> None:
        self.most = most
        self.length_ns = length_ns
        self._stamps: deque[int] = deque(sent, maxlen=max(most, kept))

    def fits(self, now_ns: int, count: int = 1) -> bool:
        """Tell whether so many more would keep within it."""
        if count > self.most:
            return False
        stamps = self._stamps
        if stamps and stamps[-1] > now_ns:
            stamps = self._put_back(now_ns)
        back = self.most - count + 1
        return back > len(stamps) or stamps[-back] <= now_ns - self.length_ns

    def add(self, now_ns: int, count: int = 1) -> None:
        stamps = self._stamps
        if stamps and stamps[-1] > now_ns:
            stamps = self._put_back(now_ns)
        for _ in range(min(count, stamps.maxlen or 0)):
            stamps.append(now_ns)

    def _put_back(self, now_ns: int) -> deque[int]:
        """The clock was: what was sent is not young until it has caught up."""
        self._stamps = deque((min(stamp, now_ns) for stamp in self._stamps), maxlen=self._stamps.maxlen)
        return self._stamps

    def count(self, now_ns: int) -> int:
        return sum(1 for stamp in self._stamps if stamp > now_ns - self.length_ns)

    def sent(self) -> deque[int]:
        return self._stamps


class Windows:
    """Those of all scopes. When limits change a window begins with what its scope has sent, as far as that was kept."""

    def __init__(self) -> None:
        self._windows: dict[tuple[tuple[str, str], str], Window] = {}
        self._sent: dict[tuple[str, str], deque[int]] = {}  # before the limits changed, by scope and kinds of messages

    def of(self, scope: str, limit: MessageLimit) -> Window:
        stream = (scope, "+".join(sorted(set(limit.types))))
        place = (stream, f"{limit.max}/{limit.window_s}/{limit.refuses_cancels}")
        found = self._windows.get(place)
        if found is None:
            length_ns = round(limit.window_s * NS_PER_S)
            sent = self._sent.get(stream, ())
            found = self._windows[place] = Window(limit.max, length_ns, sent, max(KEPT_MIN, len(sent)))
        return found

    def renew(self) -> None:
        """The limits have changed: each window is made anew when it is asked for."""
        renewed: set[tuple[str, str]] = set()
        for (
            stream,
            _,
        ), window in self._windows.items():  # those of a stream count the same messages: the longest has all
            if stream not in renewed or len(window.sent()) > len(self._sent[stream]):
                renewed.add(stream)
                self._sent[stream] = window.sent()
        self._windows.clear()


class Duplicates:
    """Orders that were let through, by what makes two of them alike."""

    def __init__(self) -> None:
        self._seen: OrderedDict[tuple, tuple[int, str]] = OrderedDict()
        self._listed: set[tuple] = set()

    def begin(self) -> None:
        """Of a list each order is looked at before any of them is let through."""
        self._listed.clear()

    @staticmethod
    def _likeness(order: Order) -> tuple[str, str, int, Decimal, Decimal | None, Decimal | None, str]:
        prices = (order.price, order.trigger_price)
        return (order.strategy_id, order.instrument_id, order.side, order.quantity, *prices, order.type)

    def age_ms(self, order: Order, now_ns: int) -> int | None:
        """How long ago its like was sent, or None; an order is not its own like."""
        likeness = self._likeness(order)
        if likeness in self._listed:
            return 0
        self._listed.add(likeness)
        found = self._seen.get(likeness)
        if found is None or found[1] == order.client_order_id:
            return None
        if found[0] > now_ns:  # the clock was put back
            self._seen[likeness] = (now_ns, found[1])
            return 0
        return (now_ns - found[0]) // NS_PER_MS

    def add(self, order: Order, now_ns: int) -> None:
        likeness = self._likeness(order)
        self._seen[likeness] = (now_ns, order.client_order_id)
        self._seen.move_to_end(likeness)
        if len(self._seen) > DUPLICATES_MAX:
            self._seen.popitem(last=False)


class Operations:
    """Which order, list or parent each operation id belongs to, and which order ids were sent."""

    def __init__(self) -> None:
        self._owners: OrderedDict[str, str] = OrderedDict()
        self._sent: OrderedDict[str, None] = OrderedDict()

    @staticmethod
    def _owner(order: Order) -> str:
        return order.list_id or order.parent_id or order.client_order_id

    def was_sent(self, client_order_id: str) -> bool:
        return client_order_id in self._sent

    def is_taken(self, order: Order) -> bool:
        """Tell whether another order, list or parent has its operation id."""
        return self._owners.get(order.operation_id, self._owner(order)) != self._owner(order)

    def own(self, order: Order) -> None:
        """Its operation is its own from now on; without one there is nothing to own."""
        if order.operation_id:
            self._owners.setdefault(order.operation_id, self._owner(order))
            if len(self._owners) > OPERATIONS_MAX:
                self._owners.popitem(last=False)

    def add(self, order: Order) -> None:
        if order.operation_id:
            self.own(order)
        self._sent[order.client_order_id] = None
        if len(self._sent) > OPERATIONS_MAX:
            self._sent.popitem(last=False)
