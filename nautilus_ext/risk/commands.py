"""What an operator can ask of a running node, as plain structs and as the JSON that tables and streams hold. Pure.

A command says all that is wrong with it at once, whichever way it comes: line, table, stream. What it says of the state
of a node, as that nothing is halted there, is for whoever applies it.
"""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

import msgspec

from nautilus_ext.config.risk import Liftable, Limits, Override, Risk
from nautilus_ext.errors import ConfigError, Problem
from nautilus_ext.risk.halts import Mode, halt_scope_fault
from nautilus_ext.risk.scopes import scope_fault
from nautilus_ext.risk.section import section_problems

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

TEXT_MAX = 500
NAME_MAX = 100
SHOWN_MAX = 60
MESSAGE_BYTES_MAX = 16_384
PROBLEMS_MAX = 20  # of one command that are told
_ID = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._:-]{{0,{NAME_MAX - 1}}}")
_STRUCT: dict[str, Any] = {"frozen": True, "kw_only": True, "forbid_unknown_fields": True}


class SetLimit(msgspec.Struct, **_STRUCT):
    """From now on a limit of one scope has this value; null: what the file says holds again."""

    scope: str
    key: str
    value: Any
    why: str


class SetOverride(msgspec.Struct, **_STRUCT):
    """One control of one scope does not refuse until a moment."""

    code: str
    scope: str
    until: str
    why: str


class Stop(msgspec.Struct, **_STRUCT):
    """Nothing new in this scope, what works is canceled; `flatten`: what is held is closed as well."""

    scope: str
    why: str
    flatten: bool = False


class Narrow(msgspec.Struct, **_STRUCT):
    """Only what reduces in this scope."""

    scope: str
    why: str


class Resume(msgspec.Struct, **_STRUCT):
    """Lift what stands at exactly this scope: all of it, or one mode."""

    scope: str
    why: str
    mode: Mode | None = None


class CancelAll(msgspec.Struct, **_STRUCT):
    """Cancel what works in this scope, once."""

    scope: str
    why: str


class Flatten(msgspec.Struct, **_STRUCT):
    """Cancel what works in this scope and close what is held, once."""

    scope: str
    why: str


What = SetLimit | SetOverride | Stop | Narrow | Resume | CancelAll | Flatten


class Trait(NamedTuple):
    """`expires_s`: when nobody has applied it by then nobody shall; None: it waits for the next start of the node.

    `may_repeat`: what was begun by a run that crashed is done again by the next; otherwise a person has to look.
    """

    struct: type[What]
    expires_s: float | None
    may_repeat: bool


COMMANDS = {
    "set-limit": Trait(SetLimit, 60.0, may_repeat=True),
    "override": Trait(SetOverride, 60.0, may_repeat=True),
    "halt": Trait(Stop, None, may_repeat=True),
    "reduce-only": Trait(Narrow, None, may_repeat=True),
    "resume": Trait(Resume, 60.0, may_repeat=False),
    "cancel-all": Trait(CancelAll, 60.0, may_repeat=True),
    "flatten": Trait(Flatten, 60.0, may_repeat=False),
}
_KINDS = {trait.struct: kind for kind, trait in COMMANDS.items()}


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """Applied once, by its id; `issued_by` is a person, or how a message came."""

    command_id: str
    issued_by: str
    what: What

    @property
    def kind(self) -> str:
        return _KINDS[type(self.what)]

    @property
    def arguments(self) -> dict[str, Any]:
        """What a table or a stream keeps of it beside its kind."""
        return msgspec.to_builtins(self.what)


def override_of(what: SetOverride, by: str) -> Override:
    """As the section of the file has it; a code that is none is refused here as there."""
    return msgspec.convert({**msgspec.to_builtins(what), "by": by}, Override)


# -- reading --------------------------------------------------------------------------------------


def read(command_id: object, kind: object, arguments: object, issued_by: object) -> Command:
    """A command without a fault; ConfigError with all that is wrong, where, and what to write instead."""
    problems = [*_envelope_problems(command_id, kind, arguments, issued_by)]
    if isinstance(kind, str) and kind in COMMANDS and isinstance(arguments, dict):
        found = _problems(COMMANDS[kind].struct, arguments)
        problems += [Problem(f"arguments.{at}", _clipped(text)) for at, text in found]
        if not problems:
            what = msgspec.convert(arguments, COMMANDS[kind].struct)
            return Command(command_id=str(command_id), issued_by=str(issued_by), what=what)
    raise ConfigError(f"command {_shown(command_id)}", _first(problems))


def read_message(raw: bytes) -> Command:
    """From a stream: a JSON object with `command_id`, `kind`, `arguments` and `issued_by`, and nothing else."""
    names = ("command_id", "kind", "arguments", "issued_by")
    if len(raw) > MESSAGE_BYTES_MAX:
        raise _no_message(f"it has {len(raw):,} bytes: {MESSAGE_BYTES_MAX:,} are the most")
    try:
        told = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise _no_message(f"it is no JSON ({error})") from None
    if not isinstance(told, dict):
        raise _no_message(f"it is no JSON object: write one with {', '.join(names)}")
    unknown = [key for key in told if key not in names]
    problems = [Problem(_shown(key)[1:-1], _unknown(key, names)) for key in unknown[:PROBLEMS_MAX]]
    try:
        command = read(*(told.get(name) for name in names))
    except ConfigError as error:
        raise ConfigError(error.source, [*problems, *error.problems]) from None
    if problems:
        raise ConfigError(f"command {_shown(command.command_id)}", problems)
    return command


def _first(problems: list[Problem]) -> list[Problem]:
    """Whoever wrote a thousand keys reads of some of them."""
    more = [Problem("…", f"and {len(problems) - PROBLEMS_MAX:,} more")] if len(problems) > PROBLEMS_MAX else []
    return [*problems[:PROBLEMS_MAX], *more]


def _no_message(text: str) -> ConfigError:
    return ConfigError("command", [Problem("message", text)])


# -- what is wrong --------------------------------------------------------------------------------


def _envelope_problems(command_id: object, kind: object, arguments: object, issued_by: object) -> Iterator[Problem]:
    if not isinstance(command_id, str) or not _ID.fullmatch(command_id):
        form = f"letters, digits and . _ : - , {NAME_MAX} at most"
        yield Problem("command_id", f"{_shown(command_id)} is no id: {form}")
    if not isinstance(kind, str) or kind not in COMMANDS:
        yield Problem("kind", f"{_shown(kind)} is no command; {_near(kind, COMMANDS)}")
    if not isinstance(arguments, dict):
        yield Problem("arguments", f"{_shown(arguments)} is no JSON object")
    fault = _text_fault(issued_by, NAME_MAX) if isinstance(issued_by, str) else f"{_shown(issued_by)} is no text"
    if fault:
        yield Problem("issued_by", fault)


def _problems(struct: type[What], arguments: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Of each field by itself; what several say together is looked at when each is right."""
    fields = {field.name: field for field in msgspec.structs.fields(struct)}
    found = []
    for key, value in arguments.items():
        fault = _field_fault(struct, fields[key].type, key, value) if key in fields else _unknown(key, fields)
        if fault:
            found.append((_shown(key)[1:-1], fault))
    found += [(key, "is missing") for key, field in fields.items() if field.required and key not in arguments]
    yield from found
    if not found:
        yield from _together(msgspec.convert(arguments, struct))


def _field_fault(struct: type[What], kind: Any, key: str, value: Any) -> str | None:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        return _found(error, value)
    if key == "scope":
        is_limit = struct in (SetLimit, SetOverride)
        return _text_fault(value, TEXT_MAX) or (scope_fault(value) if is_limit else halt_scope_fault(value))
    words = {"key": ("limit", Limits.__struct_fields__), "code": ("code that can be lifted", get_args(Liftable))}
    if key in words and value not in words[key][1]:
        what, known = words[key]
        return f"{_shown(value)} is no {what}; {_near(value, known)}"
    return _text_fault(value, TEXT_MAX) if isinstance(value, str) and key != "value" else None


def _together(what: What) -> Iterator[tuple[str, str]]:
    """What the section of the file would be told of the same words."""
    if isinstance(what, SetOverride):
        override = override_of(what, by="whoever issues it")
        for path, fault in section_problems(Risk(overrides=[override])):
            yield path.removeprefix("overrides[0]."), fault
    if not isinstance(what, SetLimit) or what.value is None:
        return
    try:
        limits = msgspec.convert({what.key: what.value}, Limits)
    except msgspec.ValidationError as error:
        yield "value", _found(error, what.value).replace(f" - at `$.{what.key}`", "")  # it stands in the path
        return
    for path, fault in section_problems(Risk(limits={what.scope: limits})):
        yield "value" + path.removeprefix(f"limits.{what.scope}.{what.key}"), fault


def _found(error: msgspec.ValidationError, value: object) -> str:
    text = str(error)
    return f"{text[:1].lower()}{text[1:]} (found {_shown(value)})"


def _text_fault(text: str, length_max: int) -> str | None:
    if not text.strip():
        return "is empty: whoever reads the record wants to know"
    if len(text) > length_max:
        return f"has {len(text):,} characters: {length_max} are the most"
    if not text.isprintable():
        return f"{_shown(text)} holds what cannot be printed: write it in one line of plain text"
    return None


def _unknown(key: Any, known: Iterable[str]) -> str:
    return f"unknown key; {_near(key, known)}"


def _near(value: Any, known: Iterable[str]) -> str:
    known = list(known)
    near = difflib.get_close_matches(value[:NAME_MAX], known, n=1) if isinstance(value, str) else []
    return f'did you mean "{near[0]}"?' if near else f"known here: {', '.join(known)}"


def _shown(value: object) -> str:
    return _clipped(ascii(value), SHOWN_MAX)  # whatever stands in it, it can be printed


def _clipped(text: str, length: int = TEXT_MAX) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
