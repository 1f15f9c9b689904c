"""What an acceptance card is, and the strategies that play them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from exchange_cards_stage import LINEAR, QUANTITIES, SPOT
from nautilus_trader.model.identifiers import InstrumentId
from nautilus_trader.test_kit.strategies.tester_exec import ExecTester, ExecTesterConfig
from nautilus_trader.trading.strategy import Strategy

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from exchange_cards_stage import Stage

QUANTITY = QUANTITIES[LINEAR]
NO_LIMITS = {"enable_limit_buys": False, "enable_limit_sells": False}
ONLY_BUYS = {"enable_limit_sells": False}
ONLY_SELLS = {"enable_limit_buys": False}

SENT = ("Initialized", "Submitted")
RESTING = (*SENT, "Accepted")
OPENED = (*RESTING, "Filled")
CANCELED_BY_VENUE = (*RESTING, "Canceled")
CANCELED = (*RESTING, "PendingCancel", "Canceled")
UPDATED = (*RESTING, "PendingUpdate", "Updated")
REJECTED = (*SENT, "Rejected")
DENIED = ("Initialized", "Denied")
RECONCILED = ("Initialized", "Accepted")
RECONCILED_FILL = (*RECONCILED, "Filled")


@dataclass(frozen=True)
class Card:
    """One case of Nautilus's execution testing specification, as it is played here."""

    id: str
    says: str  # what holds when it has passed
    play: Callable[[Stage], Awaitable[Any]]
    events: tuple[tuple[str, ...], ...]  # per order, oldest first: exactly these
    tester: dict[str, Any] | None = None  # config of the ExecTester; None: orders by hand
    case: str = ""  # tells apart several plays of one card
    instrument: str = LINEAR
    client: dict[str, Any] = field(default_factory=dict)  # config of the execution client
    late_s: float = 0.0  # how long the exchange may still send what belongs to the past
    log: tuple[str, ...] = ()  # what its warnings and errors say: each of these comes, and no others
    maybe: tuple[str, ...] = ()  # and these may come

    @property
    def test_id(self) -> str:
        return f"{self.id}-{self.case}" if self.case else self.id

    @property
    def account(self) -> str:
        return trader_name(self.test_id)

    @property
    def account_type(self) -> str:
        return "CASH" if self.instrument == SPOT else "MARGIN"

    def strategy(self, **changes: Any) -> Strategy:
        return ByHand(self.instrument) if self.tester is None else tester(self.instrument, **(self.tester | changes))


def elsewhere(card: Card, instrument: str, case: str) -> Card:
    """The same card on another instrument."""
    config = card.tester
    if config and abs(opening := config.get("open_position_on_start_qty", 0)) == QUANTITY:
        config = config | {"open_position_on_start_qty": QUANTITIES[instrument].copy_sign(opening)}
    return replace(card, instrument=instrument, case=case, tester=config)


@dataclass(frozen=True)
class DataCard:
    """One case of the data testing specification."""

    id: str
    says: str
    play: Callable[[Stage, Any], Awaitable[None]]
    tester: dict[str, Any]  # config of the DataTester
    actors: int = 1  # testers with this config
    log: tuple[str, ...] = ()
    maybe: tuple[str, ...] = ()
    instrument = LINEAR

    @property
    def account(self) -> str:
        return trader_name(self.id)


def trader_name(test_id: str) -> str:
    """Nautilus wants exactly one hyphen in it, and takes what follows for the tag of its orders."""
    return f"TC-{test_id.removeprefix('TC-').upper().replace('-', '_')}"


class ByHand(Strategy):
    """Sends what a card tells it."""

    def __init__(self, instrument_id: str) -> None:
        super().__init__()
        self._instrument_id = InstrumentId.from_str(instrument_id)

    def on_start(self) -> None:
        self.subscribe_quote_ticks(self._instrument_id)

    def on_stop(self) -> None:
        """Leave everything as it is."""


def tester(instrument_id: str, **config: Any) -> ExecTester:
    """Nautilus's own; quiet, because what it gets is looked at in the cache."""
    settings = {
        "instrument_id": InstrumentId.from_str(instrument_id),
        "order_qty": QUANTITIES[instrument_id],
        "log_data": False,
        "log_events": False,
        "log_commands": False,
    }
    return ExecTester(ExecTesterConfig(**(settings | config)))
