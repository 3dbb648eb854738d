"""The only place where things are assembled, and closed again in reverse."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta

from nlp_models import EncoderPair, resolve_device
from orm_models import Database
from product_search.bootstrap.encoders import EncoderFolders
from product_search.bootstrap.loops import open_indexing, running_relay
from product_search.bootstrap.migrate import open_schema
from product_search.bulk.importer import import_rows
from product_search.bulk.uploads import Imports
from product_search.catalog.products import Catalog
from product_search.database.transactions import Pool
from product_search.drift.reconciler import Reconciler
from product_search.errors import StartError
from product_search.generation.diffusers import ImageGenerator, Keeper, open_generator
from product_search.generation.generations import Generations
from product_search.generation.job import Generating
from product_search.images.store import ImageStore
from product_search.indexing.collections import LiveCollections
from product_search.indexing.indexer import Indexer
from product_search.indexing.reindex import Reindexer
from product_search.indexing.startup import open_collections
from product_search.insights.audit import Auditor
from product_search.insights.catalog_map import MapMaker, Maps
from product_search.insights.duplicates import DuplicateFinder
from product_search.milvus.options import MilvusOptions, MilvusServer
from product_search.outbox import events
from product_search.outbox.admission import OutboxGate
from product_search.runs import queue
from product_search.runs.background import Loop
from product_search.runs.executor import Handler, RunContext, RunExecutor
from product_search.runs.queue import RunKind
from product_search.search.calibration import Calibrations
from product_search.search.cursors import Cursors, open_key
from product_search.search.inputs import InputReader
from product_search.search.search import SearchService
from product_search.settings import Settings
from product_search.text.synonyms import Synonyms
from vector_db import EntityCollection, MilvusDatabase

log = logging.getLogger(__name__)

_LEG_THREADS = 32  # of all searches together; one leg of each runs in the search's own thread


@dataclass(frozen=True)
class Resources:
    """What a running service holds; its door starts `run_executor`, where runs are to be taken."""

    settings: Settings
    database: Database
    images: ImageStore
    collections: LiveCollections
    indexing_loop: Loop
    relay_loop: Loop | None  # to Kafka, where the settings name one
    catalog: Catalog
    search: SearchService
    imports: Imports
    generations: Generations
    maps: Maps
    run_executor: RunExecutor

    @property
    def entities(self) -> EntityCollection:
        """The collection that searches read now."""
        return self.collections.active().entities

    @property
    def encoders(self) -> EncoderPair:
        """The encoders that searches use now."""
        return self.collections.active().encoders

    def start_runs(self) -> None:
        """Take queued runs, but for the kinds that the settings leave to another process."""
        left = set() if self.settings.generation_in_process else {RunKind.generate}
        self.run_executor.start(*(set(RunKind) - left))

    @property
    def encoder_hint(self) -> str | None:
        """What to do where the settings choose other encoders than those that answer."""
        chosen = EncoderFolders(self.settings).chosen_name
        if chosen == self.encoders.name:
            return None
        return (
            f"设置选的是 {chosen}，在用的集合属于 {self.encoders.name}："
            f"要换，请运行 python -m product_search.manage reindex --encoder {chosen}"
        )


@contextmanager
def open_resources(
    settings: Settings, address: str, *, is_service: bool = False
) -> Iterator[Resources]:
    """Everything, with the indexing loop running; Milvus Lite's file is held by this process.

    `address` is where this process can be reached, for those who find the file held.

    Raises:
        VectorFileBusy: another process holds the file.
        EncoderError: the chosen encoder's weights are missing.
        StartError: a setting can't be used, or a live collection's encoders can't be loaded.
        DatabaseUnavailable, VectorStoreUnavailable: a store can't be opened.
    """
    _check_who_indexes(settings)
    with ExitStack() as stack:
        _make_data_dir(settings)
        indexer = stack.enter_context(_open_indexer(settings, address))
        if settings.milvus_server is None:
            _end_dead_claims(indexer.database)
        open_collections(
            indexer.collections, is_service=is_service, is_alone=settings.milvus_server is None
        )
        loop = stack.enter_context(open_indexing(settings, indexer))
        if settings.index_in_process:
            loop.start()
        relay = stack.enter_context(running_relay(settings, indexer.database))
        search = stack.enter_context(open_search(settings, indexer))
        keeper = Keeper(_generator(settings), settings.generation_idle_s)
        stack.callback(keeper.close)
        resources = _assembled(settings, indexer, search, loop, relay, keeper)
        stack.callback(resources.run_executor.stop)
        if resources.encoder_hint:
            log.warning("%s", resources.encoder_hint)
        yield resources


def _assembled(
    settings: Settings,
    indexer: Indexer,
    search: SearchService,
    loop: Loop,
    relay: Loop | None,
    keeper: Keeper,
) -> Resources:
    database, images, collections = indexer.database, indexer.images, indexer.collections
    on_commit = (relay or loop).wake
    gate = OutboxGate(database, settings.outbox_max_depth)
    catalog = Catalog(database, images, on_commit, gate.admit)
    imports = Imports(database, settings.imports_dir, settings.import_max_bytes)
    generations = _generations(settings, indexer, keeper)
    doctor = Reconciler(database, collections.vector_database, images, gate.admit, on_commit)
    handlers: dict[RunKind, Handler] = {
        RunKind.import_: _import_handler(imports, catalog),
        RunKind.reindex: Reindexer(collections, settings.index_batch_size, on_commit),
        RunKind.doctor: doctor.handle,
        RunKind.duplicates: DuplicateFinder(database, collections.vector_database, images).handle,
        RunKind.audit: Auditor(
            database, collections.vector_database, search.calibrations.of
        ).handle,
        RunKind.map: MapMaker(database, collections.vector_database).handle,
        RunKind.generate: Generating(generations, keeper, search, settings.generation_label).handle,
    }
    run_executor = RunExecutor(database, handlers)
    return Resources(
        settings=settings,
        database=database,
        images=images,
        collections=collections,
        indexing_loop=loop,
        relay_loop=relay,
        catalog=catalog,
        search=search,
        imports=imports,
        generations=generations,
        maps=Maps(database, run_executor.wake),
        run_executor=run_executor,
    )


def _generations(settings: Settings, indexer: Indexer, keeper: Keeper) -> Generations:
    return Generations(
        database=indexer.database,
        images=indexer.images,
        generator=keeper.generator,
        previews=settings.previews_dir,
        max_queued=settings.generation_max_queued,
        keep=timedelta(days=settings.generation_keep_days),
    )


def _generator(settings: Settings) -> ImageGenerator:
    return open_generator(
        settings.generation_folder,
        resolve_device(settings.device),
        offload=settings.generation_offload,
        vae_tiling=settings.generation_vae_tiling,
    )


@contextmanager
def open_search(settings: Settings, indexer: Indexer) -> Iterator[SearchService]:
    """What answers searches.

    Raises StartError where the synonyms or the active encoders' calibration can't be read.
    """
    calibrations = _calibrations(settings)
    active = indexer.collections.active().encoders.fingerprint
    calibrations.find(active)  # a damaged file is told at once
    with ThreadPoolExecutor(_LEG_THREADS, "leg") as threads:
        yield SearchService(
            database=indexer.database,
            inputs=InputReader(indexer.database, indexer.images, Synonyms(settings.synonyms_path)),
            collections=indexer.collections,
            cursors=Cursors(open_key(settings.data_dir.resolve() / "cursor.key")),
            calibrations=calibrations,
            threads=threads,
        )


def _check_who_indexes(settings: Settings) -> None:
    if settings.milvus_server is None and not settings.index_in_process:
        raise StartError(
            "Milvus Lite 的文件只容一个进程：PRODUCT_SEARCH_INDEX_IN_PROCESS=false 需要 Milvus 服务"
        )


def _end_dead_claims(database: Database) -> None:
    """Who holds Milvus Lite's file is the one service: claims are of one that has died."""
    database.write(events.release_all)
    taken_here = set(RunKind) - {RunKind.local_import}
    database.write(queue.release_all, taken_here)


def _import_handler(imports: Imports, catalog: Catalog) -> Handler:
    def handle(context: RunContext) -> None:
        options = context.claim.options
        context.on_finish(lambda: imports.remove(options))
        with imports.source(options) as source:
            import_rows(context, catalog, source)

    return handle


def open_vector_database(settings: Settings, address: str) -> MilvusDatabase:
    """Milvus, as the settings name it: the file, which is then held, or the server."""
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
def open_worker(settings: Settings) -> Iterator[Indexer]:
    """What a worker indexes with; the collections are not yet open.

    Raises as open_resources; StartError where Milvus is a file, which the service holds.
    """
    if settings.milvus_server is None:
        raise StartError(
            "Milvus Lite 的文件只容一个进程，由服务自己建立索引；"
            "要另开 worker，请改用 Milvus 服务（PRODUCT_SEARCH_MILVUS_URI）"
        )
    with _open_indexer(settings, "worker") as indexer:
        yield indexer


@contextmanager
def open_reconciler(settings: Settings) -> Iterator[Reconciler]:
    """What `manage doctor` walks with: both stores, and no encoder.

    Raises as open_resources.
    """
    with ExitStack() as stack:
        _make_data_dir(settings)
        vector_database = open_vector_database(settings, "manage")
        stack.callback(vector_database.close)
        database = stack.enter_context(open_database(settings))
        gate = OutboxGate(database, settings.outbox_max_depth)
        images = ImageStore(settings.images_dir)
        yield Reconciler(database, vector_database, images, gate.admit, on_queued=lambda: None)


@contextmanager
def open_duplicate_finder(settings: Settings) -> Iterator[DuplicateFinder]:
    """What `manage duplicates` searches with: both stores, and no encoder.

    Raises as open_resources.
    """
    with open_reconciler(settings) as opened:
        yield DuplicateFinder(opened.database, opened.vector_database, opened.images)


@contextmanager
def open_auditor(settings: Settings) -> Iterator[Auditor]:
    """What `manage audit` compares with: both stores, and no encoder. Raises as open_resources."""
    with open_reconciler(settings) as opened:
        yield Auditor(opened.database, opened.vector_database, _calibrations(settings).find)


def _calibrations(settings: Settings) -> Calibrations:
    return Calibrations(settings.calibrations_dir, settings.shipped_calibrations)


@contextmanager
def _open_indexer(settings: Settings, address: str) -> Iterator[Indexer]:
    with ExitStack() as stack:
        # First, so that a second process is turned away before it has loaded any model.
        vector_database = open_vector_database(settings, address)
        stack.callback(vector_database.close)
        database = stack.enter_context(open_database(settings))
        policy = events.ClaimPolicy(
            lease=timedelta(seconds=settings.index_lease_s),
            max_attempts=settings.index_max_attempts,
            first_pause=timedelta(seconds=settings.index_retry_delay_s),
        )
        collections = LiveCollections(database, vector_database, EncoderFolders(settings))
        yield Indexer(database, ImageStore(settings.images_dir), collections, policy)


def open_catalog(settings: Settings, database: Database, on_commit: Callable[[], None]) -> Catalog:
    """The catalog's use cases over an open database."""
    gate = OutboxGate(database, settings.outbox_max_depth)
    return Catalog(database, ImageStore(settings.images_dir), on_commit, gate.admit)


@contextmanager
def open_database(settings: Settings) -> Iterator[Database]:
    """The relational store, its tables there. Raises StartError where they are to be migrated."""
    database = connect_database(settings)
    try:
        open_schema(database)
        yield database
    finally:
        database.close()


def connect_database(settings: Settings) -> Database:
    """The relational store, whatever its tables are."""
    _make_data_dir(settings)
    pool = Pool(
        size=settings.database_pool_size,
        max_overflow=settings.database_max_overflow,
        timeout_s=settings.database_pool_timeout_s,
        recycle_s=settings.database_pool_recycle_s,
    )
    return Database(settings.sqlalchemy_url, pool)


def _make_data_dir(settings: Settings) -> None:
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StartError(f"PRODUCT_SEARCH_DATA_DIR 无法使用：{error}") from error
