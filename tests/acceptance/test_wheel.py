from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROOF = Path(__file__).with_name("wheel.py")
TIMEOUT_S = 180


@pytest.mark.timeout(TIMEOUT_S + 10)
def test_the_installed_wheel_works_outside_the_source_tree():
    """What `make wheel` proves: a complete wheel that checks, migrates and trades from a clean venv elsewhere."""
    proof = subprocess.run([sys.executable, PROOF], capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    print(proof.stdout)
    assert proof.returncode == 0, proof.stdout + proof.stderr
