"""A record that no table takes is kept byte for byte and named; all others arrive in their order."""

from __future__ import annotations

import asyncio
import random
import zlib

import msgspec
import pytest
from shipper_log import EVENTS_PER_ORDER, Trader, payload
from shipper_stage import Stage

from nautilus_ext.persistence.ledger import Ledger
from nautilus_ext.persistence.segments import run_folder, segment_path, segments
from nautilus_ext.persistence.shipper.launch import Shipping
from nautilus_ext.persistence.shipper.process import Shipper
from nautilus_ext.persistence.shipper.status import Status

HUGE = f"1{'0' * 140_000}"  # numeric has 131,072 digits before the point
LONG_ID = "".join(random.Random(7).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=9_000))


@pytest.fixture
def stage(database, tmp_path):
    """A book on a fresh database, as the application's role; no process survives the test."""
    one = Stage(database.app_url, tmp_path)
    yield one
    one.kill()


def written(stage, poison, before=5, after=5):
    """Log a run with poison in the middle, made by the trader; return its start, its last number and the poison."""
    start, trader = stage.start_run(), Trader()
    log = stage.begin_log(start)
    log.append(trader.instrument())
    for _ in range(before):
        log.append_many(list(trader.order()))
    planted = poison(trader)
    log.append_many(planted)
    for _ in range(after):
        log.append_many(list(trader.order()))
    log.append(trader.end())
    log.close()
    return start, trader.seq, planted


def test_an_undecodable_record_is_kept_and_the_rest_arrives(stage):
    """Bytes that are no record take the number that is missing between their neighbours."""
    garbage = b"\xff\xfe not json \x00"

    def poison(trader):
        trader.seq += 1
        return [garbage]

    start, last, _ = written(stage, poison)
    place = 2 + 5 * EVENTS_PER_ORDER
    assert stage.run_to_end(start) == 0
    assert stage.rejected() == [(place, "decode", None)]
    assert stage.value("SELECT raw FROM rejected_events") == garbage
    assert stage.seqs(start.run) == [seq for seq in range(1, last + 1) if seq != place]
    assert stage.progress(start.run) == (last, last)
    assert stage.differences() == []
    assert stage.state(start.run).rejected == 1


def test_bytes_that_are_no_record_of_the_run_cost_no_record_its_number(stage):
    """Garbage between two consecutive numbers has none: it is named and left out."""
    start, last, _ = written(stage, lambda _: [b"garbage"])
    assert stage.run_to_end(start) == 0
    assert stage.rejected() == []
    assert stage.seqs(start.run) == list(range(1, last + 1))
    assert "no record" in stage.state(start.run).last_error


def test_a_nul_in_a_venues_text_does_not_stop_anything(stage):
    """Postgres takes no NUL: the text arrives with a mark in its place."""

    def poison(trader):
        life = [msgspec.json.decode(each) for each in trader.order()]
        life[2][4]["venue_order_id"] = "V-\0-6"
        life[3][4]["venue_order_id"] = "V-\0-6"
        return [msgspec.json.encode(each) for each in life]

    start, last, _ = written(stage, poison)
    assert stage.run_to_end(start) == 0
    assert stage.rejected() == []
    assert stage.seqs(start.run) == list(range(1, last + 1))
    assert stage.value("SELECT venue_order_id FROM unified_orders WHERE client_order_id = 'O-6'") == "V-\ufffd-6"


@pytest.mark.parametrize(("field", "value"), [("last_px", HUGE), ("trade_id", LONG_ID)], ids=["fold", "database"])
def test_what_no_projection_takes_is_in_the_journal(stage, field, value):
    """The journal has the event as it was told; its order's row says what the others say."""

    def poison(trader):
        life = [msgspec.json.decode(each) for each in trader.order()]
        life[3][4][field] = value
        return [msgspec.json.encode(each) for each in life]

    start, last, planted = written(stage, poison)
    place = 2 + 5 * EVENTS_PER_ORDER + 3
    assert stage.run_to_end(start) == 0
    assert stage.rejected() == [(place, "projection", "OrderFilled")]
    assert stage.value("SELECT raw FROM rejected_events") == planted[3]
    assert stage.seqs(start.run) == list(range(1, last + 1))
    assert stage.value("SELECT status FROM unified_orders WHERE client_order_id = 'O-6'") == "ACCEPTED"
    assert stage.value("SELECT count(*) FROM unified_fills") == 10
    assert stage.differences() == []


def test_an_id_that_no_index_takes_is_the_records_fault(stage):
    """A key of 9,000 bytes fails in the journal's own index: the raw bytes are what is left."""
    start, last, planted = written(stage, lambda trader: list(trader.order(client_order_id=LONG_ID))[:1], after=0)
    place = 2 + 5 * EVENTS_PER_ORDER
    last = place
    assert stage.run_to_end(start) == 0
    assert (place, "journal", "OrderInitialized") in stage.rejected()
    assert stage.value("SELECT raw FROM rejected_events WHERE stage = 'journal'") == planted[0]
    assert stage.seqs(start.run) == list(range(1, last))


def test_an_unknown_type_and_an_unknown_enum_are_in_the_journal(stage):
    """What a newer node writes is kept, also when no table knows what it means."""

    def poison(trader):
        strange = trader.record("OrderTeleported", {"client_order_id": "O-1", "where": "moon"})
        life = [msgspec.json.decode(each) for each in trader.order(order_side="SIDEWAYS")]
        return [strange, *(msgspec.json.encode(each) for each in life)]

    start, last, _ = written(stage, poison)
    assert stage.run_to_end(start) == 0
    assert stage.seqs(start.run) == list(range(1, last + 1))
    assert stage.value("SELECT count(*) FROM unified_orders WHERE status = 'FILLED'") == 10
    assert {kind for _, _, kind in stage.rejected()} <= {
        "OrderInitialized",
        "OrderSubmitted",
        "OrderAccepted",
        "OrderFilled",
    }
    assert {stage_name for _, stage_name, _ in stage.rejected()} == {"projection"}


def test_an_unencodable_event_keeps_its_number(stage):
    """What the node could not encode is in the journal as text, and among the rejected ones."""
    body = {"unencodable": "<strange>", "error": "TypeError"}
    start, last, _ = written(stage, lambda trader: [trader.record("OrderFilled", body)])
    assert stage.run_to_end(start) == 0
    assert stage.rejected() == [(2 + 5 * EVENTS_PER_ORDER, "projection", "OrderFilled")]
    assert stage.seqs(start.run) == list(range(1, last + 1))


@pytest.mark.parametrize("number", [HUGE, f"0.{'0' * 70}1", "Infinity", "NaN"], ids=["large", "small", "∞", "NaN"])
def test_a_number_of_a_decision_that_is_none_is_refused(stage, number):
    """The driver would make 0 of what is too large for it, without a word: no such number reaches the table."""
    ids = {"client_order_id": "O-1", "strategy_id": "S-000", "instrument_id": "X.Y", "ts_ns": 1}
    body = {**ids, "verdict": "refused", "limit": number, "value": "1"}
    start, last, planted = written(stage, lambda trader: [trader.record("RiskDecision", body)])
    assert stage.run_to_end(start) == 0
    assert stage.rejected() == [(2 + 5 * EVENTS_PER_ORDER, "projection", "RiskDecision")]
    assert stage.value("SELECT raw FROM rejected_events") == planted[0]
    assert stage.value("SELECT count(*) FROM risk_decisions") == 0
    assert stage.seqs(start.run) == list(range(1, last + 1))


def test_a_poisoned_price_is_left_out(stage):
    """It has no number, and the next price comes."""
    marks = payload(0, "Marks", {"marks": [["BTCUSDT-PERP.BINANCE", "cheap", 1]]})
    start, last, _ = written(stage, lambda trader: [*trader.order(), marks], before=0, after=0)
    assert stage.run_to_end(start) == 0
    assert stage.rejected() == []
    assert stage.seqs(start.run) == list(range(1, last + 1))
    assert stage.value("SELECT current_price FROM venue_positions") is None


def test_many_poisoned_records_among_many(stage):
    """Each is found; nothing else is touched."""
    start, trader = stage.start_run(), Trader()
    log = stage.begin_log(start)
    log.append(trader.instrument())
    expected = []
    for number in range(60):
        life = [msgspec.json.decode(each) for each in trader.order()]
        if number % 20 == 7:
            life[3][4]["trade_id"] = LONG_ID + str(number)
            expected.append((life[3][0], "projection", "OrderFilled"))
        log.append_many([msgspec.json.encode(each) for each in life])
    log.append(trader.end())
    log.close()
    assert stage.run_to_end(start) == 0
    assert stage.rejected() == expected
    assert stage.seqs(start.run) == list(range(1, trader.seq + 1))
    assert stage.value("SELECT count(*) FROM unified_fills") == 57
    assert stage.differences() == []


def test_a_defect_of_a_projection_costs_its_record_alone(stage, monkeypatch):
    """A fold that raises for one order rejects the projection of its events; the journal has them all."""
    start, last = stage.log_run(40)
    honest = Ledger.apply

    def broken(ledger, batch):
        if any(record.seq == 50 for record in batch):
            raise ValueError("planted\0defect")
        return honest(ledger, batch)

    monkeypatch.setattr(Ledger, "apply", broken)
    asyncio.run(Shipper(stage.order(start), Status(run_folder(stage.folder, start.run), start.run)).run())
    [(seq, at, _)] = stage.rejected()
    assert (seq, at) == (50, "projection")
    assert stage.value("SELECT error FROM rejected_events") == "ValueError: planteddefect"
    assert stage.seqs(start.run) == list(range(1, last + 1))
    assert stage.differences() == []


@pytest.mark.parametrize("what", ["payload", "length", "header"])
def test_damage_in_a_segment_costs_what_was_damaged(stage, what):
    """The records after it are found again; the segment is kept for a look; the state names it."""
    start, last = stage.log_run(60, segment_bytes_max=60_000)
    folder = run_folder(stage.folder, start.run)
    path = segment_path(folder, 2)
    data = bytearray(path.read_bytes())
    at = data.index(b"OrderAccepted") if what != "header" else 20
    begin = data.rindex(b"[", 0, at) if what != "header" else 20
    damaged = begin - 8 if what == "length" else at
    data[damaged] ^= 0xFF
    path.write_bytes(data)
    assert stage.run_to_end(start) == 0
    seqs = stage.seqs(start.run)
    lost = set(range(1, last + 1)) - set(seqs)
    assert len(lost) == (0 if what == "header" else 1)
    assert stage.progress(start.run) == (last, last)
    said = (stage.folder / "shipper.log").read_text()
    assert said.count("are damaged") == 1
    assert stage.state(start.run).last_error != ""
    assert (stage.folder / f"{start.run:06d}-00000002.corrupt").read_bytes() == bytes(data)


def test_a_torn_tail_of_a_killed_node_is_named_and_kept(stage):
    """Whether its last write was acknowledged nobody knows: what is left of it stays for a look."""
    start, last = stage.log_run(5, end=False)
    newest = segments(run_folder(stage.folder, start.run))[-1]
    torn = payload(last + 1, "OrderFilled", {})
    frame = len(torn).to_bytes(4, "little") + zlib.crc32(torn).to_bytes(4, "little") + torn
    with newest.open("ab") as file:
        file.write(frame[:-3])
    assert stage.run_to_end(start) == 0
    assert stage.progress(start.run) == (last, last)
    assert f"{len(frame) - 3} bytes" in stage.state(start.run).last_error
    kept = newest.read_bytes()
    newer, _ = stage.log_run(1, prefix="P")
    assert stage.run_to_end(newer) == 0
    assert not run_folder(stage.folder, start.run).exists()
    assert (stage.folder / f"{start.run:06d}-00000001.corrupt").read_bytes() == kept


def flip_length(path, at):
    """One bit, and the frame goes on behind the end of the file."""
    data = path.read_bytes()
    with path.open("r+b") as file:
        file.seek(at + 2)
        file.write(bytes([data[at + 2] | 0x08]))


def test_a_flipped_length_in_the_live_segment_costs_one_record(stage, wait_until):
    """What follows is shipped while the node lives: the file grew, so the frame was whole once."""
    start, trader = stage.start_run(), Trader()
    log = stage.begin_log(start)
    log.append(trader.instrument())
    [path] = segments(run_folder(stage.folder, start.run))
    at = path.stat().st_size
    log.append_many(list(trader.order()))
    flip_length(path, at)
    shipping = Shipping.start(stage.order(start))
    wait_until(lambda: shipping.state.shipped_seq == 1)
    log.append_many(list(trader.order()))
    wait_until(lambda: shipping.state.shipped_seq == trader.seq)
    assert "missing in the log" in shipping.state.last_error
    log.append(trader.end())
    log.close()
    assert not shipping.drain(20)
    shipping.close()
    state = shipping.state
    assert (state.phase, state.known_seq, state.missing) == ("ended", trader.seq, 1)
    assert stage.seqs(start.run) == [1, *range(3, trader.seq + 1)]
    assert "are damaged" in (stage.folder / "shipper.log").read_text()


def test_a_flipped_length_of_a_run_that_is_over_costs_one_record(stage):
    """No second look is needed when the writer is gone; the segment is kept when the folder goes."""
    start, trader = stage.start_run(), Trader()
    log = stage.begin_log(start)
    log.append(trader.instrument())
    [path] = segments(run_folder(stage.folder, start.run))
    at = path.stat().st_size
    log.append_many(list(trader.order()))
    log.append(trader.end())
    log.close()
    flip_length(path, at)
    damaged = path.read_bytes()
    assert stage.run_to_end(start) == 0
    assert stage.seqs(start.run) == [1, *range(3, trader.seq + 1)]
    assert stage.state(start.run).missing == 1
    newer, _ = stage.log_run(1, prefix="P")
    assert stage.run_to_end(newer) == 0
    assert (stage.folder / f"{start.run:06d}-00000001.corrupt").read_bytes() == damaged


def test_a_segment_that_somebody_deletes_is_no_end_in_order(stage, wait_until):
    """The state names it, and nobody is told that all is in the tables."""
    start, trader = stage.start_run(), Trader()
    log = stage.begin_log(start)
    log.append_many([trader.instrument(), *trader.order()])
    shipping = Shipping.start(stage.order(start))
    wait_until(lambda: shipping.state.shipped_seq == trader.seq)
    [path] = segments(run_folder(stage.folder, start.run))
    path.unlink()
    log.append_many([*trader.order(), trader.end()])
    log.close()
    assert not shipping.drain(20)
    shipping.close()
    assert (shipping.state.phase, shipping.state.missing) == ("ended", 1)
    assert "was deleted" in shipping.state.last_error


def test_a_missing_segment_is_a_gap_and_no_stop(stage):
    """The state names what is missing; the numbers go on after it."""
    start, last = stage.log_run(60, segment_bytes_max=60_000)
    segment_path(run_folder(stage.folder, start.run), 2).unlink()
    assert stage.run_to_end(start) == 0
    seqs = stage.seqs(start.run)
    assert 0 < len(seqs) < last
    assert (seqs[0], seqs[-1]) == (1, last)
    assert "missing in the log" in stage.state(start.run).last_error
    assert stage.progress(start.run) == (last, last)
