"""From the section `risk` to the limits of one order: which hold, at what value, and where each comes from. Pure."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from nautilus_ext.config.risk import KINDS, Limits, MessageLimit, Override, Ramp, Risk
from nautilus_ext.instruments.canonical import ASSET_CLASSES
from nautilus_ext.risk.presets import BASE_CURRENCY, DEFAULT, PRESETS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nautilus_ext.risk.facts import Listing

_SETTINGS = ("base_currency", "reference", "price_age_ms_max", "needs_limits", "approvals_recorded_every")
RAMPED = ("max_order_quantity", "max_order_notional", "max_position", "max_exposure")
PRESET = "preset "
_CLASS = re.compile(
    rf"(?:{'|'.join(ASSET_CLASSES)}):(?=.*:.*:)"
)  # in front of a canonical id, where it may be left out


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
    is_short: bool = False

    def matches(self, *names: str) -> bool:
        return any(self.expression.fullmatch(name) for name in names)


class Lifting(NamedTuple):
    """An override, its end as nanoseconds."""

    override: Override
    until_ns: int


class Rulebook:
    """Everything that the section says, its preset included; `version` counts the changes since the file."""

    def __init__(self, risk: Risk, version: int = 0) -> None:
        self.version = version
        preset = risk.preset or DEFAULT
        base = PRESETS[preset]
        chosen = {name: _first(getattr(risk, name), getattr(base, name)) for name in _SETTINGS}
        self.preset = preset
        self.base_currency: str = chosen["base_currency"] or BASE_CURRENCY
        self.reference: str = chosen["reference"]
        self.price_age_ns_max: int = chosen["price_age_ms_max"] * 1_000_000
        self.needs_limits: bool = chosen["needs_limits"]
        self.approvals_recorded_every: int = chosen["approvals_recorded_every"]
        self.conversions = {currency: str(source) for currency, source in risk.conversions.items()}
        self.trusts_reduce_only = risk.trusts_reduce_only
        self._patterns = [
            *(_pattern(scope, limits, PRESET + preset) for scope, limits in base.limits.items()),
            *(_pattern(scope, limits, f"risk.limits.{scope}") for scope, limits in risk.limits.items()),
            *_shorts(risk),
        ]
        self._liftings = {(each.code, each.scope): Lifting(each, moment_ns(each.until)) for each in risk.overrides}

    def effective(self, listing: Listing, strategy_id: str, account_id: str) -> list[Effective]:
        """All limits of an order, from the widest scope to the narrowest."""
        members = {
            "venue": (listing.venue,),
            "account": (account_id,),
            "strategy": (strategy_id,),
            "asset": (listing.asset,),
            "instrument": (listing.instrument_id, listing.canonical_id),
        }
        found = self._of_kind("global", "global", "")
        for kind in KINDS[1:]:
            names = [name for name in members[kind] if name]  # what is not known has no limit of its own
            if names:
                found += self._of_kind(kind, f"{kind}={names[0]}", *names)
        return found

    def _of_kind(self, kind: str, scope: str, *names: str) -> list[Effective]:
        of_kind = [each for each in self._patterns if each.kind == kind and each.matches(*names)]
        return [limit for key in Limits.__struct_fields__ for limit in self._of(key, scope, of_kind)]

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
    shorts = [(each.source, limit) for each in setting if each.is_short for limit in each.limits.messages or ()]
    lengths = {limit.window_s for _, limit in shorts}
    others = [each for each in setting if not each.is_short]
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


def expression(pattern: str) -> re.Pattern[str]:
    """What a name with `*` in it stands for. The asset class of a canonical id may be left out, on either side."""
    bare, replaced = _CLASS.subn("", pattern, count=1)
    is_canonical = replaced or bare.count(":") >= 2  # noqa: PLR2004 - a canonical id has two colons at least
    front = f"(?:{_CLASS.pattern})?" if is_canonical else ""
    return re.compile(front + ".*".join(map(re.escape, bare.split("*"))))


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def _pattern(scope: str, limits: Limits, source: str, *, is_short: bool = False) -> Pattern:
    kind, _, text = scope.partition("=")
    exactness = ("*" not in text, len(text.replace("*", "")))
    return Pattern(kind, text, limits, source, expression(text), exactness, is_short)


def _shorts(risk: Risk) -> Iterator[Pattern]:
    """The keys of the requirements, as scopes."""
    for key, length_s in (("max_orders_per_second", 1.0), ("max_orders_per_minute", 60.0)):
        most = getattr(risk, key)
        if most is not None:
            limits = Limits(messages=[MessageLimit(max=most, window_s=length_s)])
            yield _pattern("global", limits, f"risk.{key}", is_short=True)
    if risk.max_total_notional is not None:
        limits = Limits(max_exposure=risk.max_total_notional)
        yield _pattern("global", limits, "risk.max_total_notional", is_short=True)
    for name, value in risk.max_position_per_instrument.items():
        source = f"risk.max_position_per_instrument.{name}"
        yield _pattern(f"instrument={name}", Limits(max_position=value), source, is_short=True)
