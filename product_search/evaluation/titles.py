"""Door: `python -m product_search.evaluation.titles`, how often a suggested title is right."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from data_models import ProductListQuery, ProductOut, TitlesRequest, TitleSuggestion
from product_search.catalog import Catalog
from product_search.evaluation import asked, doors, runner, trec
from product_search.evaluation.halves import kind_of
from product_search.resources import Resources
from product_search.settings import load_settings
from product_search.titles import titles

_FITS = 2  # the grade from which a product is of the kind that a photo shows


def main() -> int:
    """0; 2 where it can't be done, with the reason."""
    return doors.run("evaluation.titles", _add_arguments, _count)


def _count(options: argparse.Namespace) -> int:
    with runner.catalogue(load_settings(), options.catalogue) as resources:
        counts = {"products": left_out(resources)}
        if options.pictures:
            counts |= photos(resources, options.pictures, options.photos)
    for name, count in counts.items():
        given = count["right"] + count["wrong"]
        sys.stdout.write(f"{name}: {count.total()}, suggestions {given}, right {count['right']}\n")
    return 0


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--catalogue", type=Path, required=True, help="临时导入的商品文件")
    doors.add_pictures(parser)


def left_out(resources: Resources) -> Counter[str]:
    """Of each product's picture, without its own title."""
    counts: Counter[str] = Counter()
    for product in _products(resources.catalog):
        if product.image_url is not None:
            request = TitlesRequest(product_id=product.product_id)
            found = titles(resources.retrieval, request, None).suggestion
            counts[_judged(found, [product])] += 1
    return counts


def photos(resources: Resources, folder: Path, files: Path) -> Mapping[str, Counter[str]]:
    """Of pictures with judged products, by kind; where none fits, any suggestion is wrong."""
    qrels = trec.read_qrels(folder / "qrels.txt")
    ids = runner.product_ids(resources.database)
    counts: dict[str, Counter[str]] = {}
    for qid, question in asked.pictures(folder / "queries.tsv", files).items():
        request = TitlesRequest.model_validate({}, context={"upload": True})
        found = titles(resources.retrieval, request, question.content).suggestion
        graded = qrels.get(qid, {}).items()
        fits = [resources.catalog.get(ids[sku]) for sku, grade in graded if grade >= _FITS]
        counts.setdefault(kind_of(qid), Counter())[_judged(found, fits)] += 1
    return counts


def _judged(suggestion: TitleSuggestion | None, fits: Iterable[ProductOut]) -> str:
    """`right`: it names the category of one that fits, or its first word is in that one's title."""
    if suggestion is None:
        return "none"
    is_right = any(
        suggestion.category == product.category
        or any(word in product.title for word in suggestion.words[:1])
        for product in fits
    )
    return "right" if is_right else "wrong"


def _products(catalog: Catalog) -> Iterable[ProductOut]:
    last = 0
    while page := catalog.list(ProductListQuery(after_id=last, page_size=100)).items:
        yield from page
        last = page[-1].product_id


if __name__ == "__main__":
    sys.exit(main())
