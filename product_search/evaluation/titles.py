"""`python -m product_search.evaluation.titles`: how often a suggested title is right."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from data_models import ProductListQuery, ProductOut, TitlesRequest, TitleSuggestion
from product_search.bootstrap.assemble import Resources
from product_search.catalog.products import Catalog
from product_search.evaluation import command, searches
from product_search.evaluation.measures.ranking import FITS
from product_search.evaluation.sets import queries, trec
from product_search.evaluation.sets.queries import HALVES, half_of, kind_of
from product_search.search.titles import suggest_titles
from product_search.settings import load_settings

LINES = (0.02, 0.03, 0.05, 0.07, 0.1)  # the tuning half chooses among them


def main() -> int:
    """Return 0; 2 after an error, whose reason is logged."""
    return command.run("evaluation.titles", _add_arguments, _measure)


def _measure(options: argparse.Namespace) -> int:
    with searches.open_catalog(load_settings(), options.catalog) as resources:
        cases = list(_product_cases(resources))
        if options.pictures:
            cases += _image_cases(resources, options.pictures, options.photos)
        for line in LINES:
            _report(resources, cases, line)
    return 0


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--catalogue", dest="catalog", type=Path, required=True, help="临时导入的商品文件"
    )
    command.add_images(parser)


@dataclass(frozen=True)
class _Case:
    """An image and the products of its kind; where there are none, no suggestion is right."""

    qid: str
    request: TitlesRequest
    products: Sequence[ProductOut]


def _product_cases(resources: Resources) -> Iterator[_Case]:
    """Yield each product's image, whose own title is left out of the neighbours."""
    for product in _products(resources.catalog):
        if product.image_url is not None:
            request = TitlesRequest(product_id=product.product_id)
            yield _Case(f"product-{product.product_id}", request, [product])


def _image_cases(resources: Resources, folder: Path, photos: Path) -> Iterator[_Case]:
    """Yield the image queries with the products that fit."""
    qrels = trec.read_qrels(folder / "qrels.txt")
    ids = searches.product_ids(resources.database)
    for qid, query in queries.read_image_queries(folder / "queries.tsv", photos).items():
        request = TitlesRequest(image=query.content)
        graded = qrels.get(qid, {}).items()
        products = [resources.catalog.get(ids[sku]) for sku, grade in graded if grade >= FITS]
        yield _Case(qid, request, products)


def _report(resources: Resources, cases: Sequence[_Case], line: float) -> None:
    """Print how many suggestions this line makes and how many are right, by half and kind."""
    counts: dict[tuple[str, str], Counter[str]] = {}
    for case in cases:
        suggestion = suggest_titles(resources.search, case.request, line).suggestion
        key = half_of(case.qid), kind_of(case.qid)
        counts.setdefault(key, Counter())[_verdict(suggestion, case.products)] += 1
    for half in HALVES:
        parts = [
            f"{kind} {count.total()}: {count['right'] + count['wrong']} suggested,"
            f" {count['right']} right"
            for (of, kind), count in counts.items()
            if of == half
        ]
        sys.stdout.write(f"line {line}, {half} half: {'; '.join(parts)}\n")


def _verdict(suggestion: TitleSuggestion | None, products: Iterable[ProductOut]) -> str:
    """Return `right` for a fitting product's category or a first word of its title."""
    if suggestion is None:
        return "none"
    is_right = any(
        suggestion.category == product.category
        or any(word in product.title for word in suggestion.words[:1])
        for product in products
    )
    return "right" if is_right else "wrong"


def _products(catalog: Catalog) -> Iterable[ProductOut]:
    last = 0
    while page := catalog.list(ProductListQuery(after_id=last, page_size=100)).items:
        yield from page
        last = page[-1].product_id


if __name__ == "__main__":
    sys.exit(main())
