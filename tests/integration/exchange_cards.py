"""All cards of Nautilus's execution testing specification: those that are played, and those that do not apply."""

from __future__ import annotations

import exchange_cards_orders
import exchange_cards_trouble

CARDS = (*exchange_cards_orders.CARDS, *exchange_cards_trouble.CARDS)
BY_ID = {card.test_id: card for card in CARDS}

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
