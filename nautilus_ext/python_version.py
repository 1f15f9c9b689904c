"""The first import of every entry point. Written so that an old Python can read it and say what is wrong."""

import sys

OLDEST = (3, 12)
TOO_NEW = (3, 14)


def require_python():  # noqa: ANN201 - an annotation or an f-string is what an old Python would stumble over
    if OLDEST <= sys.version_info[:2] < TOO_NEW:
        return
    found = ".".join(str(part) for part in sys.version_info[:3])
    message = "exec-suite-nt needs Python 3.12 or 3.13, this is %s (%s): run it with the Python of its .venv\n"
    sys.stderr.write(message % (found, sys.executable))
    sys.exit(3)
