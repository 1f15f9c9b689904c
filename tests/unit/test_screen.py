"""The screen writes from a thread of its own: what was said stands where it was said."""

from __future__ import annotations

import io
import time

from nautilus_ext.app.screen import Screen


class SlowStream(io.StringIO):
    """A terminal that takes its time."""

    def write(self, text):
        time.sleep(0.05)
        return super().write(text)


def test_what_was_said_before_another_takes_the_stream_over_is_written_before():
    """The log captures the first stream: a line that comes late would be taken for a stray print."""
    first, second = SlowStream(), io.StringIO()
    seen = []

    def take_over():
        seen.append(first.getvalue())
        return second

    with Screen(first) as screen:
        screen.say("before")
        screen.move_to(take_over)
        screen.say("after")
    assert [text.endswith("before\n") for text in seen] == [True]
    assert second.getvalue().endswith("after\n")
    assert "after" not in first.getvalue()
