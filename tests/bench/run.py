"""All benchmarks, or those that are named: JSON on stdout and in docs/benchmarks, a table there; exit 1 on a miss."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import bench_backtest
import bench_exchange
import bench_gate
import bench_live
import bench_logs
import bench_mirror
import bench_paper
import bench_persistence
import bench_portfolio
import bench_postgres
import bench_power
import bench_redis
import bench_restart
import bench_shipper
import bench_simulated_client
import psutil

from nautilus_ext.embedded.binaries import bin_folder

DOCS = Path(__file__).resolve().parents[2] / "docs" / "benchmarks"
BENCHES = (
    bench_paper, bench_postgres, bench_logs, bench_exchange, bench_backtest, bench_live, bench_simulated_client,
    bench_mirror, bench_shipper, bench_redis, bench_portfolio, bench_persistence, bench_power, bench_restart,
    bench_gate,
)  # fmt: skip
BEGIN, END = "<!-- figures: make bench writes what is between these lines -->", "<!-- end of the figures -->"


def main(names: list[str]) -> int:
    """All of them, or those that are named: their figures then take the place of their own in the last report."""
    chosen = [bench for bench in BENCHES if not names or bench.__name__.removeprefix("bench_") in names]
    if len(chosen) < len(names):
        sys.exit(f"there is no such benchmark among: {' '.join(names)}")
    now, latest = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", DOCS / "latest.json"
    if names:
        report: dict[str, Any] = json.loads(latest.read_text(encoding="utf-8"))
    else:
        report = {"machine": _machine(), "date": now, "results": []}
    for bench in chosen:
        began_s = time.monotonic()
        sys.stderr.write(f"{bench.__name__} … ")
        measured = [figure.to_dict() for figure in bench.figures()]
        if names:
            measured = [one | {"note": "; ".join(filter(None, (one["note"], f"by itself, {now}")))} for one in measured]
        report["results"] = _with(report["results"], measured)
        sys.stderr.write(f"{time.monotonic() - began_s:.0f} s\n")
    text = json.dumps(report, indent=2)
    sys.stdout.write(f"{text}\n")
    latest.write_text(f"{text}\n", encoding="utf-8")
    _write_table(DOCS / "README.md", report)
    return 0 if all(result["pass"] for result in report["results"]) else 1


def _with(results: list[dict[str, Any]], measured: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """New figures in the place of the old ones of the same thing; others at the end."""
    new = {one["what"]: one for one in measured}
    return [new.pop(one["what"], one) for one in results] + list(new.values())


def _machine() -> dict[str, Any]:
    postgres = subprocess.run([bin_folder() / "postgres", "--version"], capture_output=True, text=True, check=True)
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "nautilus": version("nautilus_trader"),
        "postgres": postgres.stdout.split()[-1],
        "load_before": round(os.getloadavg()[0], 1),
    }


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _write_table(path: Path, report: dict[str, Any]) -> None:
    head, _, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    _, _, tail = rest.partition(END)
    path.write_text(f"{head}{BEGIN}\n{_table(report)}\n{END}{tail}", encoding="utf-8")


def _table(report: dict[str, Any]) -> str:
    machine = report["machine"]
    where = (
        f"{report['date']}: {machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']} GB, "
        f"Linux {machine['kernel']}, Python {machine['python']}, NautilusTrader {machine['nautilus']}, "
        f"PostgreSQL {machine['postgres']}; load before: {machine['load_before']}"
    )
    rows = [_row(one) for one in report["results"]]
    notes: dict[str, list[str]] = {}
    for one in report["results"]:
        notes.setdefault(one["note"], []).append(one["what"])
    notes.pop("", None)
    explained = [f"- {'; '.join(whats)}: {note}." for note, whats in notes.items()]
    head = ["| What | Median | Max | Runs | Budget | |", "|---|---:|---:|---:|---:|---|"]
    return "\n".join(["", where, "", *head, *rows, "", *explained, ""])


def _row(one: dict[str, Any]) -> str:
    unit, budget, verdict = one["unit"], "none", ""
    if one["budget"] is not None:
        budget, verdict = f"{one['budget']:g} {unit}", "met" if one["pass"] else "**missed**"
    figures = f"{one['median']:,.4g} {unit} | {one['max']:,.4g} {unit} | {one['runs']} | {budget} | {verdict}"
    return f"| {one['what']} | {figures} |"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
