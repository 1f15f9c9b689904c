"""The section `alerts` and the breakers of `risk`: every mistake is told with its path, and no secret with it."""

import json
import re
import time
from pathlib import Path

import pytest
from test_load import base, write  # noqa: F401 - a fixture among them

from nautilus_ext.config import load
from nautilus_ext.errors import ConfigError
from nautilus_ext.risk.breakers import TRAITS
from nautilus_ext.risk.webhook import SIGNATURE, TIMESTAMP, signature

SECRET = "planted-webhook-secret-91c4"
ENVIRON = {"HOOK_SECRET": SECRET, "HOOK_URL": "https://hooks.example/services/T0/B0/part-of-the-address"}
GOOD = {"url": "${HOOK_URL}", "secret": "${HOOK_SECRET}"}


def webhook(**changes):
    return {"alerts": {"webhook": {**GOOD, **changes}}}


def breaker(**changes):
    rule = {"kind": "loss", "scope": "strategy=*", "limit": 100, "action": "halt"} | changes
    return {"risk": {"breakers": [{key: value for key, value in rule.items() if value is not None}]}}


def problems_of(path, **environ):
    with pytest.raises(ConfigError) as refusal:
        load(path, environ={**ENVIRON, **environ})
    return {problem.path: problem.message for problem in refusal.value.problems}


WEBHOOKS = [
    (webhook(url="hooks.example/x"), "alerts.webhook.url", "is no address"),
    (webhook(url="ftp://hooks.example/x"), "alerts.webhook.url", "is no address"),
    (webhook(url="https://hooks.example:99999/x"), "alerts.webhook.url", "port cannot be read"),
    (webhook(url="https://me:pw@hooks.example/x"), "alerts.webhook.url", "holds a user or a password"),
    (webhook(url="https://hooks.example/x#top"), "alerts.webhook.url", "#fragment"),
    (webhook(url="https://hooks.example/a b"), "alerts.webhook.url", "without spaces"),
    (webhook(secret="stands-in-the-file-so-it-is-read"), "alerts.webhook.secret", "write ${WEBHOOK_SECRET}"),
    (webhook(secret="${NO_SUCH_SECRET}"), "alerts.webhook.secret", "NO_SUCH_SECRET is not set"),
    (webhook(timeout_s=0), "alerts.webhook.timeout_s", "> 0"),
    (webhook(attempts=0), "alerts.webhook.attempts", ">= 1"),
    (webhook(retries=3), "alerts.webhook.retries", "unknown key"),
    ({"alerts": {"webhook": {"url": "https://hooks.example/x"}}}, "alerts.webhook.secret", "is missing"),
    ({"alerts": {"quiet_s": 0}}, "alerts.quiet_s", ">= 1"),
    ({"alerts": {"webhok": GOOD}}, "alerts.webhok", 'did you mean "webhook"?'),
]
BREAKERS = [
    (breaker(kind="los"), "risk.breakers[0].kind", 'did you mean "loss"?'),
    (breaker(action="stop"), "risk.breakers[0].action", "one of alert, reduce_only, halt"),
    (breaker(limit=None), "risk.breakers[0].limit", "is missing"),
    (breaker(limit=-1), "risk.breakers[0].limit", "is no limit"),
    (breaker(scope="asset=BTC"), "risk.breakers[0].scope", "is no scope of loss"),
    (breaker(kind="executions"), "risk.breakers[0].window_s", "is no window"),
    (breaker(kind="venue_down", scope="node"), "risk.breakers[0].scope", "write one of venue=NAME"),
    (breaker(window="60"), "risk.breakers[0].window", 'did you mean "window_s"?'),
    ({"risk": {"breakers": breaker()["risk"]["breakers"] * 2}}, "risk.breakers[1]", "the same kind, scope and action"),
    ({"risk": {"cancel_on_disconnect": ["sim1"]}}, "risk.cancel_on_disconnect[0]", "written in capitals"),
    ({"risk": {"venue_check_interval_s": 10}}, "risk.venue_check_interval_s", "nothing asks for it"),
    (
        {**breaker(kind="drop_copy", scope="node"), "persistence": {"enabled": False}},
        "risk.breakers[0].kind",
        "looks at the tables",
    ),
]


@pytest.mark.parametrize(("sections", "path", "part"), [*WEBHOOKS, *BREAKERS])
def test_a_mistake_is_told_with_its_path_and_its_cure(write, sections, path, part):  # noqa: F811 - the fixture
    """One mistake is one message."""
    problems = problems_of(write({**base(), **sections}))
    assert [path] == list(problems)
    assert part in problems[path]
    assert SECRET not in str(problems)


@pytest.mark.parametrize(
    "url", [f"redis://u:{SECRET}#x@h:1", f"redis://:{SECRET}/x@h:1", f"redis:/u:{SECRET}@h", f"http://u:{SECRET}@h"]
)
def test_an_address_of_a_stream_that_is_none_is_not_shown(write, url):  # noqa: F811 - the fixture
    """What is special in a password ends it, and the rest is taken for a port that Redis's client would name."""
    problems = problems_of(write({**base(), "redis": {"url": "${REDIS}"}}), REDIS=url)
    assert ["redis.url"] == list(problems)
    assert "is no address" in problems["redis.url"]
    assert SECRET not in str(problems)


@pytest.mark.parametrize("url", ["", "embedded", "redis://h", "rediss://u:p%23w@h:6380/1", "unix:///run/redis.sock"])
def test_an_address_of_a_stream(write, url):  # noqa: F811 - the fixture
    assert url == load(write({**base(), "redis": {"url": url}}), environ={}).suite.redis.url


def test_a_short_secret_signs_nothing(write):  # noqa: F811 - the fixture
    """And is not shown."""
    problems = problems_of(write({**base(), **webhook()}), HOOK_SECRET="shortish")
    assert ["alerts.webhook.secret"] == list(problems)
    assert "has 8 characters" in problems["alerts.webhook.secret"]
    assert "shortish" not in str(problems)


def test_the_secret_is_in_nothing_that_is_shown_or_that_nautilus_is_given(write):  # noqa: F811 - the fixture
    """Nor is the address, of which a part is often a key."""
    config = load(write({**base(), **webhook(), "alerts": {**webhook()["alerts"], "quiet_s": 7}}), environ=ENVIRON)
    shown = json.dumps(config.tree) + repr(config) + repr(config.suite)
    assert SECRET not in shown
    assert "part-of-the-address" not in shown
    assert SECRET in config.secrets.masked
    assert (SECRET, ENVIRON["HOOK_URL"]) == (config.suite.alerts.webhook.secret, config.suite.alerts.webhook.url)


def test_a_backtest_needs_no_webhook(write):  # noqa: F811 - the fixture
    """Its variables may be unset: nobody is called for the past."""
    load(write({**base(), **webhook()}), backtest=True, environ={})


def test_only_a_file_with_breakers_has_their_actors(write):  # noqa: F811 - the fixture
    """And only one that compares has somebody who asks the venues, never in a backtest."""

    def names(sections, **how):
        actors = load(write({**base(), **sections}), environ={}, **how).tree["actors"]
        return {each["actor_path"].partition(":")[2] for each in actors}

    assert not {"CircuitBreakers", "VenueWatch"} & names({})
    assert "CircuitBreakers" in names(breaker())
    assert "VenueWatch" not in names(breaker())
    assert "CircuitBreakers" in names({"risk": {"cancel_on_disconnect": ["*"]}})
    drop_copy = breaker(kind="drop_copy", scope="venue=*", limit=0)
    assert {"CircuitBreakers", "VenueWatch"} <= names(drop_copy)
    assert "VenueWatch" not in names(drop_copy, backtest=True)


def test_what_breakers_keep_is_the_books_own(write):  # noqa: F811 - the fixture
    """A backtest keeps nothing."""

    def path_of(config):
        placed = config.for_run("BOOK", 3, 4)
        (actor,) = (each for each in placed.tree["actors"] if each["actor_path"].endswith("CircuitBreakers"))
        return actor["config"]["path"]

    path = write({**base(), **breaker(), "data_dir": "/data"})
    assert Path("/data/risk/BOOK/breakers.json") == Path(path_of(load(path, environ={})))
    assert "" == path_of(load(path, environ={}, backtest=True))


GUIDE = (Path(__file__).resolve().parents[3] / "docs" / "guides" / "breakers-and-alerts.md").read_text()


def test_the_guides_example_is_what_a_live_file_may_have(tmp_path):
    """Copied into a file it loads; the table names every kind."""
    (example,) = re.findall(r"```json\n(.*?)```", GUIDE, re.DOTALL)
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"environment": "live", "trader_id": "T-1", **json.loads(f"{{{example}}}")}))
    environ = {"ALERT_WEBHOOK_URL": ENVIRON["HOOK_URL"], "ALERT_WEBHOOK_SECRET": SECRET}
    assert 7 == len(load(path, environ=environ).suite.risk.breakers)
    assert set(TRAITS) == set(re.findall(r"^\| `(\w+)` \|", GUIDE, re.MULTILINE)) - {"kind"}


def test_the_guides_receiver_knows_who_sends():
    """Run as it stands there; another body, another secret and an old request are nobody's."""
    (code,) = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    names = {}
    exec(code, names)
    now = str(int(time.time()))
    headers = {TIMESTAMP: now, SIGNATURE: signature(SECRET, now, b"{}")}
    assert names["is_ours"](headers, b"{}", SECRET)
    assert not names["is_ours"](headers, b"{ }", SECRET)
    assert not names["is_ours"](headers, b"{}", SECRET + "x")
    old = str(int(time.time()) - 1_000)
    assert not names["is_ours"]({TIMESTAMP: old, SIGNATURE: signature(SECRET, old, b"{}")}, b"{}", SECRET)
