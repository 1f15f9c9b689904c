"""python -m nautilus_ext.run CONFIG [--backtest] [--seconds N] [--book NAME].

Exit codes stand in errors.py and in --help.
"""

import signal
import sys

from nautilus_ext.python_version import require_python

require_python()

from nautilus_ext import streams  # noqa: E402 - an old Python must hear of it before it fails to import

streams.fill()
signal.signal(signal.SIGINT, signal.SIG_DFL)  # until the imports are done Ctrl-C ends the process without a traceback

from nautilus_ext.app.main import run_command  # noqa: E402 - see above

if __name__ == "__main__":
    sys.exit(run_command(sys.argv[1:]))
