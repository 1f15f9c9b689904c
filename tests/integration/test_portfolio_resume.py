"""A pyramid outlives its node: kill -9, restart, and it goes on where the tables and the venue say it was."""

from __future__ import annotations

import pytest
from exchange_client import exchange_in
from pyramid_node import ETH, Play


@pytest.fixture
def play(fast_folder, database, wait_until):
    with exchange_in(fast_folder) as folder:
        folder.mkdir()
        yield Play(folder, database, wait_until)


def test_a_killed_pyramid_goes_on_where_it_was(play):
    """The same rows, one base, the count goes on, the stops move on, and no signal acts twice."""
    with play.node() as first:
        play.until_count(2)
        first.kill()
        first.wait()
    before, count = play.positions(), play.count()
    claimed_before = len(play.rows("signal_log"))
    with play.node():
        play.until_count(count + 2)
        now = play.positions()
        assert set(before) < set(now)
        assert 1 == sum(row["is_base_position"] for row in now.values())
        assert {"open"} == {row["status"] for row in now.values()}
        base = next(row for row in now.values() if row["is_base_position"])
        assert (base["position_id"], base["entry_price"]) in {
            (row["position_id"], row["entry_price"]) for row in before.values()
        }
        play.until(lambda: play.positions()[base["position_id"]]["current_stop"] > before_stop(before, base))
    (equity,) = play.rows("portfolio_state")
    closed = play.positions()
    assert {"closed"} == {row["status"] for row in closed.values()}, "the second stop was in order: it is flat"
    assert equity["closed_equity"] == equity["initial_capital"] + sum(row["realized_pnl"] for row in closed.values())
    signals = play.rows("signal_log")
    assert len(signals) > claimed_before
    assert len({row["client_order_id"] for row in signals}) == len(signals)
    assert {row["position_id"] for row in closed.values()} == {
        row["client_order_id"] for row in signals if row["outcome"] == "executed"
    }
    assert "Resumed a pyramid" in play.said()


def before_stop(before, base):
    return before[base["position_id"]]["current_stop"]


def test_a_node_killed_between_claim_and_row_finds_its_entry(play):
    """The order was filled and nobody wrote the row: the claimed signal and the venue tell what to write."""
    with play.node() as first:
        play.until_count(1)
        first.kill()
        first.wait()
    lost = max(play.positions().values(), key=lambda row: row["opened_ns"])
    play.change(f"UPDATE signal_log SET outcome = 'claimed' WHERE fingerprint = '{lost['fingerprint']}'")
    play.change(
        f"UPDATE pyramiding_state SET pyramid_count = pyramid_count - 1, version = version + 1 "
        f"WHERE instrument_id = '{ETH}'"
    )
    play.change(f"DELETE FROM portfolio_positions WHERE position_id = '{lost['position_id']}'")
    with play.node(pyramids=1):
        play.until(lambda: lost["position_id"] in play.positions())
        found = play.positions()[lost["position_id"]]
        same = ("quantity", "entry_price", "side", "is_base_position", "initial_stop", "fingerprint", "realized_pnl")
        assert {key: lost[key] for key in same} == {key: found[key] for key in same}
        play.until(lambda: 1 == play.count())
        assert 2 == len(play.positions())


def test_what_the_venue_closed_while_the_node_was_away_is_closed_here(play):
    """The rows of a position that is gone are closed, and a new base may follow."""
    with play.node(target_bps="40", stop_bps="40", pyramids=1) as first:
        play.until(lambda: [row for row in play.positions().values() if row["status"] == "open"])
        first.kill()
        first.wait()
    left = {name for name, row in play.positions().items() if row["status"] != "closed"}
    assert left
    # 20 basis points a second: the targets are reached before the next node has connected
    with play.node(pyramids=1):
        play.until(lambda: all(play.positions()[name]["status"] == "closed" for name in left))
        reasons = {play.positions()[name]["close_reason"] for name in left}
        assert {"closed while away"} == reasons
        assert all(play.positions()[name]["exit_price"] for name in left), "the venue's fills tell the price"


def test_a_second_claim_of_a_signal_is_refused_by_a_live_node(play):
    """Somebody has acted upon the same bar already: every signal of a node is claimed by another before it."""
    play.change(
        """CREATE FUNCTION first() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF NEW.duplicates = 0 THEN NEW.duplicates := 1; END IF; RETURN NEW; END $$;
           CREATE TRIGGER first BEFORE INSERT ON signal_log FOR EACH ROW EXECUTE FUNCTION first()"""
    )
    with play.node():
        play.until(lambda: play.rows("signal_log"))
        play.until(lambda: "Duplicate signal refused" in play.said())
        assert {} == play.positions()
