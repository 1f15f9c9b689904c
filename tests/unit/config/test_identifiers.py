import multiprocessing
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nautilus_ext.config.identifiers import client_name_fault, identifier_fault

KINDS = ("TraderId", "StrategyId", "AccountId", "InstrumentId", "ClientId", "Venue", "ComponentId", "ExecAlgorithmId")
TEXTS = st.text(st.sampled_from("Aa0-._ é\x00${}"), max_size=8)


@pytest.mark.parametrize("value", ["TRADER-001", "A-1", "A-B-1", "MY.DESK-X1"])
def test_good_trader_ids_pass(value):
    """A name, a hyphen and a tag."""
    assert identifier_fault("TraderId", value) is None


@pytest.mark.parametrize("value", ["", "A", "A-", "-1", "é-1", "A B-1", "${TRADER}", "A\x00-1", None, 5])
def test_bad_trader_ids_are_named_with_their_cure(value):
    """Each of these, but for the space, aborts a process that hands it to Nautilus."""
    fault = identifier_fault("TraderId", value)
    assert fault is not None
    assert repr(value) in fault


def test_a_client_name_with_a_hyphen_is_told_what_becomes_of_it():
    """Nautilus cuts it there."""
    assert "'FAKE'" in (client_name_fault("FAKE-A") or "")
    assert client_name_fault("FAKE_A") is None


@given(kind=st.sampled_from(KINDS), value=TEXTS)
def test_a_kind_without_a_rule_passes_and_one_with_a_rule_answers(kind, value):
    """The rules are total: no text makes them raise."""
    assert identifier_fault("Decimal", value) is None
    assert identifier_fault(kind, value) is None or repr(value) in identifier_fault(kind, value)


def _hand_to_nautilus(kind, values):
    from nautilus_trader.model import identifiers

    for value in values:
        if kind == "InstrumentId":
            identifiers.InstrumentId.from_str(value)
        else:
            getattr(identifiers, kind)(value)


@pytest.mark.parametrize("kind", KINDS)
def test_nautilus_takes_whatever_the_rules_let_pass(kind):
    """In a process of its own, because a value that is wrong ends it with exit code 134."""
    seed = random.randrange(2**32)
    print(f"seed={seed}")
    rng = random.Random(seed)
    texts = ("".join(rng.choices("Aa0-._ é\x00${}!~", k=rng.randint(0, 8))) for _ in range(3000))
    passed = [text for text in texts if identifier_fault(kind, text) is None]
    assert len(passed) > 20
    process = multiprocessing.get_context("spawn").Process(target=_hand_to_nautilus, args=(kind, passed))
    process.start()
    process.join(60)
    assert process.exitcode == 0
