"""A part of the sample catalog in the running service."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

from fastapi.testclient import TestClient

from product_search.bulk.importer import import_file
from product_search.settings import ROOT
from tests.api.helpers import create, listed, resources

SAMPLE = ROOT / "sample_data"


def import_sample(api: TestClient, folder: Path, prefixes: Iterable[str]) -> dict[str, int]:
    """The products whose sku begins with one of these, searchable: their ids by sku."""
    with (SAMPLE / "catalog.csv").open(encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["sku"].startswith(tuple(prefixes))]
    table = folder / "some.csv"
    with table.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    import_file(resources(api).catalog, table, SAMPLE)
    # Events are applied in the order of the writes: with this one, all are.
    last = create(api, wait=True, title="最后一个商品")
    assert api.delete(f"/product/{last['product_id']}").status_code == 204
    items = listed(api, page_size=100, after_id=0)["items"]
    while items[-1]["product_id"] < last["product_id"] - 1:
        items += listed(api, page_size=100, after_id=items[-1]["product_id"])["items"]
    return {item["sku"]: item["product_id"] for item in items}
