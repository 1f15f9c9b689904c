"""The limits to begin with, by name. Pure."""

from __future__ import annotations

from decimal import Decimal

from nautilus_ext.config.risk import Limits, MessageLimit, Risk

STRICT = Risk(
    reference="mid",
    price_age_ms_max=5_000,
    needs_limits=True,
    approvals_recorded_every=1,
    limits={
        "global": Limits(
            price_collar_bps=Decimal(200),
            messages=[MessageLimit(max=10, window_s=1.0), MessageLimit(max=100, window_s=60.0)],
            duplicate_window_ms=1_000,
            self_match="refuse",
            check_balance=True,
        )
    },
)
PAPER = Risk(
    reference="mid",
    price_age_ms_max=60_000,
    needs_limits=False,
    approvals_recorded_every=100,
    limits={
        "global": Limits(
            price_collar_bps=Decimal(1_000),
            messages=[MessageLimit(max=500, window_s=1.0)],
            self_match="refuse",
            check_balance=True,
        )
    },
)
NONE = Risk(reference="mid", price_age_ms_max=86_400_000, needs_limits=False, approvals_recorded_every=1_000)

PRESETS = {"strict": STRICT, "paper": PAPER, "none": NONE}
DEFAULT = "paper"
BASE_CURRENCY = "USDT"
