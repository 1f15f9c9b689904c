"""Rules for identifiers, applied before Nautilus sees them: it aborts the whole process on a bad one.

Pure: the types are named by their class name, so nothing of Nautilus is imported.
"""

from __future__ import annotations

import re

_NAME = r"[\x21-\x7e]+"
_NO_HYPHEN = r"[\x21-\x2c\x2e-\x7e]"
_TAGGED = re.compile(rf"{_NO_HYPHEN}[\x21-\x7e]*-{_NO_HYPHEN}+")
_PLAIN = re.compile(_NAME)

_RULES: dict[str, tuple[re.Pattern[str], str]] = {
    "TraderId": (_TAGGED, 'a name, a hyphen and a tag in plain ASCII without spaces, like "TRADER-001"'),
    "StrategyId": (re.compile(rf"EXTERNAL|{_TAGGED.pattern}"), 'a name, a hyphen and a tag, like "TrendFollower-001"'),
    "AccountId": (_TAGGED, 'the issuer, a hyphen and the account, like "BYBIT-001"'),
    "InstrumentId": (
        re.compile(rf"{_NAME}\.[\x21-\x2d\x2f-\x7e]+"),
        'a symbol, a dot and a venue, like "BTCUSDT.BINANCE_SPOT"',
    ),
    "VenueName": (re.compile(rf"{_NO_HYPHEN}+"), 'plain ASCII without spaces and hyphens, like "BINANCE_SPOT"'),
    "OrderIdTag": (re.compile(rf"{_NO_HYPHEN}+"), 'plain ASCII without spaces and hyphens, like "001"'),
}
_ANY_NAME = (_PLAIN, "plain ASCII without spaces, at least one character")
_NAMED_LIKE_IDENTIFIER = ("ClientId", "Venue", "ComponentId", "ExecAlgorithmId", "Symbol", "ActorId")


def identifier_fault(kind: str, value: object) -> str | None:
    """Say what is wrong with an identifier of this kind, or None. Kinds without a rule pass."""
    if kind not in _RULES and kind not in _NAMED_LIKE_IDENTIFIER and not kind.endswith("Id"):
        return None
    if not isinstance(value, str):
        return f"expected text, found {value!r}"
    pattern, form = _RULES.get(kind, _ANY_NAME)
    if pattern.fullmatch(value):
        return None
    return f"{value!r} is no {kind}: it must be {form}"


def client_name_fault(name: str) -> str | None:
    """A client's name becomes an identifier, and Nautilus cuts it at the first hyphen."""
    fault = identifier_fault("ClientId", name)
    if fault:
        return fault
    if "-" in name:
        short = name.partition("-")[0]
        return f"the name {name!r} holds a hyphen and Nautilus would cut it to {short!r}: use an underscore"
    return None
