"""The only place where things are assembled, and closed again in reverse."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from nlp_models import EncoderPair, has_weights, open_encoders
from orm_models import Database
from product_search.catalog import Catalog
from product_search.errors import StartError
from product_search.images import ImageStore
from product_search.indexing import Indexer
from product_search.indexing_loop import IndexingLoop
from product_search.retrieval import Retrieval
from product_search.settings import Settings
from vector_db import MilvusOptions, MilvusServer, MilvusStore, VectorStore

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Resources:
    """What a running service holds."""

    settings: Settings
    database: Database
    images: ImageStore
    store: VectorStore
    encoders: EncoderPair
    loop: IndexingLoop
    catalog: Catalog
    retrieval: Retrieval


@contextmanager
def open_resources(settings: Settings, address: str) -> Iterator[Resources]:
    """Everything, with the indexing loop running; Milvus Lite's file is held by this process.

    `address` is where this process can be reached, for those who find the file held.

    Raises:
        VectorFileBusy: another process holds the file.
        EncoderError: the chosen encoder's weights are missing.
        StartError: a setting can't be used.
        DatabaseUnavailable, VectorStoreUnavailable: a store can't be opened.
    """
    with ExitStack() as stack:
        _make_data_dir(settings)
        # First, so that a second process is turned away before it has loaded any model.
        store = open_store(settings, address)
        stack.callback(store.close)
        database = stack.enter_context(open_database(settings))
        images = ImageStore(settings.images_dir)
        encoders = load_encoders(settings)
        indexer = Indexer(database, store, images, encoders)
        indexer.activate_collection()
        loop = IndexingLoop(indexer, settings.index_batch_size)
        loop.start()
        stack.callback(loop.stop)
        yield Resources(
            settings=settings,
            database=database,
            images=images,
            store=store,
            encoders=encoders,
            loop=loop,
            catalog=Catalog(database, images, loop.wake),
            retrieval=Retrieval(database, store, images, encoders),
        )


def open_store(settings: Settings, address: str) -> MilvusStore:
    """Milvus, as the settings name it: the file, which is then held, or the server."""
    options = MilvusOptions(
        index_type=settings.milvus_index_type,
        index_params=settings.milvus_index_params,
        search_params=settings.milvus_search_params,
        replicas=settings.milvus_replicas,
        shards=settings.milvus_shards,
        mmap=settings.milvus_mmap,
        consistency=settings.milvus_consistency,
    )
    if settings.milvus_server is None:
        return MilvusStore(settings.milvus_path, address, options)
    server = MilvusServer(settings.milvus_server, settings.milvus_token.get_secret_value())
    if server.tells_its_token:
        log.warning("PRODUCT_SEARCH_MILVUS_TOKEN goes over the network in the clear: use https")
    return MilvusStore(server, address, options)


@contextmanager
def open_database(settings: Settings) -> Iterator[Database]:
    """The relational store, its tables made."""
    _make_data_dir(settings)
    database = Database(settings.sqlalchemy_url)
    try:
        database.create_tables()
        yield database
    finally:
        database.close()


def _make_data_dir(settings: Settings) -> None:
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StartError(f"PRODUCT_SEARCH_DATA_DIR 无法使用：{error}") from error


def load_encoders(settings: Settings) -> EncoderPair:
    """The encoders that the settings choose, from the folders that they name."""
    bge = settings.downloaded_bge if has_weights(settings.downloaded_bge) else settings.shipped_bge
    encoders = open_encoders(
        settings.encoder,
        clip=settings.clip_dir or settings.downloaded_clip,
        bge=settings.bge_dir or bge,
        starter=settings.shipped_starter,
        device=settings.device,
    )
    log.info(
        "encoder %s (fingerprint %s) on %s", encoders.name, encoders.fingerprint, encoders.device
    )
    return encoders
