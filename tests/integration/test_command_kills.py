"""Kills of a node that is being commanded, by a seed; `make prove` has more of them."""

import os
import random

import command_kills

SEED = int(os.environ.get("SEED", "0")) or random.randrange(1, 10**6)


def test_each_command_is_answered_and_none_is_done_too_often(database, tmp_path, wait_until):
    """Rows and files of several people, whether a node runs or not."""
    print(command_kills.play(database.app_url, tmp_path, wait_until, SEED, kills=2))
