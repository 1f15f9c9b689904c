"""What the desk's options ask for. A value that cannot be meant is one message: the option, the value, the cure."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from nautilus_ext.config import book_name_problem
from nautilus_ext.errors import ConfigError, Problem
from nautilus_ext.persistence.reading import CLOSED, ROWS_MAX, WORKING, Filters

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

SOURCE = "command line"
LIMIT = 50
POSITION_WORDS = ("open", "closed", "all")
_NAMES = ("operation_id", "strategy", "venue", "instrument", "asset")
_ORDER_WORDS = {"working": WORKING, "closed": CLOSED}
_DURATION = re.compile(r"(\d{1,9})(s|m|h|d)")
_NS = {"s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9, "d": 86_400 * 10**9}
_NS_MAX = 2**63 - 1


def check(options: argparse.Namespace, verb: str) -> None:
    """Refuse what cannot be meant, all of it at once and before any database is asked."""
    checks: dict[str, Callable[[str], object]] = {
        "status": order_statuses if verb == "orders" else position_state,
        "since": lambda text: since_ns(text, now_ns=0),
        "limit": limit_of,
    }
    problems: list[Problem] = []
    if options.book is not None and (problem := book_name_problem(options.book)):
        problems.append(problem)
    for name, parse in checks.items():
        text = getattr(options, name, None)
        try:
            if text is not None:
                parse(text)
        except ValueError as error:
            problems.append(Problem(f"--{name}", f"{text!a} {error}"))
    for name in (*_NAMES, "id"):
        text = getattr(options, name, None)
        if text is not None and not (text.strip() and text.isprintable()):
            at = "ID" if name == "id" else f"--{name.replace('_', '-')}"
            problems.append(Problem(at, f"{text!a} is no name: give one as `orders` shows it"))
    if problems:
        raise ConfigError(SOURCE, problems)


def filters(options: argparse.Namespace, verb: str, book_id: str, now_ns: int) -> Filters:
    """The filters of options that were checked; `now_ns` is where a duration counts back from."""
    given = {name: getattr(options, name, None) for name in _NAMES}
    status, since, limit = (getattr(options, name, None) for name in ("status", "since", "limit"))
    statuses = order_statuses if verb == "orders" else position_state
    return Filters(
        book_id=book_id,
        status=statuses(status) if status is not None else None,
        since_ns=since_ns(since, now_ns=now_ns) if since is not None else None,
        limit=limit_of(limit) if limit is not None else LIMIT,
        **given,
    )


def order_statuses(text: str) -> tuple[str, ...]:
    """Nautilus's names in any case, and the words working and closed."""
    found: list[str] = []
    for word in text.split(","):
        name = word.strip()
        if name.lower() in _ORDER_WORDS:
            found += _ORDER_WORDS[name.lower()]
        elif name.upper() in (*WORKING, *CLOSED):
            found.append(name.upper())
        else:
            raise ValueError(
                f"has {name!a}, which is no order status: take working, closed, or of "
                f"{', '.join((*WORKING, *CLOSED))} one or several with commas between"
            )
    return tuple(dict.fromkeys(found))


def position_state(text: str) -> tuple[str, ...]:
    word = text.strip().lower()
    if word not in POSITION_WORDS:
        raise ValueError(f"is no state of a position: take {', '.join(POSITION_WORDS[:-1])} or {POSITION_WORDS[-1]}")
    return (word,)


def since_ns(text: str, *, now_ns: int) -> int:
    """A duration back from now, or a moment; a moment without a zone is UTC."""
    duration = _DURATION.fullmatch(text.strip())
    if duration is not None:
        return max(0, now_ns - int(duration[1]) * _NS[duration[2]])
    try:
        moment = datetime.fromisoformat(text.strip())
        zoned = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        passed = zoned - datetime.fromtimestamp(0, UTC)
    except (ValueError, OverflowError):
        raise ValueError("is no time: take 30s, 10m, 2h, 1d, or ISO 8601 as 2026-01-31T09:30:00 (UTC)") from None
    ns = (passed.days * 86_400 + passed.seconds) * 10**9 + passed.microseconds * 1000
    if not 0 <= ns <= _NS_MAX:
        raise ValueError("is outside the years 1970 to 2262")
    return ns


def until_iso(text: str, *, now_ns: int) -> str:
    """A duration from now on, a moment, or `now`, which ends what lasts; as ISO 8601 with a zone."""
    duration = _DURATION.fullmatch(text.strip())
    if duration is not None:
        ns = now_ns + int(duration[1]) * _NS[duration[2]]
    elif text.strip().lower() == "now":
        ns = now_ns
    else:
        ns = since_ns(text, now_ns=now_ns)
    if ns > _NS_MAX:
        raise ValueError("is too far away: take a year at most")
    return f"{datetime.fromtimestamp(ns // 10**9, UTC):%Y-%m-%dT%H:%M:%SZ}"


def limit_of(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text) or not 1 <= int(text) <= ROWS_MAX:
        raise ValueError(f"is no number of rows: take 1 to {ROWS_MAX:,}")
    return int(text)
