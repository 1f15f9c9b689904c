"""The runbook is executed as it is written: each command, in the order of the page, on a desk that is really broken."""

from __future__ import annotations

import re
import resource
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import psutil
import pytest
from book_node import query
from conftest import ROOT

from nautilus_ext.embedded import EmbeddedPostgres, postmaster
from nautilus_ext.embedded.binaries import bin_folder
from nautilus_ext.persistence.shipper.state import read_state
from nautilus_ext.schema.upgrade import upgrade

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Shell

PAGE = ROOT / "docs" / "guides" / "runbook.md"
BOOK = "PAPER-001.paper"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
COMMANDS_S_MAX = 150.0
SHOWN_S_MAX = 60.0


class Block(NamedTuple):
    kind: str
    text: str


def sections() -> dict[str, list[Block]]:
    """Return the blocks of the page by the heading that they stand under."""
    parts = re.split(r"^## (.*)$", PAGE.read_text(), flags=re.MULTILINE)
    return {
        name: [Block(*found) for found in BLOCK.findall(text)]
        for name, text in zip(parts[1::2], parts[2::2], strict=True)
    }


def shows(said: str, block: str) -> list[str]:
    """Return the lines of a block that are nowhere in what was said; `…` is anything within a line."""
    lines = [line.strip() for line in block.splitlines()]
    return [line for line in lines if not re.search(".*".join(map(re.escape, map(str.strip, line.split("…")))), said)]


class Desk:
    """A node on a server of its own, and the shell of who is on call."""

    def __init__(self, shell: Shell, config: str, server: EmbeddedPostgres, tmp_path: Path) -> None:
        self.shell = shell
        self.server = server
        self.variables = {
            "CONFIG": config,
            "DATA": str(shell.data),
            "DATABASE_URL": server.app_url,
            "MIGRATE_URL": server.owner_url,
            "ADMIN_URL": server.admin_url,
            "BACKUP": str(tmp_path / "backup.zip"),
            "PATH": f"{Path(sys.executable).parent}:{bin_folder()}:/usr/bin:/bin",
        }
        self.sections = sections()

    def start(self, *options: str) -> Any:
        return self.shell.start(self.variables["CONFIG"], *options, **self.urls)

    @property
    def urls(self) -> dict[str, str]:
        return {name: self.variables[name] for name in ("DATABASE_URL", "MIGRATE_URL")}

    @property
    def node(self) -> psutil.Process:
        ((pid,),) = query(self.server.owner_url, "SELECT pid FROM runs ORDER BY run DESC LIMIT 1")
        return psutil.Process(pid)

    @property
    def log(self) -> str:
        return (self.shell.data / "logs" / f"{BOOK}.jsonl").read_text()

    def do(self, name: str, shown: Callable[[], str] | None = None) -> str:
        """See how it shows, then run what the section says; return all that was said."""
        blocks, output = list(self.sections[name]), ""
        if shown is not None:
            assert "text" == blocks[0].kind
            self._await(shown, blocks.pop(0).text)
        for number, block in enumerate(blocks):
            if block.kind == "sh":
                said = self._run(block.text)
                follows = blocks[number + 1 : number + 2]
                missing = shows(said, follows[0].text) if follows and follows[0].kind == "text" else []
                assert [] == missing, f"{name}:\n{block.text}\n{said}"
                output += said
        return output

    def _await(self, shown: Callable[[], str], text: str) -> None:
        give_up_s = time.monotonic() + SHOWN_S_MAX
        while missing := shows(shown(), text):
            assert time.monotonic() < give_up_s, f"{missing} did not show in:\n{shown()[-5_000:]}"
            time.sleep(0.2)

    def _run(self, commands: str) -> str:
        """A command that fails ends them, as `set -e` says: what the page expects to fail it says itself."""
        path = self.shell.data / "said"
        with path.open("w") as file:  # a node that is left in the background must not hold a pipe
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", commands], cwd=ROOT, env=self.shell.environment(**self.variables),
                stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, timeout=COMMANDS_S_MAX, check=False,
            )  # fmt: skip
        said = path.read_text()
        assert 0 == done.returncode, f"{commands}\n{said}"
        return said


@pytest.fixture
def desk(shell: Shell, config: Callable[..., str], server_folder: Path, tmp_path: Path) -> Iterator[Desk]:
    database = {"url": "${DATABASE_URL}", "migrate_url": "${MIGRATE_URL}"}
    with EmbeddedPostgres.join(server_folder) as server:
        upgrade(server.owner_url, server.app_url, timeout_s=20)
        desk = Desk(shell, config(database=database), server, tmp_path)
        started = f"EmbeddedPostgres.join(Path({str(server_folder)!r}), port={server.port}).close()"
        imported = "from pathlib import Path; from nautilus_ext.embedded import EmbeddedPostgres"
        desk.variables["START_DATABASE"] = f'{sys.executable} -c "{imported}; {started}"'
        yield desk
        server.ensure_running()
        for pid in (*(pid for (pid,) in query(server.owner_url, "SELECT pid FROM runs")), *_shippers(shell)):
            with suppress(psutil.NoSuchProcess):
                if str(shell.data) in psutil.Process(pid).environ().get("NAUTILUS_EXT_DATA", ""):
                    psutil.Process(pid).kill()


def _shippers(shell: Shell) -> list[int]:
    return [read_state(folder).pid for folder in shell.data.glob("journal*/*/0*") if read_state(folder).pid]


@pytest.mark.timeout(480)
def test_each_step_of_the_runbook_does_what_it_says(desk: Desk) -> None:
    """Database down, disk full, mismatch, lost host, halt, stop, restore, restart: one desk, all of it in turn."""
    running = desk.start()
    running.until("position opened", 60)
    code, output = desk.shell.verb("backup", desk.variables["CONFIG"], desk.variables["BACKUP"], **desk.urls)
    assert 0 == code, output

    postmaster.stop_server(desk.server.folder)
    desk.do("Database down", lambda: running.output + desk.log)

    node = psutil.Process(running.pid)
    node.rlimit(resource.RLIMIT_FSIZE, (1_000, resource.RLIM_INFINITY))
    raised = f"import psutil; psutil.Process({running.pid}).rlimit({resource.RLIMIT_FSIZE}, (-1, -1))"
    desk.variables["FREE_SPACE"] = f'{sys.executable} -c "{raised}"'
    desk.do("Disk full", lambda: running.output)

    filled = "SELECT client_order_id, filled_quantity FROM unified_orders WHERE status = 'FILLED' LIMIT 1"
    ((key, quantity),) = query(desk.server.owner_url, filled)
    tamper = "UPDATE unified_orders SET filled_quantity = filled_quantity + 1 WHERE client_order_id = $1"
    query(desk.server.owner_url, tamper, key)
    named = {"TABLE": "unified_orders", "FIELD": "filled_quantity", "EXPECTED": str(quantity), "KEY": key}
    desk.variables |= named
    desk.do("Mismatch")
    assert key in (desk.shell.data / "evidence.json").read_text()

    running.process.kill()
    running.end()
    for shipper in _shippers(desk.shell):
        if psutil.pid_exists(shipper):
            psutil.Process(shipper).kill()
    (desk.shell.data / "journal" / BOOK).rename(desk.shell.data / "gone with the host")
    query(desk.server.owner_url, "UPDATE runs SET host = 'elsewhere', last_seq = last_seq + 5, drained_at = NULL")
    refused = desk.start()
    assert 5 == refused.end(), refused.output
    desk.do("Lost host", lambda: refused.output)

    desk.do("Halt")
    desk.do("Stop")
    desk.do("Restore from backup")
    desk.do("Restart")
    desk.do("Stop")
