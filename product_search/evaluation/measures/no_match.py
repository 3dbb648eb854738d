"""How well "no match" is told: of queries that nothing fits, and of those that something does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from product_search.evaluation import searches
from product_search.evaluation.sets.queries import Asked, Way
from product_search.evaluation.sets.trec import Qrels
from product_search.search.search import SearchService


@dataclass(frozen=True)
class NoMatch:
    """Query ids: `told` were answered with no match, `true` are those that nothing fits."""

    told: frozenset[str]
    true: frozenset[str]

    @property
    def precision(self) -> float:
        """The share of what was told that is true."""
        return len(self.told & self.true) / len(self.told) if self.told else 1.0

    @property
    def recall(self) -> float:
        """The share of what is true that was told."""
        return len(self.told & self.true) / len(self.true) if self.true else 1.0


def tell(
    retrieval: SearchService, questions: Mapping[str, Asked], qrels: Qrels, way: Way
) -> NoMatch:
    """The answers to all questions, by the line that was calibrated."""
    told = {
        qid
        for qid, asked in questions.items()
        if searches.ask(retrieval, asked, way, min_confidence=None).no_match
    }
    return NoMatch(frozenset(told), frozenset(questions.keys() - qrels.keys()))
