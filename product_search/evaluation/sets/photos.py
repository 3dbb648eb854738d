"""The photos beside the project as a catalog, and judgements by class as judgements of photos."""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path

from product_search.errors import StartError
from product_search.evaluation.sets.trec import Qrels, read_qrels

SETS = ("grocery", "clothing")
_KIND = "validation"  # the starter was trained on the others


def write_catalog(photos: Path, table: Path) -> dict[str, list[str]]:
    """An import file of every validation photo, whose title is its class's name.

    The skus are given by class, as `folder/class_id`. Raises StartError where there are none.
    """
    classes: dict[str, list[str]] = defaultdict(list)
    with table.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["sku", "title", "image_path"])
        for name in SETS:
            for row in _labels(photos / name / "labels.csv"):
                if row["kind"] == _KIND:
                    class_ = f"{name}/{row['class_id']}"
                    sku = f"{class_}-{len(classes[class_])}"
                    classes[class_].append(sku)
                    writer.writerow([sku, row["title_zh"], f"{name}/{row['image_path']}"])
    return classes


def by_photo(judged: Path, classes: dict[str, list[str]]) -> Qrels:
    """Each photo has the grade of its class; classes without photos are left out."""
    found: Qrels = {}
    for qid, grades in read_qrels(judged).items():
        skus = {sku: grade for class_, grade in grades.items() for sku in classes.get(class_, ())}
        if skus:
            found[qid] = skus
    return found


def _labels(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            return list(csv.DictReader(stream))
    except OSError as error:
        raise StartError(f"读不了 {path}：{error}") from error
