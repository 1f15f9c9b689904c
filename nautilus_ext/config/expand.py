"""From the file's shorthand to plain Nautilus configuration, as `check --expand` prints it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from nautilus_ext.config.risk import VENUE_CHECKED

if TYPE_CHECKING:
    from nautilus_ext.config.suite import Suite

# Nautilus sleeps the whole of timeout_post_stop, and its defaults add up to 25 s; a container is killed after 10.
_STOP = {"timeout_post_stop": 2.0, "timeout_disconnection": 3.0, "timeout_shutdown": 1.0}
# An exception in a subscriber would otherwise end the process with no line in the log.
ENGINE_DEFAULTS = {"graceful_shutdown_on_exception": True}
MIRROR = "nautilus_ext.persistence:Mirror"
RESTORE = "nautilus_ext.persistence:Restore"
ALERT_DESK = "nautilus_ext.risk:AlertDesk"
BREAKERS = "nautilus_ext.risk:CircuitBreakers"
VENUE_WATCH = "nautilus_ext.persistence:VenueWatch"
VENUE_CHECK_S = 60.0
RISK_GATE = "nautilus_ext.risk:RiskGate"
BACKTEST_FLUSH, BACKTEST_POLICY = "batch", "continue"  # no venue waits there, and nothing is lost by another run
_ENGINES = ("data_engine", "risk_engine", "exec_engine")


def expand(tree: dict[str, Any], suite: Suite, world: str) -> dict[str, Any]:
    """Return Nautilus's keys with the suite's defaults filled in and its sections turned into ordinary actors."""
    expanded = dict(tree)
    for key, value in _STOP.items():
        expanded.setdefault(key, value)
    for engine in _ENGINES:
        expanded[engine] = {**(tree.get(engine) or {}), **ENGINE_DEFAULTS}
    # The runner takes Nautilus's output over, and a colour's reset is what ends a message of several lines there.
    level = suite.logging_ext.backtest_level if world == "backtest" else suite.logging_ext.level
    expanded["logging"] = {"log_level": level, **(tree.get("logging") or {}), "log_colors": True}
    expanded["actors"] = [*suite_actors(suite, world), *tree.get("actors", [])]
    return expanded


def suite_actors(suite: Suite, world: str) -> list[dict[str, Any]]:
    """The suite's own actors, in the order in which they must come."""
    settings = suite.logging_ext
    return [
        *_persistence_actors(suite, world),
        {
            "actor_path": ALERT_DESK,
            "config_path": "nautilus_ext.risk:AlertDeskConfig",
            "config": {"quiet_s": suite.alerts.quiet_s},
        },
        *_risk_actors(suite),
        {
            "actor_path": "nautilus_ext.logs:EventLog",
            "config_path": "nautilus_ext.logs:EventLogConfig",
            "config": {"log_orders": settings.log_orders, "log_fills": settings.log_fills},
        },
    ]


def _persistence_actors(suite: Suite, world: str) -> list[dict[str, Any]]:
    settings = suite.persistence
    if not settings.enabled:
        return []
    is_backtest = world == "backtest"
    restore = {"actor_path": RESTORE, "config_path": "nautilus_ext.persistence:RestoreConfig", "config": {}}
    return [
        *([] if is_backtest else [restore]),  # a backtest is a book of its own: nothing was before it
        {
            "actor_path": MIRROR,
            "config_path": "nautilus_ext.persistence:MirrorConfig",
            "config": {
                "flush": BACKTEST_FLUSH if is_backtest else settings.flush,
                "intent_timeout_ms": settings.intent_timeout_ms,
                "mark_interval_ms": settings.mark_interval_ms,
                "segment_bytes_max": settings.segment_bytes_max,
                "unshipped_bytes_max": settings.unshipped_bytes_max,
                "on_unshipped": BACKTEST_POLICY if is_backtest else settings.on_unshipped,
            },
        },
        {
            "actor_path": "nautilus_ext.persistence:PortfolioStore",
            "config_path": "nautilus_ext.persistence:PortfolioStoreConfig",
            "config": {},
        },
        *([] if is_backtest else _venue_watch(suite)),
    ]


def _venue_watch(suite: Suite) -> list[dict[str, Any]]:
    if not any(rule.kind in VENUE_CHECKED for rule in suite.risk.breakers):
        return []
    config_path, interval_s = "nautilus_ext.persistence:VenueWatchConfig", suite.risk.venue_check_interval_s
    return [
        {
            "actor_path": VENUE_WATCH,
            "config_path": config_path,
            "config": {"interval_s": interval_s or VENUE_CHECK_S},
        }
    ]


def _risk_actors(suite: Suite) -> list[dict[str, Any]]:
    """Behind the Mirror: the last at the engine's endpoint is asked first, so what waits for the disk has passed."""
    if not suite.risk.enabled:
        return []
    section = msgspec.to_builtins(suite.risk)
    return [
        {
            "actor_path": RISK_GATE,
            "config_path": "nautilus_ext.risk:RiskGateConfig",
            "config": {"section": section},
        },
        *_breakers(suite, section),
    ]


def _breakers(suite: Suite, section: dict[str, Any]) -> list[dict[str, Any]]:
    """Only who has some pays for them."""
    if not suite.risk.breakers and not suite.risk.cancel_on_disconnect:
        return []
    config_path = "nautilus_ext.risk:CircuitBreakersConfig"
    return [{"actor_path": BREAKERS, "config_path": config_path, "config": {"section": section}}]
