"""`check --explain`: the limits of one strategy's orders in one instrument, and where each of them comes from."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec

from nautilus_ext.app.text_tables import Column, layout, line, number, plain, styled, wrapped
from nautilus_ext.app.traded import accounts_of, listing_of, traders_of
from nautilus_ext.config.risk import Limits, MessageLimit, Override
from nautilus_ext.risk.limits import Rulebook, moment_ns

if TYPE_CHECKING:
    from nautilus_ext.app.paper import Paper
    from nautilus_ext.config import Config
    from nautilus_ext.risk.facts import Listing
    from nautilus_ext.risk.limits import Effective

_UNITS = {"price_collar_bps": "bps", "duplicate_window_ms": "ms"}
_IN_MONEY = ("max_order_notional", "max_exposure")
_IN_QUANTITY = ("max_order_quantity", "min_order_quantity", "max_position")
_INDENT = "  "

_COLUMNS = (
    Column("limit", lambda row: row["limit"], 1),
    Column("value", lambda row: row["shown"], 2, least=24),
    Column("until", lambda row: row["until"] and f"until {row['until']}", 3, least=20, optional=True),
)


def explained(config: Config, instrument: str, strategy: str, account: str, now_ns: int) -> dict[str, Any]:
    """The answer as plain data."""
    listing, unknown = listing_of(instrument, [each.venue for each in accounts_of(config)])
    risk = config.suite.risk
    book = Rulebook(risk)
    limits = book.effective(listing, strategy, account)
    rows = [_row(each, listing, book.base_currency) for each in limits]
    set_keys = {row["limit"] for row in rows}
    members = {
        "venue": listing.venue,
        "account": account,
        "strategy": strategy,
        "asset": listing.asset,
        "instrument": listing.instrument_id,
    }
    scopes = {"global", *(f"{kind}={member}" for kind, member in members.items())}
    return {
        "instrument_id": listing.instrument_id,
        "canonical_id": listing.canonical_id or None,
        "asset": listing.asset or None,
        "quote": listing.quote or None,
        "strategy_id": strategy or None,
        "account_id": account or None,
        "enabled": risk.enabled,
        "preset": book.preset,
        "base_currency": book.base_currency,
        "reference": book.reference,
        "price_age_ms_max": book.price_age_ns_max // 1_000_000,
        "needs_limits": book.needs_limits,
        "limits": rows,
        "lifted": [msgspec.to_builtins(each) for each in risk.overrides if _lifts(each, scopes, now_ns)],
        "not_set": [key for key in Limits.__struct_fields__ if key not in set_keys and key != "ramp"],
        "unknown": [*unknown, *_unknown(config, listing, strategy, account)],
    }


def _lifts(override: Override, scopes: set[str], now_ns: int) -> bool:
    return override.scope in scopes and now_ns < moment_ns(override.until)


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
        has = ", ".join(venues) or "none"
        unknown.append(f"an account at {listing.venue}: this file has {has}; without one every order is refused")
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
        return listing.asset if each.kind == "asset" and each.key == "max_position" else ""
    return _UNITS.get(each.key, "")


def _until(each: Effective) -> str:
    if each.ramp is None:
        return ""
    orders = f"{each.ramp.orders:,} orders" if each.ramp.orders is not None else ""
    return " and ".join(filter(None, (orders, each.ramp.until or "")))


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, Decimal):
        return number(value)
    if isinstance(value, MessageLimit):
        cancels = ", cancels refused" if value.refuses_cancels else ""
        return f"{value.max:,} in {value.window_s:g} s ({' + '.join(value.types)}{cancels})"
    return ", ".join(map(str, value)) or "none" if isinstance(value, list) else str(value)


def say_explained(answer: dict[str, Any], paper: Paper) -> None:
    """For people: each place of the file with what it sets, from the widest scope to the narrowest."""
    canonical = f" ({answer['canonical_id']})" if answer["canonical_id"] else ""
    by = f"orders of {answer['strategy_id']}" if answer["strategy_id"] else "orders of any strategy"
    at = f", account {answer['account_id']}" if answer["account_id"] else ""
    title = plain(f"{answer['instrument_id']}{canonical}: {by}{at}")
    lines = wrapped(title, paper.width) if paper.width else [title]
    paper.say("", *(styled(each, "bold", color=paper.color) for each in lines))
    if not answer["enabled"]:
        paper.say("risk.enabled is false: nothing of this holds")
    width = paper.width and paper.width - len(_INDENT)
    shown = layout(_COLUMNS, answer["limits"], width)
    places: dict[str, list[dict[str, Any]]] = {}
    for row in answer["limits"]:
        places.setdefault(_place(row["source"], row["scope"]), []).append(row)
    for place, rows in places.items():
        paper.say("", styled(plain(place), "live", color=paper.color))
        paper.say(*(_INDENT + line(shown, row, color=paper.color) for row in rows))
    paper.say("")
    for each in _notes(answer):
        paper.note(each)


def _place(source: str, scope: str) -> str:
    """Where it stands in the file, and for which one it counts where that is not the same."""
    return source if source.endswith(scope) or scope == "global" else f"{source}: {scope}"


def _notes(answer: dict[str, Any]) -> list[str]:
    age_s = answer["price_age_ms_max"] / 1000
    refused = "refused" if answer["needs_limits"] else "allowed"
    price = f"Reference price: {answer['reference']}, at most {age_s:g} s old; money is in {answer['base_currency']}"
    return [
        *(
            f"Lifted until {each['until']}: {each['code']} in {each['scope']}, by {each['by']}: {each['why']}"
            for each in answer["lifted"]
        ),
        "All of these hold. A number without a unit is in the instrument's own quantity: coins, shares or contracts.",
        f"{price}; an instrument without limits is {refused}.",
        f"Not set: {', '.join(answer['not_set']) or 'nothing'}",
        *(f"Unknown: {each}" for each in answer["unknown"]),
    ]
