"""What `check` finds in a file with the simulated exchange's clients: each with its place, its value and the cure."""

from __future__ import annotations

from typing import Any

import pytest

from nautilus_ext.config.beside import beside_problems
from nautilus_ext.config.components import client_specs

CLIENT = "nautilus_ext.simulation:Simulated"


def client(kind: str, **config: Any) -> dict[str, Any]:
    path = f"{CLIENT}{kind}Client"
    return {"path": f"{path}Config", "factory": {"path": f"{path}Factory"}, "config": config}


def checked(data: dict[str, Any], *, without_data: bool = False, **clients: dict[str, Any]) -> list[str]:
    problems: list[Any] = []
    entries = {} if without_data else {"SIM": client("Data", **data)}
    market = client_specs(entries, "data_clients", problems)
    accounts = {name: client("Exec", **{"starting_balances": ["1 USDT"], **given}) for name, given in clients.items()}
    traded = client_specs(accounts, "exec_clients", problems)
    return [str(each) for each in [*problems, *beside_problems(market, traded)]]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"listings": [{"instrument_id": "X"}]}, "data_clients.SIM.config.listings[0]: listing 'X': base None"),
        ({"venues": [{"name": "SIM1", "levels": 0}]}, "data_clients.SIM.config.venues[0]: venue 'SIM1': levels is 0"),
        (
            {"venues": [{"name": "SIM1", "faults": {"late_ms": 0}}]},
            "data_clients.SIM.config.venues[0].faults: faults: late_ms is 0",
        ),
        ({"regimes": [{"kind": "calm", "start_s": 1}]}, "data_clients.SIM.config.regimes[0]: regime 'calm' at 1.0 s"),
        ({"exchange": "a b"}, "data_clients.SIM.config: exchange 'a b' names a folder"),
        (
            {"venues": [{"name": "SIM2", "latency_ms": 1_000}]},
            (
                "data_clients.SIM.config: SIM2 has latency_ms 1000 each way, so no answer comes before 2 s; "
                "answer_timeout_s is 2: raise it, or lower the latency"
            ),
        ),
    ],
)
def test_what_a_struct_refuses_comes_with_its_place_in_the_file(data, expected):
    """Also of a struct inside a struct."""
    (line,) = checked(data)
    assert expected == line[: len(expected)]


@pytest.mark.parametrize(
    ("data", "account", "expected"),
    [
        (
            {"exchange": "paper2"},
            {"venue": "SIM2"},
            (
                "exchange: is 'paper', but the simulated data client's is 'paper2': "
                "orders would meet other prices than the strategies see: write the same name"
            ),
        ),
        (
            {"data_dir": "/here"},
            {"venue": "SIM2", "data_dir": "/elsewhere"},
            (
                "data_dir: is '/elsewhere', but the simulated data client's is '/here': "
                "its ledger has one place: write the same data_dir"
            ),
        ),
        (
            {},
            {"venue": "SIM3"},
            'account_type: is "CASH", but SIM3 lists derivatives only: write "MARGIN"',
        ),
        (
            {"venues": [{"name": "SIM2", "latency_ms": 600}], "answer_timeout_s": 5.0},
            {"venue": "SIM2", "answer_timeout_s": 1.0},
            (
                "answer_timeout_s: SIM2 has latency_ms 600 each way, so no answer comes before 1.2 s; "
                "answer_timeout_s is 1: raise it, or lower the latency"
            ),
        ),
    ],
)
def test_an_account_that_does_not_fit_to_the_market_is_named(data, account, expected):
    """One line, at the execution client's own field."""
    assert [f"exec_clients.A.config.{expected}"] == checked(data, A=account)


@pytest.mark.parametrize(
    ("data", "account"),
    [
        ({}, {"venue": "SIM1"}),
        ({}, {"venue": "SIM2"}),
        ({}, {"venue": "SIM3", "account_type": "MARGIN"}),
        ({"exchange": "x", "data_dir": "~/y"}, {"venue": "SIM1", "exchange": "x", "data_dir": "~/y"}),
        ({"data_dir": "/here"}, {"venue": "SIM1"}),
        ({"venues": [{"name": "SIM2", "latency_ms": 600}]}, {"venue": "SIM1", "answer_timeout_s": 1.0}),
    ],
)
def test_what_fits_is_fine(data, account):
    """A cash account where there is spot, the same exchange, another venue's latency.

    A data_dir that is left out is the node's own, which no client knows.
    """
    assert [] == checked(data, A=account)


def test_only_the_client_that_differs_is_named():
    """Of several accounts; and without a data client nobody can tell: another node may run the exchange."""
    accounts: Any = {"A": {"venue": "SIM1"}, "B": {"venue": "SIM2", "exchange": "other"}}
    (line,) = checked({}, **accounts)
    assert "exec_clients.B.config.exchange: is 'other'" == line[: len("exec_clients.B.config.exchange: is 'other'")]
    assert [] == checked({}, without_data=True, **accounts)
