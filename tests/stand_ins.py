"""Parts of a running service, one of them replaced by the test."""

from __future__ import annotations

from nlp_models import EncoderPair
from orm_models import VectorCollection
from product_search.indexing.collections import LiveCollections, OpenCollection
from vector_db import EntityCollection


class StandIn(LiveCollections):
    """The service's active collection, with encoders or entities of the test's own."""

    def __init__(
        self,
        real: LiveCollections,
        encoders: EncoderPair | None = None,
        entities: EntityCollection | None = None,
    ) -> None:
        super().__init__(real.database, real.vector_database, real.encoders)
        active = real.active()
        self._only = OpenCollection(encoders or active.encoders, entities or active.entities)

    def open(self, row: VectorCollection) -> OpenCollection:
        """See LiveCollections."""
        return self._only
