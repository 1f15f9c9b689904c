"""A halt by file arrives whole, is answered, stays until it is recorded, and nothing that lies there disturbs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest

from nautilus_ext.errors import ConfigError, MachineError
from nautilus_ext.risk import inbox as module
from nautilus_ext.risk.commands import COMMANDS, MESSAGE_BYTES_MAX, read
from nautilus_ext.risk.inbox import Inbox
from nautilus_ext.risk.standing import Outcome


def halt(command_id="c-1", kind="halt", **arguments):
    return read(command_id, kind, {"scope": "node", "why": "a test", **arguments}, "ann")


@pytest.fixture
def inbox(tmp_path):
    return Inbox(tmp_path / "data" / "inbox")


def waiting(inbox):
    return [(each.name, each.command and each.command.command_id) for each in inbox.waiting()]


def drop(inbox, name, content):
    """As somebody would by hand."""
    inbox._folder.mkdir(parents=True, exist_ok=True)
    (inbox._folder / name).write_bytes(content)


def test_a_halt_goes_through_the_folder(inbox):
    """From who asks to the node and back; when the database has it nothing is left."""
    assert [] == inbox.waiting()
    inbox.put(halt())
    assert [halt()] == [each.command for each in inbox.waiting()]
    assert inbox.answer_to("c-1") is None
    inbox.answer("c-1", Outcome(applied=True, text="halt scope=node"))
    assert Outcome(applied=True, text="halt scope=node") == inbox.answer_to("c-1")
    assert [halt()] == [each.command for each in Inbox(inbox._folder).waiting()], "a restart stops again"
    inbox.done("c-1")
    inbox.done("c-1")
    assert [] == inbox.waiting()
    inbox.forget_answers(time.time() - 60.0)
    assert inbox.answer_to("c-1") is not None, "whoever asked may not have looked yet"
    inbox.forget_answers(time.time() + 60.0)
    assert inbox.answer_to("c-1") is None
    assert [] == [*inbox._folder.iterdir()]


def test_only_what_may_wait_and_be_repeated_comes_by_file(inbox):
    """A resume or a flatten that lies there for a day would come true at the next start."""
    assert ("halt", "reduce-only") == module.KINDS
    inbox.put(halt(kind="reduce-only"))
    for kind in ("resume", "flatten", "cancel-all"):
        with pytest.raises(
            ConfigError, match=f"{kind} needs the database; without it a node takes halt and reduce-only"
        ):
            inbox.put(halt(kind=kind))
        assert kind in COMMANDS
        message = {"command_id": "c-2", "kind": kind, "arguments": {"scope": "node", "why": "x"}, "issued_by": "ann"}
        drop(inbox, "c-2.json", json.dumps(message).encode())
        assert f"{kind} does not come by a file" in inbox.waiting()[-1].fault


def test_the_oldest_comes_first(inbox):
    """Whatever their names are."""
    for number, command_id in enumerate(("b", "a", "c")):
        inbox.put(halt(command_id))
        os.utime(inbox._folder / f"{command_id}.json", ns=(number, number))
    assert ["b", "a", "c"] == [each for _, each in waiting(inbox)]


def test_there_is_a_bound_on_one_round(inbox, monkeypatch):
    """The rest comes with the next."""
    monkeypatch.setattr(module, "FILES_MAX", 2)
    for number in range(3):
        inbox.put(halt(f"c-{number}"))
    assert 2 == len(inbox.waiting())


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "it is no JSON"),
        (b"halt!", "it is no JSON"),
        (b" " * (MESSAGE_BYTES_MAX + 5), "16,384 are the most"),
        (b'{"command_id":"c-9"}', "None is no command"),
        (
            b'{"command_id":"c-9","kind":"halt","arguments":{"scope":"node","why":"x"},"issued_by":"ann"}',
            "its command_id is c-9: name the file c-9.json",
        ),
    ],
)
def test_what_asks_nothing_says_why_and_is_set_aside(inbox, content, says):
    """Once; the command beside it is heard."""
    drop(inbox, "note.json", content)
    inbox.put(halt())
    faults = {each.name: each.fault for each in inbox.waiting()}
    assert says in faults.pop("note.json")
    assert {"c-1.json": ""} == faults
    inbox.set_aside("note.json")
    inbox.set_aside("note.json")
    assert [("c-1.json", "c-1")] == waiting(inbox)
    assert content == (inbox._folder / "note.refused").read_bytes()


def test_pipes_links_and_folders_do_not_hold_up_the_node(inbox, tmp_path):
    """It looks at files alone, and waits for nobody."""
    inbox.put(halt())
    os.mkfifo(inbox._folder / "pipe.json")
    (inbox._folder / "folder.json").mkdir()
    (tmp_path / "elsewhere").write_bytes(b"secret")
    (inbox._folder / "link.json").symlink_to(tmp_path / "elsewhere")
    (inbox._folder / "nowhere.json").symlink_to(tmp_path / "nowhere")
    faults = {each.name: each.fault for each in inbox.waiting()}
    assert "" == faults.pop("c-1.json")
    assert ["folder.json", "link.json", "nowhere.json", "pipe.json"] == sorted(faults)
    assert all(fault.startswith("it cannot be read: ") for fault in faults.values())


def test_the_files_are_the_operators_alone(inbox):
    """Why a desk stopped is nobody else's business."""
    inbox.put(halt())
    assert (0o700, 0o600) == (
        inbox._folder.stat().st_mode & 0o777,
        (inbox._folder / "c-1.json").stat().st_mode & 0o777,
    )


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    """One message with the cure."""
    (tmp_path / "file").write_bytes(b"")
    uses = (lambda inbox: inbox.put(halt()), lambda inbox: inbox.waiting(), lambda inbox: inbox.done("c-1"))
    for use in (*uses, lambda inbox: inbox.set_aside("c-1.json")):
        with pytest.raises(MachineError, match=r"inbox: Not a directory\. Free space, or mend its rights"):
            use(Inbox(tmp_path / "file" / "inbox"))


KILLED = """
import os, sys
from pathlib import Path
from nautilus_ext.risk import inbox as module
from nautilus_ext.risk.commands import read
def die(*_):
    os.kill(os.getpid(), 9)
os.fsync = die
module.Inbox(Path(sys.argv[1])).put(read("c-1", "halt", {"scope": "node", "why": "x"}, "ann"))
"""


def test_half_a_file_is_none(inbox):
    """Killed between the bytes and the name, who asked has asked for nothing, and asks again."""
    done = subprocess.run([sys.executable, "-c", KILLED, str(inbox._folder)])
    assert -9 == done.returncode
    assert 1 == len([*inbox._folder.iterdir()])
    assert [] == inbox.waiting()
    inbox.put(halt())
    assert [("c-1.json", "c-1")] == waiting(inbox)
