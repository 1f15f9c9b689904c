"""Do the files of archived runs hold what the database says? Those that do are proven like the journal itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from nautilus_ext.persistence.archive_file import Content, Digest, Unreadable, chunks, promised

if TYPE_CHECKING:
    from nautilus_ext.persistence.audit_runs import RunState
    from nautilus_ext.persistence.matching import Findings

TABLE = "archive"


class Archives(NamedTuple):
    """The files that hold what they must, by their runs, and what cannot be said of the others."""

    files: dict[int, Path]
    unproven: list[str]
    events: int


def verify(states: list[RunState], findings: Findings) -> Archives:
    """Read the file of each archived run: one that differs is a finding, one that cannot be read is not proven."""
    files: dict[int, Path] = {}
    unproven: list[str] = []
    events = 0
    for state in states:
        if state.archive is None:
            continue
        try:
            content = _judged(state, state.archive, findings)
        except Unreadable as error:
            unproven.append(f"run {state.run}: {error}")
            continue
        if content is not None:
            files[state.run] = Path(state.archive)
            events += content.rows
    return Archives(files, unproven, events)


def _judged(state: RunState, archive: str, findings: Findings) -> Content | None:
    """Return what the file holds; None when a finding says that it is something else."""
    said = promised(archive)
    if said is None:
        raise Unreadable(f"{archive!r} has no count and no hash in its name: nothing says what it must hold")
    content, stray = _read(Path(archive), state.run)
    pairs = (
        ("run", state.run, said.run),
        ("rows", said.content.rows, content.rows),
        ("sha256", said.content.sha256, content.sha256),
        ("events", state.durable_seq - state.unwritten, content.rows),
        ("event", "the next one", stray or "the next one"),
    )
    wrong = [pair for pair in pairs if pair[1] != pair[2]]
    for pair in wrong:
        findings.add(TABLE, f"run {state.run}", *pair)
    return None if wrong else content


def _read(path: Path, run: int) -> tuple[Content, str]:
    """Return the content, and the first row that is of another run or not after the one before."""
    digest, last, stray = Digest(), 0, ""
    for rows in chunks(path):
        digest.take(rows)
        for _, row_run, seq, *_ in rows:
            if not stray and (row_run != run or seq <= last):
                stray = f"event {seq} of run {row_run} after event {last}"
            last = seq
    return digest.content, stray
