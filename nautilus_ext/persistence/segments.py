"""The local log of a run: segment files of frames (length, crc32, payload) that one process appends and others read.

    <book>/<run:06d>/00000001.seg …   `XLOG1`, a header frame (JSON), then one frame per record
    <book>/<run:06d>/node.lock        held by the writer's process for its life

What `append` returned from survives a killed process. Pure I/O: no engine, no driver.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import socket
import time
import zlib
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from struct import Struct
from typing import TYPE_CHECKING

import msgspec

from nautilus_ext.errors import BookTaken, MachineError

if TYPE_CHECKING:
    from collections.abc import Sequence

MAGIC = b"XLOG1\n"
SEGMENT_BYTES_MAX = 16_000_000
RECORD_BYTES_MAX = 1_000_000
READ_BYTES_MAX = 4_000_000
LOCK_WAIT_S_MAX = 0.3  # who only looks whether a lock is free holds it for a moment
LOCK_POLL_S = 0.01
NODE_LOCK = "node.lock"
SHIPPER_LOCK = "shipper.lock"
SHIPPER_STATE = "shipper.json"
FOREIGN_MAX = 10_000  # folders of one run number that other databases left
RENAMES_MAX = 10  # how often a folder may go away under who takes its lock
AUDIT_REQUEST = "audit.request"  # a question to the node

_FRAME = Struct("<II")
_RUN_NAME = re.compile(r"\d{6,}")
_RECORD_BEGINS = b"["
_NOT_NUMBERED = b"[0,"


class SegmentDamaged(MachineError):
    """A segment does not begin as one: look at the disk, keep the folder, compare the tables with the venues."""


class Header(msgspec.Struct, frozen=True):
    """What a segment says of itself; `first_seq` is the number of its first numbered record."""

    book_id: str
    run: int
    epoch: int
    segment: int
    first_seq: int
    host: str
    pid: int

    @property
    def life(self) -> tuple[int, str, int]:
        """Which start of a node wrote it: a database that was set back gives the same run a second time."""
        return self.epoch, self.host, self.pid


class State(StrEnum):
    """What follows the frames that were read."""

    MORE = "more"  # read on
    END = "end"  # nothing yet: this is the newest segment
    SEALED = "sealed"  # nothing ever: go on in the next segment
    TORN = "torn"  # the begin of a frame whose rest is not there: wait, or the writer died in it
    CORRUPT = "corrupt"  # not what was written: nothing after this offset can be trusted


def run_folder(book_folder: Path | str, run: int) -> Path:
    return Path(book_folder, f"{run:06d}")


def runs(book_folder: Path | str) -> list[tuple[int, Path]]:
    """List the runs of a book that left a folder, oldest first."""
    try:
        found = [path for path in Path(book_folder).iterdir() if _RUN_NAME.fullmatch(path.name)]
    except FileNotFoundError:
        return []
    return sorted((int(path.name), path) for path in found)


def life_of(folder: Path) -> tuple[int, str, int] | None:
    """Tell which start of a node wrote a folder; None when nothing in it says so."""
    for path in segments(folder):
        with suppress(SegmentDamaged, FileNotFoundError):
            return read_header(path)[0].life
    return None


def move_aside(folder: Path) -> Path:
    """Keep the folder of another database's run under a name that nobody ships; the caller has its node.lock."""
    names = (folder.with_name(f"{folder.name}-foreign-{n}") for n in range(1, FOREIGN_MAX + 1))
    kept = next((name for name in names if not name.exists()), None)
    if kept is None:
        raise MachineError(f"{folder}: {FOREIGN_MAX:,} folders of other databases lie beside it: move them away")
    return folder.rename(kept)


def segment_path(folder: Path | str, segment: int) -> Path:
    return Path(folder, f"{segment:08d}.seg")


def segments(folder: Path | str) -> list[Path]:
    """List the segments of a run's folder, oldest first."""
    try:
        return sorted(path for path in Path(folder).iterdir() if path.suffix == ".seg")
    except FileNotFoundError:
        return []


def unread_bytes(folder: Path | str, segment: int, offset: int) -> int:
    """Count what lies in the segments of a run after a place."""
    unread = 0
    for path in segments(folder):
        number = int(path.stem)
        if number >= segment:
            with suppress(FileNotFoundError):  # shipped meanwhile
                unread += max(0, path.stat().st_size - (offset if number == segment else 0))
    return unread


def read_header(path: Path) -> tuple[Header, int]:
    """Return the header and the offset of the first record. A segment appears under its name with a whole header."""
    with path.open("rb") as file:
        head = file.read(len(MAGIC) + _FRAME.size + RECORD_BYTES_MAX)
    frames, _ = _split(head, len(MAGIC), frames_max=1) if head.startswith(MAGIC) else ([], None)
    try:
        ((end, payload),) = frames
        return msgspec.json.decode(payload, type=Header), end
    except (ValueError, msgspec.MsgspecError):
        raise SegmentDamaged(f"{path}: does not begin with the header of a segment") from None


def read_frames(path: Path, offset: int, bytes_max: int = READ_BYTES_MAX) -> tuple[list[tuple[int, bytes]], State]:
    """Return (end offset, payload) of the whole frames from `offset` on, and what comes after them.

    Offset 0 is the first record. At least one record is read even when it is larger than `bytes_max`.
    """
    frames, state = _read(path, offset, bytes_max)
    if state is State.CORRUPT:  # the writer may have cut off a failed write between two pages of the read
        frames, state = _read(path, offset, bytes_max)
    return frames, state


def _read(path: Path, offset: int, bytes_max: int) -> tuple[list[tuple[int, bytes]], State]:
    offset = offset or read_header(path)[1]
    is_sealed = segment_path(path.parent, int(path.stem) + 1).exists()  # before the read: after it is too late
    wanted = max(bytes_max, _FRAME.size + RECORD_BYTES_MAX)
    with path.open("rb", buffering=0) as file:
        file.seek(offset)
        data = file.read(wanted)
    frames, rest = _split(data, 0)
    ends = [(offset + end, payload) for end, payload in frames]
    if len(data) == wanted and rest is not State.CORRUPT:
        return ends, State.MORE if frames else State.CORRUPT
    if rest is State.END:
        return ends, State.SEALED if is_sealed else State.END
    return ends, State.CORRUPT if is_sealed else rest


def _split(data: bytes, at: int, frames_max: int = 0) -> tuple[list[tuple[int, bytes]], State]:
    """Cut into frames; END when nothing is left, TORN when the rest may be the begin of a frame."""
    frames: list[tuple[int, bytes]] = []
    size = len(data)
    while at + _FRAME.size <= size and (not frames_max or len(frames) < frames_max):
        length, crc = _FRAME.unpack_from(data, at)
        begin, end = at + _FRAME.size, at + _FRAME.size + length
        if not 0 < length <= RECORD_BYTES_MAX:
            # a machine that lost its power may leave zeros where the last write was
            return frames, State.CORRUPT if any(data[at:]) else State.TORN
        if end > size:
            break
        payload = data[begin:end]
        if zlib.crc32(payload) != crc:
            return frames, State.TORN if end == size else State.CORRUPT
        frames.append((end, payload))
        at = end
    return frames, State.END if at == size else State.TORN


def next_frame(data: bytes, at: int) -> int:
    """Find the offset of the next whole record after damage: its length and its checksum agree with what follows."""
    begin = data.find(_RECORD_BEGINS, at + _FRAME.size)
    while begin >= 0:
        length, crc = _FRAME.unpack_from(data, begin - _FRAME.size)
        if 0 < length <= min(RECORD_BYTES_MAX, len(data) - begin) and zlib.crc32(data[begin : begin + length]) == crc:
            return begin - _FRAME.size
        begin = data.find(_RECORD_BEGINS, begin + 1)
    return len(data)


def last_seq(folder: Path) -> int:
    """Return the number of the last record in a local log, 0 when it holds none."""
    for path in reversed(segments(folder)):
        try:
            last, offset, state = 0, 0, State.MORE
            while state is State.MORE:
                frames, state = read_frames(path, offset)
                if not frames:
                    break
                offset = frames[-1][0]
                last = max((_seq_of(payload) for _, payload in reversed(frames)), default=0) or last
        except (FileNotFoundError, SegmentDamaged):
            continue  # shipped meanwhile, or damaged: the shipper puts that aside
        if last:
            return last
    return 0


def _seq_of(payload: bytes) -> int:
    try:
        return number_of(payload)
    except ValueError:  # somebody else's record: it has none
        return 0


def take_lock(path: Path, wait_s: float = LOCK_WAIT_S_MAX) -> int | None:
    """Lock a file for the life of the returned descriptor; None when another process has it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    until_s = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until_s:
                os.close(descriptor)
                return None
            time.sleep(LOCK_POLL_S)
        else:
            return descriptor


def take_lock_in(folder: Path, name: str, wait_s: float = LOCK_WAIT_S_MAX) -> int | None:
    """Lock a file in a folder that may be moved aside meanwhile: what is locked lies in the folder of this name."""
    for _ in range(RENAMES_MAX):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = take_lock(folder / name, wait_s)
        if descriptor is None:
            return None
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), (folder / name).stat()):
                return descriptor
        os.close(descriptor)
    raise MachineError(f"{folder}: goes away again and again: stop who moves it")


def is_locked(path: Path) -> bool:
    """Tell whether a process holds the lock; a file that is not there is held by nobody."""
    if not path.exists():
        return False
    descriptor = take_lock(path, wait_s=0)
    if descriptor is None:
        return True
    os.close(descriptor)
    return False


@dataclass
class _Open:
    """The segment that is being written; `size` is the end of its last whole frame."""

    descriptor: int
    size: int
    has_torn_tail: bool = False


class SegmentWriter:
    """Appends the records of one run, from construction to `close`; each start of a node is a new run.

    A segment is followed by the next one before it would grow past `segment_bytes_max`. What one call appends is
    never spread over two segments, so only a single call with more than that makes a larger one.
    """

    def __init__(
        self,
        folder: Path | str,
        *,
        book_id: str,
        run: int,
        epoch: int,
        segment_bytes_max: int = SEGMENT_BYTES_MAX,
        is_synced: bool = False,
    ) -> None:
        self.folder = Path(folder)
        self._segment_bytes_max = segment_bytes_max
        self._is_synced = is_synced
        self._unsynced: list[int] = []  # descriptors of full segments, and of the folder when it has a new one
        self._last = b"[0,"  # the last numbered record: its number is read when a segment follows
        host, pid = socket.gethostname(), os.getpid()
        self._header = Header(book_id, run, epoch, segment=1, first_seq=1, host=host, pid=pid)
        try:
            lock = self._take_folder()
            if life_of(self.folder) not in (None, self._header.life):  # a number that a database gave once more
                move_aside(self.folder)
                os.close(lock)
                lock = self._take_folder()
            self._lock: int | None = lock
            self._open = self._begin_first(lock)
        except OSError as error:
            what = f"{self.folder}: the log cannot be written: {error.strerror}"
            raise MachineError(f"{what}: free space, or correct the folder's permissions") from error

    def _take_folder(self) -> int:
        lock = take_lock_in(self.folder, NODE_LOCK)
        if lock is None:
            raise BookTaken(f"{self.folder}: another process writes this log: stop it first")
        return lock

    def _begin_first(self, lock: int) -> _Open:
        try:
            self._refuse_used()
            return self._begin(self._header)
        except BaseException:
            os.close(lock)
            raise

    def _refuse_used(self) -> None:
        used = segments(self.folder)
        if used:
            raise MachineError(
                f"{used[0]} is there already: each start is a run with an empty folder; "
                "move the folder away if the database was set back, and ship it by hand"
            )

    @property
    def is_gone(self) -> bool:
        """Whether somebody deleted the segment that is being written: nobody will ever read it."""
        return os.fstat(self._open.descriptor).st_nlink == 0

    def begin_next(self) -> None:
        """Go on in another segment, whatever the size of this one."""
        self._rotate(_NOT_NUMBERED)

    def append(self, payload: bytes) -> None:
        """Write one record to the file; an OSError leaves the file as it was before."""
        self._write(payload, _frame(payload))

    def append_many(self, payloads: Sequence[bytes]) -> None:
        """Write all of the records with one call, or raise OSError and write none."""
        if not payloads:
            return
        self._write(payloads[0], b"".join([_frame(payload) for payload in payloads]))
        self._last = next((one for one in reversed(payloads) if not one.startswith(_NOT_NUMBERED)), self._last)

    def _write(self, first: bytes, data: bytes) -> None:
        """Write in one call: what is torn by a kill or a full disk is at the end of the file and nowhere else."""
        segment = self._open
        if segment.has_torn_tail:
            self._cut(segment)
        if segment.size + len(data) > self._segment_bytes_max and self._has_records:
            segment = self._rotate(first)
        try:
            written = os.write(segment.descriptor, data)
        except OSError:
            self._cut(segment)
            raise
        if written != len(data):
            self._cut(segment)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        segment.size += written
        self._has_records = True
        if not first.startswith(_NOT_NUMBERED):
            self._last = first

    def _cut(self, segment: _Open) -> None:
        segment.has_torn_tail = True
        os.ftruncate(segment.descriptor, segment.size)
        segment.has_torn_tail = False

    def _rotate(self, first: bytes) -> _Open:
        follows = number_of(self._last) + 1
        first_seq = follows if first.startswith(_NOT_NUMBERED) else number_of(first)
        header = msgspec.structs.replace(self._header, segment=self._header.segment + 1, first_seq=first_seq)
        opened = self._begin(header)
        if self._is_synced:
            self._unsynced.append(self._open.descriptor)
        else:
            os.close(self._open.descriptor)
        self._header, self._open = header, opened
        return opened

    def _begin(self, header: Header) -> _Open:
        """Make the next segment; it gets its name when its header is whole."""
        payload = msgspec.json.encode(header)
        data = MAGIC + _frame(payload)
        path = segment_path(self.folder, header.segment)
        unnamed = path.with_suffix(".new")
        descriptor = os.open(unnamed, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
        try:
            if os.write(descriptor, data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # noqa: TRY301 - one way out for both
            unnamed.rename(path)
        except OSError:
            os.close(descriptor)
            unnamed.unlink(missing_ok=True)
            raise
        self._has_records = False
        if self._is_synced:
            names = [self.folder, *(self.folder.parents[:2] if header.segment == 1 else ())]  # run, book, journal
            self._unsynced += [os.open(name, os.O_RDONLY | os.O_DIRECTORY) for name in names]
        return _Open(descriptor, len(data))

    def take_unsynced(self) -> list[int]:
        """Hand over descriptors: once each is synced, all that was appended so far survives a power cut.

        The caller closes them. They are its own, so that a thread may wait for the disk while more is appended.
        """
        taken, self._unsynced = self._unsynced, []
        return [*taken, os.dup(self._open.descriptor)]

    def close(self) -> None:
        """Close the segment and give the lock back; a second call does nothing."""
        if self._lock is not None:
            for descriptor in (*self._unsynced, self._open.descriptor):
                os.close(descriptor)
            self._unsynced = []
            self._open.descriptor = -1  # the number may soon be another file's
            os.close(self._lock)
            self._lock = None


def _frame(payload: bytes) -> bytes:
    length = len(payload)
    assert 0 < length <= RECORD_BYTES_MAX, f"a record of {length} bytes: a reader would take it for damage"
    return _FRAME.pack(length, zlib.crc32(payload)) + payload


def is_numbered(payload: bytes) -> bool:
    return not payload.startswith(_NOT_NUMBERED)


def number_of(payload: bytes) -> int:
    return int(payload[1 : payload.index(b",")])
