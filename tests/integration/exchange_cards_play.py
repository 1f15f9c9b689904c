"""Plays one card in this process, which is a child of the tests' own: a node that dies takes no test with it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from exchange_cards import BY_ID, DATA_BY_ID
from exchange_cards_data import recording
from exchange_cards_stage import LOG_FILE, POLL_S, SETTLE_S, WAIT_S, Report, Stage
from nautilus_trader.common.component import Logger, flush_logger

if TYPE_CHECKING:
    from pathlib import Path

    from exchange_card import Card, DataCard

END_OF_CARD = "end of card"
HARMLESS = (  # Nautilus's own words about a node without execution, or stopped with open orders or a stopped strategy
    END_OF_CARD,
    "No `exec_clients` configuration",
    "ExecEngine: No clients to",
    "Residual",
    "already stopped",
    "Dry run mode",
)


def play(card_id: str, data_dir: Path) -> Report:
    """Play one card in a fresh node on a fresh loop."""
    log = Log(data_dir)
    report = asyncio.run(_play(BY_ID[card_id], data_dir))
    report.log = log.lines()
    return report


async def _play(card: Card, data_dir: Path) -> Report:
    stage = Stage(data_dir, card)
    try:
        await stage.open(card.strategy())
        await card.play(stage)
        report = await stage.report()
    finally:
        await stage.close()
        stage.sweep_orders()
        stage.sweep()
    report.left_running = await left_running()
    return report


def play_data(card_id: str, data_dir: Path) -> Report:
    """The same for the data tester; nobody trades, and the market goes on."""
    card = DATA_BY_ID[card_id]
    testers = [recording(f"Tester-{number}", **card.tester) for number in range(card.actors)]
    log = Log(data_dir)
    left = asyncio.run(_play_data(card, testers, data_dir))
    return Report(log=log.lines(), left_running=left)


async def _play_data(card: DataCard, testers: list[Any], data_dir: Path) -> list[str]:
    stage = Stage(data_dir, card)
    try:
        stage.staff.control("play")
        await stage.open(None, testers)
        await card.play(stage, testers[0])
    finally:
        await stage.close()
        stage.sweep()
    return await left_running()


async def left_running() -> list[str]:
    """Tasks that did not end with their node. Nautilus's own order emulator never ends its worker."""
    others = {each for each in asyncio.all_tasks() if "ActorExecutor._worker" not in f"{each.get_coro()}"}
    others.discard(asyncio.current_task())
    if others:
        _, others = await asyncio.wait(others, timeout=SETTLE_S)
    return [f"{task.get_coro()}" for task in others]


class Log:
    """What Nautilus warns of from here on. Its log is one for the process, and bears the name of the first node."""

    def __init__(self, data_dir: Path) -> None:
        self._file = data_dir / f"{LOG_FILE}.log"
        self._begin = self._file.stat().st_size if self._file.exists() else 0

    def lines(self) -> list[str]:
        """Warnings and errors, without the moment; complete, because a last line of ours has arrived."""
        Logger("Card").warning(END_OF_CARD)
        deadline_s = time.monotonic() + WAIT_S
        while END_OF_CARD not in (text := self._file.read_bytes()[self._begin :].decode()):
            assert time.monotonic() < deadline_s, f"no last line in {self._file}"
            flush_logger()
            time.sleep(POLL_S)
        return [line.partition(" ")[2] for line in text.splitlines() if not any(part in line for part in HARMLESS)]
