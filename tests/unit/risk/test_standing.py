"""What was changed while a node ran holds until it is given back, says what it was before, and survives a restart."""

from __future__ import annotations

import json
import os
import random
import time

import msgspec
import pytest
from risk_desk import COIN, NOW_NS, S

from nautilus_ext.config.risk import Risk
from nautilus_ext.risk import standing as module
from nautilus_ext.risk.commands import read
from nautilus_ext.risk.halts import Place
from nautilus_ext.risk.limits import Rulebook, moment_ns
from nautilus_ext.risk.standing import Standing

SEED = int(os.environ.get("SEED", "0")) or random.SystemRandom().randrange(1, 10**9)
FILE = {
    "preset": "none",
    "limits": {
        "global": {"max_exposure": "1000"},
        "instrument=AAA*": {"max_position": "5"},
        "strategy=*": {"max_order_quantity": "3"},
    },
    "overrides": [
        {
            "code": "MAX_POSITION",
            "scope": "instrument=AAA.SIM",
            "by": "ben",
            "why": "x",
            "until": "2033-01-01T00:00:00Z",
        }
    ],
}
PLACE = Place("AAA.SIM", "S-1", "SIM-1")


class Desk:
    """Someone who asks, and the answers as text; a refusal begins with `refused`."""

    def __init__(self, file=None):
        self.file = msgspec.convert(file or FILE, Risk)
        self.standing = Standing(self.file)
        self.now_ns = NOW_NS
        self.applied = []

    def ask(self, kind, **arguments):
        command = read(f"c-{len(self.applied)}-{self.now_ns}", kind, {"why": "a test", **arguments}, "ann")
        outcome = self.standing.apply(command, self.now_ns)
        if outcome.applied:
            self.applied.append((command, self.now_ns))
        self.now_ns += S
        return outcome.text if outcome.applied else f"refused {outcome.text}"

    def set(self, scope, key, value):
        return self.ask("set-limit", scope=scope, key=key, value=value)

    def limit(self, key, scope):
        """What holds for an order, in the words of the rulebook."""
        found = Rulebook(self.standing.risk).effective(COIN, "S-1", "SIM-1")
        return [str(each.value) for each in found if (each.key, each.scope) == (key, scope)]


def test_a_limit_is_changed_and_given_back():
    """The answer says what it was and what it is; the file is not touched."""
    desk = Desk()
    assert "max_position of instrument=AAA*: 5 -> 2" == desk.set("instrument=AAA*", "max_position", 2)
    assert ["2"] == desk.limit("max_position", "instrument=AAA.SIM")
    assert "max_position of instrument=AAA*: 2 -> 7.5" == desk.set("instrument=AAA*", "max_position", "7.5")
    assert "max_position of instrument=AAA*: 7.5 -> 5" == desk.set("instrument=AAA*", "max_position", None)
    assert desk.file == desk.standing.risk
    assert "refused max_position of instrument=AAA* was not changed: the file's holds" == desk.set(
        "instrument=AAA*", "max_position", None
    )


def test_a_limit_where_there_was_none():
    """Beside what the scope has already."""
    desk = Desk()
    assert "max_position of venue=SIM: not set -> 4" == desk.set("venue=SIM", "max_position", 4)
    assert 'messages of venue=SIM: not set -> [{"max":3,"types":["submit","modify"]}]' == desk.set(
        "venue=SIM", "messages", [{"max": 3}]
    )
    assert ["4"] == desk.limit("max_position", "venue=SIM")
    assert ["5"] == desk.limit("max_position", "instrument=AAA.SIM")


def test_each_change_makes_a_section_of_its_own():
    """Whoever judges by the former one is not disturbed: no order meets half of a change."""
    desk = Desk()
    former = desk.standing.risk
    kept = msgspec.json.encode(former)
    desk.set("global", "max_exposure", 9)
    assert former is not desk.standing.risk
    assert kept == msgspec.json.encode(former)


@pytest.mark.parametrize(
    ("file", "scope", "key", "value", "says"),
    [
        ({"max_total_notional": "50"}, "global", "max_exposure", 9, "max_total_notional=50 -> 9"),
        ({"max_orders_per_second": 5}, "global", "messages", [{"max": 3}], "max_orders_per_second=5 -> [{"),
        (
            {"max_position_per_instrument": {"AAA.SIM": "50"}},
            "instrument=AAA.SIM",
            "max_position",
            9,
            "max_position_per_instrument=50 -> 9",
        ),
    ],
)
def test_a_short_key_gives_way_and_comes_back(file, scope, key, value, says):
    """It says the same in another place: left there it would win."""
    desk = Desk({"preset": "none", **file})
    before = desk.limit(key, scope)
    assert desk.set(scope, key, value).startswith(f"{key} of {scope}: {says}")
    assert 1 == len(desk.limit(key, scope))
    assert before != desk.limit(key, scope)
    desk.set(scope, key, None)
    assert before == desk.limit(key, scope)


def test_a_short_key_gives_way_to_nothing_else():
    """Another limit of its scope, or the same one of another scope, leaves it as it is."""
    shorts = {"max_total_notional": "50", "max_position_per_instrument": {"AAA.SIM": "7"}}
    desk = Desk({"preset": "none", **shorts})
    desk.set("venue=SIM", "max_exposure", 9)
    desk.set("venue=SIM", "max_position", 3)
    desk.set("global", "max_order_quantity", 2)
    desk.set("instrument=AAA.SIM", "max_order_quantity", 1)
    assert ["50"] == desk.limit("max_exposure", "global")
    assert ["7"] == desk.limit("max_position", "instrument=AAA.SIM")


def test_both_short_keys_of_a_limit_are_told():
    """What gives way is not lost from sight."""
    desk = Desk({"preset": "none", "max_orders_per_second": 5, "max_orders_per_minute": 90})
    says = "messages of global: max_orders_per_second=5 max_orders_per_minute=90 -> [{"
    assert desk.set("global", "messages", [{"max": 3}]).startswith(says)


def test_who_changes_many_is_told_which_keep_their_own():
    """The most exact scope decides: that should not be found out by an order."""
    desk = Desk()
    says = "max_position of instrument=*: not set -> 1; their own keep instrument=AAA*"
    assert says == desk.set("instrument=*", "max_position", 1)
    assert ["5"] == desk.limit("max_position", "instrument=AAA.SIM")
    assert "max_order_quantity of instrument=*: not set -> 1" == desk.set("instrument=*", "max_order_quantity", 1)
    assert "max_position of instrument=BBB*: not set -> 1" == desk.set("instrument=BBB*", "max_position", 1)


def test_what_does_not_fit_the_file_is_refused():
    """And nothing of it holds."""
    desk = Desk()
    desk.set("instrument=AAA*", "min_order_quantity", 2)
    before = desk.standing.risk
    answer = desk.set("instrument=AAA*", "max_order_quantity", 1)
    assert "refused it does not fit the file: limits.instrument=AAA*.min_order_quantity: 2 is more than" in answer
    assert before is desk.standing.risk


def test_an_override_begins_replaces_ends_and_expires():
    """One of the file can be ended early as well; what is over before it begins is a slip."""
    desk = Desk()
    what = {"code": "PRICE_COLLAR", "scope": "global"}

    def lifting(code, scope, now_ns):
        return Rulebook(desk.standing.risk).lifting(code, scope, now_ns)

    assert "refused until 2020-01-01T00:00:00Z is over already, and there is none to end" == desk.ask(
        "override", until="2020-01-01T00:00:00Z", **what
    )
    assert "PRICE_COLLAR of global: lifted until 2033-01-01T00:00:00Z" == desk.ask(
        "override", until="2033-01-01T00:00:00Z", **what
    )
    assert "ann" == lifting("PRICE_COLLAR", "global", desk.now_ns).by
    desk.ask("override", until="2023-11-14T23:00:00Z", **what)
    assert lifting("PRICE_COLLAR", "global", desk.now_ns + 3_600 * S) is None
    assert "PRICE_COLLAR of global: ended" == desk.ask("override", until="2020-01-01T00:00:00Z", **what)
    assert lifting("PRICE_COLLAR", "global", desk.now_ns) is None
    file = {"code": "MAX_POSITION", "scope": "instrument=AAA.SIM"}
    assert lifting(**file, now_ns=desk.now_ns) is not None
    assert "MAX_POSITION of instrument=AAA.SIM: ended" == desk.ask("override", until="2020-01-01T00:00:00Z", **file)
    assert lifting(**file, now_ns=desk.now_ns) is None
    desk.ask("override", until="2033-01-01T00:00:00Z", **what)
    assert lifting(**file, now_ns=desk.now_ns) is None, "another override gives it back"


def test_a_halt_is_latched_once_and_lifted_by_a_resume():
    """Whoever halts again reads who was first; whoever resumes reads what stands still."""
    desk = Desk()
    first = desk.ask("halt", scope="venue=SIM")
    assert "halt scope=venue=SIM since=2023-11-14T22:13:20Z by=ann why=a test" == first
    assert f"stands already: {first}" == desk.ask("halt", scope="venue=SIM")
    second = desk.ask("reduce-only", scope="node")
    assert f"refused no halt stands at instrument=AAA.SIM; standing: {first}; {second}" == desk.ask(
        "resume", scope="instrument=AAA.SIM"
    )
    assert f"lifted: {first}; standing: {second}" == desk.ask("resume", scope="venue=SIM")
    assert "refused no halt stands at node; standing: reduce_only" in desk.ask("resume", scope="node", mode="halt")
    assert desk.standing.halts.narrowing(PLACE) is not None
    assert f"lifted: {second}; standing: none" == desk.ask("resume", scope="node", mode="reduce_only")


@pytest.mark.parametrize("kind", ["cancel-all", "flatten"])
def test_what_acts_once_leaves_nothing_standing(kind):
    """It is for whoever has the orders."""
    desk = Desk()
    assert "" == desk.ask(kind, scope="node")
    assert (desk.file, 0) == (desk.standing.risk, len(desk.standing.halts))


def test_there_is_a_bound_on_changes(monkeypatch):
    """What is given back or has expired makes room."""
    monkeypatch.setattr(module, "LIMITS_MAX", 2)
    monkeypatch.setattr(module, "OVERRIDES_MAX", 1)
    desk = Desk()
    desk.set("venue=A", "max_position", 1)
    desk.set("venue=B", "max_position", 1)
    assert "refused 2 limits are changed already: write them into the file" in desk.set("venue=C", "max_position", 1)
    desk.set("venue=A", "max_position", None)
    assert "max_position of venue=C: not set -> 1" == desk.set("venue=C", "max_position", 1)
    desk.ask("override", code="NO_PRICE", scope="global", until="2023-11-14T23:00:00Z")
    late = {"code": "NO_LIMIT", "scope": "global", "until": "2033-01-01T00:00:00Z"}
    assert "refused 1 overrides stand already" in desk.ask("override", **late)
    desk.now_ns = moment_ns("2023-11-14T23:00:00Z")
    assert "NO_LIMIT of global: lifted until" in desk.ask("override", **late)


def test_the_bound_holds_for_former_runs_as_well(monkeypatch):
    """Those that came first hold, the others are left out and named."""
    desk = Desk()
    for venue in "ABC":
        desk.set(f"venue={venue}", "max_position", 1)
    for code in ("NO_PRICE", "NO_LIMIT"):
        desk.ask("override", code=code, scope="global", until="2033-01-01T00:00:00Z")
    applied = [(now_ns, command) for command, now_ns in desk.applied]
    monkeypatch.setattr(module, "LIMITS_MAX", 2)
    folded = Standing(desk.file)
    (text,) = folded.fold(applied, desk.now_ns)
    assert text.startswith("set-limit c-2-")
    assert "2 limits are changed already" in text
    assert ["venue=A", "venue=B"] == [scope for scope in folded.risk.limits if scope not in FILE["limits"]]
    monkeypatch.setattr(module, "LIMITS_MAX", 3)
    monkeypatch.setattr(module, "OVERRIDES_MAX", 1)
    (text,) = Standing(desk.file).fold(applied, desk.now_ns)
    assert text.startswith("override c-4-")
    assert "1 overrides stand already" in text


def test_an_override_of_the_file_that_was_ended_early_stays_so_over_a_restart():
    """It would lift a control again that a person has put back."""
    desk = Desk()
    file = {"code": "MAX_POSITION", "scope": "instrument=AAA.SIM"}
    desk.ask("override", until="2020-01-01T00:00:00Z", **file)
    folded = Standing(desk.file)
    assert [] == folded.fold([(now_ns, command) for command, now_ns in desk.applied], desk.now_ns)
    assert Rulebook(folded.risk).lifting(**file, now_ns=desk.now_ns) is None


def test_an_override_is_over_at_its_moment():
    """To the second: who asks then has made a slip."""
    desk = Desk()
    answer = desk.ask("override", code="NO_PRICE", scope="global", until="2023-11-14T22:13:20Z")
    assert "refused until 2023-11-14T22:13:20Z is over already, and there is none to end" == answer


@pytest.mark.parametrize(("count", "more"), [(5, ""), (7, " and 2 more")])
def test_of_many_the_first_five_are_named(count, more):
    """An answer is a line, whatever stands."""
    desk = Desk()
    halts = [desk.ask("halt", scope=f"venue=V{number}") for number in range(count)]
    answer = desk.ask("resume", scope="node")
    assert f"refused no halt stands at node; standing: {'; '.join(halts[:5])}{more}" == answer


def random_command(dice):
    """One of a few that meet each other often."""
    scope = dice.choice(["node", "venue=SIM", "strategy=S-1"])
    kind = dice.choice(["halt", "reduce-only", "resume", "set-limit", "set-limit", "override"])
    if kind == "set-limit":
        scope = dice.choice(["global", "venue=SIM", "instrument=AAA*", "instrument=*"])
        key = dice.choice(["max_position", "max_order_quantity", "min_order_quantity"])
        return kind, {"scope": scope, "key": key, "value": dice.choice([None, 1, 2, "3.5"])}
    if kind == "override":
        until = dice.choice(["2020-01-01T00:00:00Z", "2023-11-14T22:20:00Z", "2033-01-01T00:00:00Z"])
        return kind, {"code": dice.choice(["NO_PRICE", "MAX_POSITION"]), "scope": "global", "until": until}
    return kind, {"scope": scope, "mode": dice.choice([None, "halt"])} if kind == "resume" else {"scope": scope}


def test_a_restart_stands_where_the_node_stood():
    """All applied commands again, in their order and from their JSON: the same halts, limits and overrides, by dice."""
    print("SEED", SEED)
    dice, refused, applied = random.Random(SEED), 0, 0
    for _ in range(20):
        desk = Desk()
        for _ in range(dice.randrange(60)):
            kind, arguments = random_command(dice)
            refused += desk.ask(kind, **arguments).startswith("refused")
        again = Standing(desk.file)
        for command, now_ns in desk.applied:
            told = json.loads(json.dumps(command.arguments))
            assert again.apply(read(command.command_id, command.kind, told, command.issued_by), now_ns).applied
        assert desk.standing.risk == again.risk
        assert desk.standing.halts.standing() == again.halts.standing()
        folded = Standing(desk.file)
        assert [] == folded.fold([(now_ns, command) for command, now_ns in desk.applied], desk.now_ns)
        assert desk.standing.halts.standing() == folded.halts.standing()
        assert live(desk.standing.risk, desk.now_ns) == live(folded.risk, desk.now_ns)
        assert list(desk.standing.risk.limits) == list(folded.risk.limits)
        applied += len(desk.applied)
    assert min(refused, applied) > 20


def live(risk, now_ns):
    """What it says from now on."""
    overrides = {(each.code, each.scope): each for each in risk.overrides}
    return msgspec.structs.replace(
        risk, overrides=sorted((each for each in overrides.values() if moment_ns(each.until) > now_ns), key=str)
    )


def test_what_does_not_fit_the_file_any_more_is_left_out_and_named():
    """The rest of it holds."""
    desk = Desk()
    desk.set("instrument=AAA*", "min_order_quantity", 2)
    desk.set("global", "max_exposure", 900)
    desk.ask("halt", scope="node")
    limits = FILE["limits"] | {"instrument=AAA*": {"max_order_quantity": "1"}}
    folded = Standing(msgspec.convert(FILE | {"limits": limits}, Risk))
    (text,) = folded.fold([(now_ns, command) for command, now_ns in desk.applied], desk.now_ns)
    assert "it does not fit the file: limits.instrument=AAA*.min_order_quantity: 2 is more than" in text
    assert folded.risk.limits["global"].max_exposure == 900
    assert folded.risk.limits["instrument=AAA*"].min_order_quantity is None
    assert folded.halts.stopping(PLACE) is not None


def test_years_of_commands_are_folded_in_a_moment():
    """One by one they would take minutes."""
    file = msgspec.convert({"limits": {f"instrument=A{n}.SIM": {"max_position": "5"} for n in range(300)}}, Risk)
    commands = [
        (
            n,
            read(
                f"c{n}", "set-limit", {"scope": "global", "key": "max_position", "value": str(n + 1), "why": "w"}, "ann"
            ),
        )
        for n in range(3_000)
    ]
    standing, begun_s = Standing(file), time.process_time()
    assert [] == standing.fold(commands, NOW_NS)
    assert time.process_time() - begun_s < 2
    assert standing.risk.limits["global"].max_position == 3_000
