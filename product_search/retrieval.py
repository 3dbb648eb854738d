"""From query to hits: choose the leg, embed, recall from Milvus, hydrate from the database."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data_models import (
    Hit,
    SearchHit,
    SearchMode,
    SearchRequest,
    SearchResponse,
    TookMs,
    VectorField,
)
from nlp_models import EncoderPair
from orm_models import Database, Product, matching, products_by_milvus_id
from product_search.errors import ProductNotFound, ProductWithoutImage, VectorStoreUnavailable
from product_search.filtering import passes
from product_search.images import ImageStore, decode
from product_search.live_collections import LiveCollections, OpenCollection
from vector_db import MAX_LIMIT, VectorStore

# How many entities are recalled: more than a page needs, since some may have lost their row
# meanwhile, and in few sizes, since Milvus orders equal scores otherwise for each size.
_LIMITS = (64, 256, 1024, 4096, MAX_LIMIT)

LEGS: dict[SearchMode, VectorField] = {
    SearchMode.image_to_image: VectorField.image_clip,
    SearchMode.text_to_text: VectorField.text_bge,
    SearchMode.image_to_text: VectorField.text_clip,
    SearchMode.text_to_image: VectorField.image_clip,
}


@dataclass
class _Stopwatch:
    """Milliseconds by stage."""

    stages: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            spent = 1000 * (time.perf_counter() - start)
            self.stages[name] = self.stages.get(name, 0.0) + spent

    def took(self) -> TookMs:
        rounded = {name: round(spent, 2) for name, spent in self.stages.items()}
        return TookMs(**{"decode": 0.0, **rounded})


@dataclass(frozen=True)
class Retrieval:
    """Answers searches from the two stores."""

    database: Database
    images: ImageStore
    collections: LiveCollections

    def search(
        self, request: SearchRequest, read_image: Callable[[], bytes | None]
    ) -> SearchResponse:
        """The products nearest to the query that pass the filters.

        `read_image` gives the bytes of the query's picture; None where the request has none.

        Raises:
            InvalidImage, ImageTooLarge, ImageTooManyPixels: of the query's picture.
            ProductNotFound, ProductWithoutImage, ImageNotFound: of the product that is the query.
            DatabaseUnavailable, VectorStoreUnavailable: a store is down.
        """
        watch = _Stopwatch()
        with watch.stage("total"):
            with watch.stage("decode"):
                query = self._query(request, read_image)
            collection = self.collections.active()
            try:
                found, dropped = self._find(collection, request, query, watch)
            except VectorStoreUnavailable:
                before, collection = collection, self.collections.refresh()
                if collection is before:
                    raise
                found, dropped = self._find(collection, request, query, watch)
            page = found[request.offset : request.offset + request.top_k]
        return SearchResponse(
            mode=request.mode,
            hits=[
                SearchHit(
                    rank=request.offset + place,
                    score=hit.score,
                    matched_field=hit.field,
                    product=product.to_out(),
                )
                for place, (hit, product) in enumerate(page, start=1)
            ],
            encoder=collection.encoders.name,
            dropped=dropped,
            took_ms=watch.took(),
        )

    def _query(
        self, request: SearchRequest, read_image: Callable[[], bytes | None]
    ) -> str | Image.Image:
        if request.product_id is not None:
            return self._query_of_product(request.product_id, request.mode)
        if request.text is not None:
            return request.text
        content = read_image()
        assert content is not None, "SearchRequest has checked that its mode has its input"
        return decode(content)

    def _query_of_product(self, product_id: int, mode: SearchMode) -> str | Image.Image:
        product = self.database.read(lambda session: session.get(Product, product_id))
        if product is None:
            raise ProductNotFound(f"商品 {product_id} 不存在")
        if mode.takes_text:
            return product.title
        if product.image_hash is None:
            raise ProductWithoutImage(f"商品 {product_id} 没有图片，不能用作图片查询")
        return self.images.load(product.image_hash)

    def _find(
        self,
        collection: OpenCollection,
        request: SearchRequest,
        query: str | Image.Image,
        watch: _Stopwatch,
    ) -> tuple[list[tuple[Hit, Product]], int]:
        """The collection is searched with a vector of its own encoders, whatever becomes active."""
        with watch.stage("encode"):
            vector = _embed(collection.encoders, request.mode, query)
        return self._recall(collection.store, request, vector, watch)

    def _recall(
        self,
        store: VectorStore,
        request: SearchRequest,
        vector: NDArray[np.float32],
        watch: _Stopwatch,
    ) -> tuple[list[tuple[Hit, Product]], int]:
        """Enough hits for the page, best first, and how many were dropped on the way.

        Equal scores are ordered by key. Among those of the page none may be missing from the
        recall, or another page would order them otherwise.
        """
        wanted = request.offset + request.top_k
        found: list[tuple[Hit, Product]] = []
        dropped = 0
        for limit in (size for size in _LIMITS if size > wanted):
            with watch.stage("recall"):
                hits = store.search(LEGS[request.mode], vector, limit, request.filters)
            hits.sort(key=lambda hit: (-hit.score, hit.milvus_id))
            with watch.stage("hydrate"):
                found = self._hydrate(hits, request)
            dropped = len(hits) - len(found)
            if len(hits) < limit:
                break
            if len(found) >= wanted and found[wanted - 1][0].score > hits[-1].score:
                break
        return found, dropped

    def _hydrate(self, hits: list[Hit], request: SearchRequest) -> list[tuple[Hit, Product]]:
        """The hits whose row exists and, as it is now, meets the filters; order kept."""
        conditions = matching(request.filters)
        if LEGS[request.mode] is VectorField.image_clip:
            conditions.append(Product.image_hash.is_not(None))
        statement = products_by_milvus_id([hit.milvus_id for hit in hits], *conditions)
        products = self.database.read(lambda session: session.scalars(statement).all())
        rows = {
            product.milvus_id: product
            for product in products
            if passes(product.attributes, request.filters)
        }
        return [(hit, rows[hit.milvus_id]) for hit in hits if hit.milvus_id in rows]


def _embed(
    encoders: EncoderPair, mode: SearchMode, query: str | Image.Image
) -> NDArray[np.float32]:
    if isinstance(query, Image.Image):
        vectors = encoders.image_text.encode_images([query])
    elif mode is SearchMode.text_to_text:
        vectors = encoders.text.encode_queries([query])
    else:
        vectors = encoders.image_text.encode_texts([query])
    return np.asarray(vectors[0])
