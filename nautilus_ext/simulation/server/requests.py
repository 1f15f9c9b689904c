"""What of a request can be judged before the exchange looks at it: sizes, ids, numbers. Pure."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING

from nautilus_ext.simulation.exchange.orders import Refusal
from nautilus_ext.simulation.market import SIZE_MAX
from nautilus_ext.simulation.wire import ORDERS_PER_LIST_MAX

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from nautilus_ext.simulation.exchange.orders import AccountTerms, NewOrder

ID_CHARS_MAX = 64
CURRENCIES_MAX = 50
LINKED_MAX = 100
DIGITS_MAX = 18  # before and after the point: what the books can count
NS_MAX = 2**63 - 1
LEVERAGE_MAX = 1_000
NUMBER_CHARS_MAX = 64
ECHO_CHARS_MAX = 40  # of what a client sent, in what it is told
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?")


def bad_list(orders: Sequence[NewOrder]) -> Refusal | None:
    if not 1 <= len(orders) <= ORDERS_PER_LIST_MAX:
        return Refusal("BAD_REQUEST", f"a list of {len(orders)} orders; 1 to {ORDERS_PER_LIST_MAX} are taken")
    ids = [order.client_order_id for order in orders]
    if len(set(ids)) < len(ids):
        return Refusal("DUPLICATE_ID", "one client order id stands twice in the list")
    return next((refusal for refusal in map(_bad_order, orders) if refusal is not None), None)


def _bad_order(order: NewOrder) -> Refusal | None:
    ids = (order.client_order_id, *order.linked_ids, *(() if order.parent_id is None else (order.parent_id,)))
    if not all(map(is_id, ids)) or len(order.linked_ids) > LINKED_MAX:
        return Refusal("BAD_ORDER", f"an id must have 1 to {ID_CHARS_MAX} printable characters: {echo(ids)}")
    numbers = (order.quantity, order.price, order.trigger_price, order.display_quantity)
    if not all(is_countable(number) for number in numbers if number is not None):
        return Refusal("BAD_ORDER", f"a number that no book can count: {[str(number)[:40] for number in numbers]}")
    return bad_moments((order.expire_ns,))


def bad_moments(moments_ns: Iterable[int | None]) -> Refusal | None:
    wrong = [moment for moment in moments_ns if moment is not None and not 0 <= moment <= NS_MAX]
    return Refusal("BAD_REQUEST", f"a moment must lie between 0 and {NS_MAX} ns: {wrong}") if wrong else None


def bad_terms(terms: AccountTerms) -> Refusal | None:
    starting = terms.starting_balances
    if not is_id(terms.account):
        return Refusal(
            "BAD_TERMS", f"an account's name has 1 to {ID_CHARS_MAX} printable characters: {echo(terms.account)}"
        )
    if len(starting) > CURRENCIES_MAX or not all(name.isascii() and name.isalnum() for name in starting):
        return Refusal("BAD_TERMS", f"starting_balances: at most {CURRENCIES_MAX} currencies, named by their codes")
    if not all(is_countable(amount) and 0 <= amount <= SIZE_MAX for amount in starting.values()):
        limits = f"each 0 to {SIZE_MAX:,}, with at most {DIGITS_MAX} decimals"
        return Refusal("BAD_TERMS", f"starting_balances: {limits}: {echo(tuple(starting.values()))}")
    if not (is_countable(terms.leverage) and 1 <= terms.leverage <= LEVERAGE_MAX):
        return Refusal("BAD_TERMS", f"leverage is {echo(terms.leverage)}; it must be between 1 and {LEVERAGE_MAX}")
    return None


def is_id(text: str) -> bool:
    return 0 < len(text) <= ID_CHARS_MAX and text.isprintable()


def is_countable(number: Decimal) -> bool:
    """Also keeps out numbers that take an age to compute with: 1E+999999."""
    if not number.is_finite():
        return False
    exponent = number.as_tuple().exponent
    return isinstance(exponent, int) and exponent >= -DIGITS_MAX and number.adjusted() < DIGITS_MAX


def numbers_from(texts: Iterable[str | None]) -> list[Decimal | None] | Refusal:
    """All of them, or why one of them is none."""
    found: list[Decimal | None] = []
    for text in texts:
        number = number_from(text)
        if isinstance(number, Refusal):
            return number
        found.append(number)
    return found


def number_from(text: str | None) -> Decimal | Refusal | None:
    """A decimal as text; None stays None."""
    if text is None:
        return None
    if len(text) > NUMBER_CHARS_MAX or not _NUMBER.fullmatch(text):
        what = f"is no decimal number of at most {NUMBER_CHARS_MAX} characters"
        return Refusal("BAD_ORDER", f"{echo(text)} {what}")
    number = Decimal(text)
    if not is_countable(number):
        return Refusal("BAD_ORDER", f"{echo(text)} is a number that no book can count")
    return number


def echo(value: object) -> str:
    """What a client sent, as a refusal may repeat it: a frame has room for more than an answer."""
    if isinstance(value, tuple):
        return ", ".join(map(echo, value[:3]))
    text = str(value)
    return f"{text[:ECHO_CHARS_MAX]!r}" + ("…" if len(text) > ECHO_CHARS_MAX else "")
