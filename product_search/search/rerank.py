"""Given products in order by how well they fit a query, from their stored vectors."""

from __future__ import annotations

from collections.abc import Sequence

from data_models import (
    Hit,
    Leg,
    RerankRequest,
    RerankResponse,
    SearchFilters,
    SearchMode,
    SearchRequest,
    VectorField,
)
from orm_models import Database, Product, products_by_id
from product_search.indexing.collections import OpenCollection
from product_search.search.execution import Found, shown
from product_search.search.fusion import cosines
from product_search.search.plan import FIELDS, LegVectors, Plan, embed
from product_search.search.recall import Candidate, weigh
from product_search.search.search import Question, SearchService
from vector_db import VectorStore


def rerank_products(
    search: SearchService, request: RerankRequest, image: bytes | None = None
) -> RerankResponse:
    """The products as a hybrid search that finds just these would order them.

    Its legs are computed from what is stored: cosines with the stored vectors, and BM25 among
    these products alone. `image` are the bytes of the query's image where they came beside it.

    Raises:
        InvalidImage, ImageTooLarge, ImageTooManyPixels: of the image.
        DatabaseUnavailable, VectorStoreUnavailable: a store is down.
    """
    fields = {"mode": SearchMode.hybrid, "text": request.text, "image_base64": request.image_base64}
    query = SearchRequest.model_validate(fields, context={"upload": image is not None})
    question = search.ready(query, image)
    with question.watch.stage("hydrate"):
        rows = _rows(search.database, request.product_ids)
    return search.collections.query(_answer, search, question, rows, request.product_ids)


def _rows(database: Database, product_ids: Sequence[int]) -> list[Product]:
    statement = products_by_id(product_ids)
    return list(database.read(lambda session: session.scalars(statement).all()))


def _answer(
    collection: OpenCollection,
    search: SearchService,
    asked: Question,
    rows: Sequence[Product],
    product_ids: Sequence[int],
) -> RerankResponse:
    question, plan = search.planned(collection, asked)
    calibration = search.calibrated(collection.encoders.fingerprint)
    watch = question.watch
    with watch.stage("encode"):
        vectors = embed(collection.encoders, [plan])
    with watch.stage("recall"):
        keys = [row.milvus_id for row in rows]
        indexed = {state.milvus_id for state in collection.store.states(keys)} if keys else set()
        # Words that ask for nothing say nothing of any product, whatever its vectors are.
        keys = [] if plan.asks_nothing else sorted(indexed)
        candidates = weigh(plan, stored_hits(collection.store, plan, vectors, keys), calibration)
    candidates += _unknown(plan, indexed - {one.milvus_id for one in candidates})
    products = {row.milvus_id: row for row in rows}
    hits = shown([Found(one, products[one.milvus_id]) for one in candidates])
    there = {hit.product.product_id for hit in hits}
    return RerankResponse(
        hits=hits,
        total=len(hits),
        missing=[one for one in product_ids if one not in there],
        corrected_query=question.corrected,
        encoder=collection.encoders.name,
        took_ms=watch.took(),
    )


def stored_hits(
    store: VectorStore, plan: Plan, vectors: LegVectors, keys: Sequence[int]
) -> dict[Leg, list[Hit]]:
    """What each leg makes of these entities; an entity without the vector that it needs is not
    among its hits."""
    terms: dict[int, str] = {}
    found: dict[Leg, list[Hit]] = {}
    if Leg.bm25 in plan.legs:
        asked = " ".join(text.terms for text in plan.inputs.wanted_texts).strip()
        hits = (
            store.search_text(asked, len(keys), SearchFilters(), only=keys)
            if asked and keys
            else []
        )
        found[Leg.bm25] = hits
        terms = {hit.milvus_id: hit.terms for hit in hits}
    dense = [leg for leg in plan.legs if leg is not Leg.bm25]
    stored = {field: store.vectors(field, keys) for field in {FIELDS[leg] for leg in dense}}
    for leg in dense:
        field = FIELDS[leg]
        scores = cosines(vectors.of(leg, plan.inputs), list(stored[field].values()))
        # What has none of the query's terms need not say its own: it covers nothing.
        found[leg] = [
            Hit(key, score, field, terms.get(key, ""))
            for key, score in zip(stored[field], scores, strict=True)
        ]
    return found


def _unknown(plan: Plan, keys: set[int]) -> list[Candidate]:
    """Entities that no leg can say anything of: those without an image, of an image; all of
    them, of words that ask for nothing."""
    field: VectorField = FIELDS[next(iter(plan.legs))]
    return [Candidate(key, 0.0, None, field, {}, {}) for key in sorted(keys)]
