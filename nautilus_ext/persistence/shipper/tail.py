"""Reads the log of a run in the order in which it was written, past damage, and deletes what is durable."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING, NamedTuple

from nautilus_ext.errors import MachineError
from nautilus_ext.persistence.segments import (
    NODE_LOCK,
    SegmentDamaged,
    State,
    is_locked,
    next_frame,
    read_frames,
    segment_path,
    segments,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CHUNK_BYTES_MAX = 2_500_000
TORN_S = 1.0  # a write is one call: what is torn for so long while the file grows behind it is damaged


class Place(NamedTuple):
    """A point in the log: what lies before it was read."""

    segment: int = 0
    offset: int = 0


class _Torn(NamedTuple):
    """A frame whose rest was not there, and how large its file was then."""

    place: Place
    bytes: int
    since_s: float


class Tail:
    """Yields payloads; `place` is where it stands. It forgets everything when it is made anew: nothing is lost."""

    def __init__(self, folder: Path, report: Callable[[str], None]) -> None:
        self.folder = folder
        self.place = Place()
        self.has_more = False
        self._report = report
        self._damaged: set[int] = set()
        self._torn: _Torn | None = None
        self.has_lost = False  # bytes that were no whole record to the end, or a segment that went before it was read

    def read(self) -> list[bytes]:
        """Return what follows, at most about CHUNK_BYTES_MAX of it; nothing when there is nothing yet."""
        while self.place.segment or self.go_on():
            segment, offset = self.place
            path = segment_path(self.folder, segment)
            if _size(path) == offset and not segment_path(self.folder, segment + 1).exists():
                self.has_more = False  # asked a hundred times a second: without opening anything
                break
            frames, state = self._frames(path, offset)
            self.has_more = state not in (State.END, State.TORN)
            if frames:
                self.place = Place(segment, frames[-1][0])
                return [payload for _, payload in frames]
            if state is State.CORRUPT:
                self._pass_over(path, offset)
            elif state is State.TORN:
                if not self._is_stuck(_size(path)) or not self._pass_torn(path, offset):
                    break
            elif state is not State.SEALED or not self.go_on():
                break
        return []

    def _frames(self, path: Path, offset: int) -> tuple[list[tuple[int, bytes]], State]:
        try:
            return read_frames(path, offset, CHUNK_BYTES_MAX)
        except SegmentDamaged:
            return [], State.CORRUPT
        except FileNotFoundError:
            self._miss(path)
            return [], State.SEALED
        except OSError as error:
            cure = "look at the disk, and let this user read it"
            raise MachineError(f"{path}: cannot be read ({error.strerror}): {cure}") from error

    def go_on(self) -> bool:
        """Step to the next segment that exists: the one before it is read and sealed, or its writer is gone."""
        now = self.place.segment
        later = [number for number in map(_number, segments(self.folder)) if number > now]
        if not later:
            return False
        if now and later[0] != now + 1:
            self._report(f"{self.folder.name}: segments {now + 1} to {later[0] - 1} are missing")
        self.place = Place(later[0], 0)
        return True

    def go_past_end(self) -> bool:
        """Find what can still be read when the writer is gone; what is no whole record by now never becomes one."""
        path, offset = segment_path(self.folder, self.place.segment), self.place.offset
        if self.place.segment and _size(path) > offset and self._pass_torn(path, offset):
            return True
        if self.go_on():
            return True
        size = _size(path)
        if self.place.segment and size > offset:
            self.has_lost = True
            self._damage(path, offset, size)
        return False

    def _is_stuck(self, size: int) -> bool:
        """Tell whether more was written behind a frame that is torn since a while."""
        now_s = time.monotonic()
        if self._torn is None or self._torn.place != self.place:
            self._torn = _Torn(self.place, size, now_s)
        if now_s - self._torn.since_s < TORN_S or size == self._torn.bytes:
            return False
        self._torn = None
        return True

    def _pass_torn(self, path: Path, offset: int) -> bool:
        """Step over a torn frame when a whole one follows it."""
        data = path.read_bytes()
        found = next_frame(data, offset + 1)
        if found == len(data):
            return False
        self._damage(path, offset, found)
        return True

    def _pass_over(self, path: Path, offset: int) -> None:
        """Step to the next whole frame after damage, or to the end of the file."""
        self._damage(path, offset, next_frame(path.read_bytes(), offset + 1))

    def _damage(self, path: Path, offset: int, end: int) -> None:
        self._damaged.add(_number(path))
        self._report(f"{self.folder.name}/{path.name}: {end - offset:,} bytes from {offset:,} on are damaged")
        self.place = Place(_number(path), end)

    def _miss(self, path: Path) -> None:
        if not any(_number(other) > _number(path) for other in segments(self.folder)):
            self.has_lost = True
            self._report(f"{self.folder.name}/{path.name}: was deleted before it was read to its end")

    def is_over(self) -> bool:
        """Tell that the process which wrote the log is gone: what is not there by now never comes."""
        return not is_locked(self.folder / NODE_LOCK)

    def delete_before(self, place: Place) -> None:
        """Delete the segments that end before a place; a damaged one is kept beside the folder for a look."""
        for path in segments(self.folder):
            if _number(path) >= place.segment:
                return
            self._remove(path)

    def delete_all(self) -> None:
        """Delete the folder of a run that is over and durable."""
        for path in segments(self.folder):
            self._remove(path)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _remove(self, path: Path) -> None:
        try:
            if _number(path) in self._damaged:
                path.replace(self.folder.parent / f"{self.folder.name}-{path.stem}.corrupt")
            else:
                path.unlink(missing_ok=True)
        except OSError as error:
            self._report(f"{path}: is durable and cannot be deleted ({error.strerror})")


def _number(path: Path) -> int:
    return int(path.stem)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
