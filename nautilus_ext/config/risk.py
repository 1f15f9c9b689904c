"""The section `risk`: limits by scope, with named units. Pure.

`limits` has a scope as key: `global`, or `KIND=PATTERN` with one of the kinds below. A pattern may hold `*`, and gives
each of its matches a limit of its own. Within a kind the most exact pattern that sets a limit counts; over the kinds
all of them do. What no single field can tell is checked in `risk.section`.
"""

from decimal import Decimal
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

KINDS = ("global", "venue", "account", "strategy", "asset", "instrument")
MESSAGE_KINDS = ("submit", "modify", "cancel")

MessageKind = Literal["submit", "modify", "cancel"]
Side = Literal["BUY", "SELL"]
SelfMatch = Literal["off", "refuse", "cancel_oldest"]
Reference = Literal["mid", "last", "cross_mid"]
Preset = Literal["strict", "paper", "none"]
OrderType = Literal[
    "MARKET",
    "LIMIT",
    "STOP_MARKET",
    "STOP_LIMIT",
    "MARKET_TO_LIMIT",
    "MARKET_IF_TOUCHED",
    "LIMIT_IF_TOUCHED",
    "TRAILING_STOP_MARKET",
    "TRAILING_STOP_LIMIT",
]
BreakerKind = Literal[
    "loss",
    "drawdown",
    "reject_streak",
    "rejection_rate",
    "executions",
    "latency",
    "stale_data",
    "shipper_lag",
    "sync_failure",
    "venue_down",
    "drop_copy",
]
VENUE_CHECKED: tuple[BreakerKind, ...] = ("drop_copy", "sync_failure")  # for which somebody has to ask the venues
BreakerAction = Literal["alert", "reduce_only", "halt"]
Liftable = Literal[
    "NOT_PERMITTED",
    "REDUCE_ONLY",
    "NO_LIMIT",
    "NO_PRICE",
    "STALE_PRICE",
    "MAX_ORDER_QUANTITY",
    "MIN_ORDER_QUANTITY",
    "MAX_ORDER_NOTIONAL",
    "PRICE_COLLAR",
    "DUPLICATE_ORDER",
    "MAX_POSITION",
    "MAX_EXPOSURE",
    "SELF_MATCH",
    "INSUFFICIENT_BALANCE",
]


class MessageLimit(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """An entry of `messages`: so many in a sliding window."""

    max: Annotated[int, Meta(ge=1, le=100_000, description="Most messages within the window.")]
    window_s: Annotated[float, Meta(ge=0.001, le=86_400, description="Length of the sliding window, in seconds.")] = 1.0
    types: Annotated[list[MessageKind], Meta(description="What is counted together: `submit`, `modify`, `cancel`.")] = (
        msgspec.field(default_factory=lambda: ["submit", "modify"])
    )
    refuses_cancels: Annotated[
        bool, Meta(description="Cancels past the limit are not sent: only where the venue itself demands it.")
    ] = False


class Ramp(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """`ramp`: smaller limits while a strategy is new. They hold until both ends that are given are reached."""

    orders: Annotated[
        Annotated[int, Meta(ge=1, le=10_000)] | None,
        Meta(description="Until the strategy has sent this many orders in the book."),
    ] = None
    until: Annotated[str | None, Meta(description="Until this moment, ISO 8601 with a time zone.")] = None
    max_order_quantity: Annotated[Decimal | None, Meta(description="As the limit of this name.")] = None
    max_order_notional: Annotated[Decimal | None, Meta(description="As the limit of this name.")] = None
    max_position: Annotated[Decimal | None, Meta(description="As the limit of this name.")] = None
    max_exposure: Annotated[Decimal | None, Meta(description="As the limit of this name.")] = None


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What holds in one scope; what is left out is not limited there."""

    max_order_quantity: Annotated[
        Decimal | None, Meta(description="Largest order, in the instrument's own quantity (contracts, shares, coins).")
    ] = None
    min_order_quantity: Annotated[
        Decimal | None,
        Meta(description="Smallest order, in the instrument's own quantity; reducing orders may be less."),
    ] = None
    max_order_notional: Annotated[
        Decimal | None, Meta(description="Largest value of an order, in the base currency.")
    ] = None
    price_collar_bps: Annotated[
        Decimal | None,
        Meta(description="How far on the wrong side of the reference price a limit may be, in 1/10,000."),
    ] = None
    max_position: Annotated[
        Decimal | None,
        Meta(
            description="Largest net position per instrument, long or short, if all working orders of a side were "
            "filled; in the instrument's own quantity. In a scope `asset`: over all its instruments and venues, "
            "in coins."
        ),
    ] = None
    max_exposure: Annotated[
        Decimal | None,
        Meta(description="Largest sum of the worst cases of all its instruments, in the base currency."),
    ] = None
    messages: Annotated[
        list[MessageLimit] | None, Meta(description="Most messages to the venues; several windows at once.")
    ] = None
    duplicate_window_ms: Annotated[
        Annotated[int, Meta(ge=0, le=86_400_000)] | None,
        Meta(description="The same side, quantity and price of a strategy again within this time is refused; 0: off."),
    ] = None
    self_match: Annotated[
        SelfMatch | None,
        Meta(description="An order that would meet our own resting one: `off`, `refuse` it, or `cancel_oldest` first."),
    ] = None
    check_balance: Annotated[
        bool | None, Meta(description="Refuse what free balance or margin, orders on their way included, cannot pay.")
    ] = None
    reduce_only: Annotated[
        bool | None, Meta(description="Only orders that make a strategy's position smaller; none opens, none flips.")
    ] = None
    allowed_instruments: Annotated[
        list[str] | None,
        Meta(description="Instruments that may be traded: InstrumentIds or canonical ids, `*` allowed."),
    ] = None
    restricted_instruments: Annotated[
        list[str] | None, Meta(description="Instruments that may not be traded, whatever else allows them.")
    ] = None
    allowed_venues: Annotated[list[str] | None, Meta(description="Venues that may be traded at.")] = None
    allowed_sides: Annotated[list[Side] | None, Meta(description="`BUY`, `SELL`.")] = None
    allowed_order_types: Annotated[
        list[OrderType] | None, Meta(description="Nautilus's order types: MARKET, LIMIT, STOP_MARKET, …")
    ] = None
    ramp: Annotated[Ramp | None, Meta(description="In a scope `strategy`: smaller limits while it is new.")] = None


class Override(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """An entry of `overrides`: one control of one scope does not refuse until a moment; each use is recorded."""

    code: Annotated[Liftable, Meta(description="The control's code, as a refusal names it: MAX_ORDER_NOTIONAL, …")]
    scope: Annotated[str, Meta(description="The scope, as the refusal names it: `global`, `instrument=BTCUSDT.SIM1`.")]
    by: Annotated[str, Meta(min_length=1, description="Who decided it.")]
    why: Annotated[str, Meta(min_length=1, description="Why.")]
    until: Annotated[str, Meta(description="When it expires, ISO 8601 with a time zone.")]


class BreakerRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An entry of `breakers`: one for each member that its scope stands for, `strategy=*` is one per strategy."""

    kind: Annotated[
        BreakerKind,
        Meta(
            description="What is watched: `loss`, `drawdown`, `reject_streak`, `rejection_rate`, `executions`, "
            "`latency`, `stale_data`, `shipper_lag`, `sync_failure`, `venue_down`, `drop_copy`."
        ),
    ]
    scope: Annotated[
        str, Meta(description="Where: `node`, or `venue=`, `account=`, `strategy=`, `instrument=` with a name or `*`.")
    ]
    limit: Annotated[Decimal, Meta(description="The most that is allowed; the unit is that of its kind.")]
    action: Annotated[
        BreakerAction,
        Meta(
            description="What follows: `alert` only, or also `reduce_only` or `halt` of its scope, "
            "until a person resumes it."
        ),
    ]
    window_s: Annotated[
        float, Meta(description="Over which time, in seconds; of what is looked at again and again: how long it lasts.")
    ] = 0.0
    least: Annotated[int, Meta(description="Facts without which a share or a median says nothing.")] = 1

    @property
    def name(self) -> str:
        """What a restart knows it by: a limit that was changed meanwhile goes on from what was counted."""
        return f"{self.kind} {self.scope} {self.action}"


class Risk(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """`risk`: the gate in front of the execution engine; on in live, paper and backtest alike."""

    enabled: Annotated[bool, Meta(description="The gate stands; a live node does not start without it.")] = True
    preset: Annotated[
        Preset | None,
        Meta(
            description="Limits to begin with: `strict`, `paper` or `none`; what stands in `limits` comes on top. "
            "Default: `paper`; a live file must name one."
        ),
    ] = None
    base_currency: Annotated[str | None, Meta(description="Currency of notional and exposure; default USDT.")] = None
    conversions: Annotated[
        dict[str, str | int | float],
        Meta(
            description="What one unit of another currency is in the base currency: a number, or the InstrumentId "
            "whose price says it. A currency that is missing here refuses what needs it."
        ),
    ] = {}
    reference: Annotated[
        Reference | None,
        Meta(
            description="Reference price: `mid` of the quotes, `last` trade, or `cross_mid`: the median of the venues'."
        ),
    ] = None
    price_age_ms_max: Annotated[
        Annotated[int, Meta(ge=1, le=86_400_000)] | None,
        Meta(description="An older reference price counts as missing, in ms."),
    ] = None
    needs_limits: Annotated[
        bool | None,
        Meta(
            description="Refuse an instrument for which no max_order_quantity or max_order_notional, or no "
            "max_position is set."
        ),
    ] = None
    trusts_reduce_only: Annotated[
        bool,
        Meta(description="Orders marked reduce-only are taken at their word: the venues see that they never open."),
    ] = True
    approvals_recorded_every: Annotated[
        Annotated[int, Meta(ge=1, le=1_000_000)] | None,
        Meta(description="Every n-th approval is recorded; refusals always are."),
    ] = None
    limits: Annotated[
        dict[str, Limits], Meta(description="Limits by scope: `global`, `venue=SIM1`, `instrument=BTC*`.")
    ] = {}
    overrides: Annotated[list[Override], Meta(description="Blocks that somebody has lifted for a time.")] = []
    breakers: Annotated[list[BreakerRule], Meta(description="What stops trading by itself, or tells of it.")] = []
    venue_check_interval_s: Annotated[
        Annotated[float, Meta(ge=1, le=86_400)] | None,
        Meta(description="How often venues are asked for `drop_copy` and `sync_failure`, in seconds; default 60."),
    ] = None
    cancel_on_disconnect: Annotated[
        list[str],
        Meta(
            description="Venues, `*` allowed: all that works there is canceled when it comes back after the connection "
            "to it was lost."
        ),
    ] = []
    max_orders_per_second: Annotated[
        Annotated[int, Meta(ge=1)] | None, Meta(description="Short for a limit of messages in `global`: 1 s.")
    ] = None
    max_orders_per_minute: Annotated[
        Annotated[int, Meta(ge=1)] | None, Meta(description="Short for a limit of messages in `global`: 60 s.")
    ] = None
    max_position_per_instrument: Annotated[
        dict[str, Decimal],
        Meta(description="Short for `max_position` of `instrument=…`; canonical ids or InstrumentIds."),
    ] = {}
    max_total_notional: Annotated[
        Decimal | None, Meta(description="Short for `max_exposure` in `global`, in the base currency.")
    ] = None
