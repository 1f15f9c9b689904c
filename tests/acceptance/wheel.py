"""The wheel is complete: built from a clean copy and installed into a clean venv, it checks, migrates and trades.

The dependencies are those of the venv that runs this, installed with their hashes; the project in it stays unseen.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
import zipfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("nautilus_ext", "adapters", "migrations")
NOT_COPIED = (".*", "__pycache__", "dist", "build")
MUST_HAVE = ("migrations/env.py", "migrations/script.py.mako", "migrations/versions/0001_books.py")
COMMAND_TIMEOUT_S = 60.0
SERVER_STOP_S = 15.0
POLL_S = 0.05
TAIL_LINES = 30
TRADING_S = 5


class Refuted(Exception):
    """What this program proves does not hold."""


def main() -> int:
    folder = Path(tempfile.mkdtemp(prefix="exec-suite-wheel-"))
    began_s = time.monotonic()
    try:
        prove(folder)
    except Refuted as error:
        print(f"✗ {error}")
        return 1
    finally:
        _await_no_process(folder)
        shutil.rmtree(folder)
    print(f"wheel proven in {time.monotonic() - began_s:.1f} s")
    return 0


def prove(folder: Path) -> None:
    with step("clean copy"):
        shutil.copytree(ROOT, folder / "source", ignore=shutil.ignore_patterns(*NOT_COPIED))
    with step("wheel"):
        wheel = build(folder)
    with step("content"):
        check_content(wheel)
    with step("clean venv"):
        python = install(folder, wheel)
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    config = shutil.copy(ROOT / "node_configs" / "paper.json", elsewhere)
    shell = Shell(python, elsewhere, folder / "data")
    with step("our packages come from the wheel"):
        shell.expect(r"^fine$", "-c", _WHERE.format(packages=PACKAGES, home=str(python.parents[1])))
    with step("check"):
        shell.expect(r": fine \(PAPER-001, paper\)", "-m", "nautilus_ext", "check", config)
    with step("migrate"):
        shell.expect(r": migrated to \d{4}$", "-m", "nautilus_ext", "migrate", config)
    with step(f"{TRADING_S} seconds of paper trading"):
        orders = shell.expect(
            r"^ *orders +(\d.* filled.*)$", "-m", "nautilus_ext.run", config, "--seconds", str(TRADING_S)
        )
    print(f"  orders: {orders}")
    with step("no process left behind"):
        if left := _await_no_process(folder):
            raise Refuted(f"still running {SERVER_STOP_S:g} s after the end: {left}")


@contextmanager
def step(name: str) -> Iterator[None]:
    began_s = time.monotonic()
    yield
    print(f"✓ {name:34}{time.monotonic() - began_s:5.1f} s", flush=True)


def build(folder: Path) -> Path:
    out = folder / "dist"
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-index", "--no-deps", "--no-build-isolation"]
    run([*pip, "-w", str(out), str(folder / "source")], cwd=folder)
    (wheel,) = out.glob("*.whl")
    return wheel


def check_content(wheel: Path) -> None:
    """Hold every file of our packages to be in the wheel, and nothing else beside its metadata."""
    found = set(zipfile.ZipFile(wheel).namelist())
    info = {name for name in found if name.split("/")[0].endswith(".dist-info")}
    expected = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    if missing := sorted((expected | set(MUST_HAVE)) - found):
        raise Refuted(f"the wheel lacks {missing}")
    if more := sorted(found - info - expected):
        raise Refuted(f"the wheel has {more}, which are no part of {PACKAGES}")


def install(folder: Path, wheel: Path) -> Path:
    venv = folder / "venv"
    python = venv / "bin" / "python"
    run([sys.executable, "-m", "venv", "--without-pip", str(venv)], cwd=folder)
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--no-index", "--no-deps"]
    run([*pip, str(wheel)], cwd=folder)
    site = next((venv / "lib").glob("python3.*")) / "site-packages"
    # The folder itself, as a plain entry: its own .pth files, and with them our editable install, stay out of effect.
    (site / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n", encoding="utf-8")
    return python


_WHERE = """
import importlib, importlib.metadata, pathlib, sys
home = pathlib.Path({home!r})
for name in {packages}:
    origin = pathlib.Path(importlib.import_module(name).__file__)
    assert origin.is_relative_to(home), f"{{name}} is imported from {{origin}}"
assert importlib.metadata.distribution("exec-suite-nt").locate_file("").is_relative_to(home)
print("fine")
"""


class Shell:
    """A terminal of somebody who has nothing but the venv and a config."""

    def __init__(self, python: Path, cwd: Path, data: Path) -> None:
        self._python = python
        self._cwd = cwd
        self._environment = {"PATH": os.environ["PATH"], "HOME": str(cwd), "NAUTILUS_EXT_DATA": str(data)}

    def expect(self, pattern: str, *arguments: str) -> str:
        """Run Python; return what the pattern, or its first group, found in the output."""
        output = run([str(self._python), *arguments], cwd=self._cwd, environment=self._environment)
        if (found := re.search(pattern, output, re.MULTILINE)) is None:
            raise Refuted(f"{' '.join(arguments)} ended well, but says nowhere {pattern!r}:\n{_tail(output)}")
        return found[found.lastindex or 0]


def run(command: list[str], *, cwd: Path, environment: dict[str, str] | None = None) -> str:
    try:
        done = subprocess.run(
            command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, timeout=COMMAND_TIMEOUT_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise Refuted(f"{command} did not end within {COMMAND_TIMEOUT_S:g} s:\n{_tail(error.output)}") from None
    if done.returncode:
        raise Refuted(f"{command} ended with {done.returncode}:\n{_tail(done.stdout)}")
    return done.stdout


def _tail(output: str | bytes | None) -> str:
    text = output.decode(errors="replace") if isinstance(output, bytes) else output or ""
    return "\n".join(text.splitlines()[-TAIL_LINES:])


def _await_no_process(folder: Path) -> list[str]:
    """Wait for what the runs started in the folder to end by itself; return what did not."""
    deadline_s = time.monotonic() + SERVER_STOP_S
    while (left := _processes(folder)) and time.monotonic() < deadline_s:
        time.sleep(POLL_S)
    return left


def _processes(folder: Path) -> list[str]:
    lines = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
    return [" ".join(line) for line in lines if any(str(folder) in word for word in line)]


if __name__ == "__main__":
    sys.exit(main())
