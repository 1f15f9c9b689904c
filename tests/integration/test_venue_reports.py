"""What a venue's client answers to an audit, and what of its failure may be told."""

from __future__ import annotations

import logging
from types import SimpleNamespace

from nautilus_trader.cache.cache import Cache
from nautilus_trader.common.component import MessageBus, TestClock
from nautilus_trader.model.identifiers import ClientId, TraderId

from nautilus_ext.persistence.venue_reports import ask_venues

SECRET = "https://venue/orders?signature=c2VjcmV0"


class Refusing:
    """A connected client whose adapter quotes in its error what it sent."""

    id, account_id, is_connected = ClientId("V"), None, True

    async def generate_order_status_reports(self, _command):
        raise RuntimeError(f"401 for {SECRET}")


async def test_the_words_of_an_adapters_error_go_to_the_masked_log_and_not_into_the_answer(caplog):
    """An answer is a file and a line on a terminal; an error may quote a signed address."""
    msgbus = MessageBus(trader_id=TraderId("T-1"), clock=TestClock())
    with caplog.at_level(logging.ERROR):
        (told,) = await ask_venues([Refusing()], Cache(), msgbus, began_ns=0)
    assert "its client failed (RuntimeError): see the node's log" == told["problem"]
    assert SECRET not in str(told)
    assert "V could not be asked for an audit" in caplog.text


async def test_a_client_that_is_not_connected_is_not_asked():
    """Nothing it could say proves anything."""
    away = SimpleNamespace(id=ClientId("V"), account_id=None, is_connected=False)
    msgbus = MessageBus(trader_id=TraderId("T-1"), clock=TestClock())
    (told,) = await ask_venues([away], Cache(), msgbus, began_ns=0)
    assert "it is not connected" == told["problem"]
