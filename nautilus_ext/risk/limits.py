"""From the section `risk` to the limits of one order: which hold, at what value, and where each comes from. Pure."""

from __future__ import annotations

import re
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from nautilus_ext.config.risk import KINDS, Limits, MessageLimit, Override, Ramp, Risk
from nautilus_ext.risk.presets import BASE_CURRENCY, DEFAULT, PRESETS

if TYPE_CHECKING:
    from collections.abc import Iterator

    import msgspec

    from nautilus_ext.risk.facts import Listing

_SETTINGS = ("base_currency", "reference", "price_age_ms_max", "needs_limits", "approvals_recorded_every")
RAMPED = ("max_order_quantity", "max_order_notional", "max_position", "max_exposure")
SHORT = "risk"  # the source of what the short keys say
PRESET = "preset "


class Effective(NamedTuple):
    """One limit of one scope: `scope` names the member that it counts over, `source` where the file says it."""

    key: str
    value: Any
    scope: str
    source: str
    ramp: Ramp | None = None  # it holds only as long as the strategy is new

    @property
    def kind(self) -> str:
        return self.scope.partition("=")[0]

    @property
    def member(self) -> str:
        return self.scope.partition("=")[2]


class Pattern(NamedTuple):
    """A scope of the file with what it sets; `exactness` orders those of a kind."""

    kind: str
    text: str
    limits: Limits
    source: str
    expression: re.Pattern[str]
    exactness: tuple[bool, int]

    def matches(self, *names: str) -> bool:
        return any(self.expression.fullmatch(name) for name in names)


class Lifting(NamedTuple):
    """An override, its end as nanoseconds."""

    override: Override
    until_ns: int


class Rulebook:
    """Everything that the section says, its preset included."""

    def __init__(self, risk: Risk) -> None:
        preset = risk.preset or DEFAULT
        base = PRESETS[preset]
        chosen = {name: _first(getattr(risk, name), getattr(base, name)) for name in _SETTINGS}
        self.preset = preset
        self.base_currency: str = chosen["base_currency"] or BASE_CURRENCY
        self.reference: str = chosen["reference"]
        self.price_age_ns_max: int = chosen["price_age_ms_max"] * 1_000_000
        self.needs_limits: bool = chosen["needs_limits"]
        self.approvals_recorded_every: int = chosen["approvals_recorded_every"]
        self.conversions = risk.conversions
        self.trusts_reduce_only = risk.trusts_reduce_only
        self._patterns = [
            *_patterns(base.limits, PRESET + preset),
            *_patterns(risk.limits, "risk.limits"),
            *_patterns(_short(risk), SHORT),
        ]
        self._liftings = {(each.code, each.scope): Lifting(each, moment_ns(each.until)) for each in risk.overrides}

    def effective(self, listing: Listing, strategy_id: str, account_id: str) -> list[Effective]:
        """All limits of an order, from the widest scope to the narrowest."""
        members = {
            "global": ("",),
            "venue": (listing.venue,),
            "account": (account_id,),
            "strategy": (strategy_id,),
            "asset": (listing.asset,),
            "instrument": tuple(filter(None, (listing.instrument_id, listing.canonical_id))),
        }
        found = []
        for kind in KINDS:
            names = members[kind]
            scope = f"{kind}={names[0]}" if kind != "global" else kind
            of_kind = [each for each in self._patterns if each.kind == kind and each.matches(*names)]
            for key in Limits.__struct_fields__:
                found += self._of(key, scope, of_kind)
        return found

    def _of(self, key: str, scope: str, of_kind: list[Pattern]) -> Iterator[Effective]:
        setting = [each for each in of_kind if getattr(each.limits, key) is not None]
        if not setting:
            return
        if key == "messages":
            yield from _messages(setting, scope)
            return
        winner = _most_exact(setting)
        value = getattr(winner.limits, key)
        if key != "ramp":
            yield Effective(key, value, scope, winner.source)
            return
        for name in RAMPED:
            if getattr(value, name) is not None:
                yield Effective(name, getattr(value, name), scope, f"{winner.source}.ramp", value)

    def lifting(self, code: str, scope: str, now_ns: int) -> Override | None:
        """The override that lifts a block now."""
        found = self._liftings.get((code, scope))
        return found.override if found is not None and now_ns < found.until_ns else None


def _most_exact(setting: list[Pattern]) -> Pattern:
    """Of two that are equally exact the later counts: the file's over the preset's."""
    return max(enumerate(setting), key=lambda each: (each[1].exactness, each[0]))[1]


def _messages(setting: list[Pattern], scope: str) -> Iterator[Effective]:
    """The short keys come on top of what the file sets; of a preset they replace the windows of their length."""
    shorts = [(each.source, limit) for each in setting if each.source == SHORT for limit in each.limits.messages or ()]
    lengths = {limit.window_s for _, limit in shorts}
    others = [each for each in setting if each.source != SHORT]
    if others:
        winner = _most_exact(others)
        is_preset = winner.source.startswith(PRESET)
        for limit in winner.limits.messages or ():
            if not (is_preset and limit.window_s in lengths):
                yield Effective("messages", limit, scope, winner.source)
    for source, limit in shorts:
        yield Effective("messages", limit, scope, source)


def moment_ns(text: str) -> int:
    """An ISO 8601 moment with its time zone, as nanoseconds; ValueError for anything else."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text} has no time zone: write 2026-01-31T12:00:00Z")
    return round(moment.timestamp() * 1_000_000) * 1_000


def scope_problems(risk: Risk) -> Iterator[tuple[str, str]]:
    """What is wrong with the section although its shape is right: the path below `risk`, and the cure."""
    for scope, limits in risk.limits.items():
        path = f"limits.{scope}"
        kind, equals, member = scope.partition("=")
        if kind not in KINDS or (kind == "global") == bool(equals) or (equals and not member):
            yield (
                path,
                f'"{scope}" is no scope: write "global", or one of {", ".join(KINDS[1:])} with "=" and a name or *',
            )
        if limits.ramp is not None:
            if kind != "strategy":
                yield f"{path}.ramp", "a ramp belongs to a scope strategy=…: strategies are new, nothing else"
            yield from _ramp_problems(f"{path}.ramp", limits.ramp)
        yield from _number_problems(path, limits)
    for number, override in enumerate(risk.overrides):
        yield from _moment_problems(f"overrides[{number}].until", override.until)
    for currency, source in risk.conversions.items():
        if "." not in source and not _is_positive(source):
            text = f'"{source}" is neither a number above 0 nor an InstrumentId like BTCUSDT.BINANCE'
            yield f"conversions.{currency}", text
    yield from _number_problems("", risk)
    whole = risk.limits.get("global")
    if whole is not None and whole.max_exposure is not None and risk.max_total_notional is not None:
        yield "max_total_notional", "the same as limits.global.max_exposure, which is set too: keep one of them"
    for name, value in risk.max_position_per_instrument.items():
        yield from _negative(f"max_position_per_instrument.{name}", value)


def _ramp_problems(path: str, ramp: Ramp) -> Iterator[tuple[str, str]]:
    if ramp.orders is None and ramp.until is None:
        yield path, "it never ends: give orders, or until, or both"
    if ramp.until is not None:
        yield from _moment_problems(f"{path}.until", ramp.until)
    yield from _number_problems(path, ramp)


def _moment_problems(path: str, text: str) -> Iterator[tuple[str, str]]:
    try:
        moment_ns(text)
    except ValueError:
        yield path, f'"{text}" is no moment: ISO 8601 with a time zone, like 2026-01-31T12:00:00Z'


def _number_problems(path: str, struct: msgspec.Struct) -> Iterator[tuple[str, str]]:
    for name in struct.__struct_fields__:
        value = getattr(struct, name)
        if isinstance(value, Decimal):
            yield from _negative(f"{path}.{name}" if path else name, value)


def _negative(path: str, value: Decimal) -> Iterator[tuple[str, str]]:
    if not value.is_finite() or value < 0:
        yield path, f"{value} is no limit: a number from 0 on"


def _is_positive(text: str) -> bool:
    try:
        return Decimal(text).is_finite() and Decimal(text) > 0
    except ArithmeticError:
        return False


def expression(pattern: str) -> re.Pattern[str]:
    """What a name with `*` in it stands for."""
    return re.compile(".*".join(map(re.escape, pattern.split("*"))))


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def _patterns(limits: dict[str, Limits], source: str) -> list[Pattern]:
    found = []
    for scope, each in limits.items():
        kind, _, text = scope.partition("=")
        exactness = ("*" not in text, len(text.replace("*", "")))
        named = source if source == SHORT else f"{source}.{scope}"
        found.append(Pattern(kind, text, each, named, expression(text), exactness))
    return found


def _short(risk: Risk) -> dict[str, Limits]:
    """The keys of the requirements, as scopes."""
    windows = ((risk.max_orders_per_second, 1.0), (risk.max_orders_per_minute, 60.0))
    messages = [MessageLimit(max=most, window_s=length_s) for most, length_s in windows if most is not None]
    scopes = {
        f"instrument={name}": Limits(max_position=value) for name, value in risk.max_position_per_instrument.items()
    }
    if messages or risk.max_total_notional is not None:
        scopes["global"] = Limits(messages=messages or None, max_exposure=risk.max_total_notional)
    return scopes
