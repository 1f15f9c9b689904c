"""What the code of a component calls, as far as it can be seen without running it: the names in its methods.

Seen: the methods that a class and its Python bases define themselves, with the functions inside them. Not seen: helper
functions outside the class, names that are put together at run time, and compiled code.
"""

from __future__ import annotations

from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

NOT_SEEN = "helper functions outside the class and compiled code are not seen"


def names_in(component: type) -> frozenset[str]:
    """Attributes and globals that the methods name."""
    return frozenset(name for base in component.__mro__ for code in _methods(base) for name in _names(code))


def texts_in(config: Any) -> Iterator[str]:
    """All strings of a config's values, however deep."""
    if isinstance(config, str):
        yield config
    elif isinstance(config, dict):
        for value in config.values():
            yield from texts_in(value)
    elif isinstance(config, list | tuple):
        for value in config:
            yield from texts_in(value)


def _methods(base: type) -> Iterator[CodeType]:
    for member in vars(base).values():
        function = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
        if isinstance(function, FunctionType):
            yield function.__code__


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)
