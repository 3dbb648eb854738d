"""Parts of a running service, one of them replaced by the test."""

from __future__ import annotations

from nlp_models import EncoderPair
from orm_models import VectorCollection
from product_search.indexing.collections import LiveCollections, OpenCollection
from vector_db import VectorStore


class StandIn(LiveCollections):
    """The service's active collection, with encoders or a store of the test's own."""

    def __init__(
        self,
        real: LiveCollections,
        encoders: EncoderPair | None = None,
        store: VectorStore | None = None,
    ) -> None:
        super().__init__(real.database, real.store, real.encoders)
        active = real.active()
        self._only = OpenCollection(encoders or active.encoders, store or active.store)

    def open(self, row: VectorCollection) -> OpenCollection:
        """See LiveCollections."""
        return self._only
