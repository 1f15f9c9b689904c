"""Run a module as `python -m` does, and die by kill -9 at a named place of the product, which knows nothing of it.

crash_at.py PLACE MODULE [ARGUMENT...]    PLACE is module:function:before|after:N, the N-th call of that function
"""

from __future__ import annotations

import functools
import importlib
import inspect
import os
import runpy
import signal
import sys
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable


class Place(NamedTuple):
    module: str
    function: str
    when: str
    call: int

    @classmethod
    def parse(cls, text: str) -> Place:
        module, function, when, call = text.split(":")
        assert when in ("before", "after"), when
        return cls(module, function, when, int(call))


def arm(place: Place) -> None:
    """Put the function of the place into a shell that counts its calls."""
    owner: Any = importlib.import_module(place.module)
    *outer, name = place.function.split(".")
    for each in outer:
        owner = getattr(owner, each)
    setattr(owner, name, _armed(getattr(owner, name), place))


def _armed(function: Callable[..., Any], place: Place) -> Callable[..., Any]:
    calls = count(1)

    def die_if(when: str, number: int) -> None:
        if (when, number) == (place.when, place.call):
            os.kill(os.getpid(), signal.SIGKILL)

    @functools.wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        number = next(calls)
        die_if("before", number)
        result = function(*args, **kwargs)
        die_if("after", number)
        return result

    @functools.wraps(function)
    async def awaited(*args: Any, **kwargs: Any) -> Any:
        number = next(calls)
        die_if("before", number)
        result = await function(*args, **kwargs)
        die_if("after", number)
        return result

    return awaited if inspect.iscoroutinefunction(function) else called


def main() -> None:
    place, module, *arguments = sys.argv[1:]
    arm(Place.parse(place))
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
