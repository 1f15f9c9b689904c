"""A folder beside the log through which a node can be stopped while the database is away.

One file per command, in the words of a stream's message, named by its id. It stays until the database has its row: a
node that dies before finds it at its next start and stops again. Only what may wait and be repeated comes this way.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from nautilus_ext.errors import ConfigError, MachineError, Problem
from nautilus_ext.risk.commands import COMMANDS, MESSAGE_BYTES_MAX, NAME_MAX, Command, read_message
from nautilus_ext.risk.standing import Outcome

if TYPE_CHECKING:
    from pathlib import Path

FILES_MAX = 1_000  # that are looked at in one round
ASKED, ANSWERED, REFUSED = ".json", ".answer", ".refused"
KINDS = tuple(kind for kind, trait in COMMANDS.items() if trait.expires_s is None and trait.may_repeat)


class Waiting(NamedTuple):
    """A file: what it asks, or why it asks nothing."""

    name: str
    command: Command | None
    fault: str = ""


class Inbox:
    """One of a book. Anybody who may write into the data folder may stop its node."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, command: Command) -> None:
        """Ask for it: the file is there as a whole, and on the disk, or not at all."""
        if command.kind not in KINDS:
            text = f"{command.kind} needs the database; without it a node takes {' and '.join(KINDS)}"
            raise ConfigError(f"command {command.command_id}", [Problem("kind", text)])
        told = {"command_id": command.command_id, "kind": command.kind, "arguments": command.arguments}
        self._write(command.command_id + ASKED, {**told, "issued_by": command.issued_by})

    def waiting(self) -> list[Waiting]:
        """What is asked for, the oldest first; where a folder or file is just gone the next round sees more."""
        try:
            with os.scandir(self._folder) as entries:
                found = [each for each in entries if each.name.endswith(ASKED)]
                names = sorted((each.stat(follow_symlinks=False).st_mtime_ns, each.name) for each in found)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise self._trouble("read", error) from None
        return [self._read(name) for _, name in names[:FILES_MAX]]

    def answer(self, command_id: str, outcome: Outcome) -> None:
        """Tell whoever asked: the table cannot."""
        self._write(command_id + ANSWERED, {"applied": outcome.applied, "text": outcome.text})

    def waits(self, command_id: str) -> bool:
        """Whether its file is still there: the database has no row of it, as far as the node knows."""
        return (self._folder / (command_id + ASKED)).exists()

    def answer_to(self, command_id: str) -> Outcome | None:
        """None: no node has looked yet, or the database has the answer."""
        try:
            told = msgspec.json.decode((self._folder / (command_id + ANSWERED)).read_bytes())
        except FileNotFoundError:
            return None
        return Outcome(told["applied"], told["text"])

    def done(self, command_id: str) -> None:
        """The database has its row. The answer stays for a while: whoever asked this way may not reach the database."""
        try:
            (self._folder / (command_id + ASKED)).unlink(missing_ok=True)
            self._sync()
        except FileNotFoundError:
            return  # the folder is gone, and the file with it
        except OSError as error:
            raise self._trouble("remove from", error) from None

    def forget_answers(self, before_s: float) -> None:
        """Nobody waits any more for those that were given before this moment, in seconds since 1970."""
        with suppress(OSError):  # what stays is looked at again
            for path in self._folder.glob(f"*{ANSWERED}"):
                if path.lstat().st_mtime < before_s:
                    path.unlink()

    def set_aside(self, name: str) -> None:
        """What asks nothing is looked at once, and kept for whoever wonders."""
        try:
            with suppress(FileNotFoundError):
                (self._folder / name).rename(self._folder / (name.removesuffix(ASKED) + REFUSED))
        except OSError as error:
            raise self._trouble(f"rename {name[:NAME_MAX]!a} in", error) from None

    def _read(self, name: str) -> Waiting:
        try:
            command = read_message(self._bytes(name))
        except ConfigError as error:
            return Waiting(name, None, str(error))
        except OSError as error:
            return Waiting(name, None, f"it cannot be read: {error.strerror or error}")
        if command.kind not in KINDS:
            return Waiting(name, None, f"{command.kind} does not come by a file: {' and '.join(KINDS)} do")
        if command.command_id + ASKED != name:
            return Waiting(
                name, None, f"its command_id is {command.command_id}: name the file {command.command_id}{ASKED}"
            )
        return Waiting(name, command)

    def _bytes(self, name: str) -> bytes:
        """A pipe or a link would hold up the node, or lead it elsewhere."""
        descriptor = os.open(self._folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError("it is no file")
            return file.read(MESSAGE_BYTES_MAX + 1)

    def _write(self, name: str, told: dict[str, object]) -> None:
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            half = self._folder / f".{name}.{os.getpid()}"
            descriptor = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(msgspec.json.encode(told))
                file.flush()
                os.fsync(descriptor)
            half.rename(self._folder / name)
            self._sync()
        except OSError as error:
            raise self._trouble("write to", error) from None

    def _sync(self) -> None:
        """A name is on the disk when its folder is."""
        descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _trouble(self, what: str, error: OSError) -> MachineError:
        return MachineError(f"cannot {what} {self._folder}: {error.strerror or error}. Free space, or mend its rights")
