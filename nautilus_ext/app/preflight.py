"""Is this machine fit to run, before anything starts: packages, folders."""

from __future__ import annotations

import os
from importlib import metadata, util
from pathlib import Path
from typing import TYPE_CHECKING

from nautilus_ext.errors import MachineError

if TYPE_CHECKING:
    from collections.abc import Iterator

NAUTILUS_SERIES = "1.231."
PANDAS_BELOW = 3
_OURS = 'DISTRIBUTION = "exec-suite-nt"'


def check_machine(data_dir: Path, log_folder: Path | None = None) -> None:
    """Raise MachineError with everything that must be cured first."""
    faults = [*_package_faults(), *_foreign_packages()]
    if not faults:
        faults += _folder_faults(data_dir, "data", 'set "data_dir" in the config, or NAUTILUS_EXT_DATA,')
    if not faults and log_folder is not None:
        faults += _folder_faults(log_folder, "log", 'set "logging_ext.directory"')
    if faults:
        raise MachineError("\n".join(["this machine is not ready:", *(f"  {fault}" for fault in faults)]))


def _package_faults() -> Iterator[str]:
    nautilus = metadata.version("nautilus_trader")
    if not nautilus.startswith(NAUTILUS_SERIES):
        cure = f"pip install 'nautilus_trader=={NAUTILUS_SERIES}*'"
        yield f"nautilus_trader is {nautilus}, this suite needs {NAUTILUS_SERIES}*: {cure}"
    pandas = metadata.version("pandas")
    if int(pandas.split(".")[0]) >= PANDAS_BELOW:
        yield f"pandas is {pandas}, with which every order costs more than the last: pip install 'pandas<3'"


def _foreign_packages() -> Iterator[str]:
    """An unrelated package on the public index is called `adapters`, and any project may have its own `migrations`."""
    ours = Path(__file__).resolve().parents[2]
    for name in ("adapters", "migrations"):
        spec = util.find_spec(name)
        origin = Path(spec.origin).resolve() if spec is not None and spec.origin else None
        if origin is None:
            yield f"the package {name!r} of exec-suite-nt is missing: pip install --force-reinstall exec-suite-nt"
        elif _OURS not in origin.read_text(encoding="utf-8"):
            yield (
                f"the package {name!r} at {origin.parent} is not the one of exec-suite-nt, which belongs at "
                f"{ours / name}: run from another folder, or pip uninstall {name} and reinstall exec-suite-nt"
            )


def _folder_faults(folder: Path, name: str, cure: str) -> Iterator[str]:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        yield f"the {name} folder {folder} cannot be made ({error.strerror}): {cure} to a folder that you may write"
        return
    if not os.access(folder, os.W_OK | os.X_OK):
        yield f"the {name} folder {folder} is not writable for this user: {cure} to one that is"
