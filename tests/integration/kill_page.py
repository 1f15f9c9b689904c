"""The page that keeps what a long proof by killing has seen."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING

import psutil
from kill_desk import KINDS
from kill_rounds import KILLS_PER_DESK, KILLS_PER_LIFE

if TYPE_CHECKING:
    from kill_rounds import Found

_HEAD = """# The last desk under kill -9

Written by `make prove` (`tests/prove/test_prove_kills.py`); `KILL_SEED=n` repeats one desk, `KILLS=n` makes it longer.

A paper desk with its embedded PostgreSQL, its shipper and the simulated exchange trades, and its processes are killed
at moments that a seed chooses: one of them, several at once, and once more while the next start restores or drains.
When only the database, the shipper or the exchange dies, the node must go on by itself; when the node dies, it is
started again on the same folder. After each {per_life} kills everything is held against everything: each event that
the node acknowledged against the journal, the node's cache against the tables (`audit`), and every order, fill, fee,
position and balance of the tables against the exchange's own ledger; each order must still be its strategy's. A desk
lives for {per_desk} kills.

Beside Nautilus's own Redis cache, 20 kills of the node each ([kill by kill](kills-redis.md)): local log and shipper
lost 0 of 9,043 acknowledged events, the Redis cache 161 of 8,580, and 426 of 8,641 with a buffer of 100 ms.
"""


def page(found: Found, seed: int) -> str:
    machine = f"{os.cpu_count()} cores, {psutil.virtual_memory().total / 2**30:.0f} GB, Linux {platform.release()}"
    versions = (
        f"Python {platform.python_version()}, nautilus_trader {version('nautilus_trader')}, "
        f"exec-suite-nt {version('exec-suite-nt')}"
    )
    rows = [
        ("date", f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"),
        ("machine", machine),
        ("versions", versions),
        ("seeds", f"{seed}..{seed + found.desks - 1}"),
        ("kills", f"{found.kills}"),
        *((f"of the {kind}" if kind != "backend" else "of a backend of the database", f"{found.killed[kind]}")
          for kind in KINDS),
        ("several at once", f"{found.together}"),
        ("during a start", f"{found.in_start}"),
        ("starts of a node", f"{found.runs}"),
        ("starts that refused in words", f"{found.refused_starts}"),
        ("judgements", f"{found.judgements}"),
        ("events in the journals", f"{found.events:,}"),
        ("orders", f"{found.orders:,}"),
        ("fills", f"{found.fills:,}"),
        ("took", f"{found.took_s / 60:.0f} min"),
        ("differences", "0"),
    ]  # fmt: skip
    table = "\n".join(["| What | Seen |", "|---|---|", *(f"| {name} | {seen} |" for name, seen in rows)])
    head = _HEAD.format(per_life=KILLS_PER_LIFE, per_desk=KILLS_PER_DESK)
    return f"{head}\n{table}\n\n```\n{found.verdict(seed)}\n```\n"
