"""Breakers on real events: they trip at one over and not at the limit, stop what they should, and are armed again."""

from __future__ import annotations

import pytest
from breaker_stage import ACCOUNT, HAND, STRATEGY, STREAK, Bus, Client, looked, rule, traded, trip
from risk_stage import BUY, PERP, SELL, Stage

from nautilus_ext.messages import (
    ALERT,
    MIRROR_STATE,
    VENUE_CHECKED,
    MirrorState,
    VenueChecked,
)

# -- what each of them hears ------------------------------------------------------------------------


@pytest.mark.row(23, "at limit")
@pytest.mark.row(23, "one tick over")
def test_a_loss_counts_what_is_open_and_what_is_closed():
    """Bought at 101; the mid of 91 to 92 is 9.5 less, and the venue takes a fee."""
    stage, ears = traded(rule("loss", "strategy=*", 10))
    stage.hand.send(BUY, 1)
    stage.tick().tick(bid=91).tick(bid=91)
    assert [] == ears.stopped
    stage.tick(bid=90).tick(bid=89)
    assert [("halt", HAND, "breaker loss")] == ears.stopped
    stage.tick(bid=50).tick(bid=40)
    assert 1 == len(ears.stopped)
    assert ("BREAKER_LOSS", HAND, "critical") in ears.told
    assert "limit=10" in ears.commands[0].what.why


def test_what_a_closed_position_has_lost_is_lost():
    stage, ears = traded(rule("loss", "node", 10))
    stage.hand.send(BUY, 1)
    stage.tick().tick(bid=80)
    stage.hand.send(SELL, 1)
    stage.tick(bid=80).tick(bid=80)
    assert [("halt", "node", "breaker loss")] == ears.stopped


def test_a_position_that_is_opened_and_lost_between_two_looks_is_a_loss():
    """A scope that nobody knew had nothing before."""
    stage, ears = traded(rule("loss", "instrument=*", 10))
    stage.tick()
    for side in (BUY, SELL):
        stage.hand.send(side, 20)
    stage.tick().tick()
    assert [("halt", f"instrument={PERP}", "breaker loss")] == ears.stopped


@pytest.mark.row(23, "at limit")
@pytest.mark.row(23, "one tick over")
def test_a_drawdown_is_from_the_highest_result():
    """20 won and 15 of it lost: no loss, but a drawdown."""
    stage, ears = traded(rule("drawdown", "venue=SIM2", 12, "reduce_only"), rule("loss", "node", 12))
    stage.hand.send(BUY, 1)
    stage.tick().tick(bid=121).tick(bid=121).tick(bid=110).tick(bid=110)
    assert [] == ears.stopped
    stage.tick(bid=106).tick(bid=106)
    assert [("reduce-only", "venue=SIM2", "breaker drawdown")] == ears.stopped


def test_a_result_that_nobody_can_reckon_is_told_and_stops_nothing():
    """Paid in USDT, and the base currency is one into which nobody said a rate."""
    stage, ears = traded(rule("loss", "node", 1), base_currency="EUR")
    stage.hand.send(BUY, 1)
    stage.tick()
    for _ in range(70):
        stage.tick(bid=50)
    assert [] == ears.stopped
    assert [("BREAKER_BLIND", "node", "critical")] == ears.told


@pytest.mark.row(23, "at limit")
@pytest.mark.row(23, "one tick over")
def test_a_streak_of_rejections_ends_with_an_order_that_is_taken():
    """By the venue: a post-only order that would take is rejected there."""
    stage, ears = traded(rule("reject_streak", "strategy=*", 2, window_s=60))

    def rejected(count):
        for _ in range(count):
            stage.hand.send(BUY, 1, 150, post_only=True)
        stage.tick()

    rejected(2)
    stage.hand.send(BUY, 1, 50)
    stage.tick()
    rejected(2)
    assert [] == ears.stopped
    rejected(1)
    assert [("halt", HAND, "breaker reject_streak")] == ears.stopped


@pytest.mark.row(6, "at limit")
@pytest.mark.row(6, "one tick over")
def test_executions_of_one_strategy_do_not_count_for_another():
    """The third within the window is one too many; the window moves on."""
    stage, ears = traded(rule("executions", "strategy=*", 2, window_s=10))
    for _ in range(3):
        stage.hand.send(BUY, 1)
        stage.tick(seconds=6)
    assert [] == ears.stopped
    stage.hand.send(BUY, 1)
    stage.hand.send(BUY, 1)
    stage.tick()
    assert [("halt", HAND, "breaker executions")] == ears.stopped


def test_stale_data_is_of_what_is_subscribed_or_traded():
    """A venue is heard as long as one of its instruments is."""
    stage, ears = traded(rule("stale_data", "instrument=*", 5, "alert"), rule("stale_data", "venue=*", 5))
    stage.hand.send(BUY, 1)  # of SIM2
    for _ in range(8):
        stage.tick(of=["BTCUSDT.SIM1"])
    assert [("halt", "venue=SIM2", "breaker stale_data")] == ears.stopped
    assert [
        ("BREAKER_STALE_DATA", f"instrument={PERP}", "warning"),
        ("BREAKER_STALE_DATA", "venue=SIM2", "critical"),
    ] == (sorted(ears.told))


@pytest.mark.row(17, "at limit")
@pytest.mark.row(17, "one tick over")
def test_stale_data_at_the_limit_is_fresh():
    bus = Bus(rule("stale_data", "instrument=*", 5))
    bus.bus.subscribe(f"data.quotes.SIM2.{PERP.partition('.')[0]}", print)
    stage = Stage(gate=False)
    bus.cache.add_instrument(
        stage.cache.instrument(next(each for each in stage.cache.instrument_ids() if str(each) == PERP))
    )
    bus.start()
    bus.wait(6)  # the first look is a second after the start, and 5 s are not too many
    assert [] == bus.ears.stopped
    bus.wait(1)
    assert [("halt", f"instrument={PERP}", "breaker stale_data")] == bus.ears.stopped


@pytest.mark.row(23, "at limit")
@pytest.mark.row(23, "one tick over")
def test_a_rejection_rate_needs_enough_answers():
    bus = Bus(rule("rejection_rate", "venue=*", "0.5", least=4, window_s=60)).start()
    for _ in range(2):
        bus.accepted()
        bus.rejected()
    bus.wait(61)
    for _ in range(3):
        bus.rejected()
    assert [] == bus.ears.stopped  # half at first, then too few
    bus.rejected()
    assert [("halt", "venue=SIM2", "breaker rejection_rate")] == bus.ears.stopped


def test_latency_is_from_submit_to_the_venues_word():
    """The median of the last answers; what reconciliation says late is no answer of a venue."""
    bus = Bus(rule("latency", "account=*", 100, "alert", least=3, window_s=60)).start()

    def answered(ms, **more):
        order = bus.sent()
        bus.wait(ms / 1_000)
        bus.accepted(order, **more)

    for ms in (100, 100, 100, 500):
        answered(ms)
    answered(10_000, reconciliation=True)
    assert [] == bus.ears.told
    answered(101)
    assert [("BREAKER_LATENCY", f"account={ACCOUNT}", "warning")] == bus.ears.told
    assert [] == bus.ears.commands


def test_shipper_lag_is_the_age_of_what_the_tables_lack():
    bus = Bus(rule("shipper_lag", "node", 3)).start()
    for seconds in range(5):
        bus.say(MIRROR_STATE, MirrorState("B", 1, 10 + seconds, 9 + seconds, 100))
        bus.wait(1)
    for _ in range(3):  # 14 is the last event, seen a second ago, and they have 13
        bus.say(MIRROR_STATE, MirrorState("B", 1, 14, 13, 100))
        bus.wait(1)
    assert [] == bus.ears.stopped
    bus.say(MIRROR_STATE, MirrorState("B", 1, 14, 13, 100))
    assert [("halt", "node", "breaker shipper_lag")] == bus.ears.stopped


def checked(**words):
    return VenueChecked(**{"client": "SIM2", "venue": "SIM2", "account_id": ACCOUNT, "failures": 0, **words})


def test_a_venue_that_cannot_be_asked_is_a_failure_to_keep_in_step():
    bus = Bus(rule("sync_failure", "venue=*", 1), rule("sync_failure", "node", 5, "alert")).start()
    bus.say(VENUE_CHECKED, checked(failures=1, problem="no answer"))
    assert [] == bus.ears.stopped
    bus.say(VENUE_CHECKED, checked(failures=2, problem="no answer"))
    assert [("halt", "venue=SIM2", "breaker sync_failure")] == bus.ears.stopped


@pytest.mark.row(18, "at limit")
@pytest.mark.row(18, "one tick over")
def test_a_difference_between_the_venues_word_and_ours_is_told_with_an_example():
    """None: nobody could say, which proves nothing. The node counts those of all venues."""
    rules = (rule("drop_copy", "account=*", 1, "reduce_only"), rule("drop_copy", "node", 2, "alert"))
    bus = Bus(*rules).start()
    for differences in (None, 0, 1):
        bus.say(VENUE_CHECKED, checked(differences=differences))
    bus.say(VENUE_CHECKED, checked(client="SIM3", venue="SIM3", account_id="SIM3-001", differences=1))
    assert [] == bus.ears.told
    bus.say(VENUE_CHECKED, checked(differences=2, examples="SIM2 order O-1 status: ours FILLED, the venue's ACCEPTED"))
    assert [("reduce-only", f"account={ACCOUNT}", "breaker drop_copy")] == bus.ears.stopped
    assert "ours FILLED, the venue's ACCEPTED" in bus.ears.alerts[0].text
    assert {"node", f"account={ACCOUNT}"} == {each.scope for each in bus.ears.alerts}


def test_a_venue_is_down_when_its_client_says_so_for_longer_than_the_limit():
    bus = Bus(rule("venue_down", "venue=SIM2", 3)).start()
    away, other = Client("SIM2"), Client("SIM3")
    bus.breakers.venues.clients = [away, other]
    looked(bus, 5)
    away.is_connected = other.is_connected = False
    looked(bus, 4)  # seen away first, then 3 s
    assert [] == bus.ears.stopped
    looked(bus, 1)
    assert [("halt", "venue=SIM2", "breaker venue_down")] == bus.ears.stopped


def test_a_window_is_how_long_it_has_to_last():
    bus = Bus(rule("venue_down", "venue=*", 0, window_s=3)).start()
    away = Client("SIM2")
    bus.breakers.venues.clients = [away]
    for _ in range(3):
        away.is_connected = False
        looked(bus, 4)
        away.is_connected = True
        looked(bus, 1)
    assert [] == bus.ears.stopped
    away.is_connected = False
    looked(bus, 5)
    assert 1 == len(bus.ears.stopped)


# -- cancel on disconnect ---------------------------------------------------------------------------


@pytest.mark.row(15, "connection lost")
def test_a_venue_that_comes_back_is_swept_once_where_the_file_says_so():
    """Not when it connects for the first time, and no other venue."""
    bus = Bus(cancel_on_disconnect=["SIM2"]).start()
    here, other = Client("SIM2"), Client("SIM3")
    here.is_connected = False
    bus.breakers.venues.clients = [here, other]
    looked(bus, 2)
    here.is_connected = True
    looked(bus, 2)
    assert [] == bus.ears.stopped
    here.is_connected = other.is_connected = False
    looked(bus, 2)
    assert [] == bus.ears.stopped
    here.is_connected = other.is_connected = True
    looked(bus, 3)
    assert [("cancel-all", "venue=SIM2", "CANCEL_ON_DISCONNECT")] == bus.ears.stopped
    assert [("CANCEL_ON_DISCONNECT", "venue=SIM2", "warning")] == bus.ears.told
    assert [True] == [each.applied for each in bus.ears.commanded]


# -- what follows -----------------------------------------------------------------------------------


def test_a_trip_is_told_stopped_and_recorded_in_this_order():
    bus = Bus(STREAK).start()
    order = []
    for name, heard in (("alert", bus.ears.alerts), ("commanded", bus.ears.commanded)):
        topic = "suite.alerts.raise" if name == "alert" else "suite.commanded"
        bus.bus.subscribe(topic, lambda _, name=name: order.append(name))
        assert [] == heard
    trip(bus)
    assert ["alert", "commanded"] == order
    (commanded,) = bus.ears.commanded
    assert (bus.ears.commands[0], True, "done") == (commanded.command, commanded.applied, commanded.text)


def test_a_halt_that_was_not_applied_is_an_alert_of_its_own():
    bus = Bus(STREAK).start()
    bus.ears.answer = (False, "O-7 at SIM2 is unresolved")
    trip(bus)
    assert ("BREAKER_NOT_APPLIED", f"strategy={STRATEGY}", "critical") == bus.ears.told[-1]
    assert "O-7 at SIM2 is unresolved" in bus.ears.alerts[-1].text
    assert [False] == [each.applied for each in bus.ears.commanded]


def test_without_a_gate_somebody_is_told_that_nothing_was_stopped():
    bus = Bus(STREAK).start()
    bus.bus.deregister("RiskGate.command", bus.ears._take)
    trip(bus)
    assert "BREAKER_NOT_APPLIED" == bus.ears.told[-1][0]


def test_a_resume_of_its_scope_arms_it_again_and_no_other():
    bus = Bus(STREAK).start()
    trip(bus, 5)
    bus.ears.resume("node")
    trip(bus, 5)
    assert 1 == len(bus.ears.stopped)
    bus.ears.resume(f"strategy={STRATEGY}")
    trip(bus, 1)
    assert 1 == len(bus.ears.stopped)  # it begins anew
    trip(bus, 1)
    assert 2 == len(bus.ears.stopped)
    assert 2 == len({each.command_id for each in bus.ears.commands})


def test_a_handler_that_fails_is_told_once_and_the_others_go_on(caplog):
    bus = Bus(STREAK, rule("shipper_lag", "node", 0)).start()
    for _ in range(3):
        bus.say(MIRROR_STATE, "no state")
    assert 1 == caplog.text.count("cannot follow the state of the journal")
    trip(bus)
    assert 1 == len(bus.ears.stopped)


def test_somebody_who_fails_over_an_alert_does_not_keep_the_halt_from_the_gate(caplog):
    bus = Bus(STREAK)

    def fail(_alert):
        raise RuntimeError("an actor of somebody else")

    bus.bus.subscribe(ALERT, fail)
    bus.start()
    trip(bus)
    assert [("halt", f"strategy={STRATEGY}", "breaker reject_streak")] == bus.ears.stopped
    assert "cannot follow what hears of them" in caplog.text
