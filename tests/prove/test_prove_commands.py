"""Many kills of a node that is being commanded, with a fresh seed."""

import command_kills
import pytest

KILLS = 30
KILL_S_MAX = 30.0

pytestmark = pytest.mark.prove


@pytest.mark.timeout(KILLS * KILL_S_MAX)
def test_dozens_of_kills_lose_no_command(database, tmp_path, wait_until, seed, rounds, tell):  # noqa: PLR0917 - fixtures
    """As in `make test`: each command is answered, none is done too often, and a restart reads them in their order."""
    tell(command_kills.play(database.app_url, tmp_path, wait_until, seed, rounds(KILLS)))
