"""What a Parquet catalog holds: its instruments, and its data in the order of a backtest, a bounded part at a time."""

from __future__ import annotations

import heapq
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from nautilus_trader.core.nautilus_pyo3 import (
    DataBackendSession,  # pyright: ignore[reportAttributeAccessIssue] - compiled
    drop_cvec_pycapsule,  # pyright: ignore[reportAttributeAccessIssue] - compiled
)
from nautilus_trader.model.data import Bar, OrderBookDelta, QuoteTick, TradeTick, capsule_to_list
from nautilus_trader.persistence.catalog import ParquetDataCatalog
from nautilus_trader.persistence.funcs import urisafe_identifier

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from nautilus_trader.model.identifiers import InstrumentId
    from nautilus_trader.model.instruments import Instrument

DATA_PER_READ = 5_000  # in memory at once, per kind of data
KINDS = {"quotes": QuoteTick, "trades": TradeTick, "order book deltas": OrderBookDelta, "bars": Bar}


class Unplayable(ValueError):
    """The catalog is not there, or holds nothing of what was asked for: the message names it."""


class Recording:
    """One catalog, or the part of it that was asked for."""

    def __init__(
        self, folder: Path, instrument_ids: Sequence[InstrumentId] | None, start_ns: int | None, end_ns: int | None
    ) -> None:
        if not (folder / "data").is_dir():
            made = "`python -m nautilus_ext catalog FOLDER` makes one"
            raise Unplayable(f"there is no Parquet catalog at {folder}: {made}")
        self.folder = folder
        self._range: dict[str, Any] = {"start": start_ns, "end": end_ns}
        self._catalog = ParquetDataCatalog(str(folder))
        self.instruments = self._find_instruments(instrument_ids)
        self._names = sorted(each.id.value for each in self.instruments)
        self.kinds = {name: self._files(kind) for name, kind in KINDS.items()}
        if not any(self.kinds.values()):
            raise Unplayable(f"the catalog {folder} holds no {', '.join(KINDS)} of its instruments in that range")

    def _find_instruments(self, wanted: Sequence[InstrumentId] | None) -> list[Instrument]:
        every = {each.id: each for each in self._catalog.instruments()}  # the last version of each
        if not every:
            raise Unplayable(f"the catalog {self.folder} holds no instrument")
        missing = sorted(str(each) for each in wanted or () if each not in every)
        if missing:
            held = ", ".join(sorted(str(each) for each in every))
            raise Unplayable(f"the catalog {self.folder} has no {', '.join(missing)}; it has {held}")
        return [every[each] for each in wanted] if wanted else list(every.values())

    def _files(self, kind: type) -> list[str]:
        files = self._catalog.get_file_list_from_data_cls(kind)
        return self._catalog.filter_files(kind, files, self._names, **self._range)

    def holds(self, kind: str, name: str) -> bool:
        """Whether there is such data of the instrument, or bars of the bar type, in the range."""
        folder = urisafe_identifier(name)
        return any(file.split("/")[-2] == folder for file in self.kinds[kind])

    def data(self) -> Iterator[Any]:
        """All of it by `ts_init`; at the same nanosecond quotes come first, then trades, deltas, bars."""
        return heapq.merge(*(self._of_kind(name) for name in KINDS), key=attrgetter("ts_init"))

    def _of_kind(self, name: str) -> Iterator[Any]:
        if not self.kinds[name]:
            return
        session = self._catalog.backend_session(
            data_cls=KINDS[name],
            session=DataBackendSession(chunk_size=DATA_PER_READ),
            files=self.kinds[name],
            optimize_file_loading=True,  # whole folders of files: a backtest's way, hence its order at equal times
            **self._range,
        )
        for chunk in session.to_query_result():
            data = capsule_to_list(chunk)
            drop_cvec_pycapsule(chunk)
            yield from data


def moved(datum: Any, ts_event: int, ts_init: int) -> Any:
    """The same datum at another time: Nautilus's data cannot be changed."""
    return _MOVERS[type(datum)](datum, ts_event, ts_init)


def _quote(tick: QuoteTick, ts_event: int, ts_init: int) -> QuoteTick:
    bid, ask, bid_size, ask_size = tick.bid_price, tick.ask_price, tick.bid_size, tick.ask_size
    return QuoteTick(tick.instrument_id, bid, ask, bid_size, ask_size, ts_event, ts_init)


def _trade(tick: TradeTick, ts_event: int, ts_init: int) -> TradeTick:
    return TradeTick(
        tick.instrument_id, tick.price, tick.size, tick.aggressor_side, tick.trade_id, ts_event, ts_init
    )  # fmt: skip


def _delta(delta: OrderBookDelta, ts_event: int, ts_init: int) -> OrderBookDelta:
    return OrderBookDelta(
        delta.instrument_id, delta.action, delta.order, delta.flags, delta.sequence, ts_event, ts_init
    )  # fmt: skip


def _bar(bar: Bar, ts_event: int, ts_init: int) -> Bar:
    return Bar(
        bar.bar_type, bar.open, bar.high, bar.low, bar.close, bar.volume, ts_event, ts_init, bar.is_revision
    )  # fmt: skip


_MOVERS: dict[type, Callable[[Any, int, int], Any]] = {
    QuoteTick: _quote,
    TradeTick: _trade,
    OrderBookDelta: _delta,
    Bar: _bar,
}
