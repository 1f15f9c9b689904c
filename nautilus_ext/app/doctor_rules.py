"""What `doctor` says of a file: which checks of Nautilus do nothing, what is there instead, what is dangerous. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LOOKBACK_MINS_MIN = 60
OVERRIDE_DAYS_MAX = 7
NS_PER_DAY = 86_400 * 10**9
IN_MONEY = ("max_order_notional", "max_exposure")
SIZES = ("max_order_quantity", "max_order_notional")
WANTED = (
    SIZES,
    ("max_position",),
    ("max_exposure",),
    ("price_collar_bps",),
    ("messages",),
    ("self_match",),
    ("check_balance",),
)


class Market(msgspec.Struct, frozen=True, kw_only=True):
    """One instrument of one strategy, with the limits that hold there."""

    path: str
    strategy_id: str
    instrument_id: str
    venue: str
    quote: str  # empty: the file does not tell
    limited: frozenset[str]
    is_claimed: bool = True


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """An account that orders go to. `kind` is CASH, MARGIN, BETTING, or empty where only the venue knows."""

    path: str
    venue: str
    kind: str
    ignores_reduce_only: bool = False


class Expiry(msgspec.Struct, frozen=True, kw_only=True):
    """An override, as far as it matters here."""

    path: str
    code: str
    until: str
    until_ns: int


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A scope that the file names; whether anything that the file trades is in it."""

    path: str
    scope: str
    is_met: bool


class File(msgspec.Struct, frozen=True, kw_only=True):
    """A config, reduced to what the rules ask about."""

    world: str
    preset: str
    base_currency: str
    needs_limits: bool
    now_ns: int
    is_gated: bool = True
    trusts_reduce_only: bool = True
    converted: frozenset[str] = frozenset()
    venues: tuple[Account, ...] = ()
    markets: tuple[Market, ...] = ()
    silent: tuple[str, ...] = ()  # strategies whose config names no instrument
    overrides: tuple[Expiry, ...] = ()
    scopes: tuple[Place, ...] = ()
    risk_engine: dict[str, Any] = {}
    exec_engine: dict[str, Any] = {}
    is_mirrored: bool = True
    flush: str = "event"
    on_unshipped: str = "continue"
    stops_itself: bool = False  # a breaker halts or narrows something
    calls_somebody: bool = False

    @property
    def is_live(self) -> bool:
        return self.world == "live"


class Danger(msgspec.Struct, frozen=True):
    """Something that should not stay as it is: where, what, and the cure."""

    path: str
    what: str
    cure: str


class Inert(msgspec.Struct, frozen=True):
    """A check of Nautilus's that does nothing here, what is there instead, with the rows of the yardstick."""

    path: str
    what: str
    instead: str
    rows: tuple[int, ...]  # of docs/risk-controls.md
    gaps: tuple[str, ...]  # where that is not set


class Unset(msgspec.Struct, frozen=True):
    """Limits that nobody has set for a strategy's instrument."""

    path: str
    strategy_id: str
    instrument_id: str
    limits: tuple[str, ...]  # several that serve alike stand together, with " or "
    is_refused: bool


class Check(msgspec.Struct, frozen=True):
    """A check of Nautilus's with its weakness; of limits that serve alike one is enough."""

    path: str
    what: str
    rows: tuple[int, ...]
    wanted: tuple[tuple[str, ...], ...] = ()
    instead: str = ""  # where it is no limit that does it


_NOTIONAL = ("max_order_notional", "max_order_quantity")
BYPASS = Check(
    "risk_engine.bypass",
    "is true: Nautilus checks nothing but repeated ids",
    (2, 3, 4, 7),
    (_NOTIONAL, ("messages",), ("check_balance",)),
)
EVERYWHERE = (
    Check(
        "risk_engine.max_notional_per_order",
        "holds on cash accounts only: whole numbers, one instrument at a time, fixed at the start",
        (2, 8),
        (_NOTIONAL,),
    ),
    Check(
        "risk_engine.max_order_submit_rate",
        "is one window for the whole node, whatever the venue or strategy; cancels are not counted",
        (4,),
        (("messages",),),
    ),
    Check("risk_engine", "compares no price with the market", (1,), (("price_collar_bps",),)),
    Check(
        "risk_engine",
        "does not count what is sent already: neither positions nor exposure are limited",
        (5, 8, 12),
        (("max_position",), ("max_exposure",)),
    ),
    Check(
        "risk_engine",
        "lets its state REDUCING open a position from flat, and flip one",
        (14,),
        instead="reduce_only in a scope, which counts working orders too",
    ),
    Check(
        "risk_engine",
        "does not see what the emulator releases, even when it is HALTED",
        (5, 12),
        instead="the gate, which stands behind it: released orders pass it as all others",
    ),
    Check(
        "risk_engine",
        "denies the bad member of a list and leaves the others INITIALIZED for ever",
        (3,),
        instead="the gate: a list is sent whole, or all of it is denied",
    ),
)
GATE_OFF = ("the gate is off",)


def inert(file: File) -> list[Inert]:
    """Nautilus's own checks that do not bind here; each of these is shown by a test beside the gate."""
    if file.risk_engine.get("bypass"):
        return [_inert(file, BYPASS, file.markets)]
    found = [_of_account(file, venue) for venue in file.venues if venue.kind not in ("CASH", "BETTING")]
    for venue, path in _without_account(file):
        what = f"trades at {venue}, where there is no account: Nautilus's money checks let everything pass"
        found.append(_inert(file, Check(path, what, (22,), instead="the gate, which refuses it (NO_ACCOUNT)"), ()))
    return found + [_inert(file, check, file.markets) for check in EVERYWHERE]


def _of_account(file: File, venue: Account) -> Inert:
    kind = "a margin account" if venue.kind == "MARGIN" else "maybe a margin account (only the venue knows)"
    what = f"{kind}: Nautilus looks at neither balance nor value"
    wanted = (_NOTIONAL, ("check_balance",), ("max_position",))
    markets = [each for each in file.markets if each.venue == venue.venue]
    return _inert(file, Check(venue.path, what, (2, 7, 12), wanted), markets)


def _inert(file: File, check: Check, markets: Sequence[Market]) -> Inert:
    instead = check.instead or ", ".join(_named(limits, markets) for limits in check.wanted)
    gaps = [
        f"{_either(limits)}: {market.strategy_id} in {market.instrument_id}"
        for limits in check.wanted
        for market in markets
        if not market.limited.intersection(limits)
    ]
    return Inert(check.path, check.what, instead, check.rows, tuple(gaps) if file.is_gated else GATE_OFF)


def _named(limits: Sequence[str], markets: Sequence[Market]) -> str:
    """The one of them that is set everywhere, or all."""
    return next((each for each in limits if all(each in market.limited for market in markets)), _either(limits))


def _either(limits: Sequence[str]) -> str:
    return " or ".join(limits)


def unset(file: File) -> list[Unset]:
    """Market by market; of two limits that serve alike one is enough."""
    found = []
    for market in file.markets:
        missing = tuple(_either(each) for each in WANTED if not market.limited.intersection(each))
        if missing:
            lacks = not market.limited.intersection(SIZES) or "max_position" not in market.limited
            is_refused = file.is_gated and file.needs_limits and lacks
            found.append(Unset(market.path, market.strategy_id, market.instrument_id, missing, is_refused))
    return found


def dangers(file: File) -> list[Danger]:
    """In the order of the file's own sections."""
    return [
        *_of_gate(file),
        *_of_scopes(file),
        *_of_overrides(file),
        *_of_currencies(file),
        *_of_reduce_only(file),
        *_of_engines(file),
        *_of_persistence(file),
        *_of_strategies(file),
    ]


def unwatched(file: File) -> list[Danger]:
    """What a desk may do without, if it knows: that trading stops by itself, and that somebody is called."""
    if file.world == "backtest":
        return []
    found = []
    if not file.stops_itself:
        what = "nothing stops trading by itself: no breaker has the action halt or reduce_only"
        cure = '{"kind": "drawdown", "scope": "node", "limit": "…", "action": "halt"}, for instance'
        found.append(Danger("risk.breakers", what, cure))
    if not file.calls_somebody:
        what = "alerts stand in the log and in the table `alerts` only: nobody is called"
        cure = '{"url": "${ALERT_WEBHOOK_URL}", "secret": "${ALERT_WEBHOOK_SECRET}"}'
        found.append(Danger("alerts.webhook", what, cure))
    return found


def _of_gate(file: File) -> Iterator[Danger]:
    if not file.is_gated:
        yield Danger("risk.enabled", "the gate is off: none of our limits holds", "leave it out")
        return
    if file.is_live and file.preset == "none":
        yield Danger("risk.preset", '"none" limits nothing by itself', 'write "strict", and relax what must be')
    if file.is_live and not file.needs_limits:
        what = "an instrument that nobody has limited is traded without limits"
        yield Danger("risk.needs_limits", what, "set true, and limit each instrument: sizes and max_position")


def _of_scopes(file: File) -> Iterator[Danger]:
    if not file.is_gated:
        return
    for each in file.scopes:
        if not each.is_met:
            what = f"nothing that this file trades is in {each.scope}: it has no effect"
            yield Danger(each.path, what, "correct the name, or take it out")


def _of_overrides(file: File) -> Iterator[Danger]:
    for each in file.overrides:
        days = (each.until_ns - file.now_ns) / NS_PER_DAY
        if days > OVERRIDE_DAYS_MAX:
            what = f"lifts {each.code} for another {days:,.0f} days, until {each.until}"
            yield Danger(f"{each.path}.until", what, f"end it within {OVERRIDE_DAYS_MAX} days, or change the limit")
        elif days <= 0:
            yield Danger(f"{each.path}.until", f"expired at {each.until}: {each.code} refuses again", "take it out")


def _of_currencies(file: File) -> Iterator[Danger]:
    if not file.is_gated:
        return
    known = {file.base_currency, *file.converted}
    missing: dict[str, list[str]] = {}
    for market in file.markets:
        if market.quote and market.quote not in known and market.limited.intersection(IN_MONEY):
            missing.setdefault(market.quote, []).append(market.instrument_id)
    for currency, instruments in missing.items():
        what = f"no rate of {currency}, in which orders of {_few(instruments)} are priced: limits in money refuse them"
        cure = f'"{currency}": "…": a number of {file.base_currency}, or the InstrumentId whose price says it'
        yield Danger("risk.conversions", what, cure)


def _of_reduce_only(file: File) -> Iterator[Danger]:
    """In a backtest nobody is hurt, and with it Nautilus would reject the exits of a bracket."""
    if not (file.is_gated and file.trusts_reduce_only) or file.world == "backtest":
        return
    for venue in file.venues:
        if venue.ignores_reduce_only:
            what = f"{venue.venue} does not look at reduce-only (use_reduce_only is false), and the gate trusts it"
            yield Danger(f"{venue.path}.use_reduce_only", what, "set risk.trusts_reduce_only to false, or this to true")


def _of_engines(file: File) -> Iterator[Danger]:
    risk, engine = file.risk_engine, file.exec_engine
    if risk.get("bypass"):
        yield Danger("risk_engine.bypass", "precision, expiry and cash are not checked either", "leave it out")
    if file.world == "backtest":
        return
    if engine.get("reconciliation", True) is False:
        what = "after a restart what the venue holds is unknown: limits count from nothing"
        yield Danger("exec_engine.reconciliation", what, "leave it out")
    if not file.is_live:
        return
    lookback = engine.get("reconciliation_lookback_mins")
    if isinstance(lookback, int) and lookback < LOOKBACK_MINS_MIN:
        what = f"{lookback} minutes: fills of a longer outage are not asked for"
        yield Danger("exec_engine.reconciliation_lookback_mins", what, f"{LOOKBACK_MINS_MIN} or more; 1440 is a day")
    if engine.get("open_check_open_only", True):
        what = "an order that vanished at the venue counts as working for ever"
        yield Danger("exec_engine.open_check_open_only", what, "set false")
    if not engine.get("open_check_interval_secs"):
        what = "working orders are never compared with the venue"
        yield Danger("exec_engine.open_check_interval_secs", what, "for instance 10.0")
    for kind in ("closed_orders", "closed_positions", "account_events"):
        key = f"purge_{kind}_interval_mins"
        if not engine.get(key):
            yield Danger(f"exec_engine.{key}", "nothing of this ever leaves memory", "for instance 15")


def _of_persistence(file: File) -> Iterator[Danger]:
    if not file.is_live:
        return
    if not file.is_mirrored:
        what = "no event is kept: a restart knows no position, no order, no decision"
        yield Danger("persistence.enabled", what, "leave it out")
        return
    if file.flush == "batch":
        what = "a killed node loses up to 511 events that it acted upon"
        yield Danger("persistence.flush", what, '"event", or "power" against power cuts')
    if file.preset == "strict" and file.on_unshipped == "continue":
        what = "a strict desk trades on although its tables fall behind without end"
        yield Danger("persistence.on_unshipped", what, '"halt"')


def _of_strategies(file: File) -> Iterator[Danger]:
    for venue, path in _without_account(file):
        yield Danger(path, f"trades at {venue}, where this file has no account", "add the account, or trade elsewhere")
    if file.world == "backtest":
        return
    unclaimed: dict[tuple[str, str], list[str]] = {}
    for market in file.markets:
        if not market.is_claimed:
            unclaimed.setdefault((market.path, market.strategy_id), []).append(market.instrument_id)
    for (path, strategy_id), instruments in unclaimed.items():
        what = f"what is found of {_few(instruments)} at the venue is nobody's: {strategy_id} does not know of it"
        yield Danger(
            f"{path}.config.external_order_claims", what, f"[{', '.join(f'"{each}"' for each in instruments)}]"
        )


def _without_account(file: File) -> list[tuple[str, str]]:
    """Venues of strategies at which the file has no account, with the first strategy there."""
    known = {venue.venue for venue in file.venues}
    missing = {market.venue: market.path for market in reversed(file.markets) if market.venue not in known}
    return list(reversed(missing.items()))


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")  # noqa: PLR2004 - a few
