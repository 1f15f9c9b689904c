"""One book: its queues, levels, best, and what it says has changed, beside a list that is sorted anew each time."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nautilus_ext.simulation.exchange.agenda import Agenda, Triggers
from nautilus_ext.simulation.exchange.book import Book, BookSide, Resting

DEEDS = st.lists(
    st.tuples(
        st.sampled_from(("add", "add", "remove", "resize", "requeue", "trade")),
        st.integers(1, 6),  # ticks
        st.integers(1, 9),  # lots
        st.integers(0, 20),  # which of those that stand
    ),
    max_size=60,
)


def do(side: BookSide, queue: list[Resting], deed: tuple[str, int, int, int]) -> None:
    """To the book, and to a list in the order of time."""
    verb, ticks, lots, which = deed
    if verb == "add":
        resting = Resting(buy=side.buy, ticks=ticks, shown=lots)
        side.add(resting)
        queue.append(resting)
    elif queue:
        resting = in_turn(side, queue)[0] if verb == "trade" else queue[which % len(queue)]
        if verb == "remove" or (verb == "trade" and resting.shown <= lots):
            side.remove(resting)
            queue.remove(resting)
        elif verb == "requeue":
            side.requeue(resting, lots)
            queue.remove(resting)
            queue.append(resting)
        else:
            side.resize(resting, resting.shown - lots if verb == "trade" else lots)


def in_turn(side: BookSide, queue: list[Resting]) -> list[Resting]:
    return sorted(
        queue, key=lambda each: -each.ticks if side.buy else each.ticks
    )  # stable: time decides within a price


def levels(side: BookSide, queue: list[Resting]) -> tuple[tuple[int, int], ...]:
    prices = dict.fromkeys(each.ticks for each in in_turn(side, queue))
    return tuple((ticks, sum(each.shown for each in queue if each.ticks == ticks)) for ticks in prices)


@pytest.mark.parametrize("buy", [True, False])
@settings(max_examples=60)
@given(deeds=DEEDS)
def test_a_book_is_a_sorted_list(buy, deeds):
    """Price, then time; levels add up; what changed is said, and what is said applied gives the book."""
    side, queue, seen = BookSide(buy=buy), [], {}
    for number, deed in enumerate(deeds):
        do(side, queue, deed)
        assert in_turn(side, queue) == [resting for level in side.best_first() for resting in level.queue]
        assert levels(side, queue) == side.shown()
        assert levels(side, queue)[:2] == side.shown(2)
        assert (in_turn(side, queue)[0].ticks if queue else None) == side.best_ticks
        if queue:
            assert in_turn(side, queue)[0] is side.next_to_trade()
        if number % 3 == 0:
            seen |= side.take_changes()
            assert dict(side.shown()) == {ticks: lots for ticks, lots in seen.items() if lots}
            assert {} == side.take_changes()


def test_what_reaches_the_best_would_trade():
    """A limit at the best price or beyond, and any order without a limit; nothing reaches an empty side."""
    book = Book()
    assert not book.bids.reaches(None)
    book.bids.add(Resting(buy=True, ticks=99, shown=1))
    book.asks.add(Resting(buy=False, ticks=101, shown=1))
    assert [True, True, False] == [book.against(buy=True).reaches(limit) for limit in (None, 101, 100)]
    assert [True, True, False] == [book.against(buy=False).reaches(limit) for limit in (None, 99, 100)]
    assert book.bids is book.side(buy=True) is book.against(buy=False)


@given(entries=st.lists(st.tuples(st.integers(1, 9), st.integers(1, 99)), unique=True), key=st.integers(0, 10))
def test_an_agenda_gives_the_lowest_key_and_then_the_lowest_number(entries, key):
    """Whatever the order in which they came."""
    agenda = Agenda()
    for entry in entries:
        agenda.add(*entry)
    due = sorted(entry for entry in entries if entry[0] <= key)
    for entry in due:
        assert entry[1] == agenda.first_up_to(key)
        agenda.remove(*entry)
    assert agenda.first_up_to(key) is None


def test_triggers_watch_the_market_and_the_trades_since_the_last_look():
    """A trade counts once: it is forgotten when nothing is due any more."""
    triggers = Triggers()
    triggers.add(1, 105, buy=True, rises=True)
    triggers.add(2, 95, buy=False, rises=False)
    assert triggers.due(96, 104) is None
    triggers.traded(95)
    triggers.traded(100)
    assert 2 == triggers.due(96, 104)
    triggers.remove(2, 95, buy=False, rises=False)
    assert triggers.due(96, 104) is None
    triggers.add(3, 95, buy=False, rises=False)
    assert triggers.due(96, 104) is None
    assert 1 == triggers.due(None, 105)
    assert 3 == triggers.due(95, None)
    assert triggers.due(None, None) is None
