"""Products like a given one, by the vectors that are stored of it: nothing is encoded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from data_models import (
    Leg,
    SearchMode,
    SearchRequest,
    SearchResponse,
    SimilarBy,
    SimilarQuery,
    VectorField,
)
from orm_models import Product
from product_search.errors import ProductNotIndexed, ProductWithoutImage
from product_search.indexing.collections import OpenCollection
from product_search.search.calibration import Calibration
from product_search.search.execution import Stopwatch
from product_search.search.plan import Plan, QueryInputs, Vector
from product_search.search.search import Question, SearchService
from vector_db import VectorStore


@dataclass(frozen=True)
class _Stored:
    """What the legs look for: the product's own vectors."""

    vectors: Mapping[Leg, Vector]

    def of(self, leg: Leg, _inputs: QueryInputs) -> Vector:
        """See LegVectors."""
        return self.vectors[leg]


def similar_products(search: SearchService, product_id: int, query: SimilarQuery) -> SearchResponse:
    """The products nearest to this one, which is not among them.

    Raises:
        ProductNotFound, ProductWithoutImage, ProductNotIndexed: it can't be gone by.
        NotCalibrated: `min_confidence` is asked for, and there is none (by title there never is).
        DatabaseUnavailable, VectorStoreUnavailable: a store is down.
    """
    product = search.inputs.product(product_id)
    return search.collections.query(_answer, search, product, query)


def _answer(
    collection: OpenCollection, search: SearchService, product: Product, query: SimilarQuery
) -> SearchResponse:
    watch = Stopwatch()
    with watch.stage("recall"):
        vectors = _vectors(collection.store, product, query.by)
    legs = list(vectors)
    request = SearchRequest(
        mode=SearchMode.hybrid if len(legs) > 1 else SearchMode(legs[0].value),
        product_id=product.id,
        top_k=query.top_k,
        filters=query.filters(),
        min_confidence=query.min_confidence,
    )
    plan = Plan(
        mode=request.chosen_mode,
        inputs=QueryInputs(unwanted=frozenset({product.milvus_id})),
        legs=dict.fromkeys(legs, 1.0),
    )
    question = Question(request, plan.inputs, "", watch)
    calibration = _that_holds(search.calibrated(collection.encoders.fingerprint), vectors)
    opened = search.opened(collection, calibration, question, plan, _Stored(vectors))
    return opened.answer().model_copy(update={"next_cursor": None})  # there are no further pages


def _that_holds(calibration: Calibration, vectors: Mapping[Leg, Vector]) -> Calibration:
    """Between images the scores are those of a search by the image. Between titles they are
    not those of a query with titles, which all that was fitted is about."""
    if Leg.text_to_text in vectors:
        return Calibration(fingerprint=calibration.fingerprint)
    return calibration


def _vectors(store: VectorStore, product: Product, by: SimilarBy) -> dict[Leg, Vector]:
    """Raises ProductWithoutImage, ProductNotIndexed."""
    key = product.milvus_id
    if by is SimilarBy.picture and product.image_hash is None:
        raise ProductWithoutImage(f"商品 {product.id} 没有图片，不能用作图片查询")
    pictures: Mapping[int, Vector] = {}
    if by is not SimilarBy.title and product.image_hash is not None:
        pictures = store.vectors(VectorField.image_clip, [key])
    titles = store.vectors(VectorField.text_bge, [key]) if by is not SimilarBy.picture else pictures
    if key not in titles:
        raise ProductNotIndexed(f"商品 {product.id} 尚未建立索引，请稍后再试")
    found = {Leg.image_to_image: pictures[key]} if key in pictures else {}
    return found if by is SimilarBy.picture else found | {Leg.text_to_text: titles[key]}
