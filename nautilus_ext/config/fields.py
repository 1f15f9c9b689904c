"""Rules for fields that Nautilus types as plain text although it makes an enum, a name, a rate or money of them."""

from __future__ import annotations

import difflib
import re
from typing import Any

from nautilus_trader.model.enums import AccountType, BookType, OmsType
from nautilus_trader.model.objects import Currency, Money

from nautilus_ext.config.env import Unresolved
from nautilus_ext.config.identifiers import identifier_fault

LOG_LEVELS = ("OFF", "TRACE", "DEBUG", "INFO", "WARNING", "ERROR")  # anything else aborts the process
_ENUMS = {"oms_type": OmsType, "account_type": AccountType, "book_type": BookType}
_NAMES = {"venue": "VenueName", "venues": "Venue", "order_id_tag": "OrderIdTag", "client_id": "ClientId"}
_RATE = re.compile(r"[1-9]\d{0,8}/\d\d:[0-5]\d:[0-5]\d")


def field_faults(name: str, hint: Any, value: Any) -> list[str]:
    """What is wrong with the value of a field of this name; nothing for a name without a rule."""
    if isinstance(value, Unresolved) or value is None:
        return []
    if name in _ENUMS:
        return enum_faults(_ENUMS[name], value) if hint in (str, str | None) else []
    if name in _NAMES:
        values = value if isinstance(value, list) else [value]
        faults = (identifier_fault(_NAMES[name], item) for item in values if isinstance(item, str))
        return [fault for fault in faults if fault]
    rule = _RULES.get(name)
    return rule(value) if rule is not None else []


def enum_faults(kind: Any, value: Any, by_value: set[str] | None = None) -> list[str]:
    """Nautilus's own enums are written by name, those whose values are text by value."""
    names = sorted(by_value or {member.name for member in kind})
    if value in names:
        return []
    spellings = (str(value), str(value).upper())
    near = [match for text in spellings for match in difflib.get_close_matches(text, names, n=1)]
    hint = f'did you mean "{near[0]}"?' if near else "one of " + ", ".join(names)
    return [f"{value!r} is no {kind.__name__}; {hint}"]


def word_faults(words: tuple[Any, ...], value: str) -> list[str]:
    """One of a few words, in their own case."""
    if value in words:
        return []
    near = difflib.get_close_matches(value, words, n=1) or [word for word in words if word.lower() == value.lower()]
    hint = f'did you mean "{near[0]}"?' if near else "one of " + ", ".join(words)
    return [f"{value!r} is unknown; {hint}"]


def _level_faults(value: Any) -> list[str]:
    levels = value.values() if isinstance(value, dict) else [value]
    return [
        f"{level!r} is no log level; one of {', '.join(LOG_LEVELS)}"
        for level in levels
        if not isinstance(level, str) or level.upper() not in LOG_LEVELS
    ]


def _rate_faults(value: Any) -> list[str]:
    if isinstance(value, str) and _RATE.fullmatch(value):
        return []
    return [f'{value!r} is no rate: write a number, a slash and a time, like "100/00:00:01"']


def _balance_faults(value: Any) -> list[str]:
    if not isinstance(value, list):
        return []
    if not value:
        return ['is empty: give at least one amount, like "100000 USDT"']
    return [
        f'{item!r} is no amount of money: write a number, a space and a currency, like "100000 USDT"'
        for item in value
        if not _is_money(item)
    ]


def _currency_faults(value: Any) -> list[str]:
    return [] if isinstance(value, str) and _is_currency(value) else [f"{value!r} is no currency code"]


def _is_money(text: Any) -> bool:
    amount, _, currency = text.partition(" ") if isinstance(text, str) else ("", "", "")
    if not amount or not _is_currency(currency):
        return False
    try:
        Money.from_str(text)
    except Exception:  # noqa: BLE001 - decimal, value and overflow errors all mean the same here
        return False
    return True


def _is_currency(code: str) -> bool:
    return code.isascii() and code.isalnum() and Currency.from_str(code) is not None


_RULES = {
    "base_currency": _currency_faults,
    "log_component_levels": _level_faults,
    "log_level": _level_faults,
    "log_level_file": _level_faults,
    "max_order_modify_rate": _rate_faults,
    "max_order_submit_rate": _rate_faults,
    "starting_balances": _balance_faults,
}
