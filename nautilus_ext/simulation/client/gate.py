"""The stream on its way to the engine: let through, held while reports are made, and recorded for them. Pure."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nautilus_ext.simulation.wire import StreamItem

HELD_ITEMS_MAX = 100_000


class Gate:
    """Hands each item to `apply`, in order; while somebody holds it they wait, and beyond the bound they do not."""

    def __init__(self, apply: Callable[[StreamItem], None], on_full: Callable[[], None]) -> None:
        self._apply = apply
        self._on_full = on_full
        self._holds = 0
        self._held: list[StreamItem] = []
        self._recorders: list[list[StreamItem]] = []

    @property
    def is_open(self) -> bool:
        return not self._holds

    def take(self, item: StreamItem) -> None:
        for recorder in self._recorders:
            recorder.append(item)
        if not self._holds:
            self._apply(item)
        elif len(self._held) < HELD_ITEMS_MAX:
            self._held.append(item)
        else:
            self._on_full()
            self._holds = 1
            self.let_go()
            self._apply(item)

    def hold(self) -> None:
        self._holds += 1

    def let_go(self) -> None:
        """The last one who holds it lets it go on."""
        self._holds = max(0, self._holds - 1)
        if not self._holds:
            held, self._held = self._held, []
            for item in held:
                self._apply(item)

    def forget(self) -> None:
        """What waits is known by other means."""
        self._held = []

    @contextmanager
    def recording(self) -> Iterator[list[StreamItem]]:
        """What comes meanwhile: answers are older than it by the time they are used."""
        items: list[StreamItem] = []
        self._recorders.append(items)
        try:
            yield items
        finally:
            self.stop_recording(items)

    def stop_recording(self, items: list[StreamItem]) -> None:
        self._recorders = [each for each in self._recorders if each is not items]
