"""Nautilus's own acceptance tester on the simulated exchange, card by card, in a real trading node.

After each card the node's cache and the exchange's ledger are the same, field by field.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import exchange_cards
import exchange_cards_play
import exchange_cards_stage
import pytest
from exchange_books import differences
from exchange_cards import BY_ID, CARDS, DATA_BY_ID
from exchange_client import RawClient, welcomed

from nautilus_ext.simulation import wire
from nautilus_ext.simulation.client import parsing
from nautilus_ext.simulation.client.config import SimulatedDataClientConfig, SimulatedExecClientConfig
from nautilus_ext.simulation.server import launch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from exchange_card import Card, DataCard

PAGE = Path(__file__).parents[2] / "docs/adapters/simulated.md"
CARD_TIMEOUT_S = 60.0
START_TIMEOUT_S = 10.0


@pytest.fixture(scope="module")
def pit(tmp_path_factory) -> Iterator[Path]:
    """The data folder of one exchange whose market stands still; a client of ours keeps it alive."""
    folder = tmp_path_factory.mktemp("pit")
    world = exchange_cards_stage.data_config(folder).to_world()
    address = launch.ensure(exchange_cards_stage.exchange_folder(folder), world, START_TIMEOUT_S)
    keeper = RawClient(exchange_cards_stage.VENUE, "keeper")
    welcomed(keeper.connect(address, venue=None, terms=None))
    keeper.control("pause")
    yield folder
    keeper.done(wire.Bye)
    keeper.close()


@pytest.fixture(scope="module")
def child() -> Iterator[ProcessPoolExecutor]:
    """The process in which the nodes run, one after the other."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        yield pool


@pytest.fixture
def played(child: ProcessPoolExecutor, pit: Path) -> Callable[[Card], exchange_cards_stage.Report]:
    return lambda card: child.submit(exchange_cards_play.play, card.test_id, pit).result(CARD_TIMEOUT_S)


@pytest.fixture
def played_data(child: ProcessPoolExecutor, pit: Path) -> Callable[[DataCard], exchange_cards_stage.Report]:
    return lambda card: child.submit(exchange_cards_play.play_data, card.id, pit).result(CARD_TIMEOUT_S)


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.test_id)
def test_card(card: Card, played: Callable[[Card], exchange_cards_stage.Report]):
    """The events are the card's, cache and ledger agree, nothing else is said, nothing is left behind."""
    report = played(card)
    assert report.events == list(card.events)
    assert report.unapplied == []
    assert differences(report.exchange, report.cache) == []
    assert unexpected(report.log, card) == []
    assert report.left_running == []


@pytest.mark.parametrize("card", DATA_BY_ID.values(), ids=lambda card: card.id)
def test_data_card(card: DataCard, played_data: Callable[[DataCard], exchange_cards_stage.Report]):
    """What the data tester gets is right, and nothing but what is expected is warned of."""
    report = played_data(card)
    assert unexpected(report.log, card) == []
    assert report.left_running == []


def test_the_page_says_what_is_played():
    """Each card of the specifications stands in the page's table: played here, or why not."""
    page = PAGE.read_text()
    assert exchange_cards.table() == [line for line in page.splitlines() if line.startswith("| TC-")]
    assert len(BY_ID) == len(CARDS)


def test_the_page_knows_every_key_and_kind():
    """The keys of both clients' configs, and what an order may be."""
    page = PAGE.read_text()
    own_keys = {
        *SimulatedDataClientConfig.__struct_fields__,
        *SimulatedExecClientConfig.__struct_fields__,
    } - {"handle_revised_bars", "instrument_provider"}
    assert [key for key in sorted(own_keys) if f"`{key}`" not in page] == []
    assert [kind for kind in (*parsing.TYPES, *parsing.TIMES_IN_FORCE) if kind not in page] == []


def unexpected(log: list[str], card: Card | DataCard) -> list[str]:
    """Lines that belong to nothing, and expected ones that did not come."""
    foreign = [line for line in log if not any(part in line for part in (*card.log, *card.maybe))]
    missing = [f"missing: {part}" for part in card.log if not any(part in line for line in log)]
    return foreign + missing
