"""Config of the simulated exchange and its clients, as it stands in a JSON file."""

import os
from collections.abc import Iterable, Iterator
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Literal

import msgspec
from nautilus_trader.config import LiveDataClientConfig, LiveExecClientConfig, RoutingConfig

from nautilus_ext.simulation import listings as defaults
from nautilus_ext.simulation.exchange.orders import AccountTerms
from nautilus_ext.simulation.market import SIZE_MAX, Kind, Listing, Market
from nautilus_ext.simulation.regimes import Regime
from nautilus_ext.simulation.world import LINGER_S, VenueTerms, World

DATA_DIR_VARIABLE = "NAUTILUS_EXT_DATA"
DATA_DIR = "~/.local/state/nautilus_ext"
TIMEOUT_S_MAX = 600.0
LEVERAGE_MAX = 1_000
ACCOUNT_CHARS_MAX = 64


class ListingConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One instrument. What is left out follows from the kind and the base asset (BTC, ETH, SOL).

    Parameters
    ----------
    instrument_id : str
        The id, `SYMBOL.VENUE`.
    kind : "spot" | "linear" | "inverse"
        What is traded: the asset itself, or a perpetual contract settled in the quote or in the base currency.
    base, quote : str, optional
        The currencies; default: what the symbol begins with.
    tick, lot : Decimal, optional
        The increments of prices (quote currency) and sizes (base asset, or contracts).
    spread_ticks : int, optional
        The distance between bid and ask, in ticks.
    depth : Decimal, optional
        The mean size at the best bid and ask, in the unit of `lot`.
    multiplier : Decimal, optional
        What one unit of size stands for, in the base asset (0.01 for a contract of 0.01 BTC); inverse: in the quote.
    maker_fee, taker_fee : Decimal, optional
        Fractions of the notional.
    basis_bps : float, optional
        How far the listing's price strays from the asset's true price, in 1/10,000 (a standard deviation).

    """

    instrument_id: str
    kind: Kind = "spot"
    base: str | None = None
    quote: str | None = None
    tick: Decimal | None = None
    lot: Decimal | None = None
    spread_ticks: int | None = None
    depth: Decimal | None = None
    multiplier: Decimal | None = None
    maker_fee: Decimal | None = None
    taker_fee: Decimal | None = None
    basis_bps: float | None = None

    def __post_init__(self) -> None:
        self.to_listing()  # a ValueError here reaches the reader of the file with its JSON path

    def to_listing(self) -> Listing:
        given = {name: value for name, value in msgspec.structs.asdict(self).items() if value is not None}
        return defaults.listing(**given)


class SimulatedDataClientConfig(LiveDataClientConfig, frozen=True, kw_only=True):
    """Config of the data client of the simulated exchange, which also starts the exchange when it does not run.

    Parameters
    ----------
    seed : int
        Determines every price: the same seed gives the same tape.
    interval_ms : int
        Milliseconds between two quotes of an instrument.
    listings : list[ListingConfig], optional
        The instruments; default: eight instruments at the venues SIM1, SIM2 and SIM3.
    regimes : tuple[Regime, ...]
        Times at which the market is calm, trends or jumps, or a venue is stale or halted.
    venues : tuple[VenueTerms, ...]
        How single venues behave: latency, depth, faults. A venue that is not named behaves well.
    exchange : str
        The exchange's name: nodes with the same name and `data_dir` share one, with its prices and its ledger.
    data_dir : str, optional
        Where the exchange keeps its ledger, below `exchange/`; default: the run's own data folder.
    linger_s : float
        How long the exchange stays when a node was lost, so that its orders are found again.
    answer_timeout_s : float
        After so long without an answer a request has failed.
    connect_timeout_s : float
        How long the first connection may take, the start of the exchange included.
    routing : RoutingConfig
        By default this client serves every venue that has no data client of its own.

    """

    seed: int = defaults.SEED
    interval_ms: int = defaults.INTERVAL_MS
    listings: list[ListingConfig] | None = None
    regimes: tuple[Regime, ...] = ()
    venues: tuple[VenueTerms, ...] = ()
    exchange: str = "paper"
    data_dir: str | None = None
    linger_s: float = LINGER_S
    answer_timeout_s: float = 2.0
    connect_timeout_s: float = 10.0
    routing: RoutingConfig = RoutingConfig(default=True)

    def __post_init__(self) -> None:
        world = self.to_world()
        _check_exchange(self.exchange)
        _check_timeouts(self)
        for terms in world.venues:
            if fault := _latency_fault(terms, self.answer_timeout_s):
                raise ValueError(fault)

    def to_market(self) -> Market:
        given = None if self.listings is None else [each.to_listing() for each in self.listings]
        return defaults.default_market(given, seed=self.seed, interval_ms=self.interval_ms, regimes=self.regimes)

    def to_world(self) -> World:
        return World(market=self.to_market(), venues=self.venues, linger_s=self.linger_s)

    def folder(self) -> Path:
        return exchange_folder(self.data_dir, self.exchange)


class SimulatedExecClientConfig(LiveExecClientConfig, frozen=True, kw_only=True):
    """Config of one account at one venue of the simulated exchange.

    Parameters
    ----------
    venue : str
        The venue; its instruments come from the exchange.
    account : str, optional
        The account's name there; default: the book's name, else the trader id. Two nodes cannot share one.
    account_type : "CASH" | "MARGIN"
        A cash account trades spot only.
    starting_balances : list[str]
        What the account is opened with, like "100000 USDT". An account that is open already keeps what it has.
    leverage : Decimal
        Of a margin account.
    exchange : str
        The exchange's name, as in the data client's config.
    data_dir : str, optional
        As in the data client's config.
    book : str, optional
        The book's name; the runner fills it in.
    answer_timeout_s : float
        After so long without an answer nobody knows what became of a command: the client then finds out.
    connect_timeout_s : float
        How long to wait for the exchange at the start.

    """

    venue: str
    account: str | None = None
    account_type: Literal["CASH", "MARGIN"] = "CASH"
    starting_balances: list[str]
    leverage: Decimal = Decimal(10)
    exchange: str = "paper"
    data_dir: str | None = None
    book: str | None = None
    answer_timeout_s: float = 2.0
    connect_timeout_s: float = 10.0

    def __post_init__(self) -> None:
        _check_exchange(self.exchange)
        _check_timeouts(self)
        if not (self.leverage.is_finite() and 1 <= self.leverage <= LEVERAGE_MAX):
            raise ValueError(f"leverage is {self.leverage}; it must be between 1 and {LEVERAGE_MAX}")
        _check_account(self.account)
        self.balances()

    def balances(self) -> dict[str, Decimal]:
        """By currency."""
        found: dict[str, Decimal] = {}
        for text in self.starting_balances:
            amount, currency = _amount(text)
            if currency in found:
                raise ValueError(f"starting_balances names {currency} twice: add the amounts up")
            found[currency] = amount
        if not found:
            raise ValueError('starting_balances is empty: give at least one amount, like "100000 USDT"')
        return found

    def faults_beside(self, others: Iterable[object]) -> Iterator[tuple[str, str]]:
        """By field what does not fit to the data client of the same file; without one there is nothing to say."""
        markets = [each for each in others if isinstance(each, SimulatedDataClientConfig)]
        shared = [each for each in markets if each.exchange == self.exchange]
        if markets and not shared:
            told = " and ".join(repr(each.exchange) for each in markets)
            cure = "orders would meet other prices than the strategies see: write the same name"
            yield "exchange", f"is {self.exchange!r}, but the simulated data client's is {told}: {cure}"
        for market in shared:
            if None not in (self.data_dir, market.data_dir) and self.folder() != market.folder():
                cure = "its ledger has one place: write the same data_dir"
                yield (
                    "data_dir",
                    f"is {self.data_dir!r}, but the simulated data client's is {market.data_dir!r}: {cure}",
                )
            else:
                yield from self._faults_at(market.to_world())

    def _faults_at(self, world: World) -> Iterator[tuple[str, str]]:
        listed = world.listings().get(self.venue, ())
        if self.account_type == "CASH" and listed and all(each.kind != "spot" for each in listed):
            yield "account_type", f'is "CASH", but {self.venue} lists derivatives only: write "MARGIN"'
        for terms in world.venues:
            if terms.name == self.venue and (fault := _latency_fault(terms, self.answer_timeout_s)):
                yield "answer_timeout_s", fault

    def terms(self, trader_id: str) -> AccountTerms:
        return AccountTerms(
            account=self.account or self.book or trader_id,
            kind=self.account_type,
            starting_balances=self.balances(),
            leverage=self.leverage if self.account_type == "MARGIN" else Decimal(1),
        )

    def folder(self) -> Path:
        return exchange_folder(self.data_dir, self.exchange)


def exchange_folder(data_dir: str | None, exchange: str) -> Path:
    base = data_dir or os.environ.get(DATA_DIR_VARIABLE) or DATA_DIR
    return Path(base).expanduser().absolute() / "exchange" / exchange


def _amount(text: str) -> tuple[Decimal, str]:
    number, _, currency = text.replace("_", "").partition(" ")
    try:
        amount = Decimal(number)
    except InvalidOperation:
        amount = Decimal("NaN")
    if not (amount.is_finite() and amount >= 0 and currency.isascii() and currency.isalnum()):
        raise ValueError(f'starting_balances: {text!r} is no amount of money; write it like "100000 USDT"')
    if amount > SIZE_MAX:
        raise ValueError(f"starting_balances: {text!r} is more than the exchange books: give at most {SIZE_MAX:,}")
    return amount, currency


def _check_account(name: str | None) -> None:
    if name is None:
        return
    is_plain = name.isascii() and name.isprintable() and " " not in name
    if not (is_plain and 0 < len(name) <= ACCOUNT_CHARS_MAX):
        cure = f"use 1 to {ACCOUNT_CHARS_MAX} printable ASCII characters without spaces, or leave it out"
        raise ValueError(f"account {name[:ACCOUNT_CHARS_MAX]!r} cannot be an account's name: {cure}")


def _check_exchange(name: str) -> None:
    if not (name and name.isascii() and name.replace("_", "").replace("-", "").isalnum()):
        raise ValueError(f"exchange {name!r} names a folder: use letters, digits, - and _")


def _latency_fault(terms: VenueTerms, answer_timeout_s: float) -> str | None:
    answer_s = 2 * terms.latency_ms / 1_000
    if answer_s < answer_timeout_s:
        return None
    late = f"{terms.name} has latency_ms {terms.latency_ms} each way, so no answer comes before {answer_s:g} s"
    return f"{late}; answer_timeout_s is {answer_timeout_s:g}: raise it, or lower the latency"


def _check_timeouts(config: SimulatedDataClientConfig | SimulatedExecClientConfig) -> None:
    for name in ("answer_timeout_s", "connect_timeout_s"):
        seconds = getattr(config, name)
        if not 0 < seconds <= TIMEOUT_S_MAX:
            raise ValueError(f"{name} is {seconds}; it must be above 0 and at most {TIMEOUT_S_MAX:g} s")
