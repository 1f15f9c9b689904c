"""Whatever stands in a config, `check` answers: fine, or what is wrong with it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

pytestmark = [pytest.mark.prove, pytest.mark.timeout(3600)]

CHILD = Path(__file__).with_name("fuzz_child.py")
MUTATIONS = 5_000
BATCH = 250
BATCH_TIMEOUT_S = 120.0
ABORTS_MAX = 50
PLACE = re.compile(r'File "[^"]*/(\w+\.py", line \d+)|panicked at (\S+)')


class Findings:
    """Each fault once, with a mutation that shows it."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self.codes: Counter[int] = Counter()
        self.faults: dict[str, str] = {}
        self.times: Counter[str] = Counter()
        self.aborts = 0

    def add(self, index: int, what: list[str], outcome: str) -> None:
        places = PLACE.findall(outcome)
        kind = f"{places[-1] if places else outcome[-200:]} {outcome.strip().rpartition(chr(10))[2].partition(':')[0]}"
        self.times[kind] += 1
        repeat = f"{CHILD.name} {self._seed} {index} {index + 1}"
        self.faults.setdefault(kind, f"{repeat}\n  {what}\n  {outcome}")

    def __str__(self) -> str:
        return "\n\n".join(f"{self.times[kind]} times, repeat with {fault}" for kind, fault in self.faults.items())


def test_no_mutation_of_a_config_ends_in_anything_but_an_answer(seed, rounds, tell):
    """Exit 0 or 2, never an abort of the process, never another exception, never a hang."""
    count = rounds(MUTATIONS)
    findings = Findings(seed)
    begin = 0
    while begin < count and findings.aborts < ABORTS_MAX:
        begin = _batch(seed, begin, min(begin + BATCH, count), findings)
    tell(
        f"config: mutations={begin} accepted={findings.codes[0]} refused={findings.codes[2]} "
        f"exceptions={findings.codes.total() - findings.codes[0] - findings.codes[2]} aborts={findings.aborts} "
        f"seed={seed}"
    )
    assert not findings.faults, str(findings)


def _batch(seed: int, begin: int, end: int, findings: Findings) -> int:
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
            findings.codes[fields["code"]] += 1
            if fields["code"] not in (0, 2):
                findings.add(fields["index"], what[fields["index"]], fields["said"])
    if child.returncode == 0:
        return end
    assert told, err
    last = told[-1]["index"]
    findings.aborts += 1
    findings.add(last, what[last], f"{err[-2_000:]}\nthe process ended with {child.returncode}")
    return last + 1
