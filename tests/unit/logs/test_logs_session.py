"""The session takes records from any thread, loses none in silence, and never holds anybody up."""

from __future__ import annotations

import io
import json
import logging
import os
import sys
import threading
import time
import warnings

import pytest

from nautilus_ext.logs import LogSession, Masker
from nautilus_ext.logs import intake as intake_module
from nautilus_ext.logs import writer as writer_module

SECRET = "planted-s3cret/€"
LOGGER = logging.getLogger("nautilus_ext.test")


def records(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def until(condition, timeout_s=5.0):
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "the condition did not hold in time"
        time.sleep(0.01)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "logs" / "book.jsonl"


@pytest.fixture
def terminal():
    return io.StringIO()


@pytest.fixture
def session(terminal):
    with LogSession.start(masker=Masker([SECRET]), terminal=terminal) as session:
        yield session


def attach(session, path, max_bytes=1_000_000, retain_files=2):
    session.attach_file(path, max_bytes=max_bytes, retain_files=retain_files)


def test_what_is_refused_for_one_reason_is_one_alert(session, path):
    """A halted strategy that asks on and on does not push out what else is wrong; the file has each."""
    attach(session, path)
    LOGGER.error("the first")
    for number in range(200):
        LOGGER.warning("denied %d", number, extra={"event": "OrderDenied", "reason": "HALTED: scope=node"})
        LOGGER.warning("rejected %d", number, extra={"event": "OrderRejected", "reason": f"number {number % 2}"})
    LOGGER.warning("the last")
    until(lambda: session.alerts and "the last" in session.alerts[-1].message)
    assert 5 == len(session.alerts), session.alerts
    assert "the first" in session.alerts[0].message
    session.close()
    assert 402 == len(records(path))


def test_records_before_the_file_come_first(session, path):
    """The start-up steps are in the book's file although it was opened after them."""
    LOGGER.info("before")
    attach(session, path)
    LOGGER.info("after", extra={"duration_ms": 12})
    session.close()
    before, after = records(path)
    assert before["message"] == "before"
    assert after | {"ts": ""} == {
        "ts": "",
        "level": "INFO",
        "component": "nautilus_ext.test",
        "message": "after",
        "duration_ms": 12,
    }


def test_the_level_holds_for_ours_and_warnings_of_others_join(session, path):
    """Our INFO, and of other libraries what is WARNING or worse, with its traceback."""
    attach(session, path)
    LOGGER.debug("no")
    logging.getLogger("sqlalchemy.engine").warning("pool")
    other = logging.getLogger("aiohttp.access")
    other.setLevel(logging.DEBUG)
    other.info("no")
    other.setLevel(logging.NOTSET)
    warnings.warn("old thing", DeprecationWarning, stacklevel=1)
    try:
        raise ValueError(SECRET)  # noqa: TRY301  the error itself is what the test needs
    except ValueError:
        LOGGER.exception("failed")
    session.close()
    assert [record["message"].splitlines()[0].rpartition(": ")[2] for record in records(path)] == [
        "pool",
        "old thing",
        "failed",
    ]
    assert records(path)[-1]["exception"].endswith("ValueError: ***")


def test_secrets_are_in_neither_file_nor_terminal_nor_alerts(session, path, terminal):
    """Message, arguments, extra fields, tracebacks: masked everywhere."""
    attach(session, path)
    LOGGER.warning("url postgresql://u:%s@host", SECRET, extra={"config": {"keys": [SECRET]}})
    LOGGER.error("%s", json.dumps({"key": SECRET}))
    session.close()
    everything = path.read_text() + terminal.getvalue() + repr(session.alerts)
    assert everything.count("***") >= 6
    assert "s3cret" not in everything


def test_uncaught_errors_are_recorded(session, path, terminal):
    """An error that nobody caught, in the main thread or another, is a record and one line."""
    attach(session, path)
    thread = threading.Thread(target=divmod, args=(1, 0), name="worker")
    thread.start()
    thread.join()
    try:
        raise RuntimeError(SECRET)  # noqa: TRY301  the error itself is what the test needs
    except RuntimeError:
        sys.excepthook(*sys.exc_info())
    session.close()
    in_thread, in_main = records(path)
    assert in_thread["message"] == "unexpected error in thread worker"
    assert "ZeroDivisionError" in in_thread["exception"]
    assert in_main["level"] == "CRITICAL"
    assert "RuntimeError: ***" in in_main["exception"]
    assert len(terminal.getvalue().splitlines()) == 2


def test_closing_puts_everything_back():
    """Hooks, handlers and levels are as before; a second close does nothing."""

    def state():
        ours = logging.getLogger("nautilus_ext").level
        return (*logging.getLogger().handlers, ours, sys.excepthook, threading.excepthook, warnings.showwarning)

    before = state()
    session = LogSession.start(level="DEBUG")
    assert state() != before
    session.close()
    session.close()
    assert state() == before


def test_one_session_after_the_other(tmp_path):
    """Two sessions in one process write to their own files."""
    for name in ("one", "two"):
        with LogSession.start() as session:
            attach(session, tmp_path / name)
            LOGGER.info(name)
    assert [records(tmp_path / name)[0]["message"] for name in ("one", "two")] == ["one", "two"]


def test_a_full_queue_drops_counts_and_blocks_nobody(session, path, monkeypatch):
    """A flood that the writer cannot follow costs its own records, never time, and an error still gets through."""
    monkeypatch.setattr(intake_module, "QUEUE_RECORDS_MAX", 100)
    hold = threading.Event()
    inside = threading.Event()

    def take_nothing():
        inside.set()
        hold.wait(5)
        return []

    monkeypatch.setattr(session._intake, "take", take_nothing)
    until(lambda: True)
    assert inside.wait(5)
    start_s = time.monotonic()
    for number in range(1000):
        LOGGER.info("flood %d", number)
    LOGGER.error("the cause")
    assert time.monotonic() - start_s < 1.0
    assert session.lost == 900
    attach(session, path)
    monkeypatch.undo()
    hold.set()
    session.close()
    messages = [record["message"] for record in records(path)]
    assert [m for m in messages if m.startswith("flood")] == [f"flood {number}" for number in range(100)]
    assert "the cause" in messages
    assert [m for m in messages if m.startswith("900 log records lost")]


def test_an_unwritable_file_is_told_once_and_tried_again(session, tmp_path, terminal, monkeypatch):
    """The node goes on; what was logged meanwhile is written once writing works."""
    monkeypatch.setattr(writer_module, "RETRY_S", 0.05)
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where the folder should be")
    attach(session, blocked / "book.jsonl")
    LOGGER.info("record 0")
    until(lambda: "cannot write" in terminal.getvalue())
    tries = []
    file = session._writer._file
    write = file.write

    def write_counted(lines):
        tries.append(lines)
        write(lines)

    monkeypatch.setattr(file, "write", write_counted)
    LOGGER.info("record 1")
    until(lambda: len(tries) >= 3)
    blocked.unlink()
    until((blocked / "book.jsonl").exists)
    session.close()
    assert terminal.getvalue().count("cannot write") == 1
    messages = [record["message"] for record in records(blocked / "book.jsonl")]
    assert [m for m in messages if m.startswith("record")] == ["record 0", "record 1"]
    assert session.lost == 0


def test_a_full_disk_is_survived_and_counted(session, terminal, tmp_path, monkeypatch):
    """On /dev/full nothing can be written: memory stays bounded, the loss is counted."""
    monkeypatch.setattr(writer_module, "BACKLOG_BYTES_MAX", 10_000)
    full = tmp_path / "full"
    full.symlink_to("/dev/full")
    attach(session, full)
    for _ in range(500):
        LOGGER.info("x" * 100)
    session.close()
    assert 500 <= session.lost <= 503  # with its own words about it
    assert "No space left on device" in terminal.getvalue()


def test_close_is_bounded_when_writing_hangs(session, path, monkeypatch):
    """A disk that never answers holds the stop up for the given time only."""
    release = threading.Event()
    attach(session, path)
    monkeypatch.setattr(session._writer._file, "write", lambda _: release.wait(10))
    LOGGER.info("stuck")
    start_s = time.monotonic()
    session.close(timeout_s=0.3)
    assert time.monotonic() - start_s < 1.0
    release.set()


def test_a_record_that_cannot_be_read_is_a_record(session, path):
    """Wrong arguments and objects that raise when they are shown harm neither the caller nor the log."""

    class Odd:
        def __str__(self):
            raise RuntimeError

    attach(session, path)
    wrong = {"name": "nautilus_ext.test", "levelno": logging.INFO, "msg": "%d", "args": ("no number",)}
    session._intake.handle(logging.makeLogRecord(wrong))  # by itself: pytest's own handler fails such a test
    LOGGER.info("fine", extra={"odd": Odd()})
    LOGGER.info("lone \ud800 surrogate")
    LOGGER.info("last")
    session.close()
    assert len(records(path)) == 4
    assert records(path)[-1]["message"] == "last"


def test_a_huge_record_is_cut(session, path, terminal):
    """One record is never longer than its bound, on the terminal one line."""
    attach(session, path)
    LOGGER.warning("%s\nsecond\x1b[2J line", "y" * 1_000_000)
    session.close()
    (record,) = records(path)
    assert path.stat().st_size < writer_module.RECORD_BYTES_MAX
    assert record["cut_from_bytes"] > 1_000_000
    assert len(terminal.getvalue()) <= writer_module.TERMINAL_CHARS_MAX + 1


def test_a_paused_terminal_costs_its_lines_only(path):
    """Nobody reads the terminal: the file still gets every record, and the close is quick."""
    read_fd, write_fd = os.pipe()
    with os.fdopen(write_fd, "w", buffering=1) as stream, LogSession.start(terminal=stream) as session:
        attach(session, path)
        for number in range(3000):
            LOGGER.info("line %d %s", number, "z" * 100)
        start_s = time.monotonic()
        session.close()
        assert time.monotonic() - start_s < 2.0
    os.close(read_fd)
    assert len(records(path)) == 3000
