"""What breakers know after a restart, and what they have forgotten by then."""

from __future__ import annotations

import json
from decimal import Decimal

import msgspec
import pytest
from breaker_stage import ACCOUNT, HAND, STRATEGY, STREAK, Bus, Client, Ears, S, breakers, looked, rule, traded, trip
from nautilus_trader.model.enums import OmsType
from risk_stage import BUY, PERP, SELL, Stage

from nautilus_ext.errors import MachineError
from nautilus_ext.messages import (
    RECENT,
    STANDING,
    AppliedCommand,
    PastFill,
    Recent,
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "risk" / "BOOK" / "breakers.json"


def test_what_was_counted_is_counted_on_after_a_restart(path):
    """One rejection before, one after: with a limit of one that is one too many."""
    trip(Bus(STREAK, path=path).start(), 1)
    again = Bus(STREAK, path=path).start()
    trip(again, 1)
    assert [("halt", f"strategy={STRATEGY}", "breaker reject_streak")] == again.ears.stopped


@pytest.mark.row(6, "after restart")
@pytest.mark.row(23, "after restart")
def test_what_had_tripped_stops_again_at_the_start_with_the_same_command(path):
    """Whether it was applied nobody knows: a gate applies a command once, by its id."""
    before = Bus(STREAK, path=path).start()
    before.ears.answer = None  # killed while it was asked
    trip(before)
    again = Bus(STREAK, path=path).start()
    assert before.ears.commands == again.ears.commands
    trip(again, 5)
    assert 1 == len(again.ears.commands)
    assert [] == again.ears.alerts


def test_what_a_person_has_resumed_stays_resumed(path):
    before = Bus(STREAK, path=path).start()
    trip(before)
    before.ears.resume(f"strategy={STRATEGY}")
    again = Bus(STREAK, path=path).start()
    assert [] == again.ears.commands
    trip(again)
    assert 1 == len(again.ears.commands)


@pytest.mark.parametrize(
    ("scope", "mode", "lifts"), [("strategy=S-001", None, 1), ("node", None, 0), ("strategy=S-001", "reduce_only", 0)]
)
def test_what_a_person_has_resumed_while_no_breaker_heard_stays_resumed(path, scope, mode, lifts):
    """By a start of a file without breakers: only the table has it."""
    before = Bus(STREAK, path=path).start()
    trip(before)
    (stop,) = before.ears.commands
    resume = ("c-2", "resume", {"scope": scope, "why": "seen", "mode": mode})
    told = [
        AppliedCommand(applied_ns=at_ns, command_id=command_id, kind=kind, arguments=arguments, issued_by="ann")
        for at_ns, (command_id, kind, arguments) in enumerate([(stop.command_id, stop.kind, stop.arguments), resume])
    ]
    again = Bus(STREAK, path=path)
    again.cache.add(STANDING, msgspec.json.encode(told))
    again.breakers._recall()
    again.start()
    assert 1 - lifts == len(again.ears.commands)
    trip(again)
    assert 1 == len(again.ears.commands)


@pytest.mark.row(23, "after restart")
def test_a_loss_is_reckoned_on_over_a_restart(path):
    """9 lost by a position that is closed, then another 9: closed positions are in no cache then."""

    def lost():
        stage, ears = traded(rule("loss", "node", 12), path=path)
        stage.hand.send(BUY, 1)
        stage.tick().tick(bid=93).tick(bid=93)
        stage.hand.send(SELL, 1)
        stage.tick(bid=93).tick(bid=93)
        return ears.stopped

    assert [] == lost()
    assert [] == json.loads(path.read_text())["seen"]  # of what is closed nothing is kept but the sum
    assert [("halt", "node", "breaker loss")] == lost()


def test_what_is_lost_before_the_first_look_after_a_restart_is_lost(path):
    """The instrument is new to the breakers, results are not."""
    rules = (rule("loss", "instrument=*", 10),)
    quiet, _ = traded(*rules, path=path)
    quiet.tick().tick()
    stage, ears = traded(*rules, path=path)
    for side in (BUY, SELL):
        stage.hand.send(side, 20)
    stage.tick().tick()
    assert [("halt", f"instrument={PERP}", "breaker loss")] == ears.stopped


def recent(*seconds_ago):
    return Recent(fills=[PastFill(1_767_571_200 * S - each * S, PERP, STRATEGY, ACCOUNT) for each in seconds_ago])


def bus_with(told, path, *rules):
    """What Restore has put into the cache is there before the actors are registered."""
    bus = Bus(*rules, path=path)
    bus.cache.add(RECENT, msgspec.json.encode(told))
    bus.breakers._recall()
    return bus.start()


@pytest.mark.row(6, "after restart")
def test_fills_of_the_window_count_after_a_restart_and_those_before_a_resume_do_not(path):
    executions = rule("executions", "strategy=*", 2, window_s=60)
    assert [] == bus_with(recent(70, 20, 10), path, executions).ears.stopped
    tripped = bus_with(recent(30, 20, 10), path, executions)
    assert [("halt", f"strategy={STRATEGY}", "breaker executions")] == tripped.ears.stopped
    tripped.ears.resume(f"strategy={STRATEGY}")
    assert [] == bus_with(recent(30, 20, 10), path, executions).ears.stopped


def test_a_file_that_cannot_be_read_keeps_the_node_from_starting(path):
    """Nobody knows what had tripped; the message says which file and what to do."""
    path.parent.mkdir(parents=True)
    path.write_text("{")
    with pytest.raises(MachineError, match=r"breakers.json.*remove it"):
        Bus(STREAK, path=path)


def test_a_file_that_cannot_be_written_keeps_nothing_from_being_stopped(path, caplog):
    """A full disk, or a folder that somebody has removed; it is written as soon as that is over."""
    bus = Bus(STREAK, path=path).start()
    path.parent.rmdir()
    trip(bus)
    assert [("halt", f"strategy={STRATEGY}", "breaker reject_streak")] == bus.ears.stopped
    assert 1 == caplog.text.count("cannot be kept")
    path.parent.mkdir()
    trip(bus, 1)
    assert bus.ears.commands == Bus(STREAK, path=path).start().ears.commands


def test_the_file_has_numbers_and_names_and_nothing_else(path):
    trip(Bus(STREAK, path=path).start())
    kept = json.loads(path.read_text())
    assert {"states", "latched", "sums", "seen", "watched", "armed"} == set(kept)
    assert Decimal(0) == sum(Decimal(each[-1]) for each in kept["sums"])


def test_a_backtest_that_runs_again_begins_with_nothing():
    """Counts, results and timers."""
    actor = breakers(rule("executions", "strategy=*", 1, window_s=600), rule("loss", "node", 10))
    stage = Stage(gate=False, actors=[actor])
    ears = Ears(stage.bus)
    stage.start()
    stage.hand.send(BUY, 1)
    stage.tick()
    stage.end()
    stage.engine.reset()
    stage.tick()
    stage.hand.send(BUY, 1)
    stage.tick()
    assert [] == ears.stopped


def test_that_connections_end_with_the_node_trips_nothing():
    bus = Bus(rule("venue_down", "venue=*", 0)).start()
    away = Client("SIM2")
    bus.breakers.venues.clients = [away]
    looked(bus, 2)
    bus.breakers.stop()
    away.is_connected = False
    looked(bus, 5)
    assert [] == bus.ears.stopped


class Held:
    """An open position as a restart has put it into the cache."""

    def __init__(self, stage):
        self.stage = stage

    def __call__(self, cache):
        for position in self.stage.cache.positions_open():
            cache.add_instrument(self.stage.cache.instrument(position.instrument_id))
            cache.add_position(position, OmsType.NETTING)


def test_what_was_realized_before_a_loss_was_watched_is_no_loss(path):
    """The file is there, of a breaker that counted something else; then one of results is added."""
    before, _ = traded(rule("executions", "strategy=*", 100, window_s=60), path=path)
    before.hand.send(BUY, 2)
    before.tick()
    before.hand.send(SELL, 1)
    before.tick(bid=50).tick(bid=50)
    trip(Bus(STREAK, path=path).start())
    actor = breakers(rule("loss", "node", 5), path=path)
    stage = Stage(gate=False, actors=[actor], before=Held(before))
    ears = Ears(stage.bus)
    stage.tick(bid=50).tick(bid=50).tick(bid=50)
    assert [] == ears.told
    assert 1 == len(ears.commands)  # the former one's
    stage.tick(bid=40).tick(bid=40)
    assert [("BREAKER_LOSS", "node", "critical")] == ears.told


def test_a_loss_of_which_a_breaker_that_is_new_in_the_file_knows_nothing_is_no_loss(path):
    """One of the node was there all along; then each strategy gets one of its own."""
    before, _ = traded(rule("loss", "node", 1_000), path=path)
    before.hand.send(BUY, 1)
    before.tick().tick(bid=50)
    before.hand.send(SELL, 1)
    before.tick(bid=50).tick(bid=50)
    after, ears = traded(rule("loss", "node", 1_000), rule("loss", "strategy=*", 10), path=path)
    after.tick(bid=50).tick(bid=50)
    assert [] == ears.stopped
    after.hand.send(BUY, 1)
    after.tick(bid=50).tick(bid=30).tick(bid=30)
    assert [("halt", HAND, "breaker loss")] == ears.stopped


def test_a_position_whose_market_was_not_heard_since_the_restart_has_no_result(path):
    """It was filled at 101 a while ago and stands at 50 for long: that is no drawdown from 101."""
    before, _ = traded(path=path)
    before.hand.send(BUY, 1)
    before.tick()
    actor = breakers(rule("drawdown", "node", 10), path=path)
    stage = Stage(gate=False, actors=[actor], before=Held(before))
    ears = Ears(stage.bus)
    stage.tick(of=["BTCUSDT.SIM1"]).tick(of=["BTCUSDT.SIM1"])
    stage.tick(bid=50).tick(bid=50)
    assert [] == ears.stopped
    stage.tick(bid=35).tick(bid=35)
    assert [("halt", "node", "breaker drawdown")] == ears.stopped
