"""What operators have asked for and still holds: halts, limits and overrides on top of the file. Pure.

It is what all applied commands add up to, in their order: a restart that applies them again stands where its
predecessor stood.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from nautilus_ext.config.risk import Limits, Override, Risk
from nautilus_ext.risk.commands import Narrow, Resume, SetLimit, SetOverride, Stop, override_of
from nautilus_ext.risk.halts import Halt, Halts
from nautilus_ext.risk.limits import expression, moment_ns
from nautilus_ext.risk.section import section_problems

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nautilus_ext.risk.commands import Command

KINDS = ("set-limit", "override", "halt", "reduce-only", "resume")  # of commands that leave something standing
STOPS = ("halt", "reduce-only", "resume")  # of them, those that halts add up to
LIMITS_MAX = 1_000  # that were set while nodes ran and were not given back
OVERRIDES_MAX = 1_000
NAMED_MAX = 5
_SHORT_POSITION = "max_position_per_instrument"
_SHORTS = {"max_exposure": ("max_total_notional",), "messages": ("max_orders_per_second", "max_orders_per_minute")}


class Outcome(NamedTuple):
    """What came of a command, for whoever asked."""

    applied: bool
    text: str


class Standing:
    """The file's section and what was changed since. `risk` is a new one after each change: nothing is half changed."""

    def __init__(self, file: Risk) -> None:
        self._file = file
        self._limits: dict[tuple[str, str], Any] = {}
        self._overrides: dict[tuple[str, str], Override] = {}
        self.halts = Halts()
        self.risk = file

    def apply(self, command: Command, now_ns: int) -> Outcome:
        """Change what stands, or say why not; what only acts once, as a flatten, changes nothing here."""
        match command.what:
            case SetLimit():
                return self._set_limit(command.what)
            case SetOverride():
                return self._override(override_of(command.what, command.issued_by), now_ns)
            case Stop() | Narrow():
                return self._stop(command, now_ns)
            case Resume():
                return self._resume(command.what)
            case _:
                return Outcome(applied=True, text="")

    def fold(self, applied: Iterable[tuple[int, Command]], now_ns: int) -> list[str]:
        """What former runs have applied, in its order; return what does not hold any more, as the file is now.

        Limits are looked at when all are there: each by itself would take longer with each that came before it.
        """
        kept, left_out = list(applied), []
        limits, overrides = dict(self._limits), dict(self._overrides)
        for applied_ns, command in kept:
            what = command.what
            if isinstance(what, SetLimit):
                limits[what.scope, what.key] = what.value
                if what.value is None:
                    limits.pop((what.scope, what.key), None)  # what set it may be unknown to this version
            elif isinstance(what, SetOverride):
                overrides[what.code, what.scope] = override_of(what, command.issued_by)
            else:
                left_out += self._left_out(command, applied_ns)
        known = {(each.code, each.scope) for each in self.risk.overrides}
        overrides = {key: each for key, each in overrides.items() if key in known or moment_ns(each.until) > now_ns}
        risk = self._laid_over(limits, overrides)
        if len(limits) <= LIMITS_MAX and len(overrides) <= OVERRIDES_MAX and not any(section_problems(risk)):
            self.risk, self._limits, self._overrides = risk, limits, overrides
            return left_out
        for applied_ns, command in kept:
            if isinstance(command.what, (SetLimit, SetOverride)):
                left_out += self._left_out(command, applied_ns)
        return left_out

    def _left_out(self, command: Command, now_ns: int) -> list[str]:
        outcome = self.apply(command, now_ns)
        return [] if outcome.applied else [f"{command.kind} {command.command_id}: {outcome.text}"]

    # -- halts --------------------------------------------------------------------------------------

    def _stop(self, command: Command, now_ns: int) -> Outcome:
        what = command.what
        told: dict[str, Any] = {"by": command.issued_by, "why": what.why, "since_ns": now_ns}
        mode = "halt" if isinstance(what, Stop) else "reduce_only"
        halt = Halt(scope=what.scope, mode=mode, command_id=command.command_id, **told)
        stands = self.halts.latch(halt)
        known = "" if stands.command_id == command.command_id else "stands already: "
        return Outcome(applied=True, text=f"{known}{stands}")

    def _resume(self, what: Resume) -> Outcome:
        lifted = self.halts.lift(what.scope, what.mode)
        left = _named([str(halt) for halt in self.halts.standing()])
        if not lifted:
            text = f"no {what.mode or 'halt'} stands at {what.scope}; standing: {left or 'none'}"
            return Outcome(applied=False, text=text)
        return Outcome(applied=True, text=f"lifted: {_named(list(map(str, lifted)))}; standing: {left or 'none'}")

    # -- limits and overrides -----------------------------------------------------------------------

    def _set_limit(self, what: SetLimit) -> Outcome:
        place = (what.scope, what.key)
        changed = {**self._limits, place: what.value}
        if what.value is None:
            if place not in self._limits:
                return Outcome(applied=False, text=f"{what.key} of {what.scope} was not changed: the file's holds")
            del changed[place]
        if len(changed) > LIMITS_MAX:
            text = f"{LIMITS_MAX} limits are changed already: write them into the file, or give some back"
            return Outcome(applied=False, text=text)
        risk = self._laid_over(changed, self._overrides)
        problems = [f"{path}: {fault}" for path, fault in section_problems(risk)]
        if problems:
            return Outcome(applied=False, text=f"it does not fit the file: {_named(problems)}")
        old, self.risk, self._limits = self._value(place), risk, changed
        text = f"{what.key} of {what.scope}: {old} -> {self._value(place)}{self._more_exact(what)}"
        return Outcome(applied=True, text=text)

    def _value(self, place: tuple[str, str]) -> str:
        scope, key = place
        value = getattr(self.risk.limits.get(scope, Limits()), key)
        if value is not None:
            return msgspec.json.encode(value).decode().strip('"')
        told = {}
        if scope == "global":
            told = {name: getattr(self.risk, name) for name in _SHORTS.get(key, ())}
        elif key == "max_position":
            told = {_SHORT_POSITION: self.risk.max_position_per_instrument.get(scope.removeprefix("instrument="))}
        return " ".join(f"{name}={each}" for name, each in told.items() if each is not None) or "not set"

    def _more_exact(self, what: SetLimit) -> str:
        """Scopes of the kind that keep a value of their own: the most exact one decides for an order."""
        kind, _, pattern = what.scope.partition("=")
        others = [
            scope
            for scope, limits in self.risk.limits.items()
            if scope != what.scope and scope.partition("=")[0] == kind and getattr(limits, what.key) is not None
        ]
        kept = [scope for scope in others if expression(pattern).fullmatch(scope.partition("=")[2])]
        return f"; their own keep {_named(kept)}" if kept else ""

    def _override(self, override: Override, now_ns: int) -> Outcome:
        place = (override.code, override.scope)
        known = {(each.code, each.scope) for each in self.risk.overrides}
        is_over = moment_ns(override.until) <= now_ns
        if is_over and place not in known:
            return Outcome(applied=False, text=f"until {override.until} is over already, and there is none to end")
        of_file = {(each.code, each.scope) for each in self._file.overrides}  # what ends one of them stands for as long
        live = {key: each for key, each in self._overrides.items() if moment_ns(each.until) > now_ns or key in of_file}
        if len({**live, place: override}) > OVERRIDES_MAX:
            text = f"{OVERRIDES_MAX} overrides stand already: end some, or wait until they expire"
            return Outcome(applied=False, text=text)
        self._overrides = {**live, place: override}
        self.risk = self._laid_over(self._limits, self._overrides)
        word = "ended" if is_over else f"lifted until {override.until}"
        return Outcome(applied=True, text=f"{override.code} of {override.scope}: {word}")

    def _laid_over(self, changed: dict[tuple[str, str], Any], overrides: dict[tuple[str, str], Override]) -> Risk:
        """The file with the changes behind it, where they count; a short key that says the same gives way."""
        limits, values = dict(self._file.limits), {}
        positions = dict(self._file.max_position_per_instrument)
        for (scope, key), value in changed.items():
            new = msgspec.convert({key: value}, Limits)
            limits[scope] = msgspec.structs.replace(limits.get(scope, Limits()), **{key: getattr(new, key)})
            if scope == "global":
                values |= dict.fromkeys(_SHORTS.get(key, ()))
            elif key == "max_position":
                positions.pop(scope.removeprefix("instrument="), None)
        values |= {"overrides": [*self._file.overrides, *overrides.values()], _SHORT_POSITION: positions}
        return msgspec.structs.replace(self._file, limits=limits, **values)


def _named(texts: list[str]) -> str:
    more = f" and {len(texts) - NAMED_MAX} more" if len(texts) > NAMED_MAX else ""
    return "; ".join(texts[:NAMED_MAX]) + more
