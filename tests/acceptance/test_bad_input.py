"""An operator's mistake ends in one clear message with its exit code: no traceback, no abort, nothing started."""

import json
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAPER = json.loads((ROOT / "node_configs" / "paper.json").read_text())
ABORTED = (134, -6)


def refused(result, code, *parts):
    found, output = result
    assert found not in ABORTED
    assert code == found, output
    assert "Traceback" not in output
    assert "unexpected" not in output
    for part in parts:
        assert part in output, output
    return output


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (None, ["no such file", "node_configs/paper.json"]),
        ('{\n  "trader_id": "A-1",\n}', ["line 3, column 1", "not JSON"]),
        (json.dumps(PAPER | {"stratgies": []}), ["stratgies", 'did you mean "strategies"?']),
        (json.dumps(PAPER | {"timeout_connection": "soon"}), ["timeout_connection", "`float`", "'soon'"]),
        (json.dumps(PAPER | {"trader_id": "nohyphen"}), ["trader_id", "TRADER-001"]),
        (json.dumps(PAPER | {"trader_id": "${NOBODY_SET_THIS}"}), ["trader_id", "NOBODY_SET_THIS is not set"]),
        (
            json.dumps(PAPER | {"actors": [{"actor_path": "no.where:X", "config_path": "no:Y", "config": {}}]}),
            ["actors[0].actor_path", "there is no module 'no'", "actors[0].config_path"],
        ),
        (
            json.dumps(PAPER | {"data_clients": {f"SIM-{name}": PAPER["data_clients"]["SIM"] for name in "AB"}}),
            ["data_clients.SIM-B", "clashes with 'SIM-A'"],
        ),
    ],
    ids=["missing", "broken", "unknown key", "wrong type", "trader id", "variable", "path", "clash"],
)
@pytest.mark.parametrize("command", ["run", "check"])
def test_a_bad_file_is_told_what_is_wrong_with_it(shell, tmp_path, command, text, parts):
    """Both the run and the check say the same, exit 2, and leave no folder behind."""
    path = tmp_path / "config.json"
    if text is not None:
        path.write_text(text)
    result = shell.run(str(path)) if command == "run" else shell.verb("check", str(path))
    refused(result, 2, *parts)
    assert not shell.data.exists()


def test_check_of_live_json_names_every_missing_variable(shell):
    """All of them at once, each with its path."""
    text = (ROOT / "node_configs" / "live.json").read_text()
    needed = {part.split("}")[0] for part in text.split("${")[1:] if ":-" not in part.split("}")[0]}
    assert len(needed) >= 10
    output = refused(shell.verb("check", "node_configs/live.json"), 2, *needed)
    assert "data_clients.OKX.config.api_passphrase" in output
    report = json.loads(shell.verb("check", "node_configs/live.json", "--json")[1])
    assert not report["ok"]
    assert needed == {problem["message"].split()[3] for problem in report["problems"]}


@pytest.mark.parametrize("arguments", [["--seconds", "0"], ["--seconds", "x"], ["--nonsense"], []])
def test_a_bad_command_line_is_told_how_to_call(shell, arguments):
    """The usage, and exit 2."""
    config = ["node_configs/paper.json"] if arguments else []
    refused(shell.run(*config, *arguments), 2, "usage:")


def test_a_book_name_that_could_not_be_a_file_is_refused(shell):
    """A book's name becomes the name of its log."""
    refused(shell.run("node_configs/paper.json", "--book", "../x"), 2, "--book", "'../x'")


def test_a_strategy_that_refuses_its_values_is_named(shell, config):
    """The strategy's own words, at the place of its config."""
    strategies = json.loads(json.dumps(PAPER["strategies"]))
    strategies[0]["config"]["slow_period"] = 1
    refused(shell.run(config(strategies=strategies)), 2, "strategies[0].config", "slow_period")


@pytest.mark.parametrize("verb", ["run", "migrate", "status"])
def test_an_unreachable_database_is_named_by_host_and_never_by_password(shell, config, verb):
    """Port 1 of the loopback has no server."""
    path = config(database={"url": "postgresql://desk:planted-pw-77@127.0.0.1:1/books"})
    result = shell.run(path) if verb == "run" else shell.verb(verb, path)
    output = refused(result, 4, "127.0.0.1:1", "desk")
    assert "planted" not in output


@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("postgres//nonsense", "postgresql://"),
        ("postgresql://a:planted-pw-77@b@c:5432/d", "%40"),
        ("postgresql://a:planted-pw-77@c:x/d", "port"),
        ("", "postgresql://"),
    ],
)
def test_an_address_that_is_none_is_refused(shell, config, url, part):
    """Whatever the driver would say about it, it may not quote the password."""
    output = refused(shell.run(config(database={"url": url})), 4, "cannot be used", part)
    assert "planted" not in output


def test_tables_that_are_behind_say_how_to_migrate_them(shell, config, empty_database):
    """A database that was never migrated; then the cure, as the message gives it, works."""
    path = config(database={"url": empty_database.app_url, "migrate_url": empty_database.owner_url})
    refused(shell.run(path, "--seconds", "1"), 4, "python -m nautilus_ext migrate")
    code, output = shell.verb("migrate", path)
    assert code == 0, output
    code, output = shell.run(path, "--seconds", "1")
    assert code == 0, output


def test_status_of_a_database_without_tables_says_so(shell):
    """Not a traceback about a missing table."""
    refused(shell.verb("status", "node_configs/paper.json"), 4, "python -m nautilus_ext migrate")


def test_a_fixed_port_that_is_taken_is_named(shell, config):
    """With the key that chooses another."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        result = shell.run(config(database={"url": "embedded", "embedded_port": port}))
    refused(result, 3, str(port), "database.embedded_port")


def test_a_data_folder_that_cannot_be_made_is_named(shell, config, tmp_path):
    """Below a file there is no folder, not even for root."""
    (tmp_path / "file").write_text("")
    refused(shell.run(config(data_dir=str(tmp_path / "file" / "data"))), 3, "data_dir", str(tmp_path / "file" / "data"))


def test_a_foreign_package_called_adapters_is_found_out(shell, tmp_path):
    """An unrelated package has that name; it would be imported first from its folder."""
    (tmp_path / "adapters").mkdir()
    (tmp_path / "adapters" / "__init__.py").write_text("")
    config = str(ROOT / "node_configs" / "paper.json")
    refused(shell.run(config, "--seconds", "1", cwd=tmp_path), 3, "adapters", str(tmp_path / "adapters"))


@pytest.mark.parametrize("module", ["nautilus_ext.run", "nautilus_ext"])
@pytest.mark.parametrize("version", [(3, 11, 9), (3, 14, 0)])
def test_a_wrong_python_is_told_which_one_is_needed(module, version):
    """The entry points look before they import anything."""
    code = f"import sys, runpy; sys.version_info = {version}; runpy.run_module({module!r}, run_name='__main__')"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=30)
    refused((result.returncode, result.stdout + result.stderr), 3, "3.12 or 3.13", ".".join(map(str, version)))


@pytest.mark.parametrize("module", ["nautilus_ext.run", "nautilus_ext"])
def test_a_really_old_python_can_read_the_entry_points(module):
    """Any other interpreter on this machine will do; without one the syntax is checked alone."""
    others = [shutil.which(f"python3.{minor}") for minor in (8, 9, 10, 11)] + ["/usr/bin/python3"]
    for other in filter(None, others):
        if not Path(other).exists():
            continue
        probe = subprocess.run([other, "-c", "import sys; print(sys.version_info < (3, 12))"], capture_output=True)
        if probe.stdout.strip() == b"True":
            result = subprocess.run([other, "-m", module], cwd=ROOT, capture_output=True, text=True, timeout=30)
            refused((result.returncode, result.stdout + result.stderr), 3, "3.12 or 3.13")
            return
    import ast

    for name in ("__init__", "python_version", "run", "__main__"):
        ast.parse((ROOT / "nautilus_ext" / f"{name}.py").read_text(), feature_version=(3, 7))
