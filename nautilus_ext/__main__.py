"""python -m nautilus_ext VERB: see cli.py."""

import sys

from nautilus_ext.python_version import require_python

require_python()

from nautilus_ext import streams  # noqa: E402 - an old Python must hear of it before it fails to import

streams.fill()

from nautilus_ext.cli import main  # noqa: E402 - see above

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
