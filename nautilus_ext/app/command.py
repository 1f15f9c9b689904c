"""One command of an operator: an exit code comes out, a clear message for every mistake, and never a secret."""

from __future__ import annotations

import argparse
import traceback
from typing import TYPE_CHECKING, Any

from nautilus_ext import config as configs
from nautilus_ext.app.paper import warn
from nautilus_ext.app.stop import Interrupted
from nautilus_ext.errors import SuiteError
from nautilus_ext.logs import Masker

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from nautilus_ext.config import Config

EXIT_DEFECT = 1


class Once(argparse.Action):
    """An option that may be given once: argparse itself takes the last one, and says nothing of the others."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        before = getattr(namespace, self.dest)
        if before is not None:
            parser.error(f"{option_string} is given twice, with {before!r} and {values!r}: give it once")
        setattr(namespace, self.dest, values)


class Command:
    """Loads the config of the command, and from then on hides its secrets in whatever goes wrong."""

    def __init__(self) -> None:
        self._masker = Masker()

    def load(self, path: str | Path, *, backtest: bool = False) -> Config:
        config = configs.load(path, backtest=backtest)
        self._masker = Masker(config.secrets.masked)
        return config

    def mask(self, text: str) -> str:
        return self._masker.text(text)

    def run(self, work: Callable[[Command], int]) -> int:
        try:
            return work(self)
        except (SuiteError, Interrupted) as error:
            message, exit_code = str(error), error.exit_code
        except KeyboardInterrupt:
            message, exit_code = "received SIGINT", Interrupted.exit_code
        except SystemExit as error:  # a strategy's own idea
            message, exit_code = f"something called sys.exit({error.code!r}) and ended the process", EXIT_DEFECT
        except Exception:  # noqa: BLE001 - a defect of ours: with its traceback, for the report
            message, exit_code = f"unexpected, please report it:\n{traceback.format_exc()}", EXIT_DEFECT
        return self._tell(message, exit_code)

    def _tell(self, message: str, exit_code: int) -> int:
        warn(self.mask(message.rstrip()))
        return exit_code
