"""Scopes of limits, halts and breakers as a person writes them: what is wrong with one, and what to write. Pure."""

from __future__ import annotations

import difflib
import re

from nautilus_ext.config.identifiers import identifier_fault
from nautilus_ext.config.risk import KINDS
from nautilus_ext.errors import ConfigError
from nautilus_ext.instruments.canonical import parse

SCOPE_FORM = f'write "global", or one of {", ".join(KINDS[1:])} with "=" and a name or *'
NAME = re.compile(r"[\x21-\x7e]+")
PRICED = re.compile(r"[\x21-\x7e]*[A-Za-z][\x21-\x7e]*\.[A-Za-z][\x21-\x2d\x2f-\x7e]*")
_IDENTIFIERS = {"venue": "VenueName", "account": "AccountId", "strategy": "StrategyId"}


def scope_fault(scope: str) -> str | None:
    kind, equals, member = scope.partition("=")
    if scope == "global":
        return None
    if kind in KINDS[1:] and member:
        return member_fault(kind, member)
    return f'"{scope}" is no scope; {_nearest(kind, equals, member) or SCOPE_FORM}'


def _nearest(kind: str, equals: str, member: str) -> str:
    if kind == "*":
        return 'write "global" for all together, "instrument=*" for each instrument by itself'
    if not equals and PRICED.fullmatch(kind):
        return f'did you mean "instrument={kind}"?'
    near = difflib.get_close_matches(kind.strip().lower(), KINDS, n=1)
    if not near or (near[0] == "global") == bool(equals) or (equals and not member):
        return ""
    return f'did you mean "{near[0]}{equals}{member.strip()}"?'


def member_fault(kind: str, member: str) -> str | None:
    """Whether a name can be met at all: a limit of what does not exist would limit nothing."""
    if not NAME.fullmatch(member):
        return f"{member!r} is no name: plain ASCII without spaces"
    if kind in ("venue", "asset") and member == member.lower() != member.upper():
        return f'"{member}" is written in capitals: "{kind}={member.upper()}"'
    if "*" in member:
        return None
    if kind == "instrument":
        return _instrument_fault(member)
    fault = identifier_fault(_IDENTIFIERS[kind], member) if kind in _IDENTIFIERS else None
    return f'{fault}, or hold a * as in "{member}*"' if fault else None


def _instrument_fault(text: str) -> str | None:
    if text.count(":") < 2:  # noqa: PLR2004 - a canonical id has two colons at least
        fault = identifier_fault("InstrumentId", text)
        return f'{fault}, a canonical id, or hold a * as in "{text}*"' if fault else None
    try:
        parse(text)
    except ConfigError as error:
        return f"{text!r} is no canonical id: {'; '.join(f'{each.path} {each.message}' for each in error.problems)}"
    return None
