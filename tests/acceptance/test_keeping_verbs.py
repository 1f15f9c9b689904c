"""audit, archive, backup and restore-backup as an operator types them, beside a node that trades and is killed."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any

import pytest
from conftest import CONFIGS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Shell

PAPER = str(CONFIGS / "paper.json")
BOOK = "PAPER-001.paper"
RECONCILED = "connected and reconciled"


def _audit(shell: Shell, *options: str, **more: Any) -> tuple[int, dict[str, Any]]:
    code, output = shell.verb("audit", PAPER, "--json", *options, **more)
    return code, json.loads(output)


def _texts(report: dict[str, Any]) -> dict[str, str]:
    return {check["name"]: check["text"] for check in report["checks"]}


@pytest.mark.timeout(180)
def test_a_history_is_proven_while_it_grows_after_a_kill_and_after_a_restore(shell: Shell, tmp_path: Path) -> None:
    """The audit says 0 beside the trading node, after kill -9, in a restored copy, and when that one trades on."""
    node = shell.start(PAPER)
    node.until(RECONCILED, 60)
    node.until("order filled", 30)
    for _ in range(2):
        code, report = _audit(shell)
        assert (0, 0, []) == (code, report["differences"], report["listed"])
        assert "run 1 at event" in _texts(report)["running node"]
    node.process.send_signal(signal.SIGKILL)
    node.end()
    code, report = _audit(shell)
    assert (0, []) == (code, report["listed"])
    assert "run 1 has no end" in report["notes"][0]

    backup, copy = tmp_path / "backup.zip", {"NAUTILUS_EXT_DATA": str(tmp_path / "data" / "copy")}
    assert shell.verb("backup", PAPER, str(backup))[0] == 0
    code, output = shell.verb("restore-backup", PAPER, str(backup), **copy)
    assert (0, True) == (code, "of 1 books restored and proven" in output)
    code, output = shell.run(PAPER, "--seconds", "1", **copy)
    assert (0, True) == (code, f"{BOOK}, run 2" in output)
    code, report = _audit(shell, **copy)
    assert (0, []) == (code, report["listed"])


def test_a_backtest_is_proven_and_a_mistake_is_told_with_its_cure(
    shell: Shell, config: Callable[..., str], tmp_path: Path
) -> None:
    """The newest backtest is audited without its name; wrong names, times, files and addresses are one message each."""
    short = json.loads((CONFIGS / "paper.json").read_text())["backtest"]
    path = config(backtest={**short, "synthetic": {**short["synthetic"], "minutes": 1}})
    assert shell.run(path, "--backtest")[0] == 0
    code, output = shell.verb("audit", path, "--backtest")
    assert (0, True) == (code, output.splitlines()[-1] == "  proven equal")
    for arguments, exit_code, said in (
        (("audit", path, "--book", "OTHER-001.paper"), 2, "is called 'OTHER-001.paper'; these tables have PAPER-001"),
        (("archive", path, "--backtest", "--before", "soon"), 2, "--before: 'soon' is no time"),
        (("archive", path, "--backtest", "--before", "0s"), 0, "✓ run 1: "),  # whatever is still open in it
        (("audit", path, "--backtest"), 0, "proven equal"),
        (("backup", path, str(tmp_path / "no" / "file")), 3, "No such file or directory"),
        (("restore-backup", path, str(tmp_path / "no.zip")), 3, "give the path of a backup"),
        (("audit", config(database={"url": "postgresql://a:secret@127.0.0.1:1/x"})), 4, "nothing accepts connections"),
    ):
        code, output = shell.verb(*arguments)
        assert (arguments, exit_code, True) == (arguments, code, said in output), output
        assert "secret" not in output
        assert "Traceback" not in output
    (file,) = shell.data.rglob("000001-*.parquet")
    file.rename(file.with_suffix(".away"))
    code, output = shell.verb("audit", path, "--backtest")
    assert (2, "  not proven: see the lines with a question mark") == (code, output.splitlines()[-1])
    assert f"run 1: {file}: No such file or directory: put it back there" in output
