"""An answer that cannot be written says so, and never looks like one: a full disk, a reader who left, no output."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from conftest import CONFIGS

from nautilus_ext.errors import MachineError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Shell

PAPER = str(CONFIGS / "paper.json")
NOT_WRITTEN = MachineError.exit_code
READ = ("orders", "fills", "positions", "exposure", "order", "why")  # who has seen enough of these may leave


def _order_id(shell: Shell) -> str:
    return shell.verb("orders", PAPER, "--backtest", "--limit", "1")[1].splitlines()[1].split()[2]


def _verbs(shell: Shell, folder: Path) -> Iterator[list[str]]:
    """Each verb that answers on a book that has traded."""
    for verb in ("check", "migrate", "orders", "fills", "positions", "exposure", "audit"):
        yield [verb, PAPER, "--backtest"]
    order_id = _order_id(shell)
    yield ["order", PAPER, order_id, "--backtest"]
    yield ["why", PAPER, order_id, "--backtest"]
    yield ["archive", PAPER, "--backtest", "--before", "0s", "--dry-run"]
    yield ["backup", PAPER, str(folder / "backup.zip"), "--backtest"]
    yield ["catalog", str(folder / "catalog"), "--minutes", "1"]
    yield ["schema"]


def _said(shell: Shell, arguments: list[str], **streams: Any) -> tuple[int, str]:
    process = shell.spawn(*arguments, module="nautilus_ext", text=True, **{"stderr": subprocess.PIPE, **streams})
    _, errors = process.communicate(timeout=60)
    return process.returncode, errors


@pytest.fixture
def unread() -> Iterator[int]:
    """A pipe whose reader has left."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


def test_a_full_disk_is_the_machines_for_every_verb(traded: Shell, tmp_path: Path) -> None:
    """Exit 3 and one line that names the place; status, which has no node here, does not say that it looked."""
    verbs = [*_verbs(traded, tmp_path), ["status", PAPER]]
    with Path("/dev/full").open("w") as full, ThreadPoolExecutor(2) as two:
        for arguments, said in zip(verbs, two.map(lambda each: _said(traded, each, stdout=full), verbs), strict=True):
            told = "standard output: No space left on device: free space there, or write it elsewhere\n"
            assert (arguments, NOT_WRITTEN, told) == (arguments, *said)


def test_a_reader_who_left_is_no_difference_and_no_dead_node(traded: Shell, tmp_path: Path, unread: int) -> None:
    """What is only read ends in silence with 0; whose exit code is the answer, or has done something, says 3."""
    verbs = [*_verbs(traded, tmp_path), ["status", PAPER]]
    told = "standard output: whoever read it left before the end of the answer\n"
    with ThreadPoolExecutor(2) as two:
        for arguments, said in zip(verbs, two.map(lambda each: _said(traded, each, stdout=unread), verbs), strict=True):
            expected = (0, "") if arguments[0] in READ else (NOT_WRITTEN, told)
            assert (arguments, *expected) == (arguments, *said)


def test_without_a_standard_output_the_exit_code_is_the_answer(traded: Shell, tmp_path: Path) -> None:
    """`>&-`: nobody reads, nothing is wrong, and no file of ours stands where the output would be."""
    for arguments in (*_verbs(traded, tmp_path), ["status", PAPER], ["orders", PAPER, "--book", "NONE-001.paper"]):
        command = shlex.join([sys.executable, "-m", "nautilus_ext", *arguments])
        done = subprocess.run(
            ["/bin/sh", "-c", f"exec {command} >&-"],
            cwd=CONFIGS.parent,
            env=traded.environment(),
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
        code = {"status": 1}.get(arguments[0], 2 if "--book" in arguments else 0)
        assert (arguments, code, code == 2) == (arguments, done.returncode, b"no book is called" in done.stderr)
        assert b"Traceback" not in done.stderr


def test_a_mistake_keeps_its_exit_code_where_nobody_can_be_told(shell: Shell) -> None:
    """Standard error is full, or not there."""
    with Path("/dev/full").open("w") as full:
        assert 2 == _said(shell, ["check", "none.json"], stderr=full)[0]
    command = shlex.join([sys.executable, "-m", "nautilus_ext", "check", "none.json"])
    assert 2 == subprocess.run(["/bin/sh", "-c", f"exec {command} 2>&-"], timeout=60, check=False).returncode
