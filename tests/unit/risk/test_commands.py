"""A command that is right comes back from its JSON as it was; of one that is wrong all faults are told with a cure."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nautilus_ext.config.risk import Override
from nautilus_ext.errors import ConfigError
from nautilus_ext.risk.commands import (
    COMMANDS,
    MESSAGE_BYTES_MAX,
    NAME_MAX,
    SHOWN_MAX,
    TEXT_MAX,
    CancelAll,
    Flatten,
    Narrow,
    Resume,
    SetLimit,
    SetOverride,
    Stop,
    override_of,
    read,
    read_message,
)

SCOPE = {"scope": "strategy=Trend-001", "why": "a test"}
ONE_EACH = {
    "set-limit": {"scope": "instrument=BTC*", "key": "max_position", "value": "1.5", "why": "smaller"},
    "override": {
        "code": "MAX_POSITION",
        "scope": "instrument=BTCUSDT.SIM1",
        "until": "2026-01-31T12:00:00Z",
        "why": "the hedge",
    },
    "halt": {**SCOPE, "flatten": True},
    "reduce-only": SCOPE,
    "resume": {**SCOPE, "mode": "halt"},
    "cancel-all": SCOPE,
    "flatten": {"scope": "node", "why": "end of day"},
}


def asked(kind, **changes):
    """Read one of each kind, changed; None takes an argument away."""
    arguments = {key: value for key, value in {**ONE_EACH[kind], **changes}.items() if value is not None}
    return read("c-1", kind, arguments, "ann")


def faults(call):
    """All problems by their place."""
    with pytest.raises(ConfigError) as raised:
        call()
    found: dict[str, list[str]] = {}
    for problem in raised.value.problems:
        found.setdefault(problem.path, []).append(problem.message)
    return {path: " | ".join(texts) for path, texts in found.items()}


@pytest.mark.parametrize("kind", COMMANDS)
def test_a_command_comes_back_from_its_json(kind):
    """From the table's columns, and from a stream's message."""
    command = read("c-1", kind, ONE_EACH[kind], "ann")
    assert (kind, "c-1", "ann") == (command.kind, command.command_id, command.issued_by)
    assert COMMANDS[kind].struct is type(command.what)
    arguments = json.loads(json.dumps(command.arguments))
    assert command == read("c-1", kind, arguments, "ann")
    told = {"command_id": "c-1", "kind": kind, "arguments": arguments, "issued_by": "ann"}
    assert command == read_message(json.dumps(told).encode())


def test_what_is_left_out_has_its_usual_meaning():
    """A halt does not flatten unless it is told to, and a resume lifts both modes."""
    assert Stop(scope="node", why="a test") == asked("halt", scope="node", flatten=None).what
    assert Resume(**SCOPE) == asked("resume", mode=None).what
    assert (False, None) == (asked("halt", flatten=None).what.flatten, asked("resume", mode=None).what.mode)
    kinds = {"reduce-only": Narrow(**SCOPE), "cancel-all": CancelAll(**SCOPE)}
    assert kinds == {kind: asked(kind).what for kind in kinds}
    assert Flatten(scope="node", why="end of day") == asked("flatten").what


def test_a_limit_that_is_given_back():
    """Null is a value of its own: what the file says holds again."""
    command = read("c-1", "set-limit", {**ONE_EACH["set-limit"], "value": None}, "ann")
    assert SetLimit(scope="instrument=BTC*", key="max_position", value=None, why="smaller") == command.what


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("max_position", 5),
        ("max_position", 0.5),
        ("reduce_only", True),
        ("messages", [{"max": 3, "window_s": 2}]),
        ("self_match", "refuse"),
        ("allowed_venues", ["SIM1"]),
    ],
)
def test_every_kind_of_limit_can_be_set(key, value):
    """In the words of the file."""
    assert value == asked("set-limit", key=key, value=value).what.value


def test_an_override_is_that_of_the_file():
    """With whoever issues it as the one who decided it."""
    what = asked("override").what
    assert isinstance(what, SetOverride)
    assert Override(by="ann", **ONE_EACH["override"]) == override_of(what, "ann")


def test_a_halt_never_expires_and_what_acts_at_once_does():
    """A flatten that nobody heard must not come true a day later; what cannot be done twice is not."""
    assert {"halt", "reduce-only"} == {kind for kind, trait in COMMANDS.items() if trait.expires_s is None}
    assert {"resume", "flatten"} == {kind for kind, trait in COMMANDS.items() if not trait.may_repeat}


@pytest.mark.parametrize(
    ("kind", "changes", "at", "says"),
    [
        ("halt", {"scope": "venue=sim1"}, "scope", 'is written in capitals: "venue=SIM1"'),
        ("halt", {"scope": "global"}, "scope", 'did you mean "node"?'),
        ("halt", {"scope": 5}, "scope", "expected `str`, got `int` (found 5)"),
        ("halt", {"why": " "}, "why", "is empty: whoever reads the record wants to know"),
        ("halt", {"why": "x" * (TEXT_MAX + 1)}, "why", "has 501 characters: 500 are the most"),
        ("halt", {"why": "a\nb"}, "why", r"'a\nb' holds what cannot be printed: write it in one line of plain text"),
        ("halt", {"why": "\x00"}, "why", r"'\x00' holds what cannot be printed"),
        ("halt", {"why": "\ud800"}, "why", r"'\ud800' holds what cannot be printed"),
        ("halt", {"scope": "venue=\x1b[2J"}, "scope", r"'venue=\x1b[2J' holds what cannot be printed"),
        ("halt", {"flatten": "yes"}, "flatten", "expected `bool`, got `str` (found 'yes')"),
        ("halt", {"why": None}, "why", "is missing"),
        ("halt", {"flaten": True}, "flaten", 'unknown key; did you mean "flatten"?'),
        ("reduce-only", {"flatten": True}, "flatten", "unknown key; known here: scope, why"),
        ("resume", {"mode": "both"}, "mode", "invalid enum value 'both' (found 'both')"),
        ("set-limit", {"scope": "node"}, "scope", '"node" is no scope'),
        ("set-limit", {"key": "max_positon"}, "key", "'max_positon' is no limit; did you mean \"max_position\"?"),
        ("set-limit", {"value": "abc"}, "value", "invalid decimal string (found 'abc')"),
        ("set-limit", {"value": -1}, "value", "-1"),
        ("set-limit", {"value": "NaN"}, "value", "NaN"),
        ("set-limit", {"value": "1" * 2_000}, "value", "1…"),
        (
            "set-limit",
            {"key": "messages", "value": [{"max": 0}]},
            "value",
            "expected `int` >= 1 - at `$.messages[0].max`",
        ),
        ("set-limit", {"key": "messages", "value": [{"max": 1, "types": []}]}, "value[0].types", "is empty: say what"),
        ("set-limit", {"key": "allowed_venues", "value": []}, "value", "is empty, so that nothing could be traded"),
        ("set-limit", {"key": "ramp", "value": {"orders": 5}}, "value", "a ramp belongs to a scope strategy=…"),
        ("override", {"code": "HALTED"}, "code", "'HALTED' is no code that can be lifted; known here: NOT_PERMITTED"),
        ("override", {"code": "MAX_POSITON"}, "code", 'did you mean "MAX_POSITION"?'),
        ("override", {"scope": "instrument=*"}, "scope", "stands for many: name the one scope that the refusal names"),
        ("override", {"until": "tomorrow"}, "until", '"tomorrow" is no moment: ISO 8601 with a time zone'),
        ("override", {"until": "2026-01-31T12:00:00"}, "until", "is no moment: ISO 8601 with a time zone"),
    ],
)
def test_a_wrong_argument_is_told_where_and_what_to_write(kind, changes, at, says):
    """The place, the value, the cure."""
    found = faults(lambda: asked(kind, **changes))
    assert says in found[f"arguments.{at}"]
    assert [] == [text for text in found.values() if len(text) > TEXT_MAX or not text.isprintable()]


def test_the_longest_words_are_taken():
    """And not one letter more."""
    command = read("c" * NAME_MAX, "halt", {**SCOPE, "why": "w" * TEXT_MAX}, "a" * NAME_MAX)
    assert (NAME_MAX, NAME_MAX, TEXT_MAX) == (len(command.command_id), len(command.issued_by), len(command.what.why))
    found = faults(lambda: read("c" * (NAME_MAX + 1), "halt", SCOPE, "a" * (NAME_MAX + 1)))
    assert ["command_id", "issued_by"] == [*found]


def test_what_is_shown_of_a_value_is_cut_at_its_end():
    """What just fits is shown whole, quotation marks and all."""
    fits = "k" * (SHOWN_MAX - 2)
    assert f"'{fits}' is no command" in faults(lambda: read("c-1", fits, SCOPE, "ann"))["kind"]
    assert f"'{fits}… is no command" in faults(lambda: read("c-1", f"{fits}k", SCOPE, "ann"))["kind"]


@pytest.mark.parametrize(
    ("keys", "told", "last"), [(20, 20, None), (21, 21, "and 1 more"), (1_020, 21, "and 1,000 more")]
)
def test_of_many_faults_some_are_told_and_the_rest_counted(keys, told, last):
    arguments = {"scope": "node", "why": "a test", **{f"k{number}": 1 for number in range(keys)}}
    with pytest.raises(ConfigError) as refused:
        read("c-1", "halt", arguments, "ann")
    problems = [each.message for each in refused.value.problems]
    assert (told, last) == (len(problems), problems[-1] if last else None)


def test_all_faults_are_told_at_once():
    """Whoever writes a message is not sent back four times."""
    found = faults(lambda: read("", "hlat", [], 7))
    assert "'' is no id: letters, digits and . _ : - , 100 at most" == found["command_id"]
    assert "'hlat' is no command; did you mean \"halt\"?" == found["kind"]
    assert "[] is no JSON object" == found["arguments"]
    assert "7 is no text" == found["issued_by"]
    found = faults(lambda: read("c 1", "halt", {"scope": "all", "flatten": 1}, ""))
    assert ["command_id", "issued_by", "arguments.scope", "arguments.flatten", "arguments.why"] == [*found]


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"", "it is no JSON"),
        (b"\xff\xfe", "it is no JSON"),
        (b'"halt"', "it is no JSON object: write one with command_id, kind, arguments, issued_by"),
        (b"[" * MESSAGE_BYTES_MAX, "it is no JSON"),
        (b'{"x":' * 3_000, "it is no JSON"),
        (b" " * (MESSAGE_BYTES_MAX + 1), "it has 16,385 bytes: 16,384 are the most"),
    ],
)
def test_what_is_no_message(raw, says):
    """One message, no traceback, whatever came."""
    assert says in faults(lambda: read_message(raw))["message"]


def test_a_message_holds_nothing_else():
    """A key that nobody reads is a wish that nobody grants."""
    told = {"command_id": "c-1", "kind": "halt", "arguments": ONE_EACH["halt"], "issued_by": "ann", "priority": True}
    says = "unknown key; known here: command_id, kind, arguments, issued_by"
    assert {"priority": says} == faults(lambda: read_message(json.dumps(told).encode()))
    del told["arguments"]
    assert {"priority": says, "arguments": "None is no JSON object"} == faults(
        lambda: read_message(json.dumps(told).encode())
    )


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=80),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=80), inner, max_size=3),
    max_leaves=6,
)
KEYS = sorted({key for arguments in ONE_EACH.values() for key in arguments})


@given(st.sampled_from([*COMMANDS]), st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=20), ANY, max_size=4))
def test_whatever_is_asked_is_read_or_refused(kind, changes):
    """Never anything else, and what is said of it fits a line; what is read comes back."""
    arguments = {**ONE_EACH[kind], **changes}
    try:
        command = read("c-1", kind, arguments, "ann")
    except ConfigError as error:
        problems = error.problems
    else:
        assert command == read("c-1", kind, msgspec.json.decode(msgspec.json.encode(command.arguments)), "ann")
        return
    assert problems
    for problem in problems:
        assert (problem.path + problem.message).isprintable()
        assert len(problem.path) <= 2 * SHOWN_MAX
        assert len(problem.message) <= TEXT_MAX
