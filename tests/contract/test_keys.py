"""Keys on every database: made, found, ended; what the database forgets or can't say."""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest
from sqlalchemy import select

from orm_models import ApiKey, Database, SigningSecret
from product_search.access import addresses, keyring as keyrings, keys
from product_search.access.addresses import LONGEST, fetch_secrets, rotate_secret
from product_search.access.keyring import GRACE_S, Keyring
from product_search.access.keys import KeyRefused, create_key, list_keys, revoke_key
from product_search.context import Principal, Scope
from product_search.errors import DatabaseUnavailable
from tests.sessions import writing

SHOP = "https://shop.example"


@pytest.fixture
def ring(database: Database) -> Keyring:
    ring = Keyring(database)
    ring.open()
    return ring


def look_again(ring: Keyring) -> None:
    ring.look_again(time.monotonic())


def test_a_key_is_whose_it_was_made_for(database: Database, ring: Keyring) -> None:
    assert ring.is_empty
    made = database.write(create_key, " 店铺 ", Scope.write)
    assert ring.find(made.text) is None
    look_again(ring)
    assert ring.find(made.text) == Principal("店铺", Scope.write, made.key_id)
    assert not ring.is_empty


def test_the_database_has_nothing_by_which_one_gets_in(database: Database) -> None:
    made = database.write(create_key, "店铺", Scope.admin)
    secret = made.text.rpartition("_")[2]
    (row,) = database.read(list_keys)
    values = {column.name: getattr(row, column.name) for column in ApiKey.__table__.columns}
    assert secret not in repr(values)
    assert row.digest != secret.encode()
    assert len(row.digest) == 32


def test_no_two_keys_are_alike_and_a_key_is_long(database: Database) -> None:
    made = [database.write(create_key, "店铺", Scope.read) for _ in range(20)]
    assert len({key.text for key in made}) == len({key.key_id for key in made}) == 20
    assert all(len(key.text.rpartition("_")[2]) == 43 for key in made)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda text: text[:-1] + ("A" if text[-1] != "A" else "B"),
        lambda text: text[:-1],
        lambda text: text + "A",
        lambda text: text.replace("psk_", "pspk_"),
        lambda text: text.lower(),
        lambda text: text.partition("_")[2],
        lambda text: f"{text}\n",
        lambda _text: "",
        lambda text: text[: text.rindex("_") + 1] + "A" * 43,
    ],
)
def test_what_is_not_the_whole_key_is_no_key(
    database: Database, ring: Keyring, wrong: Callable[[str], str]
) -> None:
    made = database.write(create_key, "店铺", Scope.read)
    look_again(ring)
    assert ring.find(wrong(made.text)) is None


def test_a_revoked_key_is_none_and_stays_in_the_list(database: Database, ring: Keyring) -> None:
    made = database.write(create_key, "店铺", Scope.read)
    look_again(ring)
    database.write(revoke_key, made.key_id)
    ring.refresh()
    assert ring.find(made.text) is None
    (row,) = database.read(list_keys)
    revoked_at = row.revoked_at
    assert revoked_at is not None
    assert database.write(revoke_key, made.key_id).revoked_at == revoked_at
    with pytest.raises(KeyRefused, match="nobody"):
        database.write(revoke_key, "nobody")


def test_a_key_ends_when_it_expires_whether_it_is_read_again_or_not(
    database: Database, ring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    end = datetime.now(UTC) + timedelta(days=1)
    made = database.write(create_key, "网页", Scope.read, [SHOP], end)
    look_again(ring)
    assert ring.find(made.text) is not None
    later = SimpleNamespace(time=lambda: end.timestamp(), monotonic=time.monotonic)
    monkeypatch.setattr(keyrings, "time", later)
    assert ring.find(made.text) is None
    ring.refresh()
    assert ring.origins == frozenset()


def test_origins_are_as_browsers_write_them_and_end_with_their_key(
    database: Database, ring: Keyring
) -> None:
    given = ["HTTPS://Shop.Example/", "https://shop.example:443", "http://127.0.0.1:8080"]
    made = database.write(create_key, "网页", Scope.read, given)
    assert made.text.startswith("pspk_")
    look_again(ring)
    assert ring.origins == {SHOP, "http://127.0.0.1:8080"}
    found = ring.find(made.text)
    assert found is not None
    assert set(found.origins) == ring.origins
    database.write(revoke_key, made.key_id)
    ring.refresh()
    assert ring.origins == frozenset()


@pytest.mark.parametrize(
    ("name", "scope", "origins"),
    [
        ("", Scope.read, []),
        ("  ", Scope.read, []),
        ("店" * 101, Scope.read, []),
        ("店铺\n", Scope.read, []),
        ("网页", Scope.write, [SHOP]),
        ("网页", Scope.read, ["*"]),
        ("网页", Scope.read, ["null"]),
        ("网页", Scope.read, ["https://*.shop.example"]),
        ("网页", Scope.read, ["https://shop.example/path"]),
        ("网页", Scope.read, ["shop.example"]),
        ("网页", Scope.read, ["https://user@shop.example"]),
        ("网页", Scope.read, ["file:///"]),
    ],
)
def test_a_key_that_would_be_none_is_not_made(
    database: Database, name: str, scope: Scope, origins: list[str]
) -> None:
    with pytest.raises(KeyRefused):
        database.write(create_key, name, scope, origins)
    assert database.read(list_keys) == []


def fail(*_arguments: object, **_named: object) -> NoReturn:
    raise DatabaseUnavailable("数据库暂时不可用")


def test_while_the_database_is_away_known_keys_are_good_for_a_while(
    database: Database,
    ring: Keyring,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    made = database.write(create_key, "店铺", Scope.read)
    look_again(ring)
    monkeypatch.setattr(type(database), "read", fail)
    for _ in range(3):
        ring.refresh()
    assert caplog.text.count("keys can't be read") == 1
    assert ring.find(made.text) is not None
    with pytest.raises(DatabaseUnavailable):
        look_again(ring)
    after = time.monotonic() + GRACE_S + 1
    monkeypatch.setattr(keyrings, "time", SimpleNamespace(time=time.time, monotonic=lambda: after))
    with pytest.raises(DatabaseUnavailable):
        ring.find(made.text)
    monkeypatch.undo()
    ring.refresh()
    assert ring.find(made.text) is not None


def test_however_many_look_again_the_database_is_asked_a_few_times(
    ring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, readings = Keyring._read, list[float]()

    def counted(one: Keyring) -> None:
        readings.append(time.monotonic())
        read(one)

    monkeypatch.setattr(Keyring, "_read", counted)
    since = time.monotonic()
    for _ in range(50):
        ring.look_again(since)
    assert len(readings) == 1
    look_again(ring)
    assert readings[1] - readings[0] >= 0.099


def uses(database: Database) -> list[datetime | None]:
    return [row.last_used_at for row in database.read(list_keys)]


def test_the_last_use_of_a_key_is_known_to_some_minutes(database: Database, ring: Keyring) -> None:
    used, _unused = (database.write(create_key, "店铺", Scope.read) for _ in range(2))
    look_again(ring)
    ring.note_uses()
    assert uses(database) == [None, None]
    ring.find(used.text)
    ring.note_uses()
    first, none = uses(database)
    assert (first is not None, none) == (True, None)
    ring.find(used.text)
    ring.note_uses()
    assert uses(database) == [first, None]
    with writing(database) as session:
        row = session.scalars(select(ApiKey).where(ApiKey.key_id == used.key_id)).one()
        row.last_used_at = datetime.now(UTC) - timedelta(minutes=11)
    ring.find(used.text)
    ring.note_uses()
    again, _ = uses(database)
    assert again is not None
    assert first is not None
    assert again >= first


def test_a_database_that_can_only_be_read_keeps_nobody_out(
    database: Database, ring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = database.write(create_key, "店铺", Scope.read)
    look_again(ring)
    monkeypatch.setattr(type(database), "write", fail)
    ring.find(made.text)
    ring.note_uses()
    assert ring.find(made.text) is not None


def secrets_of(database: Database) -> list[bytes]:
    return database.read(fetch_secrets)


def age(database: Database, by: timedelta) -> None:
    """Let every secret be as much older."""
    with writing(database) as session:
        for row in session.scalars(select(SigningSecret)):
            row.created_at -= by


def test_replicas_agree_on_the_secret_and_a_rotation_ends_no_address(
    database: Database, ring: Keyring
) -> None:
    other = Keyring(database)
    other.open()
    assert len(secrets_of(database)) == 1
    address = ring.addresses.of("/product/7/image")
    assert other.addresses.of("/product/7/image") == address
    age(database, timedelta(days=365))
    database.write(rotate_secret, at_once=False)
    ring.refresh()
    path, _, signed = address.partition("?signature=")
    assert ring.addresses.is_signed(path, signed)
    assert ring.addresses.of(path) != address


def test_secrets_go_once_nothing_that_they_signed_can_be_good(database: Database) -> None:
    database.write(addresses.ensure_secret)
    for _ in range(3):
        database.write(rotate_secret, at_once=False)
    assert len(secrets_of(database)) == 4
    age(database, 2 * LONGEST + timedelta(minutes=1))
    database.write(rotate_secret, at_once=False)
    assert len(secrets_of(database)) == 2


def test_a_secret_that_has_leaked_ends_at_once(database: Database, ring: Keyring) -> None:
    path, _, signed = ring.addresses.of("/product/7/image").partition("?signature=")
    database.write(rotate_secret, at_once=True)
    ring.refresh()
    assert not ring.addresses.is_signed(path, signed)
    assert len(secrets_of(database)) == 1


def test_digests_are_compared_in_constant_time(
    database: Database, ring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That no byte of a digest is told by the clock can't be measured here: who compares can."""
    made = database.write(create_key, "店铺", Scope.read)
    look_again(ring)
    compared: list[tuple[Any, ...]] = []

    def compare(*both: Any) -> bool:
        compared.append(both)
        return False

    monkeypatch.setattr(hmac, "compare_digest", compare)
    assert ring.find(made.text) is None
    digest = keys.digest_of(made.text)
    assert compared == [(digest, digest)]
