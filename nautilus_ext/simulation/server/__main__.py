"""python -m nautilus_ext.simulation.server FOLDER: the world as JSON on stdin."""

import sys

from nautilus_ext.simulation.server.process import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
