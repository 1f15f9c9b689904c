"""A whole desk under many kills, with fresh seeds: KILLS=n for more of them, KILL_SEED=n to repeat one desk."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from kill_page import page
from kill_rounds import kill_often

pytestmark = [pytest.mark.prove, pytest.mark.timeout(6 * 3600)]

KILLS = 200
DESKS_AT_ONCE = 2


def test_after_any_kill_of_any_process_all_witnesses_agree(tmp_path, seed, tell):
    """Journal, tables, the node's cache and the exchange's ledger say the same; the page keeps what was seen."""
    kills = int(os.environ.get("KILLS") or KILLS)
    first = int(os.environ.get("KILL_SEED") or seed)
    found = kill_often(tmp_path, first, kills, at_once=DESKS_AT_ONCE)
    tell(f"desk: {found.line} {found.verdict(first)}")
    report = os.environ.get("PROVE_REPORT")
    if report:
        Path(report).with_name("kills.md").write_text(page(found, first), encoding="utf-8")
