"""What the long proofs share: a fresh seed, a scale, and a place for their one line of result.

SEED=n repeats a proof, ROUNDS=n makes each n times as long, PROVE_REPORT=FILE keeps the lines.
"""

from __future__ import annotations

import os
import platform
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LINES = pytest.StashKey[list[str]]()
FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    if report.when == "call":
        item.stash[FAILED] = report.failed
    return report


@pytest.fixture
def seed(request: pytest.FixtureRequest, tell: Callable[[str], None]) -> Iterator[int]:
    """Printed before anything happens: a proof that fails can be repeated."""
    value = int(os.environ.get("SEED") or secrets.randbits(32))
    print(f"SEED={value}", flush=True)
    yield value
    if request.node.stash.get(FAILED, True):
        tell(f"FAILED {request.node.name} seed={value}")


@pytest.fixture
def rounds() -> Callable[[int], int]:
    scale = float(os.environ.get("ROUNDS") or 1)
    return lambda default: max(1, round(default * scale))


@pytest.fixture
def tell(pytestconfig: pytest.Config) -> Callable[[str], None]:
    """Take the one line that says what was proven."""
    return pytestconfig.stash.setdefault(LINES, []).append


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    lines = config.stash.get(LINES, [])
    for line in lines:
        terminalreporter.write_line(line)
    report = os.environ.get("PROVE_REPORT")
    if lines and report:
        Path(report).write_text(_page(lines), encoding="utf-8")


def _page(lines: list[str]) -> str:
    head = (
        "# The last `make prove`\n\n"
        "Long proofs with fresh seeds; `SEED=n` repeats one, `ROUNDS=n` makes each n times as long.\n\n"
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {os.cpu_count()} cores, Linux {platform.release()}, "
        f"Python {platform.python_version()}\n\n"
    )
    return head + "```\n" + "\n".join(lines) + "\n```\n"
