"""Folded rows and stored rows find each other by version, and what waits is bounded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nautilus_ext.persistence import matching
from nautilus_ext.persistence.matching import Findings, Matching
from nautilus_ext.persistence.rows import AccountRow

if TYPE_CHECKING:
    import pytest


def _row(account: str, seq: int, balances: bytes = b"[]") -> AccountRow:
    return AccountRow("B", account, "CASH", None, balances, b"[]", True, 1, 1, seq)


def _matched(*chunks: tuple[list[Any], list[Any]]) -> list[tuple[str, str, str]]:
    findings = Findings()
    pair = Matching("account_states", findings)
    for folded, stored in chunks:
        pair.fold(folded)
        pair.store(stored)
    pair.end()
    return [(each.key, each.field, each.found) for each in findings.listed]


def test_a_row_that_changes_later_waits_for_its_last_version() -> None:
    """The table has the last version only; JSON is compared by value."""
    assert [] == _matched(
        ([_row("A", 1)], []), ([_row("A", 7, b'[{"a":1,"b":2}]')], [_row("A", 7, b'[{"b":2, "a":1}]')])
    )


def test_a_row_that_changes_later_under_its_own_version_agrees_at_the_end() -> None:
    """A later life of a position ends an earlier one, whose version stays."""
    assert [] == _matched(([_row("A", 1)], [_row("A", 1, b"[2]")]), ([_row("A", 1, b"[2]")], []))


def test_another_value_another_version_a_row_too_few_and_one_too_many() -> None:
    """Each is named by its key and its field."""
    assert [("A", "balances", "[1]")] == _matched(([_row("A", 1)], [_row("A", 1, b"[1]")]))
    assert [("A", "seq", "2")] == _matched(([_row("A", 1)], [_row("A", 2)]))
    assert [("A", "row", "none")] == _matched(([_row("A", 1)], []))
    assert [("A", "row", "one")] == _matched(([], [_row("A", 1)]))


def test_what_waits_is_bounded_and_still_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """An emptied table of any size is told without keeping all of it."""
    monkeypatch.setattr(matching, "WAITING_MAX", 10)
    findings = Findings()
    pair = Matching("account_states", findings)
    for number in range(1000):
        pair.fold([_row(f"A{number}", number)])
        pair.store([])
        assert len(pair.folded) <= 10
    pair.end()
    assert (1000, matching.LISTED_MAX) == (findings.total, len(findings.listed))
