"""A defect of our own code in the shipper: it refuses no event, does not spin, is told, and is over with its cure."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

import psutil
import pytest
from shipper_log import EVENTS_PER_ORDER, Trader
from shipper_stage import Stage

from nautilus_ext.persistence.segments import run_folder
from nautilus_ext.persistence.shipper import launch
from nautilus_ext.persistence.shipper.launch import Shipping
from nautilus_ext.persistence.shipper.state import LOG_FILE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# Python reads it at its start, from the folder that PYTHONPATH names: the shipper itself is the real one.
DEFECT = """
import functools, importlib, os, pathlib, sys

def spoil(place, name):
    place = functools.reduce(getattr, place.split(":")[1:], importlib.import_module(place.split(":")[0]))
    real = getattr(place, name)
    def defective(*arguments, **options):
        if {is_hit} and not pathlib.Path({cured!r}).exists():
            raise {error}("a defect of the suite, with a secret-word of the record")
        return real(*arguments, **options)
    setattr(place, name, defective)

if sys.argv[:1] == ["-m"]:
    spoil({place!r}, {name!r})
"""
ORDERS, GUILTY = 12, "O-7"
BEFORE = 1 + 6 * EVENTS_PER_ORDER  # the instrument, and six orders
OF_ORDER = f"{GUILTY!r} in repr([getattr(each, 'client_order_id', None) for each in arguments])"


@pytest.fixture
def stage(database, tmp_path: Path) -> Iterator[Stage]:
    one = Stage(database.app_url, tmp_path)
    yield one
    one.kill()


class Defect(NamedTuple):
    """Where the code is spoiled, when, with what; and how far the tables come."""

    place: str
    name: str
    is_hit: str
    error: str
    durable: int


DEFECTS = {
    "event": Defect("nautilus_ext.persistence.orders:OrderState", "apply", OF_ORDER, "KeyError", BEFORE),
    "row": Defect("nautilus_ext.persistence.projections", "order_row", OF_ORDER, "TypeError", BEFORE),
    "elsewhere": Defect("nautilus_ext.persistence.shipper.tail:Tail", "read", "True", "RuntimeError", 0),
}


@pytest.fixture
def cured(tmp_path: Path, defect: Defect, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Spoil each process that starts from now on, until the file of this name exists."""
    cured, patches = tmp_path / "cured", tmp_path / "patches"
    patches.mkdir()
    (patches / "sitecustomize.py").write_text(DEFECT.format(cured=str(cured), **defect._asdict()))
    monkeypatch.setenv("PYTHONPATH", str(patches))
    monkeypatch.setattr(launch, "RESPAWN_S_MAX", 1.0)
    return cured


@pytest.mark.parametrize("defect", DEFECTS.values(), ids=DEFECTS)
def test_a_defect_refuses_nothing_and_is_over_when_it_is_cured(
    stage: Stage, defect: Defect, cured: Path, caplog: pytest.LogCaptureFixture, wait_until: Callable[..., None]
) -> None:
    """What comes before it is in the tables; the shipper starts again by itself, more and more slowly."""
    start, last = stage.log_run(ORDERS)
    with caplog.at_level(logging.WARNING):
        shipping = Shipping.start(stage.order(start))
        wait_until(lambda: len([each for each in caplog.records if each.levelno == logging.CRITICAL]) >= 3, 60)
    said = shipping.state.last_error
    assert defect.error in said
    assert "no event is lost, all wait in the local log" in said
    assert "secret-word" not in said + caplog.text
    assert [] == stage.rejected()
    assert stage.progress(start.run)[0] == defect.durable
    starts = (stage.folder / LOG_FILE).read_text().count("Traceback")
    assert 3 <= starts <= 5, "it does not spin"
    cured.touch()
    assert shipping.drain(60), stage.state(start.run)
    shipping.close()
    assert stage.seqs(start.run) == list(range(1, last + 1))
    assert ([], []) == (stage.rejected(), stage.differences())
    assert ORDERS == stage.value("SELECT count(*) FROM unified_orders WHERE status = 'FILLED'")


def test_a_defect_in_the_watch_over_the_shipper_is_told_and_a_start_anew_goes_on(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, wait_until: Callable[..., None]
) -> None:
    """Nobody starts the next one, and nobody believes that all is durable; the log keeps what waits."""
    start, trader = stage.start_run(), Trader()
    log = stage.begin_log(start)
    log.append(trader.instrument())
    shipping = Shipping.start(stage.order(start))
    wait_until(lambda: stage.progress(start.run)[0] == 1 and shipping.state.pid, 30)
    real = launch.read_state
    monkeypatch.setattr(launch, "read_state", None)
    killed = real(run_folder(stage.folder, start.run)).pid
    psutil.Process(killed).kill()
    wait_until(lambda: "nobody looks after its shipper any more" in caplog.text, 30)
    monkeypatch.setattr(launch, "read_state", real)
    (told,) = [each for each in caplog.records if each.levelno == logging.CRITICAL]
    assert "events wait in the local log, start the node anew" in told.getMessage()
    assert not shipping.drain(30)
    assert killed == shipping.state.pid, "nobody started another one"
    shipping.close()
    log.append_many([*trader.order(), trader.end()])
    log.close()
    anew = Shipping.start(stage.order(start))
    assert anew.drain(60), stage.state(start.run)
    anew.close()
    assert list(range(1, trader.seq + 1)) == stage.seqs(start.run)
