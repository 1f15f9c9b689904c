"""The file of what breakers have counted, and of what they have stopped, for the next start of the node.

It is a file and not rows because it has to be there at the moment of a trip, with the database down as well; what stops
trading is in the table of commands besides. It is replaced as a whole: whoever kills the process leaves the old one or
the new one. A power cut may cost the last words of it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

from nautilus_ext.errors import MachineError
from nautilus_ext.risk.breakers import State  # noqa: TC001 - the decoder reads the annotation
from nautilus_ext.risk.results import Seen, Sum  # noqa: TC001 - as above

if TYPE_CHECKING:
    from pathlib import Path


class Latched(msgspec.Struct, frozen=True):
    """A command that a trip gave, until a person lifts it."""

    command_id: str
    kind: str
    scope: str
    why: str
    by: str


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """All that a start needs to know."""

    states: list[State] = []
    latched: list[Latched] = []
    sums: list[Sum] = []
    seen: list[Seen] = []
    watched: list[str] = []  # breakers of results by name: since they are here, a scope without a state had nothing
    armed: dict[str, int] = {}  # when a person let a scope go on, ns since 1970


class BreakerFile:
    """One of a book."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._unnamed = path.with_suffix(".new")

    def read(self) -> Kept | None:
        """None when there is none; MachineError when it cannot be read: nobody knows what had tripped."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Kept)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError) as error:
            cure = "repair it, or remove it: then breakers begin to count anew, and halts stand as the table says"
            raise MachineError(f"{self._path}: what breakers have counted cannot be read ({error}): {cure}") from None

    def write(self, kept: Kept) -> None:
        self._unnamed.write_bytes(msgspec.json.encode(kept))
        os.replace(self._unnamed, self._path)  # noqa: PTH105 - the same, and quicker

    def make_folder(self) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
