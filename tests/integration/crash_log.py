"""Write the log of a run by hand, and say the number of each record once it is acknowledged.

crash_log.py BOOK_FOLDER BOOK FLUSH    flush `event`: a call per record; `batch`: one per order, at its end

Run and epoch come on stdin: whoever starts a run names the process that writes its log.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from shipper_log import Trader, begin_log

ORDERS = 100
SEGMENT_BYTES_MAX = 20_000  # a new file every five orders


def main() -> None:
    folder, book, flush = sys.argv[1:]
    run, epoch = sys.stdin.readline().split()
    log = begin_log(Path(folder), book, int(run), int(epoch), SEGMENT_BYTES_MAX)
    trader = Trader(prefix=f"O{run}")
    log.append(trader.instrument())
    for _ in range(ORDERS):
        if flush == "batch":
            log.append_many(list(trader.order()))
            say(trader.seq)
            continue
        for payload in trader.order():
            log.append(payload)
            say(trader.seq)
    log.append(trader.end())
    log.close()


def say(seq: int) -> None:
    os.write(1, f"{seq}\n".encode())


if __name__ == "__main__":
    main()
