"""Database, network, disk and shipper go and come back: the desk trades on, and afterwards everything is there.

Each outage prints the longest pause of the node's loop beside that of the same run without one.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import outages
import pytest
from exchange_ledger import Ledger
from outage_desk import BOOK, MORE_MS_MAX, Desk, behind, quiet
from outage_proxy import Proxy
from pulse import frozen

from nautilus_ext.embedded import EmbeddedPostgres
from nautilus_ext.schema.upgrade import upgrade

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.timeout(300)

QUIET_S = 2.0
LASTS_S = 1.5
UPGRADE_S = 30.0
LOG_DISK_MB, DATABASE_DISK_MB = 2, 200
INTENDED = """SELECT DISTINCT coalesce(client_order_id, of_list) FROM order_events
                LEFT JOIN LATERAL jsonb_array_elements_text(payload -> 'client_order_ids') AS of_list ON true
               WHERE book_id = $1 AND type = 'Intent' AND payload ->> 'command' LIKE 'SubmitOrder%' ORDER BY 1"""
SENT = "SELECT DISTINCT client_order_id FROM order_events WHERE book_id = $1 AND type = 'OrderSubmitted' ORDER BY 1"
FROZEN_MIN = 100_000  # objects; the engine and pandas alone have more
BOUND = 100_000  # bytes, a few seconds of this desk
BOUND_S_MAX = 30.0


@pytest.fixture
def server(server_folder: Path) -> Iterator[EmbeddedPostgres]:
    """A server of the test's own, which may be hurt."""
    with EmbeddedPostgres.join(server_folder) as one:
        upgrade(one.owner_url, one.app_url, timeout_s=UPGRADE_S)
        yield one


@pytest.fixture
def proxy(server: EmbeddedPostgres) -> Iterator[Proxy]:
    with Proxy(server.port) as one:
        yield one


@pytest.fixture
def open_desk(server: EmbeddedPostgres, proxy: Proxy, tmp_path: Path) -> Iterator[Callable[..., Desk]]:
    made: list[Desk] = []

    def start(**persistence: Any) -> Desk:
        made.append(Desk(tmp_path, behind(server.app_url, proxy), **persistence))
        made[-1].start()
        return made[-1]

    yield start
    for each in made:
        each.close()


def assert_trades_on(seen: outages.Seen) -> None:
    print(seen)
    assert seen.orders > 0, seen
    assert seen.more_ms <= MORE_MS_MAX, seen


def test_whatever_becomes_of_the_database_and_the_shipper_the_desk_trades_on(server, proxy, open_desk):
    """One outage after the other in one run; then each record is in the journal once, and the exchange agrees."""
    desk = open_desk(unshipped_bytes_max=BOUND)
    calm = quiet(desk, QUIET_S)
    stage = outages.Stage(desk, proxy, server, LASTS_S)
    for outage in (*outages.DATABASE, *outages.SHIPPER):
        assert_trades_on(outages.suffer(outage, stage, calm))
    assert desk.stop() == 0, desk.output
    assert frozen(desk.pulse) > FROZEN_MIN, "a full collection walks all that was imported, and the loop waits for it"
    assert "more than persistence.unshipped_bytes_max (100,000): the node trades on; get the database" in desk.output
    print(desk.judge())


def test_a_full_disk_of_the_log_costs_no_event(proxy, server, tmp_path):
    """What the disk refuses waits in memory and is written in its order; the shipper gets on as far as it can."""
    with outages.small_disk(tmp_path / "data" / "journal", LOG_DISK_MB):
        desk = Desk(tmp_path, behind(server.app_url, proxy), segment_bytes_max=100_000)
        try:
            desk.start()
            stage = outages.Stage(desk, proxy, server, LASTS_S)
            assert_trades_on(outages.suffer(outages.log_disk_full, stage, quiet(desk, QUIET_S)))
            assert desk.stop() == 0, desk.output
            print(desk.judge())
        finally:
            desk.close()


def test_a_full_disk_of_the_database_costs_no_event(server_folder, tmp_path):
    """The server refuses, or goes down for it; with space it comes back, and the shipper has what it lacks.

    The policy is `power`: the log's own disk is well, so nothing waits longer for it than usual.
    """
    with outages.small_disk(server_folder.with_name("full"), DATABASE_DISK_MB) as folder:
        shutil.copytree(server_folder / "cluster", folder / "cluster")
        with EmbeddedPostgres.join(folder) as server, Proxy(server.port) as proxy:
            upgrade(server.owner_url, server.app_url, timeout_s=UPGRADE_S)
            desk = Desk(tmp_path, behind(server.app_url, proxy), flush="power")
            try:
                desk.start()
                stage = outages.Stage(desk, proxy, server, LASTS_S)
                assert_trades_on(outages.suffer(outages.disk_full, stage, quiet(desk, QUIET_S)))
                assert desk.stop() == 0, desk.output
                print(desk.judge())
                assert [tuple(row) for row in desk.rows(INTENDED)] == [tuple(row) for row in desk.rows(SENT)]
            finally:
                desk.close()


def test_past_the_bound_a_halt_takes_no_new_orders_and_says_so(proxy, open_desk):
    """The database is away: what opens is denied, what closes and what cancels goes on; back again, all goes on."""
    desk = open_desk(unshipped_bytes_max=BOUND, on_unshipped="halt")
    proxy.cut()
    desk.until(lambda: desk.denied("UNSHIPPED_HALT"), "the halt", BOUND_S_MAX)
    desk.until(lambda: "no new orders until it is less" in desk.output, "the alert", BOUND_S_MAX)
    (alert,) = [line for line in desk.output.splitlines() if "no new orders until it is less" in line][:1]
    print(alert)
    assert "bytes wait for the database, more than persistence.unshipped_bytes_max (100,000)" in alert
    assert "get the database back" in alert
    refused, orders = desk.denied("UNSHIPPED_HALT"), desk.orders()
    desk.until(lambda: desk.denied("UNSHIPPED_HALT") > refused + 10, "more refusals", BOUND_S_MAX)
    new = Ledger(desk.data / "exchange" / "paper", BOOK).orders[orders:]
    proxy.mend()
    desk.until_caught_up()
    orders = desk.orders()
    desk.until(lambda: desk.orders() > orders + 10, "new orders", BOUND_S_MAX)
    assert desk.stop() == 0, desk.output
    assert {"SELL"} == {order["side"] for order in new}, "what came through only closed the position"
    print(desk.judge())
