"""Finding and starting the exchange's server: one per folder, whoever asks; what is in the way is named."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from exchange_client import START_S, RawClient, end_server, welcomed

from nautilus_ext.errors import MachineError
from nautilus_ext.simulation import default_market
from nautilus_ext.simulation.server import launch
from nautilus_ext.simulation.server.address import ADDRESS_FILE, LOCK_FILE, Address, read_address, write_address
from nautilus_ext.simulation.world import World

pytest_plugins = ["exchange_fixtures"]

RACERS = 8
WORLD = World(market=default_market(seed=3), linger_s=20.0)
RACER = (
    "import sys; from pathlib import Path; from nautilus_ext.simulation import world;"
    "from nautilus_ext.simulation.server import launch;"
    f"print(launch.ensure(Path(sys.argv[1]), world.from_json(sys.stdin.buffer.read()), {START_S}).pid)"
)


def servers_of(folder) -> list[int]:
    last = ["nautilus_ext.simulation.server", str(folder.resolve())]
    return [found.pid for found in psutil.process_iter(["cmdline"]) if (found.info["cmdline"] or [])[-2:] == last]


def test_it_starts_once_and_is_found(exchange_folder):
    """Detached: a session of its own, nobody's child, no open file of whoever started it."""
    address = launch.ensure(exchange_folder, WORLD, START_S)
    assert launch.ensure(exchange_folder, WORLD, START_S) == address == launch.find(exchange_folder)
    process = psutil.Process(address.pid)
    assert os.getsid(address.pid) != os.getsid(0)
    assert process.ppid() != os.getpid()
    assert Path(f"/proc/{address.pid}/fd/1").readlink() == exchange_folder / "server.log"
    assert (address.host, address.world) == ("127.0.0.1", WORLD.digest)


def test_many_that_ask_at_once_get_the_same_server(exchange_folder):
    """From threads and from processes; also right after a kill."""
    for _ in range(2):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        racers = [subprocess.Popen([sys.executable, "-c", RACER, str(exchange_folder)], **pipes) for _ in range(RACERS)]
        with ThreadPoolExecutor(RACERS) as threads:
            ends = [threads.submit(racer.communicate, WORLD.to_json(), START_S) for racer in racers]
            here = [threads.submit(launch.ensure, exchange_folder, WORLD, START_S) for _ in range(2)]
        assert [end.result()[1] for end in ends] == [b""] * RACERS
        pids = {int(end.result()[0]) for end in ends} | {asked.result().pid for asked in here}
        assert pids == set(servers_of(exchange_folder))
        assert len(pids) == 1
        end_server(exchange_folder, signal.SIGKILL)


def test_leftovers_of_a_dead_server_are_nobody(exchange_folder):
    """A pid that is somebody else's by now, a port where another one listens, a broken file."""
    address = launch.ensure(exchange_folder, WORLD, START_S)
    end_server(exchange_folder, signal.SIGKILL)
    assert read_address(exchange_folder) == address, "a killed server leaves its address behind"
    assert launch.find(exchange_folder) is None
    ours = psutil.Process()
    for pid, started in ((os.getpid(), address.started), (os.getpid(), ours.create_time()), (2**22 + 1, 0.0)):
        write_address(exchange_folder, Address(host=address.host, port=1, pid=pid, started=started, world="x"))
        assert launch.find(exchange_folder) is None
    (exchange_folder / ADDRESS_FILE).write_text('{"port": ')
    assert launch.find(exchange_folder) is None
    again = launch.ensure(exchange_folder, WORLD, START_S)
    assert launch.find(exchange_folder) == again


def test_after_a_kill_it_listens_where_it_did(exchange_folder):
    """Its clients find it again without looking."""
    address = launch.ensure(exchange_folder, WORLD, START_S)
    end_server(exchange_folder, signal.SIGKILL)
    again = launch.ensure(exchange_folder, WORLD, START_S)
    assert (again.port, again.pid != address.pid) == (address.port, True)


def test_it_outlives_who_started_it(exchange_folder):
    """Also when that one is killed with its whole process group."""
    command = f"{RACER}; import time; sys.stdout.flush(); time.sleep(60)"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    starter = subprocess.Popen([sys.executable, "-c", command, str(exchange_folder)], start_new_session=True, **pipes)
    starter.stdin.write(WORLD.to_json())
    starter.stdin.close()
    pid = int(starter.stdout.readline())
    os.killpg(starter.pid, signal.SIGKILL)
    starter.wait()
    starter.stdout.close()
    client = RawClient("SIM1", "one")
    welcomed(client.connect(launch.find(exchange_folder)))
    assert launch.find(exchange_folder).pid == pid
    client.close()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    """With the cure."""
    tmp_path.chmod(0o500)
    with pytest.raises(MachineError, match=r"Permission denied.*choose a data_dir"):
        launch.ensure(tmp_path / "exchange", WORLD, START_S)


def test_a_path_where_no_folder_can_be_is_named(tmp_path):
    """With the cure."""
    (tmp_path / "file").write_text("")
    with pytest.raises(MachineError, match=r"file/exchange: Not a directory .*: choose a data_dir"):
        launch.ensure(tmp_path / "file" / "exchange", WORLD, START_S)


def test_a_server_that_dies_at_its_start_says_why(exchange_folder):
    """Its last line stands in the message, and nothing keeps the folder."""
    exchange_folder.mkdir()
    (exchange_folder / "exchange.sqlite").write_bytes(b"no database" * 1_000)
    began_s = time.monotonic()
    with pytest.raises(
        MachineError, match=r"ended at its start: cannot go on: .* is not a database: .*move the folder"
    ):
        launch.ensure(exchange_folder, WORLD, START_S)
    assert time.monotonic() - began_s < START_S / 2, "it did not wait for what cannot come"
    (exchange_folder / "exchange.sqlite").unlink()
    assert launch.ensure(exchange_folder, WORLD, START_S).world == WORLD.digest


def test_a_server_that_stands_still_is_named(exchange_folder, monkeypatch):
    """It has the folder, so no second one is started: the message says which process to end."""
    monkeypatch.setattr(launch, "ASK_S", 0.5)
    address = launch.ensure(exchange_folder, WORLD, START_S)
    os.kill(address.pid, signal.SIGSTOP)
    try:
        with pytest.raises(MachineError, match=rf"pid {address.pid}\) has not answered for 1 s: end it"):
            launch.ensure(exchange_folder, WORLD, 1.0)
        assert servers_of(exchange_folder) == [address.pid]
    finally:
        os.kill(address.pid, signal.SIGCONT)
    assert launch.find(exchange_folder) == address


def test_a_folder_has_one_server_whatever_starts_it(exchange_folder):
    """A second one, started by hand, gives up and says so."""
    address = launch.ensure(exchange_folder, WORLD, START_S)
    command = [sys.executable, "-m", "nautilus_ext.simulation.server", str(exchange_folder)]
    second = subprocess.run(command, capture_output=True, input=WORLD.to_json())
    assert (second.returncode, b"runs already" in second.stderr) == (3, True)
    assert launch.find(exchange_folder) == address


def test_started_by_hand_it_says_how(tmp_path):
    """Without a folder the usage, without a world what is missing; no traceback."""
    command = [sys.executable, "-m", "nautilus_ext.simulation.server"]
    usage = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert (usage.returncode, usage.stderr.startswith("usage:")) == (2, True)
    for text, told in (("", "a world of 0 bytes"), ("{}", "missing required field"), ("{", "truncated")):
        done = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True, input=text)
        assert done.returncode == 3
        assert told in done.stderr
        assert "Traceback" not in done.stderr


def test_the_lock_is_free_after_a_kill(exchange_folder):
    """And the files of the folder are the documented ones."""
    launch.ensure(exchange_folder, WORLD, START_S)
    end_server(exchange_folder, signal.SIGKILL)
    names = {path.name for path in exchange_folder.iterdir()}
    expected = {ADDRESS_FILE, LOCK_FILE, "launch.lock", "server.log", "exchange.sqlite"}
    assert names - {"exchange.sqlite-wal", "exchange.sqlite-shm"} == expected
    assert json.loads((exchange_folder / ADDRESS_FILE).read_text())["world"] == WORLD.digest
