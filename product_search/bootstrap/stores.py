"""The stores as the settings name them: relational database, Milvus, images."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from orm_models import Database
from product_search.bootstrap.migrate import open_schema
from product_search.database.transactions import Pool
from product_search.errors import StartError
from product_search.images.store import ImageStore
from product_search.milvus.options import MilvusOptions, MilvusServer
from product_search.settings import Settings
from vector_db import MilvusDatabase

log = logging.getLogger(__name__)


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
        yield Stores(database, vector_database, ImageStore(settings.images_dir))


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
        StartError: the tables have to be migrated first.
        DatabaseUnavailable: the database does not answer.
    """
    database = connect_database(settings)
    try:
        open_schema(database)
        yield database
    finally:
        database.close()


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
    """Create the data directory. Raises StartError where that can't be done."""
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StartError(f"PRODUCT_SEARCH_DATA_DIR 无法使用：{error}") from error
