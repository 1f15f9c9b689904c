"""All cards of Nautilus's execution testing specification: those that are played, and those that do not apply."""

from __future__ import annotations

import exchange_cards_data
import exchange_cards_life
import exchange_cards_orders
import exchange_cards_trouble

CARDS = (*exchange_cards_orders.CARDS, *exchange_cards_life.CARDS, *exchange_cards_trouble.CARDS)
BY_ID = {card.test_id: card for card in CARDS}
DATA_CARDS = exchange_cards_data.CARDS
DATA_BY_ID = {card.id: card for card in (*DATA_CARDS, *exchange_cards_data.EXTRA)}

SPECIFIED = {  # the numbers that the specifications give, first and last of each row
    "TC-E": (
        (1, 6), (10, 19), (20, 27), (30, 36), (40, 44), (50, 53), (60, 63), (70, 78), (80, 87), (90, 92), (94, 94),
        (96, 96), (99, 101),
    ),
    "TC-D": ((1, 3), (10, 14), (20, 21), (30, 31), (40, 41), (50, 53), (60, 63), (70, 75)),
}  # fmt: skip

NOT_APPLICABLE = {
    "TC-E36": "the exchange modifies orders",
    "TC-E63": "an order has no parameters beyond its own fields",
    "TC-E90": "no options are listed",
    "TC-E91": "no options are listed",
    "TC-E92": "no options are listed",
    "TC-E94": "no options are listed",
    "TC-E96": "no options are listed",
    "TC-E99": "no options are listed",
    "TC-E100": "no options are listed",
    "TC-E101": "no options are listed",
}


def table() -> list[str]:
    """The cards as the adapter's page shows them: one row each, in the specifications' order."""
    played: dict[str, list[str]] = {}
    for card in (*CARDS, *DATA_CARDS):
        played.setdefault(card.id, []).append(card.says)
    reasons = NOT_APPLICABLE | exchange_cards_data.NOT_APPLICABLE
    both = played.keys() & reasons.keys()
    assert not both, f"played and not applicable: {both}"
    ids = [
        f"{group}{number:02}"
        for group, rows in SPECIFIED.items()
        for first, last in rows
        for number in range(first, last + 1)
    ]
    return [_row(each, played.get(each), reasons.get(each)) for each in ids]


def _row(card_id: str, says: list[str] | None, reason: str | None) -> str:
    if says is None:
        return f"| {card_id} | not applicable: {reason} | |"
    plays = "pass" if len(says) == 1 else f"pass, in {len(says)} ways"
    return f"| {card_id} | {'; '.join(dict.fromkeys(says))} | {plays} |"
