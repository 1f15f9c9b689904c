"""The file is whole lines, for its owner only, and bounded."""

from __future__ import annotations

import errno
import json
import stat
import subprocess
import sys

import pytest

from nautilus_ext.logs.files import RotatingFile

LINE = b"x" * 99 + b"\n"


def sizes(folder):
    return {file.name: file.stat().st_size for file in folder.iterdir()}


def test_rotation_bounds_the_real_bytes(tmp_path):
    """A thousand lines leave the newest ones, in at most retain_files + 1 files of max_bytes."""
    file = RotatingFile(tmp_path / "b.jsonl", max_bytes=1000, retain_files=2)
    for number in range(1000):
        file.write(b"%099d\n" % number)
    file.close()
    assert sizes(tmp_path) == {"b.jsonl": 1000, "b.jsonl.1": 1000, "b.jsonl.2": 1000}
    kept = [int(line) for name in ("b.jsonl.2", "b.jsonl.1", "b.jsonl") for line in (tmp_path / name).open()]
    assert kept == list(range(970, 1000))


def test_a_second_run_appends_and_ends_a_torn_line(tmp_path):
    """What a killed process left half written is a line of its own."""
    path = tmp_path / "b.jsonl"
    path.write_bytes(LINE + b'{"torn')
    file = RotatingFile(path, max_bytes=10_000, retain_files=2)
    file.write(LINE)
    file.close()
    assert path.read_bytes() == LINE + b'{"torn\n' + LINE


def test_a_lowered_retention_removes_older_files(tmp_path):
    """Files beyond the retention go at the next start; files of others stay."""
    for name in ("b.jsonl.1", "b.jsonl.2", "b.jsonl.3", "b.jsonl.bak", "c.jsonl.7"):
        (tmp_path / name).write_bytes(LINE)
    file = RotatingFile(tmp_path / "b.jsonl", max_bytes=10_000, retain_files=1)
    file.write(LINE)
    file.close()
    assert set(sizes(tmp_path)) == {"b.jsonl", "b.jsonl.1", "b.jsonl.bak", "c.jsonl.7"}


@pytest.mark.parametrize("existing", [False, True])
def test_only_the_owner_reads_it(tmp_path, existing):
    """Mode 0600, also where a file with another mode stood before."""
    path = tmp_path / "logs" / "b.jsonl"
    if existing:
        path.parent.mkdir()
        path.touch(mode=0o644)
    file = RotatingFile(path, max_bytes=250, retain_files=1)
    for _ in range(3):
        file.write(LINE)
    file.close()
    assert {stat.S_IMODE(f.stat().st_mode) for f in path.parent.iterdir()} == {0o600}


def test_no_retention_keeps_one_file(tmp_path):
    """retain_files = 0 is allowed: the file starts anew."""
    file = RotatingFile(tmp_path / "b.jsonl", max_bytes=250, retain_files=0)
    for _ in range(5):
        file.write(LINE)
    file.close()
    assert sizes(tmp_path) == {"b.jsonl": 100}


def test_a_full_disk_leaves_whole_lines(tmp_path):
    """A write that goes half through is taken back, and the next one succeeds once there is room."""
    path = tmp_path / "b.jsonl"
    program = f"""
import json, resource
from pathlib import Path
from nautilus_ext.logs.files import RotatingFile
file = RotatingFile(Path({str(path)!r}), max_bytes=10_000, retain_files=1)
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (250, hard))
file.write({LINE!r} * 2)
try:
    file.write({LINE!r})
except OSError as error:
    print(json.dumps([error.errno, Path({str(path)!r}).stat().st_size]))
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
file.write({LINE!r})
"""
    run = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, timeout=30)
    assert json.loads(run.stdout) == [errno.EFBIG, 200]
    assert path.read_bytes() == LINE * 3
