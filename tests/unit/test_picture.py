import re
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from nautilus_ext.app.picture import picture, status_line
from nautilus_ext.app.view import Part, PositionRow, View

ROW = PositionRow("BTCUSDT.SIM1", "Trend-001", "LONG", "1.5", "60,000.10", "1.00 USDT", "-2.00 USDT")
VIEW = View(
    book="DESK-001.paper",
    run=3,
    world="paper",
    running_s=3723.4,
    counts={"submitted": 1200, "filled": 7},
    working=2,
    positions=[ROW] * 20,
    positions_open=40,
    pnl={"BTC": "+0.5", "USDT": "-3.20"},
    parts=[Part("SIM", "connected", well=True), Part("database", "database away", well=False)],
    recent=[f"order {number}" for number in range(30)],
    alerts=["careful"] * 30,
)


@given(columns=st.integers(1, 300), rows=st.integers(1, 100), color=st.booleans())
def test_the_picture_never_exceeds_the_terminal(columns, rows, color):
    """A line that wraps or a picture that scrolls would not stay in its place."""
    lines = picture(VIEW, columns, rows, color=color)
    assert len(lines) <= rows
    assert all(len(re.sub(r"\x1b\[[0-9;]*m", "", line)) <= columns for line in lines)


def test_the_picture_shows_what_a_trader_asks_for():
    """Orders, fills, positions, profit, state of the parts; bounded lists say how much they leave out."""
    text = "\n".join(picture(VIEW, 160, 60, color=False))
    for part in (
        "DESK-001.paper",
        "1:02:03",
        "1,200",
        "-3.20 USDT",
        "+0.5 BTC",
        "60,000.10",
        "database away",
        "order 29",
    ):
        assert part in text
    assert "and 28 more" in text
    assert 12 == text.count("BTCUSDT.SIM1")
    assert "order 21" not in text
    assert 4 == text.count("! careful")


def test_what_is_stopped_stands_below_the_title():
    """The first of many; on plain lines as well."""
    stopped = replace(VIEW, halts=[f"halt scope=venue=V{number}" for number in range(5)])
    lines = picture(stopped, 160, 60, color=False)
    title = next(number for number, line in enumerate(lines) if "DESK-001.paper" in line)
    assert [f" ■ halt scope=venue=V{number}" for number in range(3)] == lines[title + 1 : title + 4]
    assert "and 2 more" in lines[title + 4]
    assert "stopped: halt scope=venue=V0; " in status_line(stopped)
    assert "stopped" not in status_line(VIEW)


def test_no_part_is_lost_at_the_edge():
    """The last one may be the one that is ill."""
    parts = [Part(f"VENUE{number}", "connected", well=True) for number in range(8)]
    for columns in (20, 78, 79, 80, 120):
        text = "\n".join(picture(replace(VIEW, parts=parts), columns, 60, color=False))
        assert 8 == text.count(" connected")
    assert 1 == sum(" connected" in line for line in picture(replace(VIEW, parts=parts[:4]), 83, 60, color=False))


def test_positions_fit_a_hundred_columns_and_stand_in_line():
    """What is wider than its column widens it for all rows."""
    wide = replace(ROW, instrument="BTCUSDT-LINEAR.BYBIT", unrealized="-18,913.81298000 USDT")
    lines = picture(replace(VIEW, positions=[ROW]), 100, 60, color=False)
    assert any(line.endswith("realized") for line in lines)
    assert any(line.endswith("-2.00 USDT") for line in lines)
    rows = [line for line in picture(replace(VIEW, positions=[ROW, wide]), 160, 60, color=False) if "-2.00" in line]
    assert 1 == len({len(line) for line in rows})
    assert 1 == len({line.index("Trend-001") for line in rows})


def test_no_text_steers_the_terminal():
    """A venue's reason for a rejection is shown, not obeyed."""
    text = "\n".join(picture(View(book="B", run=1, world="paper", recent=["a\x1b[2Jb\nc\x9bd"]), 100, 40, color=False))
    assert "\x1b" not in text
    assert "\x9b" not in text
    assert "a [2Jb c d" in text


def test_the_picture_keeps_its_shape_when_nothing_has_happened_yet():
    """No part of it may need an order or a position to exist."""
    text = "\n".join(picture(View(book="B", run=1, world="paper"), 100, 40, color=False))
    assert "none" in text
    assert "PnL" in text


def test_the_status_line_names_only_parts_that_are_ill():
    """One line in ten seconds: what is well needs no words."""
    assert "database database away" in status_line(VIEW)
    assert "SIM" not in status_line(VIEW)
