"""Fixtures of the whole suite: one real PostgreSQL for the session, a database of its own for each test that asks."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import tempfile
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import asyncpg
import pytest
import pytest_asyncio
from hypothesis import settings

from nautilus_ext.embedded import EmbeddedPostgres, postmaster
from nautilus_ext.schema.upgrade import upgrade

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

# A seed that nobody names is drawn when its module is collected: two workers must draw the same one.
random.seed(int(os.environ.setdefault("SUITE_SEED", str(random.randrange(1, 10**9)))))
# An example that takes 200 ms is a failure to Hypothesis; on a machine with other work to do it is none.
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")
MEMORY_FOLDER = Path("/dev/shm")
QUICK_NOT_DURABLE = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
}
FOLDER_PREFIX = "exec-suite-test-"
WAIT_TIMEOUT_S = 10.0
POLL_S = 0.01
SERVER_STOP_TIMEOUT_S = 20.0


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Iterator[None]:
    """What a test printed travels between the workers as UTF-8, and some print half of a surrogate pair."""
    report = yield
    report.sections = [(name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections]
    return report


@dataclass(frozen=True)
class Database:
    """A fresh database that the owner role owns; the application role may connect, and no more."""

    name: str
    owner_url: str
    app_url: str


def _wait_until(predicate: Callable[[], object], timeout_s: float = WAIT_TIMEOUT_S) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not predicate():
        if time.monotonic() > deadline_s:
            pytest.fail(f"not true within {timeout_s} s: {predicate}")
        time.sleep(POLL_S)


@pytest.fixture(scope="session")
def wait_until() -> Callable[..., None]:
    """Poll until the predicate holds; the test fails when it does not within `timeout_s`."""
    return _wait_until


def _remove_left_behind(parent: Path) -> None:
    """Free the memory that a killed session held: its server is gone by now, its folder is not."""
    for users_lock in parent.glob(f"{FOLDER_PREFIX}*/postgres/{postmaster.USERS_LOCK}"):
        if postmaster.is_free(users_lock.parent, postmaster.USERS_LOCK):
            shutil.rmtree(users_lock.parent.parent, ignore_errors=True)


@pytest.fixture(scope="session")
def fast_folder() -> Iterator[Path]:
    """A folder in memory where the machine has one, removed at the end."""
    parent = MEMORY_FOLDER if os.access(MEMORY_FOLDER, os.W_OK) else Path(tempfile.gettempdir())
    _remove_left_behind(parent)
    folder = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX, dir=parent))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def fresh_folder(fast_folder: Path) -> Iterator[Path]:
    """The path of a folder for a server of the test's own; what runs there at the end is stopped."""
    folder = fast_folder / f"server-{uuid4().hex[:12]}"
    yield folder
    if folder.is_dir():
        postmaster.stop_server(folder)
        _wait_until(lambda: postmaster.is_free(folder, postmaster.WATCHER_LOCK))
        # A watcher that a failed join had called may just look in; the end of the session removes what it makes.
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def built_cluster(fast_folder: Path) -> Path:
    folder = fast_folder / "built"
    EmbeddedPostgres.join(folder, settings=QUICK_NOT_DURABLE).close()
    _wait_until(lambda: postmaster.is_free(folder, postmaster.WATCHER_LOCK), SERVER_STOP_TIMEOUT_S)
    return folder / "cluster"


@pytest.fixture
def server_folder(fresh_folder: Path, built_cluster: Path) -> Path:
    """The same with a cluster in it that was stopped in order: a copy takes less than building one."""
    fresh_folder.mkdir()
    shutil.copytree(built_cluster, fresh_folder / built_cluster.name)
    return fresh_folder


@pytest.fixture(scope="session")
def postgres_server(fast_folder: Path) -> Iterator[EmbeddedPostgres]:
    """One real server for the session, quick because it need not survive a power cut."""
    with EmbeddedPostgres.join(fast_folder / "postgres", settings=QUICK_NOT_DURABLE) as server:
        yield server
    _wait_until(lambda: postmaster.is_free(server.folder, postmaster.SERVER_LOCK), SERVER_STOP_TIMEOUT_S)


@pytest_asyncio.fixture
async def empty_database(postgres_server: EmbeddedPostgres) -> AsyncIterator[Database]:
    """A database without a table."""
    async with _new_database(postgres_server) as made:
        yield made


@pytest.fixture(scope="session")
def migrated(postgres_server: EmbeddedPostgres) -> str:
    """The name of a database with the tables of this version, to be copied: that takes a tenth of a migration."""

    async def create() -> Database:
        async with _new_database(postgres_server, keep=True) as made:
            return made

    made = asyncio.run(create())
    upgrade(made.owner_url, made.app_url, timeout_s=WAIT_TIMEOUT_S)
    return made.name


@pytest_asyncio.fixture
async def database(postgres_server: EmbeddedPostgres, migrated: str) -> AsyncIterator[Database]:
    """A database with the tables of this version."""
    async with _new_database(postgres_server, template=migrated) as made:
        yield made


@asynccontextmanager
async def _new_database(
    server: EmbeddedPostgres, *, template: str = "template1", keep: bool = False
) -> AsyncIterator[Database]:
    name = f"test_{uuid4().hex[:12]}"
    admin = await asyncpg.connect(server.admin_url)
    try:
        await admin.execute(f"CREATE DATABASE {name} TEMPLATE {template} OWNER suite_owner STRATEGY file_copy")
        yield Database(name, _in_database(server.owner_url, name), _in_database(server.app_url, name))
    finally:
        if not keep:
            await admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        await admin.close()


def _in_database(url: str, name: str) -> str:
    return f"{url.rpartition('/')[0]}/{name}"
