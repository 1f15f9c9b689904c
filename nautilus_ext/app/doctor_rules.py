"""What `doctor` says of a file: which checks of Nautilus do nothing, what stands in for them, what is dangerous. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LOOKBACK_MINS_MIN = 60
OVERRIDE_DAYS_MAX = 7
NS_PER_DAY = 86_400 * 10**9
SIZES = ("max_order_quantity", "max_order_notional")
WANTED = (SIZES, ("max_position",), ("max_exposure",), ("price_collar_bps",), ("messages",), ("check_balance",))
CODES = (
    "NOT_PERMITTED",
    "MAX_ORDER_QUANTITY",
    "MIN_ORDER_QUANTITY",
    "MAX_ORDER_NOTIONAL",
    "PRICE_COLLAR",
    "MAX_POSITION",
    "MAX_EXPOSURE",
    "REDUCE_ONLY",
    "NO_LIMIT",
    "NO_PRICE",
    "STALE_PRICE",
    "NO_CONVERSION",
    "OPERATION_REPEATED",
    "DUPLICATE_ORDER",
    "SELF_MATCH",
    "INSUFFICIENT_BALANCE",
)  # what an override may lift


class Market(msgspec.Struct, frozen=True, kw_only=True):
    """One instrument of one strategy, with the limits that hold there."""

    path: str
    strategy_id: str
    instrument_id: str
    venue: str
    quote: str  # empty: the file does not tell
    limited: frozenset[str]
    is_claimed: bool = True


class Venue(msgspec.Struct, frozen=True, kw_only=True):
    """An account of the file."""

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
    venues: tuple[Venue, ...] = ()
    markets: tuple[Market, ...] = ()
    overrides: tuple[Expiry, ...] = ()
    risk_engine: dict[str, Any] = {}
    exec_engine: dict[str, Any] = {}
    is_mirrored: bool = True
    flush: str = "event"
    on_unshipped: str = "continue"

    @property
    def is_live(self) -> bool:
        return self.world == "live"


class Danger(msgspec.Struct, frozen=True):
    """Something that should not stay as it is: where, what, and the cure."""

    path: str
    what: str
    cure: str


class Inert(msgspec.Struct, frozen=True):
    """A check of Nautilus's that does nothing here, with the rows of the yardstick and the limits that stand in."""

    path: str
    what: str
    rows: tuple[int, ...]
    limits: tuple[str, ...]  # that take its place
    gaps: tuple[str, ...]  # where such a limit is not set


class Unset(msgspec.Struct, frozen=True):
    """Limits that nobody has set for a strategy's instrument."""

    path: str
    strategy_id: str
    instrument_id: str
    limits: tuple[str, ...]  # several that serve alike stand together, with " or "
    is_refused: bool


def inert(file: File) -> list[Inert]:
    """Nautilus's own checks that do not bind here; each of these is shown by a test beside the gate."""
    if file.risk_engine.get("bypass"):
        everything = "bypass: Nautilus checks nothing but repeated ids"
        return [_inert(file, "risk_engine.bypass", everything, (2, 3, 4, 7), ("check_balance", "messages", *SIZES))]
    found = [_of_account(file, venue) for venue in file.venues if venue.kind not in ("CASH", "BETTING")]
    for venue, path in _without_account(file):
        what = f"no account at {venue}: Nautilus's money checks let everything pass"
        found.append(Inert(path, what, (22,), ("NO_ACCOUNT",), () if file.is_gated else ("the gate is off",)))
    found += [
        _inert(file, path, what, rows, limits)
        for path, what, rows, limits in (
            (
                "risk_engine.max_notional_per_order",
                "whole numbers, instrument by instrument, fixed at the start, cash accounts only",
                (2, 8),
                ("max_order_notional",),
            ),
            (
                "risk_engine.max_order_submit_rate",
                "cancels are not counted; one window for the whole node, the same for all venues and strategies",
                (4,),
                ("messages",),
            ),
        )
    ]
    by_gate = (
        ("REDUCING lets an order open from flat, or flip the position", (14,), ("reduce_only",)),
        ("HALTED does not hold back what the emulator releases; nothing checks it again", (5, 12), ("max_position",)),
        ("a list with one bad member: that one is denied, the others stay INITIALIZED", (3,), ("lists: all or none",)),
        ("nothing counts what is sent already: position and exposure are not limited", (5, 8, 12), ("max_exposure",)),
        ("no price is compared with the market", (1,), ("price_collar_bps",)),
    )
    return found + [_inert(file, "risk_engine", what, rows, limits) for what, rows, limits in by_gate]


def _of_account(file: File, venue: Venue) -> Inert:
    kind = "a margin account" if venue.kind == "MARGIN" else "maybe a margin account (only the venue knows)"
    what = f"{kind}: Nautilus skips balance and notional"
    at = [market for market in file.markets if market.venue == venue.venue]
    return _inert(file, venue.path, what, (2, 7, 12), ("max_order_notional", "check_balance", "max_position"), at)


def _inert(
    file: File,
    path: str,
    what: str,
    rows: tuple[int, ...],
    limits: tuple[str, ...],
    markets: Sequence[Market] | None = None,
) -> Inert:
    if not file.is_gated:
        return Inert(path, what, rows, limits, ("the gate is off",))
    known = set().union(*WANTED)
    gaps = [
        f"{limit}: {market.strategy_id} in {market.instrument_id}"
        for limit in limits
        if limit in known
        for market in (file.markets if markets is None else markets)
        if limit not in market.limited
    ]
    return Inert(path, what, rows, limits, tuple(gaps))


def unset(file: File) -> list[Unset]:
    """Market by market; of two limits that serve alike one is enough."""
    found = []
    for market in file.markets:
        missing = tuple(" or ".join(each) for each in WANTED if not market.limited.intersection(each))
        if missing:
            lacks = not market.limited.intersection(SIZES) or "max_position" not in market.limited
            is_refused = file.is_gated and file.needs_limits and lacks
            found.append(Unset(market.path, market.strategy_id, market.instrument_id, missing, is_refused))
    return found


def dangers(file: File) -> list[Danger]:
    """In the order of the file's own sections."""
    return [
        *_of_gate(file),
        *_of_overrides(file),
        *_of_currencies(file),
        *_of_reduce_only(file),
        *_of_engines(file),
        *_of_persistence(file),
        *_of_strategies(file),
    ]


def _of_gate(file: File) -> Iterator[Danger]:
    if not file.is_gated:
        yield Danger("risk.enabled", "the gate is off: none of our limits holds", "leave it out")
        return
    if file.is_live and file.preset == "none":
        yield Danger("risk.preset", '"none" limits nothing by itself', 'write "strict", and relax what must be')
    if file.is_live and not file.needs_limits:
        what = "an instrument that nobody has limited is traded without limits"
        yield Danger("risk.needs_limits", what, "set true, and limit each instrument: sizes and max_position")


def _of_overrides(file: File) -> Iterator[Danger]:
    for each in file.overrides:
        days = (each.until_ns - file.now_ns) / NS_PER_DAY
        if each.code not in CODES:
            yield Danger(f"{each.path}.code", f"no refusal that can be lifted has the code {each.code}", "correct it")
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
        if market.quote and market.quote not in known:
            missing.setdefault(market.quote, []).append(market.instrument_id)
    for currency, instruments in missing.items():
        what = f"has no {currency}, in which {_few(instruments)} is priced: limits in money refuse its orders"
        cure = f'"{currency}": "…": a number of {file.base_currency}, or the InstrumentId whose price says it'
        yield Danger("risk.conversions", what, cure)


def _of_reduce_only(file: File) -> Iterator[Danger]:
    if not (file.is_gated and file.trusts_reduce_only):
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
