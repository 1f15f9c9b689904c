"""A paper node at twice its usual rate for half an hour: one line, docs/benchmarks/soak.md; exit 1 when it is not flat.

SOAK_MINUTES=n makes it longer or shorter.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "integration"))  # its parts are tested there

import soak_judge
import soak_page
import soak_run

PAGE = Path(__file__).resolve().parents[2] / "docs" / "benchmarks" / "soak.md"
MINUTES = 30.0
USUAL_S, UNPURGED_S = 60.0, 180.0


def main() -> int:
    seconds = float(os.environ.get("SOAK_MINUTES") or MINUTES) * soak_judge.MINUTE_S
    load = os.getloadavg()[0]
    # A database that is still stopping may write into its folder while that is removed: that costs no record.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        usual, unpurged, soaked = (Path(name, each) for each in ("usual", "unpurged", "soaked"))
        rate = soak_run.usual_rate(usual, USUAL_S)
        never = soak_run.soak(unpurged, soak_run.doubled(unpurged, purges=False), UNPURGED_S, rate)
        record = soak_run.soak(soaked, soak_run.doubled(soaked), seconds, rate)
    assert (record.exit_code, record.audit_code) == (0, 0), f"{record.output}\n{record.audit}"
    sys.stdout.write(f"{soak_page.line(record)}\n")
    assert soak_judge.is_busy(record), "not twice the usual rate: the soak says nothing"
    PAGE.write_text(soak_page.page(record, never, load), encoding="utf-8")
    return 0 if all(check.passes for check in soak_judge.judge(record)) else 1


if __name__ == "__main__":
    sys.exit(main())
