"""python -m nautilus_ext.run CONFIG [--backtest] [--seconds N] [--book NAME].

Exit codes stand in errors.py and in --help.
"""

import sys

from nautilus_ext.python_version import require_python

require_python()

from nautilus_ext.app.main import run_command  # noqa: E402 - an old Python must hear of it before it fails to import

if __name__ == "__main__":
    sys.exit(run_command(sys.argv[1:]))
