"""The standard streams of a process that was started without some of them: `>&-`, a careless supervisor."""

import os
import sys


def fill() -> None:
    """Put nothing where a stream is missing: nobody else's file may come to stand there, and nobody reads it."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = sys.stdout or os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", encoding="utf-8", closefd=False)
