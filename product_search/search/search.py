"""Search: from a request to a page of products, by plan, embedding, recall, fusion, hydration."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import NamedTuple, ParamSpec, TypeVar

from data_models import (
    Leg,
    SearchFilters,
    SearchMode,
    SearchRequest,
    SearchResponse,
    SearchSort,
    SimilarBy,
    SimilarQuery,
    VectorField,
)
from orm_models import Database, Product
from product_search.access.addresses import OPEN, Addresses
from product_search.batching import Batcher, background, gather
from product_search.catalog.rows import find_by_sku, find_variants
from product_search.errors import (
    AppError,
    ClientGone,
    DatabaseUnavailable,
    Overloaded,
    ProductNotIndexed,
    ProductWithoutImage,
    VectorStoreUnavailable,
)
from product_search.indexing.collections import LiveCollections, OpenCollection
from product_search.milvus.searches import TermSearch
from product_search.search.calibration import Calibration, Calibrations
from product_search.search.cursors import Cursors
from product_search.search.execution import Search
from product_search.search.inputs import InputReader, Query, QueryInputs, Stopwatch, Weighted
from product_search.search.plan import Asked, LegVectors, Plan, Vector, plan_legs
from product_search.search.recall import HybridDepth
from product_search.search.together import (
    Steps,
    Stores,
    embedded,
    looked_up_partly,
    run_alone,
    run_together,
)
from product_search.suggestions.catalog_words import CatalogWords
from product_search.text.spelling import Doubts, find_doubts
from vector_db import EntityCollection

P = ParamSpec("P")
T = TypeVar("T")
# Searches that run together, and how often at a time: while the encoders and the store work for
# some, others are fused and answered (docs/decisions/0021). Those with images have threads of
# their own: they take the longest.
_TOGETHER = 12
_THREADS = {"searches": 3, "image_searches": 2}
_MANY_CHARACTERS = 128  # of the texts of one search
_FEW_IMAGES = 2  # of one search: 8 MB, of which as many wait as there are threads for pictures
_MAX_WAITING = 1000  # a guard: who asks over HTTP waits for a thread before (api.threads)
_PATIENCE_S = 30.0  # to get a turn
_OF_ALL = (DatabaseUnavailable, VectorStoreUnavailable, Overloaded, ClientGone)  # not one query's


class _Waiting(NamedTuple):
    """A query that waits for its turn, since a reading of the clock in seconds."""

    query: Query
    since: float


@dataclass(frozen=True)
class SearchService:
    """Searches the two stores: the vectors for what is near, the database for what it is."""

    database: Database
    inputs: InputReader
    collections: LiveCollections
    cursors: Cursors
    calibrations: Calibrations
    words: CatalogWords
    addresses: Addresses = OPEN

    _queues: Mapping[str, Batcher[_Waiting, SearchResponse | Exception]] = field(init=False)

    def __post_init__(self) -> None:
        """Prepare the queues of searches that run together."""
        queues = {name: self._new_queue(name, threads) for name, threads in _THREADS.items()}
        object.__setattr__(self, "_queues", queues)

    def _new_queue(self, name: str, threads: int) -> Batcher[_Waiting, SearchResponse | Exception]:
        return Batcher(
            name,
            self._answer_all,
            max_cost=_TOGETHER,
            max_waiting=_MAX_WAITING,
            patience_s=_PATIENCE_S,
            threads=threads,
            key=_kind,
        )

    def search(self, request: SearchRequest) -> SearchResponse:
        """Return the products nearest to the query that pass the filters.

        Raises:
            InvalidRequest: the legs don't suit the inputs.
            InvalidImage, ImageTooLarge, ImageTooManyPixels, ImageTooComplex, RegionOutsideImage: of
                an image.
            ProductNotFound, ProductWithoutImage, ImageNotFound: of a product of the query.
            GenerationNotFound, ImageNotFound: of a generated image.
            CursorInvalid, CursorStale: the cursor was not given out for this search.
            NotCalibrated: `min_confidence` is asked for, and there is none.
            DatabaseUnavailable, VectorStoreUnavailable: a store is down.
            Overloaded: it got no turn.
            ClientGone: the client has left before it got one.
        """
        query = self.inputs.read(request)
        self._embed_images(query)
        queue = self._queues["image_searches" if query.has_image else "searches"]
        try:
            with _standing(query):
                tickets = queue.submit([_Waiting(query, time.perf_counter())])
            (answer,) = gather(tickets)
        except TimeoutError as error:
            raise Overloaded(Overloaded.example) from error
        if isinstance(answer, Exception):
            raise answer
        return answer

    def search_batch(self, requests: Sequence[SearchRequest]) -> list[SearchResponse | AppError]:
        """Return the response to each request, or its error; all are encoded together.

        Where the encoders or the vector store are busy, single searches come first.

        Raises:
            DatabaseUnavailable, VectorStoreUnavailable: no request can be answered.
        """
        read = [_result_or_error(self.inputs.read, request) for request in requests]
        queries = [one for one in read if isinstance(one, Query)]
        with background():
            answers = iter(self._search_all(queries))
        return [_own(next(answers)) if isinstance(one, Query) else one for one in read]

    def similar(self, product_id: int, query: SimilarQuery) -> SearchResponse:
        """Return the products nearest to this one, by their stored vectors.

        Without itself, and without the other products of its group.

        Raises:
            ProductNotFound, ProductWithoutImage, ProductNotIndexed: of the product.
            NotCalibrated: `min_confidence` is asked for, and there is none (by title there never
                is).
            DatabaseUnavailable, VectorStoreUnavailable: a store is down.
        """
        product = self.inputs.load_product(product_id)
        return self.collections.query(self._similar, product, query)

    def plan(self, query: Query) -> Steps[Plan]:
        """Return the legs of the query, its spelling corrected where that is sure.

        Only a query of which something may be misspelt costs a search of its own.

        Raises:
            InvalidRequest: the legs don't suit the inputs.
        """
        doubts = self._find_doubts(query)
        if doubts is None:
            return plan_legs(query)
        asked = yield from _ask_for_terms(query)
        if asked is None:
            return plan_legs(query)
        spelling = doubts.settle(asked.hits.terms)
        query = replace(query, offered=spelling.offered)
        if spelling.corrected is None:
            return replace(plan_legs(query), asked=asked)
        return plan_legs(self._corrected(query, spelling.corrected))

    def _embed_images(self, query: Query) -> None:
        """Have the embeddings of many images known, so that none of them waits decoded for a turn.

        A few may wait: searches that are embedded together are cheaper.

        Raises:
            Overloaded: too many wait for the encoder.
            ClientGone: nobody waits for the answer any more.
            VectorStoreUnavailable: no collection, and so no encoder, is active yet.
        """
        images = [one.value for one in query.inputs.images]
        if len(images) <= _FEW_IMAGES:
            return
        encoders = self.collections.active().encoders
        with query.watch.stage("encode"):
            encoders.embed_search((), (), {image.key: image.load for image in images})
        for image in images:
            image.drop()

    def _answer_all(self, waiting: Sequence[_Waiting]) -> list[SearchResponse | Exception]:
        begun = time.perf_counter()
        for one in waiting:
            one.query.watch.add({"wait": 1000 * (begun - one.since)})
        with _standing(waiting[0].query):
            return self._search_all([one.query for one in waiting])

    def _search_all(self, queries: Sequence[Query]) -> list[SearchResponse | Exception]:
        """Return the response to each query, or its error."""

        def run(collection: OpenCollection) -> list[SearchResponse | Exception]:
            stores = Stores(self.database, collection)
            # A second run, in another collection, takes the time anew.
            fresh = [replace(one, watch=one.watch.copy()) for one in queries]
            return run_together(stores, [self._search(collection, one) for one in fresh])

        try:
            answers = self.collections.query(run)
        except DatabaseUnavailable as error:
            return [error] * len(queries)
        except VectorStoreUnavailable as error:
            answers = [error] * len(queries)
        return [
            self._find_by_sku(query, answer)
            if isinstance(answer, VectorStoreUnavailable)
            else answer
            for query, answer in zip(queries, answers, strict=True)
        ]

    def _find_by_sku(
        self, query: Query, error: VectorStoreUnavailable
    ) -> SearchResponse | Exception:
        """Return the product whose sku the query is, without Milvus; else its error."""
        request, inputs = query.request, query.inputs
        is_text = len(inputs.texts) == 1 and not inputs.images and not request.parts
        is_first = not (request.offset or request.cursor)
        if not (request.chosen_mode is SearchMode.hybrid and request.text and is_text and is_first):
            return error
        try:
            key = self.database.read(find_by_sku, request.text.strip())
            if key is None:
                return error
            plan = plan_legs(query)
            listing = replace(plan.without(plan.legs), listed=[key])
            collection = self.collections.last_active()
            return run_alone(Stores(self.database, collection), self._run(collection, listing, {}))
        except AppError as failure:
            return failure

    def _search(self, collection: OpenCollection, query: Query) -> Steps[SearchResponse]:
        plan = yield from self.plan(query)
        vectors = {} if plan.asks_nothing or plan.lists_all else (yield from embedded(plan))
        response = yield from self._run(collection, plan, vectors)
        return response

    def _similar(
        self, collection: OpenCollection, product: Product, query: SimilarQuery
    ) -> SearchResponse:
        watch = Stopwatch()
        with watch.stage("recall"):
            vectors = _stored_vectors(collection.entities, product, query.by)
        request = SearchRequest(
            mode=SearchMode.hybrid if len(vectors) > 1 else SearchMode(next(iter(vectors)).value),
            product_id=product.id,
            top_k=query.top_k,
            filters=query.filters(),
            min_confidence=query.min_confidence,
        )
        inputs = QueryInputs(excluded=frozenset(self.database.read(find_variants, product)))
        plan = Plan(Query(request, inputs, watch), dict.fromkeys(vectors, 1.0))
        fingerprint = collection.encoders.fingerprint
        # Between images the scores are those of a search by the image. Between titles they are
        # not those of a query with titles, which all that was fitted is about.
        is_by_title = Leg.text_to_text in vectors
        calibration = Calibration(fingerprint=fingerprint) if is_by_title else None
        stores = Stores(self.database, collection)
        response = run_alone(stores, self._run(collection, plan, vectors, calibration))
        return response.model_copy(update={"next_cursor": None})  # there are no further pages

    def _run(
        self,
        collection: OpenCollection,
        plan: Plan,
        vectors: LegVectors,
        calibration: Calibration | None = None,
    ) -> Steps[SearchResponse]:
        """Run the plan; the calibration is that of the collection's encoders by default."""
        return Search(
            database=self.database,
            cursors=self.cursors,
            addresses=self.addresses,
            collection=collection,
            calibration=calibration or self.calibrations.of(collection.encoders.fingerprint),
            plan=plan,
            vectors=vectors,
        ).run()

    def _find_doubts(self, query: Query) -> Doubts | None:
        """Return what may be misspelt of a hybrid search by one text alone."""
        request, texts = query.request, query.inputs.texts
        is_alone = len(texts) == 1 and not query.inputs.images
        if request.chosen_mode is not SearchMode.hybrid or not (request.correct and is_alone):
            return None
        text = texts[0].value
        doubts = find_doubts(text, self.inputs.synonyms, self.words.vocabulary)
        return doubts if text.terms else None

    def _corrected(self, query: Query, corrected: str) -> Query:
        (text,) = query.inputs.texts
        inputs = QueryInputs([Weighted(self.inputs.analyse(corrected), text.weight)])
        return replace(query, inputs=inputs, corrected=corrected)


def _ask_for_terms(query: Query) -> Steps[Asked | None]:
    """Look for products that have terms of the query, as BM25's leg begins; None where it fails."""
    search = TermSearch(query.inputs.bm25_terms, HybridDepth.FIRST, query.request.filters)
    (found,) = yield from looked_up_partly([search], query.watch)
    return None if isinstance(found, VectorStoreUnavailable) else Asked(search, found)


def _is_long(query: Query) -> bool:
    """Return whether its texts take the encoders longer than those of several searches."""
    return query.request.text_length > _MANY_CHARACTERS


def _standing(query: Query) -> AbstractContextManager[None]:
    """Return the block in which a search is submitted and run: shorter ones come before long."""
    return background() if _is_long(query) else nullcontext()


def _kind(waiting: _Waiting) -> tuple[SearchMode, bool, bool]:
    """Return what searches must have in common to run together: their mode, and how much it is.

    Nobody waits for another's deep page, facets, filters or long texts.
    """
    request = waiting.query.request
    is_large = bool(request.offset or request.facets or request.cursor or request.explain)
    is_plain = not is_large and request.sort is SearchSort.relevance
    is_plain = is_plain and request.filters == SearchFilters()
    return request.chosen_mode, is_plain, _is_long(waiting.query)


def _own(answer: SearchResponse | Exception) -> SearchResponse | AppError:
    """Return the answer, or the error that is this one query's own; raise any other."""
    is_of_all = isinstance(answer, _OF_ALL)
    if isinstance(answer, Exception) and (is_of_all or not isinstance(answer, AppError)):
        raise answer
    return answer


def _result_or_error(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | AppError:
    """Return `work(*args, **kwargs)`, or the error that is this one query's own."""
    try:
        return work(*args, **kwargs)
    except _OF_ALL:
        raise
    except AppError as error:
        return error


def _stored_vectors(
    entities: EntityCollection, product: Product, by: SimilarBy
) -> dict[Leg, Vector]:
    """Return the product's vectors by the legs that look for them.

    Raises:
        ProductWithoutImage: the image alone is to count, and there is none.
        ProductNotIndexed: the collection does not have the product yet.
    """
    key = product.milvus_id
    if by is SimilarBy.picture and product.image_hash is None:
        raise ProductWithoutImage(f"商品 {product.id} 没有图片，不能用作图片查询")
    images: Mapping[int, Vector] = {}
    if by is not SimilarBy.title and product.image_hash is not None:
        images = entities.vectors(VectorField.image_clip, [key])
    titles = (
        entities.vectors(VectorField.text_bge, [key]) if by is not SimilarBy.picture else images
    )
    if key not in titles:
        raise ProductNotIndexed(f"商品 {product.id} 尚未建立索引，请稍后再试")
    vectors = {Leg.image_to_image: images[key]} if key in images else {}
    return vectors if by is SimilarBy.picture else vectors | {Leg.text_to_text: titles[key]}
