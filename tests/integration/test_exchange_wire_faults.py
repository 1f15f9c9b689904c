"""A raw client that follows the wire's rules trades under random faults, and knows in the end what the ledger knows.

SEED=n repeats a run, RUNS=n makes more of them.
"""

from __future__ import annotations

import os
import random
import time

import msgspec
import pytest
from exchange_client import SPOT, START_S, LinkLost, RawClient, faults_told, welcomed
from exchange_killer import Trader, brisk_world
from exchange_ledger import Ledger
from exchange_recount import adds_up, keeps_its_word

from nautilus_ext.simulation import wire
from nautilus_ext.simulation.faults import ITEM_FAULTS, REQUEST_FAULTS, Faults
from nautilus_ext.simulation.server import launch

pytest_plugins = ["exchange_fixtures"]

SEED = int(os.environ.get("SEED") or random.randrange(2**32))
RUNS = int(os.environ.get("RUNS") or 10)
ACTIONS = 300
QUIET_S = 10.0
FAULTS_MIN = 5
ON_THEIR_WAY_MAX = 20
PATIENCE_S = 0.02  # then some answers were lost for good


@pytest.mark.timeout(60 + 20 * RUNS)
@pytest.mark.parametrize("seed", [SEED + run for run in range(RUNS)])
def test_under_faults_the_stream_is_whole_and_no_order_stays_unknown(exchange_folder, seed):
    """Every item once and in order, each ambiguous order found or known to be absent, and the books add up."""
    print(f"SEED={seed}")
    rnd = random.Random(seed)
    trader = Trader(RawClient("SIM1", "one"), SPOT, rnd)
    faulty = _Connected(exchange_folder, trader.client)
    faulty.patiently(trader.look)
    faulty.set_faults(_random_faults(rnd, seed))
    for _ in range(ACTIONS):
        faulty.patiently(trader.act)
        faulty.patiently(lambda: trader.client.wait(lambda: trader.client.unanswered < ON_THEIR_WAY_MAX, PATIENCE_S))
    faulty.set_faults(Faults())
    unknown = faulty.resolve()
    faulty.come_to_rest()
    told = faults_told(exchange_folder)
    print(dict(told), f"unknown={unknown} lost={trader.client.lost} links={faulty.links} run={faulty.run}")
    ledger = Ledger(exchange_folder)
    keeps_its_word(ledger, trader.client)
    adds_up(ledger, faulty.world)
    assert told.total() >= FAULTS_MIN, "hardly any fault: the run says nothing"


def _random_faults(rnd: random.Random, seed: int) -> Faults:
    rates = {kind: rnd.uniform(0.0, 0.03) for kind in (*REQUEST_FAULTS, *ITEM_FAULTS)}
    rates["restart"] = rnd.uniform(0.0, 0.004)
    return Faults(seed=seed, rates=rates, late_ms=rnd.randint(1, 100))


class _Connected:
    """Connects again whenever the link is lost, as often as it takes."""

    def __init__(self, folder, client: RawClient) -> None:
        self.world = brisk_world()
        self._folder = folder
        self._client = client
        self._faults: bytes | None = None
        self.links = 0
        self.run = 0

    def patiently(self, act) -> None:
        while True:
            try:
                if not self._client.is_connected:
                    self._connect()
                act()
            except LinkLost:
                continue
            return

    def _connect(self) -> None:
        address = launch.ensure(self._folder, self.world, START_S)
        self.links += 1
        try:
            welcome = welcomed(self._client.connect(address))
        except ConnectionError as error:
            raise LinkLost("it is just restarting") from error
        if self._faults is not None and welcome.run != self.run:  # a server that began anew has those of its world
            self._client.control("faults", faults=self._faults)
        self.run = welcome.run

    def set_faults(self, faults: Faults) -> None:
        self._faults = msgspec.json.encode(faults)
        self.patiently(lambda: self._client.control("faults", faults=self._faults))

    def resolve(self) -> int:
        """Ask for each order of an unanswered Place: it is there, or it never arrived. How many there were."""
        unanswered = [request for number, request in self._client.sent.items() if number not in self._client.answers]
        ids = [order.client_order_id for each in unanswered if isinstance(each, wire.Place) for order in each.orders]
        for name in ids:
            answer = self._client.ask(wire.GetOrders, client_order_id=name)
            assert isinstance(answer, wire.Orders)
            assert self._client.wait(lambda answer=answer: self._client.last_seq >= answer.seq or self._resume())
            seen = {event.order.client_order_id for event in self._client.items.values() if hasattr(event, "order")}
            assert (name in seen) == bool(answer.orders), f"{name}: the stream and the orders say different things"
        return len(ids)

    def _resume(self) -> None:
        self._client.ask(wire.Resume, after=self._client.last_seq)

    def come_to_rest(self) -> None:
        """Take everything back and pause; then the stream has an end, and the client has all of it."""
        self._client.control("pause")
        self._client.done(wire.CancelAll)
        answer = self._client.ask(wire.GetOrders, open_only=True)
        assert answer.orders == ()
        give_up_s = time.monotonic() + QUIET_S
        while self._client.last_seq < answer.seq:
            assert time.monotonic() < give_up_s, (self._client.last_seq, answer.seq)
            self._resume()
        assert self._client.last_seq == max(self._client.items) == answer.seq
