"""Positions per venue and added up by asset, and balances: what the journal says of them.

No foreign keys, for the reason of the orders. Prices and unrealized profit come from quotes, not from the journal.
"""

from __future__ import annotations

from sqlalchemy import Table

from nautilus_ext.schema.columns import (
    bigint,
    book_id,
    flag,
    index,
    json,
    metadata,
    moment,
    newest_record,
    numeric,
    text,
)
from nautilus_ext.schema.order_tables import PROJECTION

OPEN = "side <> 'FLAT'"

venue_positions = Table(
    "venue_positions",
    metadata,
    book_id("Book of the position"),
    text("account_id", "Account that holds the position", key=True),
    text("instrument_id", "Nautilus id of the instrument", key=True),
    text("strategy_id", "Strategy of the position", key=True),
    text("position_id", "Nautilus id of the position; used again after it was closed", key=True),
    text("opening_order_id", "Order that opened it", key=True),
    text("canonical_id", "Instrument as [ASSET_CLASS:]VENUE:TYPE:PAYLOAD[@CHAIN]", null=True),
    text("asset_key", "The canonical id without its venue", null=True),
    text("base_asset", "What is held, for example BTC", null=True),
    text("venue", "Venue of the instrument"),
    text("venue_type", "NAUTILUS for a venue of NautilusTrader, EXTERNAL_SDK for any other"),
    text("closing_order_id", "Order that closed it", null=True),
    text("entry", "Side of the first fill: BUY or SELL"),
    text("side", "LONG, SHORT or FLAT"),
    numeric("signed_quantity", "Quantity in the unit of the instrument, negative when short"),
    numeric("base_quantity", "Quantity in base units, negative when short; inverse contracts at the average entry"),
    numeric("quantity", "Quantity in the unit of the instrument"),
    numeric("peak_quantity", "Largest quantity that it ever had"),
    numeric("last_quantity", "Quantity of the last fill"),
    numeric("last_price", "Price of the last fill"),
    numeric("average_entry_price", "Average price of the fills that opened it"),
    numeric("average_exit_price", "Average price of the fills that closed it", null=True),
    text("currency", "Currency of its profit and loss"),
    numeric("realized_pnl", "Profit and loss of what was closed, commissions included"),
    numeric("multiplier", "Size of one contract"),
    flag("is_inverse", "True when a contract is worth a fixed amount of the quote currency"),
    numeric("current_price", "Newest price", null=True),
    bigint("marked_ns", "When current_price was seen, ns since 1970", null=True),
    numeric("unrealized_pnl", "Profit and loss of what is open, at current_price", null=True),
    bigint("opened_ns", "When it was opened, ns since 1970: one order may open a position twice", key=True),
    bigint("closed_ns", "When it was closed, ns since 1970", null=True),
    moment("updated_at", "When its newest event happened; simulated time in a backtest", default=None),
    bigint("updated_ns", "updated_at in ns since 1970"),
    *newest_record(),
    index("book_id", "asset_key", where=OPEN),
    index("book_id", "strategy_id", where=OPEN),
    index("book_id", "closed_ns", where="side = 'FLAT'"),
    index("book_id", "opening_order_id"),
    comment="Every position, open and closed, per account, instrument, strategy and opening order",
    info={"grant": PROJECTION},
)

unified_positions = Table(
    "unified_positions",
    metadata,
    book_id("Book of the position"),
    text("asset_key", "Canonical id without its venue: what is added up", key=True),
    text("base_asset", "What is held, for example BTC", null=True),
    numeric("aggregated_quantity", "Sum over all venues in base units, negative when short"),
    json("venue_positions", "Quantity in base units by venue"),
    json("venue_types", "NAUTILUS or EXTERNAL_SDK by venue"),
    numeric("average_entry_price", "Average entry of the open parts on the net side, by base quantity", null=True),
    numeric("current_price", "Newest price", null=True),
    text("pnl_currency", "Currency of the profit and loss; empty when the parts have several", null=True),
    numeric("unrealized_pnl", "Profit and loss of what is open, at current_price", null=True),
    numeric("realized_pnl", "Profit and loss of what was closed, closed parts included", null=True),
    moment("updated_at", "When its newest event happened; simulated time in a backtest", default=None),
    bigint("updated_ns", "updated_at in ns since 1970"),
    *newest_record(),
    comment="One position per asset: all accounts, venues and strategies of the book together",
    info={"grant": PROJECTION},
)

account_states = Table(
    "account_states",
    metadata,
    book_id("Book of the account"),
    text("account_id", "Account at the venue", key=True),
    text("account_type", "CASH, MARGIN or BETTING"),
    text("base_currency", "Currency of the account; empty when it holds several", null=True),
    json("balances", "List of balances: currency, total, locked, free"),
    json("margins", "List of margins"),
    flag("is_reported", "True when the venue said it, false when it was computed"),
    bigint("ts_event", "When it was so, ns since 1970; simulated time in a backtest"),
    *newest_record(),
    comment="Accounts as they were heard of last; every former state is in order_events",
    info={"grant": PROJECTION},
)
