"""What waits for a number to be reached: a moment, or a price. Pure."""

from __future__ import annotations

from bisect import bisect_left, insort


class Agenda:
    """Keys with the numbers of the orders that wait for them, the lowest key first."""

    __slots__ = ("_entries",)

    def __init__(self) -> None:
        self._entries: list[tuple[int, int]] = []

    def add(self, key: int, number: int) -> None:
        insort(self._entries, (key, number))

    def remove(self, key: int, number: int) -> None:
        at = bisect_left(self._entries, (key, number))
        assert self._entries[at] == (key, number), "what is taken away was never put in"
        del self._entries[at]

    def first_up_to(self, key: int) -> int | None:
        """The number of the first that waits for this key or a lower one."""
        if self._entries and self._entries[0][0] <= key:
            return self._entries[0][1]
        return None


class Triggers:
    """The untriggered conditional orders of one listing. Buys watch the ask, sells the bid, and all watch trades."""

    __slots__ = ("_agendas", "_waiting", "high", "low")

    def __init__(self) -> None:
        self._agendas = {(buy, rises): Agenda() for buy in (True, False) for rises in (True, False)}
        self._waiting = 0
        self.high = self.low = 0  # of the trades since everything that was due was taken

    def traded(self, ticks: int) -> None:
        self.high = max(self.high, ticks)
        self.low = min(self.low, ticks) if self.low else ticks

    def add(self, number: int, ticks: int, *, buy: bool, rises: bool) -> None:
        self._agendas[buy, rises].add(ticks if rises else -ticks, number)
        self._waiting += 1

    def remove(self, number: int, ticks: int, *, buy: bool, rises: bool) -> None:
        self._agendas[buy, rises].remove(ticks if rises else -ticks, number)
        self._waiting -= 1

    def due(self, bid: int | None, ask: int | None) -> int | None:
        """The number of an order whose trigger is reached; when there is none, the trades so far are forgotten."""
        for (buy, rises), agenda in self._agendas.items() if self._waiting else ():
            market = ask if buy else bid
            prices = [ticks for ticks in (market, self.high if rises else self.low) if ticks]
            number = agenda.first_up_to(max(prices) if rises else -min(prices)) if prices else None
            if number is not None:
                return number
        self.high = self.low = 0
        return None
