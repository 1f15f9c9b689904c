"""What judges a soak says "not flat" when memory or lag are not: of figures that were made up, and of a real node."""

from __future__ import annotations

import random

import msgspec
import pytest
import soak_judge
import soak_page
import soak_run
from soak_run import Inside, Memory, Outside, Record

from nautilus_ext.embedded import postmaster

MB = 1_000_000
MINUTES = 30
EVENTS_PER_S = 50
LEAK = {"actor_path": "soak_leak:Leak", "config_path": "nautilus_trader.common.config:ActorConfig", "config": {}}
SOAK_S = 8.0
STOP_S_MAX = 20.0


def record(*, node_mb_per_min=0.0, shipper_mb_per_min=0.0, late_ms_per_min=0.0, behind_per_min=0.0, log_bytes=0):
    """Half an hour in which things wobble, and rise as the test asks."""
    rnd = random.Random(1)

    def memory(base_mb, mb_per_min, minute):
        uss = round((base_mb + mb_per_min * minute + rnd.uniform(-1, 1)) * MB)
        return Memory(uss, uss, uss + 10 * MB, uss + 90 * MB)

    minutes = [number / 12 for number in range(MINUTES * 12)]
    return Record(
        usual_rate=24.0,
        seconds=MINUTES * 60.0,
        outside=[
            Outside(
                at_s=each * 60,
                node=memory(230, node_mb_per_min, each),
                shipper=memory(25, shipper_mb_per_min, each),
                log_bytes=log_bytes,
            )
            for each in minutes
        ],
        inside=[
            Inside(
                at_s=each * 60,
                seq=round(each * 60 * EVENTS_PER_S) + 100,
                shipped_seq=round(each * 60 * EVENTS_PER_S + 100 - rnd.uniform(0, 20) - behind_per_min * each),
                orders=100, positions=5, position_events=9, account_events=700,
            )
            for each in minutes
        ],
        visible=[(each * 60, 30 + rnd.expovariate(0.05) + late_ms_per_min * each) for each in minutes],
        exit_code=0,
        output="",
        audit_code=0,
        audit="proven equal",
    )  # fmt: skip


def not_flat(**given) -> set[str]:
    return {check.what.partition(",")[0] for check in soak_judge.judge(record(**given)) if not check.passes}


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({}, set()),
        ({"node_mb_per_min": 1.0}, {"node"}),
        ({"shipper_mb_per_min": 0.2}, {"shipper"}),
        ({"late_ms_per_min": 10.0}, {"event to visible"}),
        ({"behind_per_min": 10.0}, {"events behind"}),
        ({"log_bytes": 50 * MB}, {"local log on disk"}),
    ],
)
def test_what_rises_is_not_flat(given, found):
    """Each of them by itself; and wobbling alone is flat."""
    assert found == not_flat(**given)


def test_a_node_that_is_not_busy_says_nothing():
    assert soak_judge.is_busy(record())
    assert not soak_judge.is_busy(msgspec.structs.replace(record(), usual_rate=26.0))


def test_the_page_says_what_was_not_flat():
    assert "NOT FLAT" not in soak_page.page(record(), record(), 0.1)
    assert "NOT FLAT" in soak_page.page(record(node_mb_per_min=1.0), record(), 0.1)
    assert "node, slope of its memory" in soak_page.line(record(node_mb_per_min=1.0))
    assert soak_page.line(record()).endswith("ms: flat")


def test_a_real_node_that_leaks_is_found_out(tmp_path, wait_until):
    """All of the way: a busy node with its shipper, looked at from both sides; only the node leaks."""
    folder = tmp_path / "data"
    found = soak_run.soak(folder, soak_run.doubled(folder, actors=[LEAK]), SOAK_S, 1.0)
    wait_until(lambda: postmaster.is_free(folder / "postgres", postmaster.WATCHER_LOCK), STOP_S_MAX)
    assert (0, 0) == (found.exit_code, found.audit_code), (found.output, found.audit)
    failed = [check.what for check in soak_judge.judge(found) if not check.passes]
    assert "node, slope of its memory" in failed
    assert len(found.visible) > SOAK_S
    assert soak_judge.is_busy(found)
