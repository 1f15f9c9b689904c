"""A verdict as the journal keeps it: the numbers in columns, what led to them by name. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nautilus_ext.messages import RiskDecision
from nautilus_ext.risk.verdicts import Approved, Refused

if TYPE_CHECKING:
    from decimal import Decimal

    from nautilus_ext.risk.facts import Account, Order, Sight

DIGITS_MAX = 60  # more than that is no number of a table: it stands among the details
TEXT_MAX = 500

_ORDER = (
    "side",
    "quantity",
    "filled",
    "type",
    "price",
    "trigger_price",
    "account_id",
    "is_reduce_only",
    "is_post_only",
    "parent_id",
    "operation_id",
    "list_id",
)
_SIGHT = ("price", "bid", "ask", "price_ns", "rate")


def decision(
    action: str,
    verdict: Approved | Refused | None,
    ts_ns: int,
    *,
    client_order_id: str,
    strategy_id: str,
    instrument_id: str,
    order: Order | None = None,
    sight: Sight | None = None,
) -> RiskDecision:
    """None is a release: it asks nobody."""
    details = {"action": action, **_order_details(order), **_sight_details(sight)}
    refused = verdict if isinstance(verdict, Refused) else None
    numbers: dict[str, Decimal | None] = {}
    if refused is not None:
        details["text"] = refused.text
        for name in ("limit", "value", "would_be"):
            number = getattr(refused, name)
            if number is None or _fits(number):
                numbers[name] = number
            else:
                details[name] = str(number)
    elif isinstance(verdict, Approved):
        details |= _lifted(verdict)
    return RiskDecision(
        client_order_id=client_order_id,
        strategy_id=strategy_id,
        instrument_id=instrument_id,
        verdict="approved" if refused is None else "refused",
        ts_ns=ts_ns,
        code="" if refused is None else refused.code,
        scope="" if refused is None else refused.scope,
        unit="" if refused is None else refused.unit,
        details={name: text[:TEXT_MAX] for name, text in details.items() if text},
        **numbers,
    )


def _fits(number: Decimal) -> bool:
    if not number.is_finite():
        return False
    _, digits, exponent = number.as_tuple()
    return isinstance(exponent, int) and len(digits) + abs(exponent) <= DIGITS_MAX


def _order_details(order: Order | None) -> dict[str, str]:
    if order is None:
        return {}
    return {name: _text(getattr(order, name)) for name in _ORDER} | {"side": "BUY" if order.is_buy else "SELL"}


def _sight_details(sight: Sight | None) -> dict[str, str]:
    if sight is None:
        return {}
    details = {f"seen_{name}": _text(getattr(sight, name)) for name in _SIGHT}
    return details | _account_details(sight.account)


def _account_details(account: Account | None) -> dict[str, str]:
    if account is None:
        return {}
    free = " ".join(f"{amount:f} {currency}" for currency, amount in sorted(account.free.items()))
    return {"seen_free": free, "seen_leverage": _text(account.leverage)}


def _lifted(approved: Approved) -> dict[str, str]:
    lines = [f"{each.refused}; by {each.by} until {each.until}: {each.why}" for each in approved.lifted]
    return {"lifted": "; ".join(lines), "cancels_first": " ".join(approved.cancels_first)}


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else ""
    return "" if value is None or value == 0 else str(value)
