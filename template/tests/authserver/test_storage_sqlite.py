"""What is SQLite's own: durability, several processes, trouble with the disk."""

import asyncio
import os
import shutil
import sqlite3
import stat
import subprocess
import time
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import pytest
from pydantic import ValidationError
from storage import add_client, granted, new_client, rotate

from authserver.crypto.keys import load_keys
from authserver.folders import FOLDERS
from authserver.settings import SettingsError
from authserver.storage import sqlite as engine
from authserver.storage.errors import StorageLost, StorageUnavailable
from authserver.storage.sqlite import doctor as judgement
from authserver.storage.sqlite import place, writer
from authserver.storage.sqlite.lock import FileLock
from authserver.storage.sqlite.place import file_system
from authserver.storage.sqlite.writer import connect
from authserver.storage.verdicts import Rotated

pytestmark = pytest.mark.anyio


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "authserver.sqlite"


async def opened(path: Path) -> engine.SQLiteStorage:
    storage = engine.create(engine.Settings(data_dir=path.parent))
    await storage.open()
    return storage


async def test_every_connection_is_durable(path: Path) -> None:
    """Attack 28: cut the power after an answer. Source: SQLite, PRAGMA synchronous."""
    await (await opened(path)).close()
    connection = connect(path)
    pragmas = {
        name: connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("journal_mode", "synchronous", "foreign_keys")
    }
    connection.close()
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


async def test_the_file_is_for_its_owner_only(path: Path) -> None:
    """Attack 26: read the file as another user of the machine. Source: RFC 6819 5.1.4.1."""
    storage = await opened(path)
    for file in path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) & 0o077 == 0, file
    await storage.close()


@pytest.mark.parametrize("what", ["removed", "replaced", "emptied"])
async def test_a_file_that_is_not_the_one_that_was_opened_is_an_error(path: Path, what: str) -> None:
    """Attack 34: a store that was emptied or replaced under the server. Source: fault 33, its siblings."""
    storage = await opened(path)
    await granted(storage)
    await load_keys(engine.Settings(data_dir=path.parent), storage)
    assert await storage.clients.get("client")
    match what:
        case "removed":
            path.unlink()  # noqa: ASYNC240  # nothing else runs
        case "replaced":
            other = path.parent / "other" / path.name
            await (await opened(other)).close()
            other.replace(path)
        case "emptied":
            with closing(connect(path)) as database:
                database.execute("DELETE FROM facts")
    for operation in (
        storage.ping,
        lambda: storage.clients.get("client"),
        lambda: storage.users.add_invitation(b"link", None, scopes=["*"], lifetime_seconds=60),
    ):
        with pytest.raises(StorageLost):
            await operation()
    await storage.close()


async def test_what_was_found_is_looked_up_again_after_any_write_of_any_process(path: Path) -> None:
    """Attack 27: go on with a token that another process revoked. Source: RFC 7009 2."""
    storage, other = await opened(path), await opened(path)
    await load_keys(engine.Settings(data_dir=path.parent), storage)
    _, tokens = await granted(storage)
    assert tokens.access is not None
    found = await storage.grants.get_access_token(tokens.access)
    assert found is not None
    assert await storage.grants.get_access_token(tokens.access) is found  # nothing was looked up
    await other.ping()
    again = await storage.grants.get_access_token(tokens.access)
    assert again == found
    assert again is not found
    assert await other.grants.revoke(found.grant_id)
    assert await storage.grants.get_access_token(tokens.access) is None
    client = await storage.clients.get("client")
    assert client is not None
    assert await storage.clients.get("client") is client
    assert await other.clients.remove("client")
    assert await storage.clients.get("client") is None
    await storage.close()
    await other.close()


async def test_opening_twice_applies_the_schema_once(path: Path) -> None:
    first = await opened(path)
    await add_client(first)
    second = await opened(path)
    assert await second.clients.get("client") is not None
    await first.close()
    await second.close()


async def test_a_start_that_fails_says_why(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite ends the transaction by itself where the disk is full; that is not what to tell."""
    statements = ["ROLLBACK", "SELECT the_disk_is_full"]
    monkeypatch.setattr("authserver.storage.sqlite.schema._statements", lambda _: statements)
    with pytest.raises(StorageUnavailable, match="the_disk_is_full"):
        await opened(path)


async def test_a_database_of_a_newer_release_is_left_alone(path: Path) -> None:
    await (await opened(path)).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StorageUnavailable, match="newer release"):
        await opened(path)


async def test_an_operation_that_fails_takes_no_other_with_it(path: Path) -> None:
    """Attack 28: fail inside the transaction that others share. Source: threat model, group commit."""
    storage = await opened(path)

    def fails(db: sqlite3.Connection, now: float) -> None:
        db.execute("INSERT INTO facts (name, value) VALUES ('half', x'00')")
        raise ValueError("no")

    outcomes = await asyncio.gather(
        storage.facts.remember("before", b"1"),
        storage._file.write(fails),
        storage.facts.remember("after", b"1"),
        return_exceptions=True,
    )
    assert isinstance(outcomes[1], ValueError)
    assert await storage.facts.recall("before") == await storage.facts.recall("after") == b"1"
    assert await storage.facts.recall("half") is None
    await storage.close()


async def test_a_full_disk_is_unavailable_and_loses_nothing(path: Path) -> None:
    """Attack 18: fill the disk. Source: clients drop their credentials on any other error than 503."""
    storage = await opened(path)
    await storage.facts.remember("kept", b"1")

    def fill(db: sqlite3.Connection, now: float) -> None:
        pages = db.execute("PRAGMA page_count").fetchone()[0]
        db.execute(f"PRAGMA max_page_count = {pages}")

    await storage._file.write(fill)
    outcomes = await asyncio.gather(
        *(storage.facts.remember(f"big-{n}", b"x" * 50_000) for n in range(5)), return_exceptions=True
    )
    assert any(isinstance(outcome, StorageUnavailable) for outcome in outcomes)
    assert not any(isinstance(outcome, sqlite3.Error) for outcome in outcomes)
    assert await storage.facts.recall("kept") == b"1"
    assert await storage.facts.remember("later", b"1") == b"1"  # recovers by itself
    await storage.close()


async def test_a_file_that_another_program_locks_is_unavailable_until_it_lets_go(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack 18: hold a lock on the file.
    Source: clients drop their credentials on any other error than 503.
    """
    storage = await opened(path)
    await storage.facts.remember("one", b"1")
    await storage._file.write(lambda db, now: db.execute("PRAGMA busy_timeout = 10"))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageUnavailable):
        await storage.facts.remember("two", b"1")
    other.execute("ROLLBACK")
    other.close()
    assert await storage.facts.remember("two", b"1") == b"1"
    await storage.close()


async def test_a_read_only_file_is_unavailable_until_it_may_be_written(path: Path) -> None:
    """Attack 18: make the file read-only.
    Source: clients drop their credentials on any other error than 503.
    """
    storage = await opened(path)
    await storage._file.write(lambda db, now: db.execute("PRAGMA query_only = ON"))
    with pytest.raises(StorageUnavailable, match="readonly"):
        await storage.facts.remember("one", b"1")
    assert await storage.facts.recall("one") is None
    # The connection that failed is not used again.
    assert await storage.facts.remember("one", b"1") == b"1"
    await storage.close()


async def test_an_operation_that_waits_too_long_for_the_lock_is_never_run(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack 18: hang with the writers' lock. Source: threat model.

    It stops nobody for ever; what was given up is not done late.
    """
    monkeypatch.setattr(writer, "_WAIT_SECONDS", 0.1)
    storage = await opened(path)
    stuck = FileLock(path.with_suffix(".lock"))
    with stuck.held():
        with pytest.raises(StorageUnavailable):
            await storage.facts.remember("given up", b"1")
        monkeypatch.setattr(writer, "_QUEUE", 0)
        with pytest.raises(StorageUnavailable, match="too many"):
            await storage.facts.remember("not queued", b"1")
        monkeypatch.undo()
    stuck.close()
    assert await storage.facts.remember("later", b"1") == b"1"
    assert await storage.facts.recall("given up") is None
    await storage.close()


async def test_a_clock_that_is_set_back_a_minute_loses_nobody(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack 16: the clock is set back between a refresh and its repeat. Source: threat model, clock skew."""
    storage = await opened(path)
    _, tokens = await granted(storage)
    assert tokens.refresh
    first = await rotate(storage, tokens.refresh)
    monkeypatch.setattr("authserver.clock.now", lambda: time.time() - 60)
    again = await rotate(storage, tokens.refresh)
    assert isinstance(first, Rotated)
    assert isinstance(again, Rotated)
    assert (again.salt, again.repeated) == (first.salt, True)
    await storage.close()


async def test_a_closed_storage_is_unavailable() -> None:
    storage = engine.SQLiteStorage(Path("nowhere"))
    with pytest.raises(StorageUnavailable):
        await storage.clients.get("x")
    with pytest.raises(StorageUnavailable):
        await storage.ping()


async def test_several_openers_write_at_once(path: Path) -> None:
    """Two in one process stand for two processes: the lock is held by an open file, not by a process."""
    storages = [await opened(path) for _ in range(2)]

    async def count_up(storage: engine.SQLiteStorage) -> None:
        for number in range(50):
            await add_client(storage, new_client(f"{id(storage)}-{number}"), shares=(100_000,) * 4)

    async with anyio.create_task_group() as tasks:
        for storage in storages:
            tasks.start_soon(count_up, storage)
    assert len(await storages[0].clients.all()) == 100
    for storage in storages:
        await storage.close()


async def test_a_network_file_system_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "file_system", lambda _: "nfs4")
    with pytest.raises(SettingsError, match=r"^AUTH_DATA_DIR: .*network file system.*Example: "):
        engine.create(engine.Settings(data_dir=path.parent))


async def test_an_old_sqlite_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 34, 1))
    with pytest.raises(SettingsError, match="too old"):
        engine.create(engine.Settings(data_dir=path.parent))


def test_the_file_system_of_a_path_is_that_of_its_mount(monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = "a / ext4 rw 0 0\nb /mnt/nfs nfs4 rw 0 0\nc /mnt ext4 rw 0 0\n"
    real: Any = Path.read_text

    def read_text(self: Path, **options: Any) -> str:
        return mounts if self == Path("/proc/self/mounts") else str(real(self, **options))

    monkeypatch.setattr(Path, "read_text", read_text)
    monkeypatch.setattr(Path, "exists", lambda self: True)
    assert file_system(Path("/mnt/nfs/data")) == "nfs4"
    assert file_system(Path("/mnt/nfsx")) == "ext4"
    assert file_system(Path("/home")) == "ext4"


# ------------------------------------------------------------------- the secret key beside the data


async def test_the_first_start_makes_a_key_for_its_owner_only(path: Path) -> None:
    """Attack 26: read the key as another user of the machine. Source: RFC 6819 5.1.4.1."""
    storage = await opened(path)
    settings = engine.Settings(data_dir=path.parent)
    keys = await load_keys(settings, storage)
    file = settings.data_dir / "secret.key"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(settings.data_dir.stat().st_mode) == 0o700
    assert await load_keys(settings, storage) == keys
    await storage.close()


async def test_a_lost_key_stops_the_start_and_makes_no_new_one(path: Path) -> None:
    storage = await opened(path)
    settings = engine.Settings(data_dir=path.parent)
    await load_keys(settings, storage)
    file = settings.data_dir / "secret.key"
    file.unlink()
    with pytest.raises(SettingsError, match=r"^AUTH_SECRET_KEY: .*secret.key is missing"):
        await load_keys(settings, storage)
    assert not file.exists()
    await storage.close()


async def test_a_data_folder_that_cannot_be_used_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match=r"^AUTH_DATA_DIR: .* cannot be made .*Example: "):
        engine.create(engine.Settings(data_dir=tmp_path / "file"))


# ------------------------------------------------------------------------------------------- doctor


def doctor(folder: Path) -> set[str]:
    """Return what doctor says of a data folder: how bad, and the first words."""
    return {
        f"{finding.level}: {finding.what}".partition(f" {folder}")[0]
        for finding in engine.checks(engine.Settings(data_dir=folder))
    }


def test_doctor_names_a_folder_that_others_can_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judgement, "file_system", lambda _: "ext4")
    path.parent.mkdir(mode=0o700)
    assert doctor(path.parent) == set()
    path.parent.chmod(0o750)
    assert doctor(path.parent) == {"unsafe: others can read"}


def test_doctor_names_a_disk_that_fills_or_does_not_last(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.parent.mkdir(mode=0o700)
    monkeypatch.setattr(judgement, "file_system", lambda _: "tmpfs")
    for free, said in ((50, "unsafe: only 50 MiB are free in"), (500, "note: only 500 MiB are free in")):
        usage = SimpleNamespace(free=free << 20)
        monkeypatch.setattr("shutil.disk_usage", lambda _, usage=usage: usage)
        assert said in doctor(path.parent)
    lasting = engine.checks(engine.Settings(data_dir=path.parent))
    assert any("lies on tmpfs" in finding.what for finding in lasting)


# ------------------------------------------------------------------------------------ the data folder


@pytest.mark.parametrize("folder", [".", "src", "src/app/data", "file:///var/lib/x", "checkout", "/"])
def test_a_folder_that_holds_something_else_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    (tmp_path / "checkout" / ".git").mkdir(parents=True)
    monkeypatch.setattr(FOLDERS, "source", tmp_path / "src")
    monkeypatch.setenv("AUTH_DATA_DIR", folder)
    with pytest.raises(ValidationError):
        engine.Settings()


def test_data_inside_a_checkout_is_kept_out_of_git(tmp_path: Path) -> None:
    """Attack 31: find the key of a server in a public repository. Source: CWE-538."""
    git = ("git", "-C", str(tmp_path))
    subprocess.run([*git, "init", "-q"], check=True)
    engine.create(engine.Settings(data_dir=tmp_path / "store"))
    for name in ("secret.key", "authserver.sqlite", "authserver.sqlite-wal"):
        (tmp_path / "store" / name).write_text("secret")
    status = [*git, "status", "--porcelain", "--untracked-files=all"]
    assert subprocess.run(status, check=True, capture_output=True).stdout == b""
    (tmp_path / "store" / ".gitignore").write_text("mine\n")
    engine.create(engine.Settings(data_dir=tmp_path / "store"))
    assert (tmp_path / "store" / ".gitignore").read_text() == "mine\n"


async def test_a_start_somewhere_else_begins_no_second_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack 34: lose key and data by a start in another folder. Source: CWE-1188."""
    before = engine.create(engine.Settings())
    await before.open()
    await before.close()
    assert (tmp_path / "data" / "authserver.sqlite").exists()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    again = engine.create(engine.Settings())
    assert again._file.path == before._file.path
    # As a project that was always started from there has it, from when paths followed the folder.
    shutil.move(tmp_path / "data", tmp_path / "elsewhere")
    with pytest.raises(SettingsError, match=r"^AUTH_DATA_DIR: there is data in \S+/elsewhere/data, and none"):
        engine.create(engine.Settings())
    # A second one on purpose.
    engine.create(engine.Settings(data_dir=tmp_path.parent / f"{tmp_path.name}-named"))
    # Where only the packages are installed, there is no folder but this one, or one that is named.
    monkeypatch.setattr(FOLDERS, "project", None)
    engine.create(engine.Settings())
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError, match=r"^AUTH_DATA_DIR: no data is in .*Example: "):
        engine.create(engine.Settings())
    engine.create(engine.Settings(data_dir=tmp_path / "named"))


async def test_a_mistyped_folder_begins_no_new_store(tmp_path: Path) -> None:
    """Attack 34: an empty store, and a first account for whoever comes, by a mistake. Source: CWE-1188."""
    with pytest.raises(SettingsError, match=r"^AUTH_DATA_DIR: there is no folder \S+/mnt: .* mkdir -p "):
        engine.create(engine.Settings(data_dir=tmp_path / "mnt" / "my-server"))
    assert not (tmp_path / "mnt").exists()
    # On purpose: one beside others, or a folder that the operator made.
    engine.create(engine.Settings(data_dir=tmp_path / "my-server"))
    (tmp_path / "srv" / "data").mkdir(parents=True)
    engine.create(engine.Settings(data_dir=tmp_path / "srv" / "data"))


async def test_a_disk_that_is_not_mounted_begins_no_new_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack 34: an empty store in the place of the right one. Source: CWE-1188."""
    fstab = tmp_path / "fstab"
    fstab.write_text(
        f"# {tmp_path} was on /dev/sda2\n\n#UUID=3 {tmp_path} ext4\nUUID=1 / ext4\n"
        f"UUID=2 {tmp_path}/the\\040disk ext4 defaults 0 2\n"
    )
    monkeypatch.setattr(place, "_FSTAB", fstab)
    folder = tmp_path / "the disk" / "my-server"
    folder.mkdir(parents=True)
    (tmp_path / "link").symlink_to(folder)
    for written in (folder, folder.parent, tmp_path / "link"):
        with pytest.raises(SettingsError, match=r"the disk is in .*fstab but not mounted"):
            engine.create(engine.Settings(data_dir=written))
    engine.create(engine.Settings(data_dir=tmp_path / "data"))
    monkeypatch.setattr(os.path, "ismount", lambda _: True)
    engine.create(engine.Settings(data_dir=folder))
