"""The photos beside the project as a catalog, and judgements of classes as those of photos."""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path

from product_search.errors import StartError
from product_search.evaluation.sets.trec import Qrels, read_qrels

SETS = ("grocery", "clothing")
_KIND = "validation"  # the starter was trained on the others


def write_catalog(photos: Path, table: Path) -> dict[str, list[str]]:
    """Write an import file of every validation photo, titled by its class.

    Returns:
        The skus of each class, by `folder/class_id`.

    Raises:
        StartError: a labels.csv can't be read.
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


def read_photo_qrels(path: Path, classes: dict[str, list[str]]) -> Qrels:
    """Read judgements of classes: a photo has its class's grade; queries without photos drop."""
    qrels: Qrels = {}
    for qid, grades in read_qrels(path).items():
        skus = {sku: grade for class_, grade in grades.items() for sku in classes.get(class_, ())}
        if skus:
            qrels[qid] = skus
    return qrels


def _labels(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            return list(csv.DictReader(stream))
    except OSError as error:
        raise StartError(f"读不了 {path}：{error}") from error
