"""What is wrong with the section `risk` although its shape is right: the path below it, and the cure. Pure."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from nautilus_ext.config.risk import VENUE_CHECKED
from nautilus_ext.errors import ConfigError
from nautilus_ext.instruments.canonical import parse
from nautilus_ext.instruments.symbols import from_nautilus
from nautilus_ext.risk.breakers import rule_problems
from nautilus_ext.risk.limits import RAMPED, moment_ns
from nautilus_ext.risk.presets import BASE_CURRENCY
from nautilus_ext.risk.scopes import NAME, PRICED, member_fault, scope_fault

if TYPE_CHECKING:
    from collections.abc import Iterator

    import msgspec

    from nautilus_ext.config.risk import Limits, MessageLimit, Override, Ramp, Risk


LIMIT_MAX = Decimal(10) ** 18  # more limits nothing
DECIMALS_MAX = 18
DOLLARS = {"USD", "USDC", "USDT"}  # one stands for another in a rate
_ALLOWING = ("allowed_instruments", "allowed_venues", "allowed_sides", "allowed_order_types")


def section_problems(risk: Risk) -> Iterator[tuple[str, str]]:
    """All of them, as `limits.venue=SIM1.ramp` and what to write instead."""
    for scope, limits in risk.limits.items():
        fault = scope_fault(scope)
        if fault:
            yield f"limits.{scope}", fault
        yield from _limits_problems(f"limits.{scope}", scope.partition("=")[0], limits)
    for number, override in enumerate(risk.overrides):
        yield from _override_problems(f"overrides[{number}]", override)
    yield from _conversion_problems(risk)
    yield from _number_problems("", risk)
    for name, value in risk.max_position_per_instrument.items():
        at = f"max_position_per_instrument.{name}"
        yield from _faults(at, member_fault("instrument", name), _number_fault(value))
    yield from _told_twice(risk)
    yield from ((f"breakers{at}", fault) for at, fault in rule_problems(risk.breakers))
    yield from _sweep_problems(risk)


def _sweep_problems(risk: Risk) -> Iterator[tuple[str, str]]:
    for number, name in enumerate(risk.cancel_on_disconnect):
        yield from _faults(f"cancel_on_disconnect[{number}]", member_fault("venue", name))
    if risk.venue_check_interval_s is not None and not any(rule.kind in VENUE_CHECKED for rule in risk.breakers):
        words = " or ".join(VENUE_CHECKED)
        yield "venue_check_interval_s", f"nothing asks for it: it is for breakers of the kind {words}"


def _faults(path: str, *faults: str | None) -> Iterator[tuple[str, str]]:
    yield from ((path, fault) for fault in faults if fault)


# -- one scope ------------------------------------------------------------------------------------


def _limits_problems(path: str, kind: str, limits: Limits) -> Iterator[tuple[str, str]]:
    yield from _number_problems(path, limits)
    least, most = limits.min_order_quantity, limits.max_order_quantity
    if least is not None and most is not None and least > most:
        yield f"{path}.min_order_quantity", f"{least} is more than max_order_quantity {most}: no order passes both"
    for number, messages in enumerate(limits.messages or ()):
        yield from _message_problems(f"{path}.messages[{number}]", messages)
    if limits.ramp is not None:
        yield from _ramp_problems(f"{path}.ramp", kind, limits.ramp)
    yield from _list_problems(path, limits)


def _list_problems(path: str, limits: Limits) -> Iterator[tuple[str, str]]:
    for key in _ALLOWING:
        if getattr(limits, key) == []:
            yield f"{path}.{key}", "is empty, so that nothing could be traded: name what may be, or leave it out"
    for key in ("allowed_instruments", "restricted_instruments"):
        for number, name in enumerate(getattr(limits, key) or ()):
            yield from _faults(f"{path}.{key}[{number}]", member_fault("instrument", name))
    for number, name in enumerate(limits.allowed_venues or ()):
        fault = "venues are named one by one here, without *" if "*" in name else member_fault("venue", name)
        yield from _faults(f"{path}.allowed_venues[{number}]", fault)


def _message_problems(path: str, messages: MessageLimit) -> Iterator[tuple[str, str]]:
    if not messages.types:
        yield f"{path}.types", "is empty: say what is counted, or leave it out for submit and modify together"
    elif messages.refuses_cancels and "cancel" not in messages.types:
        yield f"{path}.refuses_cancels", 'cancels are not counted here: add "cancel" to types'


def _ramp_problems(path: str, kind: str, ramp: Ramp) -> Iterator[tuple[str, str]]:
    if kind != "strategy":
        yield path, "a ramp belongs to a scope strategy=…: strategies are new, nothing else"
    if ramp.orders is None and ramp.until is None:
        yield path, "it never ends: give orders, or until, or both"
    if all(getattr(ramp, name) is None for name in RAMPED):
        yield path, f"it limits nothing: give one of {', '.join(RAMPED)}"
    if ramp.until is not None:
        yield from _faults(f"{path}.until", _moment_fault(ramp.until))
    yield from _number_problems(path, ramp)


def _number_problems(path: str, struct: msgspec.Struct) -> Iterator[tuple[str, str]]:
    for name in struct.__struct_fields__:
        value = getattr(struct, name)
        if isinstance(value, Decimal):
            yield from _faults(f"{path}.{name}" if path else name, _number_fault(value))


def _number_fault(value: Decimal) -> str | None:
    if not value.is_finite() or not 0 <= value <= LIMIT_MAX:
        return f"{value} is no limit: a number from 0 to 1e18"
    exponent = value.as_tuple().exponent
    if isinstance(exponent, int) and -exponent > DECIMALS_MAX:
        return f"{value} is no limit: it has more than {DECIMALS_MAX} decimals"
    return None


# -- overrides and conversions --------------------------------------------------------------------


def _override_problems(path: str, override: Override) -> Iterator[tuple[str, str]]:
    scope = override.scope
    fault = scope_fault(scope)
    if fault is None and "*" in scope:
        fault = f'"{scope}" stands for many: name the one scope that the refusal names, without *'
    elif fault is None and scope.count(":") >= 2:  # noqa: PLR2004 - a canonical id
        fault = f'"{scope}" is a canonical id: a refusal names the InstrumentId, like instrument=BTCUSDT.BINANCE_SPOT'
    yield from _faults(f"{path}.scope", fault)
    yield from _faults(f"{path}.until", _moment_fault(override.until))
    for key in ("by", "why"):
        if not getattr(override, key).strip():
            yield f"{path}.{key}", "is empty: whoever reads the record of this override wants to know"


def _moment_fault(text: str) -> str | None:
    try:
        moment_ns(text)
    except (ValueError, OverflowError):
        return f'"{text}" is no moment: ISO 8601 with a time zone, like 2026-01-31T12:00:00Z'
    return None


def _conversion_problems(risk: Risk) -> Iterator[tuple[str, str]]:
    base = risk.base_currency or BASE_CURRENCY
    if base != base.upper():
        yield "base_currency", f'"{base}" is written in capitals: "{base.upper()}"'
    for currency, source in risk.conversions.items():
        at = f"conversions.{currency}"
        if currency == base:
            yield at, f"{base} is the base currency itself: leave it out"
        elif not NAME.fullmatch(currency) or currency != currency.upper():
            yield at, f'"{currency}" is no currency: its code is written in capitals, like BTC'
        if not _is_rate(source):
            yield from _faults(at, _source_fault(currency, base, str(source)))


def _source_fault(currency: str, base: str, source: str) -> str | None:
    """What an InstrumentId tells of its price: of this currency, and not the wrong way round."""
    if not PRICED.fullmatch(source):
        return f'"{source}" is neither a number above 0 nor an InstrumentId like BTCUSDT.BINANCE_SPOT'
    symbol, _, venue = source.rpartition(".")
    try:
        priced = from_nautilus(symbol, venue)
    except ConfigError:
        return None  # its symbol does not tell
    if (priced.base, priced.quote) == (base, currency):
        return f"{source} says what {base} is in {currency}: give a number for the other direction"
    if priced.base != currency:
        return f"{source} is the price of {priced.base}, not of {currency}"
    if priced.quote == base or {priced.quote, base} <= DOLLARS:
        return None
    return f"{source} says what {currency} is in {priced.quote}, not in {base}: limits in money would not hold"


def _is_rate(source: str | float) -> bool:
    try:
        return 0 < Decimal(str(source)) <= LIMIT_MAX
    except ArithmeticError:
        return False


# -- what is said in two places -------------------------------------------------------------------


def _told_twice(risk: Risk) -> Iterator[tuple[str, str]]:
    whole = risk.limits.get("global")
    if whole is not None and whole.max_exposure is not None and risk.max_total_notional is not None:
        yield "max_total_notional", "the same as limits.global.max_exposure, which is set too: keep one of them"
    scopes: dict[str, str] = {}
    for scope in risk.limits:
        kind, _, name = scope.partition("=")
        if kind == "instrument":
            former = scopes.setdefault(_one_name(name), scope)
            if former != scope:
                yield f"limits.{scope}", f"the same instrument as limits.{former}: put both into one"
    shorts: dict[str, str] = {}
    for name in risk.max_position_per_instrument:
        at, one = f"max_position_per_instrument.{name}", _one_name(name)
        scope, former = scopes.get(one), shorts.setdefault(one, at)
        if scope is not None and risk.limits[scope].max_position is not None:
            yield at, f"the same as limits.{scope}.max_position, which is set too: keep one of them"
        if former != at:
            yield at, f"the same instrument as {former}: keep one of them"


def _one_name(name: str) -> str:
    """An instrument's canonical id, as far as its name tells; without the class, which may be left out."""
    symbol, _, venue = name.rpartition(".")
    try:
        canonical = parse(name) if name.count(":") >= 2 else from_nautilus(symbol, venue)  # noqa: PLR2004 - as above
    except ConfigError:
        return name
    return f"{canonical.venue}:{canonical.type}:{canonical.payload}@{canonical.chain}"
