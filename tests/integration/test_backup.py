"""A backup is one moment of all tables; it comes back whole into empty tables, or not at all."""

from __future__ import annotations

import asyncio
import zipfile
from typing import TYPE_CHECKING

import asyncpg
import pytest
from audit_stage import AuditStage

from nautilus_ext.errors import DatabaseError, MachineError
from nautilus_ext.persistence import backup as backups
from nautilus_ext.persistence.audit import EQUAL, opened
from nautilus_ext.schema.tables import metadata

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Database


pytest_plugins = ["audit_fixtures"]

NASTY = "tab\t newline\n backslash\\ quote' \\N ünïcode \u2028 💥"


def _backup(url: str, path: Path) -> backups.Manifest:
    async def work() -> backups.Manifest:
        async with opened(url, 5.0, "test", **backups.SETTINGS) as connection:
            return await backups.backup(connection, path, "0")

    return asyncio.run(work())


def _restore(url: str, path: Path) -> backups.Manifest:
    async def work() -> backups.Manifest:
        async with opened(url, 5.0, "test", **backups.SETTINGS) as owner:
            return await backups.restore(owner, path)

    return asyncio.run(work())


def _rows(url: str) -> dict[str, list[tuple[object, ...]]]:
    async def work() -> dict[str, list[tuple[object, ...]]]:
        connection = await asyncpg.connect(url)
        names = [table.name for table in metadata.sorted_tables]
        found = {name: [tuple(row) for row in await connection.fetch(f"SELECT * FROM {name}")] for name in names}
        await connection.close()
        return {name: sorted(rows, key=repr) for name, rows in found.items()}

    return asyncio.run(work())


def _empty(database: Database, folder: Path) -> AuditStage:
    return AuditStage(database.owner_url, database.app_url, folder)


def test_a_backup_comes_back_whole_and_trading_goes_on(filled: AuditStage, database: Database, tmp_path: Path) -> None:
    """Every row of every table, whatever is in its texts; the audit says 0, and the next run has the next number."""
    filled.execute(f"""UPDATE runs SET host = $${NASTY}$$;
        INSERT INTO rejected_events VALUES ('OTHER.paper', 1, 1, 'decode', NULL, 'x', '\\x00ff0a5c', now());
        INSERT INTO signal_log (book_id, fingerprint, strategy_id, instrument_id, signal_type, signal_ns,
            client_order_id, version) VALUES ('OTHER.paper', 'f', 'S', 'I', 't', 1, 'O', 1)""")
    path = tmp_path / "backup.zip"
    _backup(filled.stage.url, path)
    copy = _empty(database, tmp_path / "elsewhere")
    _restore(copy.owner_url, path)
    assert _rows(filled.owner_url) == _rows(copy.owner_url)
    assert copy.audit().verdict == EQUAL
    copy.stage.folder.mkdir(parents=True)
    assert copy.run(4, prefix="R3") == 3
    assert copy.audit().verdict == EQUAL
    assert [(3,)] == [tuple(row) for row in copy.fetch("SELECT epoch FROM books")]


def test_only_empty_tables_are_filled(filled: AuditStage, tmp_path: Path) -> None:
    """A database that holds anything is left as it is."""
    path = tmp_path / "backup.zip"
    _backup(filled.stage.url, path)
    before = _rows(filled.owner_url)
    with pytest.raises(DatabaseError, match="is not empty: a backup is restored into an empty database only"):
        _restore(filled.owner_url, path)
    assert before == _rows(filled.owner_url)


def test_the_application_role_cannot_restore(filled: AuditStage, database: Database, tmp_path: Path) -> None:
    """It may not write every column; the tables stay empty."""
    path = tmp_path / "backup.zip"
    _backup(filled.stage.url, path)
    with pytest.raises(DatabaseError, match="lacks a permission"):
        _restore(database.app_url, path)
    assert set(map(len, _rows(database.owner_url).values())) == {0}


def test_a_damaged_backup_is_refused_before_anything_is_written(
    filled: AuditStage, database: Database, tmp_path: Path
) -> None:
    """Cut off, changed inside, no backup at all, not there."""
    path = tmp_path / "backup.zip"
    _backup(filled.stage.url, path)
    whole = path.read_bytes()
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(tmp_path / "changed.zip", "w") as changed:
        for name in archive.namelist():
            changed.writestr(name, archive.read(name).replace(b"BUY", b"SEL"))
    (tmp_path / "cut.zip").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.zip").write_bytes(b"hello")
    for name, said in {
        "changed.zip": "is damaged", "cut.zip": "no whole backup",
        "text.zip": "no whole backup", "no.zip": "No such file",
    }.items():  # fmt: skip
        with pytest.raises(MachineError, match=said):
            _restore(database.owner_url, tmp_path / name)
    assert set(map(len, _rows(database.owner_url).values())) == {0}


def test_a_backup_of_other_tables_is_refused_with_the_cure(
    filled: AuditStage, database: Database, tmp_path: Path
) -> None:
    """The revisions of both are named."""
    path = tmp_path / "backup.zip"
    filled.execute("UPDATE schema_version SET version_num = version_num")
    _backup(filled.stage.url, path)
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(tmp_path / "old.zip", "w") as old:
        for name in archive.namelist():
            data = archive.read(name)
            old.writestr(name, data.replace(b'"revision": "0', b'"revision": "9') if name == "manifest.json" else data)
    with pytest.raises(DatabaseError, match=r"is of revision '9.*restore with that version of the suite, then migrate"):
        _restore(database.owner_url, tmp_path / "old.zip")


def test_a_backup_never_overwrites_and_leaves_nothing_half_done(filled: AuditStage, tmp_path: Path) -> None:
    """The file of that name stays; a folder that is not there is named."""
    path = tmp_path / "backup.zip"
    path.write_bytes(b"precious")
    with pytest.raises(MachineError, match="exists already"):
        _backup(filled.stage.url, path)
    with pytest.raises(MachineError, match="No such file or directory"):
        _backup(filled.stage.url, tmp_path / "nowhere" / "backup.zip")
    assert path.read_bytes() == b"precious"
    assert not list(tmp_path.glob("*.unfinished"))


def test_a_backup_is_for_this_user_alone(filled: AuditStage, tmp_path: Path) -> None:
    """It holds every order: nobody else may read it."""
    _backup(filled.stage.url, tmp_path / "backup.zip")
    assert (tmp_path / "backup.zip").stat().st_mode & 0o777 == 0o600
