import pytest
from hypothesis import given
from hypothesis import strategies as st

from nautilus_ext.config.env import FromEnv, Unresolved, substitute, walk

NAMES = st.from_regex(r"[A-Z_][A-Z0-9_]{0,8}", fullmatch=True)
VALUES = st.text(st.characters(blacklist_characters="${}\x00", blacklist_categories=("Cs",)), min_size=1, max_size=20)


@given(name=NAMES, value=VALUES, before=VALUES, after=VALUES)
def test_a_variable_is_replaced_wherever_it_stands(name, value, before, after):
    """Text around a reference stays as it is, and nothing is reported."""
    problems = []
    assert before + value + after == substitute(f"{before}${{{name}}}{after}", "here", {name: value}, problems)
    assert problems == []


@given(name=NAMES, default=VALUES)
def test_a_default_counts_when_the_variable_is_unset_or_empty(name, default):
    """As in a shell's `:-`."""
    for environ in ({}, {name: ""}):
        problems = []
        assert default == substitute(f"${{{name}:-{default}}}", "here", environ, problems)
        assert problems == []


def test_every_missing_variable_of_a_string_is_named_with_its_path():
    """An operator exports them all at once, not one per attempt."""
    problems = []
    result = substitute("${A}-${B:-x}-${C}", "database.url", {"B": "b"}, problems)
    assert isinstance(result, Unresolved)
    assert [("database.url", True), ("database.url", True)] == [(p.path, "is not set" in p.message) for p in problems]
    assert ["A", "C"] == [p.message.split()[3] for p in problems]


def test_an_empty_variable_without_default_is_a_problem():
    """An empty secret is a missing secret."""
    problems = []
    substitute("${A}", "here", {"A": ""}, problems)
    assert "is empty" in problems[0].message


@pytest.mark.parametrize("text", ["${", "${}", "${A", "${1A}", "${A:b}", "x ${A B} y", "${A:-${B}}"])
def test_a_broken_reference_is_a_problem_and_no_text(text):
    """A reference that is not understood must not reach a venue as a literal."""
    problems = []
    substitute(text, "here", {"A": "a", "B": "b"}, problems)
    assert "broken variable reference" in problems[0].message


def test_text_without_a_reference_is_not_touched():
    """A dollar alone means nothing."""
    problems = []
    text = "costs $5 {x}"
    assert text is substitute(text, "here", {}, problems)
    assert not isinstance(text, FromEnv)


def test_walk_names_each_string_by_its_path():
    """Lists by index, objects by key; other values pass."""
    seen = []
    value = {"a": ["x", {"b": "y"}], "c": 1, "d": None}
    assert value == walk(value, "", lambda at, text: seen.append((at, text)) or text)
    assert [("a[0]", "x"), ("a[1].b", "y")] == seen
