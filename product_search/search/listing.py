"""A search with nothing to look for: the products that pass its filters, listed as they are."""

from __future__ import annotations

from collections.abc import Sequence, Set

import numpy as np

from data_models import Leg, ListSort, SearchFilters, SearchSort
from orm_models import Database, filter_conditions
from product_search.catalog.listing import listed_milvus_ids
from product_search.milvus.searches import TermSearch
from product_search.search.fusion import as_listed
from product_search.search.plan import Plan
from product_search.search.recall import Recall, unwanted_entities
from product_search.search.together import Steps, looked_up

_ORDERS = {
    SearchSort.relevance: ListSort.newest,  # nothing is nearer to a query that asks for all
    SearchSort.newest: ListSort.newest,
    SearchSort.price_asc: ListSort.price_asc,
    SearchSort.price_desc: ListSort.price_desc,
}


def list_products(
    database: Database, plan: Plan, filters: SearchFilters, limit: int
) -> Steps[Recall]:
    """Return up to `limit` products in the order that the request asks for, without confidences.

    The order is the database's, which has all of them. Conditions on attributes are left to
    hydration.

    Raises:
        DatabaseUnavailable: the database does not answer.
    """
    watch, sort = plan.query.watch, plan.query.request.sort
    conditions = filter_conditions(filters)
    with watch.stage("recall"):
        keys = plan.listed
        if keys is None:
            keys = database.read(listed_milvus_ids, conditions, _ORDERS[sort], limit)
    unwanted = yield from _unwanted(plan, keys)
    listed = as_listed(np.array([key for key in keys if key not in unwanted], np.int64))
    is_complete = len(keys) < limit
    return Recall(listed, {}, None, is_complete, len(unwanted), failed=plan.failed)


def _unwanted(plan: Plan, keys: Sequence[int]) -> Steps[Set[int]]:
    """Return which of these the query excludes, or whose terms say what it does not want."""
    terms = " ".join(text.terms for text in plan.inputs.unwanted_texts).strip()
    if not terms or not keys:
        return plan.inputs.excluded.intersection(keys)
    search = TermSearch(terms, len(keys), SearchFilters(), only=keys)
    (hits,) = yield from looked_up([search], plan.query.watch)
    return unwanted_entities(plan, {Leg.bm25: hits}).intersection(keys)
