"""The stores as the settings name them: relational database, Milvus, images."""

from __future__ import annotations

import errno
import logging
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from orm_models import Database
from product_search.bootstrap.migrate import open_schema
from product_search.database.transactions import Pool
from product_search.errors import DatabaseUnavailable, StartError, StorageUnavailable
from product_search.images.files.bucket import Bucket, BucketFiles
from product_search.images.store import ImageStore
from product_search.milvus.options import MilvusOptions, MilvusServer
from product_search.settings import Settings
from vector_db import MilvusDatabase

log = logging.getLogger(__name__)

_PROBE_BYTES = 64 * 1024
_REASONS = {
    errno.ENOSPC: "磁盘已满",
    errno.EDQUOT: "超出了磁盘配额",
    errno.EROFS: "磁盘是只读的",
    errno.EACCES: "没有写入的权限",
    errno.EPERM: "没有写入的权限",
    errno.ENOENT: "文件夹已不在了",
}


@dataclass(frozen=True)
class Stores:
    """The three stores, open."""

    database: Database
    vector_database: MilvusDatabase
    images: ImageStore


@contextmanager
def open_stores(settings: Settings, address: str) -> Iterator[Stores]:
    """Open all stores; Milvus Lite's file is held by this process.

    Args:
        settings: name the stores.
        address: where this process can be reached, for those who find the file held.

    Raises:
        VectorFileBusy: another process holds the file.
        StartError: a setting can't be used, or the database has to be migrated first.
        DatabaseUnavailable, VectorStoreUnavailable: a store can't be opened.
    """
    make_data_dir(settings)
    with ExitStack() as stack:
        # Milvus first, so that a second process is turned away before it has loaded any model.
        vector_database = open_vector_database(settings, address)
        stack.callback(vector_database.close)
        database = stack.enter_context(open_database(settings))
        yield Stores(database, vector_database, open_images(settings))


def open_images(settings: Settings) -> ImageStore:
    """Return the store of images as the settings name it: the folder, or the bucket.

    Raises StartError: the bucket can't be reached, or its settings can't be used.
    """
    if settings.images_url is None:
        return ImageStore(settings.images_dir)
    bucket = Bucket(
        url=settings.images_url,
        endpoint=settings.images_endpoint,
        region=settings.images_region,
        key_id=settings.images_access_key_id.get_secret_value(),
        secret=settings.images_secret_access_key.get_secret_value(),
    )
    try:
        files = BucketFiles(bucket)
        files.check()
    except ImportError as error:
        reason = "需要 boto3：pip install boto3"
        raise StartError(f"PRODUCT_SEARCH_IMAGES_URL：{reason}") from error
    except (StorageUnavailable, ValueError) as error:
        raise StartError(f"PRODUCT_SEARCH_IMAGES_URL：打不开 {bucket.url}：{error}") from error
    return ImageStore(settings.images_dir, files)


def open_vector_database(settings: Settings, address: str) -> MilvusDatabase:
    """Return Milvus as the settings name it: the file, which is then held, or the server."""
    options = MilvusOptions(
        index_type=settings.milvus_index_type,
        index_params=settings.milvus_index_params,
        search_params=settings.milvus_search_params,
        replicas=settings.milvus_replicas,
        shards=settings.milvus_shards,
        mmap=settings.milvus_mmap,
        partition_key=settings.milvus_partition_key,
        consistency=settings.milvus_consistency,
    )
    if settings.milvus_server is None:
        return MilvusDatabase(settings.milvus_path, address, options)
    server = MilvusServer(settings.milvus_server, settings.milvus_token.get_secret_value())
    if server.tells_its_token:
        log.warning("PRODUCT_SEARCH_MILVUS_TOKEN goes over the network in the clear: use https")
    return MilvusDatabase(server, address, options)


@contextmanager
def open_database(settings: Settings) -> Iterator[Database]:
    """Open the relational store, its tables there.

    Raises:
        StartError: it can't be reached, or the tables have to be migrated first.
    """
    database = connect_database(settings)
    try:
        with naming_the_setting(database):
            open_schema(database)
        yield database
    finally:
        database.close()


@contextmanager
def naming_the_setting(database: Database) -> Iterator[None]:
    """Turn DatabaseUnavailable into a StartError that names the setting, without a password."""
    try:
        yield
    except DatabaseUnavailable as error:
        url = database.engine.url.render_as_string(hide_password=True)
        cause = getattr(error.__cause__, "orig", None) or error.__cause__ or error
        reason = " ".join(str(cause).split())
        raise StartError(f"PRODUCT_SEARCH_DATABASE_URL：打不开数据库 {url}：{reason}") from error


def connect_database(settings: Settings) -> Database:
    """Return the relational store, whatever its tables are."""
    make_data_dir(settings)
    pool = Pool(
        size=settings.database_pool_size,
        max_overflow=settings.database_max_overflow,
        timeout_s=settings.database_pool_timeout_s,
        recycle_s=settings.database_pool_recycle_s,
    )
    return Database(settings.sqlalchemy_url, pool)


def make_data_dir(settings: Settings) -> None:
    """Create the data directory. Raises StartError where that can't be done.

    A new one is its owner's alone: in it lie the originals, and what signs pictures' addresses.
    """
    try:
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise _unusable(settings, error) from error


def require_storage(settings: Settings) -> None:
    """Create the data directory. Raises StartError where that can't be done, or it is full."""
    make_data_dir(settings)
    try:
        _try_to_write(settings.data_dir)
    except OSError as error:
        raise _unusable(settings, error) from error


def _unusable(settings: Settings, error: OSError) -> StartError:
    place, reason = settings.data_dir, _describe(error)
    return StartError(f"PRODUCT_SEARCH_DATA_DIR 无法使用：{place}：{reason}")


def check_storage(settings: Settings) -> None:
    """Raise StorageUnavailable where the data directory can't be written."""
    try:
        _try_to_write(settings.data_dir)
    except OSError as error:
        raise StorageUnavailable(_describe(error)) from error


def _try_to_write(folder: Path) -> None:
    """Write a file without a name. Raises OSError."""
    with tempfile.TemporaryFile(dir=folder) as probe:
        probe.write(bytes(_PROBE_BYTES))


def _describe(error: OSError) -> str:
    return _REASONS.get(error.errno or 0) or error.strerror or type(error).__name__
