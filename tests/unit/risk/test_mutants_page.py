"""The page of the mutants belongs to the rules as they are, and explains each mistake that no test notices."""

from mutants import digest
from mutants_page import KILLED_SHARE_MIN, MODULES, RULES, read_page


def test_the_page_belongs_to_the_rules_as_they_are():
    """Whoever changes a rule runs `make mutation`: a few minutes for what has changed."""
    told = {name: each.digest for name, each in read_page().results.items()}
    assert {name: digest(RULES / f"{name}.py") for name in MODULES} == told, "run make mutation"


def test_every_survivor_has_its_reason():
    """And there are few of them."""
    page = read_page()
    assert [] == [key for key, reason in page.reasons.items() if len(reason.split()) < 3], "write why it may live"
    made, killed = (
        sum(each) for each in zip(*((each.made, each.killed) for each in page.results.values()), strict=True)
    )
    assert made - killed == len(page.reasons)
    assert killed / made >= KILLED_SHARE_MIN
