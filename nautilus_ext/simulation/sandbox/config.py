"""Config of Nautilus's sandbox with a memory, as it stands in a JSON file."""

import os
from pathlib import Path

from nautilus_trader.adapters.sandbox.config import SandboxExecutionClientConfig


class RememberingSandboxConfig(SandboxExecutionClientConfig, frozen=True, kw_only=True):
    """Config of Nautilus's sandbox with a memory; all its fields, and these.

    Parameters
    ----------
    data_dir : str, optional
        The folder below which the memory is kept; default: the suite's data folder.
    book : str, optional
        Whose memory it is; default: the suite's book, or with plain Nautilus the trader id.
    use_random_ids : bool
        Always true: Nautilus counts orders and positions from 1 at each start, and would give an id a second time.
    starting_balances : list[str]
        The balances of an account that has no memory yet.

    """

    data_dir: str | None = None
    book: str | None = None
    use_random_ids: bool = True

    def __post_init__(self) -> None:
        if not self.use_random_ids:
            raise ValueError("use_random_ids must stay true: counted ids would be given again after a restart")

    def memory_path(self, trader_id: str) -> Path:
        folder = self.data_dir or os.environ.get("NAUTILUS_EXT_DATA") or "~/.local/state/nautilus_ext"
        return Path(folder).expanduser() / "sandbox" / (self.book or trader_id) / f"{self.venue}.sqlite"
