"""The channel between operators and a running node: whatever breaks, each command is applied once and answered."""

from __future__ import annotations

import json
import threading
import time

import pytest
from command_stage import BOOK, Gate, applied, ask, query, rows, running, start, status
from outage_proxy import DRIVER_COMMIT, Proxy

from nautilus_ext.app import commanding, docket, limits
from nautilus_ext.messages import COMMANDED, Commanded
from nautilus_ext.risk.commands import Command, Stop
from nautilus_ext.risk.inbox import Inbox
from nautilus_ext.schema import commands

APPLIED_S_MAX = 1.0


def halt(command_id, scope="node", by="ann", **more):
    return Command(command_id=command_id, issued_by=by, what=Stop(scope=scope, why="a test", **more))


@pytest.fixture
def url(database):
    return database.app_url


@pytest.fixture
def proxied(url):
    """The way to the database through a proxy that can be cut."""
    head, _, rest = url.rpartition("@127.0.0.1:")
    port, _, name = rest.partition("/")
    with Proxy(int(port)) as proxy:
        yield proxy, f"{head}@127.0.0.1:{proxy.port}/{name}"


def test_a_command_is_applied_within_a_second_and_answered(url, tmp_path, wait_until):
    """By NOTIFY, far below the poll; who, when and what came of it stand in the row."""
    with running(url, tmp_path) as run:
        began_s = time.monotonic()
        assert ask(url, "c-1")
        wait_until(lambda: status(url, "c-1") == "applied", APPLIED_S_MAX)
        print(f"applied and answered after {time.monotonic() - began_s:.3f} s")
        found, result, number = rows(url)["c-1"]
        assert ("applied", run.taker.run) == (found, number)
        assert "halt scope=node" in result
        assert "by=ann why=a test" in result
        assert ["c-1"] == run.gate.applied


def test_the_word_of_the_server_is_enough(url, tmp_path, wait_until, monkeypatch):
    """Nobody waits for a poll while the connection is well."""
    monkeypatch.setattr(commanding, "POLL_S", 30.0)
    with running(url, tmp_path):
        ask(url, "c-1")
        wait_until(lambda: status(url, "c-1") == "applied")


def test_without_a_word_of_the_server_the_poll_finds_it(url, tmp_path, wait_until):
    """A NOTIFY that never came costs half a second."""
    with running(url, tmp_path) as run:
        sql = """INSERT INTO commands (book_id, command_id, kind, arguments, issued_by)
                 VALUES ($1, 'c-1', 'halt', '{"scope": "node", "why": "silent"}', 'ann')"""
        query(url, lambda connection: connection.execute(sql, BOOK))
        wait_until(lambda: run.gate.applied, APPLIED_S_MAX)
        wait_until(lambda: status(url, "c-1") == "applied")


@pytest.mark.parametrize(
    "case",
    [
        ("resume", {"scope": "venue=SIM9"}, "no halt stands at venue=SIM9"),
        ("halt", {"scope": "venue"}, "arguments.scope"),
        ("halt", {"scope": "node", "force": True}, "unknown key"),
        ("stop", {}, "is no command"),
        ("set-limit", {"scope": "global", "key": "max_exposure", "value": -1}, "arguments.value"),
    ],
)
def test_what_cannot_be_applied_is_refused_and_says_why(url, tmp_path, wait_until, case):
    """Whether the node's state or the command itself is against it."""
    kind, arguments, part = case
    with running(url, tmp_path) as run:
        ask(url, "c-1", kind, **arguments)
        wait_until(lambda: status(url, "c-1") == "refused")
        assert part in rows(url)["c-1"][1]
        assert len(run.gate.applied) <= 1


LONG = json.dumps({f"k{number}": 1 for number in range(1_200)})


@pytest.mark.parametrize("arguments", ['{"scope": 1e999}', "[1]", '"text"', "null", "[" * 2_000 + "]" * 2_000, LONG])
def test_arguments_that_are_none_do_not_stop_the_next(url, tmp_path, wait_until, arguments):
    """PostgreSQL takes more for JSON than anybody reads."""
    sql = f"""INSERT INTO commands (book_id, command_id, kind, arguments, issued_by)
              VALUES ($1, E'\\x01 id', 'halt', '{arguments}', 'ann')"""
    with running(url, tmp_path) as run:
        query(url, lambda connection: connection.execute(sql, BOOK))
        ask(url, "c-2")
        wait_until(lambda: status(url, "c-2") == "applied")
        assert "refused" == status(url, "\x01 id")
        assert len(rows(url)["\x01 id"][1].splitlines()) < 30
        listed = [limits._told(row) for row in query(url, lambda connection: commands.history(connection, BOOK, 10))]
        assert ["c-2", "\x01 id"] == [row["command_id"] for row in listed[::-1]]
        assert max(len(row["command"]) for row in listed) <= limits.SHOWN_MAX
        assert ["c-2"] == run.gate.applied


def test_sent_again_it_is_applied_once(url, tmp_path, wait_until):
    """By row, by file, and by both at once."""
    with running(url, tmp_path) as run:
        ask(url, "c-1")
        run.inbox.put(halt("c-1"))
        run.inbox.put(halt("c-2"))
        ask(url, "c-2")
        wait_until(lambda: [status(url, each) for each in ("c-1", "c-2")] == ["applied", "applied"])
        wait_until(lambda: not run.inbox.waiting())
        assert not ask(url, "c-1")
        run.inbox.put(halt("c-2"))
        wait_until(lambda: not run.inbox.waiting())
        assert ["c-1", "c-2"] == sorted(run.gate.applied)


def test_what_waits_at_the_start_comes_before_everything_else(url, tmp_path):
    """A halt of the time when no node ran is in front of whatever the loop does first."""
    Inbox(tmp_path).put(halt("file"))
    ask(url, "row")
    gate, seen = Gate(), []
    run = start(url, tmp_path, gate)
    run.channel.begin()
    gate.call(lambda: seen.append(list(gate.applied)))
    gate.start()
    run.end()
    gate.loop.close()
    assert [["file", "row"]] == seen
    assert [] == run.inbox.waiting()
    assert {"applied"} == {each[0] for each in rows(url).values()}


def test_a_node_without_a_gate_refuses(url, tmp_path, wait_until):
    """With the reason: nobody believes that it is halted."""
    with running(url, tmp_path, Gate(is_there=False)):
        ask(url, "c-1")
        wait_until(lambda: status(url, "c-1") == "refused")
        assert "risk.enabled is false" in rows(url)["c-1"][1]


def test_a_gate_that_fails_costs_one_command(url, tmp_path, wait_until):
    """The node's loop goes on, and the next command is applied."""
    with running(url, tmp_path) as run:
        run.gate.fails = True
        ask(url, "c-1")
        wait_until(lambda: status(url, "c-1") == "refused")
        assert "failed in the node (RuntimeError)" in rows(url)["c-1"][1]
        run.gate.fails = False
        ask(url, "c-2")
        wait_until(lambda: status(url, "c-2") == "applied")


def test_a_node_that_says_nothing_keeps_nobody_waiting_for_good(url, tmp_path, wait_until, monkeypatch):
    """A halt that it has begun stands; what its loop has not come to is refused, and never begun later."""
    monkeypatch.setattr(docket, "ANSWER_S_MAX", 0.3)
    gate = Gate(holds_back=True)
    with running(url, tmp_path, gate):
        ask(url, "begun")
        wait_until(lambda: gate.held)
        released = threading.Event()
        gate.call(released.wait)
        ask(url, "stuck")
        wait_until(lambda: [status(url, each) for each in ("begun", "stuck")] == ["applied", "refused"])
        released.set()
        wait_until(lambda: [each.code for each in gate.alerts].count("COMMAND_NOT_ANSWERED") == 2)
        assert ["begun"] == gate.applied
        gate.held[0].answer(False, "too late")
        assert "applied" == status(url, "begun")


# -- the order -------------------------------------------------------------------------------------


def test_a_restart_adds_up_commands_in_the_order_in_which_they_were_applied(url, tmp_path, wait_until):
    """A halt whose answer takes its time was applied before the resume that is answered at once."""
    gate = Gate(holds_back=True)
    with running(url, tmp_path, gate):
        ask(url, "halt")
        wait_until(lambda: gate.held)
        gate.holds_back = False
        ask(url, "resume", "resume")
        wait_until(lambda: status(url, "resume") == "applied")
        gate.held[0].answer(True, "late")
        wait_until(lambda: status(url, "halt") == "applied")
    assert ["halt", "resume"] == applied(url)


def test_what_the_node_commands_itself_has_a_row(url, tmp_path, wait_until):
    """A breaker's halt stands at the next start."""
    with running(url, tmp_path) as run:
        done = Commanded(command=halt("b-1", by="breaker loss"), applied=True, text="halted")
        run.gate.call(run.gate.msgbus.publish, COMMANDED, done)
        wait_until(lambda: rows(url).get("b-1") == ("applied", "halted", run.taker.run))
    assert ["b-1"] == applied(url)


def test_a_breakers_halt_stands_although_neither_its_row_nor_its_node_survived(url, proxied, tmp_path, wait_until):
    """The database was away when it tripped, and the node died: the next one is halted."""
    proxy, way = proxied
    with running(way, tmp_path) as run:
        proxy.cut()
        done = Commanded(command=halt("b-1", by="breaker loss"), applied=True, text="halted")
        run.gate.call(run.gate.msgbus.publish, COMMANDED, done)
        wait_until(run.inbox.waiting)
    assert None is status(url, "b-1")
    with running(url, tmp_path) as run:
        wait_until(lambda: status(url, "b-1") == "applied")
        assert ["b-1"] == run.gate.applied
        assert ["breaker loss"] == [each.by for each in run.gate.standing.halts.standing()]


# -- a database that is away -----------------------------------------------------------------------


def test_commands_of_an_outage_come_after_it(url, proxied, tmp_path, wait_until):
    """The way to the database is cut; what is asked meanwhile is applied once it is back, once."""
    proxy, way = proxied
    with running(way, tmp_path) as run:
        proxy.cut()
        wait_until(lambda: run.channel.trouble)
        ask(url, "c-1")
        assert [] == run.gate.applied
        proxy.mend()
        wait_until(lambda: status(url, "c-1") == "applied")
        assert not run.channel.trouble
        assert ["c-1"] == run.gate.applied


def test_a_halt_by_file_works_while_the_database_is_away(url, proxied, tmp_path, wait_until):
    """It is applied and answered at once, and has its row when the database is back."""
    proxy, way = proxied
    with running(way, tmp_path) as run:
        proxy.cut()
        wait_until(lambda: run.channel.trouble)
        began_s = time.monotonic()
        run.inbox.put(halt("f-1"))
        wait_until(lambda: run.inbox.answer_to("f-1"), APPLIED_S_MAX)
        print(f"applied by file after {time.monotonic() - began_s:.3f} s")
        assert run.inbox.answer_to("f-1").applied
        assert None is status(url, "f-1")
        proxy.mend()
        wait_until(lambda: status(url, "f-1") == "applied")
        wait_until(lambda: not run.inbox.waiting())
        assert ["f-1"] == run.gate.applied


def test_what_came_by_file_and_then_as_a_row_is_answered_there_too(url, proxied, tmp_path, wait_until):
    """Whoever could not reach the node tries the other way: it is one command."""
    proxy, way = proxied
    with running(way, tmp_path) as run:
        proxy.cut()
        run.inbox.put(halt("c-1"))
        wait_until(lambda: run.inbox.answer_to("c-1"))
        ask(url, "c-1")
        proxy.mend()
        wait_until(lambda: status(url, "c-1") == "applied")
        assert ["c-1"] == run.gate.applied


def test_an_answer_whose_commit_was_lost_is_given_once(url, proxied, tmp_path, wait_until):
    """The server has taken, or answered, and its word did not arrive."""
    proxy, way = proxied
    with running(way, tmp_path) as run:
        proxy.swallow_commits(3, DRIVER_COMMIT)
        for number in range(4):
            ask(url, f"c-{number}")
        wait_until(lambda: {each[0] for each in rows(url).values()} == {"applied"})
        assert 3 == proxy.commits_swallowed
        assert [f"c-{number}" for number in range(4)] == sorted(run.gate.applied)


def test_a_role_without_the_right_is_told_and_tried_again(url, database, tmp_path, wait_until):
    """The node says what it lacks, still hears files, and goes on when it has the right."""
    revoke, grant = "REVOKE UPDATE ON commands FROM suite_app", "GRANT UPDATE ON commands TO suite_app"
    with running(url, tmp_path) as run:
        query(database.owner_url, lambda connection: connection.execute(revoke))
        ask(url, "c-1")
        wait_until(lambda: "lacks a permission" in run.channel.trouble)
        run.inbox.put(halt("f-1"))
        wait_until(lambda: run.gate.applied == ["f-1"])
        query(database.owner_url, lambda connection: connection.execute(grant))
        wait_until(lambda: status(url, "c-1") == status(url, "f-1") == "applied")
        assert ["c-1", "f-1"] == sorted(run.gate.applied)


# -- a node that dies ------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "outcome"), [("halt", "applied"), ("flatten", "refused")])
def test_what_a_run_had_begun_when_it_died_is_done_again_or_refused(url, tmp_path, wait_until, kind, outcome):
    """A halt may be done twice; a flatten is for a person to look at."""
    gate = Gate(holds_back=True)
    with running(url, tmp_path, gate):
        ask(url, "c-1", kind)
        wait_until(lambda: gate.held)
    assert "taken" == status(url, "c-1")
    with running(url, tmp_path) as run:
        wait_until(lambda: status(url, "c-1") == outcome)
        assert (["c-1"] if outcome == "applied" else []) == run.gate.applied
        assert run.taker.run == rows(url)["c-1"][2]


def test_what_a_node_has_not_come_to_when_it_stops_is_refused_or_left(url, tmp_path, wait_until):
    """Nobody flattens at the next start what was asked of this one; a halt is for the next one, too."""
    with running(url, tmp_path) as run:
        run.gate.stop()
        ask(url, "flatten", "flatten")
        ask(url, "halt")
        wait_until(lambda: status(url, "halt") == "taken")
    assert [] == run.gate.applied
    found, result, _ = rows(url)["flatten"]
    assert ("refused", True) == (found, "stopped before it came to it" in result)
    with running(url, tmp_path) as run:
        wait_until(lambda: status(url, "halt") == "applied")
        assert ["halt"] == run.gate.applied


@pytest.mark.parametrize(("seconds", "outcome"), [(-1, "refused"), (60, "applied")])
def test_what_this_run_took_without_hearing_of_it_is_begun_in_time_or_never(
    database, tmp_path, wait_until, seconds, outcome
):
    """The server's word was lost, and with it the database for a while."""
    url = database.app_url
    run = start(url, tmp_path, Gate())
    ask(url, "c-1", "cancel-all", expires_s=60.0)
    sql = "UPDATE commands SET status = 'taken', applied_run = $1, expires_at = now() + $2 * interval '1 second'"
    query(database.owner_url, lambda connection: connection.execute(sql, run.taker.run, seconds))
    run.begin()
    try:
        wait_until(lambda: status(url, "c-1") == outcome)
        assert (["c-1"] if outcome == "applied" else []) == run.gate.applied
    finally:
        run.end()
        run.gate.loop.close()


def test_a_halt_by_file_of_a_run_that_died_before_its_row_stands_again(url, tmp_path, wait_until):
    """The file stays until the row is there; one whose row is there is not applied again: it may have been lifted."""
    inbox = Inbox(tmp_path)
    inbox.put(halt("f-1"))
    with running(url, tmp_path, Gate(holds_back=True)) as run:
        wait_until(lambda: run.gate.applied == ["f-1"])
    assert [halt("f-1")] == [each.command for each in inbox.waiting()]
    with running(url, tmp_path) as run:
        wait_until(lambda: status(url, "f-1") == "applied")
        assert ["f-1"] == run.gate.applied
    inbox.put(halt("f-1"))
    with running(url, tmp_path) as run:
        run.gate.call(run.gate.loop.stop)
    assert [] == run.gate.applied
    assert [] == inbox.waiting()


def test_a_node_that_lost_its_book_applies_nothing(url, tmp_path, wait_until, caplog):
    """Another run has raised the epoch: commands are for that one."""
    with running(url, tmp_path) as run:
        newer = start(url, tmp_path, Gate())
        ask(url, "c-1")
        wait_until(lambda: any("another node's" in each.getMessage() for each in caplog.records))
        assert [] == run.gate.applied
        newer.begin()
        wait_until(lambda: status(url, "c-1") == "applied")
        newer.end()
        newer.gate.loop.close()


# -- what goes wrong within it ---------------------------------------------------------------------


def test_files_that_ask_nothing_are_set_aside_recorded_and_told(url, tmp_path, wait_until):
    """Each once: garbage, what needs the database, a name that is not its id's."""
    bad = {
        "garbage.json": b"\xff{",
        "resume.json": b'{"command_id": "resume", "kind": "resume", "arguments": {"scope": "node", "why": "x"}, '
        b'"issued_by": "ann"}',
        "other.json": b'{"command_id": "c-9", "kind": "halt", "arguments": {"scope": "node", "why": "x"}, '
        b'"issued_by": "ann"}',
    }
    with running(url, tmp_path) as run:
        for name, text in bad.items():
            (tmp_path / name).write_bytes(text)
        wait_until(lambda: len(rows(url)) == len(bad))
        assert {"refused"} == {each[0] for each in rows(url).values()}
        assert {"garbage.refused", "resume.refused", "other.refused"} == {each.name for each in tmp_path.iterdir()}
        wait_until(lambda: len(run.gate.alerts) == len(bad))
        assert [] == run.gate.applied


def test_a_file_that_cannot_be_put_aside_keeps_no_halt_from_being_heard(url, tmp_path, wait_until):
    """Its name is too long for another end."""
    (tmp_path / f"{'x' * 249}.json").write_text("{}")
    with running(url, tmp_path) as run:
        run.inbox.put(halt("f-1"))
        wait_until(lambda: status(url, "f-1") == "applied")
        wait_until(lambda: "too long" in run.channel.trouble)


@pytest.mark.parametrize("name", ["waiting", "take", "answer"])
def test_a_defect_in_the_channel_is_told_and_survived(url, tmp_path, wait_until, monkeypatch, name):
    """An alert and a line in the log with its traceback; then it hears again, and nothing is applied twice."""
    monkeypatch.setattr(commanding, "BACKOFF_S_MAX", 0.2)
    real, left = getattr(commands, name), [1]

    async def spoiled(*arguments, **options):
        left[0] -= 1
        if left[0] >= 0:
            raise ZeroDivisionError("boom")
        return await real(*arguments, **options)

    with running(url, tmp_path) as run:
        monkeypatch.setattr(commands, name, spoiled)
        ask(url, "c-1")
        wait_until(lambda: status(url, "c-1") == "applied")
        assert ["c-1"] == run.gate.applied
        wait_until(lambda: [each.code for each in run.gate.alerts] == ["COMMAND_CHANNEL_FAILED"])


def test_an_answer_by_file_goes_when_nobody_waits_for_it_any_more(url, tmp_path, wait_until, monkeypatch):
    """The folder does not fill up."""
    with running(url, tmp_path) as run:
        run.inbox.put(halt("f-1"))
        wait_until(lambda: status(url, "f-1") == "applied" and not run.inbox.waiting())
        assert run.inbox.answer_to("f-1").applied
        monkeypatch.setattr(commanding, "ANSWER_KEPT_S", 0.0)
        wait_until(lambda: not list(tmp_path.iterdir()))


def test_a_folder_that_cannot_be_read_is_said_once(url, tmp_path, wait_until, caplog):
    """Rows are heard all the same."""
    folder = tmp_path / "inbox"
    folder.write_text("no folder")
    with running(url, folder) as run:
        wait_until(lambda: "inbox" in run.channel.trouble)
        ask(url, "c-1")
        wait_until(lambda: status(url, "c-1") == "applied")
        time.sleep(3 * commanding.FILES_S)
    assert 1 == sum("cannot read" in each.getMessage() for each in caplog.records)


def test_the_end_is_bounded_whatever_the_database_does(url, proxied, tmp_path, wait_until):
    """Nobody waits for an answer that cannot be written; the next run takes up what was taken."""
    proxy, way = proxied
    gate = Gate(holds_back=True)
    run = start(way, tmp_path, gate)
    run.begin()
    ask(url, "c-1")
    wait_until(lambda: gate.held)
    proxy.cut()
    gate.held[0].answer(True, "done")
    began_s = time.monotonic()
    run.end()
    assert time.monotonic() - began_s < commanding.JOIN_S_MAX + 1.0
    assert "taken" == status(url, "c-1")
    gate.loop.close()
    with running(url, tmp_path) as run:
        wait_until(lambda: status(url, "c-1") == "applied")
