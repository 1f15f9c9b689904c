"""What leaves the process holds no secret, in no spelling."""

from __future__ import annotations

import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nautilus_ext.config.masking import MASK, SECRET_CHARS_MIN, Masker

PEM = """-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIHxQ0ZkR0hYb1J3uJq9m2n8w
qL7sT5vX3cN1
-----END PRIVATE KEY-----
"""
ASTERISK_FREE = st.characters(
    exclude_characters="*", exclude_categories=["Cs"]
)  # a secret of asterisks is its own mask
SECRETS = st.text(ASTERISK_FREE, min_size=SECRET_CHARS_MIN, max_size=40).filter(
    lambda text: len(text.strip()) >= SECRET_CHARS_MIN and text.splitlines() == [text]
)
SPELLINGS = [
    str,
    lambda secret: json.dumps(secret)[1:-1],
    lambda secret: json.dumps(secret, ensure_ascii=False)[1:-1],
    lambda secret: repr(secret)[1:-1],
    lambda secret: quote(secret, safe=""),
    quote,
    quote_plus,
]


@given(secret=SECRETS, before=st.text(ASTERISK_FREE), after=st.text(ASTERISK_FREE))
def test_no_spelling_of_a_secret_survives(secret, before, after):
    """Whatever stands around a secret, and however it is written, it is gone."""
    masker = Masker([secret])
    for spelling in SPELLINGS:
        written = spelling(secret)
        masked = masker.text(before + written + after)
        assert MASK in masked
        assert written not in masked


@given(secrets=st.lists(SECRETS, min_size=1, max_size=5), rest=st.text())
def test_a_masked_record_is_valid_json_without_the_secrets(secrets, rest):
    """Masking values, not encoded text: a secret made of quotes and braces cannot break a line."""
    record = {"message": rest + secrets[0], "tags": [secrets[-1], 1], "nested": {secrets[0]: secrets[-1]}, "flag": True}
    masked = json.loads(json.dumps(Masker(secrets).fields(record)))
    texts = [masked["message"], masked["tags"][0], *masked["nested"], *masked["nested"].values()]
    assert not [secret for secret in secrets for text in texts if secret in text.replace("*", "")]
    assert masked["flag"] is True


def test_the_longest_secret_goes_first():
    """A short secret inside a long one must not leave the rest of the long one behind."""
    assert Masker(["abcd", "abcd-efgh-ijkl"]).text("key=abcd-efgh-ijkl") == f"key={MASK}"


@pytest.mark.parametrize("line", [line for line in PEM.splitlines() if len(line) >= 8])
def test_each_line_of_a_key_is_a_secret(line):
    """A multi-line key that is printed line by line is masked line by line."""
    assert line not in Masker([PEM]).text(f"prefix {line} suffix")


def test_a_number_that_is_a_secret_is_masked():
    """An integer field can hold a PIN."""
    assert Masker(["12345678"]).fields({"pin": 12345678, "other": 7}) == {"pin": MASK, "other": 7}


@pytest.mark.parametrize("secrets", [[], ["abc"], [""], ["    "]])
def test_nothing_to_hide_changes_nothing(secrets):
    """No secrets, or ones too short to be any, cost nothing and change nothing."""
    record = {"message": "abc    def"}
    assert Masker(secrets).fields(record) is record
