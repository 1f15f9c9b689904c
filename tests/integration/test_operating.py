"""The verbs that ask something of a node, against its channel and a real database: applied, refused, too late, away."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest
from command_stage import BOOK, Gate, ask, query, rows, running, start, status
from outage_proxy import Proxy

from nautilus_ext.app import operating
from nautilus_ext.cli import main
from nautilus_ext.risk.inbox import Inbox

PAPER = Path(__file__).resolve().parents[2] / "node_configs" / "paper.json"
WHY = ("--why", "a test")
MAY_ASK = "book_id, command_id, kind, arguments, issued_by, expires_at"


class Operator:
    """Somebody in a shell; `config` is the file, `say` what a verb printed last."""

    def __init__(self, url, folder, capsys):
        self._capsys = capsys
        self.folder = folder
        self.config = str(folder / "paper.json")
        self.point_at(url)

    def point_at(self, url):
        document = json.loads(PAPER.read_text())
        document |= {"database": {"url": url, "connect_timeout_s": 2.0}, "data_dir": str(self.folder)}
        Path(self.config).write_text(json.dumps(document))

    @property
    def inbox(self):
        return self.folder / "inbox" / BOOK

    def do(self, verb, *arguments):
        """Exit code, standard output, standard error."""
        code = main([verb, self.config, *arguments])
        return (code, *self._capsys.readouterr())

    def json(self, verb, *arguments):
        code, output, _ = self.do(verb, *arguments, "--json")
        return code, json.loads(output)


@pytest.fixture
def url(database):
    return database.app_url


@pytest.fixture
def operator(url, tmp_path, capsys):
    return Operator(url, tmp_path, capsys)


@pytest.fixture
def proxied(url, operator):
    head, _, rest = url.rpartition("@127.0.0.1:")
    port, _, name = rest.partition("/")
    with Proxy(int(port)) as proxy:
        operator.point_at(f"{head}@127.0.0.1:{proxy.port}/{name}")
        yield proxy


@pytest.mark.parametrize(
    ("verb", "arguments", "kind"),
    [
        ("halt", ("--scope", "venue=SIM1", "--flatten"), "halt"),
        ("reduce-only", ("--scope", "strategy=TwoSidedQuoter-002"), "reduce-only"),
        ("cancel-all", ("--scope", "instrument=BTCUSDT.SIM1"), "cancel-all"),
        ("flatten", ("--scope", "node"), "flatten"),
        ("override", ("MAX_POSITION", "--scope", "instrument=BTCUSDT.SIM1", "--until", "30m"), "override"),
        ("limits", ("set", "instrument=BTC*", "max_position", "2.50"), "set-limit"),
        ("limits", ("set", "global", "duplicate_window_ms", "500"), "set-limit"),
        ("limits", ("set", "global", "messages", '[{"max": 5}]'), "set-limit"),
        ("limits", ("set", "global", "self_match", "refuse"), "set-limit"),
    ],
)
def test_each_verb_waits_for_the_answer_and_prints_it(url, operator, verb, arguments, kind):
    """Exit 0; for programs as one object, with what was asked."""
    with running(url, operator.inbox) as run:
        code, told = operator.json(verb, *arguments, *WHY, "--by", "ann")
        assert (0, "applied", kind, "ann") == (code, told["status"], told["kind"], told["issued_by"])
        assert run.taker.run == told["run"]
        assert [told["command_id"]] == run.gate.applied
        assert "a test" == told["arguments"]["why"]
        assert not operator.inbox.exists()


def test_people_read_one_line_and_who_asked_is_the_user(url, operator):
    """With the time, the scope and the reason."""
    with running(url, operator.inbox):
        code, output, errors = operator.do("halt", "--scope", "node", *WHY)
        assert (0, "") == (code, errors)
        assert output.startswith("applied by run 1: halt scope=node since=")
        assert "@" in output.partition(" by=")[2].partition(" why=a test")[0]
        code, output, _ = operator.do("resume", "--scope", "node", *WHY)
        assert (0, True) == (code, output.startswith("applied by run 1: lifted: halt scope=node"))


def test_a_refusal_is_exit_1_with_the_reason(url, operator):
    """The node's own: the command is well formed."""
    with running(url, operator.inbox):
        code, output, _ = operator.do("resume", "--scope", "node", "--mode", "halt", *WHY)
        assert (1, "refused by run 1: no halt stands at node; standing: none\n") == (code, output)
        code, output, _ = operator.do("override", "NO_PRICE", "--scope", "global", "--until", "now", *WHY)
        assert (1, True) == (code, "is over already" in output)


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["halt", "--scope", "all", "--why", " "], ['--scope: "all" is no scope; did you mean "node"?', "--why: is e"]),
        (["halt", "--scope", "strategy=*", *WHY], ["--scope:", "stands for many"]),
        (["halt", "--scope", "node", *WHY, "--by", "x" * 200], ["--by: has 200 characters"]),
        (["halt", "--scope", "node", *WHY, "--wait", "soon"], ["--wait: 'soon' is no number of seconds"]),
        (["halt", "--scope", "node", *WHY, "--book", "a b"], ["--book"]),
        (["override", "NOPRICE", "--scope", "global", "--until", "1h", *WHY], ["CODE: 'NOPRICE'", '"NO_PRICE"']),
        (["override", "NO_PRICE", "--scope", "global", "--until", "soon", *WHY], ["--until: 'soon' is no time"]),
        (["limits", "set", "global", "max_exposur", "1", *WHY], ["KEY: 'max_exposur'", '"max_exposure"']),
        (["limits", "set", "global", "max_exposure", "-1", *WHY], ["VALUE: -1"]),
        (["limits", "set", "global", "max_exposure", "lots", *WHY], ["VALUE:", "'lots'"]),
        (["limits", "set", "globl", "max_exposure", "1", *WHY], ["SCOPE:", '"globl"']),
        (["limits", "history", "--limit", "many"], ["--limit: 'many'"]),
    ],
)
def test_what_cannot_be_meant_is_told_at_once(operator, arguments, parts):
    """Exit 2, all of it, under the names of the options; no database is asked."""
    verb, *rest = arguments
    code, output, errors = operator.do(verb, *rest)
    assert (2, "") == (code, output)
    for part in parts:
        assert part in errors, errors


def test_a_name_that_the_file_does_not_have_is_noted(url, operator):
    """It is applied all the same: the node may know more than this file."""
    with running(url, operator.inbox):
        code, _, errors = operator.do("halt", "--scope", "strategy=TwoSided-002", *WHY)
        assert 0 == code
        assert "no strategy TwoSided-002: it has TrendFollower-001, TwoSidedQuoter-002" in errors
        assert "no venue BINANCE" in operator.do("halt", "--scope", "instrument=BTCUSDT.BINANCE", *WHY)[2]
        assert "" == operator.do("halt", "--scope", "instrument=BTCUSDT.SIM1", *WHY)[2]


def test_without_a_node_what_is_for_now_expires_and_a_halt_waits(url, operator):
    """Exit 5 for both; the next start applies the halt, and nothing else."""
    with running(url, operator.inbox):
        pass
    code, output, _ = operator.do("flatten", "--scope", "node", *WHY, "--wait", "0.2")
    assert (5, True) == (code, "no node has applied it in time" in output)
    code, output, _ = operator.do("halt", "--scope", "node", *WHY, "--wait", "0.2")
    assert (5, True) == (code, output.startswith("pending: no node has applied it yet"))
    with running(url, operator.inbox) as run:
        run.gate.call(run.gate.loop.stop)
    assert 1 == len(run.gate.applied)


def test_a_node_that_has_begun_it_and_says_nothing(url, operator):
    """Exit 5: nobody knows yet."""
    with running(url, operator.inbox, Gate(holds_back=True)):
        code, output, _ = operator.do("halt", "--scope", "node", *WHY, "--wait", "1")
        assert (5, True) == (code, output.startswith("taken by run 1: the node has begun it"))


def test_other_books_are_named_and_a_backtest_takes_none(url, operator):
    """`--book` as everywhere else."""
    sql = "INSERT INTO books (book_id, trader_id, environment, epoch) VALUES ('B-1', 'T-1', 'backtest', 1)"
    query(url, lambda connection: connection.execute(sql))
    code, _, errors = operator.do("halt", "--scope", "node", *WHY, "--book", "B-1")
    assert (2, True) == (code, "B-1 is a backtest" in errors)
    code, _, errors = operator.do("halt", "--scope", "node", *WHY)
    assert (2, True) == (code, f"no node has run on book {BOOK} yet" in errors)


# -- a database that is away -----------------------------------------------------------------------


def test_what_stops_goes_by_a_file_when_the_database_is_away(url, operator, proxied, wait_until):
    """The rest needs the database; the row is there when it is back."""
    with running(url, operator.inbox) as run:
        proxied.cut()
        code, output, errors = operator.do("reduce-only", "--scope", "node", *WHY)
        assert (0, True) == (code, output.startswith("applied")), output + errors
        assert "so it goes to the node by a file" in errors
        assert 4 == operator.do("resume", "--scope", "node", *WHY)[0]
        (command_id,) = run.gate.applied
        wait_until(lambda: status(url, command_id) == "applied")
        assert [] == run.inbox.waiting()


def test_a_file_waits_for_a_node(operator, proxied, url):
    """Exit 5, with the place."""
    proxied.cut()
    code, output, _ = operator.do("halt", "--scope", "node", *WHY, "--wait", "0.2")
    assert (5, True) == (code, f"it lies in {operator.inbox} and waits" in output)
    with running(url, operator.inbox) as run:
        run.gate.call(run.gate.loop.stop)
    assert 1 == len(run.gate.applied)


def test_a_database_that_goes_away_while_it_is_waited_for(url, operator, proxied, wait_until):
    """The command has its row already: the file asks for the same one, which is applied once."""
    run = start(url, operator.inbox, Gate())
    told = []
    asking = threading.Thread(target=lambda: told.append(operator.do("halt", "--scope", "node", *WHY)))
    asking.start()
    wait_until(lambda: rows(url))
    proxied.cut()
    wait_until(lambda: Inbox(operator.inbox).waiting())
    run.begin()
    asking.join(20)
    run.end()
    run.gate.loop.close()
    assert 1 == len(run.gate.applied)
    assert {"applied"} == {each[0] for each in rows(url).values()}
    ((code, output, _),) = told
    assert 0 == code, output


# -- rights ----------------------------------------------------------------------------------------


@pytest.fixture
def roles(database, postgres_server):
    """One that may read, and one that may ask, as the guide grants it."""
    names = {right: f"{right}_{uuid4().hex[:8]}" for right in ("reader", "asker")}
    admin = f"{postgres_server.admin_url.rpartition('/')[0]}/{database.name}"

    async def make(connection):
        for name in names.values():
            await connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'x'")
            await connection.execute(f"GRANT SELECT ON books, commands, schema_version TO {name}")
        await connection.execute(f"GRANT INSERT ({MAY_ASK}) ON commands TO {names['asker']}")

    async def drop(connection):
        for name in names.values():
            await connection.execute(f"DROP OWNED BY {name}")
            await connection.execute(f"DROP ROLE {name}")

    query(admin, make)
    yield {right: f"postgresql://{name}:x@{admin.rpartition('@')[2]}" for right, name in names.items()}
    query(admin, drop)


def test_a_role_without_the_right_is_refused_and_no_file_goes_around_it(url, operator, roles):
    """Exit 4, with what it lacks."""
    with running(url, operator.inbox) as run:
        operator.point_at(roles["reader"])
        code, output, errors = operator.do("halt", "--scope", "node", *WHY)
        assert (4, "") == (code, output)
        assert "this role may not give commands" in errors
        assert not operator.inbox.exists()
        assert [] == run.gate.applied


def test_a_role_that_may_ask_cannot_say_that_it_was_applied(url, operator, roles):
    """What stands after a restart is what a node has applied."""
    forged = f"INSERT INTO commands ({MAY_ASK}, status) VALUES ('{BOOK}', 'f', 'resume', '{{}}', 'x', NULL, 'applied')"
    with running(url, operator.inbox):
        operator.point_at(roles["asker"])
        code, output, _ = operator.do("halt", "--scope", "node", *WHY)
        assert (0, True) == (code, output.startswith("applied"))
    code, output, _ = operator.do("flatten", "--scope", "node", *WHY, "--wait", "0.1")
    assert (5, True) == (code, output.startswith("pending: no node has applied it yet; none will when 60 s are over"))
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        query(roles["asker"], lambda connection: connection.execute(forged))


# -- what holds ------------------------------------------------------------------------------------


def test_limits_show_where_each_comes_from_and_history_who_asked(url, operator):
    """The file's, the preset's, and what was changed by whom; what was given back is the file's again."""
    with running(url, operator.inbox):
        for place in (("global", "max_exposure", "7"), ("venue=SIM1", "max_order_notional", "5")):
            assert 0 == operator.do("limits", "set", *place, *WHY, "--by", "ann")[0]
        assert 0 == operator.do("limits", "set", "global", "max_exposure", "file", *WHY)[0]
        assert 0 == operator.do("override", "NO_PRICE", "--scope", "venue=SIM1", "--until", "1h", *WHY)[0]
        assert 0 == operator.do("halt", "--scope", "venue=SIM2", *WHY)[0]
        assert 1 == operator.do("resume", "--scope", "node", *WHY)[0]
    code, now = operator.json("limits", "show")
    found = {(row["scope"], row["limit"]): row for row in now["limits"]}
    assert 0 == code
    assert ("500000", "risk.limits.global") == tuple(found["global", "max_exposure"][key] for key in ("value", "from"))
    assert "preset paper" == found["global", "price_collar_bps"]["from"]
    changed = found["venue=SIM1", "max_order_notional"]
    assert ("5", True) == (changed["value"], changed["from"].startswith("ann 20"))
    assert "a test (file: not set)" in changed["from"]
    assert [("NO_PRICE", "venue=SIM1")] == [(each["code"], each["scope"]) for each in now["overrides"]]
    assert ["venue=SIM2"] == [each["scope"] for each in now["halts"]]
    text = operator.do("limits", "show")[1]
    for part in ("venue=SIM1", "lifted until", "stands: halt scope=venue=SIM2", "preset paper"):
        assert part in text
    text = operator.do("limits", "show", "--instrument", "BTCUSDT.SIM1")[1]
    assert "set by ann 20" in text
    code, past = operator.json("limits", "history")
    assert ["applied"] * 5 + ["refused"] == [each["status"] for each in past]
    assert [("ann", "set-limit")] * 2 == [(each["issued_by"], each["kind"]) for each in past[:2]]
    assert "500000 -> 7" in past[0]["result"] or "7" in past[0]["result"]
    assert ["refused"] == [each["status"] for each in operator.json("limits", "history", "--limit", "1")[1]]


def test_what_the_file_of_today_does_not_bear_is_said(url, operator):
    """As the node does it that starts now."""
    with running(url, operator.inbox):
        assert 0 == operator.do("limits", "set", "venue=SIM1", "min_order_quantity", "5", *WHY)[0]
    document = json.loads(Path(operator.config).read_text())
    document["risk"]["limits"]["venue=SIM1"] = {"max_order_quantity": "1"}
    Path(operator.config).write_text(json.dumps(document))
    _, now = operator.json("limits", "show")
    assert 1 == len(now["left_out"])
    assert "does not fit the file" in now["left_out"][0]


def test_answers_come_while_others_ask(url, operator, wait_until):
    """Many rows at once are answered each."""
    with running(url, operator.inbox) as run:
        for number in range(30):
            ask(url, f"c-{number}")
        assert 0 == operator.do("halt", "--scope", "node", *WHY)[0]
        wait_until(lambda: {each[0] for each in rows(url).values()} == {"applied"})
        assert 31 == len(run.gate.applied)


assert operating.WAIT_S > 5.0, "the gate itself waits five seconds for its venues"
