"""What an execution client's config says of the data clients of the same file: no single client can tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from nautilus_ext.config.env import Unresolved, holds
from nautilus_ext.errors import Problem

if TYPE_CHECKING:
    from nautilus_ext.config.components import ClientSpec

RULE = "faults_beside"  # of a config class that has one: the other configs in, fields and what is wrong with them out


def beside_problems(data: list[ClientSpec], clients: list[ClientSpec]) -> list[Problem]:
    """Nothing about configs that are no configs yet: what they lack is said already."""
    others = [config for spec in data if (config := _decoded(spec)) is not None]
    return [
        Problem(f"exec_clients.{spec.name}.config.{field}", text)
        for spec in clients
        if hasattr(spec.config_class, RULE) and (config := _decoded(spec)) is not None
        for field, text in getattr(config, RULE)(others)
    ]


def _decoded(spec: ClientSpec) -> Any:
    if holds(spec.config, Unresolved):
        return None
    try:
        return spec.decode(spec.config)
    except (msgspec.ValidationError, ValueError):
        return None
