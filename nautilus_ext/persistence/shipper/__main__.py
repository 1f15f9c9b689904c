"""python -m nautilus_ext.persistence.shipper: the order as one JSON line on stdin."""

import sys

from nautilus_ext.persistence.shipper.process import main

if __name__ == "__main__":
    sys.exit(main())
