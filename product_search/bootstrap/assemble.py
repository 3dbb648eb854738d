"""The only place where services are assembled, and closed again in reverse order."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from nlp_models import EncoderPair, resolve_device
from orm_models import Database
from product_search.access.addresses import OPEN, Addresses
from product_search.access.keyring import Keyring
from product_search.bootstrap.encoders import EncoderLoader
from product_search.bootstrap.loops import (
    open_indexing_loop,
    open_keyring,
    open_relay_loop,
    open_upkeep_loops,
)
from product_search.bootstrap.stores import (
    Stores,
    check_storage,
    open_images,
    open_stores,
    require_storage,
)
from product_search.bulk.uploads import Imports, UploadImporter
from product_search.catalog.products import Catalog
from product_search.drift.reconciler import Reconciler
from product_search.errors import StartError
from product_search.fetching.fetcher import Fetcher
from product_search.fetching.policy import Hosts, Policy
from product_search.generation.diffusers import open_generator
from product_search.generation.generations import Generations
from product_search.generation.generator import IdleUnloader
from product_search.generation.handler import GenerationHandler
from product_search.images.store import ImageStore
from product_search.indexing import reindex
from product_search.indexing.collections import LiveCollections
from product_search.indexing.indexer import Indexer
from product_search.indexing.recovery import Recovery
from product_search.indexing.reindex import Reindexer
from product_search.indexing.startup import open_collections, renew_terms
from product_search.insights.audit import Auditor
from product_search.insights.catalog_map import MapMaker, Maps
from product_search.insights.duplicates import DuplicateFinder
from product_search.outbox import events
from product_search.outbox.admission import OutboxGate
from product_search.runs import queue
from product_search.runs.background import Loop
from product_search.runs.executor import Handler, RunExecutor
from product_search.runs.queue import RunKind
from product_search.search.calibration import Calibrations
from product_search.search.cursors import Cursors, open_key
from product_search.search.inputs import InputReader
from product_search.search.search import SearchService
from product_search.settings import Settings
from product_search.suggestions.catalog_words import CatalogWords
from product_search.suggestions.popular_queries import PopularQueries
from product_search.suggestions.suggester import Suggester
from product_search.text.synonyms import Synonyms
from vector_db import EntityCollection

log = logging.getLogger(__name__)

_REENCODING = (
    "新版本编码商品的方式有变（解码图片，或文字编码器的精度）：正在用它重新编码全部商品，完成后自动切换，此前搜索照常"
    "（python -m product_search.manage reindex --status 看进度）"
)


@dataclass(frozen=True)
class Resources:
    """What a running service holds; whoever opens it starts `run_executor`, where runs are due."""

    settings: Settings
    database: Database
    images: ImageStore
    collections: LiveCollections
    indexing_loop: Loop
    recovery: Recovery
    relay_loop: Loop | None  # to Kafka, where the settings name one
    catalog: Catalog
    search: SearchService
    imports: Imports
    generations: Generations
    maps: Maps
    suggester: Suggester
    fetcher: Fetcher
    run_executor: RunExecutor
    keyring: Keyring | None  # where keys are required

    @property
    def entities(self) -> EntityCollection:
        """The active collection, which searches read now."""
        return self.collections.active().entities

    @property
    def encoders(self) -> EncoderPair:
        """The encoders of the active collection, which searches use now."""
        return self.collections.active().encoders

    def check_storage(self) -> None:
        """Raise StorageUnavailable where the data directory can't be written."""
        check_storage(self.settings)

    def start_runs(self) -> None:
        """Carry out runs, but for the kinds that the settings leave to another process."""
        elsewhere = set() if self.settings.generation_in_process else {RunKind.generate}
        self.run_executor.start(*(set(RunKind) - elsewhere))

    def encoder_hint(self, in_use: EncoderPair) -> str | None:
        """Return what to do where these are not what searches would use anew; else None."""
        chosen = EncoderLoader(self.settings).chosen_name
        if chosen == in_use.name:
            return _REENCODING if in_use.is_outdated else None
        return (
            f"设置选的是 {chosen}，在用的集合属于 {in_use.name}："
            f"要换，请运行 python -m product_search.manage reindex --encoder {chosen}"
        )


@contextmanager
def open_resources(
    settings: Settings, address: str, *, is_service: bool = False
) -> Iterator[Resources]:
    """Open everything, with the indexing loop running; Milvus Lite's file is held by this process.

    Args:
        settings: what to open.
        address: where this process can be reached, for those who find the file held.
        is_service: whether it may make collections for products that are there already.

    Raises:
        VectorFileBusy: another process holds the file.
        EncoderError: the chosen encoder's weights are missing.
        StartError: a setting can't be used, or a live collection's encoders can't be loaded.
        DatabaseUnavailable, VectorStoreUnavailable: a store can't be opened.
    """
    _require_one_process(settings)
    require_storage(settings)
    is_alone = settings.milvus_server is None
    with ExitStack() as stack:
        stores = stack.enter_context(open_stores(settings, address))
        if is_alone:
            _release_claims_of_the_dead(stores.database)
        indexer = _indexer(settings, stores)
        recovery = _open_collections(indexer, is_service=is_service, is_alone=is_alone)
        indexing_loop = stack.enter_context(open_indexing_loop(settings, indexer, recovery))
        if settings.index_in_process:
            indexing_loop.start()
        relay_loop = stack.enter_context(open_relay_loop(settings, stores.database))
        keyring = stack.enter_context(open_keyring(settings, stores.database))
        search = open_search(settings, indexer, keyring.addresses if keyring else OPEN)
        unloader = stack.enter_context(closing(_unloader(settings)))
        resources = _assemble(
            settings, indexer, recovery, search, indexing_loop, relay_loop, unloader, keyring
        )
        stack.callback(resources.run_executor.stop)
        _check_encoders(resources, is_service=is_service)
        if is_service:
            stack.enter_context(_upkeep(resources))
        yield resources


def _upkeep(resources: Resources) -> AbstractContextManager[None]:
    """Return the block in which the service keeps what it holds besides in order."""
    return open_upkeep_loops(resources.settings, resources.database, resources.suggester)


def _require_one_process(settings: Settings) -> None:
    """Raise StartError where Milvus Lite's file would need two processes."""
    if settings.milvus_server is None and not settings.index_in_process:
        raise StartError(
            "Milvus Lite 的文件只容一个进程：PRODUCT_SEARCH_INDEX_IN_PROCESS=false 需要 Milvus 服务"
        )


def _open_collections(indexer: Indexer, *, is_service: bool, is_alone: bool) -> Recovery:
    """Open the live collections; return what opens them again where they are lost."""
    reopen = partial(
        open_collections, indexer.collections, is_service=is_service, is_alone=is_alone
    )
    reopen()
    return Recovery(indexer.collections, reopen)


def _check_encoders(resources: Resources, *, is_service: bool) -> None:
    """Log the hint; let the service index anew what releases before indexed otherwise."""
    encoders = resources.encoders
    if hint := resources.encoder_hint(encoders):
        log.warning("%s", hint)
    if not is_service:
        return
    if not encoders.is_outdated:
        if resources.database.write(renew_terms):
            log.info("products are indexed anew: their terms are those of another release")
        return
    try:
        resources.database.write(reindex.renew, encoders.name)
    except reindex.ReindexRefused as refused:  # another process does it, or something else first
        log.warning("products are not encoded anew now: %s", refused)


def _release_claims_of_the_dead(database: Database) -> None:
    """Release every claim: who holds Milvus Lite's file is the only service there is."""
    database.write(events.release_all)
    database.write(queue.release_all, set(RunKind) - {RunKind.local_import})


def _indexer(settings: Settings, stores: Stores) -> Indexer:
    policy = events.ClaimPolicy(
        lease=timedelta(seconds=settings.index_lease_s),
        max_attempts=settings.index_max_attempts,
        first_pause=timedelta(seconds=settings.index_retry_delay_s),
    )
    collections = LiveCollections(stores.database, stores.vector_database, EncoderLoader(settings))
    return Indexer(stores.database, stores.images, collections, policy)


def open_search(settings: Settings, indexer: Indexer, addresses: Addresses = OPEN) -> SearchService:
    """Return the search service over the collections that the indexer fills.

    Raises:
        StartError: the synonyms or the active encoders' calibration can't be read.
    """
    calibrations = _calibrations(settings)
    # A damaged file is told at the start.
    calibrations.find(indexer.collections.active().encoders.fingerprint)
    return SearchService(
        database=indexer.database,
        inputs=InputReader(indexer.database, indexer.images, Synonyms(settings.synonyms_path)),
        collections=indexer.collections,
        cursors=Cursors(open_key(settings.data_dir.resolve() / "cursor.key")),
        calibrations=calibrations,
        words=CatalogWords(indexer.database, indexer.vocabulary),
        addresses=addresses,
    )


def _calibrations(settings: Settings) -> Calibrations:
    return Calibrations(settings.calibrations_dir, settings.shipped_calibrations)


def _unloader(settings: Settings) -> IdleUnloader:
    generator = open_generator(
        settings.generation_folder,
        resolve_device(settings.device),
        offload=settings.generation_offload,
        vae_tiling=settings.generation_vae_tiling,
    )
    return IdleUnloader(generator, settings.generation_idle_s)


def _assemble(
    settings: Settings,
    indexer: Indexer,
    recovery: Recovery,
    search: SearchService,
    indexing_loop: Loop,
    relay_loop: Loop | None,
    unloader: IdleUnloader,
    keyring: Keyring | None,
) -> Resources:
    database, label = indexer.database, settings.generation_label
    gate = OutboxGate(database, settings.outbox_max_depth, wake=(relay_loop or indexing_loop).wake)
    catalog = Catalog(database, indexer.images, gate, search.addresses)
    imports = Imports(database, settings.imports_dir, settings.import_max_bytes)
    generations = _generations(settings, indexer, unloader, search.addresses)
    handlers: Mapping[RunKind, Handler] = {
        RunKind.import_: UploadImporter(imports, catalog).handle,
        **_store_handlers(settings, indexer, gate),
        **_insight_handlers(indexer, search),
        RunKind.generate: GenerationHandler(generations, unloader, search, label).handle,
    }
    run_executor = RunExecutor(database, handlers)
    return Resources(
        settings=settings,
        database=database,
        images=indexer.images,
        collections=indexer.collections,
        indexing_loop=indexing_loop,
        recovery=recovery,
        relay_loop=relay_loop,
        catalog=catalog,
        search=search,
        imports=imports,
        generations=generations,
        maps=Maps(database, run_executor.wake, search.addresses),
        suggester=_suggester(settings, search),
        fetcher=_fetcher(settings),
        run_executor=run_executor,
        keyring=keyring,
    )


def _store_handlers(
    settings: Settings, indexer: Indexer, gate: OutboxGate
) -> Mapping[RunKind, Handler]:
    collections = indexer.collections
    reconciler = Reconciler(indexer.database, collections.vector_database, indexer.images, gate)
    return {
        RunKind.reindex: Reindexer(collections, settings.index_batch_size, gate).handle,
        RunKind.doctor: reconciler.handle,
    }


def _insight_handlers(indexer: Indexer, search: SearchService) -> Mapping[RunKind, Handler]:
    database, vectors = indexer.database, indexer.collections.vector_database
    return {
        RunKind.duplicates: DuplicateFinder(database, vectors, indexer.images).handle,
        RunKind.audit: Auditor(database, vectors, search.calibrations.of).handle,
        RunKind.map: MapMaker(database, vectors).handle,
    }


def _generations(
    settings: Settings, indexer: Indexer, unloader: IdleUnloader, addresses: Addresses
) -> Generations:
    return Generations(
        database=indexer.database,
        images=indexer.images,
        generator=unloader.generator,
        previews=settings.previews_dir,
        max_queued=settings.generation_max_queued,
        keep=timedelta(days=settings.generation_keep_days),
        addresses=addresses,
    )


def _suggester(settings: Settings, search: SearchService) -> Suggester:
    popular = PopularQueries(search.database, are_counted=settings.popular_queries)
    return Suggester(search.words, popular)


def _fetcher(settings: Settings) -> Fetcher:
    hosts = tuple(map(Hosts.parse, settings.fetch_hosts))
    return Fetcher(Policy(hosts) if settings.fetch_images else None)


@contextmanager
def open_worker(settings: Settings) -> Iterator[Indexer]:
    """Open what a worker indexes with; the collections are not yet open.

    Raises:
        StartError: Milvus is a file, which the service holds; and as open_resources.
    """
    if settings.milvus_server is None:
        raise StartError(
            "Milvus Lite 的文件只容一个进程，由服务自己建立索引；"
            "要另开 worker，请改用 Milvus 服务（PRODUCT_SEARCH_MILVUS_URI）"
        )
    with open_stores(settings, "worker") as stores:
        yield _indexer(settings, stores)


@contextmanager
def open_reconciler(settings: Settings) -> Iterator[Reconciler]:
    """Open what `manage doctor` checks with: the stores, and no encoder; raise as open_stores."""
    with open_stores(settings, "manage") as stores:
        gate = OutboxGate(stores.database, settings.outbox_max_depth)
        yield Reconciler(stores.database, stores.vector_database, stores.images, gate)


@contextmanager
def open_duplicate_finder(settings: Settings) -> Iterator[DuplicateFinder]:
    """Open what `manage duplicates` searches with: the stores, and no encoder."""
    with open_stores(settings, "manage") as stores:
        yield DuplicateFinder(stores.database, stores.vector_database, stores.images)


@contextmanager
def open_auditor(settings: Settings) -> Iterator[Auditor]:
    """Open what `manage audit` compares with: the stores, and no encoder."""
    with open_stores(settings, "manage") as stores:
        yield Auditor(stores.database, stores.vector_database, _calibrations(settings).find)


def open_catalog(settings: Settings, database: Database) -> Catalog:
    """Return the catalog over an open database, for a process that does not index.

    Raises StartError: the images can't be reached.
    """
    gate = OutboxGate(database, settings.outbox_max_depth)
    return Catalog(database, open_images(settings), gate)
