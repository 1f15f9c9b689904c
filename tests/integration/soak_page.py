"""The page of the last soak."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING

import soak_judge
from soak_judge import MB, MINUTE_S, WARM_UP
from soak_run import TICKS

if TYPE_CHECKING:
    from soak_run import Outside, Record


def line(record: Record) -> str:
    """Say the whole in one line."""
    checks = soak_judge.judge(record)
    p50, p99, most = soak_judge.percentiles(record.visible)
    failed = [str(check) for check in checks if not check.passes]
    node, shipper = checks[0], checks[2]
    return (
        f"soak: {record.seconds / MINUTE_S:g} min, {record.inside[-1].seq:,} events, {soak_judge.rate(record):.1f}/s "
        f"(usual: {record.usual_rate:.1f}), node {node.found:+.2f} MB/min, shipper {shipper.found:+.2f} MB/min, "
        f"event to visible p50 {p50:.0f} p99 {p99:.0f} max {most:.0f} ms: {'; '.join(failed) or 'flat'}"
    )


def page(record: Record, unpurged: Record, load: float) -> str:
    parts = (
        _head(record, load),
        _memory(record),
        _lag(record),
        _kept(record, unpurged),
        _verdict(record),
    )
    return "\n\n".join(parts) + "\n"


def _head(record: Record, load: float) -> str:
    return (
        "# The last soak\n\n"
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {os.cpu_count()} cores, Linux {platform.release()}, Python "
        f"{platform.python_version()}, NautilusTrader {version('nautilus_trader')}; load before: {load:.1f}. "
        "`make soak-rate` writes this page (`SOAK_MINUTES=n`).\n\n"
        f"A paper node for {record.seconds / MINUTE_S:g} minutes: `paper.json` with a market of half the interval, a "
        "rebalancer that looks each second and a second quoter that follows closely; what is closed for a minute is "
        f"purged each minute, and {TICKS} ticks and bars of an instrument are kept. "
        f"**{record.inside[-1].seq:,} events, {soak_judge.rate(record):.1f}/s**; `paper.json` as it is "
        f"makes {record.usual_rate:.1f}/s on this machine."
    )


def _memory(record: Record) -> str:
    looks = record.outside
    moments = {"begin": looks[0], "middle": looks[len(looks) // 2], "end": looks[-1]}
    medians = (
        "Anonymous memory is what is judged: the others move with what other processes of the machine share. Its "
        f"medians in the thirds after a warm-up of {WARM_UP:.0%}: node {_thirds(record, 'node')}; shipper "
        f"{_thirds(record, 'shipper')}."
    )
    rows = [
        "## Memory and disk",
        "",
        "| | Node, anonymous | USS | PSS | RSS | Shipper, anonymous | USS | PSS | RSS | Local log |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
        *(f"| {name} | {_row(look)} |" for name, look in moments.items()),
        "",
        medians,
    ]
    return "\n".join(rows)


def _row(look: Outside) -> str:
    figures = [*_figures(look.node), *_figures(look.shipper), look.log_bytes]
    return " | ".join(f"{figure / MB:,.1f} MB" for figure in figures)


def _figures(memory: object) -> list[int]:
    return [getattr(memory, name) for name in ("anonymous", "uss", "pss", "rss")]


def _thirds(record: Record, process: str) -> str:
    found = soak_judge.thirds(soak_judge.memory(record, lambda look: getattr(look, process)))
    return ", ".join(f"{each:,.1f}" for each in found) + " MB"


def _lag(record: Record) -> str:
    seen = soak_judge.percentiles(record.visible)
    behind = soak_judge.percentiles([(look.at_s, float(look.seq - look.shipped_seq)) for look in record.inside])
    return "\n".join(
        [
            "## How far the tables are behind",
            "",
            "| | p50 | p99 | max |",
            "|---|---:|---:|---:|",
            f"| event to visible, {len(record.visible):,} events of orders | {_three(seen, 'ms')} |",
            f"| events in the log and not yet in the tables, once a second | {_three(behind, '')} |",
        ]
    )


def _three(figures: tuple[float, float, float], unit: str) -> str:
    return " | ".join(f"{figure:,.0f} {unit}".strip() for figure in figures)


def _kept(record: Record, unpurged: Record) -> str:
    """What is Nautilus's own: it keeps closed orders and all account states until it is told to purge them."""
    names = ("orders", "positions", "position_events", "account_events")
    looks = record.inside
    moments = {"begin": looks[0], "middle": looks[len(looks) // 2], "end": looks[-1], "not purged": unpurged.inside[-1]}
    rise = soak_judge.slope(soak_judge.memory(unpurged, lambda look: look.node))
    never = f"The same node without `exec_engine.purge_…`, for {unpurged.seconds / MINUTE_S:g} minutes"
    rows = [
        "## What Nautilus's cache keeps",
        "",
        "| | Orders | Positions | Their events | Account states |",
        "|---|---:|---:|---:|---:|",
        *(
            f"| {moment} | {' | '.join(f'{getattr(look, name):,}' for name in names)} |"
            for moment, look in moments.items()
        ),
        "",
        f"{never}: {rise:+.2f} MB/min, and nothing ends it.",
    ]
    return "\n".join(rows)


def _verdict(record: Record) -> str:
    checks = "\n".join(f"- {check}" for check in soak_judge.judge(record))
    audit = record.audit.strip().splitlines()[-1].strip()
    return f"## Verdict\n\n{checks}\n- `audit` at the end, while the node ran: {audit}"
