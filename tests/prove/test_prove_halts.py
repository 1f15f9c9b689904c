"""Many halts under fire with fresh seeds."""

import pytest
from halt_judge import PER_HALT_S, START_S, play

HALTS = 300

pytestmark = pytest.mark.prove


@pytest.mark.timeout(100 * HALTS * PER_HALT_S + START_S)
def test_hundreds_of_halts_keep_the_exchange_quiet(tmp_path, seed, rounds, tell):
    """As in `make test`, ten times as many, and never the same."""
    halts = rounds(HALTS)
    verdict = play(tmp_path, range(seed, seed + halts))
    assert verdict.violations == []
    assert verdict.unresolved < halts / 5
    tell(str(verdict))
