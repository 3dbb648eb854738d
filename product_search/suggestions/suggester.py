"""Suggestions for what was typed so far, from the catalog and from popular queries together."""

from __future__ import annotations

from dataclasses import dataclass

from data_models import Suggestion, SuggestionKind, SuggestQuery, SuggestResponse
from product_search.suggestions.catalog_words import CatalogWords
from product_search.suggestions.popular_queries import PopularQueries
from product_search.suggestions.prefix_index import Found
from product_search.text.phrases import compact, pinyin, words_of

_KINDS = list(SuggestionKind)


@dataclass(frozen=True)
class Suggester:
    """Completes what is typed; all that it looks at is in memory."""

    words: CatalogWords
    popular: PopularQueries

    def suggest(self, query: SuggestQuery) -> SuggestResponse:
        """Return what begins as was typed, each text once, the best first.

        Where nothing is written so, what sounds so is suggested: wrong homophones, and Chinese
        characters with pinyin after them.
        """
        typed = compact(query.q)
        if query.q.strip() and not typed:
            return SuggestResponse(suggestions=[])
        found = self._find(typed, query.limit)
        if not found and (sounds := pinyin(words_of(query.q))):
            found = self._find(sounds.whole, query.limit)
        best = sorted(found, key=lambda one: -one.weight)[: query.limit]
        return SuggestResponse(
            suggestions=[
                Suggestion(text=one.text, kind=one.kind, products=one.products) for one in best
            ]
        )

    def _find(self, typed: str, limit: int) -> list[Found]:
        catalog = self.words.suggestions
        merged = {compact(found.text): found for found in catalog.find(typed, limit)}
        for found in self.popular.suggestions.find(typed, limit):
            key = compact(found.text)
            same = merged.get(key) or catalog.get(key)
            merged[key] = _merge(same, found) if same else found
        return list(merged.values())


def _merge(catalogs: Found, popular: Found) -> Found:
    """Return what the catalog and people have in common, as the catalog writes it."""
    kind = min((catalogs.kind, popular.kind), key=_KINDS.index)
    return catalogs._replace(kind=kind, weight=max(catalogs.weight, popular.weight))
