"""Alerts leave the node: log, bus, table, webhook; each way by itself, whatever the others meet."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import socket
import time

import asyncpg
import pytest
from alert_receiver import BOOK, SECRET, Office, Receiver, receiving, started_run, webhook

from nautilus_ext.messages import ALERT, ALERTS, MIRROR_STATE, RISK_DECISIONS, MirrorState, RiskDecision
from nautilus_ext.risk import telling
from nautilus_ext.risk.alerts import Alert, alert
from nautilus_ext.schema.alerts import Teller

DEAD_URL = "postgresql://nobody:planted-pw@127.0.0.1:1/none"
NOW = time.time_ns


def an_alert(code="BREAKER_LOSS", scope="node", severity="critical", text="lost 12 USDT"):
    return alert(code, scope, severity, text, NOW())


@pytest.fixture
async def office(monkeypatch):
    """What these tests leave untold is not waited for."""
    monkeypatch.setattr(telling, "DRAIN_S_MAX", 0.05)
    office = Office()
    office.desk.start()
    yield office
    office.close()


@pytest.fixture
def receiver():
    with receiving() as receiver:
        yield receiver


def opened(office, teller, *, url=DEAD_URL, hook=None):
    office.desk.open(lambda: url, teller, webhook=hook, connect_timeout_s=2.0)


async def until(condition, timeout_s=10.0):
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "not true in time"
        await asyncio.sleep(0.01)


async def rows(database):
    connection = await asyncpg.connect(database.app_url)
    try:
        found = await connection.fetch("SELECT * FROM alerts WHERE book_id = $1 ORDER BY run, number", BOOK)
    finally:
        await connection.close()
    return [dict(row) for row in found]


async def until_rows(database, count, timeout_s=10.0):
    deadline_s = time.monotonic() + timeout_s
    while len(found := await rows(database)) < count:
        assert time.monotonic() < deadline_s, found
        await asyncio.sleep(0.02)
    return found


# -- all four ways ----------------------------------------------------------------------------------


@pytest.mark.row(17, "told")
async def test_an_alert_is_told_in_four_ways_within_five_seconds(database, office, receiver, caplog):
    """A line of the log, a message on the bus, a row, a signed request."""
    teller = await started_run(database.app_url)
    opened(office, teller, url=database.app_url, hook=webhook(receiver.url))
    heard = []
    office.bus.subscribe(ALERTS, heard.append)
    began_s = time.monotonic()
    with caplog.at_level(logging.WARNING, "nautilus_ext"):
        office.bus.publish(ALERT, an_alert())
        (row,) = await until_rows(database, 1)
        await until(lambda: receiver.taken)
    assert time.monotonic() - began_s < 5.0
    assert ["CRITICAL BREAKER_LOSS node: lost 12 USDT"] == [str(each) for each in heard]
    assert ("CRITICAL", "CRITICAL BREAKER_LOSS node: lost 12 USDT") in [
        (each.levelname, each.getMessage()) for each in caplog.records
    ]
    told = {key: row[key] for key in ("run", "number", "code", "scope", "severity", "text", "count")}
    assert told == {
        "run": teller.run, "number": 1, "code": "BREAKER_LOSS", "scope": "node", "severity": "critical",
        "text": "lost 12 USDT", "count": 1,
    }  # fmt: skip
    assert {**told, "book_id": BOOK, "ts_ns": row["ts_ns"]} == receiver.taken[0]


async def test_a_webhook_can_check_who_sent_it_and_when(office, receiver):
    """With the secret and what arrived, and nothing else."""
    opened(office, Teller(BOOK, 1, 1), hook=webhook(receiver.url))
    office.bus.publish(ALERT, an_alert())
    await until(lambda: receiver.taken)
    headers, body = receiver.requests[0]
    signed = headers["x-suite-timestamp"].encode() + b"." + body
    expected = hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
    assert f"sha256={expected}" == headers["x-suite-signature"]
    assert abs(int(headers["x-suite-timestamp"]) - time.time()) < 60
    assert "application/json" == headers["content-type"]


async def test_the_same_alert_a_thousand_times_is_one_message(office, receiver):
    """And a worse one of its like is told at once."""
    opened(office, Teller(BOOK, 1, 1), hook=webhook(receiver.url))
    for _ in range(1_000):
        office.bus.publish(ALERT, an_alert(severity="warning"))
    office.bus.publish(ALERT, an_alert())
    await until(lambda: len(receiver.taken) == 2)
    await asyncio.sleep(0.1)
    assert ["warning", "critical"] == [each["severity"] for each in receiver.taken]


async def test_what_comes_again_is_told_when_it_is_quiet_time_over(receiver):
    """By the desk's own clock, without another alert, and with how often it came."""
    office = Office(quiet_s=1.0)
    office.desk.start()
    opened(office, Teller(BOOK, 1, 1), hook=webhook(receiver.url))
    for _ in range(5):
        office.bus.publish(ALERT, an_alert())
    await until(lambda: len(receiver.taken) == 2)
    office.close()
    assert [1, 4] == [each["count"] for each in receiver.taken]


# -- who raises them --------------------------------------------------------------------------------


@pytest.mark.row(17, "told")
async def test_a_refusal_of_the_gate_is_an_alert(office):
    heard = []
    office.bus.subscribe(ALERTS, heard.append)
    of = {"client_order_id": "O-1", "strategy_id": "S-001", "instrument_id": "BTCUSDT.SIM1", "ts_ns": NOW()}
    office.bus.publish(RISK_DECISIONS, RiskDecision(**of, verdict="approved"))
    office.bus.publish(
        RISK_DECISIONS,
        RiskDecision(
            **of, verdict="refused", code="MAX_ORDER_QUANTITY", scope="global", unit="BTC", limit=2, would_be=3
        ),
    )
    assert [
        "WARNING MAX_ORDER_QUANTITY global: order O-1 of S-001 in BTCUSDT.SIM1 refused: limit 2, it would be 3 BTC"
    ] == [str(each) for each in heard]


async def test_trouble_of_the_journal_is_told_once_and_again_when_it_is_another(office):
    """Its figures grow each second."""
    heard = []
    office.bus.subscribe(ALERTS, heard.append)
    for error in ("1,000 bytes wait", "2,000 bytes wait", "", "3,000 bytes wait"):
        office.bus.publish(MIRROR_STATE, MirrorState(BOOK, 1, 10, 5, 1_000, error))
    assert ["1,000 bytes wait"] == [each.text for each in heard]  # the second is of its like, and comes later


async def test_a_critical_line_of_the_suite_is_an_alert_from_any_thread(office):
    """What the desk itself says is none: it would go round."""
    heard = []
    office.bus.subscribe(ALERTS, heard.append)
    line = logging.getLogger("nautilus_ext.persistence.run_log").critical
    await asyncio.to_thread(line, "the memory for events is full: %s lost", 3)
    logging.getLogger("nautilus_ext.persistence.run_log").error("no alert")
    await until(lambda: heard)
    await asyncio.sleep(0.05)
    assert ["CRITICAL CRITICAL_PERSISTENCE_RUN_LOG node: the memory for events is full: 3 lost"] == [
        str(each) for each in heard
    ]


async def test_a_subscriber_that_fails_ends_nothing(office, receiver):
    def failing(_):
        raise RuntimeError("a subscriber's defect")

    opened(office, Teller(BOOK, 1, 1), hook=webhook(receiver.url))
    office.bus.subscribe(ALERTS, failing)
    office.bus.publish(ALERT, an_alert())
    office.bus.publish(ALERT, an_alert(code="OTHER"))
    await until(lambda: receiver.numbers == [1, 2])


# -- the webhook meets what there is ----------------------------------------------------------------


async def test_an_alert_is_tried_again_until_it_is_taken(office, receiver):
    """500, 503, 429, and one answer that does not come in time."""
    receiver.answers = [500, 503, 429]
    opened(office, Teller(BOOK, 1, 1), hook=webhook(receiver.url))
    office.bus.publish(ALERT, an_alert())
    await until(lambda: receiver.numbers == [1])
    assert 4 == len(receiver.requests)
    assert 1 == len({body for _, body in receiver.requests})


@pytest.mark.parametrize("status", [301, 400, 404, 410])
async def test_what_will_not_be_taken_is_given_up_at_once(office, receiver, caplog, status):
    """A redirect leads elsewhere, and 410 is for good; the next alert is tried anew."""
    receiver.answers = [status]
    opened(office, Teller(BOOK, 1, 1), hook=webhook(receiver.url))
    office.bus.publish(ALERT, an_alert())
    office.bus.publish(ALERT, an_alert(code="NEXT"))
    await until(lambda: receiver.numbers == [2])
    assert 2 == len(receiver.requests)
    assert f"did not take alert 1 (BREAKER_LOSS): it answered {status}" in caplog.text


async def test_a_slow_receiver_holds_nothing_up_but_its_own_queue(database, office, receiver):
    """The bus goes on at once, rows are written meanwhile."""
    receiver.answers = [-0.4, -0.4]
    opened(office, await started_run(database.app_url), url=database.app_url, hook=webhook(receiver.url, timeout_s=2.0))
    began_s = time.monotonic()
    for code in ("A", "B", "C"):
        office.bus.publish(ALERT, an_alert(code=code))
    assert time.monotonic() - began_s < 0.2
    await until_rows(database, 3)
    await until(lambda: receiver.numbers == [1, 2, 3])


async def test_a_receiver_without_an_answer_is_given_up_after_its_attempts(office, caplog):
    """Something listens and says nothing: each attempt has its time, and all of them an end."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/key-in-the-path"
        opened(office, Teller(BOOK, 1, 1), hook=webhook(url, timeout_s=0.1, attempts=2))
        office.bus.publish(ALERT, an_alert())
        await until(lambda: "did not take alert 1" in caplog.text)
    assert "no answer within 0.1 s" in caplog.text
    assert "key-in-the-path" not in caplog.text
    assert SECRET not in caplog.text


async def test_a_receiver_that_comes_back_gets_what_it_missed(office):
    """Refused connections, then somebody is there."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    opened(office, Teller(BOOK, 1, 1), hook=webhook(f"http://127.0.0.1:{port}/"))
    office.bus.publish(ALERT, an_alert())
    await asyncio.sleep(0.3)
    receiver = Receiver(port)
    try:
        await until(lambda: receiver.numbers == [1])
    finally:
        receiver.close()


async def test_what_waits_is_bounded_and_the_oldest_goes_first(office, receiver, monkeypatch, caplog):
    monkeypatch.setattr(telling, "WAITING_MAX", 3)
    receiver.answers = [-0.3]
    opened(office, Teller(BOOK, 1, 1), hook=webhook(receiver.url, timeout_s=2.0))
    office.bus.publish(ALERT, an_alert(code="C0"))
    await until(lambda: receiver.requests)
    for number in range(1, 6):
        office.bus.publish(ALERT, an_alert(code=f"C{number}"))
    await until(lambda: receiver.numbers and receiver.numbers[-1] == 6)
    assert [1, 4, 5, 6] == receiver.numbers  # the first was on its way
    assert "more than 3 alerts wait for the webhook" in caplog.text


# -- the table --------------------------------------------------------------------------------------


async def test_rows_wait_for_a_database_that_is_away(database, office, caplog):
    """They are told meanwhile, and come in their order, once."""
    teller = await started_run(database.app_url)
    address = [DEAD_URL]
    office.desk.open(lambda: address[0], teller, webhook=None, connect_timeout_s=2.0)
    for code in ("A", "B"):
        office.bus.publish(ALERT, an_alert(code=code))
    await until(lambda: "alerts wait for the table" in caplog.text)
    assert "planted-pw" not in caplog.text
    address[0] = database.app_url
    assert ["A", "B"] == [row["code"] for row in await until_rows(database, 2)]


async def test_more_than_fit_into_one_write_come_all_and_in_their_order(database, office, monkeypatch):
    monkeypatch.setattr(telling, "ROWS_AT_ONCE", 3)
    opened(office, await started_run(database.app_url), url=database.app_url)
    for number in range(8):
        office.bus.publish(ALERT, an_alert(code=f"C{number}"))
    assert [f"C{number}" for number in range(8)] == [row["code"] for row in await until_rows(database, 8)]


async def test_a_lost_connection_costs_no_row_and_doubles_none(database, office):
    opened(office, await started_run(database.app_url), url=database.app_url)
    office.bus.publish(ALERT, an_alert(code="A"))
    await until_rows(database, 1)
    connection = await asyncpg.connect(database.app_url)
    name = f"exec-suite alerts {BOOK}"
    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1"
    assert 1 == len(await connection.fetch(end, name))
    await connection.close()
    office.bus.publish(ALERT, an_alert(code="B"))
    assert ["A", "B"] == [row["code"] for row in await until_rows(database, 2)]


async def test_a_node_that_lost_its_book_writes_no_alert(database, office, caplog):
    teller = await started_run(database.app_url)
    await started_run(database.app_url)
    opened(office, teller, url=database.app_url)
    office.bus.publish(ALERT, an_alert())
    await until(lambda: "this one writes no alert any more" in caplog.text)
    assert [] == await rows(database)


async def test_what_is_told_at_the_end_still_gets_out(database, receiver):
    """And the end is bounded where it cannot."""
    office = Office()
    office.desk.start()
    opened(office, await started_run(database.app_url), url=database.app_url, hook=webhook(receiver.url))
    office.bus.publish(ALERT, an_alert())
    assert 0 == await asyncio.to_thread(office.close)
    assert [1] == receiver.numbers
    assert 1 == len(await rows(database))
    office = Office()
    office.desk.start()
    opened(office, Teller(BOOK, 1, 1))
    office.bus.publish(ALERT, an_alert())
    began_s = time.monotonic()
    assert 1 == await asyncio.to_thread(office.close)
    assert time.monotonic() - began_s < telling.DRAIN_S_MAX + telling.JOIN_S_MAX + 0.5


async def test_secrets_get_into_no_row_and_no_request(database, office, receiver):
    """The log masks its lines when it writes them; a critical one is an alert before that."""
    office.desk.open(
        lambda: database.app_url,
        await started_run(database.app_url),
        webhook=webhook(receiver.url),
        connect_timeout_s=2.0,
        mask=lambda text: text.replace("planted-key", "***"),
    )
    logging.getLogger("nautilus_ext.risk.gate").critical("401 for planted-key")
    (row,) = await until_rows(database, 1)
    await until(lambda: receiver.taken)
    assert "401 for ***" == row["text"] == receiver.taken[0]["text"]


async def test_whatever_somebody_publishes_can_be_written(database, office):
    """A text that no table takes would hold up all that come after it."""
    opened(office, await started_run(database.app_url), url=database.app_url)
    odd = Alert(code="A\x00B", scope="venue=\ud800", severity="warning", text="x" * 10_000 + "\x1b[2J", ts_ns=NOW())
    office.bus.publish(ALERT, odd)
    office.bus.publish(ALERT, "no alert at all")
    office.bus.publish(ALERT, an_alert(code="NEXT"))
    found = await until_rows(database, 2)
    assert [("A B", "venue=?"), ("NEXT", "node")] == [(row["code"], row["scope"]) for row in found]
    assert 500 == len(found[0]["text"])


# -- latency ----------------------------------------------------------------------------------------


@pytest.mark.row(17, "told")
async def test_the_slowest_of_a_hundred_is_told_well_within_five_seconds(database, office, receiver):
    """From the moment that it was raised to the receiver's hands; the table is written beside it."""
    opened(office, await started_run(database.app_url), url=database.app_url, hook=webhook(receiver.url, timeout_s=2.0))
    raised_ns = []
    for number in range(110):  # 60 of each severity in a minute are told at once
        raised_ns.append(NOW())
        office.bus.publish(ALERT, an_alert(code=f"C{number}", severity="critical" if number % 2 else "warning"))
        await asyncio.sleep(0.005)
    await until(lambda: len(receiver.taken) >= 110)
    late_ms = sorted((came - raised) / 1e6 for came, raised in zip(receiver.came_ns, raised_ns, strict=True))
    p50, p99 = late_ms[len(late_ms) // 2], late_ms[int(len(late_ms) * 0.99)]
    print(f"alert latency to the webhook: p50 {p50:.1f} ms, p99 {p99:.1f} ms of {len(late_ms)}")
    assert p99 < 5_000
