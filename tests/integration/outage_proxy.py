"""A TCP proxy on the loopback between a node and its database: it cuts, refuses, slows down, and swallows answers."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import Self

CHUNK_BYTES = 65_536
COMMIT = b"Q\x00\x00\x00\x0bCOMMIT\x00"  # a simple query, as the shipper sends it
DRIVER_COMMIT = b"Q\x00\x00\x00\x0cCOMMIT;\x00"  # as asyncpg's own transactions do
ACCEPT_POLL_S = 0.1
CONNECT_S_MAX = 5.0


class Proxy:
    """Runs from construction to `close`; all connections through it fare alike."""

    def __init__(self, port: int) -> None:
        self.target = port
        self.delay_s = 0.0  # before each piece goes on, in both directions
        self.bytes_per_s = 0.0  # 0: as many as come
        self.commits_swallowed = 0
        self._swallow = 0
        self._commit = COMMIT
        self._is_open = True
        self._is_closed = False
        self._lock = threading.Lock()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(ACCEPT_POLL_S)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._is_closed = True
        self.cut()

    def cut(self) -> None:
        """End every connection now, and each new one at once, until `mend`."""
        self._is_open = False
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            _end(*pair)

    def mend(self) -> None:
        self._is_open = True

    def swallow_commits(self, count: int, commit: bytes = COMMIT) -> None:
        """Let the next COMMITs through to the server, and cut each of their connections before the answer."""
        self._commit = commit
        self._swallow = count

    def _accept(self) -> None:
        while not self._is_closed:
            try:
                client, _ = self._listener.accept()
            except TimeoutError:
                continue
            if not self._is_open or (server := self._to_server()) is None:
                client.close()
                continue
            with self._lock:
                self._pairs.append((client, server))
            for pump in (self._ask, self._answer):
                threading.Thread(target=pump, args=(client, server), daemon=True).start()
        self._listener.close()

    def _to_server(self) -> socket.socket | None:
        try:
            server = socket.create_connection(("127.0.0.1", self.target), CONNECT_S_MAX)
        except OSError:
            return None
        server.settimeout(None)  # before any thread waits in it
        return server

    def _ask(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(CHUNK_BYTES):
                self._take_time(data)
                if self._swallow and self._commit in data:
                    self._swallow -= 1
                    self.commits_swallowed += 1
                    _end(client)  # the node sees the cut first, whatever the server answers
                    server.sendall(data)
                    server.shutdown(socket.SHUT_WR)  # the server reads COMMIT, and then that nobody is there
                    return
                server.sendall(data)
        _end(client, server)

    def _answer(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(CHUNK_BYTES):
                self._take_time(data)
                client.sendall(data)
        _end(client, server)

    def _take_time(self, data: bytes) -> None:
        if self.delay_s or self.bytes_per_s:
            time.sleep(self.delay_s + (len(data) / self.bytes_per_s if self.bytes_per_s else 0))


def _end(*ends: socket.socket) -> None:
    for end in ends:
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()
