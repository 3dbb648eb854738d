"""Catalogues with judged queries, each read once: what is fitted on some is measured on another."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from data_models import Leg, SearchMode
from product_search.bootstrap.assemble import Resources
from product_search.evaluation import searches
from product_search.evaluation.judged import JudgedQuery, read_judged
from product_search.evaluation.measures import pairs
from product_search.evaluation.sets import queries, shops, trec
from product_search.evaluation.sets.queries import Query, QuerySet, half_of
from product_search.settings import ROOT, Settings

SETS = ROOT / "tests" / "relevance"
CATALOG = ROOT / "sample_data" / "catalog.csv"
SAMPLE = "sample"  # the name of the sample catalogue among the others
_HYBRID = {"mode": SearchMode.hybrid}
_DENSE_TEXTS = (Leg.text_to_text, Leg.text_to_image)


@dataclass(frozen=True, eq=False)
class JudgedCatalog:
    """A catalogue's judged queries.

    `texts` are those of hybrid searches, `composed` those with pictures too, `alone` those of a
    single leg's mode, `pairs` pictures with titles that are their own or not, in two halves.
    """

    name: str
    fingerprint: str  # of the encoders
    texts: Sequence[JudgedQuery]
    alone: Mapping[Leg, Sequence[JudgedQuery]]
    composed: Sequence[JudgedQuery] = ()
    pairs: Sequence[Sequence[pairs.Pair]] = field(default_factory=list)

    def half(self, half: queries.Half) -> JudgedCatalog:
        """Return the catalogue with the queries of this half."""

        def of_half(some: Sequence[JudgedQuery]) -> list[JudgedQuery]:
            return [one for one in some if half_of(one.qid) == half]

        alone = {leg: of_half(some) for leg, some in self.alone.items()}
        texts, composed = of_half(self.texts), of_half(self.composed)
        return replace(self, texts=texts, alone=alone, composed=composed)

    def by_legs(self) -> Iterator[tuple[frozenset[Leg], Sequence[JudgedQuery]]]:
        """Yield the queries for every choice of legs that searches can make of them."""
        yield from ((frozenset({leg}), some) for leg, some in self.alone.items())
        for chosen in _choices(queries.TEXT_LEGS):
            if len(chosen) > 1 or Leg.bm25 in chosen:
                yield chosen, [one.by_legs(chosen) for one in self.texts]
        for chosen in _choices(queries.TEXT_LEGS) if self.composed else ():
            legs = chosen | {Leg.image_to_image}
            yield legs, [one.by_legs(legs) for one in self.composed]


def _choices(legs: Sequence[Leg]) -> Iterator[frozenset[Leg]]:
    """Yield every choice of at least one leg."""
    for count in range(1, len(legs) + 1):
        yield from map(frozenset, itertools.combinations(legs, count))


def read_shop(settings: Settings, name: str) -> JudgedCatalog:
    """Import a shop into a folder of its own, and read what its queries find.

    Raises as open_catalog; StartError.
    """
    shop = shops.read_shop(name)
    with searches.open_catalog(settings, shop.catalog, shops.IMAGES_DIR) as resources:
        return _judged(name, resources, QuerySet(shop.queries, shop.qrels, {}))


def read_sample(resources: Resources, photos: Path) -> JudgedCatalog:
    """Read what the sample catalogue's queries find: texts, pictures, and both together.

    Raises:
        StartError: a query set can't be read.
        DatabaseUnavailable, VectorStoreUnavailable: a store is down.
    """
    of_texts = _query_set("catalog", queries.read_text_queries(SETS / "catalog" / "queries.tsv"))
    catalog = _judged(SAMPLE, resources, of_texts)
    ids = searches.product_ids(resources.database)
    composed = queries.read_composed_queries(SETS / "composed" / "queries.jsonl", ids)
    mixed = {qid: query for qid, query in composed.items() if _is_mixed(query)}
    images = queries.read_image_queries(SETS / "images" / "queries.tsv", photos)
    of_images = {
        Leg(name): read_judged(resources, _query_set("images", images), mode)
        for name, mode in queries.IMAGE_MODES.items()
    }
    return replace(
        catalog,
        alone={**catalog.alone, **of_images},
        composed=read_judged(resources, _query_set("composed", mixed), _HYBRID),
        pairs=[pairs.read_pairs(resources, half) for half in (0, 1)],
    )


def _query_set(name: str, of_set: queries.Queries) -> QuerySet:
    return QuerySet(of_set, trec.read_qrels(SETS / name / "qrels.txt"), {})


def _judged(name: str, resources: Resources, of_set: QuerySet) -> JudgedCatalog:
    return JudgedCatalog(
        name,
        resources.encoders.fingerprint,
        texts=read_judged(resources, of_set, _HYBRID),
        alone={leg: read_judged(resources, of_set, {"mode": leg.value}) for leg in _DENSE_TEXTS},
    )


def _is_mixed(query: Query) -> bool:
    """Return whether texts and images are wanted; else its features are those of another set."""
    wanted = [part for part in query.fields["parts"] if part["weight"] > 0]
    return any("text" in part for part in wanted) and any("text" not in part for part in wanted)
