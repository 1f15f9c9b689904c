"""Venues that tests talk to in lines of text, and what came of it as lines of text.

A transcript has a command and what must come of it per row: `a place 1 BUY LIMIT 5@100 -> a accepted 1, ...`, in
order. A row that begins with `->` has more events of the command above; after a `;` a list goes on in the next row.
Tick and lot are 1. Strangers are there only after a `step BID*LOTS ASK*LOTS`.
"""

from __future__ import annotations

from decimal import Decimal

from nautilus_ext.simulation.exchange.orders import (
    AccountChanged,
    AccountTerms,
    Filled,
    NewOrder,
    Refusal,
    Updated,
)
from nautilus_ext.simulation.exchange.venue import Venue
from nautilus_ext.simulation.market import Listing, Quote, Step, Trade

PERP, SPOT, INVERSE = "BTCUSDT-PERP.T", "BTCUSDT.T", "BTCUSD-PERP.T"
RICH = Decimal(10**9)
CONTINGENCIES = ("OCO", "OUO")


def a_listing(instrument_id: str = PERP, **given) -> Listing:
    kinds = {PERP: "linear", SPOT: "spot", INVERSE: "inverse"}
    values = {
        "instrument_id": instrument_id,
        "kind": kinds[instrument_id],
        "base": "BTC",
        "quote": "USD" if instrument_id == INVERSE else "USDT",
        "tick": Decimal(1),
        "lot": Decimal(1),
        "spread_ticks": 1,
        "depth": Decimal(10),
        "maker_fee": Decimal("0.0002"),
        "taker_fee": Decimal("0.0005"),
    }
    return Listing(**{**values, **given})


def a_venue(
    *listings: Listing, accounts: str = "abc", funds: dict[str, Decimal] | None = None, levels: int = 1
) -> Venue:
    venue = Venue("T", listings or (a_listing(),), levels=levels)
    for name in accounts:
        venue.open_account(terms(name, funds), 0)
    venue.take_events()
    return venue


def terms(account: str, funds: dict[str, Decimal] | None = None) -> AccountTerms:
    funds = {"USDT": RICH, "BTC": RICH, "USD": RICH} if funds is None else funds
    return AccountTerms(account=account, kind="MARGIN", starting_balances=funds, leverage=Decimal(10))


def an_order(text: str, instrument_id: str = PERP) -> NewOrder:
    """As in `1 SELL STOP_LIMIT 5@100 t=99 IOC post reduce show=2 parent=0 OCO=3,4 until=50`; in `SPOT` at its end."""
    own_id, side, kind, size, *flags = text.split()
    quantity, _, price = size.partition("@")
    values = dict(flag.split("=") for flag in flags if "=" in flag)
    contingency = next((name for name in CONTINGENCIES if name in values), "NONE")
    linked = values.get(contingency, "")
    return NewOrder(
        client_order_id=own_id,
        instrument_id=SPOT if "SPOT" in flags else instrument_id,
        side=side,
        type=kind,
        quantity=Decimal(quantity),
        quote_quantity="quote" in flags,
        price=Decimal(price) if price else None,
        trigger_price=Decimal(values["t"]) if "t" in values else None,
        time_in_force=next((flag for flag in flags if flag in ("IOC", "FOK", "GTD", "DAY")), "GTC"),
        expire_ns=int(values.get("until", 0)),
        post_only="post" in flags,
        reduce_only="reduce" in flags,
        display_quantity=Decimal(values["show"]) if "show" in values else None,
        parent_id=values.get("parent"),
        linked_ids=tuple(linked.split(",")) if linked else (),
        contingency="OTO" if "OTO" in flags else contingency,
    )


def rows(transcript: str) -> list[tuple[str, list[str]]]:
    """Each command with its events."""
    found = []
    for line in transcript.replace(";\n", ";").strip().splitlines():
        command, arrow, events = line.partition("->")
        if command.strip():
            found.append((" ".join(command.split()), []))
        found[-1][1].extend(events.strip().split(", ") if arrow else [])
    return found


class Script:
    """Carries out commands in text; time goes on by 1 ns per command, or to `at MOMENT`."""

    def __init__(self, venue: Venue | None = None, instrument_id: str = PERP) -> None:
        self.venue = venue or a_venue()
        self.instrument_id = instrument_id
        self.ts_ns = 0

    def play(self, transcript: str) -> list[tuple[str, list[str]]]:
        """Its commands again, each with what really came of it, also that it left the book crossed."""
        return [(command, [*self.run(command), *self._crossed()]) for command, _ in rows(transcript)]

    def run(self, command: str) -> list[str]:
        self.ts_ns += 1
        who, _, rest = command.partition(" ")
        verb, _, what = rest.partition(" ")
        if who == "at":
            self.ts_ns = int(rest)
            self.venue.expire(self.ts_ns)
        elif who == "step":
            self.venue.step(a_step(rest, self.instrument_id), self.ts_ns)
        elif who in ("halt", "open"):
            self.venue.set_halted(who == "halt", self.ts_ns)
        elif verb == "place":
            return self._told(
                self.venue.place(who, [an_order(each, self.instrument_id) for each in what.split(";")], self.ts_ns)
            )
        elif verb == "modify":
            own_id, *changes = what.split()
            values = {key: Decimal(value) for key, value in (change.split("=") for change in changes)}
            return self._told(
                self.venue.modify(
                    who,
                    own_id,
                    None,
                    quantity=values.get("q"),
                    price=values.get("p"),
                    trigger_price=values.get("t"),
                    ts_ns=self.ts_ns,
                )
            )
        elif verb == "cancel":
            return self._told(self.venue.cancel(who, what, None, self.ts_ns))
        elif verb == "cancel_all":
            self.venue.cancel_all(who, None, what or None, self.ts_ns)
        else:
            raise ValueError(f"no such command: {command}")
        return self._told(None)

    def _told(self, refusal: Refusal | None) -> list[str]:
        lines = [
            f"{who} {said(event)}" for who, event in self.venue.take_events() if not isinstance(event, AccountChanged)
        ]
        return lines if refusal is None else [*lines, f"refused {refusal.code}"]

    def _crossed(self) -> list[str]:
        bids, asks = self.venue.levels(self.instrument_id, 1)
        return [f"crossed {bids[0][0]} {asks[0][0]}"] if bids and asks and bids[0][0] >= asks[0][0] else []

    def book(self) -> str:
        """Best first: `bids 5@99 2@98 asks 1@101`."""
        sides = zip(("bids", "asks"), self.venue.levels(self.instrument_id), strict=True)
        return " ".join(" ".join([name, *(f"{lots}@{ticks}" for ticks, lots in levels)]) for name, levels in sides)


def a_step(text: str, instrument_id: str = PERP) -> Step:
    """`99*5 101*7 BUY*2`: bid, ask, and perhaps a stranger's trade."""
    bid, ask, *trade = text.split()
    (bid_ticks, bid_lots), (ask_ticks, ask_lots) = (map(int, each.split("*")) for each in (bid, ask))
    trades = ()
    if trade:
        side, lots = trade[0].split("*")
        trades = (Trade(instrument_id, ask_ticks if side == "BUY" else bid_ticks, int(lots), side == "BUY"),)
    return Step(0, (Quote(instrument_id, bid_ticks, ask_ticks, bid_lots, ask_lots),), trades, {})


def said(event: object) -> str:
    order = event.order
    kind = type(event).__name__.lower()
    if isinstance(event, Filled):
        fill = event.fill
        return f"filled {order.client_order_id} {fill.quantity}@{fill.price} {'maker' if fill.maker else 'taker'}"
    if isinstance(event, Updated):
        shape = f" q={order.quantity}{'' if order.price is None else f' p={order.price}'}"
        trigger = "" if order.trigger_price is None else f" t={order.trigger_price}"
        return f"updated {order.client_order_id}{shape}{trigger}{' held' if order.held else ''}"
    code = order.reason.partition(":")[0]
    return f"{kind} {order.client_order_id}{' held' if order.held else ''}{f' {code}' if code else ''}"
