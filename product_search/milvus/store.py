"""What a vector store does, whatever is behind it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from product_search.milvus.schema import Entity, EntityState, Vector
from product_search.schemas.filters import SearchFilters
from product_search.schemas.search import Hit, VectorField


class VectorStore(Protocol):
    """Vectors by Milvus primary key, in one open collection.

    Every method raises VectorStoreUnavailable where Milvus does not answer.
    """

    def has_collection(self, name: str) -> bool:
        """Whether the collection exists."""
        ...

    def beside(self) -> VectorStore:
        """The same Milvus, for another collection at the same time; closing either closes both."""
        ...

    def open_collection(self, name: str, dims: dict[VectorField, int]) -> None:
        """Open the collection that later calls use; it is made where there is none."""
        ...

    def drop_collection(self, name: str) -> None:
        """Drop a collection; no error where there is none."""
        ...

    def collections(self) -> list[str]:
        """The names of all collections, other applications' included."""
        ...

    def view(self, name: str) -> VectorStore:
        """The same Milvus with this collection open, which is there; closed with this store."""
        ...

    def upsert(self, entities: Sequence[Entity]) -> None:
        """Write each entity whole, replacing what its primary key held.

        Many go in several messages: after an error some may have been written.
        """
        ...

    def delete(self, milvus_ids: Sequence[int]) -> None:
        """Remove entities; no error for those that are not there."""
        ...

    def search(
        self,
        field: VectorField,
        vector: Vector,
        limit: int,
        filters: SearchFilters,
        *,
        with_terms: bool = False,
    ) -> list[Hit]:
        """The nearest entities that pass the filters, best first; score is the cosine."""
        ...

    def search_text(
        self,
        terms: str,
        limit: int,
        filters: SearchFilters,
        *,
        only: Sequence[int] | None = None,
    ) -> list[Hit]:
        """The best entities by BM25 for these terms, parted by spaces; score is above 0.

        Their terms come with them. `only` are the entities to look at, at most MAX_LIMIT.
        """
        ...

    def count(self) -> int:
        """How many entities the collection holds."""
        ...

    def scan(self, after: int, limit: int) -> list[EntityState]:
        """The entities with the smallest keys above `after`, in the order of their keys.

        From -1 on, each time after the last key that came, this walks the whole collection.
        """
        ...

    def states(self, milvus_ids: Sequence[int]) -> list[EntityState]:
        """Those of these entities that are there, in no order; at most MAX_LIMIT are asked for."""
        ...

    def vectors(self, field: VectorField, milvus_ids: Sequence[int]) -> dict[int, Vector]:
        """The stored vectors of these entities that have one in this field, by key."""
        ...

    def ping(self) -> None:
        """Raise where Milvus does not answer, or no longer holds the collection."""
        ...

    def close(self) -> None:
        """Let go of Milvus."""
        ...
