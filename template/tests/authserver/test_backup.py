"""`backup` and `restore`: what was valid stays valid, whole or not at all, and never by mistake."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Live, new_person, new_store
from engines import Engine
from oauth_client import OAuthClient, alive
from operators import Operator
from person import Person

from authserver.all_settings import Settings

Store = dict[str, str]
Stores = tuple[Store, Store]


@pytest.fixture
def stores(engine: Engine) -> Stores:
    """A store that is used, and another, empty one."""
    return new_store(engine), new_store(engine)


def with_key_of(old: Store, new: Store) -> Store:
    """Set the secret key of the old store in the settings of the new one, as an operator must."""
    made = Settings.model_validate(old).made_key_path
    return new if made is None else new | {"secret_key": made.read_text()}


def used(store: Store) -> tuple[Live, OAuthClient, dict[str, str], Person]:
    server = Live(store).start()
    person = new_person(server, "alice")
    client = OAuthClient(server, token_endpoint_auth_method="client_secret_post")
    return server, client, client.tokens(person), person


def test_everything_is_valid_after_a_restore(stores: Stores, operator: Operator, tmp_path: Path) -> None:
    """Attack 26: read a backup. Source: RFC 6819 5.1.4.1.3."""
    old, new = stores
    server, client, tokens, person = used(old)
    code = client.code(person)
    spent = client.tokens(person)["refresh_token"]
    before = client.refresh(spent).json()
    file = tmp_path / "backup"
    assert "records written" in operator.at(old).types("backup", str(file))  # while the server runs
    server.stop()
    assert file.stat().st_mode & 0o777 == 0o600
    for secret in (code, spent, client.secret, *tokens.values(), *before.values()):
        if len(str(secret)) > 20:
            assert str(secret) not in file.read_text()

    new = with_key_of(old, new)
    assert "hours ago" in operator.at(new).types("restore", str(file))
    moved = Live(new, server.port).start()
    assert alive(moved, tokens["access_token"])
    assert client.refresh(tokens["refresh_token"]).status_code == 200
    assert client.refresh(spent).json()["refresh_token"] == before["refresh_token"]  # the same answer again
    assert client.redeem(code).status_code == 200
    assert 'name="decision"' in person.get(client.authorization_url()).text  # still signed in
    again = Person(moved)
    assert again.enter(again.get("/account")).status_code == 200
    moved.stop()


def test_with_revoke_all_only_accounts_and_clients_come_back(
    stores: Stores, operator: Operator, tmp_path: Path
) -> None:
    old, new = stores
    server, client, tokens, person = used(old)
    code = client.code(person)
    server.stop()
    operator.at(old).types("backup", str(tmp_path / "backup"))
    new = with_key_of(old, new)
    operator.at(new).types("restore", str(tmp_path / "backup"), "--revoke-all")
    moved = Live(new, server.port).start()
    assert not alive(moved, tokens["access_token"])
    for answer in (client.refresh(tokens["refresh_token"]), client.redeem(code)):
        assert answer.json()["error"] == "invalid_grant"
    assert person.browser.get("/account").is_redirect  # not signed in
    assert alive(moved, client.tokens(Person(moved))["access_token"])
    moved.stop()


def test_with_revoke_all_every_user_begins_an_epoch_that_never_was(
    stores: Stores, operator: Operator, tmp_path: Path
) -> None:
    """Attack 26: use the cookie of a known browser, or a count, of before. Source: RFC 6819 5.1.4.1.3."""
    old, new = stores
    file, emptied = tmp_path / "backup", tmp_path / "emptied"
    used(old)[0].stop()
    operator.at(old).types("users", "sign-out", "alice")

    def epochs(lines: str) -> list[int]:
        return [row["epoch"] for table, row in map(json.loads, lines.splitlines()[1:-1]) if table == "users"]

    operator.at(old).types("backup", str(file))
    lines = file.read_text().splitlines()
    lines.insert(-1, json.dumps(["buckets", {"key": "AAAA", "full_at": 4e9}]))
    lines[-1] = json.dumps({"records": len(lines) - 2})
    file.write_text("\n".join(lines))
    new = with_key_of(old, new)
    before = int(time.time())
    operator.at(new).types("restore", str(file), "--revoke-all")
    operator.at(new).types("backup", str(emptied))
    assert epochs(file.read_text()) == [1]
    [epoch] = epochs(emptied.read_text())
    assert epoch >= before - 1
    assert '["buckets"' not in emptied.read_text()


def test_a_backup_of_an_older_release_begins_with_the_first_epoch(
    stores: Stores, operator: Operator, tmp_path: Path
) -> None:
    old, new = stores
    server, client, tokens, person = used(old)
    file = tmp_path / "backup"
    operator.at(old).types("backup", str(file))
    server.stop()
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    for line in lines[1:-1]:
        line[1].pop("epoch", None)
    file.write_text("\n".join(map(json.dumps, lines)))
    new = with_key_of(old, new)
    operator.at(new).types("restore", str(file))
    moved = Live(new, server.port).start()
    assert alive(moved, tokens["access_token"])
    assert 'name="decision"' in person.get(client.authorization_url()).text  # still signed in
    moved.stop()


def test_a_store_with_accounts_is_not_filled(stores: Stores, operator: Operator, tmp_path: Path) -> None:
    old, new = stores
    file = tmp_path / "backup"
    for store in stores:
        used(store)[0].stop()
    operator.at(old).types("backup", str(file))
    made = Settings.model_validate(new).made_key_path
    if made is not None:
        made.write_text(with_key_of(old, new)["secret_key"])
    assert "not empty" in operator.at(new).fails("restore", str(file))
    assert "exists" in operator.at(old).fails("backup", str(file))


def test_the_newest_backups_are_kept_and_nothing_else_is_deleted(
    stores: Stores, operator: Operator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, folder = stores[0], tmp_path / "backups"
    folder.mkdir()
    used(store)[0].stop()
    kept = ["backup-of-mine", "backup-20990101T000000Z"]  # another's, and one of a clock that was ahead
    for name in kept:
        (folder / name).write_text("")
    day = time.time()
    for days in range(4):
        monkeypatch.setattr("authserver.clock.now", lambda now=day + days * 86_400: now)
        operator.at(store).types("backup", str(folder), "--keep", "3")
    found = sorted(path.name for path in folder.iterdir())
    stamps = [time.strftime("backup-%Y%m%dT%H%M%SZ", time.gmtime(day + days * 86_400)) for days in (2, 3)]
    assert found == sorted([*kept, *stamps])
    assert all((folder / stamp).stat().st_mode & 0o777 == 0o600 for stamp in stamps)
    operator.at(store).types("backup", str(folder), "--keep", "1")
    assert len(list(folder.iterdir())) == 2  # the new one, whatever the others say of the time
    assert "--keep" in operator.at(store).fails("backup", str(folder), "--keep", "0")


def test_what_a_killed_backup_left_is_deleted_by_the_next(
    stores: Stores, operator: Operator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used(stores[0])[0].stop()
    now = 1_800_000_000.0  # 15 January 2027, at eight
    monkeypatch.setattr("authserver.clock.now", lambda: now)
    mine = [".backup-of-mine", ".backup-20270115T063000Z.gz"]
    for name in (".backup-20270115T063000Z", ".backup-20270115T073000Z", *mine):
        (tmp_path / name).write_text("half of it")
    operator.at(stores[0]).types("backup", str(tmp_path), "--keep", "1")
    left = {path.name for path in tmp_path.iterdir()}
    # That of half an hour ago may still be written.
    assert left == {"backup-20270115T080000Z", ".backup-20270115T073000Z", *mine}


@pytest.mark.parametrize("keep", [(), ("--keep", "1")], ids=["a file", "the newest"])
def test_a_backup_that_fails_leaves_nothing_and_deletes_nothing(
    stores: Stores, operator: Operator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep: tuple[str, ...]
) -> None:
    used(stores[0])[0].stop()
    before = tmp_path / "backup-20200101T000000Z"
    before.write_text("")
    monkeypatch.setattr("authserver.backup._write_line", lambda file, value: file.write("\xe9"))
    with pytest.raises(UnicodeEncodeError):
        operator.at(stores[0]).types("backup", str(tmp_path if keep else tmp_path / "backup"), *keep)
    assert list(tmp_path.iterdir()) == [before]


def test_a_backup_is_refused_without_the_key_it_was_made_with(
    stores: Stores, operator: Operator, tmp_path: Path
) -> None:
    """Attack 26: use a stolen backup without its key. Source: RFC 6819 5.1.4.1.3."""
    old, new = stores
    used(old)[0].stop()
    operator.at(old).types("backup", str(tmp_path / "backup"))
    new |= {"secret_key": "another key of the right length, as it were"}
    assert "AUTH_SECRET_KEY: this is not the key" in operator.at(new).fails(
        "restore", str(tmp_path / "backup")
    )


def test_without_its_key_a_backup_comes_back_but_for_what_was_encrypted(
    stores: Stores, start: Callable[..., Live], operator: Operator, tmp_path: Path
) -> None:
    old, new = stores
    server, client, tokens, _ = used(old)
    server.stop()
    file = str(tmp_path / "backup")
    operator.at(old).types("backup", file)
    new |= {"secret_key": "another key of the right length, as it were"}
    said = operator.at(new).types("restore", file, "--discard-encrypted")
    assert "whoever had one signs in without it" in said
    moved = start(port=server.port, **new)
    answer = client.refresh(tokens["refresh_token"])
    assert alive(moved, answer.json()["access_token"])
    again = Person(moved)
    assert again.enter(again.get("/account")).status_code == 200


def cut(text: str) -> str:
    return text[: len(text) // 2]


def without_its_end(text: str) -> str:
    return "\n".join(text.splitlines()[:-1])


def with_a_foreign_column(text: str) -> str:
    return text.replace('["users",{', '["users",{"admin":true,')


def with_a_number_for_a_name(text: str) -> str:
    lines = text.splitlines()
    at, line = next((at, line) for at, line in enumerate(lines) if line.startswith('["users"'))
    table, row = json.loads(line)
    lines[at] = json.dumps([table, row | {"name": 7}])
    return "\n".join(lines)


@pytest.mark.parametrize(
    "damage",
    [
        cut,
        without_its_end,
        with_a_foreign_column,
        with_a_number_for_a_name,
        lambda _: "",
        lambda _: "{}",
        lambda text: text.replace("users", "us/ers"),
        lambda text: text.replace('"check":"', '"check":"!'),
        lambda text: "[" * 100_000 + text,
        lambda text: text + "\u00fc",
    ],
)
def test_a_damaged_backup_is_one_line_and_fills_nothing(
    stores: Stores, operator: Operator, tmp_path: Path, damage: Callable[[str], str]
) -> None:
    old, new = stores
    used(old)[0].stop()
    file = tmp_path / "backup"
    operator.at(old).types("backup", str(file))
    new = with_key_of(old, new)
    whole = file.read_text()
    file.write_text(damage(whole))
    line = operator.at(new).fails("restore", str(file))
    assert line.startswith(f"my-server: {file}: ")
    assert "\n" not in line
    assert operator.at(new).types("users", "list") == ""
    file.write_text(whole)
    assert "restored" in operator.at(new).types("restore", str(file))


def test_what_is_no_backup_is_said_to_be_none(operator: Operator, tmp_path: Path) -> None:
    for content in (b"import os\n", b"\xff\xfe", b""):
        (tmp_path / "some.py").write_bytes(content)
        line = operator.fails("restore", str(tmp_path / "some.py"))
        assert line == f"my-server: {tmp_path / 'some.py'}: this is no backup that this release can read"
    assert operator.fails("restore", str(tmp_path)) == f"my-server: {tmp_path}: Is a directory"
    missing = tmp_path / "missing"
    assert operator.fails("restore", str(missing)) == f"my-server: {missing}: No such file or directory"
