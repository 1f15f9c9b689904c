"""What the suite's own actors and threads do wrong ends no trading, loses no event, and never happens in silence."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import psutil
import pytest
from conftest import CONFIGS

from nautilus_ext.persistence.shipper.state import read_state

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Shell

BOOK = "PAPER-001.paper"
HERE = str(CONFIGS.parent / "tests" / "acceptance")
TOLD = (  # by the place where it failed
    "the mirror goes on without: write marks",
    "the mirror goes on without: look around",
    "an event could not be logged; further ones are only counted",
    "the portfolio store failed at a question",
    "old signals could not be cleaned up",
    "the log failed for a moment: RuntimeError: boom in _tell_lost",
    "no shipper could be started: boom in _spawn",
    "the screen cannot show the node and stands still",
)


@pytest.mark.timeout(150)
def test_a_failure_in_each_actor_and_thread_is_told_and_outlived(
    shell: Shell, config: Callable[..., str], wait_until: Callable[..., None]
) -> None:
    """Nine places fail at once while a desk trades, and its shipper is killed: it trades on, and all is proven."""
    entry = {"strategy_path": "saboteur:Saboteur", "config_path": "saboteur:SaboteurConfig"}
    strategies = json.loads((CONFIGS / "paper.json").read_text())["strategies"]
    path = config(strategies=[{**entry, "config": {"order_id_tag": "900"}}, *strategies])
    node = shell.start(path, PYTHONPATH=HERE)
    node.until("position opened", 60)
    shipper = read_state(shell.data / "journal" / BOOK / "000001").pid
    psutil.Process(shipper).kill()
    written = lambda: json.dumps(shell.records(BOOK))  # noqa: E731
    wait_until(lambda: all(text in written() for text in TOLD), 60)
    wait_until(lambda: read_state(shell.data / "journal" / BOOK / "000001").pid not in (0, shipper), 30)
    filled = node.output.count("order filled")
    wait_until(lambda: node.output.count("order filled") > filled + 2, 60)
    node.process.terminate()
    assert 0 == node.end(), node.output
    assert "all in the tables" in node.output
    code, output = shell.verb("audit", path, PYTHONPATH=HERE)
    assert 0 == code, output
