"""A halt while everything goes wrong: once it is confirmed nothing of its scope reaches the exchange or works there."""

import os

import pytest
from halt_judge import PER_HALT_S, START_S, play

HALTS = 30


@pytest.mark.timeout(START_S + HALTS * PER_HALT_S)
@pytest.mark.row(13, "under faults")
def test_after_a_halt_is_confirmed_the_exchange_hears_nothing_new_of_its_scope(tmp_path):
    """Its ledger is the witness. What is not known to be gone is named in the answer. A failing seed is named.

    Limits change meanwhile: each order was judged by those of the version that its decision names, and by no older one
    than the order before it.
    """
    first = int(os.environ.get("SEED") or 1)
    verdict = play(tmp_path, range(first, first + HALTS))
    print(verdict)
    assert verdict.violations == []
    assert {"node", "venue", "account", "strategy", "instrument"} == set(verdict.scopes)
    assert verdict.canceled > HALTS, "hardly anything worked: the halts say nothing"
    assert verdict.refused > HALTS, "hardly anything was tried: the halts say nothing"
    assert verdict.limited > HALTS, "hardly any order met a limit that was changed: nothing is said of a mix"
    assert verdict.unresolved < HALTS / 5, "an answer that names what it does not know is the exception"
