"""`check --explain`: the limits of one strategy's orders in one instrument, and where each of them comes from."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec

from nautilus_ext.app.text_tables import Column, head, layout, line, number, plain
from nautilus_ext.app.traded import accounts_of, listing_of, traders_of
from nautilus_ext.config.risk import Limits, MessageLimit
from nautilus_ext.risk.limits import Rulebook

if TYPE_CHECKING:
    from nautilus_ext.app.paper import Paper
    from nautilus_ext.config import Config
    from nautilus_ext.risk.facts import Listing
    from nautilus_ext.risk.limits import Effective

_UNITS = {"price_collar_bps": "bps", "duplicate_window_ms": "ms"}
_IN_MONEY = ("max_order_notional", "max_exposure")
_IN_QUANTITY = ("max_order_quantity", "min_order_quantity", "max_position")

_COLUMNS = (
    Column("limit", lambda row: row["limit"], 1),
    Column("value", lambda row: row["shown"], 2, right=True),
    Column("scope", lambda row: row["scope"], 3),
    Column("from", lambda row: row["source"], 4),
    Column("until", lambda row: row["until"], 5, optional=True),
)


def explained(config: Config, instrument: str, strategy: str, account: str) -> dict[str, Any]:
    """The answer as plain data."""
    listing, unknown = listing_of(instrument)
    book = Rulebook(config.suite.risk)
    limits = book.effective(listing, strategy, account)
    rows = [_row(each, listing, book.base_currency) for each in limits]
    set_keys = {row["limit"] for row in rows}
    return {
        "instrument_id": listing.instrument_id,
        "canonical_id": listing.canonical_id or None,
        "asset": listing.asset or None,
        "quote": listing.quote or None,
        "strategy_id": strategy or None,
        "account_id": account or None,
        "enabled": config.suite.risk.enabled,
        "preset": book.preset,
        "base_currency": book.base_currency,
        "reference": book.reference,
        "price_age_ms_max": book.price_age_ns_max // 1_000_000,
        "needs_limits": book.needs_limits,
        "limits": rows,
        "not_set": [key for key in Limits.__struct_fields__ if key not in set_keys and key != "ramp"],
        "unknown": [*unknown, *_unknown(config, listing, strategy, account)],
    }


def _unknown(config: Config, listing: Listing, strategy: str, account: str) -> list[str]:
    scopes = {scope.partition("=")[0] for scope in config.suite.risk.limits}
    unknown: list[str] = []
    if "account" in scopes and not account:
        unknown.append("which limits of scopes account=… hold: give --account, as the tables or a refusal name it")
    if "strategy" in scopes and not strategy:
        unknown.append("which limits of scopes strategy=… hold: give --strategy")
    known = [trader.strategy_id for trader in traders_of(config)]
    if strategy and strategy not in known:
        unknown.append(f"the strategy {strategy}: this file has {', '.join(known) or 'none'}")
    venues = sorted({each.venue for each in accounts_of(config)})
    if listing.venue not in venues:
        unknown.append(
            f"an account at {listing.venue}: this file has {', '.join(venues) or 'none'}; NO_ACCOUNT refuses"
        )
    return unknown


def _row(each: Effective, listing: Listing, currency: str) -> dict[str, Any]:
    unit = _unit(each, listing, currency)
    return {
        "limit": each.key,
        "value": msgspec.to_builtins(each.value),
        "unit": unit or None,
        "scope": each.scope,
        "source": each.source,
        "shown": f"{_shown(each.value)} {unit}".strip(),
        "until": _until(each),
    }


def _unit(each: Effective, listing: Listing, currency: str) -> str:
    if each.key in _IN_MONEY:
        return currency
    if each.key in _IN_QUANTITY:
        return listing.asset if each.kind == "asset" else ""
    return _UNITS.get(each.key, "")


def _until(each: Effective) -> str:
    if each.ramp is None:
        return ""
    orders = f"{each.ramp.orders:,} orders" if each.ramp.orders is not None else ""
    return " and ".join(filter(None, (orders, each.ramp.until or "")))


def _shown(value: Any) -> str:
    if isinstance(value, Decimal):
        return number(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, MessageLimit):
        cancels = ", cancels refused" if value.refuses_cancels else ""
        return f"{value.max:,} in {value.window_s:g} s ({' + '.join(value.types)}{cancels})"
    return ", ".join(map(str, value)) or "none" if isinstance(value, list) else str(value)


def say_explained(answer: dict[str, Any], paper: Paper) -> None:
    """For people: what it is, a table, and what is left open."""
    named = " ".join(
        filter(None, (answer["instrument_id"], f"({answer['canonical_id']})" if answer["canonical_id"] else ""))
    )
    by = f", {answer['strategy_id']}" if answer["strategy_id"] else ""
    paper.say("", plain(f"{named}{by}"))
    age = f"{answer['reference']}, at most {answer['price_age_ms_max']:,} ms old"
    needs = "refused" if answer["needs_limits"] else "allowed"
    paper.note(
        f"preset {answer['preset']}; money in {answer['base_currency']}; reference price: {age}; without limits: {needs}"
    )
    if not answer["enabled"]:
        paper.note("risk.enabled is false: nothing of this holds")
    shown = layout(_COLUMNS, answer["limits"], paper.width)
    paper.say("", head(shown, color=paper.color))
    paper.say(*(line(shown, row, color=paper.color) for row in answer["limits"]), "")
    paper.note(f"not set: {', '.join(answer['not_set']) or 'nothing'}")
    for each in answer["unknown"]:
        paper.note(f"unknown: {each}")
