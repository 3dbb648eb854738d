"""Settings: prefix, defaults, and where everything lies."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from sqlalchemy import QueuePool

from product_search.bootstrap.migrate import migrate
from product_search.bootstrap.stores import connect_database
from product_search.errors import DatabaseUnavailable, StartError
from product_search.images.files.bucket import Bucket
from product_search.settings import ROOT, Settings, load_log_format, load_settings


def settings(**values: Any) -> Settings:
    return Settings(_env_file=None, **values)


def test_all_that_is_written_lies_under_the_data_folder(tmp_path: Path) -> None:
    chosen = settings(data_dir=tmp_path)
    for path in (
        chosen.milvus_path,
        chosen.images_dir,
        chosen.downloaded_clip,
        chosen.downloaded_bge,
        chosen.generation_folder,
    ):
        assert path.is_relative_to(tmp_path)
    assert str(tmp_path) in chosen.sqlalchemy_url


def test_what_ships_lies_in_the_project() -> None:
    assert settings().shipped_bge.is_relative_to(ROOT)
    assert settings().shipped_starter.is_relative_to(ROOT)


def test_a_given_database_url_wins(tmp_path: Path) -> None:
    url = "mysql+pymysql://u:p@db/catalog"
    assert settings(data_dir=tmp_path, database_url=url).sqlalchemy_url == url


def test_a_relative_data_folder_is_made_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    chosen = settings(data_dir="here")
    assert chosen.milvus_path == tmp_path.resolve() / "here" / "milvus.db"


def test_the_environment_is_read_with_the_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRODUCT_SEARCH_ENCODER", "starter")
    monkeypatch.setenv("PRODUCT_SEARCH_INDEX_BATCH_SIZE", "7")
    monkeypatch.setenv("ENCODER", "chinese-clip")
    chosen = Settings(_env_file=None)
    assert (chosen.encoder, chosen.index_batch_size) == ("starter", 7)


def test_an_empty_variable_is_as_if_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRODUCT_SEARCH_DATABASE_URL", "")
    monkeypatch.setenv("PRODUCT_SEARCH_DEVICE", "")
    chosen = Settings(_env_file=None)
    assert (chosen.database_url, chosen.device) == (None, "auto")


def test_a_dotenv_file_is_read_and_the_environment_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lines = "PRODUCT_SEARCH_ENCODER=starter\nPRODUCT_SEARCH_DEVICE=cpu\nSOMETHING_ELSE=1\n"
    (tmp_path / ".env").write_text(lines)
    monkeypatch.setenv("PRODUCT_SEARCH_DEVICE", "cuda")
    chosen = Settings()
    assert (chosen.encoder, chosen.device) == ("starter", "cuda")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("encoder", "clip"),
        ("device", "gpu"),
        ("index_batch_size", 0),
        ("index_batch_size", 1001),
        ("wait_timeout_s", 0),
        ("database_pool_size", 1),
        ("database_max_overflow", -1),
        ("database_pool_timeout_s", 0),
        ("database_pool_recycle_s", 0),
        ("index_lease_s", 1),
        ("index_max_attempts", 0),
        ("index_retry_delay_s", 0),
        ("index_in_process", "perhaps"),
        ("outbox_max_depth", 0),
        ("milvus_uri", "tcp://milvus:19530"),
        ("milvus_uri", "http://"),
        ("milvus_uri", "https://root:Milvus@milvus:19530"),
        ("milvus_index_type", "hnsw"),
        ("milvus_index_params", "M=16"),
        ("milvus_index_params", "[16]"),
        ("milvus_search_params", '{"ef": {}}'),
        ("milvus_replicas", 0),
        ("milvus_shards", 0),
        ("milvus_mmap", "perhaps"),
        ("milvus_partition_key", "brand"),
        ("milvus_consistency", "strong"),
        ("images_url", "s3://"),
        ("images_url", "https://bucket.s3.amazonaws.com"),
        ("images_url", "s3://key:secret@bucket"),
        ("images_url", "s3://bucket/shop?region=a"),
        ("images_endpoint", "minio:9000"),
        ("images_endpoint", "https://key:secret@minio:9000"),
        ("images_endpoint", "file:///etc"),
        ("generation_model", "Tongyi-MAI/Z-Image-Turbo"),
        ("generation_offload", "true"),
        ("generation_vae_tiling", "perhaps"),
    ],
)
def test_a_wrong_setting_is_refused_at_once(name: str, value: object) -> None:
    with pytest.raises(ValidationError):
        settings(**{name: value})


def test_the_settings_of_the_pool_are_the_engines(tmp_path: Path) -> None:
    chosen = settings(
        data_dir=tmp_path,
        database_pool_size=3,
        database_max_overflow=0,
        database_pool_timeout_s=0.5,
        database_pool_recycle_s=60,
    )
    database = connect_database(chosen)
    migrate(database)
    pool = database.engine.pool
    assert isinstance(pool, QueuePool)
    assert (pool.size(), pool.timeout(), pool._recycle) == (3, 0.5, 60)
    with ExitStack() as held:
        for _ in range(3):
            held.enter_context(database.engine.connect())
        with pytest.raises(DatabaseUnavailable):
            database.ping()
    database.ping()
    database.close()


def test_what_a_file_was_opened_for_beyond_the_pool_is_kept(tmp_path: Path) -> None:
    chosen = settings(data_dir=tmp_path, database_pool_size=2, database_max_overflow=3)
    database = connect_database(chosen)
    with ExitStack() as held:
        opened = [held.enter_context(database.engine.connect()) for _ in range(5)]
        first = {connection.connection.driver_connection for connection in opened}
    with ExitStack() as held:
        opened = [held.enter_context(database.engine.connect()) for _ in range(5)]
        assert {connection.connection.driver_connection for connection in opened} == first
    database.close()


def test_every_setting_of_the_example_file_exists() -> None:
    lines = (ROOT / ".env.example").read_text("utf-8").splitlines()
    names = {line.lstrip("# ").partition("=")[0] for line in lines if "PRODUCT_SEARCH_" in line}
    known = {f"PRODUCT_SEARCH_{name.upper()}" for name in Settings.model_fields}
    assert {name for name in names if name.startswith("PRODUCT_SEARCH_")} == known


def test_milvus_is_a_file_in_the_data_folder_a_given_file_or_a_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    default = settings(data_dir=tmp_path)
    assert (default.milvus_path, default.milvus_server) == (tmp_path / "milvus.db", None)
    given = settings(milvus_uri="elsewhere/vectors.db")
    assert given.milvus_path == tmp_path.resolve() / "elsewhere" / "vectors.db"
    assert given.milvus_server is None
    for uri in ("http://milvus:19530", "https://in01.example.com:443/shop"):
        assert settings(milvus_uri=uri).milvus_server == uri


def test_a_bucket_and_the_folder_in_it_are_named_by_one_url() -> None:
    places = {
        url: (Bucket(url).name, Bucket(url).prefix)
        for url in ("s3://shop", "s3://shop/", "s3://shop/a/b", "s3://shop/a/b/")
    }
    assert [*places.values()] == [("shop", "pictures/")] * 2 + [("shop", "a/b/pictures/")] * 2
    assert all(settings(images_url=url).images_url == url for url in places)
    chosen = settings(images_access_key_id="of-mine", images_secret_access_key="of-mine-too")
    assert "of-mine" not in repr(chosen)


def test_the_parameters_of_the_index_are_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRODUCT_SEARCH_MILVUS_INDEX_TYPE", "HNSW")
    monkeypatch.setenv("PRODUCT_SEARCH_MILVUS_INDEX_PARAMS", '{"M": 32, "efConstruction": 360}')
    chosen = Settings(_env_file=None)
    assert chosen.milvus_index_params == {"M": 32, "efConstruction": 360}
    assert chosen.milvus_search_params == {}


def test_the_text_to_image_model_is_a_downloaded_one_or_a_folder_of_ones_own(
    tmp_path: Path,
) -> None:
    light = settings(data_dir=tmp_path, generation_model="light").generation_folder
    assert light == tmp_path / "models" / "black-forest-labs--FLUX.2-klein-4B"
    own = settings(generation_model="light", generation_dir=tmp_path / "mine")
    assert own.generation_folder == tmp_path / "mine"


def test_the_token_of_milvus_is_not_shown() -> None:
    chosen = settings(milvus_token="root:geheim")
    assert chosen.milvus_token.get_secret_value() == "root:geheim"
    assert "geheim" not in f"{chosen!r} {chosen} {chosen.model_dump()}"


def test_how_to_log_is_known_before_all_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PRODUCT_SEARCH_DATABASE_POOL_SIZE", "none")  # told by who loads them all
    assert load_log_format() == "console"
    monkeypatch.setenv("PRODUCT_SEARCH_LOG_FORMAT", "json")
    assert load_log_format() == "json"
    monkeypatch.setenv("PRODUCT_SEARCH_LOG_FORMAT", "xml")
    assert load_log_format() == "console"
    with pytest.raises(StartError, match="PRODUCT_SEARCH_LOG_FORMAT"):
        load_settings()
