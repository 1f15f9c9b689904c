"""The commands in hand: the first answer counts, what was given up is never begun, and nothing grows for good."""

from __future__ import annotations

import pytest

from nautilus_ext.app import docket
from nautilus_ext.app.docket import Docket
from nautilus_ext.risk.standing import Outcome

DONE = Outcome(applied=True, text="done")


def kept(command_id, kind="halt"):
    return (command_id, kind, {}, "ann")


@pytest.fixture
def heard():
    return []


@pytest.fixture
def hand(heard):
    return Docket(lambda: heard.append("answered"))


def test_the_first_answer_counts(hand, heard):
    """A gate that answers twice, or too late, changes nothing."""
    ticket = hand.add(kept("c-1"), None)
    assert ticket.begin()
    ticket.answer(*DONE)
    ticket.answer(False, "late")
    assert (DONE, ["answered"]) == (ticket.outcome, heard)
    assert not ticket.give_up("late")


def test_what_was_given_up_is_never_begun_and_what_was_begun_is_not_given_up(hand):
    """Whichever comes first."""
    first, second = (hand.add(kept(name), None) for name in ("c-1", "c-2"))
    assert first.give_up("too long")
    assert not first.begin()
    assert second.begin()
    assert not second.give_up("too long")
    assert [second] == hand.unanswered()


def test_what_is_over_finds_its_answer_and_is_forgotten_one_day(hand, monkeypatch):
    """The last ones; a command that comes again is written again, under its number."""
    monkeypatch.setattr(docket, "REMEMBERED_MAX", 2)
    tickets = [hand.add(kept(f"c-{number}"), None, DONE) for number in range(3)]
    assert [1, 2, 3] == [each.number for each in hand.to_write()]
    for ticket in tickets:
        hand.written(ticket)
    assert ([], None, tickets[1]) == (hand.to_write(), hand.known("c-0"), hand.known("c-1"))
    hand.again(tickets[1])
    assert [tickets[1]] == hand.to_write()


def test_there_is_room_for_so_many_and_the_nodes_own_have_theirs(hand, monkeypatch):
    """A flood of one kind does not keep out the other."""
    monkeypatch.setattr(docket, "OPEN_MAX", 2)
    monkeypatch.setattr(docket, "OWN_MAX", 2)
    own = [hand.add(kept(f"b-{number}"), None, DONE, own=True) for number in range(2)]
    assert (True, False) == (hand.has_room, hand.own_has_room)
    for number in range(2):
        hand.add(kept(f"c-{number}"), None)
    assert not hand.has_room
    hand.written(own[0])
    assert (False, True) == (hand.has_room, hand.own_has_room)
    hand.again(own[0])
    assert not hand.own_has_room
