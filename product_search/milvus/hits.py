"""What a search of a collection finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from product_search.schemas.search import VectorField


class Hit(NamedTuple):
    """What recall gives for one entity; a higher score is nearer.

    `terms` are those that BM25 sees of the product, where they were asked for.
    """

    milvus_id: int
    score: float
    field: VectorField
    terms: str = ""


@dataclass(frozen=True, eq=False)
class Hits(Sequence[Hit]):
    """The hits of one search, best first, column by column: few of them are looked at one by one.

    `terms` are empty texts where none were asked for.
    """

    field: VectorField
    milvus_ids: NDArray[np.int64]
    scores: NDArray[np.float64]
    terms: Sequence[str]

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.milvus_ids)

    @overload
    def __getitem__(self, place: int) -> Hit: ...
    @overload
    def __getitem__(self, place: slice) -> list[Hit]: ...
    def __getitem__(self, place: int | slice) -> Hit | list[Hit]:
        """Return the hit at a place, or those at some."""
        if isinstance(place, slice):
            return [self[one] for one in range(*place.indices(len(self)))]
        key, score = int(self.milvus_ids[place]), float(self.scores[place])
        return Hit(key, score, self.field, self.terms[place])
