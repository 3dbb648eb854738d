"""What keeps the service or a command from starting is said in one line."""

from __future__ import annotations

import errno
import logging
import os
import tempfile
from pathlib import Path
from typing import NoReturn

import pytest
import torch

from nlp_models import resolve_device
from orm_models import Database
from product_search.bootstrap.assemble import open_resources
from product_search.bootstrap.stores import open_database, require_storage
from product_search.cli import manage
from product_search.errors import AppError, EncoderError, StartError, VectorStoreUnavailable
from product_search.milvus import milvus_lite
from product_search.milvus.milvus_lite import VectorFileBusy
from product_search.settings import Settings, load_settings

BAD_URLS = [
    "nonsense",
    "nosuchdialect://x",
    "mysql+nosuchdriver://x",
    "mysql+pymysql://x:port/y",
    "://",
    "sqlite:///a?timeout=long",
]
BAD_SETTINGS = {
    "PRODUCT_SEARCH_DEVICE": "foo",
    "PRODUCT_SEARCH_INDEX_BATCH_SIZE": "abc",
    "PRODUCT_SEARCH_ENCODER": "gpt",
    "PRODUCT_SEARCH_WAIT_TIMEOUT_S": "-1",
    "PRODUCT_SEARCH_MILVUS_URI": "ftp://milvus",
    "PRODUCT_SEARCH_MILVUS_INDEX_TYPE": "ANNOY",
    "PRODUCT_SEARCH_MILVUS_INDEX_PARAMS": "M=16",
    "PRODUCT_SEARCH_MILVUS_SEARCH_PARAMS": "[]",
    "PRODUCT_SEARCH_MILVUS_REPLICAS": "0",
    "PRODUCT_SEARCH_MILVUS_MMAP": "perhaps",
    "PRODUCT_SEARCH_MILVUS_PARTITION_KEY": "title",
    "PRODUCT_SEARCH_MILVUS_CONSISTENCY": "weak",
}


@pytest.fixture(autouse=True)
def _no_dotenv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PRODUCT_SEARCH_DATA_DIR", str(tmp_path / "data"))


def assert_one_line(message: str) -> None:
    assert message
    assert "\n" not in message
    assert "Traceback" not in message


@pytest.mark.parametrize("kind", [EncoderError, VectorFileBusy])
def test_what_keeps_from_starting_is_one_family(kind: type[Exception]) -> None:
    assert issubclass(kind, StartError)
    assert not issubclass(kind, AppError)  # no client is told of it


@pytest.mark.parametrize(("name", "value"), BAD_SETTINGS.items())
def test_a_wrong_setting_is_named(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(StartError) as caught:
        load_settings()
    assert name in str(caught.value)
    assert_one_line(str(caught.value))


def test_all_wrong_settings_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in BAD_SETTINGS.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(StartError) as caught:
        load_settings()
    assert [name for name in BAD_SETTINGS if name not in str(caught.value)] == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (
            "PRODUCT_SEARCH_DATABASE_URL",
            "mysql+pymysql://product_search:change-me-second@mysql:3306/product_search",
        ),
        ("PRODUCT_SEARCH_DATABASE_URL", "mysql+pymysql://USER:PASSWORD@127.0.0.1:3306/x"),
        ("PRODUCT_SEARCH_MILVUS_TOKEN", "root:change-me-fourth"),
        ("PRODUCT_SEARCH_MILVUS_TOKEN", "root:…"),
        ("PRODUCT_SEARCH_IMAGES_SECRET_ACCESS_KEY", "change-me-fifth"),
        ("PRODUCT_SEARCH_API_KEY", "psk_…"),
        ("PRODUCT_SEARCH_KAFKA_OPTIONS", '{"sasl.password": "change-me"}'),
    ],
)
def test_a_password_of_an_example_keeps_from_starting(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(StartError) as caught:
        load_settings()
    assert str(caught.value).startswith(f"{name}：")
    assert value not in str(caught.value)
    assert_one_line(str(caught.value))
    assert manage.main(["migrate"]) == 2  # and so with each command, the worker and the service
    assert name in caplog.text


def test_right_settings_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRODUCT_SEARCH_INDEX_BATCH_SIZE", "7")
    chosen = load_settings()
    assert isinstance(chosen, Settings)
    assert (chosen.index_batch_size, chosen.data_dir) == (7, tmp_path / "data")


def test_cuda_where_there_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(EncoderError) as caught:
        resolve_device("cuda")
    assert_one_line(str(caught.value))
    assert resolve_device("auto") == "cpu"
    assert resolve_device("cpu") == "cpu"


@pytest.mark.parametrize("below", ["", "below"])
def test_a_data_folder_that_is_a_file_is_refused(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    chosen = Settings(_env_file=None, data_dir=tmp_path / "file" / below)
    with pytest.raises(StartError) as caught, open_database(chosen):
        pass
    assert_one_line(str(caught.value))


@pytest.mark.parametrize("url", BAD_URLS)
def test_a_database_url_that_can_not_be_used_is_refused(url: str) -> None:
    with pytest.raises(StartError) as caught:
        Database(url)
    assert_one_line(str(caught.value))


@pytest.mark.parametrize("scheme", ["nosuchdialect", "mysql+nosuchdriver"])
def test_the_password_of_a_refused_url_is_not_said(scheme: str) -> None:
    with pytest.raises(StartError) as caught:
        Database(f"{scheme}://user:geheim@db/catalog")
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *BAD_SETTINGS.items(),
        ("PRODUCT_SEARCH_DATA_DIR", "products.csv"),
        ("PRODUCT_SEARCH_DEVICE", "cuda"),
        ("PRODUCT_SEARCH_MILVUS_URI", "vectors.sqlite"),
        ("PRODUCT_SEARCH_MILVUS_URI", "http://127.0.0.1:9"),
        ("PRODUCT_SEARCH_MILVUS_INDEX_TYPE", "HNSW"),
        ("PRODUCT_SEARCH_MILVUS_REPLICAS", "2"),
        *[("PRODUCT_SEARCH_DATABASE_URL", url) for url in BAD_URLS],
    ],
)
def test_a_command_that_can_not_start_says_why_in_one_line(
    name: str,
    value: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "products.csv").write_text("sku,title\nA,书包\n", "utf-8")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("PRODUCT_SEARCH_ENCODER", "starter")
    monkeypatch.setenv(name, value)
    with caplog.at_level(logging.ERROR):
        assert manage.main(["import", str(tmp_path / "products.csv")]) == 2
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert record.exc_info is None
    assert_one_line(record.getMessage())


def damage(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"no database" * 1000)


# What is wrong: with which settings, and which of them is named.
WRONG_PLACES: dict[str, tuple[dict[str, str], str]] = {
    "MySQL that nobody serves": (
        {"DATABASE_URL": "mysql+pymysql://shop:geheim@127.0.0.1:9/catalog"},
        "DATABASE_URL",
    ),
    "SQLite in a folder that is not there": (
        {"DATABASE_URL": "sqlite:////nowhere/catalog.sqlite3"},
        "DATABASE_URL",
    ),
    "SQLite in a damaged file": ({"DATABASE_URL": "sqlite:///damaged.db"}, "DATABASE_URL"),
    "Milvus that nobody serves": ({"MILVUS_URI": "http://127.0.0.1:9"}, "MILVUS_URI"),
    "Milvus in a damaged file": ({"MILVUS_URI": "damaged.db"}, "MILVUS_URI"),
    "Milvus below a file": ({"MILVUS_URI": "damaged.db/milvus.db"}, "MILVUS_URI"),
    "a data folder that can't be made": ({"DATA_DIR": "/proc/data"}, "DATA_DIR"),
    "a data folder that can't be written": ({"DATA_DIR": "/proc"}, "DATA_DIR"),
    "options that Kafka has not": (
        {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9", "KAFKA_OPTIONS": '{"acks.all": 1}'},
        "KAFKA_OPTIONS",
    ),
}


@pytest.mark.parametrize(("wrong", "named"), WRONG_PLACES.values(), ids=list(WRONG_PLACES))
def test_the_setting_of_what_can_not_be_opened_is_named(
    wrong: dict[str, str], named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(milvus_lite, "START_PATIENCE_S", 0.0)
    monkeypatch.setenv("PRODUCT_SEARCH_ENCODER", "starter")
    damage(tmp_path / "damaged.db")
    for name, value in wrong.items():
        monkeypatch.setenv(f"PRODUCT_SEARCH_{name}", value)
    with (
        pytest.raises((StartError, VectorStoreUnavailable)) as caught,
        open_resources(load_settings(), "test", is_service=True),
    ):
        pass
    message = str(caught.value)
    assert_one_line(message)
    assert f"PRODUCT_SEARCH_{named}" in message
    assert "geheim" not in message


def test_a_full_data_folder_is_refused_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(*_arguments: object, **_named: object) -> NoReturn:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tempfile, "TemporaryFile", fill)
    settings = Settings(_env_file=None, data_dir=tmp_path)
    with pytest.raises(StartError, match=r"PRODUCT_SEARCH_DATA_DIR.*磁盘已满"):
        require_storage(settings)


def test_migrations_name_the_database_that_they_do_not_reach(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PRODUCT_SEARCH_DATABASE_URL", "mysql+pymysql://a:geheim@127.0.0.1:9/b")
    assert manage.main(["migrate"]) == 2
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert "PRODUCT_SEARCH_DATABASE_URL" in record.getMessage()
    assert "geheim" not in record.getMessage()
