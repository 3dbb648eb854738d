"""Judged queries with what each leg finds for them, read once: fits and folds are arithmetic."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from data_models import Leg, SearchRequest
from orm_models import Product
from product_search.bootstrap.assemble import Resources
from product_search.evaluation import searches
from product_search.evaluation.measures.ranking import FITS
from product_search.evaluation.sets.queries import Mode, QuerySet, kind_of
from product_search.evaluation.sets.trec import Qrels
from product_search.indexing.collections import OpenCollection
from product_search.search.calibration import Calibration
from product_search.search.fusion import fuse
from product_search.search.listing import list_products
from product_search.search.plan import Plan
from product_search.search.recall import HybridDepth, LegHits, Recall, find, fuse_legs
from product_search.search.search import SearchService
from product_search.search.together import Steps, Stores, embedded, run_together

_TOGETHER = 32  # queries that are embedded and looked up together


@dataclass(frozen=True, eq=False)
class JudgedQuery:
    """A planned query, what each of its legs found, and the products' grades by milvus_id.

    `listed` is all that a query finds which no leg has to look for anything.
    """

    qid: str
    plan: Plan
    hits: LegHits
    grades: Mapping[int, int]
    listed: Recall | None = None

    @property
    def has_match(self) -> bool:
        """Whether any product fits."""
        return max(self.grades.values(), default=0) >= FITS

    @property
    def is_absent(self) -> bool:
        """Whether the query is for what is not sold at all; another model of it may be."""
        return not self.grades and kind_of(self.qid) != "othermodel"

    def by_legs(self, legs: Collection[Leg]) -> JudgedQuery:
        """Return the query as it is with these of its legs alone."""
        weights = {leg: weight for leg, weight in self.plan.legs.items() if leg in legs}
        hits = {leg: found for leg, found in self.hits.items() if leg in legs}
        return replace(self, plan=replace(self.plan, legs=weights), hits=hits)

    def fits(self, recall: Recall) -> NDArray[np.bool_]:
        """Return which of the entities fit."""
        keys = recall.fused.milvus_ids.tolist()
        return np.array([self.grades.get(key, 0) >= FITS for key in keys], bool)

    def recall(self, calibration: Calibration) -> Recall:
        """Return the hits in one order, as a search by this calibration has them."""
        if self.listed is not None:
            return self.listed
        if self.plan.asks_nothing:
            return Recall(fuse([]), {}, None, is_complete=True, line=1.0)
        return fuse_legs(self.plan, self.hits, calibration, is_complete=False)


def read_judged(resources: Resources, of_set: QuerySet, mode: Mode) -> list[JudgedQuery]:
    """Read what the legs of the mode find for each query of the set.

    Raises:
        DatabaseUnavailable, VectorStoreUnavailable: a store is down.
    """
    service = resources.search
    keys = resources.database.read(_fetch_keys)
    found: list[JudgedQuery] = []
    queries = list(of_set.queries.items())
    for start in range(0, len(queries), _TOGETHER):
        steps = [
            _found(service, qid, searches.request(query, mode), _by_key(of_set.qrels, qid, keys))
            for qid, query in queries[start : start + _TOGETHER]
        ]
        found += service.collections.query(_run, service, steps)
    return found


def _by_key(qrels: Qrels, qid: str, keys: Mapping[str, int]) -> dict[int, int]:
    return {keys[sku]: grade for sku, grade in qrels.get(qid, {}).items()}


def _fetch_keys(session: Session) -> dict[str, int]:
    rows = session.execute(select(Product.sku, Product.milvus_id))
    return {sku: milvus_id for sku, milvus_id in rows if sku is not None}


def _run(
    collection: OpenCollection, service: SearchService, steps: Sequence[Steps[JudgedQuery]]
) -> list[JudgedQuery]:
    answers = run_together(Stores(service.database, collection), steps)
    failed = next((one for one in answers if isinstance(one, Exception)), None)
    if failed:
        raise failed
    return [one for one in answers if isinstance(one, JudgedQuery)]


def _found(
    service: SearchService, qid: str, request: SearchRequest, grades: Mapping[int, int]
) -> Steps[JudgedQuery]:
    plan = yield from service.plan(service.inputs.read(request))
    filters = plan.query.request.filters
    if plan.asks_nothing:
        return JudgedQuery(qid, plan, {}, grades)
    if plan.lists_all:
        listed = yield from list_products(service.database, plan, filters, HybridDepth.FIRST)
        return JudgedQuery(qid, plan, {}, grades, listed)
    vectors = yield from embedded(plan)
    (hits,) = yield from find(plan, vectors, filters, [HybridDepth.FIRST])
    return JudgedQuery(qid, plan, hits, grades)
