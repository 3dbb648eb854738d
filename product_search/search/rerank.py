"""Rerank: given products in order by how well they fit a query, from their stored vectors."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from data_models import (
    Leg,
    RerankRequest,
    RerankResponse,
    SearchFilters,
    SearchMode,
    SearchRequest,
)
from orm_models import ProductRow, products_by_id
from product_search.indexing.collections import OpenCollection
from product_search.milvus.hits import Hits
from product_search.search.execution import to_search_hits
from product_search.search.fusion import cosines
from product_search.search.hydration import HydratedHit
from product_search.search.inputs import Query
from product_search.search.plan import FIELDS, LegVectors, Plan, embed
from product_search.search.recall import RecalledHit, fuse_legs, no_hits
from product_search.search.search import SearchService
from product_search.search.together import Stores, run_alone
from vector_db import EntityCollection


def rerank_products(search: SearchService, request: RerankRequest) -> RerankResponse:
    """Return the products as a hybrid search that finds just these would order them.

    Its legs are computed from what is stored: cosines with the stored vectors, and BM25 among
    these products alone.

    Raises:
        InvalidImage, ImageTooLarge, ImageTooManyPixels, ImageTooComplex: of the image.
        DatabaseUnavailable, VectorStoreUnavailable: a store is down.
    """
    given = {name: value for name, value in request if value is not None}
    del given["product_ids"]
    # The products are given: a price in the text leaves none of them out.
    fixed = {"mode": SearchMode.hybrid, "understand": {"price": False}}
    query = search.inputs.read(SearchRequest.model_validate(fixed | given))
    with query.watch.stage("hydrate"):
        products = search.database.read(products_by_id, request.product_ids)
    return search.collections.query(_rerank, search, query, products, request.product_ids)


def _rerank(
    collection: OpenCollection,
    search: SearchService,
    query: Query,
    products: Sequence[ProductRow],
    product_ids: Sequence[int],
) -> RerankResponse:
    plan = run_alone(Stores(search.database, collection), search.plan(query))
    with query.watch.stage("encode"):
        (vectors,) = embed(collection.encoders, [plan])
    rows = {product.milvus_id: product for product in products}
    with query.watch.stage("recall"):
        states = collection.entities.states(list(rows)) if rows else []
        indexed = {state.milvus_id for state in states}
        # Words that ask for nothing say nothing of any product, whatever its vectors are.
        keys = [] if plan.asks_nothing else sorted(indexed)
        leg_hits = _leg_hits(collection.entities, plan, vectors, keys)
    with query.watch.stage("fuse"):
        calibration = search.calibrations.of(collection.encoders.fingerprint)
        found = fuse_legs(plan, leg_hits, calibration, is_complete=True)
        recalled = [found.hit(place) for place in range(len(found.fused.milvus_ids))]
    recalled += _unranked_hits(plan, indexed - {hit.milvus_id for hit in recalled})
    hydrated = [HydratedHit(hit, rows[hit.milvus_id]) for hit in recalled]
    hits = to_search_hits(hydrated, search.addresses)
    ranked = {hit.product.product_id for hit in hits}
    return RerankResponse(
        hits=hits,
        total=len(hits),
        missing=[product_id for product_id in product_ids if product_id not in ranked],
        corrected_query=plan.query.corrected,
        encoder=collection.encoders.name,
        took_ms=query.watch.finish("rerank"),
    )


def _leg_hits(
    entities: EntityCollection, plan: Plan, vectors: LegVectors, keys: Sequence[int]
) -> dict[Leg, Hits]:
    """Return how each leg scores these entities; one without the leg's vector is no hit of it."""
    terms: dict[int, str] = {}
    leg_hits: dict[Leg, Hits] = {}
    if Leg.bm25 in plan.legs:
        wanted = plan.inputs.bm25_terms
        hits = no_hits(Leg.bm25)
        if wanted and keys:
            hits = entities.search_text(wanted, len(keys), SearchFilters(), only=keys)
        leg_hits[Leg.bm25] = hits
        terms = {hit.milvus_id: hit.terms for hit in hits}
    stored = {field: entities.vectors(field, keys) for field in {FIELDS[leg] for leg in vectors}}
    for leg, vector in vectors.items():
        of_field = stored[FIELDS[leg]]
        leg_hits[leg] = Hits(
            FIELDS[leg],
            np.array(list(of_field), np.int64),
            np.array(cosines(vector, list(of_field.values())), np.float64),
            # What has none of the query's terms need not say its own: it covers nothing.
            [terms.get(key, "") for key in of_field],
        )
    return leg_hits


def _unranked_hits(plan: Plan, keys: Collection[int]) -> list[RecalledHit]:
    """Return the entities that no leg can score, by key: of an image those without one."""
    field = FIELDS[next(iter(plan.legs))]
    return [RecalledHit(key, 0.0, None, field, {}, {}) for key in sorted(keys)]
