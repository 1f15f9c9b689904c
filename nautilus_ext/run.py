"""python -m nautilus_ext.run CONFIG [--backtest] [--seconds N] [--book NAME].

Exit codes: 0 ended as asked · 1 a defect or a crash · 2 change the file, the command or the environment ·
3 cure this machine · 4 cure the database · 5 another node has the book ·
6 a venue did not connect · 130 stopped before it ran.
"""

import sys

from nautilus_ext.python_version import require_python

require_python()

from nautilus_ext.app.main import run_command  # noqa: E402 - an old Python must hear of it before it fails to import

if __name__ == "__main__":
    sys.exit(run_command(sys.argv[1:]))
