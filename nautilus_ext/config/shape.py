"""Hold a JSON value against a config class and find every problem, where msgspec stops at the first."""

from __future__ import annotations

import difflib
import enum
import types
import typing
from typing import Any

import msgspec
from nautilus_trader.common.config import msgspec_decoding_hook

from nautilus_ext.config.env import SECRET_NAME, FromEnv, Unresolved, holds, join, plain
from nautilus_ext.config.fields import enum_faults, field_faults, word_faults
from nautilus_ext.config.identifiers import identifier_fault
from nautilus_ext.errors import Problem


def decode_hook(kind: type, value: Any) -> Any:
    """Nautilus's decoding hook behind our rules: a bad identifier would abort the process."""
    if value is None:
        raise ValueError(f"expected {kind.__name__}, found null")
    fault = identifier_fault(kind.__name__, value)
    if fault:
        raise ValueError(fault)
    if issubclass(kind, str):
        return kind(value)  # BinanceSymbol and its like, which Nautilus's own hook does not know
    try:
        return msgspec_decoding_hook(kind, value)
    except Exception as error:  # noqa: BLE001 - decimal, key and type errors of Nautilus's parsers mean one thing here
        detail = str(error) if isinstance(error, ValueError) else f"{value!r} is no {kind.__name__}"
        raise ValueError(detail) from None


def decode(value: Any, kind: Any) -> Any:
    """Make a `kind` of a plain value, as Nautilus would, with our rules for identifiers."""
    return msgspec.convert(plain(value), kind, strict=False, dec_hook=decode_hook)


def shape_problems(value: Any, hint: Any, at: str) -> list[Problem]:
    """List all that keeps `value` from becoming a `hint`."""
    problems: list[Problem] = []
    _check(value, hint, at, problems)
    return list(dict.fromkeys(problems))


def unknown_key(key: str, known: list[str], at: str) -> Problem:
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    hint = f'did you mean "{near[0]}"?' if near else "known here: " + ", ".join(sorted(known)[:40])
    return Problem(join(at, key), f"unknown key; {hint}")


def _check(value: Any, hint: Any, at: str, problems: list[Problem]) -> None:
    hint = _plain(hint)
    if isinstance(value, Unresolved):
        return
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        _check_union(value, hint, at, problems)
    elif isinstance(hint, type) and issubclass(hint, msgspec.Struct) and isinstance(value, dict):
        _check_struct(value, hint, at, problems)
    elif origin is dict and isinstance(value, dict):
        key_hint, item_hint = typing.get_args(hint)
        for key, item in value.items():
            _check_leaf(key, key_hint, join(at, key), problems)
            _check(item, item_hint, join(at, key), problems)
    elif origin in (list, tuple, frozenset, set) and isinstance(value, list):
        item_hint = (typing.get_args(hint) or (Any,))[0]
        for index, item in enumerate(value):
            _check(item, item_hint, f"{at}[{index}]", problems)
    else:
        _check_leaf(value, hint, at, problems)


def _plain(hint: Any) -> Any:
    """Look through Annotated around containers; a leaf keeps its limits."""
    if typing.get_origin(hint) is typing.Annotated and typing.get_origin(typing.get_args(hint)[0]) is not None:
        return typing.get_args(hint)[0]
    return hint


def _check_struct(value: dict[str, Any], cls: type[msgspec.Struct], at: str, problems: list[Problem]) -> None:
    before = len(problems)
    _check_fields(value, cls, at, problems)
    if len(problems) == before and hasattr(cls, "__post_init__") and not holds(value, Unresolved):
        try:
            decode(value, cls)
        except (msgspec.ValidationError, ValueError) as error:
            problems.append(Problem(at, str(error)))


def _check_fields(value: dict[str, Any], cls: type[msgspec.Struct], at: str, problems: list[Problem]) -> None:
    hints = typing.get_type_hints(cls, include_extras=True)
    known = [field.encode_name for field in msgspec.structs.fields(cls)]
    for key, item in value.items():
        if key not in known:
            if cls.__struct_config__.forbid_unknown_fields:
                problems.append(unknown_key(key, known, at))
            continue
        path = join(at, key)
        _check(item, hints[key], path, problems)
        problems.extend(Problem(path, fault) for fault in field_faults(key, hints[key], item))
    problems.extend(
        Problem(join(at, field.encode_name), f"is missing: {cls.__name__} needs it")
        for field in msgspec.structs.fields(cls)
        if field.required and field.encode_name not in value
    )


def _check_union(value: Any, hint: Any, at: str, problems: list[Problem]) -> None:
    members = typing.get_args(hint)
    if value is None and type(None) in members:
        return
    members = tuple(member for member in members if member is not type(None))
    enums = [member for member in members if isinstance(member, type) and issubclass(member, enum.Enum)]
    if enums and isinstance(value, str):
        members = tuple(enums)
    attempts = []
    for member in members:
        found: list[Problem] = []
        _check(value, member, at, found)
        if not found:
            return
        attempts.append(found)
    # The alternative that understood most of the value speaks: an object is held against the object form.
    problems.extend(max(attempts, key=lambda found: max(len(problem.path) for problem in found)))


def _check_leaf(value: Any, hint: Any, at: str, problems: list[Problem]) -> None:
    if typing.get_origin(hint) is typing.Literal and isinstance(value, str):
        problems.extend(Problem(at, fault) for fault in word_faults(typing.get_args(hint), value))
        return
    if isinstance(hint, type) and issubclass(hint, enum.Enum) and isinstance(value, str):
        by_value = {member.value for member in hint if isinstance(member.value, str)}
        problems.extend(Problem(at, fault) for fault in enum_faults(hint, value, by_value))
        return
    try:
        msgspec.convert(
            str(value) if isinstance(value, FromEnv) else value,
            hint,
            strict=not isinstance(value, FromEnv),
            dec_hook=decode_hook,
        )
    except msgspec.ValidationError as error:
        shown = "" if SECRET_NAME.search(at.rpartition(".")[2]) else f" (found {_short(value)})"
        text = str(error)
        problems.append(Problem(at, text[:1].lower() + text[1:] + (shown if repr(value) not in text else "")))
    except TypeError:
        # msgspec does not know this annotation; Nautilus itself decides when it is built.
        return


def _short(value: Any) -> str:
    text = repr(str(value) if isinstance(value, FromEnv) else value)
    return text if len(text) <= 60 else text[:57] + "…"  # noqa: PLR2004 - what fits on a terminal line
