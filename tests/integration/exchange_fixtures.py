"""Fixtures for tests of the exchange and of nodes on it: `pytest_plugins = ["exchange_fixtures"]`."""

from __future__ import annotations

from uuid import uuid4

import pytest
from exchange_client import START_S, RawClient, exchange_in, quiet_world, welcomed
from exchange_lab import Lab
from exchange_node import ExchangeNode, node_config

from nautilus_ext.simulation.server import launch


@pytest.fixture
def exchange_folder(fast_folder):
    with exchange_in(fast_folder) as folder:
        yield folder


@pytest.fixture(scope="module")
def one_lab(fast_folder):
    """The one node of a file, on an exchange of its own."""
    with exchange_in(fast_folder) as folder, ExchangeNode(node_config(folder), folder) as node:
        lab = Lab(node, folder)
        yield lab
        lab.close()


@pytest.fixture(scope="module")
def shared_folder(fast_folder):
    """For tests that change nothing but an account of their own: one server for all of them."""
    with exchange_in(fast_folder) as folder:
        launch.ensure(folder, quiet_world(linger_s=100.0), START_S)
        yield folder


@pytest.fixture
def shared(shared_folder):
    address = launch.find(shared_folder)
    assert address is not None, "a test before this one has ended the server"
    return address


@pytest.fixture
def trader(shared):
    trader = RawClient("SIM1", uuid4().hex)
    welcomed(trader.connect(shared))
    yield trader
    trader.close()


@pytest.fixture
def started(exchange_folder):
    return launch.ensure(exchange_folder, quiet_world(), START_S)


@pytest.fixture
def client(started):
    client = RawClient("SIM1", "one")
    welcomed(client.connect(started))
    yield client
    client.close()


@pytest.fixture
def reader(started):
    """Reads the market of all venues, and trades nowhere."""
    reader = RawClient("SIM1", "nobody")
    welcomed(reader.connect(started, venue=None, terms=None))
    reader.control("pause")
    yield reader
    reader.close()
