"""The running node's answers to an audit: a file asks, a file answers, and no question holds trading up."""

from __future__ import annotations

import asyncio
import logging
import re
from typing import TYPE_CHECKING, Any

import msgspec

from nautilus_ext.persistence.segments import AUDIT_REQUEST
from nautilus_ext.persistence.sights import audit_answer
from nautilus_ext.persistence.venue_reports import ask_venues

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

REQUEST_BYTES_MAX = 1_000

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")

log = logging.getLogger(__name__)


class Answering:
    """Answers one audit at a time; `look` is called each second on the node's loop."""

    def __init__(
        self, folder: Path, cache: Any, msgbus: Any, began_ns: int, seen: Callable[[], tuple[int, Any]]
    ) -> None:
        """`seen` says how far the log is, and the ids of the orders that it knows, the newest first."""
        self.clients: Sequence[Any] = ()
        self._folder = folder
        self._cache = cache
        self._msgbus = msgbus
        self._began_ns = began_ns
        self._seen = seen
        self._asking: asyncio.Task[None] | None = None

    def look(self) -> None:
        """Answer what is asked; a question to the venues goes on beside, and the next audit waits for it."""
        if self._asking is not None and not self._asking.done():
            return
        request = self._folder / AUDIT_REQUEST
        try:
            with request.open("rb") as file:
                question = msgspec.json.decode(file.read(REQUEST_BYTES_MAX))
                asked, live = question.get("id"), question.get("live") is True
        except FileNotFoundError:
            return
        except (OSError, AttributeError, msgspec.MsgspecError):
            asked, live = None, False
        request.unlink(missing_ok=True)
        if not isinstance(asked, str) or not _ID.fullmatch(asked):
            log.warning("%s held no request for an audit and was removed", request)
        elif live:
            self._asking = asyncio.get_running_loop().create_task(self._ask(asked))
        else:
            self._answer(asked, None)

    def close(self) -> None:
        """Ask the venues no longer."""
        if self._asking is not None:
            self._asking.cancel()

    async def _ask(self, asked: str) -> None:
        try:
            self._answer(asked, await ask_venues(self.clients, self._cache, self._msgbus, self._began_ns))
        except Exception:
            log.exception("the venues could not be asked for the audit %s, which gets no answer", asked)

    def _answer(self, asked: str, venues: Any) -> None:
        seq, known = self._seen()
        answer = audit_answer(self._cache, asked, seq, known) | {"venues": venues}
        path = self._folder / f"audit-{asked}.json"
        unnamed = path.with_suffix(".new")
        unnamed.write_bytes(msgspec.json.encode(answer))
        unnamed.rename(path)
