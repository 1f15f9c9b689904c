"""The JSON schema of a config file, for editors: Nautilus's keys and the suite's in one."""

from __future__ import annotations

from typing import Any

import msgspec
from nautilus_trader.common.config import nautilus_schema_hook
from nautilus_trader.live.config import TradingNodeConfig

from nautilus_ext.config.keys import NAUTILUS_KEYS
from nautilus_ext.config.risk import Risk
from nautilus_ext.config.suite import Suite

_VARIABLE = {"type": "string", "pattern": r"\$\{"}
_NOT_TEXT = ({"type": "integer"}, {"type": "number"}, {"type": "boolean"})


def json_schema() -> dict[str, Any]:
    (nautilus, suite), definitions = msgspec.json.schema_components(
        [TradingNodeConfig, Suite], schema_hook=nautilus_schema_hook, ref_template="#/$defs/{name}"
    )
    properties: dict[str, Any] = {"$schema": {"type": "string"}}
    for reference in (nautilus, suite):
        properties |= definitions.pop(reference["$ref"].rpartition("/")[2])["properties"]
    ours = {name: definition for name, definition in definitions.items() if name in _suite_names()}
    theirs = {name: _without_prose(definition) for name, definition in definitions.items() if name not in ours}
    for key, line in NAUTILUS_KEYS.items():
        properties[key] = {**_without_prose(properties[key]), "description": line}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "exec-suite-nt config",
        "type": "object",
        "additionalProperties": False,
        "required": ["trader_id"],
        "properties": _with_variables(properties),
        "$defs": _with_variables({**theirs, **ours}),
    }


def _suite_names() -> set[str]:
    modules = (Suite.__module__, Risk.__module__)
    return {cls.__name__ for cls in msgspec.Struct.__subclasses__() if cls.__module__ in modules}


def _without_prose(value: Any) -> Any:
    """Nautilus's own documentation is not ours to ship."""
    if isinstance(value, dict):
        kept = {key: item for key, item in value.items() if not (key == "description" and isinstance(item, str))}
        return {key: _without_prose(item) for key, item in kept.items()}
    if isinstance(value, list):
        return [_without_prose(item) for item in value]
    return value


def _with_variables(value: Any) -> Any:
    """Where a number or a boolean is wanted, the text of a variable is fine as well."""
    if isinstance(value, list):
        return [_with_variables(item) for item in value]
    if not isinstance(value, dict):
        return value
    inner = {key: _with_variables(item) for key, item in value.items()}
    if {"type": inner.get("type")} not in _NOT_TEXT:
        return inner
    outside = {key: inner.pop(key) for key in ("description", "default") if key in inner}
    return {"anyOf": [inner, _VARIABLE], **outside}
