"""Whatever stands in a config, `check` answers: fine, or what is wrong with it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.prove, pytest.mark.timeout(3600)]

CHILD = Path(__file__).with_name("fuzz_child.py")
MUTATIONS = 5_000
BATCH = 250
BATCH_TIMEOUT_S = 120.0
FOUND_MAX = 25


def test_no_mutation_of_a_config_ends_in_anything_but_an_answer(seed, rounds, tell):
    """Exit 0 or 2, never an abort of the process, never another exception, never a hang."""
    count = rounds(MUTATIONS)
    codes: dict[int, int] = {}
    found: list[str] = []
    begin = 0
    while begin < count and len(found) < FOUND_MAX:
        begin = _batch(seed, begin, min(begin + BATCH, count), codes, found)
    tell(
        f"config: mutations={begin} accepted={codes.get(0, 0)} refused={codes.get(2, 0)} "
        f"aborts_or_exceptions={len(found)} seed={seed}"
    )
    assert not found, "\n\n".join(found)


def _batch(seed: int, begin: int, end: int, codes: dict[int, int], found: list[str]) -> int:
    """Try the mutations from `begin` on; return the first that was not tried."""
    command = [sys.executable, str(CHILD), str(seed), str(begin), str(end)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        out, err = child.communicate(timeout=BATCH_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        child.kill()
        out, err = child.communicate()
    told = [json.loads(line) for line in out.splitlines()]
    what = {fields["index"]: fields["what"] for fields in told if "what" in fields}
    for fields in told:
        if "code" in fields:
            codes[fields["code"]] = codes.get(fields["code"], 0) + 1
            if fields["code"] not in (0, 2):
                found.append(_report(seed, fields["index"], what, f"exit {fields['code']}: {fields['said']}"))
    if child.returncode == 0:
        return end
    assert told, err
    found.append(_report(seed, told[-1]["index"], what, f"the process ended with {child.returncode}: {err[-2_000:]}"))
    return told[-1]["index"] + 1


def _report(seed: int, index: int, what: dict[int, list[str]], outcome: str) -> str:
    return f"repeat with: {CHILD.name} {seed} {index} {index + 1}\n  {what[index]}\n  {outcome}"
