"""A filled book, made once and copied for each test that asks."""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

import asyncpg
import pytest
from audit_stage import ORDERS, AuditStage
from shipper_stage import BOOK

from nautilus_ext.schema.upgrade import upgrade

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from nautilus_ext.embedded import EmbeddedPostgres


class Template(NamedTuple):
    server: EmbeddedPostgres
    name: str
    folder: Path


def execute(server: EmbeddedPostgres, sql: str) -> None:
    async def work() -> None:
        connection = await asyncpg.connect(server.admin_url)
        await connection.execute(sql)
        await connection.close()

    asyncio.run(work())


def stage_in(server: EmbeddedPostgres, name: str, folder: Path) -> AuditStage:
    urls = (f"{url.rpartition('/')[0]}/{name}" for url in (server.owner_url, server.app_url))
    return AuditStage(*urls, folder)


def _template(server: Any, folder: Path, *, orders: int, runs: int) -> Iterator[Template]:
    template = Template(server, f"test_{uuid4().hex[:12]}", folder)
    execute(server, f"CREATE DATABASE {template.name} OWNER suite_owner STRATEGY file_copy")
    stage = stage_in(*template)
    upgrade(stage.owner_url, stage.stage.url, timeout_s=10.0)
    stage.fill(orders, runs)
    yield template
    execute(server, f"DROP DATABASE {template.name} WITH (FORCE)")


@pytest.fixture(scope="module")
def filled_template(postgres_server: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Template]:
    yield from _template(postgres_server, tmp_path_factory.mktemp("filled"), orders=ORDERS, runs=2)


@pytest.fixture(scope="module")
def closed_template(postgres_server: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Template]:
    yield from _template(postgres_server, tmp_path_factory.mktemp("closed"), orders=4, runs=3)


def _copy(template: Template, folder: Path) -> Iterator[AuditStage]:
    name = f"test_{uuid4().hex[:12]}"
    execute(template.server, f"CREATE DATABASE {name} TEMPLATE {template.name} OWNER suite_owner STRATEGY file_copy")
    stage = stage_in(template.server, name, folder)
    shutil.copytree(template.folder / BOOK, stage.stage.folder)
    yield stage
    stage.stage.kill()
    execute(template.server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def filled(filled_template: Template, tmp_path: Path) -> Iterator[AuditStage]:
    """Two runs of 70 orders that ended in order; the position of each is still open. A copy that a test may change."""
    yield from _copy(filled_template, tmp_path)


@pytest.fixture
def closed(closed_template: Template, tmp_path: Path) -> Iterator[AuditStage]:
    """Three runs of four orders that ended in order, with nothing open."""
    yield from _copy(closed_template, tmp_path)
