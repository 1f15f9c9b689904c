"""The page of the controls says what the tests say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_page_of_the_controls_is_not_stale():
    """Each row has a test, too, or is named as one that comes later."""
    command = [sys.executable, str(ROOT / "tests" / "controls.py"), "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert (0, "") == (done.returncode, done.stderr), done.stdout
