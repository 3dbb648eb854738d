"""`manage keys` from making a key to its end: what it prints, and where."""

from __future__ import annotations

import json
import logging
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from orm_models import Database
from product_search.access.addresses import fetch_secrets
from product_search.access.keys import id_of
from product_search.cli import manage
from product_search.settings import Settings


@pytest.fixture(autouse=True)
def _own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


class Keys:
    """The commands, and what they print."""

    def __init__(self, printed: pytest.CaptureFixture[str]) -> None:
        self._printed = printed

    def run(self, *arguments: str, code: int = 0) -> str:
        """What `manage keys …` writes to standard output."""
        self._printed.readouterr()
        assert manage.main(["keys", *arguments]) == code
        return self._printed.readouterr().out

    def listed(self) -> list[dict[str, Any]]:
        """Every key as `list --json` has it."""
        return [json.loads(line) for line in self.run("list", "--json").splitlines()]


@pytest.fixture
def keys(capsys: pytest.CaptureFixture[str]) -> Keys:
    return Keys(capsys)


def test_a_key_is_all_that_is_printed_and_is_logged_nowhere(
    keys: Keys, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        text = keys.run("create", "店铺", "--scope", "write").removesuffix("\n")
    assert id_of(text) is not None
    assert text not in caplog.text
    (listed,) = keys.listed()
    assert (listed["key_id"], listed["name"], listed["scope"]) == (id_of(text), "店铺", "write")
    assert listed["origins"] == []
    assert listed["last_used_at"] is listed["expires_at"] is listed["revoked_at"] is None
    assert text.rpartition("_")[2] not in keys.run("list")


def test_a_key_is_for_reading_unless_more_is_asked_for(keys: Keys) -> None:
    keys.run("create", "网页")
    assert keys.listed()[0]["scope"] == "read"


def test_a_key_with_origins_is_publishable(keys: Keys) -> None:
    text = keys.run("create", "网页", "--origin", "https://Shop.example", "--days", "30")
    assert text.startswith("pspk_")
    (listed,) = keys.listed()
    assert listed["origins"] == ["https://shop.example"]
    assert listed["expires_at"] > listed["created_at"]
    assert "https://shop.example" in keys.run("list")


def test_a_revoked_key_is_listed_as_such(keys: Keys) -> None:
    key_id = id_of(keys.run("create", "店铺").strip())
    assert key_id is not None
    assert "有效" in keys.run("list")
    keys.run("revoke", key_id)
    assert "撤销" in keys.run("list")
    assert keys.listed()[0]["revoked_at"] is not None


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["revoke", "nobody"], "没有编号为"),
        (["create", "网页", "--scope", "write", "--origin", "https://shop.example"], "只能是 read"),
        (["create", "网页", "--origin", "*"], "来源应形如"),
        (["create", " "], "密钥的名字"),
        (["create", "店铺", "--days", "99999999"], "--days 过大"),
    ],
)
def test_what_can_not_be_done_is_explained(
    keys: Keys, caplog: pytest.LogCaptureFixture, arguments: list[str], reason: str
) -> None:
    assert keys.run(*arguments, code=2) == ""
    assert reason in caplog.text
    assert keys.listed() == []


def test_the_signing_secret_is_changed(keys: Keys) -> None:
    keys.run("rotate-signing")
    first = _secrets()
    keys.run("rotate-signing")
    assert len(_secrets() - first) == 1
    assert first <= _secrets()  # addresses that were given out stay good
    before = _secrets()
    keys.run("rotate-signing", "--at-once")
    assert len(_secrets()) == 1
    assert not _secrets() & before


def _secrets() -> set[bytes]:
    with closing(Database(Settings().sqlalchemy_url)) as database:
        return set(database.read(fetch_secrets))
