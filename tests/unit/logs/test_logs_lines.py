"""Captured bytes become the messages that were written."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from nautilus_ext.logs.lines import Assembler, Captured
from nautilus_ext.logs.records import captured_record, iso_ns

TS = "2026-11-21T02:10:35.189477600Z"
COLORED = f"\x1b[1m{TS}\x1b[0m \x1b[1;31m[ERROR] TESTER-001.S-1: boom\nTraceback:\n  line 1\x1b[0m\n".encode()


def assembled(stream, *chunks, **kwargs):
    assembler = Assembler(stream, **kwargs)
    messages = [message for chunk in chunks for message in assembler.feed(chunk)]
    return messages + list(assembler.flush(half_line=True))


def test_a_line_of_nautilus_is_taken_apart():
    """Time, level, trader and component are fields; a colon in the message stays in the message."""
    line = f"{TS} [WARN] TESTER-001.SimulatedExchange(SIM): quote: stale\n".encode()
    assert assembled("stdout", line) == [
        Captured("WARNING", "SimulatedExchange(SIM)", "quote: stale", ts=TS, trader_id="TESTER-001")
    ]


def test_a_coloured_message_of_several_lines_is_one_message():
    """With colours the end of a message is known, so a print behind it does not join it."""
    for stream in ("stdout", "stderr"):
        first, second = assembled(stream, COLORED + b"a print\n")
        assert first.message == "boom\nTraceback:\n  line 1"
        assert second.component == stream
        assert second.message == "a print"


@given(cuts=st.lists(st.integers(0, len(COLORED) * 2), max_size=6))
def test_where_a_read_ends_does_not_matter(cuts):
    """The pipe may cut the bytes anywhere, in the middle of a character too."""
    data = COLORED + "é ü € print\n".encode()
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    chunks = [data[start:end] for start, end in pairwise(edges)]
    assert assembled("stdout", *chunks) == assembled("stdout", data)


def test_lines_on_stderr_that_come_together_are_one_message():
    """A traceback is one record, each print on stdout its own."""
    data = b"Traceback (most recent call last):\n  here\nValueError: x\n"
    assert [m.message for m in assembled("stderr", data)] == [data.decode().rstrip()]
    assert [m.level for m in assembled("stderr", data)] == ["WARNING"]
    assert len(assembled("stdout", data)) == 3


def test_a_stream_without_line_ends_is_bounded():
    """Megabytes without a line end fill no memory: the message is cut."""
    messages = assembled("stdout", *[b"x" * 1000] * 1000, b"\nnext\n", message_bytes_max=5000)
    assert [len(m.message) for m in messages] == [5000, 4]


def test_rulers_and_the_picture_of_the_banner_are_left_out():
    """They say nothing."""
    lines = [f"{TS} [INFO] T-1.BacktestEngine: {text}\n".encode() for text in ("=" * 60, "", "⣿⣿⠀⠋", "CPU(s): 2")]
    assert [m.message for m in assembled("stdout", *lines)] == ["CPU(s): 2"]


def test_a_lost_colour_reset_does_not_swallow_what_follows():
    """The next header begins a new message even if the last one never ended."""
    torn = COLORED.removesuffix(b"\x1b[0m\n") + b"\n"
    assert [m.message.split("\n")[0] for m in assembled("stdout", torn, COLORED)] == ["boom", "boom"]


def test_a_backtests_clock_is_the_time_of_the_event_not_of_the_record():
    """`ts` orders the file; a simulated time stands beside it."""
    now_ns = 1_800_000_000_000_000_000
    live = Captured("INFO", "S-1", "x", ts=iso_ns(now_ns - 10**9), trader_id="T-1")
    simulated = Captured("INFO", "S-1", "x", ts="1970-01-01T00:00:01.000000000Z", trader_id="T-1")
    assert captured_record(live, now_ns)[0]["ts"] == iso_ns(now_ns - 10**9)
    assert captured_record(simulated, now_ns)[0]["ts"] == iso_ns(now_ns)
    assert captured_record(simulated, now_ns)[0]["ts_event"] == "1970-01-01T00:00:01.000000000Z"
