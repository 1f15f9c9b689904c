"""Resolve the `module:Name` strings of a config, with an error that says which half is wrong."""

from __future__ import annotations

import difflib
import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import ModuleType


class Unlocatable(Exception):
    """The message says what is wrong with the path and, where possible, the nearest right one."""


def locate(path: object, *, kind: type | None = None) -> Any:
    """Return what a `module:Name` path names; with `kind`, it must be a subclass of it."""
    if not isinstance(path, str) or path.count(":") != 1 or not all(path.split(":")):
        raise Unlocatable(f"{path!r} is no path: write package.module:ClassName")
    module_name, _, name = path.partition(":")
    module = _import(module_name)
    found = _attribute(module, name)
    if kind is not None and not (isinstance(found, type) and issubclass(found, kind)):
        raise Unlocatable(f"{path} is no subclass of {kind.__name__}")
    return found


def _attribute(module: ModuleType, name: str) -> Any:
    try:
        return getattr(module, name)
    except AttributeError:
        near = difflib.get_close_matches(name, [*getattr(module, "__all__", ()), *dir(module)], n=1)
        hint = f'; did you mean "{module.__name__}:{near[0]}"?' if near else ""
        raise Unlocatable(f"the module {module.__name__} has no {name!r}{hint}") from None
    except Exception as error:  # noqa: BLE001 - a module may import its parts only when they are asked for
        raise Unlocatable(f"importing {module.__name__}:{name} fails: {type(error).__name__}: {error}") from None


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
            raise Unlocatable(f"there is no module {error.name!r} on this Python's path") from None
        needs = f"importing {name} fails: it needs the module {error.name!r}, which is not installed"
        raise Unlocatable(needs) from None
    except Exception as error:  # noqa: BLE001 - whatever a user's module raises, the operator gets one line
        raise Unlocatable(f"importing {name} fails: {type(error).__name__}: {error}") from None
