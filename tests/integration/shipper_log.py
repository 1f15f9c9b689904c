"""The log of a run written by hand: lives of market orders as Nautilus tells them, one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from nautilus_ext.persistence.segments import SEGMENT_BYTES_MAX, SegmentWriter, run_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

INSTRUMENT = "BTCUSDT-PERP.BINANCE"
STRATEGY, ACCOUNT = "S-000", "BINANCE-001"
POSITION = f"{INSTRUMENT}-{STRATEGY}"
EVENTS_PER_ORDER = 6
START_NS = 1_700_000_000_000_000_000
STEP_NS = 1_000_000

_encode = msgspec.json.Encoder().encode


def payload(seq: int, kind: str, body: Any, ts_ns: int = START_NS) -> bytes:
    return _encode((seq, kind, ts_ns, ts_ns, body))


def instrument() -> dict[str, Any]:
    """Give the body of the one instrument that is traded."""
    return {
        "instrument_id": INSTRUMENT,
        "canonical_id": "BINANCE-FUTURES:PERPETUAL:BTC-USDT",
        "asset_key": "PERPETUAL:BTC-USDT",
        "venue": "BINANCE",
        "venue_type": "NAUTILUS",
        "instrument_type": "CryptoPerpetual",
        "base_asset": "BTC",
        "quote_currency": "USDT",
        "settlement_currency": "USDT",
        "is_inverse": False,
        "multiplier": "1",
        "price_precision": 1,
        "size_precision": 3,
        "definition": {"type": "CryptoPerpetual", "id": INSTRUMENT},
    }


class Trader:
    """Numbers what it does: buys twice, sells twice, for ever; the position is closed after each four orders."""

    def __init__(self, prefix: str = "O", seq: int = 0) -> None:
        self.seq = seq
        self.orders = 0
        self._prefix = prefix

    def instrument(self) -> bytes:
        return self.record("Instrument", instrument())

    def record(self, kind: str, body: Any, ts_ns: int = START_NS) -> bytes:
        self.seq += 1
        return payload(self.seq, kind, body, ts_ns)

    def order(self, **initialized: Any) -> Iterator[bytes]:
        """Trade one market order: initialized, submitted, accepted, filled, position, account."""
        self.orders += 1
        number = self.orders
        order_id, ts_ns = f"{self._prefix}-{number}", START_NS + number * STEP_NS
        turn = number % 4 or 4
        side = "BUY" if turn < 3 else "SELL"
        ids = {
            "trader_id": "TRADER-001", "strategy_id": STRATEGY, "instrument_id": INSTRUMENT,
            "client_order_id": order_id,
        }  # fmt: skip
        yield self._event("OrderInitialized", ts_ns, {**ids, **_initialized(side), **initialized})
        yield self._event("OrderSubmitted", ts_ns, {**ids, "account_id": ACCOUNT})
        placed = {**ids, "venue_order_id": f"V-{order_id}", "account_id": ACCOUNT, "reconciliation": False}
        yield self._event("OrderAccepted", ts_ns, placed)
        yield self._event("OrderFilled", ts_ns, {**placed, **_filled(order_id, side)})
        yield self._event(*self._position(turn, ts_ns))
        yield self._event("AccountState", ts_ns, _account(turn))

    def end(self) -> bytes:
        return payload(0, "End", {"last_seq": self.seq, "clean": True})

    def _event(self, kind: str, ts_ns: int, body: dict[str, Any]) -> bytes:
        event_id = f"{self._prefix}-{self.seq + 1:08x}-0000-4000-8000-000000000000"
        return self.record(
            kind, {"type": kind, **body, "event_id": event_id, "ts_event": ts_ns, "ts_init": ts_ns}, ts_ns
        )

    def _position(self, turn: int, ts_ns: int) -> tuple[str, int, dict[str, Any]]:
        kind = {1: "PositionOpened", 4: "PositionClosed"}.get(turn, "PositionChanged")
        opened_by, opened_ns = self.orders - turn + 1, ts_ns - (turn - 1) * STEP_NS
        held = min(turn, 4 - turn)
        body = {
            "trader_id": "TRADER-001", "strategy_id": STRATEGY, "instrument_id": INSTRUMENT,
            "position_id": POSITION, "account_id": ACCOUNT, "opening_order_id": f"{self._prefix}-{opened_by}",
            "entry": "BUY", "side": "LONG" if held else "FLAT", "signed_qty": held * 0.01, "quantity": f"{held}0.000",
            "peak_qty": f"{min(turn, 2)}0.000", "last_qty": "0.010", "last_px": "40000.1", "currency": "USDT",
            "avg_px_open": 40000.1, "realized_pnl": f"-{0.072 * turn:.8f} USDT", "duration_ns": 0,
        }  # fmt: skip
        if turn > 1:
            body |= {"ts_opened": opened_ns, "ts_closed": ts_ns if turn == 4 else 0}
            body |= {"avg_px_close": 40000.0 if turn > 2 else 0.0, "realized_return": -0.0, "unrealized_pnl": "0 USDT"}
        if turn == 4:
            body |= {"closing_order_id": f"{self._prefix}-{self.orders}"}
        return kind, ts_ns, body


def _initialized(side: str) -> dict[str, Any]:
    return {
        "order_side": side, "order_type": "MARKET", "quantity": "0.010", "time_in_force": "GTC", "post_only": False,
        "reduce_only": False, "quote_quantity": False, "options": {}, "emulation_trigger": "NO_TRIGGER",
        "trigger_instrument_id": None, "contingency_type": "NO_CONTINGENCY", "order_list_id": None,
        "linked_order_ids": None, "parent_order_id": None, "exec_algorithm_id": None, "exec_algorithm_params": None,
        "exec_spawn_id": None, "tags": None, "reconciliation": False,
    }  # fmt: skip


def _filled(order_id: str, side: str) -> dict[str, Any]:
    return {
        "trade_id": f"T-{order_id}", "position_id": POSITION, "order_side": side, "order_type": "MARKET",
        "last_qty": "0.010", "last_px": "40000.1", "currency": "USDT", "commission": "0.07200018 USDT",
        "liquidity_side": "TAKER", "info": {},
    }  # fmt: skip


def _account(turn: int) -> dict[str, Any]:
    balance = {"type": "AccountBalance", "total": f"{1_000_000 - turn}.00000000", "locked": "1.00000250"}
    margin = {"type": "MarginBalance", "initial": "0.00000000", "maintenance": "1.00000250", "currency": "USDT"}
    return {
        "account_id": ACCOUNT, "account_type": "MARGIN", "base_currency": None,
        "balances": [{**balance, "free": "999998.92799732", "currency": "USDT"}],
        "margins": [{**margin, "instrument_id": INSTRUMENT}], "reported": False, "info": {},
    }  # fmt: skip


def begin_log(
    journal_folder: Path, book_id: str, run: int, epoch: int, segment_bytes_max: int = SEGMENT_BYTES_MAX
) -> SegmentWriter:
    folder = run_folder(journal_folder, run)
    return SegmentWriter(folder, book_id=book_id, run=run, epoch=epoch, segment_bytes_max=segment_bytes_max)
